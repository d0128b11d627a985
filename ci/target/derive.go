package target

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// otherToolchain is [Target.External] of targets beyond the table.
const otherToolchain = "its own toolchain: build it elsewhere and use with-binaries, or pass --toolchain with a container that builds for it"

// rustTargets is the output of `rustc --print target-list` of Rust 1.95.
//
//go:embed rust-targets.txt
var rustTargets string

// Operating systems whose programs are ELF files. A triple ends in one, or has its ABI
// after it.
var elfSystems = []string{"freebsd", "netbsd", "openbsd", "dragonfly", "illumos", "solaris", "haiku", "redox", "hurd", "fuchsia", "hermit"}

// derive returns a target of rustc that is not in the table, by the parts of its triple:
// "arch-vendor-system" or "arch-vendor-system-libc" ("The rustc book", Platform
// Support). It has no default toolchain and no images.
func derive(triple string) (Target, bool) {
	if !slices.Contains(strings.Fields(rustTargets), triple) {
		return Target{}, false
	}
	parts := strings.Split(triple, "-")
	last := parts[len(parts)-1]
	t := Target{Triple: triple, Arch: parts[0], Archive: ".tar.gz", External: otherToolchain}
	switch system := slices.IndexFunc(parts, func(p string) bool { return slices.Contains(elfSystems, p) }); {
	case slices.Contains(parts, "linux") && last != "none":
		t.OS, t.Format = "linux", "elf"
		for _, known := range []string{"gnu", "musl"} {
			if strings.HasPrefix(last, known) {
				t.Libc = known
			}
		}
	case slices.Contains(parts, "windows"):
		t.OS, t.Format, t.ExeSuffix, t.Archive = "windows", "pe", ".exe", ".zip"
	case last == "darwin":
		t.OS, t.Format = last, "macho"
	case strings.HasPrefix(triple, "wasm32-wasip"):
		t.OS, t.Format, t.ExeSuffix = "wasi", "wasm", ".wasm"
	case system >= 0:
		t.OS, t.Format = parts[system], "elf"
	default:
		t.OS, t.Arch = last, ""
	}
	t.Beyond = t.beyond()
	return t, true
}

// beyond describes what was derived from a triple, and what is unknown.
func (t Target) beyond() string {
	formats := map[string]string{"elf": "an ELF program", "pe": "a PE program", "macho": "a Mach-O program", "wasm": "a WebAssembly module"}
	switch {
	case t.Format == "":
		return fmt.Sprintf("the format, architecture and libraries of its programs are unknown and not checked; it gets a %s and no container image", t.Archive)
	case t.OS == "linux" && t.Libc == "":
		return fmt.Sprintf("by its name, it needs %s for %s; its C library is unknown and not checked, and it gets no container image", formats[t.Format], t.Arch)
	}
	return fmt.Sprintf("by its name, it needs %s for %s; it gets no container image", formats[t.Format], t.Arch)
}

package binary

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Requirements of a binary.
type Requirements struct {
	// Binary is the name for messages.
	Binary string
	// Target is the Rust target triple.
	Target string
	// Format, Arch and OS are those of ci/target; by default, any pass.
	Format Format
	Arch   string
	OS     string
	// Libc is "gnu" or "musl" on Linux; by default, any passes.
	Libc string
	// MaxGlibc is the newest glibc that the binary may need, "2.31", which passes
	// [ParseGlibc]; by default, any.
	MaxGlibc string
}

// Check returns every requirement that a binary breaks, the most important first.
func Check(f Facts, w Requirements) []error {
	var problems []error
	add := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("binary %q "+format, append([]any{w.Binary}, args...)...))
	}

	if w.Format != "" && f.Format != w.Format {
		add("is %s, but target %q needs %s: check that it is not a script or the file of another target", f.Format.article(), w.Target, w.Format.article())
		return problems // and everything else is wrong too
	}
	if !f.Executable {
		add("is a library or an object file, not a program: name a binary of the package")
	}
	if w.Arch != "" && !slices.ContainsFunc(slices.Concat(f.Arches, []string{f.Arch}), func(have string) bool { return runsOn(have, w.Arch) }) {
		add("is for %s, but target %q needs %s: check the linker, and that the file is from this target's directory", f.Arch, w.Target, w.Arch)
	}
	if f.Format != ELF {
		return problems
	}

	loader := path.Base(f.Interpreter)
	musl := strings.HasPrefix(loader, "ld-musl-") || slices.ContainsFunc(f.Needed, func(library string) bool {
		return strings.HasPrefix(library, "libc.musl-")
	})
	glibc := !musl && (isGlibcLoader(loader) || f.GlibcFloor != "")
	switch {
	case w.Libc == "gnu" && musl:
		add("loads musl (%q), but target %q needs glibc: build it with the glibc linker", f.Interpreter, w.Target)
	case w.Libc == "musl" && glibc:
		add("loads glibc (%q), but target %q needs musl: build it with a musl linker and C libraries", f.Interpreter, w.Target)
	case w.Libc == "musl" && f.Linkage == Dynamic:
		add("for target %q is dynamic (%s), so it only runs on systems with musl: remove -C target-feature=-crt-static from RUSTFLAGS or .cargo/config.toml, since Rust links it statically by default",
			w.Target, strings.Join(slices.Compact(append([]string{f.Interpreter}, f.Needed...)), " "))
	case w.Libc != "" && f.Interpreter != "" && !musl && !glibc:
		add("loads %q, which is not the loader of a C library of target %q: check the linker", f.Interpreter, w.Target)
	}
	if w.OS != "linux" && w.OS != "" && (musl || strings.HasPrefix(loader, "ld-linux")) {
		add("loads %q, the loader of Linux, but target %q needs %s: check that it is not the file of another target", f.Interpreter, w.Target, w.OS)
	}
	if w.OS == "linux" && f.Interpreter != "" && !strings.HasPrefix(f.Interpreter, "/lib") {
		// Toolchains of Nix and Guix leave their own paths.
		add("loads %q, which exists only on the machine that built it: build it with a toolchain that uses /lib, or run `patchelf --set-interpreter`", f.Interpreter)
	}
	if w.MaxGlibc != "" && CompareVersions(f.GlibcFloor, w.MaxGlibc) > 0 {
		add("needs glibc %s, but target %q allows at most %s: build it in an older toolchain image, for a musl target, or with cargo-zigbuild", f.GlibcFloor, w.Target, w.MaxGlibc)
	}
	return problems
}

// GlibcLibraries are glibc's own libraries.
var GlibcLibraries = []string{"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1", "libresolv.so.2", "libanl.so.1"}

// Foreign returns the shared libraries that a Linux program needs and that a system with
// glibc may lack: all but glibc's own, with its loader, and those of GCC, which package
// managers need themselves.
func (f Facts) Foreign() []string {
	if f.Format != ELF {
		return nil
	}
	var foreign []string
	for _, library := range f.Needed {
		known := slices.Contains(GlibcLibraries, library) || library == "libgcc_s.so.1" || library == "libstdc++.so.6"
		if !known && !strings.HasPrefix(library, "ld-linux") && !strings.HasPrefix(library, "ld64.so") && library != "ld.so.1" {
			foreign = append(foreign, library)
		}
	}
	return foreign
}

func (f Format) article() string {
	switch f {
	case ELF:
		return "an ELF file"
	case PE:
		return "a PE file"
	case MachO:
		return "a Mach-O file"
	case WASM:
		return "a WebAssembly module"
	default:
		return fmt.Sprintf("a file of format %q", string(f))
	}
}

// isGlibcLoader recognizes ld-linux-x86-64.so.2, ld-linux.so.2, ld64.so.1 (s390x),
// ld64.so.2 (powerpc64le), and ld.so.1 (powerpc, mips).
func isGlibcLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || strings.HasPrefix(name, "ld.so")
}

// runsOn reports whether code for one architecture runs on another. ARM code
// without v7 instructions runs on v7, but not the reverse.
func runsOn(have, want string) bool {
	if have == want {
		return true
	}
	switch {
	case want == "armv7" || want == "armv7a" || strings.HasPrefix(want, "thumbv7"):
		return have == "armv7" || have == "arm" || have == "thumbv7a"
	case strings.HasPrefix(want, "armv") || want == "thumbv6m":
		return have == "arm"
	case want == "i586" || want == "i386":
		return have == "i686" // ELF does not distinguish them
	case want == "arm64" || want == "arm64e":
		return have == "aarch64"
	case strings.HasPrefix(want, "riscv64"):
		return have == "riscv64gc"
	case strings.HasPrefix(want, "riscv32"):
		return have == "riscv32gc"
	}
	return false
}

// ParseGlibc checks the notation of a version of glibc, "2.31".
func ParseGlibc(version string) error {
	if _, err := parseVersion(version); err != nil {
		return fmt.Errorf("parse glibc version %q: %w: write it as 2.31", version, err)
	}
	return nil
}

// CompareVersions compares two dotted versions by number, so that 2.9 is less than
// 2.34, and returns -1, 0 or +1. An invalid version is less than every valid one.
func CompareVersions(a, b string) int {
	x, _ := parseVersion(a)
	y, _ := parseVersion(b)
	// 2.2 is 2.2.0.
	for len(x) < len(y) && x != nil {
		x = append(x, 0)
	}
	for len(y) < len(x) && y != nil {
		y = append(y, 0)
	}
	return slices.CompareFunc(x, y, cmp.Compare[uint64])
}

// parseVersion reads two to four numbers.
func parseVersion(version string) ([]uint64, error) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return nil, fmt.Errorf("it has %d parts", len(parts))
	}
	numbers := make([]uint64, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number", part)
		}
		numbers[i] = n
	}
	return numbers, nil
}

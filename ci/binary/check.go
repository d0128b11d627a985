package binary

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Want says what a binary should be.
type Want struct {
	// Binary is the name used in messages.
	Binary string
	// Target is the Rust target triple it was built for.
	Target string
	// Arch is the triple's architecture, as ci/target has it; empty takes the
	// first part of Target.
	Arch string
	// OS is "linux", "windows" or "darwin"; "" checks no format.
	OS string
	// Libc is "gnu" or "musl" on Linux; empty checks none.
	Libc string
	// MaxGlibc is the newest glibc that the binary may need, "2.31"; empty
	// sets no limit. It must be a version, [ParseGlibc] checks that.
	MaxGlibc string
}

// Rule names what a binary breaks.
type Rule string

// The rules.
const (
	RuleFormat     Rule = "format"
	RuleExecutable Rule = "executable"
	RuleArch       Rule = "arch"
	RuleLibc       Rule = "libc"
	RuleGlibc      Rule = "glibc"
	RuleLoader     Rule = "loader"
)

// Problem is one thing that is wrong with a binary.
type Problem struct {
	Rule Rule
	// Message says what is wrong and what to do, for people.
	Message string
}

// Error returns the message.
func (p Problem) Error() string { return p.Message }

// Check compares a binary with what it should be. It returns every problem, in
// the order of importance, or nil.
func Check(f Facts, w Want) []Problem {
	var problems []Problem
	add := func(rule Rule, format string, args ...any) {
		message := fmt.Sprintf("binary %q ", w.Binary) + fmt.Sprintf(format, args...)
		problems = append(problems, Problem{rule, message})
	}

	if want, known := formats[w.OS]; known && f.Format != want {
		add(RuleFormat, "is %s, but target %q needs %s: is it another target's file, or a script?", f.Format.article(), w.Target, want.article())
		return problems // nothing else can be right
	}
	if !f.Executable {
		add(RuleExecutable, "is a library or an object file, not a program: name a binary of the package")
	}
	arch := w.Arch
	if arch == "" {
		arch, _, _ = strings.Cut(w.Target, "-")
	}
	if !slices.ContainsFunc(slices.Concat(f.Arches, []string{f.Arch}), func(have string) bool { return runsOn(have, arch) }) {
		add(RuleArch, "is for %s, but target %q needs %s: check the linker and that the file comes from this target's folder", f.Arch, w.Target, arch)
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
		add(RuleLibc, "loads musl (%q), but target %q needs glibc: build it with the glibc linker", f.Interpreter, w.Target)
	case w.Libc == "musl" && glibc:
		add(RuleLibc, "loads glibc (%q), but target %q needs musl: build it with a musl linker and C libraries", f.Interpreter, w.Target)
	case w.Libc == "musl" && f.Linkage == Dynamic:
		add(RuleLibc, "for target %q is dynamic (%s), so it runs on systems with musl only: link it statically, as Rust does unless RUSTFLAGS or .cargo/config.toml has -C target-feature=-crt-static: remove that",
			w.Target, strings.Join(slices.Compact(append([]string{f.Interpreter}, f.Needed...)), " "))
	case w.Libc != "" && f.Interpreter != "" && !musl && !glibc:
		add(RuleLibc, "loads %q, which belongs to no C library of target %q: check the linker", f.Interpreter, w.Target)
	}
	if w.OS == "linux" && f.Interpreter != "" && !strings.HasPrefix(f.Interpreter, "/lib") {
		// A toolchain of Nix or Guix leaves its own path behind.
		add(RuleLoader, "loads %q, which exists on the machine that built it only: build it with a toolchain that uses /lib, or run `patchelf --set-interpreter`", f.Interpreter)
	}
	if w.MaxGlibc != "" && f.GlibcFloor != "" && CompareVersions(f.GlibcFloor, w.MaxGlibc) > 0 {
		add(RuleGlibc, "needs glibc %s, but target %q may need %s at most: build it in an older toolchain image, for a musl target, or with cargo-zigbuild", f.GlibcFloor, w.Target, w.MaxGlibc)
	}
	return problems
}

var formats = map[string]Format{"linux": ELF, "windows": PE, "darwin": MachO}

func (f Format) article() string {
	switch f {
	case ELF:
		return "an ELF file"
	case PE:
		return "a PE file"
	case MachO:
		return "a Mach-O file"
	default:
		return fmt.Sprintf("a file of format %q", string(f))
	}
}

// isGlibcLoader knows ld-linux-x86-64.so.2, ld-linux.so.2, ld64.so.1 (s390x),
// ld64.so.2 (powerpc64le), and ld.so.1 (powerpc, mips).
func isGlibcLoader(name string) bool {
	return strings.HasPrefix(name, "ld-linux") || strings.HasPrefix(name, "ld64.so") || strings.HasPrefix(name, "ld.so")
}

// runsOn says whether code for the architecture have will do for want. ARM
// code without v7 instructions runs on v7 as well, not the other way round.
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
		return have == "i686" // ELF knows no difference
	case want == "arm64" || want == "arm64e":
		return have == "aarch64"
	case strings.HasPrefix(want, "riscv64"):
		return have == "riscv64gc"
	case strings.HasPrefix(want, "riscv32"):
		return have == "riscv32gc"
	}
	return false
}

// ParseGlibc makes sure that version is one of glibc's, "2.31", as
// [Want.MaxGlibc] and [Facts.GlibcFloor] are.
func ParseGlibc(version string) error {
	if _, err := parseVersion(version); err != nil {
		return fmt.Errorf("parse glibc version %q: %w: write it as 2.31", version, err)
	}
	return nil
}

// CompareVersions compares two dotted versions by number, so that 2.9 is less
// than 2.34. It returns -1, 0 or +1. A version that is none is less than every
// one that is.
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

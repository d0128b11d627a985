// Package target is the one table of Rust target triples. Builds, archive
// names, checks of binaries and image platforms are all read from it, so that
// a new target is one new row.
//
// It is pure: a row says what a target needs; ci/release/toolchain makes it so.
package target

import (
	"fmt"
	"sort"
	"strings"

	"dagger/gantry/ci/nearest"
)

// Target is one row of the table.
type Target struct {
	// Triple is Rust's name, "aarch64-unknown-linux-gnu".
	Triple string
	// Arch in the terms of the triple's first part, as ci/binary reports it.
	Arch string
	// OS is "linux", "windows" or "darwin".
	OS string
	// Libc is "gnu" or "musl" on Linux, else empty.
	Libc string
	// Platform is the OCI platform, "linux/arm64"; empty where no image of it
	// is made.
	Platform string
	// Format of an executable: "elf", "pe" or "macho".
	Format string
	// ExeSuffix is ".exe" on Windows.
	ExeSuffix string
	// Archive is the suffix of its archives, ".tar.gz" or ".zip".
	Archive string
	// Debian is Debian's name of the architecture, "arm64", for the packages
	// of cross compilers and libraries; empty where Debian has none.
	Debian string
	// GNU is the prefix of the GNU tools of the target, "aarch64-linux-gnu".
	GNU string
	// Packages are the Debian packages that a build on another architecture
	// needs: the compiler, which is the linker, and the C library.
	Packages []string
	// AlwaysPackages are needed on every architecture.
	AlwaysPackages []string
	// External says why the default toolchain image cannot serve the target,
	// as the end of "… needs"; empty when it can.
	External string
}

// Native says whether the binaries of the target run on a machine of the OCI
// platform given, without emulation.
func (t Target) Native(platform string) bool { return t.Platform != "" && t.Platform == platform }

// EnvKey is the triple as Cargo writes it in environment variables,
// "AARCH64_UNKNOWN_LINUX_GNU".
func (t Target) EnvKey() string { return strings.ToUpper(t.CCKey()) }

// CCKey is the triple as the cc crate writes it in environment variables,
// "aarch64_unknown_linux_gnu".
func (t Target) CCKey() string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(t.Triple)
}

// Default are the targets of a project that names none: the Linux ones that
// the default toolchain image serves and that container images are made for.
var Default = []string{
	"x86_64-unknown-linux-gnu",
	"aarch64-unknown-linux-gnu",
	"x86_64-unknown-linux-musl",
	"aarch64-unknown-linux-musl",
}

var table = func() map[string]Target {
	rows := []Target{
		gnu("x86_64-unknown-linux-gnu", "x86_64", "linux/amd64", "amd64", "x86_64-linux-gnu"),
		gnu("aarch64-unknown-linux-gnu", "aarch64", "linux/arm64", "arm64", "aarch64-linux-gnu"),
		gnu("armv7-unknown-linux-gnueabihf", "armv7", "linux/arm/v7", "armhf", "arm-linux-gnueabihf"),
		gnu("i686-unknown-linux-gnu", "i686", "linux/386", "i386", "i686-linux-gnu"),
		gnu("riscv64gc-unknown-linux-gnu", "riscv64gc", "linux/riscv64", "riscv64", "riscv64-linux-gnu"),
		gnu("s390x-unknown-linux-gnu", "s390x", "linux/s390x", "s390x", "s390x-linux-gnu"),
		gnu("powerpc64le-unknown-linux-gnu", "powerpc64le", "linux/ppc64le", "ppc64el", "powerpc64le-linux-gnu"),
		musl("x86_64-unknown-linux-musl", "x86_64", "linux/amd64", "amd64", "x86_64-linux-gnu"),
		musl("aarch64-unknown-linux-musl", "aarch64", "linux/arm64", "arm64", "aarch64-linux-gnu"),
		{
			Triple: "x86_64-pc-windows-gnu", Arch: "x86_64", OS: "windows", Format: "pe",
			ExeSuffix: ".exe", Archive: ".zip", GNU: "x86_64-w64-mingw32",
			AlwaysPackages: []string{"gcc-mingw-w64-x86-64", "g++-mingw-w64-x86-64"},
		},
		apple("x86_64-apple-darwin", "x86_64"),
		apple("aarch64-apple-darwin", "aarch64"),
	}
	m := make(map[string]Target, len(rows))
	for _, r := range rows {
		m[r.Triple] = r
	}
	return m
}()

// gcc names Debian's cross compilers: like the tools' prefix, but with "-" for
// the "_" that a package name cannot have.
func gcc(prefix string) []string {
	name := strings.ReplaceAll(prefix, "_", "-")
	return []string{"gcc-" + name, "g++-" + name}
}

func linux(triple, arch, platform, debian, prefix string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "linux", Platform: platform, Format: "elf",
		Archive: ".tar.gz", Debian: debian, GNU: prefix, Packages: gcc(prefix),
	}
}

func gnu(triple, arch, platform, debian, prefix string) Target {
	t := linux(triple, arch, platform, debian, prefix)
	t.Libc = "gnu"
	t.Packages = append(t.Packages, "libc6-dev-"+debian+"-cross")
	return t
}

func musl(triple, arch, platform, debian, prefix string) Target {
	t := linux(triple, arch, platform, debian, prefix)
	t.Libc = "musl"
	// gcc with the specs file of musl-dev is a musl C compiler for any
	// architecture; musl-tools has the wrapper for the native one.
	t.AlwaysPackages = []string{"musl-dev:" + debian}
	return t
}

func apple(triple, arch string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "darwin", Format: "macho", Archive: ".tar.gz",
		External: "an Apple SDK, which may not be redistributed: pass --toolchain with a container that has one (cargo-zigbuild or osxcross) and, for cargo-zigbuild, --cargo-command=zigbuild",
	}
}

// Lookup finds a target by its triple: a row of the table, else what the triple
// itself says, for toolchains of the caller's. The error of an unknown one names
// the nearest of the table.
func Lookup(triple string) (Target, error) {
	if t, ok := table[triple]; ok {
		return t, nil
	}
	if t, ok := derive(triple); ok {
		return t, nil
	}
	all := All()
	return Target{}, fmt.Errorf("unknown target %q%s (known: %s)", triple, nearest.Hint(triple, all), strings.Join(all, ", "))
}

// All triples of the table, sorted.
func All() []string {
	all := make([]string, 0, len(table))
	for triple := range table {
		all = append(all, triple)
	}
	sort.Strings(all)
	return all
}

// Package target is the table of Rust target triples. Builds, archive names, checks
// of binaries and image platforms read it, so that a new target is a new row.
//
// It is pure: a row lists what a target needs, and ci/release/toolchain provides it.
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
	// Arch is the triple's first part, as ci/binary reports it; empty if that is unknown.
	Arch string
	// OS is "linux", "windows", "darwin" or the triple's.
	OS string
	// Libc is "gnu" or "musl" on Linux, else empty.
	Libc string
	// Platform is the OCI platform, "linux/arm64"; empty for targets without images.
	Platform string
	// Format of an executable: "elf", "pe", "macho" or "wasm"; empty if it is unknown.
	Format string
	// ExeSuffix is ".exe" on Windows and ".wasm" for WebAssembly.
	ExeSuffix string
	// Archive is the suffix of archives, ".tar.gz" or ".zip".
	Archive string
	// Debian is Debian's name of the architecture, "arm64", or empty.
	Debian string
	// GNU is the prefix of the GNU tools, "aarch64-linux-gnu".
	GNU string
	// Musl is Debian's name of the architecture with musl, "aarch64-linux-musl".
	Musl string
	// Packages are the Debian packages of a cross build: the compiler, which is also
	// the linker, and the C library.
	Packages []string
	// AlwaysPackages are the Debian packages of every build.
	AlwaysPackages []string
	// Joined is true if its programs are joined from those of other targets, which Cargo
	// knows nothing about.
	Joined bool
	// External completes "… needs" for targets that the default toolchain image
	// cannot build, or is empty.
	External string
	// Beyond completes "… is not in Gantry's table: " for targets that [Lookup] derives,
	// or is empty.
	Beyond string
}

// Native reports whether the target's binaries run on an OCI platform without
// emulation.
func (t Target) Native(platform string) bool { return t.Platform != "" && t.Platform == platform }

// EnvKey returns the triple as in Cargo's environment variables,
// "AARCH64_UNKNOWN_LINUX_GNU".
func (t Target) EnvKey() string { return strings.ToUpper(t.CCKey()) }

// CCKey returns the triple as in the cc crate's environment variables,
// "aarch64_unknown_linux_gnu".
func (t Target) CCKey() string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(t.Triple)
}

// Default lists the targets of a project that configures none: those for Linux
// that the default toolchain image builds and that have images.
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
		musl("x86_64-unknown-linux-musl", "x86_64", "linux/amd64", "amd64", "x86_64-linux-gnu", "x86_64-linux-musl"),
		musl("aarch64-unknown-linux-musl", "aarch64", "linux/arm64", "arm64", "aarch64-linux-gnu", "aarch64-linux-musl"),
		musl("armv7-unknown-linux-musleabihf", "armv7", "linux/arm/v7", "armhf", "arm-linux-gnueabihf", "arm-linux-musleabihf"),
		musl("i686-unknown-linux-musl", "i686", "linux/386", "i386", "i686-linux-gnu", "i386-linux-musl"),
		otherMusl("arm-unknown-linux-musleabi", "arm", "linux/arm/v6"),
		otherMusl("arm-unknown-linux-musleabihf", "arm", "linux/arm/v6"),
		otherMusl("riscv64gc-unknown-linux-musl", "riscv64gc", "linux/riscv64"),
		otherMusl("loongarch64-unknown-linux-musl", "loongarch64", "linux/loong64"),
		{
			Triple: "x86_64-pc-windows-gnu", Arch: "x86_64", OS: "windows", Format: "pe",
			ExeSuffix: ".exe", Archive: ".zip", GNU: "x86_64-w64-mingw32",
			AlwaysPackages: []string{"gcc-mingw-w64-x86-64", "g++-mingw-w64-x86-64"},
		},
		msvc("x86_64-pc-windows-msvc", "x86_64"),
		msvc("aarch64-pc-windows-msvc", "aarch64"),
		msvc("i686-pc-windows-msvc", "i686"),
		apple("x86_64-apple-darwin", "x86_64"),
		apple("aarch64-apple-darwin", "aarch64"),
		universal(),
		freeBSD("x86_64-unknown-freebsd", "x86_64"),
		freeBSD("aarch64-unknown-freebsd", "aarch64"),
		freeBSD("i686-unknown-freebsd", "i686"),
		{Triple: "wasm32-wasip1", Arch: "wasm32", OS: "wasi", Format: "wasm", ExeSuffix: ".wasm", Archive: ".tar.gz"},
	}
	m := make(map[string]Target, len(rows))
	for _, r := range rows {
		m[r.Triple] = r
	}
	return m
}()

// gcc returns the packages of Debian's cross compilers. A package's name cannot
// have the "_" of the tools' prefix.
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

func musl(triple, arch, platform, debian, prefix, musl string) Target {
	t := linux(triple, arch, platform, debian, prefix)
	t.Libc, t.Musl = "musl", musl
	// gcc with the specs file of musl-dev is a musl C compiler for any
	// architecture; musl-tools has the wrapper for the native one.
	t.AlwaysPackages = []string{"musl-dev:" + debian}
	return t
}

// otherMusl is a target of musl whose architecture Debian's cross compilers lack.
func otherMusl(triple, arch, platform string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "linux", Libc: "musl", Platform: platform, Format: "elf", Archive: ".tar.gz",
		External: "a C compiler and linker for it: pass --toolchain with a container that has cargo-zigbuild, and --cargo-command=zigbuild",
	}
}

func msvc(triple, arch string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "windows", Format: "pe", ExeSuffix: ".exe", Archive: ".zip",
		External: "the libraries of Windows, which may not be redistributed: build it on Windows and use with-binaries, or pass --toolchain with a container that has cargo-xwin and those libraries, and --cargo-command=\"xwin build\"",
	}
}

func freeBSD(triple, arch string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "freebsd", Format: "elf", Archive: ".tar.gz",
		External: "the libraries of FreeBSD: build it there and use with-binaries, or pass --toolchain with a container that has a cross compiler for it",
	}
}

// universal is one program for both architectures of macOS. No compiler makes it, so it
// has no triple of Rust's: cargo-zigbuild, maturin and GoReleaser use this name.
func universal() Target {
	t := apple("universal2-apple-darwin", "universal2")
	t.Joined = true
	t.External = "the programs of x86_64-apple-darwin and aarch64-apple-darwin, joined by lipo: do that on macOS and use with-binaries, or pass --toolchain with a container that makes it"
	return t
}

func apple(triple, arch string) Target {
	return Target{
		Triple: triple, Arch: arch, OS: "darwin", Format: "macho", Archive: ".tar.gz",
		External: "an Apple SDK, which may not be redistributed: build it on macOS and use with-binaries, or pass --toolchain with a container that has one (cargo-zigbuild or osxcross) and, for cargo-zigbuild, --cargo-command=zigbuild",
	}
}

// Lookup returns the target of a triple: a row of the table, or else a target derived
// from a triple that rustc knows, for the caller's toolchains and binaries. Its error
// names the nearest triple of the table.
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

// All returns the triples of the table, sorted.
func All() []string {
	all := make([]string, 0, len(table))
	for triple := range table {
		all = append(all, triple)
	}
	sort.Strings(all)
	return all
}

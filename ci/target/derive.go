package target

import (
	"slices"
	"strings"
)

// otherToolchain is [Target.External] of targets beyond the table.
const otherToolchain = "its own toolchain: pass --toolchain with a container that builds for it"

// Parts of the triples that [Lookup] understands beyond the table. ci/binary can
// check their programs.
var (
	otherArchs = []string{
		"aarch64", "aarch64_be", "arm", "armv5te", "armv7", "armv7a", "i386", "i586", "i686", "loongarch64", "mips", "mips64", "mips64el", "mipsel",
		"powerpc", "powerpc64", "powerpc64le", "riscv32gc", "riscv64gc", "s390x", "sparc64", "thumbv7neon", "x86_64",
	}
	otherLinuxLibcs = []string{
		"gnu", "gnueabi", "gnueabihf", "gnux32", "gnuabi64", "gnuabiv2",
		"musl", "musleabi", "musleabihf", "muslabi64", "uclibc", "uclibceabi", "uclibceabihf", "ohos",
	}
	otherSystems = []string{"freebsd", "netbsd", "openbsd", "dragonfly", "illumos", "solaris", "haiku", "redox", "hurd-gnu"}
	otherWindows = []string{"msvc", "gnu", "gnullvm"}
)

// derive reads a triple, "arch-vendor-system" or "arch-vendor-system-libc" ("The
// rustc book", Platform Support), or Android's without a vendor. Such a target has
// no default toolchain and no images.
func derive(triple string) (Target, bool) {
	arch, rest, _ := strings.Cut(triple, "-")
	if !slices.Contains(otherArchs, arch) {
		return Target{}, false
	}
	t := Target{Triple: triple, Arch: arch, Format: "elf", Archive: ".tar.gz", External: otherToolchain}
	if rest == "linux-android" || rest == "linux-androideabi" {
		t.OS = "linux"
		return t, true
	}
	vendor, system, _ := strings.Cut(rest, "-")
	switch vendor {
	case "unknown", "pc", "sun", "uwp", "win7", "openwrt", "alpine", "chimera", "unikraft":
	default:
		return Target{}, false
	}
	if libc, found := strings.CutPrefix(system, "linux-"); found && slices.Contains(otherLinuxLibcs, libc) {
		t.OS = "linux"
		for _, known := range []string{"gnu", "musl"} {
			if strings.HasPrefix(libc, known) {
				t.Libc = known
			}
		}
		return t, true
	}
	if abi, found := strings.CutPrefix(system, "windows-"); found && slices.Contains(otherWindows, abi) {
		t.OS, t.Format, t.ExeSuffix, t.Archive = "windows", "pe", ".exe", ".zip"
		return t, true
	}
	if slices.Contains(otherSystems, system) {
		t.OS, _, _ = strings.Cut(system, "-")
		return t, true
	}
	return Target{}, false
}

package target

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestEveryRowIsWhole(t *testing.T) {
	for _, triple := range All() {
		row, err := Lookup(triple)
		assert.NoError(t, err)
		assert.Equal(t, triple, row.Triple)
		assert.True(t, strings.HasPrefix(triple, row.Arch), "%s: arch %q", triple, row.Arch)
		assert.Contains(t, []string{"elf", "pe", "macho"}, row.Format, triple)
		assert.Contains(t, []string{".tar.gz", ".zip"}, row.Archive, triple)
		switch row.OS {
		case "linux":
			assert.NotEmpty(t, row.Platform, triple)
			assert.Contains(t, []string{"gnu", "musl"}, row.Libc, triple)
			assert.NotEmpty(t, row.Tools(false).Linker, triple)
			assert.NotEmpty(t, row.Tools(false).Packages, triple)
		case "windows":
			assert.Equal(t, ".exe", row.ExeSuffix)
			assert.NotEmpty(t, row.Tools(false).Linker, triple)
		default:
			assert.NotEmpty(t, row.External, "%s: the default image has no linker for it", triple)
		}
	}
	for _, triple := range Default {
		_, err := Lookup(triple)
		assert.NoError(t, err)
	}
}

func TestLookupNamesTheNearest(t *testing.T) {
	_, err := Lookup("x86_64-unknown-linux-gnuu")
	assert.ErrorContains(t, err, `unknown target "x86_64-unknown-linux-gnuu"; did you mean "x86_64-unknown-linux-gnu"?`)
	_, err = Lookup("pdp11")
	assert.ErrorContains(t, err, "known: aarch64-apple-darwin")
}

func TestTools(t *testing.T) {
	get := func(triple string) Target {
		row, err := Lookup(triple)
		assert.NoError(t, err)
		return row
	}
	assert.Empty(t, get("x86_64-unknown-linux-gnu").Tools(true), "a native build needs nothing")

	arm := get("aarch64-unknown-linux-gnu")
	assert.Contains(t, arm.Tools(false).Env(arm), Variable{"CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"})
	assert.Contains(t, arm.Tools(false).Env(arm), Variable{"PKG_CONFIG_LIBDIR_aarch64_unknown_linux_gnu", "/usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig"})
	assert.Equal(t, []string{"gcc-aarch64-linux-gnu", "g++-aarch64-linux-gnu", "libc6-dev-arm64-cross"}, arm.Tools(false).Packages)

	musl := get("aarch64-unknown-linux-musl")
	assert.Equal(t, "/usr/lib/aarch64-linux-musl/musl-gcc.specs", musl.Tools(false).Specs)
	assert.Contains(t, musl.Tools(false).Packages, "musl-dev:arm64")
	assert.Contains(t, musl.Tools(false).Env(musl), Variable{"CC_aarch64_unknown_linux_musl", "aarch64-linux-musl-gcc"})
	assert.Equal(t, []string{"musl-dev:amd64"}, get("x86_64-unknown-linux-musl").Tools(true).Packages, "no cross compiler for the machine's own architecture")
}

// What is not in the table is read from the triple, and needs a toolchain of the
// caller's.
func TestTargetsBeyondTheTable(t *testing.T) {
	for triple, want := range map[string]Target{
		"x86_64-unknown-freebsd":         {Arch: "x86_64", OS: "freebsd", Format: "elf", Archive: ".tar.gz"},
		"loongarch64-unknown-linux-gnu":  {Arch: "loongarch64", OS: "linux", Libc: "gnu", Format: "elf", Archive: ".tar.gz"},
		"armv7-unknown-linux-musleabihf": {Arch: "armv7", OS: "linux", Libc: "musl", Format: "elf", Archive: ".tar.gz"},
		"mipsel-unknown-linux-uclibc":    {Arch: "mipsel", OS: "linux", Format: "elf", Archive: ".tar.gz"},
		"aarch64-linux-android":          {Arch: "aarch64", OS: "linux", Format: "elf", Archive: ".tar.gz"},
		"armv7-linux-androideabi":        {Arch: "armv7", OS: "linux", Format: "elf", Archive: ".tar.gz"},
		"x86_64-pc-windows-msvc":         {Arch: "x86_64", OS: "windows", Format: "pe", ExeSuffix: ".exe", Archive: ".zip"},
		"aarch64-pc-windows-gnullvm":     {Arch: "aarch64", OS: "windows", Format: "pe", ExeSuffix: ".exe", Archive: ".zip"},
		"x86_64-unknown-illumos":         {Arch: "x86_64", OS: "illumos", Format: "elf", Archive: ".tar.gz"},
		"i686-unknown-hurd-gnu":          {Arch: "i686", OS: "hurd", Format: "elf", Archive: ".tar.gz"},
	} {
		got, err := Lookup(triple)
		want.Triple, want.External = triple, otherToolchain
		assert.NoError(t, err, triple)
		assert.Equal(t, want, got, triple)
	}
	for _, triple := range []string{
		"x86_64-unknown-linux-gnuu", "x86-unknown-linux-gnu", "x86_64-linux-gnu", "x86_64-unknwn-linux-gnu", "x86_64-unknown-linux", "x86_64-unknown", "x86_64", "",
		"wasm32-wasip1", "thumbv6m-none-eabi", "x86_64-unknown-none", "aarch64-apple-ios", "x86_64-pc-windows-gnuu", "x86_64-unknown-freebsdd", "x86_64-linux-androidd",
	} {
		_, err := Lookup(triple)
		assert.ErrorContains(t, err, "unknown target", triple)
	}
	assert.NotContains(t, All(), "x86_64-unknown-freebsd", "hints name what needs no toolchain of the caller's")
}

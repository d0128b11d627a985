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
		assert.Contains(t, []string{"elf", "pe", "macho", "wasm"}, row.Format, triple)
		assert.Contains(t, []string{".tar.gz", ".zip"}, row.Archive, triple)
		assert.Empty(t, row.Beyond, triple)
		if row.OS == "linux" {
			assert.NotEmpty(t, row.Platform, triple)
			assert.Contains(t, []string{"gnu", "musl"}, row.Libc, triple)
		} else {
			assert.Empty(t, row.Platform+row.Libc, triple)
		}
		assert.Equal(t, map[string]string{"windows": ".exe", "wasi": ".wasm"}[row.OS], row.ExeSuffix, triple)
		assert.Equal(t, row.OS == "windows", row.Archive == ".zip", triple)
		switch {
		case row.OS == "wasi":
			assert.Empty(t, row.Tools(false), "rustc links it")
		case row.External == "":
			assert.NotEmpty(t, row.Tools(false).Linker, triple)
			assert.NotEmpty(t, row.Tools(false).Packages, triple)
		default:
			assert.Empty(t, row.Tools(false), "%s: the default image has no linker for it", triple)
			assert.Contains(t, row.External, "--toolchain", triple)
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
	assert.Equal(t, "/usr/lib/i386-linux-musl/musl-gcc.specs", get("i686-unknown-linux-musl").Tools(false).Specs)
	assert.Equal(t, "arm-linux-musleabihf-gcc", get("armv7-unknown-linux-musleabihf").Tools(false).MuslCC)
	assert.Equal(t, []string{"musl-dev:amd64"}, get("x86_64-unknown-linux-musl").Tools(true).Packages, "no cross compiler for the machine's own architecture")
}

// What is not in the table is read from the triple, and needs a toolchain of the caller's
// or binaries from elsewhere.
func TestTargetsBeyondTheTable(t *testing.T) {
	const elf, pe = "by its name, it needs an ELF program for ", "by its name, it needs a PE program for "
	const noImage, unknownLibc = "; it gets no container image", "; its C library is unknown and not checked, and it gets no container image"
	const unknown = "the format, architecture and libraries of its programs are unknown and not checked; it gets a .tar.gz and no container image"
	for triple, want := range map[string]Target{
		"x86_64-unknown-netbsd":         {Arch: "x86_64", OS: "netbsd", Format: "elf", Archive: ".tar.gz", Beyond: elf + "x86_64" + noImage},
		"armv7-unknown-netbsd-eabihf":   {Arch: "armv7", OS: "netbsd", Format: "elf", Archive: ".tar.gz", Beyond: elf + "armv7" + noImage},
		"loongarch64-unknown-linux-gnu": {Arch: "loongarch64", OS: "linux", Libc: "gnu", Format: "elf", Archive: ".tar.gz", Beyond: elf + "loongarch64" + noImage},
		"s390x-unknown-linux-musl":      {Arch: "s390x", OS: "linux", Libc: "musl", Format: "elf", Archive: ".tar.gz", Beyond: elf + "s390x" + noImage},
		"mipsel-unknown-linux-uclibc":   {Arch: "mipsel", OS: "linux", Format: "elf", Archive: ".tar.gz", Beyond: elf + "mipsel" + unknownLibc},
		"aarch64-linux-android":         {Arch: "aarch64", OS: "linux", Format: "elf", Archive: ".tar.gz", Beyond: elf + "aarch64" + unknownLibc},
		"armv7-linux-androideabi":       {Arch: "armv7", OS: "linux", Format: "elf", Archive: ".tar.gz", Beyond: elf + "armv7" + unknownLibc},
		"thumbv7a-pc-windows-msvc":      {Arch: "thumbv7a", OS: "windows", Format: "pe", ExeSuffix: ".exe", Archive: ".zip", Beyond: pe + "thumbv7a" + noImage},
		"aarch64-pc-windows-gnullvm":    {Arch: "aarch64", OS: "windows", Format: "pe", ExeSuffix: ".exe", Archive: ".zip", Beyond: pe + "aarch64" + noImage},
		"x86_64-unknown-illumos":        {Arch: "x86_64", OS: "illumos", Format: "elf", Archive: ".tar.gz", Beyond: elf + "x86_64" + noImage},
		"i686-unknown-hurd-gnu":         {Arch: "i686", OS: "hurd", Format: "elf", Archive: ".tar.gz", Beyond: elf + "i686" + noImage},
		"arm64e-apple-darwin":           {Arch: "arm64e", OS: "darwin", Format: "macho", Archive: ".tar.gz", Beyond: "by its name, it needs a Mach-O program for arm64e" + noImage},
		"wasm32-wasip2":                 {Arch: "wasm32", OS: "wasi", Format: "wasm", ExeSuffix: ".wasm", Archive: ".tar.gz", Beyond: "by its name, it needs a WebAssembly module for wasm32" + noImage},
		"wasm32-wasip1-threads":         {Arch: "wasm32", OS: "wasi", Format: "wasm", ExeSuffix: ".wasm", Archive: ".tar.gz", Beyond: "by its name, it needs a WebAssembly module for wasm32" + noImage},
		"xtensa-esp32-espidf":           {OS: "espidf", Archive: ".tar.gz", Beyond: unknown},
		"x86_64-unknown-linux-none":     {OS: "none", Archive: ".tar.gz", Beyond: unknown},
		"thumbv6m-none-eabi":            {OS: "eabi", Archive: ".tar.gz", Beyond: unknown},
		"aarch64-apple-ios":             {OS: "ios", Archive: ".tar.gz", Beyond: unknown},
	} {
		got, err := Lookup(triple)
		want.Triple, want.External = triple, otherToolchain
		assert.NoError(t, err, triple)
		assert.Equal(t, want, got, triple)
	}
	for _, triple := range []string{
		"x86_64-unknown-linux-gnuu", "x86-unknown-linux-gnu", "x86_64-linux-gnu", "x86_64-unknwn-linux-gnu", "x86_64-unknown-linux", "x86_64-unknown", "x86_64", "",
		"x86_64-pc-windows-gnuu", "x86_64-unknown-freebsdd", "x86_64-linux-androidd", "x86_64-apple-darwin\n",
	} {
		_, err := Lookup(triple)
		assert.ErrorContains(t, err, "unknown target", triple)
	}
	assert.NotContains(t, All(), "x86_64-unknown-netbsd", "hints name what the table has")
}

// Each row has a triple of Rust's, except the joined programs of macOS.
func TestRowsAreRustTargets(t *testing.T) {
	for _, triple := range All() {
		if triple != "universal2-apple-darwin" {
			assert.Contains(t, strings.Fields(rustTargets), triple)
		}
	}
}

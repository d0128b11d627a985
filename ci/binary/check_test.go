package binary

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCheck(t *testing.T) {
	gnu := Facts{
		Format: ELF, Arch: "x86_64", Arches: []string{"x86_64"}, Linkage: Dynamic, Executable: true,
		Interpreter: "/lib64/ld-linux-x86-64.so.2", Needed: []string{"libc.so.6"}, GlibcFloor: "2.34",
	}
	musl := gnu
	musl.Interpreter, musl.Needed, musl.GlibcFloor = "/lib/ld-musl-x86_64.so.1", []string{"libc.musl-x86_64.so.1"}, ""
	static := gnu
	static.Linkage, static.Interpreter, static.Needed, static.GlibcFloor = Static, "", nil, ""
	mac := Facts{Format: MachO, Arch: "universal2", Arches: []string{"x86_64", "aarch64"}, Linkage: Dynamic, Executable: true}
	with := func(f Facts, change func(*Facts)) Facts { change(&f); return f }
	arch := func(f Facts, arch string) Facts { f.Arch, f.Arches = arch, []string{arch}; return f }

	wantGNU := Requirements{Binary: "foo", Target: "x86_64-unknown-linux-gnu", Format: ELF, Arch: "x86_64", OS: "linux", Libc: "gnu"}
	wantMusl := Requirements{Binary: "foo", Target: "x86_64-unknown-linux-musl", Format: ELF, Arch: "x86_64", OS: "linux", Libc: "musl"}
	glibc := func(max string) Requirements { w := wantGNU; w.MaxGlibc = max; return w }
	on := func(target, os string) Requirements {
		arch, _, _ := strings.Cut(target, "-")
		return Requirements{Binary: "foo", Target: target, Format: map[string]Format{"linux": ELF, "windows": PE, "darwin": MachO, "freebsd": ELF, "wasi": WASM}[os], Arch: arch, OS: os}
	}

	for name, test := range map[string]struct {
		facts Facts
		want  Requirements
		says  []string // parts of the messages, in their order
	}{
		"glibc":                     {gnu, wantGNU, nil},
		"glibc, linked statically":  {static, wantGNU, nil},
		"musl":                      {static, wantMusl, nil},
		"universal, one needed":     {mac, on("aarch64-apple-darwin", "darwin"), nil},
		"universal":                 {mac, on("universal2-apple-darwin", "darwin"), nil},
		"ARM without v7 code on v7": {arch(static, "arm"), on("armv7-unknown-linux-musleabihf", "linux"), nil},
		"an OS without a format":    {static, on("x86_64-unknown-hermit", "hermit"), nil},
		"nothing known":             {mac, Requirements{Binary: "foo", Target: "xtensa-esp32-espidf"}, nil},
		"WebAssembly":               {Facts{Format: WASM, Arch: "wasm32", Linkage: Static, Executable: true}, on("wasm32-wasip1", "wasi"), nil},
		"a Linux program for WebAssembly": {
			gnu, on("wasm32-wasip1", "wasi"), []string{`is an ELF file, but target "wasm32-wasip1" needs a WebAssembly module`},
		},
		"WebAssembly for Linux": {
			Facts{Format: WASM, Arch: "wasm32", Executable: true}, wantGNU, []string{"is a WebAssembly module, but"},
		},
		"a FreeBSD program": {with(gnu, func(f *Facts) { f.Interpreter, f.GlibcFloor = "/libexec/ld-elf.so.1", "" }), on("x86_64-unknown-freebsd", "freebsd"), nil},
		"a program of glibc for FreeBSD": {
			gnu, on("x86_64-unknown-freebsd", "freebsd"), []string{`loads "/lib64/ld-linux-x86-64.so.2", the loader of Linux, but target "x86_64-unknown-freebsd" needs freebsd`},
		},
		"a program of musl for FreeBSD": {
			musl, on("x86_64-unknown-freebsd", "freebsd"), []string{`loads "/lib/ld-musl-x86_64.so.1", the loader of Linux`},
		},
		"a FreeBSD program for Linux": {
			with(gnu, func(f *Facts) { f.Interpreter, f.GlibcFloor = "/libexec/ld-elf.so.1", "" }), wantGNU,
			[]string{`loads "/libexec/ld-elf.so.1", which is not the loader of a C library of target "x86_64-unknown-linux-gnu"`},
		},
		"other architecture": {
			gnu, on("aarch64-unknown-linux-gnu", "linux"),
			[]string{`binary "foo" is for x86_64, but target "aarch64-unknown-linux-gnu" needs aarch64`},
		},
		"v7 code on older ARM": {
			arch(static, "armv7"), on("arm-unknown-linux-musleabihf", "linux"), []string{"needs arm:"},
		},
		"architecture given": {
			static, Requirements{Binary: "foo", Target: "x86_64-unknown-linux-gnu", Arch: "s390x", OS: "linux"}, []string{"needs s390x"},
		},
		"universal, another needed": {mac, on("powerpc64-apple-darwin", "darwin"), []string{"is for universal2"}},
		"other format": {
			mac, wantGNU, []string{`is a Mach-O file, but target "x86_64-unknown-linux-gnu" needs an ELF file`},
		},
		"ELF for Windows": {gnu, on("x86_64-pc-windows-gnu", "windows"), []string{"is an ELF file, but"}},
		"library":         {with(static, func(f *Facts) { f.Executable = false }), wantGNU, []string{"not a program"}},
		"musl for glibc":  {musl, wantGNU, []string{`loads musl ("/lib/ld-musl-x86_64.so.1"), but target "x86_64-unknown-linux-gnu" needs glibc`}},
		"glibc for musl":  {gnu, wantMusl, []string{`loads glibc ("/lib64/ld-linux-x86-64.so.2"), but target "x86_64-unknown-linux-musl" needs musl`}},
		"glibc without loader": {
			with(gnu, func(f *Facts) { f.Interpreter = "" }), wantMusl, []string{"loads glibc"},
		},
		"dynamic musl": {
			musl, wantMusl,
			[]string{`is dynamic (/lib/ld-musl-x86_64.so.1 libc.musl-x86_64.so.1), so it only runs on systems with musl: remove -C target-feature=-crt-static from RUSTFLAGS or .cargo/config.toml, since Rust links it statically by default`},
		},
		"Android": {
			with(gnu, func(f *Facts) { f.Interpreter, f.GlibcFloor = "/system/bin/linker64", "" }), wantGNU,
			[]string{"not the loader of a C library", "exists only on the machine that built it"},
		},
		"Nix": {
			with(gnu, func(f *Facts) { f.Interpreter = "/nix/store/x-glibc-2.40/lib/ld-linux-x86-64.so.2" }), wantGNU,
			[]string{"exists only on the machine that built it"},
		},
		"floor below the maximum": {with(gnu, func(f *Facts) { f.GlibcFloor = "2.9" }), glibc("2.34"), nil},
		"floor equal to it":       {gnu, glibc("2.34"), nil},
		"no floor":                {static, glibc("2.17"), nil},
		"floor above it": {
			gnu, glibc("2.31"),
			[]string{`needs glibc 2.34, but target "x86_64-unknown-linux-gnu" allows at most 2.31: build it in an older toolchain image, for a musl target, or with cargo-zigbuild`},
		},
		"everything": {
			with(musl, func(f *Facts) { f.Executable = false }), on("aarch64-unknown-linux-gnu", "linux"),
			[]string{"not a program", "needs aarch64"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			problems := Check(test.facts, test.want)
			if assert.Len(t, problems, len(test.says), "%v", problems) {
				for i, part := range test.says {
					assert.ErrorContains(t, problems[i], part)
				}
			}
		})
	}
}

func TestForeignLibraries(t *testing.T) {
	common := []string{"libgcc_s.so.1", "libm.so.6", "libc.so.6", "ld-linux-x86-64.so.2", "ld64.so.2", "ld.so.1", "libstdc++.so.6"}
	assert.Empty(t, Facts{Format: ELF, Needed: common}.Foreign())
	assert.Equal(t, []string{"libssl.so.3", "libldap.so.2"}, Facts{Format: ELF, Needed: append([]string{"libssl.so.3", "libldap.so.2"}, common...)}.Foreign())
	assert.Empty(t, Facts{Format: PE, Needed: []string{"KERNEL32.dll"}}.Foreign())
}

func TestLoadersOfGlibc(t *testing.T) {
	for _, name := range []string{
		"ld-linux-x86-64.so.2", "ld-linux.so.2", "ld-linux-aarch64.so.1", "ld-linux-armhf.so.3",
		"ld-linux-riscv64-lp64d.so.1", "ld64.so.1", "ld64.so.2", "ld.so.1",
	} {
		assert.True(t, isGlibcLoader(name), name)
	}
	assert.False(t, isGlibcLoader("ld-musl-x86_64.so.1"))
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"none", "2.2", "2.2.5", "2.9", "2.17", "2.34", "2.100", "3.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			assert.Equal(t, want, CompareVersions(a, b), "%s and %s", a, b)
		}
	}
	assert.Zero(t, CompareVersions("2.2", "2.2.0"))
}

func TestParseGlibc(t *testing.T) {
	assert.NoError(t, ParseGlibc("2.31"))
	assert.NoError(t, ParseGlibc("2.2.5"))
	for _, version := range []string{"", "2", "2.x", "glibc-2.31", "2.31-1", "-2.3", "2.99999999"} {
		assert.ErrorContains(t, ParseGlibc(version), "write it as 2.31", version)
	}
}

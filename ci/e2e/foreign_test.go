package e2e

import (
	"archive/zip"
	"debug/macho"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// foreignTargets are targets that nothing here can compile, and the packages of
// scripts/foreign-programs that have their programs.
var foreignTargets = map[string]string{
	native:                    "linux-x64-gnu",
	"x86_64-apple-darwin":     "darwin-x64",
	"aarch64-apple-darwin":    "darwin-arm64",
	"x86_64-pc-windows-msvc":  "win32-x64-msvc",
	"aarch64-pc-windows-msvc": "win32-arm64-msvc",
	"x86_64-unknown-freebsd":  "freebsd-x64",
}

// foreignProject makes a project that would build these programs.
func foreignProject(t *testing.T, targets ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "lightningcss")
	const crate = "name = \"lightningcss\"\nversion = \"1.0.0-alpha.72\"\n"
	write(t, dir, map[string]string{
		"Cargo.toml":  "[package]\n" + crate + "edition = \"2021\"\n\n[package.metadata.gantry]\ntargets = [\"" + strings.Join(targets, `", "`) + "\"]\n",
		"Cargo.lock":  "version = 3\n\n[[package]]\n" + crate,
		"src/main.rs": "compile_error!(\"it is built elsewhere\");\n",
		"LICENSE":     "MPL-2.0\n",
	})
	commit(t, dir, "v1.0.0-alpha.72")
	return dir
}

func withBinaries(target, dir string) []string {
	return []string{"with-binaries", "--target=" + target, "--dir=" + dir}
}

// joined makes a universal program of those for both architectures of macOS, as lipo
// does.
func joined(t *testing.T, files ...string) string {
	t.Helper()
	const align = 14
	out := binary.BigEndian.AppendUint32(nil, macho.MagicFat)
	out = binary.BigEndian.AppendUint32(out, uint32(len(files)))
	var programs []byte
	for _, file := range files {
		program, err := os.ReadFile(file)
		require.NoError(t, err)
		header := macho.FatArchHeader{
			Cpu: macho.Cpu(binary.LittleEndian.Uint32(program[4:])), SubCpu: binary.LittleEndian.Uint32(program[8:]),
			Offset: uint32(1<<align + len(programs)), Size: uint32(len(program)), Align: align,
		}
		out, err = binary.Append(out, binary.BigEndian, header)
		require.NoError(t, err)
		programs = append(programs, program...)
		programs = append(programs, make([]byte, (1<<align-len(programs)%(1<<align))%(1<<align))...)
	}
	dir := t.TempDir()
	out = append(append(out, make([]byte, 1<<align-len(out))...), programs...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "lightningcss"), out, 0o755))
	return dir
}

// webAssembly builds a module for WASI. It is one of Go's: it stands for the program.
func webAssembly(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"go.mod": "module example\n", "main.go": "package main\n\nfunc main() { println(\"lightningcss 1.0.0-alpha.72\") }\n",
	})
	run(t, dir, "env", "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off", "go", "build", "-ldflags=-s -w", "-o", "lightningcss.wasm")
	return dir
}

// programOf returns the format, file name and linkage of a target's program.
func programOf(target string) (format, name, linkage string) {
	switch {
	case strings.Contains(target, "windows"):
		return "pe", "lightningcss.exe", "dynamic"
	case strings.Contains(target, "apple"):
		return "macho", "lightningcss", "dynamic"
	case strings.Contains(target, "wasi"):
		return "wasm", "lightningcss.wasm", "static"
	}
	return "elf", "lightningcss", "dynamic"
}

// Programs for macOS, Windows, FreeBSD and Linux that others built are packed,
// published and verified like those that are built here.
func TestProgramsBuiltElsewhere(t *testing.T) {
	programs := printed(t, "foreign-programs")
	dirs := map[string]string{
		"universal2-apple-darwin": joined(t, filepath.Join(programs, "darwin-x64", "lightningcss"), filepath.Join(programs, "darwin-arm64", "lightningcss")),
		"wasm32-wasip1":           webAssembly(t),
	}
	for target, name := range foreignTargets {
		dirs[target] = filepath.Join(programs, name)
	}
	var targets, with []string
	for target, dir := range dirs {
		targets = append(targets, target)
		with = append(with, withBinaries(target, dir)...)
	}
	source := foreignProject(t, targets...)
	tag := "v1.0.0-alpha.72"
	h := newHubOf(t, source, tag, nil)
	release := append([]string{"--source=" + source, "release", "--tag=" + tag}, with...)

	out := filepath.Join(t.TempDir(), "dist")
	got := call(t, append(release, "dist", "export", "--path="+out)...)
	require.NoError(t, got.err)
	assert.False(t, got.started(), "a target was compiled")
	run(t, out, "sha256sum", "--check", "--strict", "SHA256SUMS")
	m := readManifest(t, out)
	assert.Equal(t, "1.2", m.SchemaVersion, "the first that has WebAssembly")
	require.Len(t, m.Archives(), len(dirs))
	for target, dir := range dirs {
		archive, found := m.ArchiveFor(target)
		require.True(t, found, target)
		require.Len(t, archive.Binaries, 1, target)
		packed := archive.Binaries[0]
		format, program, linkage := programOf(target)
		arch, _, _ := strings.Cut(target, "-")
		assert.Equal(t, []string{format, arch, linkage}, []string{packed.Format, packed.Arch, packed.Linkage}, target)
		assert.Equal(t, program, filepath.Base(packed.Path))
		sum, _, _ := strings.Cut(run(t, root(t), "sha256sum", filepath.Join(dir, program)), " ")
		assert.Equal(t, sum, packed.SHA256, "the bytes of another build")
	}
	archive, err := zip.OpenReader(filepath.Join(out, "lightningcss-1.0.0-alpha.72-x86_64-pc-windows-msvc.zip"))
	require.NoError(t, err)
	defer archive.Close()
	_, err = archive.Open("lightningcss-1.0.0-alpha.72-x86_64-pc-windows-msvc/lightningcss.exe")
	assert.NoError(t, err)

	published := h.releaseWith(t, h.at(append(release, "publish", "--token=env:CANARY")...))
	require.NoError(t, published.err)
	verified := call(t, h.at("verify-release", "--tag="+tag)...)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "11 assets")
	assert.Contains(t, verified.stdout, "every archive contains exactly the listed files")
}

// Whatever is not the program of the target and the version is refused, all of it at once.
func TestProgramsBuiltElsewhereThatDoNotFit(t *testing.T) {
	programs := printed(t, "foreign-programs")
	source := foreignProject(t, native, "aarch64-apple-darwin", "x86_64-apple-darwin", "x86_64-pc-windows-msvc")
	args := []string{"--source=" + source, "release", "--tag=v1.0.0-alpha.72"}
	for target, name := range map[string]string{
		native:                   "old-linux-x64-gnu",
		"x86_64-apple-darwin":    "darwin-arm64",
		"aarch64-apple-darwin":   "freebsd-x64",
		"x86_64-pc-windows-msvc": "old-win32-x64-msvc",
	} {
		args = append(args, withBinaries(target, filepath.Join(programs, name))...)
	}
	got := call(t, append(args, "dist", "entries")...)
	require.Error(t, got.err)
	for _, want := range []string{
		`binary "lightningcss" of target "x86_64-unknown-linux-gnu" prints "lightningcss 1.0.0-alpha.71" for --version, but package "lightningcss" has version 1.0.0-alpha.72: build it from the commit of the release, or pass --any-version`,
		`binary "lightningcss" is for aarch64, but target "x86_64-apple-darwin" needs x86_64`,
		`binary "lightningcss" is an ELF file, but target "aarch64-apple-darwin" needs a Mach-O file`,
		`binary "lightningcss.exe" of target "x86_64-pc-windows-msvc" does not contain version 1.0.0-alpha.72 of package "lightningcss"; the nearest in it is 1.0.0-alpha.61: build it from the commit of the release, or pass --any-version`,
	} {
		assert.Contains(t, got.said(), want)
	}

	missing := call(t, append([]string{"--source=" + source, "release", "--tag=v1.0.0-alpha.72"}, append(withBinaries("x86_64-pc-windows-msvc", filepath.Join(programs, "darwin-x64")), "dist", "--targets=x86_64-pc-windows-msvc", "entries")...)...)
	assert.Contains(t, missing.said(), `the directory of with-binaries --target=x86_64-pc-windows-msvc has no "lightningcss.exe"`)

	anyVersion := call(t, append([]string{"--source=" + source, "release", "--tag=v1.0.0-alpha.72"}, append(withBinaries("x86_64-pc-windows-msvc", filepath.Join(programs, "old-win32-x64-msvc")), "--any-version", "dist", "--targets=x86_64-pc-windows-msvc", "entries")...)...)
	require.NoError(t, anyVersion.err)
	assert.Contains(t, anyVersion.stdout, "lightningcss-1.0.0-alpha.72-x86_64-pc-windows-msvc.zip")
}

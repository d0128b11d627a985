package e2e

import (
	"archive/zip"
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

// Programs for macOS, Windows, FreeBSD and Linux that others built are packed,
// published and verified like those that are built here.
func TestProgramsBuiltElsewhere(t *testing.T) {
	programs := strings.TrimSpace(run(t, root(t), "scripts/foreign-programs"))
	var targets, with []string
	for target, name := range foreignTargets {
		targets = append(targets, target)
		with = append(with, withBinaries(target, filepath.Join(programs, name))...)
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
	require.Len(t, m.Archives(), len(foreignTargets))
	for target, name := range foreignTargets {
		archive, found := m.ArchiveFor(target)
		require.True(t, found, target)
		require.Len(t, archive.Binaries, 1, target)
		binary := archive.Binaries[0]
		format, program := "elf", "lightningcss"
		switch {
		case strings.Contains(target, "windows"):
			format, program = "pe", "lightningcss.exe"
		case strings.Contains(target, "apple"):
			format = "macho"
		}
		arch, _, _ := strings.Cut(target, "-")
		assert.Equal(t, []string{format, arch, "dynamic"}, []string{binary.Format, binary.Arch, binary.Linkage}, target)
		assert.Equal(t, program, filepath.Base(binary.Path))
		sum, _, _ := strings.Cut(run(t, root(t), "sha256sum", filepath.Join(programs, name, program)), " ")
		assert.Equal(t, sum, binary.SHA256, "the bytes of another build")
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
	assert.Contains(t, verified.stdout, "9 assets")
	assert.Contains(t, verified.stdout, "every archive contains exactly the listed files")
}

// Whatever is not the program of the target and the version is refused, all of it at once.
func TestProgramsBuiltElsewhereThatDoNotFit(t *testing.T) {
	programs := strings.TrimSpace(run(t, root(t), "scripts/foreign-programs"))
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

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

func replaceOnce(t *testing.T, text, old, with string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(text, old), "%q", old)
	return strings.Replace(text, old, with, 1)
}

// dist of a source, exported.
func dist(t *testing.T, source, tag string, args ...string) (string, result) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "dist")
	call := call(t, append(append([]string{"--source=" + source}, args...), "release", "--tag="+tag, "dist", "--targets="+native, "export", "--path="+out)...)
	return out, call
}

func mustDist(t *testing.T, source, tag string, args ...string) (string, result) {
	t.Helper()
	out, got := dist(t, source, tag, args...)
	require.NoError(t, got.err)
	return out, got
}

func readManifest(t *testing.T, dir string) *manifest.Manifest {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	require.NoError(t, err)
	m, err := manifest.Parse(text)
	require.NoError(t, err)
	return m
}

// unpack the archives of a dist into a folder.
func unpack(t *testing.T, dir string) string {
	t.Helper()
	out := t.TempDir()
	for _, a := range readManifest(t, dir).Archives() {
		run(t, out, "tar", "-xzf", filepath.Join(dir, a.Name))
	}
	return out
}

// The files of a release are whole: what they say of each other is true, for
// the tools of others too.
func TestDist(t *testing.T) {
	dir := sample(t)
	out, _ := mustDist(t, dir, "tally-cli-0.3.0")
	run(t, out, "sha256sum", "--check", "--strict", "SHA256SUMS")
	again, second := mustDist(t, dir, "tally-cli-0.3.0")
	assert.Equal(t, sums(t, out), sums(t, again), "the same call in another session")
	assert.Empty(t, second.compiled(), "and nothing is compiled for it")
	m := readManifest(t, out)
	assert.Equal(t, "tally-cli", m.Component)
	assert.Equal(t, "tally-cli-0.2.0", m.PreviousTag)
	assert.Equal(t, strings.TrimSpace(run(t, dir, "git", "rev-parse", "HEAD")), m.Commit)
	assert.Contains(t, m.Toolchain.Image, "rust:1.96-bookworm@sha256:")

	archive, found := m.ArchiveFor(native)
	require.True(t, found)
	require.Len(t, archive.Binaries, 1)
	assert.Equal(t, "tally-cli-0.3.0-"+native+".tar.gz", archive.Name)
	assert.Equal(t, "tally-cli", archive.Binaries[0].Package, "not that of the library called tally")
	files := unpack(t, out)
	bin := filepath.Join(files, archive.Binaries[0].Path)
	assert.Equal(t, "tally 0.3.0\n", run(t, files, bin, "--version"))
	assert.Contains(t, run(t, files, bin, "info"), "gzip", "the configured feature")
	for _, f := range []string{"LICENSE-MIT", "LICENSE-APACHE", "README.md", "man/tally.1", "THIRD-PARTY-LICENSES"} {
		assert.FileExists(t, filepath.Join(filepath.Dir(bin), f))
	}
	for _, bill := range []string{".cdx.json", ".spdx.json"} {
		assert.Contains(t, sums(t, out), "tally-cli-0.3.0-"+native+bill)
	}
	scope := map[string]string{}
	for _, c := range readBill(t, out, "tally-cli-0.3.0-"+native).Components {
		assert.NotEmpty(t, c.Licenses, c.Name)
		scope[c.Name] = c.Scope
	}
	for _, in := range []string{"tally", "tally-cli", "clap", "blake3"} {
		assert.Equal(t, "required", scope[in], in)
	}
	for _, only := range []string{"cc", "syn", "quote", "proc-macro2"} {
		assert.Equal(t, "excluded", scope[only], "%s is not in the binaries", only)
	}
	assert.NotContains(t, scope, "tally-server")

	changelog, err := os.ReadFile(filepath.Join(out, manifest.ChangelogName))
	require.NoError(t, err)
	date := run(t, dir, "git", "show", "-s", "--format=%cd", "--date=format:%Y-%m-%d", "HEAD")
	assert.Contains(t, string(changelog), "/compare/tally-cli-0.2.0...tally-cli-0.3.0) - "+date)
	assert.NotContains(t, string(changelog), "server", "changes of the other component")
	assert.Contains(t, string(changelog), "### Breaking changes")
	assert.Contains(t, string(changelog), "Add the gauge of Ny-Ålesund", "a change of the library that the component is built from")
}

// The binary is that of the source, whatever the times of the files say, and
// nothing that did not change is compiled again.
func TestNothingStaleAndNothingTwice(t *testing.T) {
	build := func(dir string) (string, result) {
		out := filepath.Join(t.TempDir(), "bin")
		got := call(t, "--source="+dir, "build", "--target="+native, "--component=tally-cli", "export", "--path="+out)
		require.NoError(t, got.err)
		return out, got
	}
	dir := sample(t)
	build(dir)

	main := filepath.Join(dir, "crates/tally-cli/src/main.rs")
	text, err := os.ReadFile(main)
	require.NoError(t, err)
	stamp := time.Now().Format(time.RFC3339Nano)
	edited := replaceOnce(t, string(text), "fn main()", "#[used]\nstatic STAMP: &str = \""+stamp+"\";\n\nfn main()")
	require.NoError(t, os.WriteFile(main, []byte(edited), 0o644))
	// Older than every build so far, as a checkout or an upload may make it.
	old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, os.Chtimes(main, old, old))

	out, got := build(dir)
	binary, err := os.ReadFile(filepath.Join(out, "tally"))
	require.NoError(t, err)
	assert.Contains(t, string(binary), stamp, "a stale binary")
	require.NotEmpty(t, got.compiled(), "nothing was compiled")
	for _, id := range got.compiled() {
		assert.Contains(t, id, "crates/tally-cli#", "a crate that was not edited was compiled again")
	}
}

// The same commit gives the same bytes, from another path and empty caches.
func TestDeterministic(t *testing.T) {
	dir := tiny(t, "")
	first, _ := mustDist(t, dir, "v1.0.0")
	elsewhere := filepath.Join(t.TempDir(), "a", "longer", "path")
	require.NoError(t, os.MkdirAll(filepath.Dir(elsewhere), 0o755))
	run(t, filepath.Dir(elsewhere), "git", "clone", "-q", dir, elsewhere)
	second, got := mustDist(t, elsewhere, "v1.0.0", "--cache-namespace="+time.Now().String())
	assert.NotEmpty(t, got.compiled(), "the second build was to be from nothing")
	assert.Equal(t, sums(t, first), sums(t, second))
}

func sums(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, manifest.SumsName))
	require.NoError(t, err)
	return string(text)
}

// Where the project puts its output does not matter.
func TestCustomTargetDirAndProfile(t *testing.T) {
	dir := tiny(t, "\n[profile.ship]\ninherits = \"release\"\n\n[package.metadata.gantry]\nprofile = \"ship\"\n")
	write(t, dir, map[string]string{".cargo/config.toml": "[build]\ntarget-dir = \"elsewhere\"\nrustflags = [\"--cfg\", \"from_config\"]\n",
		"src/main.rs": "fn main() { println!(\"{}\", if cfg!(from_config) { \"flags\" } else { \"no flags\" }); }\n"})
	run(t, dir, "git", "tag", "-d", "v1.0.0")
	commit(t, dir, "v1.0.0")
	out, _ := mustDist(t, dir, "v1.0.0")
	files := unpack(t, out)
	assert.Equal(t, "flags\n", run(t, files, filepath.Join(files, readManifest(t, out).Archives()[0].Binaries[0].Path)), "the project's own rustflags")
}

// A profile as many programs have it is served for each target: the standard
// library takes part in lto and in panic = "abort". Binaries of another
// architecture run under emulation.
func TestReleaseProfile(t *testing.T) {
	dir := tiny(t, "\n[profile.release]\nlto = true\npanic = \"abort\"\nstrip = true\ncodegen-units = 1\nopt-level = \"z\"\n")
	out := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, call(t, "--source="+dir, "release", "--tag=v1.0.0", "dist", "export", "--path="+out).err)
	files := unpack(t, out)
	archives := readManifest(t, out).Archives()
	require.Len(t, archives, 4)
	for _, a := range archives {
		program := []string{filepath.Join(files, a.Binaries[0].Path), "--version"}
		if strings.HasPrefix(a.Target, "aarch64-") {
			program = append([]string{"qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"}, program...)
		}
		assert.Equal(t, "tiny 1.0.0\n", run(t, files, program[0], program[1:]...), a.Target)
	}
}

// buildIn builds the program tiny of a source for a target, in a container with a Cargo
// subcommand.
func buildIn(t *testing.T, client *dagger.Client, dir string, ctr *dagger.Container, command, target string) (string, error) {
	t.Helper()
	var out struct {
		Gantry struct {
			Build struct{ File struct{ Contents, ID string } }
		}
	}
	require.NoError(t, client.ModuleSource(".").AsModule().Serve(t.Context()))
	sourceID, err := client.Host().Directory(dir).ID(t.Context())
	require.NoError(t, err)
	ctrID, err := ctr.ID(t.Context())
	require.NoError(t, err)
	err = client.Do(t.Context(), &dagger.Request{
		Query: `query($source: DirectoryID!, $ctr: ContainerID!, $command: String!, $target: String!) {
			gantry(source: $source, toolchain: $ctr, cargoCommand: $command) { build(target: $target) { file(path: "tiny") { id } } } }`,
		Variables: map[string]any{"source": sourceID, "ctr": ctrID, "command": command, "target": target},
	}, &dagger.Response{Data: &out})
	if err != nil {
		return "", err
	}
	path := filepath.Join(t.TempDir(), "tiny")
	_, err = client.LoadFileFromID(dagger.FileID(out.Gantry.Build.File.ID)).Export(t.Context(), path)
	return path, err
}

// The caller's toolchain is used, with its own subcommand and its own mistakes.
func TestCustomToolchain(t *testing.T) {
	client := connect(t)
	// A subcommand of Cargo is a program called cargo-NAME.
	subcommand := func(name, script string) *dagger.Container {
		return client.Container().From("rust:1.96-bookworm").
			WithNewFile("/usr/local/bin/cargo-"+name, "#!/bin/sh\nset -e\nshift\n"+script, dagger.ContainerWithNewFileOpts{Permissions: 0o755})
	}
	dir := tiny(t, "")
	build := func(ctr *dagger.Container, command, target string) (string, error) {
		return buildIn(t, client, dir, ctr, command, target)
	}
	path, err := build(subcommand("shipbuild", `RUSTFLAGS="--cfg shipped" exec cargo build "$@"`), "shipbuild", native)
	require.NoError(t, err)
	assert.Equal(t, "tiny 1.0.0\n", run(t, ".", path))

	// Without git in it, the repository is read in the official image.
	_, err = build(client.Container().From("rust:1.96-bookworm").WithExec([]string{"sh", "-euc", "rm $(command -v git)"}), "build", native)
	require.NoError(t, err)

	// A linker that is set up wrong builds for the machine it runs on.
	_, err = build(subcommand("wrongbuild", `for a do shift; [ "$a" != `+foreign+` ] || a=`+native+`; set -- "$@" "$a"; done; exec cargo build "$@"`), "wrongbuild", foreign)
	assert.ErrorContains(t, err, `binary "tiny" is for x86_64`)

	_, err = build(subcommand("nobuild", `exec cargo check "$@"`), "nobuild", native)
	assert.ErrorContains(t, err, `cargo built no binary "tiny" of package "tiny"`)

	_, err = build(client.Container().From("debian:bookworm-slim"), "build", native)
	assert.ErrorContains(t, err, "the toolchain container has no cargo on its PATH")
}

// What a target needs is installed for its architecture, and set for it alone.
func TestSystemLibraries(t *testing.T) {
	dir := tiny(t, `
[package.metadata.gantry]
targets = ["`+native+`", "`+foreign+`"]
packages = ["zlib1g-dev"]
pre-build = "echo made before > made.txt"

[package.metadata.gantry.target.`+native+`]
env = { FLAVOR = "flavour-one" }

[package.metadata.gantry.target.`+foreign+`]
env = { FLAVOR = "flavour-two" }
`)
	write(t, dir, map[string]string{"src/main.rs": `#[link(name = "z")]
extern "C" {
    fn zlibVersion() -> *const std::os::raw::c_char;
}

fn main() {
    let zlib = unsafe { std::ffi::CStr::from_ptr(zlibVersion()) };
    println!("tiny {} {} {} {:?}", env!("CARGO_PKG_VERSION"), env!("FLAVOR"), include_str!("../made.txt").trim(), zlib);
}
`, ".gitignore": "/target\nmade.txt\n"})
	run(t, dir, "git", "tag", "-d", "v1.0.0")
	commit(t, dir, "v1.0.0")
	out := filepath.Join(t.TempDir(), "dist")
	got := call(t, "--source="+dir, "release", "--tag=v1.0.0", "dist", "export", "--path="+out)
	require.NoError(t, got.err)
	files := unpack(t, out)
	archives := readManifest(t, out).Archives()
	require.Len(t, archives, 2)
	for _, a := range archives {
		assert.Contains(t, a.Binaries[0].Needed, "libz.so.1", a.Target)
		text, err := os.ReadFile(filepath.Join(files, a.Binaries[0].Path))
		require.NoError(t, err)
		flavor := map[string]string{native: "flavour-one", foreign: "flavour-two"}
		assert.Contains(t, string(text), flavor[a.Target], "the environment of %s", a.Target)
		assert.Contains(t, string(text), "made before", "the command before the build of %s", a.Target)
	}

	manifest, err := os.ReadFile(filepath.Join(dir, "Cargo.toml"))
	require.NoError(t, err)
	write(t, dir, map[string]string{"Cargo.toml": replaceOnce(t, string(manifest), `packages = ["zlib1g-dev"]`, "")})
	got = call(t, "--source="+dir, "build", "--target="+foreign, "entries")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), `the toolchain lacks library "z": add its Debian package`)
}

func TestPlanAndMatrix(t *testing.T) {
	dir := sample(t)
	// A newer client leaves its lock file beside the project; it is no change of it.
	write(t, dir, map[string]string{"dagger.lock": "[[\"version\", \"1\"]]\n"})
	got := call(t, "--source="+dir, "release", "--tag=tally-1.4.0", "plan")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "previous tag  tally-1.3.1")
	require.NoError(t, call(t, "--source="+dir, "release", "--tag=tally-1.4.0", "check").err)
	unready := call(t, "--source="+dir, "release", "--tag=tally-1.5.0", "check")
	require.Error(t, unready.err, "what plan only prints, check fails on")
	assert.Contains(t, unready.said(), `tag "tally-1.5.0"`)
	assert.Contains(t, got.stdout, "ready to release")

	got = call(t, "--source="+dir, "release", "--tag=tally-cli-0.3.0", "matrix")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, `{"include":[{"target":"x86_64-unknown-linux-gnu"`)

	run(t, dir, "git", "checkout", "-q", "release/1.3")
	got = call(t, "--source="+dir, "release", "--tag=tally-1.3.2", "as-json")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, `"previousTag": "tally-1.3.1"`)
	assert.Contains(t, got.stdout, `"latest": false`)
	assert.Contains(t, got.stdout, "stays at 1.4.0, the highest stable release")
}

package dist

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/plan"
)

const (
	amd = "x86_64-unknown-linux-gnu"
	arm = "aarch64-unknown-linux-musl"
)

// programs that were compiled, by their architecture: each once for all tests.
var programs sync.Map

// program returns a small static program for a Go architecture, which stands for
// what Cargo would have built.
func program(t *testing.T, arch string) string {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "app")
	if compiled, found := programs.Load(arch); found {
		require.NoError(t, os.WriteFile(out, compiled.([]byte), 0o755))
		return out
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(\"app 1.0.0\") }\n"), 0o644))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "main.go")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, string(text))
	compiled, err := os.ReadFile(out)
	require.NoError(t, err)
	programs.Store(arch, compiled)
	return out
}

// input of a release of one program for the targets given.
func input(t *testing.T, binaries map[string]string, targets ...string) Input {
	t.Helper()
	raw, err := json.Marshal(map[string]any{
		"workspace_root": "/src", "workspace_members": []string{"app"},
		"metadata": map[string]any{"gantry": map[string]any{"targets": []string{amd, arm}, "sbom": false, "notices": false}},
		"packages": []any{map[string]any{
			"id": "app", "name": "app", "version": "1.0.0", "manifest_path": "/src/Cargo.toml", "license": "MIT",
			"targets": []any{map[string]any{"name": "app", "kind": []string{"bin"}}},
		}},
	})
	require.NoError(t, err)
	project, err := plan.Load(raw, "/src", []string{"Cargo.toml", "Cargo.lock", "LICENSE"})
	require.NoError(t, err)
	git := plan.Git{Present: true, Commit: "0123456789abcdef0123456789abcdef01234567", Time: time.Unix(1700000000, 0)}
	p, err := project.Plan("v1.0.0", git, targets)
	require.NoError(t, err)
	require.NoError(t, p.Err())
	extra := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(extra, "LICENSE"), []byte("MIT\n"), 0o600))
	changelog := filepath.Join(t.TempDir(), "log.md")
	require.NoError(t, os.WriteFile(changelog, []byte("# Changelog\n"), 0o600))
	builds, err := p.Builds()
	require.NoError(t, err)
	var built []Target
	for _, b := range builds {
		built = append(built, NewTarget(b, []string{binaries[b.Target.Triple]}))
	}
	in, err := NewInput(p, manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, built)
	require.NoError(t, err)
	in.ExtraDir, in.Changelog = extra, changelog
	return in
}

// quiet fails the test on a warning.
func quiet(t *testing.T) func(string) {
	return func(warning string) { t.Errorf("warning: %s", warning) }
}

func assemble(t *testing.T, in Input) string {
	t.Helper()
	dir := t.TempDir()
	_, err := Assemble(dir, in, quiet(t))
	require.NoError(t, err)
	return dir
}

func binaries(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{amd: program(t, "amd64"), arm: program(t, "arm64")}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	return text
}

// assertArchive compares the files in an archive with the manifest.
func assertArchive(t *testing.T, dir string, a manifest.Asset) {
	t.Helper()
	listed := slices.Clone(a.Files)
	for _, b := range a.Binaries {
		listed = append(listed, manifest.File{Path: b.Path, SHA256: b.SHA256, Size: b.Size, Mode: "0755"})
	}
	f, err := os.Open(filepath.Join(dir, a.Name))
	require.NoError(t, err)
	defer f.Close()
	format, err := archive.FormatOf(a.Name)
	require.NoError(t, err)
	var files []manifest.File
	require.NoError(t, archive.Walk(f, a.Size, format, archive.Limits{}, func(f archive.File, r io.Reader) error {
		h := sha256.New()
		_, err := io.Copy(h, r)
		files = append(files, manifest.File{Path: f.Path, SHA256: hex.EncodeToString(h.Sum(nil)), Size: f.Size, Mode: fmt.Sprintf("%04o", f.Mode)})
		return err
	}))
	assert.ElementsMatch(t, listed, files)
}

func TestAssemble(t *testing.T) {
	bins := binaries(t)
	dir := assemble(t, input(t, bins))
	m, err := Merge(t.Context(), dir, t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, "app", m.Component)
	assert.Equal(t, "2023-11-14T22:13:20Z", m.CommitDate)
	require.Len(t, m.Archives(), 2)
	for _, a := range m.Archives() {
		assertArchive(t, dir, a)
		assert.Equal(t, "static", a.Binaries[0].Linkage)
		assert.Equal(t, "0644", a.Files[0].Mode, "the mode of the source is not that of the archive")
	}
	for i := range 2 {
		again := assemble(t, input(t, bins))
		assert.Equal(t, read(t, dir, manifest.SumsName), read(t, again, manifest.SumsName), "round %d", i)
	}
}

// Nothing that is not what its target asks for gets into an archive.
func TestAssembleRefuses(t *testing.T) {
	bins := binaries(t)
	text := filepath.Join(t.TempDir(), "app")
	require.NoError(t, os.WriteFile(text, []byte("#!/bin/sh\n"), 0o755))
	for says, wrong := range map[string]map[string]string{
		`binary "app" is for aarch64`:                {amd: bins[arm], arm: bins[arm]},
		"not an ELF, PE, Mach-O or WebAssembly file": {amd: text, arm: bins[arm]},
		"no such file or directory":                  {amd: filepath.Join(t.TempDir(), "nothing"), arm: bins[arm]},
	} {
		_, err := Assemble(t.TempDir(), input(t, wrong), quiet(t))
		assert.ErrorContains(t, err, says)
	}
}

func TestMergeFindsWhatChanged(t *testing.T) {
	bins := binaries(t)
	for _, c := range []struct {
		name, says string
		change     func(dir string) error
	}{
		{"an archive is gone", "is missing", func(dir string) error { return os.Remove(filepath.Join(dir, "app-1.0.0-"+amd+".tar.gz")) }},
		{"a byte more", "has SHA-256", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, manifest.ChangelogName), []byte("# changelog\n"), 0o644)
		}},
		{"another manifest", "has SHA-256", func(dir string) error {
			text := append(read(t, dir, manifest.FileName), '\n')
			return os.WriteFile(filepath.Join(dir, manifest.FileName), text, 0o644)
		}},
		{"no sums", "SHA256SUMS", func(dir string) error { return os.Remove(filepath.Join(dir, manifest.SumsName)) }},
	} {
		dir := assemble(t, input(t, bins))
		require.NoError(t, c.change(dir))
		_, err := Merge(t.Context(), dir, t.TempDir())
		assert.ErrorContains(t, err, c.says, c.name)
	}
}

func TestMerge(t *testing.T) {
	bins := binaries(t)
	whole := assemble(t, input(t, bins))
	parts := t.TempDir()
	for _, target := range []string{amd, arm} {
		require.NoError(t, os.Rename(assemble(t, input(t, bins, target)), filepath.Join(parts, target)))
	}
	out := t.TempDir()
	_, err := Merge(t.Context(), parts, out)
	require.NoError(t, err)
	assert.Equal(t, read(t, whole, manifest.SumsName), read(t, out, manifest.SumsName), "parts and whole are the same bytes")

	// What no manifest lists would silently not be released.
	for _, name := range []string{"notes.txt", amd + "/app.dmg"} {
		extra := filepath.Join(parts, name)
		require.NoError(t, os.WriteFile(extra, []byte("x"), 0o644))
		_, err = Merge(t.Context(), parts, t.TempDir())
		assert.ErrorContains(t, err, `the dist has "`+name+`", which no release-manifest.json lists`)
		require.NoError(t, os.Remove(extra))
	}

	other := input(t, bins, arm)
	other.Manifest.Toolchain.Rustc = "rustc 1.95.0"
	require.NoError(t, os.Rename(assemble(t, other), filepath.Join(parts, "other")))
	_, err = Merge(t.Context(), parts, t.TempDir())
	assert.ErrorContains(t, err, "were not built alike")
	_, err = Merge(t.Context(), t.TempDir(), t.TempDir())
	assert.ErrorContains(t, err, "pass what the function dist made")
}

func TestCheckRun(t *testing.T) {
	for run, says := range map[string]string{
		"app 1.0.0\nexit status 0\n":             "",
		"unknown option\nexit status 2\n":        "",
		"listening\nexit status 124\n":           "",
		"./app: not found\nexit status 127\n":    "does not start",
		"GLIBC_2.38 not found\nexit status 1\n":  "",
		"Illegal instruction\nexit status 132\n": "does not start",
		"":                                       "did not run",
	} {
		err := checkRun("app", amd, run)
		if says == "" {
			assert.NoError(t, err, run)
		} else {
			assert.ErrorContains(t, err, says, run)
		}
	}
}

// A file that is a link is in the archive as what it links to.
func TestAssembleFollowsLinks(t *testing.T) {
	in := input(t, binaries(t), amd)
	want := read(t, assemble(t, in), manifest.SumsName)
	file := filepath.Join(in.ExtraDir, "LICENSE")
	require.NoError(t, os.Rename(file, file+".text"))
	require.NoError(t, os.Symlink("LICENSE.text", file))
	assert.Equal(t, want, read(t, assemble(t, in), manifest.SumsName))
}

// As a program, packing reads its job from JSON, and writes the same bytes.
func TestMainProgram(t *testing.T) {
	in := input(t, binaries(t))
	run := func(job Input) (string, error) {
		text, err := json.Marshal(job)
		require.NoError(t, err)
		file, out := filepath.Join(t.TempDir(), "job.json"), filepath.Join(t.TempDir(), "out")
		require.NoError(t, os.WriteFile(file, text, 0o600))
		return out, Main(file, out)
	}
	out, err := run(in)
	require.NoError(t, err)
	assert.Equal(t, read(t, assemble(t, in), manifest.SumsName), read(t, out, manifest.SumsName))

	ran := filepath.Join(t.TempDir(), "run")
	require.NoError(t, os.WriteFile(ran, []byte("no such loader\nexit status 127\n"), 0o600))
	in.Targets[0].Binaries[0].Run = ran
	_, err = run(in)
	assert.ErrorContains(t, err, "does not start: exit status 127")
	assert.ErrorContains(t, Main(filepath.Join(t.TempDir(), "none"), t.TempDir()), "read the input of the packer")
}

// Programs get the list of their crates before anything looks at them.
func TestAssembleWithLists(t *testing.T) {
	bins := binaries(t)
	left := t.TempDir()
	keep(t, left, "", "0\tapp v1.0.0 (/src)\t\t\t\n1\tserde v1.0.0\tMIT\t\t\n")
	with := func() Input {
		in := input(t, bins, amd)
		in.Targets[0].Auditable, in.Targets[0].CratesDir = true, left
		return in
	}
	before, err := os.ReadFile(bins[amd])
	require.NoError(t, err)
	dir := assemble(t, with())
	m, err := Merge(t.Context(), dir, t.TempDir())
	require.NoError(t, err)
	a, found := m.ArchiveFor(amd)
	require.True(t, found)
	assert.Greater(t, a.Binaries[0].Size, int64(len(before)))
	assert.Equal(t, read(t, dir, manifest.SumsName), read(t, assemble(t, with()), manifest.SumsName))
	after, err := os.ReadFile(bins[amd])
	require.NoError(t, err)
	assert.Equal(t, before, after, "what the build made is left as it is")

	for says, change := range map[string]func(*Input){
		`list the crates of target "x86_64-unknown-linux-gnu"`: func(in *Input) { in.Targets[0].CratesDir = t.TempDir() },
		`is package "other"`: func(in *Input) { in.Targets[0].Binaries[0].Package = "other" },
		"no such file":       func(in *Input) { in.Targets[0].Binaries[0].File = filepath.Join(left, "none") },
		"read the ELF file":  func(in *Input) { in.Targets[0].Binaries[0].File = filepath.Join(left, "Cargo.lock") },
	} {
		in := with()
		change(&in)
		_, err := Assemble(t.TempDir(), in, quiet(t))
		assert.ErrorContains(t, err, says)
	}
}

// keep writes what a build keeps about its crates.
func keep(t *testing.T, dir, messages, tree string) {
	t.Helper()
	lock := "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tree"), 0o700))
	for name, text := range map[string]string{"messages": messages, "tree/" + amd: tree, "Cargo.lock": lock} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
}

// A bill of materials is an asset of its target, and the same bytes each time.
func TestAssembleWithBill(t *testing.T) {
	bins := binaries(t)
	left := t.TempDir()
	message := `{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#serde@1.0.0","filenames":["/gantry/target/` + amd + `/release/deps/libserde.rlib"]}`
	keep(t, left, message+"\n", "0\tapp v1.0.0 (/src)\t\t\t\n1\tserde v1.0.0\tMIT/Apache-2.0\t\t\n")
	with := func() Input {
		in := input(t, bins)
		in.Targets[0].SBOM, in.Targets[0].SPDX, in.Targets[0].CratesDir = "app-1.0.0-"+amd+".cdx.json", "app-1.0.0-"+amd+".spdx.json", left
		return in
	}
	dir := assemble(t, with())
	m, err := Merge(t.Context(), dir, t.TempDir())
	require.NoError(t, err)
	var bills []manifest.Asset
	for _, a := range m.Assets {
		if a.Kind == manifest.KindSBOM {
			bills = append(bills, a)
		}
	}
	require.Len(t, bills, 2)
	a, _ := m.ArchiveFor(amd)
	for _, bill := range bills {
		assert.Equal(t, amd, bill.Target)
		text := string(read(t, dir, bill.Name))
		for _, want := range []string{"pkg:cargo/serde@1.0.0", a.SHA256, a.Binaries[0].SHA256, m.CommitDate} {
			assert.Contains(t, text, want, bill.Name)
		}
	}
	assert.Equal(t, read(t, dir, manifest.SumsName), read(t, assemble(t, with()), manifest.SumsName))

	require.NoError(t, os.Remove(filepath.Join(left, "messages")))
	_, err = Assemble(t.TempDir(), with(), quiet(t))
	assert.ErrorContains(t, err, `list the crates of target "`+amd+`": `)
}

// Users learn of a missing library when the program does not start, and the maintainer
// before the release.
func TestWarnOfLibraries(t *testing.T) {
	target := Target{Want: binary.Requirements{Target: "x86_64-unknown-linux-gnu"}, Binaries: []Binary{{Name: "app"}, {Name: "tool"}}}
	var warnings []string
	warnOfLibraries(target, []binary.Facts{
		{Format: binary.ELF, Needed: []string{"libssl.so.3", "libcrypto.so.3", "libc.so.6"}}, {Format: binary.ELF, Needed: []string{"libc.so.6"}},
	}, func(w string) { warnings = append(warnings, w) })
	assert.Equal(t, []string{`binary "app" of target "x86_64-unknown-linux-gnu" needs libssl.so.3 and libcrypto.so.3, which not every system has: link it statically, or tell users what to install`}, warnings)
}

// A program that would fail the smoke test of its image is found before anything
// is uploaded: an error where an image is configured and nothing else can help
// the program, else a warning.
func TestAssembleChecksTheSmokeTest(t *testing.T) {
	bins := binaries(t)
	const refuses = "error: unexpected argument '--version'\nexit status 2\n"
	for name, c := range map[string]struct {
		image       *manifest.Image
		run         string
		fails, warn string
	}{
		"it names its version": {&manifest.Image{User: "1"}, "app 1.0.0\nexit status 0\n", "", ""},
		"no such option":       {&manifest.Image{User: "1"}, refuses, `binary "app" of target "aarch64-unknown-linux-musl" would fail the smoke test of the image: --version ended with exit status 2: answer --version, or set smoke.args and smoke.expect, or smoke.skip = true, in [package.metadata.gantry.image]`, ""},
		"it goes on":           {&manifest.Image{User: "1"}, "listening\nexit status 124\n", "--version did not end within 10 seconds", ""},
		"another version":      {&manifest.Image{User: "1"}, "app 11.0.0\nexit status 0\n", "does not name version 1.0.0", ""},
		"no image configured":  {nil, refuses, "", "would fail the smoke test"},
		"variables may help":   {&manifest.Image{Env: map[string]string{"CONFIG": "/etc/app"}}, refuses, "", "would fail the smoke test"},
		"arguments may help":   {&manifest.Image{Entrypoint: []string{"/usr/local/bin/app", "serve"}}, refuses, "", "would fail the smoke test"},
		"another test":         {&manifest.Image{Smoke: &manifest.Smoke{Args: []string{"check"}}}, refuses, "", ""},
		"no test":              {&manifest.Image{Smoke: &manifest.Smoke{Skip: true}}, refuses, "", ""},
		"another text":         {&manifest.Image{Smoke: &manifest.Smoke{Expect: "fine"}}, "all is fine\nexit status 0\n", "", ""},
		"not that text":        {&manifest.Image{Smoke: &manifest.Smoke{Expect: "fine"}}, "app 1.0.0\nexit status 0\n", `does not contain "fine"`, ""},
		"another platform":     {&manifest.Image{Platforms: []string{"linux/amd64"}}, refuses, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(t, bins)
			in.Manifest.Image = c.image
			in.Manifest.UseLeastSchema()
			run := filepath.Join(t.TempDir(), "run")
			require.NoError(t, os.WriteFile(run, []byte(c.run), 0o644))
			for i := range in.Targets {
				if in.Targets[i].Want.Target == arm {
					in.Targets[i].Binaries[0].Run = run
				}
			}
			var warnings []string
			_, err := Assemble(t.TempDir(), in, func(w string) { warnings = append(warnings, w) })
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
			} else {
				require.NoError(t, err)
			}
			if c.warn != "" {
				require.Len(t, warnings, 1)
				assert.Contains(t, warnings[0], c.warn)
			} else {
				assert.Empty(t, warnings)
			}
		})
	}
}

// What an image lacks is refused once all parts are together, and of a part only
// what that part is to blame for.
func TestCheckImage(t *testing.T) {
	bins := binaries(t)
	in := input(t, bins, amd)
	in.Manifest.Image = &manifest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}}
	m, err := Assemble(t.TempDir(), in, quiet(t))
	require.NoError(t, err, "the other platform is built elsewhere")
	assert.ErrorContains(t, CheckImage(m), `no archive for platform "linux/arm64"`)

	in = input(t, bins)
	in.Manifest.Image = &manifest.Image{Platforms: []string{"linux/amd64", "linux/arm64"}}
	m, err = Assemble(t.TempDir(), in, quiet(t))
	require.NoError(t, err)
	assert.NoError(t, CheckImage(m))
	m.Image = nil
	assert.NoError(t, CheckImage(m))

	in.Manifest.Image = &manifest.Image{Include: map[string]string{"nope": "/etc/nope"}}
	_, err = Assemble(t.TempDir(), in, quiet(t))
	assert.ErrorContains(t, err, `include "nope" is not in archive`)
}

package dist

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/release/plan"
)

func archiveOf(target string) string { return "app-1.0.0-" + target + ".tar.gz" }

// Whatever can't be read or written ends the packing with an error.
func TestAssembleReportsFailures(t *testing.T) {
	bins := binaries(t)
	inTheWay := func(name string) func(*Input, string) {
		return func(_ *Input, dir string) { require.NoError(t, os.Mkdir(filepath.Join(dir, name), 0o755)) }
	}
	for name, c := range map[string]struct {
		change func(in *Input, dir string)
		says   string
	}{
		"no date":              {func(in *Input, _ string) { in.Manifest.CommitDate = "today" }, `read the commit date "today"`},
		"no changelog":         {func(in *Input, _ string) { in.Changelog += ".none" }, "no such file"},
		"changelog in the way": {inTheWay(manifest.ChangelogName), manifest.ChangelogName},
		"archive in the way":   {inTheWay(archiveOf(amd)), archiveOf(amd)},
		"manifest in the way":  {inTheWay(manifest.FileName), manifest.FileName},
		"sums in the way":      {inTheWay(manifest.SumsName), manifest.SumsName},
		"an invalid manifest":  {func(in *Input, _ string) { in.Manifest.Commit = "x" }, `field "commit"`},
		"an unknown archive":   {func(in *Input, _ string) { in.Targets[0].Archive = "app.rar" }, `"app.rar"`},
		"a link for a binary": {func(in *Input, dir string) {
			link := filepath.Join(t.TempDir(), "app")
			require.NoError(t, os.Symlink(bins[amd], link))
			in.Targets[0].Binaries[0].File = link
		}, "symbolic link"},
		"an extra file is gone":     {func(in *Input, _ string) { require.NoError(t, os.Remove(filepath.Join(in.ExtraDir, "LICENSE"))) }, `find "LICENSE"`},
		"an extra file is a folder": {func(in *Input, _ string) { in.Extra = append(in.Extra, plan.Extra{Path: "x", Source: "."}) }, "not a regular file"},
		"an extra file twice":       {func(in *Input, _ string) { in.Extra = append(in.Extra, in.Extra...) }, "write archive"},
	} {
		t.Run(name, func(t *testing.T) {
			in, dir := input(t, bins), t.TempDir()
			c.change(&in, dir)
			_, err := Assemble(dir, in, quiet(t))
			assert.ErrorContains(t, err, c.says)
		})
	}
}

func TestNewInputKnowsThePlansTargets(t *testing.T) {
	raw, err := json.Marshal(map[string]any{
		"workspace_root": "/src", "workspace_members": []string{"app"},
		"packages": []any{map[string]any{
			"id": "app", "name": "app", "version": "1.0.0", "manifest_path": "/src/Cargo.toml",
			"targets": []any{map[string]any{"name": "app", "kind": []string{"bin"}}},
		}},
	})
	require.NoError(t, err)
	project, err := plan.Load(raw, "/src", []string{"Cargo.toml", "Cargo.lock"})
	require.NoError(t, err)
	p, err := project.Plan("v1.0.0", plan.Git{Present: true, Commit: strings.Repeat("a", 40)}, nil)
	require.NoError(t, err)
	_, err = NewInput(p, manifest.Toolchain{}, []Target{{Want: binary.Requirements{Target: "x86_64-unknown-none"}}})
	assert.ErrorContains(t, err, "x86_64-unknown-none")
}

// What is executable in the archive doesn't depend on how files came here.
func TestModesInArchives(t *testing.T) {
	bins := binaries(t)
	require.NoError(t, os.Chmod(bins[amd], 0o600))
	in := input(t, bins, amd)
	script := filepath.Join(in.ExtraDir, "run.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600))
	require.NoError(t, os.Chmod(script, 0o710))
	in.Extra = append(in.Extra, plan.Extra{Path: "run.sh", Source: "run.sh"})
	dir := assemble(t, in)
	m, err := Merge(t.Context(), dir, t.TempDir())
	require.NoError(t, err)
	a := m.Archives()[0]
	assertArchive(t, dir, a)
	modes := map[string]string{}
	for _, file := range a.Files {
		modes[filepath.Base(file.Path)] = file.Mode
	}
	assert.Equal(t, map[string]string{"LICENSE": "0644", "run.sh": "0755"}, modes)
}

func TestMergeReportsUnreadableFiles(t *testing.T) {
	_, err := Merge(t.Context(), t.TempDir(), t.TempDir())
	assert.ErrorContains(t, err, manifest.FileName)
	dir := assemble(t, input(t, binaries(t)))
	changelog := filepath.Join(dir, manifest.ChangelogName)
	require.NoError(t, os.Remove(changelog))
	require.NoError(t, os.Mkdir(changelog, 0o755))
	_, err = Merge(t.Context(), dir, t.TempDir())
	assert.ErrorContains(t, err, `asset "CHANGELOG.md" is not a regular file`)
}

// SHA256SUMS and the manifest list the same files.
func TestSums(t *testing.T) {
	dir := assemble(t, input(t, binaries(t), amd))
	sums, text := read(t, dir, manifest.SumsName), read(t, dir, manifest.FileName)
	load := func(sums, text []byte) error {
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifest.SumsName), sums, 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, manifest.FileName), text, 0o644))
		_, err := published.Load(t.Context(), published.Dir(dir))
		return err
	}
	require.NoError(t, load(sums, text))

	lines := bytes.SplitAfter(bytes.TrimSuffix(sums, []byte("\n")), []byte("\n"))
	require.Len(t, lines, 3)
	for i, name := range []string{manifest.ChangelogName, archiveOf(amd), manifest.FileName} {
		require.Contains(t, string(lines[i]), name)
		fewer := bytes.Join(append(append([][]byte{}, lines[:i]...), lines[i+1:]...), nil)
		if !bytes.HasSuffix(fewer, []byte("\n")) {
			fewer = append(fewer, '\n')
		}
		require.EqualError(t, load(fewer, text), fmt.Sprintf("asset %q is not listed in SHA256SUMS", name), "the line is gone, and nothing else is wrong")
	}
	more := append(bytes.Clone(sums), strings.Repeat("a", 64)+"  zz\n"...)
	require.EqualError(t, load(more, text), `asset "zz" is listed in SHA256SUMS, but not in release-manifest.json`)
	require.ErrorContains(t, load([]byte("<html>\n"), text), `asset "SHA256SUMS" is an HTML page`)
	require.ErrorContains(t, load([]byte("nothing\n"), text), `asset "SHA256SUMS" is invalid: parse checksums: line 1`)
	require.ErrorContains(t, load(sums, append(text, '\n')), `asset "release-manifest.json" has SHA-256 `)
}

func TestMergeReportsFailures(t *testing.T) {
	bins := binaries(t)
	_, err := Merge(t.Context(), filepath.Join(t.TempDir(), "none"), t.TempDir())
	assert.ErrorIs(t, err, os.ErrNotExist)

	parts := func() string {
		dir := t.TempDir()
		require.NoError(t, os.Rename(assemble(t, input(t, bins, amd)), filepath.Join(dir, "one")))
		return dir
	}
	damaged := parts()
	require.NoError(t, os.WriteFile(filepath.Join(damaged, "one", archiveOf(amd)), nil, 0o644))
	_, err = Merge(t.Context(), damaged, t.TempDir())
	assert.ErrorContains(t, err, archiveOf(amd))

	for _, name := range []string{archiveOf(amd), manifest.FileName, manifest.SumsName} {
		to := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(to, name), 0o755))
		_, err = Merge(t.Context(), parts(), to)
		assert.ErrorContains(t, err, name)
	}

	// The same target from two runners is fine if it is the same.
	twice := parts()
	require.NoError(t, os.Rename(assemble(t, input(t, bins, amd)), filepath.Join(twice, "two")))
	to := t.TempDir()
	m, err := Merge(t.Context(), twice, to)
	require.NoError(t, err)
	assert.Len(t, m.Assets, 2, "each asset once")
	_, err = Merge(t.Context(), to, t.TempDir())
	require.NoError(t, err)

	other := input(t, bins, amd)
	require.NoError(t, os.WriteFile(filepath.Join(other.ExtraDir, "LICENSE"), []byte("Apache-2.0\n"), 0o600))
	require.NoError(t, os.Rename(assemble(t, other), filepath.Join(twice, "three")))
	_, err = Merge(t.Context(), twice, t.TempDir())
	assert.ErrorContains(t, err, "built twice with different bytes")
}

func TestMainReportsFailures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "job.json")
	write := func(text []byte) { require.NoError(t, os.WriteFile(file, text, 0o600)) }
	write([]byte("{"))
	assert.ErrorContains(t, Main(file, t.TempDir()), "read the input of the packer")

	in := input(t, binaries(t), amd)
	job := func(change func(*Input)) {
		changed := in
		changed.Targets = append([]Target{}, in.Targets...)
		changed.Targets[0].Binaries = append([]Binary{}, in.Targets[0].Binaries...)
		change(&changed)
		text, err := json.Marshal(changed)
		require.NoError(t, err)
		write(text)
	}
	job(func(*Input) {})
	assert.ErrorContains(t, Main(file, filepath.Join(file, "out")), "not a directory")
	job(func(in *Input) { in.Targets[0].Binaries[0].File = file })
	out := t.TempDir()
	assert.ErrorContains(t, Main(file, out), "not an ELF")
	assert.NoFileExists(t, filepath.Join(out, manifest.FileName), "a release with a wrong binary is not handed out")
}

func TestBillReportsFailures(t *testing.T) {
	bins := binaries(t)
	left := t.TempDir()
	keep(t, left, "", "")
	with := func() Input {
		in := input(t, bins, amd)
		in.Targets[0].SBOM, in.Targets[0].SPDX, in.Targets[0].CratesDir = "app.cdx.json", "app.spdx.json", left
		return in
	}
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "app.cdx.json"), 0o755))
	_, err := Assemble(dir, with(), quiet(t))
	assert.ErrorContains(t, err, "app.cdx.json")
	for _, name := range []string{"messages", "tree/" + amd, "Cargo.lock"} {
		file := filepath.Join(left, name)
		good, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, []byte("{\n"), 0o600))
		_, err = Assemble(t.TempDir(), with(), quiet(t))
		assert.ErrorContains(t, err, `list the crates of target "`+amd+`": `, name)
		require.NoError(t, os.WriteFile(file, good, 0o600))
	}
}

// A release without Linux archives has no image to check.
func TestNothingToCheck(t *testing.T) {
	warnings, err := checkImage(&manifest.Manifest{Tag: "v1.0.0", Version: "1.0.0", Component: "app"}, nil)
	require.NoError(t, err)
	assert.Empty(t, warnings)
}

func TestCheckRunAtTheEdges(t *testing.T) {
	for status, starts := range map[string]bool{"125": true, "126": false, "127": false, "128": true, "129": false} {
		err := checkRun("app", amd, "output\nexit status "+status+"\n")
		assert.Equal(t, starts, err == nil, status)
		if !starts {
			assert.ErrorContains(t, err, "\noutput", "what it printed")
			assert.NotContains(t, err.Error(), "output\nexit status")
		}
	}
}

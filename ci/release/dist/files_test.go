package dist

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// A file that is added is an asset like the others: listed, and in SHA256SUMS.
func TestAddFiles(t *testing.T) {
	dir, from := assemble(t, input(t, binaries(t), amd)), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(from, "install.sh"), []byte("#!/bin/sh\n"), 0o600))
	merged := t.TempDir()
	m, err := Merge(t.Context(), dir, merged)
	require.NoError(t, err)
	require.NoError(t, AddFiles(merged, m, from, []string{"install.sh"}))

	again, err := Merge(t.Context(), merged, t.TempDir())
	require.NoError(t, err, "it is a release like any other")
	added, found := again.AssetByName("install.sh")
	require.True(t, found)
	assert.Equal(t, manifest.KindFile, added.Kind)
	assert.Equal(t, int64(len("#!/bin/sh\n")), added.Size)
	assert.Contains(t, string(read(t, merged, manifest.SumsName)), added.SHA256+"  install.sh\n")

	err = AddFiles(merged, m, from, []string{"install.sh"})
	assert.ErrorContains(t, err, `add the file "install.sh": the release has an asset of this name already (file): pass another --name`)
	assert.ErrorContains(t, AddFiles(merged, m, from, []string{"none"}), `add the file "none"`)
	assert.ErrorContains(t, AddFiles(merged, m, from, []string{manifest.ChangelogName}), "already (changelog)")
}

// As a program, merging gives the same bytes, and reports what it can't do.
func TestMergeProgram(t *testing.T) {
	parts, files := t.TempDir(), t.TempDir()
	require.NoError(t, os.Rename(assemble(t, input(t, binaries(t), amd)), filepath.Join(parts, "0")))
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, MergeMain(parts, filepath.Join(files, "none"), out))
	assert.Equal(t, string(read(t, filepath.Join(parts, "0"), manifest.SumsName)), string(read(t, out, manifest.SumsName)))

	require.NoError(t, os.WriteFile(filepath.Join(files, "b.txt"), []byte("b"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(files, "a.txt"), []byte("a"), 0o600))
	more := filepath.Join(t.TempDir(), "out")
	require.NoError(t, MergeMain(parts, files, more))
	m, err := Merge(t.Context(), more, t.TempDir())
	require.NoError(t, err)
	for _, name := range []string{"a.txt", "b.txt"} {
		_, found := m.AssetByName(name)
		assert.True(t, found, name)
	}
	assert.ErrorContains(t, MergeMain(t.TempDir(), files, filepath.Join(t.TempDir(), "out")), manifest.FileName)
	assert.ErrorContains(t, MergeMain(parts, filepath.Join(files, "a.txt"), filepath.Join(t.TempDir(), "out")), "a.txt")
	assert.ErrorContains(t, MergeMain(parts, files, filepath.Join(files, "a.txt", "out")), "not a directory")
}

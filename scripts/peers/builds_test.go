package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMeasured(t *testing.T) {
	const text = `seconds cold 20.50
sha256 a target/x.tar.gz 11
sha256 a target/y.tar.gz 22
failed aarch64-unknown-linux-musl
seconds unchanged 3.00
seconds unchanged 1.00
seconds unchanged 2.00
seconds edited 5.00
seconds one 4.00
sha256 b target/x.tar.gz 11
sha256 b target/y.tar.gz 33
`
	r, err := measured(bufio.NewScanner(strings.NewReader(text)))
	require.NoError(t, err)
	assert.Equal(t, &buildResults{
		cold: 20.5, unchanged: 2, edited: 5, one: 4, compared: 2,
		differing: []string{"target/y.tar.gz"}, failed: []string{"aarch64-unknown-linux-musl"},
	}, r)

	for wrong, want := range map[string]string{
		"seconds one 1.00\nsha256 a x 1\n": "build.sh made 1 files to compare in 0 cold builds",
		"seconds cold 1.00\n":              "build.sh made 0 files to compare in 1 cold builds",
		"seconds cold 1,00\n":              `read "seconds cold 1,00"`,
		"sha256 c x 1\n":                   `read "sha256 c x 1": no line of build.sh`,
		text + "error: could not compile `tally-server` (lib)\n": "no line of build.sh",
	} {
		_, err := measured(bufio.NewScanner(strings.NewReader(wrong)))
		assert.ErrorContains(t, err, want)
	}
}

func TestDiffering(t *testing.T) {
	assert.Empty(t, differing(map[string]string{"x": "1"}, map[string]string{"x": "1"}))
	assert.Equal(t, []string{"w", "x", "y"}, differing(map[string]string{"x": "1", "y": "2", "z": "3"}, map[string]string{"w": "0", "x": "2", "z": "3"}))
}

// The test's own program needs glibc, or nothing does.
func TestGlibcFloor(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("MIT\n"), 0o644))
	_, err := glibcFloor(dir)
	assert.EqualError(t, err, dir+" has no program that needs glibc")

	program, err := os.ReadFile("/bin/sh")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sh"), program, 0o755))
	floor, err := glibcFloor(dir)
	require.NoError(t, err)
	assert.Regexp(t, `^2\.\d+$`, floor)
}

func TestBuildRows(t *testing.T) {
	rows := buildRows(map[string]*buildResults{
		Gantry:  {cold: 100, unchanged: 2, edited: 90, one: 12, compared: 4, glibc: "2.36"},
		"dist":  {cold: 60, unchanged: 1, edited: 20, one: 9, compared: 3, glibc: "2.9", failed: []string{"aarch64-unknown-linux-musl"}, differing: []string{"x"}},
		"cargo": {cold: 99, unchanged: 1, edited: 30, one: 10, compared: 8, glibc: "2.36"},
	})
	verdicts := map[string]Verdict{}
	for _, r := range rows {
		verdicts[r.What] = r.Verdict()
	}
	assert.Equal(t, map[string]Verdict{
		"files of four targets, cold":                         Equal,
		"again, nothing changed":                              Behind,
		"again, a line of one crate changed":                  Behind,
		"binaries of one target, a line of one crate changed": Behind,
		"targets built on one machine, of 4":                  Equal,
		"files that differ when built in another directory":   Equal,
		"newest glibc that a gnu binary needs":                Behind,
	}, verdicts)
	assert.Equal(t, "60.0 for 3 of 4 targets", rows[0].Cells["dist"].Text)
	assert.Equal(t, "1 of 3", rows[5].Cells["dist"].Text)
	assert.Contains(t, rows[0].Cells["dist"].Note, "aarch64-unknown-linux-musl")
}

func TestConfigurations(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, configurations(dir, "0.34.0"))
	for _, name := range []string{"goreleaser.yaml", "dist-workspace.toml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.NotContains(t, string(text), "{{BUILDS}}")
		assert.Equal(t, name == "goreleaser.yaml", strings.Contains(string(text), "{{TARGETS}}"), "build.sh fills GoReleaser's targets in")
	}
	info, err := os.Stat(filepath.Join(dir, "shims", "rustup"))
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&0o111)
}

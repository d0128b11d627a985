package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.."

// The documentation has the results of docs/peers.json. This test is here and not in
// ci/docs, since Dagger loads that one and leaves out scripts/.
func TestDocumentation(t *testing.T) {
	results, err := ReadResults(filepath.Join(root, documented))
	require.NoError(t, err)
	require.Contains(t, results.Parts, "releases")
	for _, p := range results.Parts {
		assert.NotEmpty(t, p.Rows)
		assert.Contains(t, p.Tools, Gantry)
		assert.NotEmpty(t, p.Command)
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		return string(text)
	}
	assert.Equal(t, results.Page(), read(page), "%s is not of %s: run scripts/bench peers -docs", page, documented)
	want, err := results.intoReadme(read(readme))
	require.NoError(t, err)
	assert.Equal(t, want, read(readme), "README.md is not of %s: run scripts/bench peers -docs", documented)
}

func exampleResults() *Results {
	r := &Results{Parts: map[string]*PartResults{}}
	row := func(what string, ours float64, headline bool) Row {
		return Row{What: what, Better: Less, Headline: headline, Cells: map[string]Cell{Gantry: Number(ours).With("a note"), "gh": Number(2)}}
	}
	r.Add("releases", &PartResults{
		Date: "2026-12-02", Command: "scripts/bench peers releases", Machine: "2 CPUs", Tools: map[string]string{Gantry: "0.1.0"},
		Rows: []Row{row("chosen", 1, true), row("left out", 1, false), row("behind", 3, false)},
	})
	return r
}

// The README has the chosen rows, and never lacks one in which Gantry is behind.
func TestShort(t *testing.T) {
	short := exampleResults().Short()
	assert.Contains(t, short, "| chosen | **1** | 2 | ahead |")
	assert.Contains(t, short, "| behind | 3 | **2** | behind |")
	assert.NotContains(t, short, "left out")
	assert.Contains(t, exampleResults().Page(), "| left out | **1** (1) | 2 | ahead |")
}

func TestDocument(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "docs"), 0o755))
	write := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, readme), []byte(text), 0o644))
	}
	from := filepath.Join(dir, "out")
	require.NoError(t, exampleResults().Write(from))
	from = filepath.Join(from, "peers.json")

	write("# Title\n")
	assert.ErrorContains(t, document(dir, from), "lacks the two lines")
	write("# Title\n" + begin + "old\n" + stop + "end\n")
	require.NoError(t, document(dir, from))
	text, err := os.ReadFile(filepath.Join(dir, readme))
	require.NoError(t, err)
	assert.Equal(t, "# Title\n"+begin+"\n"+exampleResults().Short()+"\n"+stop+"end\n", string(text))
	again, err := ReadResults(filepath.Join(dir, documented))
	require.NoError(t, err)
	assert.Equal(t, exampleResults(), again)
	assert.ErrorContains(t, document(dir, filepath.Join(dir, "none.json")), "no results")
}

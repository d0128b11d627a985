package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVerdict(t *testing.T) {
	cells := func(ours, theirs float64) map[string]Cell {
		return map[string]Cell{Gantry: Number(ours), "gh": Number(theirs), "other": NotMeasured("too long")}
	}
	for _, c := range []struct {
		name string
		row  Row
		want Verdict
		best []string
	}{
		{"less", Row{Better: Less, Cells: cells(1, 2)}, Ahead, []string{Gantry}},
		{"more", Row{Better: Less, Cells: cells(2, 1)}, Behind, []string{"gh"}},
		{"more is better", Row{Better: More, Cells: cells(2, 1)}, Ahead, []string{Gantry}},
		{"less where more is better", Row{Better: More, Cells: cells(1, 2)}, Behind, []string{"gh"}},
		{"the same", Row{Better: More, Cells: cells(0, 0)}, Equal, []string{"gh", Gantry}},
		{"nearly the same", Row{Better: Less, Within: 0.05, Cells: cells(104, 100)}, Equal, []string{"gh", Gantry}},
		{"not near enough", Row{Better: Less, Within: 0.05, Cells: cells(106, 100)}, Behind, []string{"gh"}},
		{"ahead by more than that", Row{Better: Less, Within: 0.05, Cells: cells(94, 100)}, Ahead, []string{Gantry}},
		{"nothing is better", Row{Cells: cells(1, 2)}, Unknown, nil},
		{"Gantry was not measured", Row{Better: Less, Cells: map[string]Cell{Gantry: NotMeasured("x"), "gh": Number(1)}}, Unknown, []string{"gh"}},
		{"nobody else was", Row{Better: Less, Cells: map[string]Cell{Gantry: Number(1), "gh": Text("no")}}, Unknown, []string{Gantry}},
	} {
		assert.Equal(t, c.want, c.row.Verdict(), c.name)
		assert.ElementsMatch(t, c.best, c.row.Best(), c.name)
	}
}

func TestMarkdown(t *testing.T) {
	p := &PartResults{
		Date: "2026-12-02", Command: "scripts/bench peers releases", Machine: "2 CPUs",
		Tools: map[string]string{"zeta": "9", "gh": "2.23.0", Gantry: "0.1.0 (abc)"}, Notes: []string{"GitHub is a fake."},
		Rows: []Row{
			{What: "time", Unit: "s", Better: Less, Cells: map[string]Cell{Gantry: Number(2.5), "gh": Number(1.25), "zeta": NotMeasured("no compiler")}},
			{What: "sent", Better: Less, Cells: map[string]Cell{Gantry: Bytes(123456), "gh": Bytes(2097152), "zeta": Graded(200000, "a | b")}},
			{What: "sees", Cells: map[string]Cell{Gantry: Text("yes").With("no compiler is fine")}},
		},
	}
	assert.Equal(t, "`scripts/bench peers releases`, 2026-12-02, 2 CPUs.\n"+
		"Versions: gantry 0.1.0 (abc), gh 2.23.0, zeta 9. The best values are bold.\n\n"+
		"| | gantry | gh | zeta | Gantry is |\n|---|---|---|---|---|\n"+
		"| time, s | 2.5 | **1.25** | not measured (1) | behind |\n"+
		"| sent | **123.5 kB** | 2.1 MB | a \\| b | ahead |\n"+
		"| sees | yes (2) |  |  |  |\n\n"+
		"1. not measured: no compiler\n2. no compiler is fine\n\n- GitHub is a fake.\n", p.markdown())
}

// A part that runs alone replaces its own rows, and leaves those of other parts.
func TestMerge(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "peers.json")
	empty, err := ReadResults(path)
	require.NoError(t, err, "the first run has nothing to merge with")
	row := func(what string) []Row { return []Row{{What: what, Cells: map[string]Cell{Gantry: Number(1)}}} }
	empty.Add("releases", &PartResults{Rows: row("old")})
	empty.Add("builds", &PartResults{Rows: row("kept")})
	require.NoError(t, empty.Write(dir))

	again, err := ReadResults(path)
	require.NoError(t, err)
	again.Add("releases", &PartResults{Rows: row("new")})
	require.NoError(t, again.Write(dir))

	merged, err := ReadResults(path)
	require.NoError(t, err)
	require.Len(t, merged.Parts, 2)
	require.Len(t, merged.Parts["releases"].Rows, 1)
	assert.Equal(t, "new", merged.Parts["releases"].Rows[0].What)
	assert.Equal(t, "releases", merged.Parts["releases"].Rows[0].Part)
	assert.Equal(t, "kept", merged.Parts["builds"].Rows[0].What)
	text, err := os.ReadFile(filepath.Join(dir, "peers.md"))
	require.NoError(t, err)
	assert.Contains(t, string(text), "| new |")
	assert.NotContains(t, string(text), "| old |")

	require.NoError(t, os.WriteFile(path, []byte("{"), 0o644))
	_, err = ReadResults(path)
	assert.ErrorContains(t, err, "delete it", "an unreadable file is not taken for an empty one")
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 1: "1", 1.5: "1.5", 0.126: "0.13", 10: "10", 100: "100", 1234.5: "1234", 41943040: "41943040", -2.5: "-2.5"} {
		assert.Equal(t, want, number(value))
	}
}

func TestArguments(t *testing.T) {
	o, err := parse([]string{"-rounds", "5", "-faults", "light", "releases"})
	require.NoError(t, err)
	assert.Equal(t, []string{"releases"}, o.parts)
	assert.Equal(t, "scripts/bench peers -rounds 5 -faults light releases", o.command("releases"))
	o, err = parse(nil)
	require.NoError(t, err)
	assert.Len(t, o.parts, len(parts))
	assert.Equal(t, "scripts/bench peers releases", o.command("releases"))
	for _, wrong := range [][]string{{"release"}, {"-faults", "none"}, {"-rounds", "0"}} {
		_, err := parse(wrong)
		assert.Error(t, err, wrong)
	}
}

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Results are the rows of all parts, each from the last run of its part.
type Results struct {
	Parts map[string]*PartResults `json:"parts"`
}

// PartResults are the rows of one part, and where they come from.
type PartResults struct {
	// Date is the day of the run, Command what ran, and Machine where.
	Date    string `json:"date"`
	Command string `json:"command"`
	Machine string `json:"machine"`
	// Tools has the versions of the tools that were compared.
	Tools map[string]string `json:"tools"`
	// Notes tell how the tools were compared.
	Notes []string `json:"notes,omitempty"`
	Rows  []Row    `json:"rows"`
}

// columns is the order of the tools in tables. Others follow, sorted.
var columns = []string{Gantry, "goreleaser", "dist", "gh", "semantic-release", "release-plz"}

// ReadResults reads the results of earlier runs. A file that isn't there has none.
func ReadResults(path string) (*Results, error) {
	r := &Results{Parts: map[string]*PartResults{}}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read %s: %w: delete it, and run all parts again", path, err)
	}
	return r, nil
}

// Add replaces what earlier runs have about a part.
func (r *Results) Add(part string, p *PartResults) {
	for i := range p.Rows {
		p.Rows[i].Part = part
	}
	r.Parts[part] = p
}

// Write writes the results as peers.json and peers.md into a directory.
func (r *Results) Write(directory string) error {
	text, err := r.json()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(directory, "peers.json"), text, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "peers.md"), []byte(r.Markdown()), 0o644)
}

func (r *Results) json() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// Markdown returns the results as tables, one for each part.
func (r *Results) Markdown() string {
	var b strings.Builder
	for _, p := range parts {
		if got := r.Parts[p.name]; got != nil {
			fmt.Fprintf(&b, "### %s\n\n%s\n", p.title, got.markdown())
		}
	}
	return b.String()
}

// markdown returns the table of a part, with what is to know about it.
func (p *PartResults) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", p.origin())
	var versions []string
	for _, name := range inOrder(maps.Keys(p.Tools)) {
		versions = append(versions, name+" "+p.Tools[name])
	}
	fmt.Fprintf(&b, "Versions: %s. The best values are bold.\n\n", strings.Join(versions, ", "))
	notes := &footnotes{}
	b.WriteString(table(p.Rows, notes))
	b.WriteString("\n")
	for i, note := range notes.texts {
		fmt.Fprintf(&b, "%d. %s\n", i+1, note)
	}
	if len(notes.texts) > 0 && len(p.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, note := range p.Notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	return b.String()
}

// origin says what made the rows.
func (p *PartResults) origin() string {
	return fmt.Sprintf("`%s`, %s, %s.", p.Command, p.Date, p.Machine)
}

// table returns rows as a table. It has no notes if notes is nil.
func table(rows []Row, notes *footnotes) string {
	var b strings.Builder
	tools := toolsIn(rows)
	fmt.Fprintf(&b, "| | %s | Gantry is |\n|---|%s---|\n", strings.Join(tools, " | "), strings.Repeat("---|", len(tools)))
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.title())
		for _, tool := range tools {
			fmt.Fprintf(&b, " %s |", row.cell(tool, notes))
		}
		fmt.Fprintf(&b, " %s |\n", row.Verdict())
	}
	return b.String()
}

// toolsIn returns the tools that have a cell, in the order of the columns.
func toolsIn(rows []Row) []string {
	all := map[string]bool{}
	for _, row := range rows {
		for name := range row.Cells {
			all[name] = true
		}
	}
	return inOrder(maps.Keys(all))
}

// title is the first cell of a row.
func (r Row) title() string {
	if r.Unit == "" {
		return escape(r.What)
	}
	return escape(r.What + ", " + r.Unit)
}

// cell is the cell of a tool, with the number of its note.
func (r Row) cell(tool string, notes *footnotes) string {
	c, ok := r.Cells[tool]
	if !ok {
		return ""
	}
	text := escape(c.Text)
	if text == "" {
		text = number(c.Value)
	}
	if slices.Contains(r.Best(), tool) {
		text = "**" + text + "**"
	}
	if c.Note != "" && notes != nil {
		text += fmt.Sprintf(" (%d)", notes.add(c.Note))
	}
	return text
}

// footnotes are the notes of a table. Each has a number.
type footnotes struct{ texts []string }

// add returns the number of a note.
func (f *footnotes) add(text string) int {
	i := slices.Index(f.texts, text)
	if i < 0 {
		i = len(f.texts)
		f.texts = append(f.texts, text)
	}
	return i + 1
}

// number formats a value: whole if it is large, else with two digits at most.
func number(value float64) string {
	digits := 2
	if abs(value) >= 100 {
		digits = 0
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// escape makes a text fit for a cell of a table.
func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(strings.TrimSpace(text))
}

// inOrder sorts the names of tools as columns.
func inOrder(names iter.Seq[string]) []string {
	rank := func(name string) int {
		if i := slices.Index(columns, name); i >= 0 {
			return i
		}
		return len(columns)
	}
	return slices.SortedFunc(names, func(a, b string) int {
		if d := rank(a) - rank(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

func sorted(names iter.Seq[string]) []string { return slices.Sorted(names) }

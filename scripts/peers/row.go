package main

import (
	"maps"

	"dagger/gantry/scripts/units"
)

// Gantry is the name of Gantry's column. It is the first of each table.
const Gantry = "gantry"

// What is better in a row.
const (
	// Less means that the smallest value is the best.
	Less = "less"
	// More means that the largest value is the best.
	More = "more"
)

// Row is one thing that is compared.
type Row struct {
	// Part is the name of the part, as on the command line. It is set by the program.
	Part string `json:"part"`
	// What says what is compared, for a person: "release complete after one run".
	What string `json:"what"`
	// Unit is the unit of the values: "s", "%". Texts have none.
	Unit string `json:"unit,omitempty"`
	// Better is Less, More, or "" if no value is better than another.
	Better string `json:"better,omitempty"`
	// Within is the share of the best value by which values may differ and still count
	// as equal: 0.05 for times. By default, 0.
	Within float64 `json:"within,omitempty"`
	// Headline rows are in the README, and so are those in which Gantry is behind.
	Headline bool `json:"headline,omitempty"`
	// Cells has the results, by the name of the tool.
	Cells map[string]Cell `json:"cells"`
}

// Cell is the result of one tool.
type Cell struct {
	// Value is compared with those of the other cells, if the row's Better is set.
	Value float64 `json:"value"`
	// Text is shown instead of the value, if it isn't empty.
	Text string `json:"text,omitempty"`
	// Note is shown below the table.
	Note string `json:"note,omitempty"`
	// Missing marks a cell without a value, such as one that was not measured.
	Missing bool `json:"missing,omitempty"`
}

// Number returns a cell with a value.
func Number(value float64) Cell { return Cell{Value: value} }

// Bytes returns a cell with a number of bytes, shown in kB or MB.
func Bytes(n int64) Cell { return Graded(float64(n), units.Bytes(n)) }

// Graded returns a cell with a text. The value is compared, and not shown.
func Graded(value float64, text string) Cell { return Cell{Value: value, Text: text} }

// Text returns a cell with a text that is not compared.
func Text(text string) Cell { return Cell{Text: text, Missing: true} }

// NotMeasured returns a cell that has no result, and says why.
func NotMeasured(why string) Cell {
	return Cell{Text: "not measured", Note: "not measured: " + why, Missing: true}
}

// With returns a copy of the cell that has a note.
func (c Cell) With(note string) Cell {
	c.Note = note
	return c
}

// Best returns the names of the tools whose values are the best, sorted, and none if no
// value is better than another.
func (r Row) Best() []string {
	best, ok := r.extreme(func(string) bool { return true })
	if !ok {
		return nil
	}
	var names []string
	for _, name := range sorted(maps.Keys(r.Cells)) {
		if c := r.Cells[name]; !c.Missing && r.equal(c.Value, best) {
			names = append(names, name)
		}
	}
	return names
}

// Verdict is how Gantry compares in a row.
type Verdict string

// The verdicts. Unknown is that of a row which can't be judged: nothing in it is
// better, or only one of Gantry and its peers has a value.
const (
	Ahead   Verdict = "ahead"
	Equal   Verdict = "equal"
	Behind  Verdict = "behind"
	Unknown Verdict = ""
)

// Verdict compares Gantry with the best of the other tools.
func (r Row) Verdict() Verdict {
	ours, there := r.Cells[Gantry]
	best, ok := r.extreme(func(name string) bool { return name != Gantry })
	switch {
	case !there || ours.Missing || !ok:
		return Unknown
	case r.equal(ours.Value, best):
		return Equal
	case (ours.Value < best) == (r.Better == Less):
		return Ahead
	}
	return Behind
}

// extreme returns the best value of some tools.
func (r Row) extreme(of func(name string) bool) (best float64, ok bool) {
	if r.Better != Less && r.Better != More {
		return 0, false
	}
	for name, c := range r.Cells {
		if c.Missing || !of(name) {
			continue
		}
		if !ok || c.Value != best && (c.Value < best) == (r.Better == Less) {
			best, ok = c.Value, true
		}
	}
	return best, ok
}

// equal reports whether a value counts as equal to the best one.
func (r Row) equal(value, best float64) bool {
	return abs(value-best) <= r.Within*abs(best)
}

func abs(x float64) float64 { return max(x, -x) }

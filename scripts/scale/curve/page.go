package curve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"dagger/gantry/scripts/units"
)

// Group describes what grows, for the page.
type Group struct {
	// Name is the argument of scripts/bench scale, and Title the heading.
	Name, Title string
	// Unit of n, such as "assets".
	Unit string
	// About tells how it is measured, in Markdown.
	About string
}

// Page returns the page of the results, in Markdown.
func Page(r *Results, groups []Group) string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("| what grows | step | sizes | exponent | at the end | of elapsed time | seconds | requests | memory |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, g := range groups {
		for _, c := range r.Of(g.Name) {
			fit, last := c.Fit(), c.Largest()
			step := c.Step
			if c.Reference {
				step += " (for comparison)"
			}
			fmt.Fprintf(&b, "| %s | %s | %s to %s | %s | %s | %s | %s | %s | %s |\n", g.Title, step,
				number(c.Base.N), number(last.N), fit.String(), fit.last(), c.elapsedExponent(), seconds(last.Seconds), c.requests(), memory(c.Peak()))
		}
	}
	b.WriteString(r.problems(groups))
	for _, g := range groups {
		curves := r.Of(g.Name)
		if len(curves) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", g.Title, g.About)
		fmt.Fprintf(&b, "![Seconds over %s, both logarithmic](scale/%s.svg)\n\n", g.Unit, g.Name)
		for _, c := range curves {
			fmt.Fprintf(&b, "- **%s**: %s\n", c.Step, c.about())
		}
		b.WriteString("\n")
		b.WriteString(table(g, curves))
		fmt.Fprintf(&b, "\n`%s`, %s, %s.\n", curves[0].Command, curves[0].Date, curves[0].Machine)
	}
	return b.String()
}

// problems lists the rules that the results break.
func (r *Results) problems(groups []Group) string {
	var b strings.Builder
	for _, g := range groups {
		for _, c := range r.Of(g.Name) {
			for _, problem := range c.Problems() {
				fmt.Fprintf(&b, "- %s\n", problem)
			}
		}
	}
	if b.Len() == 0 {
		return "\nNo step breaks a rule in these results.\n"
	}
	return "\nThese results break rules:\n\n" + b.String()
}

const head = `# Scale

<!-- Written by scripts/bench scale from scale.json. -->

How the cost of each step grows with the work. ` + "`scripts/bench scale`" + ` measures it and writes this page; ` + "`scripts/bench scale assets tags`" + ` measures only these, and keeps the rest. It fails if a step grows faster than linearly (an exponent above 1.1, of processor time or of elapsed time), or makes more requests or needs more memory than it may. A step for comparison has nothing of Gantry's work: what is left is the engine's, or Cargo's, and no rule applies to it.

The exponent is k in t(n) = t(n₀) + c·(n − n₀)^k, fitted by weighted least squares to the logarithms, from a tenth of the largest size on and of at least three sizes. n₀ is the smallest size, whose cost is the fixed cost. A size whose cost hardly exceeds the fixed cost has little weight, because that excess is mostly noise. The number after ± is the standard error, which follows from how much two runs of the same size differ; it is missing where each size was measured once. It doesn't know what all runs have in common, such as a machine that slows down when it works for long. A step is flat if no size costs a tenth and 20 ms above the smallest. "At the end" is the exponent between the two largest sizes. Seconds are processor time: a step can take no longer and still do more work, while a processor is idle. Calls through the engine also have their elapsed time. Each is the least of several runs; sizes take turns, and there are more runs where the error is above 0.05. Seconds and requests are those of the largest size, and the memory is the highest of all sizes.

`

// about describes a step and its bounds.
func (c *Curve) about() string {
	text := c.What + ". "
	if c.Reference {
		text = "For comparison: " + text
	}
	text += "Processor time of " + c.Worker
	if c.Process != "" {
		text += "; memory of " + c.Process
	}
	if c.MostRequests != nil {
		text += fmt.Sprintf("; at most %s requests", c.MostRequests)
	}
	if c.MostMemory > 0 {
		text += fmt.Sprintf("; at most %d MiB", c.MostMemory)
	}
	return text + "."
}

// table has a line for each size, and columns for each step.
func table(g Group, curves []Curve) string {
	var b strings.Builder
	columns := []string{g.Unit}
	var sizes []int
	for _, c := range curves {
		columns = append(columns, c.columns()...)
		for _, p := range append([]Point{c.Base}, c.Points...) {
			sizes = append(sizes, p.N)
		}
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	slices.Sort(sizes)
	for _, n := range slices.Compact(sizes) {
		cells := []string{number(n)}
		for _, c := range curves {
			cells = append(cells, c.cells(n)...)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// has returns what was measured beside the processor time.
func (c *Curve) has() (elapsed, requests, bytes, memory bool) {
	last := c.Largest()
	return last.Elapsed > 0, last.Requests > 0, last.Bytes > 0, last.Memory > 0
}

func (c *Curve) columns() []string {
	columns := []string{c.Step}
	elapsed, requests, bytes, memory := c.has()
	if elapsed {
		columns = append(columns, "elapsed")
	}
	if requests {
		columns = append(columns, "requests")
	}
	if bytes {
		columns = append(columns, "bytes")
	}
	if memory {
		columns = append(columns, "memory")
	}
	return columns
}

func (c *Curve) cells(n int) []string {
	all := append([]Point{c.Base}, c.Points...)
	i := slices.IndexFunc(all, func(p Point) bool { return p.N == n })
	if i < 0 {
		return make([]string, len(c.columns()))
	}
	p := all[i]
	cells := []string{seconds(p.Seconds)}
	elapsed, requests, bytes, hasMemory := c.has()
	if elapsed {
		cells = append(cells, seconds(p.Elapsed))
	}
	if requests {
		cells = append(cells, number(int(p.Requests)))
	}
	if bytes {
		cells = append(cells, units.Bytes(p.Bytes))
	}
	if hasMemory {
		cells = append(cells, memory(p.Memory))
	}
	return cells
}

// requests renders the requests at the largest size, and how they grow.
func (c *Curve) requests() string {
	last := c.Largest()
	if last.Requests == 0 {
		return ""
	}
	base, each := c.RequestsPer()
	switch {
	case each == 0:
		return number(int(last.Requests))
	case each < 0.5:
		return fmt.Sprintf("%s (%d + %.1f per 100)", number(int(last.Requests)), base, each*100)
	}
	return fmt.Sprintf("%s (%d + %.2f each)", number(int(last.Requests)), base, each)
}

// elapsedExponent is that of the elapsed time, where it was measured.
func (c *Curve) elapsedExponent() string {
	if c.Largest().Elapsed == 0 {
		return ""
	}
	return c.FitElapsed().String()
}

// String renders the exponent and its standard error, if that is known.
func (f Fit) String() string {
	switch {
	case f.Flat():
		return "flat"
	case f.Error == 0:
		return fmt.Sprintf("%.2f", f.Exponent)
	}
	return fmt.Sprintf("%.2f ± %.2f", f.Exponent, f.Error)
}

// last renders the exponent at the end.
func (f Fit) last() string {
	if f.Flat() {
		return "flat"
	}
	return fmt.Sprintf("%.2f", f.Last)
}

func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.3f s", s)
	}
	return fmt.Sprintf("%.1f s", s)
}

func memory(kib int64) string {
	if kib == 0 {
		return ""
	}
	return fmt.Sprintf("%d MiB", (kib+512)>>10)
}

// number renders a number with commas.
func number(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Of returns the curves of a group.
func (r *Results) Of(group string) []Curve {
	var curves []Curve
	for _, c := range r.Curves {
		if c.Group == group {
			curves = append(curves, c)
		}
	}
	return curves
}

// Plot is what the program in scripts/scale/plot draws.
type Plot struct {
	Title, X, Y string
	Lines       []Line
	// Digest of all that is drawn, which the file keeps.
	Digest string
}

// Line is a step in a plot.
type Line struct {
	Name string
	// Points that were measured, as sizes and seconds.
	Points [][2]float64
}

// PlotOf returns the plot of a group.
func PlotOf(r *Results, g Group) (Plot, error) {
	p := Plot{Title: g.Title, X: g.Unit, Y: "seconds of processor time"}
	for _, c := range r.Of(g.Name) {
		fit := c.Fit()
		l := Line{Name: c.Step + ", flat"}
		if !fit.Flat() {
			l.Name = fmt.Sprintf("%s, n^%.2f", c.Step, fit.Exponent)
		}
		for _, q := range append([]Point{c.Base}, c.Points...) {
			if q.N > 0 && q.Seconds > 0 { // which logarithms have no place for
				l.Points = append(l.Points, [2]float64{float64(q.N), q.Seconds})
			}
		}
		p.Lines = append(p.Lines, l)
	}
	text, err := json.Marshal(p)
	if err != nil {
		return Plot{}, err
	}
	sum := sha256.Sum256(text)
	p.Digest = hex.EncodeToString(sum[:])
	return p, nil
}

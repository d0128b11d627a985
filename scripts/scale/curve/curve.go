// Package curve describes how the cost of a step grows with the work: measured points,
// the exponent of their growth, and the page that shows them.
//
// It is pure, and keeps one invariant: what it writes follows from the measured points
// alone, so that the page and the plots can be made again from the stored results.
package curve

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
)

// MostExponent is the highest exponent that a step may have. It is linear growth, and
// what noise adds to that.
const MostExponent = 1.1

// Point is what a step cost at a size.
type Point struct {
	N int `json:"n"`
	// Seconds of processor time, the least of all runs, and the share by which the second
	// least exceed them; 0 if there was one run.
	Seconds float64 `json:"seconds"`
	Spread  float64 `json:"spread,omitempty"`
	// Elapsed seconds, of a call through the engine; 0 of other steps. They grow less than
	// the processor time as long as a processor is idle.
	Elapsed       float64 `json:"elapsed,omitempty"`
	ElapsedSpread float64 `json:"elapsedSpread,omitempty"`
	// Requests, and the Bytes of their bodies that were sent and received; 0 for a step
	// that makes none.
	Requests int64 `json:"requests,omitempty"`
	Bytes    int64 `json:"bytes,omitempty"`
	// Memory is the highest resident memory of the process, in KiB; 0 if it was not
	// measured.
	Memory int64 `json:"memory,omitempty"`
}

// Merge returns the point of several runs of a step at one size: the least processor time
// and elapsed time of all, with their spread, and the highest memory. Requests and bytes
// are those of the first.
func Merge(runs []Point) Point {
	p := runs[0]
	p.Seconds, p.Spread = least(runs, func(p Point) float64 { return p.Seconds })
	p.Elapsed, p.ElapsedSpread = least(runs, func(p Point) float64 { return p.Elapsed })
	for _, r := range runs {
		p.Memory = max(p.Memory, r.Memory)
	}
	return p
}

// least returns the least value, and the share by which the next exceeds it.
func least(runs []Point, value func(Point) float64) (first, spread float64) {
	var all []float64
	for _, r := range runs {
		all = append(all, value(r))
	}
	slices.Sort(all)
	if len(all) == 1 || all[0] == 0 {
		return all[0], 0
	}
	return all[0], all[1]/all[0] - 1
}

// Bound is how many requests a step may make: some, more for each hundred, and more for
// each one. A hundred is the size of GitHub's pages.
type Bound struct {
	Fixed      int64 `json:"fixed"`
	PerHundred int64 `json:"perHundred,omitempty"`
	Each       int64 `json:"each,omitempty"`
}

// At returns the bound for a size.
func (b Bound) At(n int) int64 {
	return b.Fixed + b.PerHundred*int64((n+99)/100) + b.Each*int64(n)
}

// String renders the bound as a formula.
func (b Bound) String() string {
	text := fmt.Sprint(b.Fixed)
	if b.PerHundred > 0 {
		text += fmt.Sprintf(" + %d⌈n/100⌉", b.PerHundred)
	}
	switch {
	case b.Each == 1:
		text += " + n"
	case b.Each > 1:
		text += fmt.Sprintf(" + %dn", b.Each)
	}
	return text
}

// Curve is a step at growing sizes.
type Curve struct {
	// Group is what grows, such as "assets", and Step what is done with it.
	Group string `json:"group"`
	Step  string `json:"step"`
	// What is measured, for people.
	What string `json:"what"`
	// Reference marks a step for comparison, without Gantry's work. No bound of growth
	// applies to it.
	Reference bool `json:"reference,omitempty"`
	// Worker names what used the processor in these seconds.
	Worker string `json:"worker"`
	// Process names the process whose memory was measured.
	Process string `json:"process,omitempty"`
	// Date of the run, its Machine, and its Command.
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Command string `json:"command"`
	// Base is the step at the smallest size, whose cost is the fixed cost.
	Base   Point   `json:"base"`
	Points []Point `json:"points"`
	// MostRequests bounds the requests, and MostMemory the memory in MiB; nil and 0 for
	// none.
	MostRequests *Bound `json:"mostRequests,omitempty"`
	MostMemory   int64  `json:"mostMemory,omitempty"`
}

// Name returns the group and the step.
func (c *Curve) Name() string { return c.Group + ": " + c.Step }

// Largest returns the point of the largest size.
func (c *Curve) Largest() Point {
	return slices.MaxFunc(append([]Point{c.Base}, c.Points...), func(a, b Point) int { return cmp.Compare(a.N, b.N) })
}

// Peak returns the highest memory at any size, in KiB.
func (c *Curve) Peak() int64 {
	peak := c.Base.Memory
	for _, p := range c.Points {
		peak = max(peak, p.Memory)
	}
	return peak
}

// Problems returns which rules the curve breaks: growth that is at most linear, bounded
// requests and bounded memory.
func (c *Curve) Problems() []string { return append(c.FastGrowth(), c.Exceeded()...) }

// FastGrowth returns which times grow faster than the bound.
func (c *Curve) FastGrowth() []string {
	if c.Reference {
		return nil
	}
	var problems []string
	for _, time := range []struct {
		name string
		fit  Fit
	}{{"seconds", c.Fit()}, {"elapsed seconds", c.FitElapsed()}} {
		if time.fit.Exponent > MostExponent {
			problems = append(problems, fmt.Sprintf("%s: the %s grow with an exponent of %s, more than %.1f", c.Name(), time.name, time.fit, MostExponent))
		}
	}
	return problems
}

// Exceeded returns which bounds of requests and memory the curve exceeds.
func (c *Curve) Exceeded() []string {
	var problems []string
	for _, p := range append([]Point{c.Base}, c.Points...) {
		if c.MostRequests != nil && p.Requests > c.MostRequests.At(p.N) {
			problems = append(problems, fmt.Sprintf("%s: %d requests at n = %d, more than %s = %d", c.Name(), p.Requests, p.N, c.MostRequests, c.MostRequests.At(p.N)))
		}
		if c.MostMemory > 0 && p.Memory > c.MostMemory<<10 {
			problems = append(problems, fmt.Sprintf("%s: %d MiB of memory at n = %d, more than %d MiB", c.Name(), p.Memory>>10, p.N, c.MostMemory))
		}
	}
	return problems
}

// Results are the curves of all runs, in the order of the page.
type Results struct {
	Curves []Curve `json:"curves"`
}

// Read reads the results of a file; none from one that doesn't exist.
func Read(file string) (*Results, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &Results{}, nil
	}
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read the results in %s: %w", file, err)
	}
	return r, nil
}

// Write writes the results to a file, at once.
func (r *Results) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	scratch := file + ".new"
	if err := os.WriteFile(scratch, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(scratch, file)
}

// Put replaces the curve of the same group and step, or adds it. Groups come in the
// order of a list, and steps in the order in which they were added.
func (r *Results) Put(c Curve, groups []string) {
	if i := slices.IndexFunc(r.Curves, func(x Curve) bool { return x.Name() == c.Name() }); i >= 0 {
		r.Curves[i] = c
		return
	}
	r.Curves = append(r.Curves, c)
	slices.SortStableFunc(r.Curves, func(a, b Curve) int {
		return cmp.Compare(slices.Index(groups, a.Group), slices.Index(groups, b.Group))
	})
}

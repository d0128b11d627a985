// Command scale measures how the cost of each step grows with the work, and writes the
// results, the page and the plots below docs/. scripts/bench scale runs it.
//
// What needs no engine runs in a process of its own for each size, against a fake GitHub
// and a registry in this process, so that its processor time and its memory are those of
// Gantry's code alone. The rest runs through the engine, as `dagger call`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"dagger/gantry/scripts/scale/curve"
)

const usage = `scale measures how the cost of each step grows with the work.

  scale [--quick] [--no-engine] [GROUP…]   measure some groups, by default all of them
  scale --page                             write the page and the plots again

The results of a group replace those in docs/scale.json as soon as it is measured, so
that a run that was interrupted loses only the group that it was at. It fails if a step
grows faster than linearly, or exceeds its bounds of requests or memory.

Groups:
`

// options of a run.
type options struct {
	quick, noEngine, page bool
	docs                  string
	groups                []group
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childCommand {
		exit(childMain(os.Stdin, os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	o, err := parse(os.Args[1:])
	if err == nil {
		err = o.run(ctx)
	}
	stop()
	exit(err)
}

func exit(err error) {
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse(args []string) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("scale", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		for _, g := range groups {
			fmt.Fprintf(os.Stderr, "  %-10s %s\n", g.Name, strings.ToLower(g.Title))
		}
		fmt.Fprint(os.Stderr, "\nOptions:\n")
		flags.PrintDefaults()
	}
	flags.BoolVar(&o.quick, "quick", false, "small sizes, once; nothing is written unless --docs names another directory")
	flags.BoolVar(&o.noEngine, "no-engine", false, "only what needs no engine")
	flags.BoolVar(&o.page, "page", false, "measure nothing; write the page and the plots of the stored results")
	flags.StringVar(&o.docs, "docs", "docs", "the directory of scale.json, scale.md and scale/")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.groups = groups
	if flags.NArg() > 0 {
		o.groups = nil
	}
	for _, name := range flags.Args() {
		i := slices.IndexFunc(groups, func(g group) bool { return g.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown group %q: pass some of %s", name, strings.Join(groupNames(), ", "))
		}
		o.groups = append(o.groups, groups[i])
	}
	return o, nil
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names
}

// run measures the groups, and reports every broken rule in the end.
func (o *options) run(ctx context.Context) error {
	if o.page {
		return o.write(ctx, nil)
	}
	var problems []string
	for _, g := range o.groups {
		curves, err := o.measure(ctx, g)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil { // the smaller sizes and the other groups are worth something without it
			fmt.Fprintf(os.Stderr, "%s: %v\n", g.Name, err)
			problems = append(problems, fmt.Sprintf("%s was not measured: %v", g.Name, err))
		}
		for _, c := range curves {
			problems = append(problems, c.Problems()...)
			fit, elapsed := c.Fit(), c.FitElapsed()
			base, each := c.RequestsPer()
			fmt.Fprintf(os.Stderr, "%s: exponent %s, at the end %.2f, of elapsed time %s, requests %d + %.3f n, at most %d MiB\n", c.Name(), fit, fit.Last, elapsed, base, each, c.Peak()>>10)
		}
		if o.stores() && len(curves) > 0 {
			if err := o.write(ctx, curves); err != nil {
				return err
			}
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(problems), strings.Join(problems, "\n  "))
	}
	return nil
}

// stores reports whether the results are kept: those of small sizes never replace the
// committed ones.
func (o *options) stores() bool { return !o.quick || o.docs != "docs" }

// write stores curves, and writes the page and the plots of all stored results.
func (o *options) write(ctx context.Context, curves []curve.Curve) error {
	file := filepath.Join(o.docs, "scale.json")
	results, err := curve.Read(file)
	if err != nil {
		return err
	}
	for _, c := range curves {
		results.Put(c, groupNames())
	}
	if err := errors.Join(os.MkdirAll(o.docs, 0o755), results.Write(file)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.docs, "scale.md"), []byte(curve.Page(results, pageGroups())), 0o644); err != nil {
		return err
	}
	return draw(ctx, results, filepath.Join(o.docs, "scale"))
}

func pageGroups() []curve.Group {
	var all []curve.Group
	for _, g := range groups {
		all = append(all, g.Group)
	}
	return all
}

// measure measures the steps of a group at all sizes. With an error, it returns what it
// measured before.
func (o *options) measure(ctx context.Context, g group) ([]curve.Curve, error) {
	steps := g.steps
	if o.noEngine {
		steps = slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.engine != nil })
	}
	if len(steps) == 0 {
		return nil, nil
	}
	sizes := append([]int{g.base}, g.sizes...)
	if o.quick {
		sizes, g.repeats, g.engineRepeats = append([]int{g.base}, g.quick...), 1, 1
	}
	runs := make([][][]curve.Point, len(sizes))
	for i := range runs {
		runs[i] = make([][]curve.Point, len(steps))
	}
	// The sizes take turns, so that a machine that becomes slower does so at all of them.
	for round := range g.rounds() + o.moreRounds() {
		due := func(s step, n int) bool { return g.due(s, n, round) }
		if round >= g.rounds() {
			pure, engine := vague(o.curves(g, steps, runs), steps)
			due = func(s step, n int) bool {
				return (s.most == 0 || n <= s.most) && (s.engine == nil && pure || s.engine != nil && engine && round < g.rounds()+moreEngineRounds)
			}
		}
		for k, n := range sizes {
			if !slices.ContainsFunc(steps, func(s step) bool { return due(s, n) }) {
				continue
			}
			if err := atSize(ctx, g, steps, n, due, runs[k]); err != nil {
				return o.curves(g, steps, runs), fmt.Errorf("at n = %d: %w", n, err)
			}
		}
	}
	return o.curves(g, steps, runs), nil
}

const (
	// mostError of an exponent is what more rounds are made for.
	mostError = 0.05
	// morePureRounds are made without the engine at most, and moreEngineRounds with it.
	morePureRounds, moreEngineRounds = 10, 3
)

// moreRounds are made at most if the exponents are not known well enough; none in a quick
// run.
func (o *options) moreRounds() int {
	if o.quick {
		return 0
	}
	return morePureRounds
}

// vague reports whether exponents of steps without and with the engine have too large or
// unknown errors. What decides is the error, and never the exponent.
func vague(curves []curve.Curve, steps []step) (pure, engine bool) {
	known := func(f curve.Fit) bool { return f.Flat() || f.Error > 0 && f.Error <= mostError }
	for _, c := range curves {
		if known(c.Fit()) && known(c.FitElapsed()) {
			continue
		}
		if i := slices.IndexFunc(steps, func(s step) bool { return s.name == c.Step }); steps[i].engine == nil {
			pure = true
		} else {
			engine = true
		}
	}
	return pure, engine
}

// curves returns the curves of the steps that have a base and points, of the runs of each
// size and step.
func (o *options) curves(g group, steps []step, runs [][][]curve.Point) []curve.Curve {
	var curves []curve.Curve
	for i, s := range steps {
		c := o.curve(g, s)
		for k, all := range runs {
			switch {
			case len(all[i]) == 0:
			case k == 0:
				c.Base = curve.Merge(all[i])
			default:
				c.Points = append(c.Points, curve.Merge(all[i]))
			}
		}
		if len(c.Points) > 0 {
			curves = append(curves, c)
		}
	}
	return curves
}

// curve describes a step, without points.
func (o *options) curve(g group, s step) curve.Curve {
	c := curve.Curve{
		Group: g.Name, Step: s.name, What: s.what, Reference: s.reference, Worker: "its process", Process: "its process", Date: time.Now().UTC().Format(time.DateOnly),
		Machine: machine(), Command: "scripts/bench scale " + g.Name, MostRequests: s.requests, MostMemory: s.memory,
	}
	if o.quick {
		c.Command += " --quick"
	}
	if s.engine != nil {
		c.Worker, c.Process = "the whole machine during the call", "the module's program"
	}
	if s.reference {
		c.Process = ""
	}
	return c
}

// machine describes this machine.
func machine() string {
	model := "an unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s", runtime.NumCPU(), model)
}

// atSize measures the steps that are due at a size once, in their order and in a new
// world, and adds what it measured to the runs.
func atSize(ctx context.Context, g group, steps []step, n int, due func(step, int) bool, runs [][]curve.Point) error {
	w, err := newWorld(ctx, g, n)
	if err != nil {
		return err
	}
	defer w.close()
	for i, s := range steps {
		if !due(s, n) {
			continue
		}
		p, err := w.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		fmt.Fprintf(os.Stderr, "%s: %s: n = %d: %.3f s, %.3f s elapsed, %d requests, %d bytes, %d MiB\n", g.Name, s.name, n, p.Seconds, p.Elapsed, p.Requests, p.Bytes, p.Memory>>10)
		runs[i] = append(runs[i], *p)
	}
	return nil
}

// draw draws the plots of all groups into a directory.
func draw(ctx context.Context, results *curve.Results, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	program, err := plotter(ctx)
	if err != nil {
		return err
	}
	defer os.Remove(program)
	for _, g := range pageGroups() {
		if len(results.Of(g.Name)) == 0 {
			continue
		}
		svg, err := drawOne(ctx, program, results, g)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, g.Name+".svg"), svg, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// plotter builds the program that draws.
func plotter(ctx context.Context) (string, error) {
	f, err := os.CreateTemp("", "gantry-plot-")
	if err != nil {
		return "", err
	}
	f.Close()
	build := exec.CommandContext(ctx, "go", "build", "-o", f.Name(), ".")
	build.Dir = filepath.Join(sourceDir(), "plot")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build scripts/scale/plot: %w: %s", err, out)
	}
	return f.Name(), nil
}

// sourceDir is the directory of this program's source, where it was compiled.
func sourceDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

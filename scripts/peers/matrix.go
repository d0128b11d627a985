package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/fakehub"
)

// The limits of one run. A fault that never answers gets a longer one: Node.js waits
// five minutes for an answer before it tries again.
const (
	runLimit  = 3 * time.Minute
	hangLimit = 6 * time.Minute
)

// How many cells run at once: most of the time, they wait. Those with a fault that never
// answers wait for minutes, and get places of their own.
const (
	runsAtOnce  = 24
	hangsAtOnce = 96
)

// lightFaults are the faults that GitHub is known for.
var lightFaults = []fakehub.FaultKind{
	fakehub.ServerError, fakehub.ServerErrorAfter, fakehub.BadGateway, fakehub.Reset, fakehub.ResetAfter,
	fakehub.Secondary, fakehub.TooMany, fakehub.NotFound, fakehub.Corrupt,
}

// moreFaults are the others. Left out are those that only HTTP/2 has, since the tools
// reach the fake GitHub without TLS: on HTTP/1.1, they are resets.
var moreFaults = []fakehub.FaultKind{
	fakehub.BadGatewayAfter, fakehub.Refused, fakehub.NotFoundPage, fakehub.SecondaryBare, fakehub.Primary,
	fakehub.Hang, fakehub.HangAfter, fakehub.Exists, fakehub.LostBody, fakehub.Page, fakehub.Echo, fakehub.Denied,
	fakehub.RequestTimeout, fakehub.StoredWrong, fakehub.Login,
}

// cell is one tool with one fault at one call.
type cell struct {
	tool *releaser
	kind fakehub.FaultKind
	// n is the call that fails, counted from 1. uploads counts only uploads, for faults
	// that store an upload wrongly.
	n       int
	uploads bool

	outcome
	// met tells whether the run got to the call.
	met bool
	// took is how long the runs took.
	took time.Duration
}

func (c *cell) String() string { return fmt.Sprintf("%s, %q at call %d", c.tool.name, c.kind, c.n) }

func (c *cell) limit() time.Duration {
	if c.hangs() {
		return hangLimit
	}
	return runLimit
}

func (c *cell) hangs() bool { return c.kind == fakehub.Hang || c.kind == fakehub.HangAfter }

// fault returns the fault to arm.
func (c *cell) fault() fakehub.Fault {
	f := fakehub.Fault{Kind: c.kind, N: c.n}
	if c.uploads {
		f.Match = isUpload
	}
	return f
}

func isUpload(c fakehub.Call) bool { return c.Op == "upload asset" }

// cells returns every fault at every call that a tool made while nothing failed.
func cells(tool *releaser, calls []fakehub.Call, kinds []fakehub.FaultKind) (all []*cell) {
	uploads := 0
	for _, c := range calls {
		if isUpload(c) {
			uploads++
		}
	}
	for _, kind := range kinds {
		stored := kind == fakehub.Corrupt || kind == fakehub.StoredWrong
		last := len(calls)
		if stored {
			last = uploads
		}
		for n := 1; n <= last; n++ {
			all = append(all, &cell{tool: tool, kind: kind, n: n, uploads: stored})
		}
	}
	return all
}

// matrix runs all cells.
type matrix struct {
	env     *Env
	files   *files
	project *project
	done    atomic.Int64
}

// run runs the cells, those that wait longest first.
func (m *matrix) run(ctx context.Context, all []*cell) error {
	running, hanging := &errgroup.Group{}, &errgroup.Group{}
	running.SetLimit(runsAtOnce)
	hanging.SetLimit(hangsAtOnce)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	play := func(c *cell) func() error {
		return func() error {
			err := m.play(ctx, c)
			if n := m.done.Add(1); n%50 == 0 || int(n) == len(all) {
				m.env.Log("%d of %d cells", n, len(all))
			}
			if err != nil {
				cancel()
				return fmt.Errorf("%s: %w", c, err)
			}
			return nil
		}
	}
	feed := func(group *errgroup.Group, hangs bool) func() error {
		return func() error {
			for _, c := range all {
				if c.hangs() == hangs {
					group.Go(play(c))
				}
			}
			return group.Wait()
		}
	}
	both := &errgroup.Group{}
	both.Go(feed(hanging, true))
	both.Go(feed(running, false))
	return both.Wait()
}

// play plays one cell: a run that meets the fault, and another if the release is not
// complete then.
func (m *matrix) play(ctx context.Context, c *cell) error {
	s, err := m.stage(fmt.Sprintf("cell-%p", c), c.tool)
	if err != nil {
		return err
	}
	defer s.close()
	s.hub.Arm(c.fault())
	for i := range 2 {
		a, err := s.run(ctx, c.tool, c.limit())
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.took += a.took
		c.met = s.hub.FaultsMet() > 0
		c.judge(s.hub.Events(), s.files.want, a, i == 1)
		if c.second {
			return nil
		}
	}
	return nil
}

// list writes what each cell ended in, for whoever wants to know why a share is as it is.
func list(all []*cell, path string) error {
	var b strings.Builder
	b.WriteString("tool\tfault\tcall\tmet\tcomplete\tafter a re-run\tseen incomplete\tfalse success\ttoo long\tdrafts left\tseconds\n")
	for _, c := range all {
		call := strconv.Itoa(c.n)
		if c.uploads {
			call = "upload " + call
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%t\t%t\t%t\t%t\t%t\t%t\t%d\t%.1f\n",
			c.tool.name, c.kind, call, c.met, c.first, c.second, c.seen, c.lied, c.ended, c.drafts, c.took.Seconds())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// stage starts a fake GitHub for a tool.
func (m *matrix) stage(name string, t *releaser) (*stage, error) {
	f := m.files
	if t.noFiles {
		f = &files{dir: f.dir, want: map[string]string{}}
	}
	return newStage(filepath.Join(m.env.Work, name), f, m.project)
}

// plain runs a tool while nothing fails, and returns the calls that it made.
func (m *matrix) plain(ctx context.Context, t *releaser) ([]fakehub.Call, []fakehub.Event, error) {
	s, err := m.stage("plain", t)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	if _, err := completes(ctx, s, t); err != nil {
		return nil, nil, err
	}
	return s.hub.Calls(), s.hub.Events(), nil
}

// tally counts the cells of a tool.
type tally struct {
	cells, first, second, seen, lied, ended, drafts int
}

// count counts the cells of a tool in which the fault was met.
func count(all []*cell, tool string) (t tally) {
	is := func(n *int, yes bool) {
		if yes {
			*n++
		}
	}
	for c := range slices.Values(all) {
		if c.tool.name != tool || !c.met {
			continue
		}
		t.cells++
		is(&t.first, c.first)
		is(&t.second, c.second)
		is(&t.seen, c.seen)
		is(&t.lied, c.lied)
		is(&t.ended, c.ended)
		is(&t.drafts, c.drafts > 0)
	}
	return t
}

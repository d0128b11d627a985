package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dagger/gantry/scripts/scale/curve"
)

// group is what grows, and the steps whose cost is measured.
type group struct {
	curve.Group
	// base is the smallest size, sizes those of a full run, quick those of a quick one.
	base         int
	sizes, quick []int
	// repeats is how often each size is measured, 1 if unset; the least counts.
	// engineRepeats is the same for what goes through the engine, whose first call at the
	// smallest size comes on top: it also makes what all others find in the engine's cache.
	repeats, engineRepeats int
	// open makes what the steps work on.
	open  func(context.Context, *world) error
	steps []step
}

// rounds is how many rounds it takes to measure each size as often as it must be.
func (g group) rounds() int { return max(g.repeats, g.engineRepeats, 1) + 1 }

// due reports whether a step is measured at a size in a round.
func (g group) due(s step, n, round int) bool {
	switch {
	case s.most > 0 && n > s.most:
		return false
	case s.engine == nil:
		return round < max(g.repeats, 1)
	case n == g.base:
		return round < max(g.engineRepeats, 1)+1
	}
	return round < max(g.engineRepeats, 1)
}

// step is one thing that is done with the work.
type step struct {
	name, what string
	// most is the largest size, where that is below the group's.
	most int
	// reference marks a step for comparison, without Gantry's work.
	reference bool
	// requests and memory (in MiB) bound the step.
	requests *curve.Bound
	memory   int64
	// pure does the step, in a process of its own; nil if engine does it, in this one.
	// once marks one that can't be done again in the same world.
	pure   func(context.Context, job) (done, error)
	once   bool
	engine func(context.Context, *world) (*curve.Point, error)
}

// job is what a step in a process of its own gets.
type job struct {
	Group, Step string
	N           int
	// Hub and Registry are the addresses of the fake GitHub and of the registry.
	Hub, Registry string
	// Dir is a directory for files, in memory where there is one.
	Dir string
}

// done is what a step returns.
type done struct {
	requests, bytes int64
}

// world is what the steps of a group work on, at one size.
type world struct {
	job
	// disk is a directory for what the engine reads, which may be gigabytes.
	disk    string
	closers []func()
}

func newWorld(ctx context.Context, g group, n int) (*world, error) {
	w := &world{job: job{Group: g.Name, N: n}}
	for _, d := range []struct {
		path   *string
		parent string
	}{{&w.Dir, memoryDir()}, {&w.disk, ""}} {
		dir, err := os.MkdirTemp(d.parent, "gantry-scale-")
		if err != nil {
			w.close()
			return nil, err
		}
		*d.path = dir
		w.onClose(func() { _ = os.RemoveAll(dir) })
	}
	if g.open == nil {
		return w, nil
	}
	if err := g.open(ctx, w); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// memoryDir is a directory in memory, or "" where there is none. On a disk, writing a
// thousand files can cost a process up to ten times its own work, depending on what the
// file system has to do for others at that moment.
func memoryDir() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}

func (w *world) onClose(f func()) { w.closers = append(w.closers, f) }

func (w *world) close() {
	for i := len(w.closers) - 1; i >= 0; i-- {
		w.closers[i]()
	}
	w.closers = nil
}

// measure does a step.
func (w *world) measure(ctx context.Context, s step) (*curve.Point, error) {
	if s.engine != nil {
		return s.engine(ctx, w)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	j := w.job
	j.Step = s.name
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, childCommand)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(text), &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	p := &curve.Point{}
	if err := json.Unmarshal(out.Bytes(), p); err != nil {
		return nil, fmt.Errorf("read the result: %w", err)
	}
	return p, nil
}

// childCommand is the argument by which this program does one step, and childVariable
// is set then, for tests, whose program has no such argument.
const (
	childCommand  = "child"
	childVariable = "GANTRY_SCALE_CHILD"
)

// childMain does the step of a job, and writes what it cost.
func childMain(in io.Reader, out io.Writer) error {
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	for _, g := range groups {
		for _, s := range g.steps {
			if g.Name == j.Group && s.name == j.Step && s.pure != nil {
				return costs(s, j, out)
			}
		}
	}
	return fmt.Errorf("unknown step %q of %q", j.Step, j.Group)
}

// A step is done again for averageTime, but at most mostRounds times, and the average
// counts. The garbage collector runs in some of a hundred short rounds, and in every long
// one: if the fastest counted, only large sizes would pay for it.
const (
	averageTime = 500 * time.Millisecond
	mostRounds  = 200
)

// costs does a step, and writes what it cost. The first time, which also makes what later
// ones find ready, shows the memory and the requests; it counts only if there is no other.
func costs(s step, j job, out io.Writer) error {
	p := curve.Point{N: j.N}
	took, d, err := cost(s, j)
	if err != nil {
		return err
	}
	p.Seconds, p.Requests, p.Bytes = took.Seconds(), d.requests, d.bytes
	if p.Memory, err = peakMemory("self"); err != nil {
		return err
	}
	if !s.once {
		runtime.GC() // what the first time left
		rounds, all := 0, time.Duration(0)
		for rounds == 0 || rounds < mostRounds && all < averageTime {
			took, _, err := cost(s, j)
			if err != nil {
				return err
			}
			rounds, all = rounds+1, all+took
		}
		p.Seconds = all.Seconds() / float64(rounds)
	}
	return json.NewEncoder(out).Encode(p)
}

// cost does a step once, and returns the processor time that it took.
func cost(s step, j job) (time.Duration, done, error) {
	before, err := processorTime()
	if err != nil {
		return 0, done{}, err
	}
	d, err := s.pure(context.Background(), j)
	if err != nil {
		return 0, done{}, err
	}
	after, err := processorTime()
	return after - before, d, err
}

// processorTime returns what this process has used of the processor.
func processorTime() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

// peakMemory returns the highest resident memory of a process so far, in KiB.
func peakMemory(process string) (int64, error) {
	text, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			return strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/%s/status has no VmHWM", process)
}

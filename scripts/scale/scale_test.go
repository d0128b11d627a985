package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/target"
	"dagger/gantry/scripts/scale/curve"
)

// TestMain lets the test program do the steps of its own child processes.
func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" && len(os.Args) > 1 && os.Args[1] == childCommand {
		exit(childMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

const docs = "../../docs"

// The page and the plots are those of the committed results.
func TestPageIsUpToDate(t *testing.T) {
	results, err := curve.Read(filepath.Join(docs, "scale.json"))
	require.NoError(t, err)
	require.NotEmpty(t, results.Curves)
	page, err := os.ReadFile(filepath.Join(docs, "scale.md"))
	require.NoError(t, err)
	assert.True(t, curve.Page(results, pageGroups()) == string(page), "run scripts/bench scale --page")
	for _, g := range pageGroups() {
		if len(results.Of(g.Name)) == 0 {
			continue
		}
		p, err := curve.PlotOf(results, g)
		require.NoError(t, err)
		svg, err := os.ReadFile(filepath.Join(docs, "scale", g.Name+".svg"))
		require.NoError(t, err)
		assert.True(t, strings.Contains(string(svg), "<!-- "+p.Digest+" -->"), "%s: run scripts/bench scale --page", g.Name)
	}
	for _, c := range results.Curves {
		assert.Contains(t, groupNames(), c.Group)
		assert.Empty(t, c.Problems())
	}
}

// A quick run measures every step that needs no engine, and writes the results.
func TestQuickRun(t *testing.T) {
	dir := t.TempDir()
	o, err := parse([]string{"--quick", "--no-engine", "--docs", dir})
	require.NoError(t, err)
	err = o.run(t.Context())
	if err != nil { // small sizes on a busy machine say nothing about exponents
		for line := range strings.Lines(err.Error()) {
			assert.True(t, strings.Contains(line, " problems:") || strings.Contains(line, "seconds grow"), line)
		}
	}
	results, err := curve.Read(filepath.Join(dir, "scale.json"))
	require.NoError(t, err)
	for _, g := range groups {
		for _, s := range g.steps {
			i := slices.IndexFunc(results.Curves, func(c curve.Curve) bool { return c.Group == g.Name && c.Step == s.name })
			if s.engine != nil {
				assert.Negative(t, i)
				continue
			}
			require.GreaterOrEqual(t, i, 0, "%s: %s", g.Name, s.name)
			c := results.Curves[i]
			assert.Len(t, c.Points, len(g.quick), c.Name())
			assert.Positive(t, c.Largest().Seconds, c.Name())
			assert.Positive(t, c.Peak(), c.Name())
			if s.requests != nil {
				assert.Positive(t, c.Largest().Requests, c.Name())
			}
		}
		if len(results.Of(g.Name)) == 0 {
			continue
		}
		svg, err := os.ReadFile(filepath.Join(dir, "scale", g.Name+".svg"))
		require.NoError(t, err)
		p, err := curve.PlotOf(results, g.Group)
		require.NoError(t, err)
		assert.True(t, strings.Contains(string(svg), p.Digest), g.Name)
		assert.True(t, strings.Contains(string(svg), g.Title), g.Name)
	}
}

// A run fails if a rule is broken, and names the step.
func TestRunFails(t *testing.T) {
	g := registryTags
	g.steps = slices.Clone(g.steps[:1])
	g.steps[0].requests = &curve.Bound{Fixed: 1}
	o := &options{quick: true, docs: t.TempDir(), groups: []group{g}}
	err := o.run(t.Context())
	assert.ErrorContains(t, err, "tags: publish: ")
	assert.ErrorContains(t, err, "more than 1 = 1")

	g.steps[0] = step{name: "publish", engine: func(context.Context, *world) (*curve.Point, error) { return nil, errors.New("no engine") }}
	o.groups = []group{g}
	assert.EqualError(t, o.run(t.Context()), "1 problems:\n  tags was not measured: at n = 5: publish: no engine")

	// What was measured before is kept.
	g.steps[0] = step{name: "publish", engine: func(_ context.Context, w *world) (*curve.Point, error) {
		if w.N == 1200 {
			return nil, errors.New("no engine any more")
		}
		return &curve.Point{N: w.N, Seconds: 1}, nil
	}}
	o.groups = []group{g}
	assert.ErrorContains(t, o.run(t.Context()), "at n = 1200: publish: no engine any more")
	kept, err := curve.Read(filepath.Join(o.docs, "scale.json"))
	require.NoError(t, err)
	require.Len(t, kept.Curves, 1)
	assert.Equal(t, 10, kept.Curves[0].Largest().N)
	assert.True(t, isEngineFault(errors.New("x: failed to mount /tmp/y: invalid argument")))
	assert.False(t, isEngineFault(errors.New("cannot release")))
	assert.False(t, isEngineFault(nil))
}

// The sizes take turns, and the least of each counts. The smallest size has one more turn,
// for the first call through the engine.
func TestSizesTakeTurns(t *testing.T) {
	var sizes []int
	g := group{Group: curve.Group{Name: "tags"}, base: 1, sizes: []int{2, 3}, engineRepeats: 2, steps: []step{{name: "call", most: 2,
		engine: func(_ context.Context, w *world) (*curve.Point, error) {
			sizes = append(sizes, w.N)
			k := len(sizes)
			return &curve.Point{N: w.N, Seconds: float64(10 - k), Elapsed: float64(k), Memory: int64(k % 4)}, nil
		}}}}
	curves, err := (&options{}).measure(t.Context(), g)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 2, 1, 2, 1}, sizes)
	require.Len(t, curves, 1)
	assert.Equal(t, curve.Merge([]curve.Point{{N: 1, Seconds: 9, Elapsed: 1, Memory: 1}, {N: 1, Seconds: 7, Elapsed: 3, Memory: 3}, {N: 1, Seconds: 5, Elapsed: 5, Memory: 1}}), curves[0].Base)
	assert.Equal(t, []curve.Point{curve.Merge([]curve.Point{{N: 2, Seconds: 8, Elapsed: 2, Memory: 2}, {N: 2, Seconds: 6, Elapsed: 4}})}, curves[0].Points)
}

// More rounds are made where an exponent's error is large, but not in a quick run.
func TestMoreRounds(t *testing.T) {
	calls, steady := 0, false
	call := func(_ context.Context, w *world) (*curve.Point, error) {
		calls++
		p := &curve.Point{N: w.N, Seconds: float64(w.N) * (1 + 0.001*float64(calls))}
		if !steady {
			p.Seconds *= math.Pow(1.5, float64(calls/3))
		}
		return p, nil
	}
	g := group{Group: curve.Group{Name: "tags"}, base: 1, sizes: []int{10, 100}, engineRepeats: 2, steps: []step{{name: "call", engine: call}}}
	_, err := (&options{}).measure(t.Context(), g)
	require.NoError(t, err)
	assert.Equal(t, 3*2+1+3*moreEngineRounds, calls, "no two runs agree")
	calls, steady = 0, true
	_, err = (&options{}).measure(t.Context(), g)
	require.NoError(t, err)
	assert.Equal(t, 3*2+1, calls)
	calls, steady, g.quick = 0, false, []int{10}
	_, err = (&options{quick: true}).measure(t.Context(), g)
	require.NoError(t, err)
	assert.Equal(t, 2+1, calls)
	_, engine := vague([]curve.Curve{{Step: "call", Base: curve.Point{N: 1, Seconds: 1}, Points: []curve.Point{{N: 10, Seconds: 10}, {N: 100, Seconds: 100}}}}, g.steps)
	assert.True(t, engine, "an exponent whose error is unknown is vague")
}

// A step that does something else than what is measured is an error.
func TestStepsCheckWhatTheyDo(t *testing.T) {
	w, err := newWorld(t.Context(), assets, 5)
	require.NoError(t, err)
	defer w.close()
	_, err = mergeFiles(t.Context(), w.job)
	require.NoError(t, err)
	_, err = publish("1.0.0", none)(t.Context(), w.job)
	assert.ErrorContains(t, err, "it wrote 7 times")
	_, err = publish("1.0.0", some)(t.Context(), w.job)
	assert.ErrorContains(t, err, "it wrote 0 times", "the release is complete now")
	j := w.job
	j.N = 6
	_, err = verifyRelease(t.Context(), j)
	assert.ErrorContains(t, err, "5 assets were downloaded, not 6")
	require.NoError(t, os.WriteFile(filepath.Join(w.Dir, "dist", "more"), nil, 0o644))
	_, err = mergeFiles(t.Context(), w.job)
	assert.ErrorContains(t, err, "more")
}

func TestTagsArePaged(t *testing.T) {
	w, err := newWorld(t.Context(), registryTags, 1500)
	require.NoError(t, err)
	defer w.close()
	r, c, err := w.repository()
	require.NoError(t, err)
	listed, err := r.Tags(t.Context())
	require.NoError(t, err)
	assert.Len(t, listed, 1500)
	assert.EqualValues(t, 4, c.requests.Load(), "two to see how the registry is reached, and two pages")
}

func TestUnknownGroup(t *testing.T) {
	_, err := parse([]string{"assests"})
	assert.ErrorContains(t, err, `unknown group "assests": pass some of `)
	o, err := parse([]string{"tags", "--quick"})
	assert.ErrorContains(t, err, `unknown group "--quick"`)
	assert.Nil(t, o)
	o, err = parse([]string{"--quick", "tags"})
	require.NoError(t, err)
	assert.False(t, o.stores(), "small sizes never replace the committed results")
}

func TestSourcesCanBePlanned(t *testing.T) {
	for name, c := range map[string]struct {
		write func(string, int) error
		file  string
	}{
		"files": {writeManyFiles, "assets/0000/file-000011.txt"}, "members": {writeMembers, "crates/crate-0011/Cargo.toml"},
		"commits": {writeCommits, "log/11.txt"}, "binaries": {writeBins, "src/bin/app-11.rs"},
		"megabytes": {writeMegabytes, "assets/7.bin"},
	} {
		w := &world{job: job{N: 12}, disk: t.TempDir()}
		dir, err := w.source(c.write)
		require.NoError(t, err, name)
		assert.FileExists(t, filepath.Join(dir, filepath.FromSlash(c.file)), name)
		out, err := exec.Command("git", "-C", dir, "status", "--porcelain").CombinedOutput()
		require.NoError(t, err, name)
		assert.Empty(t, string(out), name)
		require.NoError(t, git(dir, nil, "rev-parse", "v1.0.0"), name)
		if name == "commits" {
			out, err = exec.Command("git", "-C", dir, "rev-list", "--count", "v0.10.0..v1.0.0").Output()
			require.NoError(t, err)
			assert.Equal(t, "2\n", string(out))
		}
		if name == "megabytes" {
			assert.InDelta(t, 12e6, bytesOf(t, dir), 2e5)
		}
		again, err := w.source(func(string, int) error { return errors.New("written twice") })
		require.NoError(t, err)
		assert.Equal(t, dir, again)
	}
}

// bytesOf returns the bytes of all files in a directory.
func bytesOf(t *testing.T, dir string) (all int64) {
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all += info.Size()
		}
		return err
	}))
	return all
}

func TestTargetsAreKnown(t *testing.T) {
	all := append(slices.Clone(built), further...)
	assert.Len(t, all, 8)
	for _, triple := range all {
		known, err := target.Lookup(triple)
		require.NoError(t, err)
		assert.Empty(t, known.Beyond, triple)
		text, err := tinyELF(machineOf(triple))
		require.NoError(t, err)
		facts, err := binary.Inspect(bytes.NewReader(text), int64(len(text)))
		require.NoError(t, err)
		assert.Empty(t, binary.Check(facts, binary.Requirements{Target: triple, Binary: "app", Format: "elf", Arch: known.Arch, OS: known.OS, Libc: known.Libc}), triple)
	}
}

// Work of all kinds counts; waiting, and work of other machines, does not.
func TestBusyTime(t *testing.T) {
	busy, err := busyTime("cpu  100 20 3 100000 5000 40 7 9000 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n")
	require.NoError(t, err)
	assert.Equal(t, 1700*time.Millisecond, busy)
	for _, text := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8\n", "cpu 1 2 x 4 5 6 7 8\n"} {
		_, err := busyTime(text)
		assert.ErrorContains(t, err, "/proc/stat")
	}
	before, err := machineTime()
	require.NoError(t, err)
	for start := time.Now(); time.Since(start) < 100*time.Millisecond; {
	}
	after, err := machineTime()
	require.NoError(t, err)
	assert.Greater(t, after, before)
}

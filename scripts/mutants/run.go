package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Fates of a mutant.
const (
	Killed     = "killed"     // a test failed, or ran into the time-out
	Survived   = "survived"   // every test passed
	Judged     = "equivalent" // on the list, so not run
	NotCompile = "invalid"    // does not compile, so it counts as nothing
)

// Result is the fate of one mutant, as kept between runs.
type Result struct {
	Key      string  `json:"key"`
	Package  string  `json:"package"`
	Line     int     `json:"line"`
	Fate     string  `json:"fate"`
	By       string  `json:"by,omitempty"` // the test that failed, "time-out", or "no test runs this line"
	Seconds  float64 `json:"seconds"`
	Inputs   string  `json:"inputs"`   // hash of everything that the fate depends on
	Function string  `json:"function"` // hash of the function's source
}

// Runner runs the tests of one package against its mutants.
type Runner struct {
	Root, Package, Work string
	Nice                int // what the commands' priority is lowered by

	tests  []test
	inputs string

	switched string // the test program with switches
	ids      map[*Mutant]int
}

// test is one test function, how long it takes, and what of the package it runs.
type test struct {
	Name    string
	Seconds float64
	Runs    []span
	Total   []span // of the package; kept with the first test only
}

// span is a stretch of code that the coverage tool counts.
type span struct {
	File                     string
	Line0, Col0, Line1, Col1 int
}

func (s span) holds(m *Mutant) bool {
	return s.File == m.File &&
		(s.Line0 < m.Line || s.Line0 == m.Line && s.Col0 <= m.Column) &&
		(m.Line < s.Line1 || m.Line == s.Line1 && m.Column < s.Col1)
}

// Tests whose run time adds up to little are run first, in one go.
const quick = 0.3 // seconds

// Open runs the unchanged package's tests one at a time, for their coverage and
// time, unless a former run has left that in the cache.
func Open(ctx context.Context, o Options, pkg, work string) (*Runner, error) {
	r := &Runner{Root: o.Root, Package: pkg, Work: work, Nice: o.Nice}
	inputs, err := r.hashInputs(ctx)
	if err != nil {
		return nil, err
	}
	r.inputs = inputs
	kept := filepath.Join(o.Cache, "tests-"+strings.ReplaceAll(pkg, "/", "-")+"-"+inputs[:16]+".json")
	if data, err := os.ReadFile(kept); err == nil && json.Unmarshal(data, &r.tests) == nil {
		return r, nil
	}
	if err := r.measure(ctx); err != nil {
		return nil, err
	}
	data, err := json.Marshal(r.tests)
	if err != nil {
		return nil, err
	}
	return r, os.WriteFile(kept, data, 0o644)
}

// hashInputs returns a hash of the files of the package, its tests, and the
// packages of this module that they import.
func (r *Runner) hashInputs(ctx context.Context) (string, error) {
	list, err := r.command(ctx, "go", "list", "-deps", "-test", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", "./"+r.Package).Output()
	if err != nil {
		return "", explain(err)
	}
	var names []string
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(list))))) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && path != dir && d.Name() != "testdata":
				if inside, _ := filepath.Rel(filepath.Join(dir, "testdata"), path); strings.HasPrefix(inside, "..") {
					return fs.SkipDir
				}
			case d.Type().IsRegular():
				names = append(names, path)
			}
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	names = append(names, filepath.Join(r.Root, "go.mod"))
	slices.Sort(names)
	var all strings.Builder
	for _, name := range slices.Compact(names) {
		data, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		relative, err := filepath.Rel(r.Root, name) // another clone has the same results
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&all, "%s %s\n", relative, hash(string(data)))
	}
	return hash(all.String()), nil
}

var (
	testName = regexp.MustCompile(`^(Test|Example|Fuzz)\w*$`)
	counted  = regexp.MustCompile(`^(.+):(\d+)\.(\d+),(\d+)\.(\d+) \d+ (\d+)$`)
	failed   = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
)

func (r *Runner) measure(ctx context.Context) error {
	binary := filepath.Join(r.Work, "covered.test")
	if out, err := r.command(ctx, "go", "test", "-c", "-cover", "-vet=off", "-o", binary, "./"+r.Package).CombinedOutput(); err != nil {
		return fmt.Errorf("%s does not compile: %s", r.Package, out)
	}
	if _, err := os.Stat(binary); errors.Is(err, fs.ErrNotExist) {
		return nil // without tests
	}
	list, err := r.command(ctx, binary, "-test.list", ".").Output()
	if err != nil {
		return explain(err)
	}
	for name := range strings.Lines(string(list)) {
		name = strings.TrimSpace(name)
		if !testName.MatchString(name) {
			continue
		}
		profile := filepath.Join(r.Work, "profile")
		start := time.Now()
		out, err := r.test(ctx, binary, 0, 10*time.Minute, []string{name}, "-test.coverprofile="+profile)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("%s of %s fails without any change: fix it first\n%s", name, r.Package, out)
		}
		t := test{Name: name, Seconds: time.Since(start).Seconds()}
		if t.Runs, t.Total, err = r.coverage(profile); err != nil {
			return err
		}
		if len(r.tests) > 0 {
			t.Total = nil
		}
		r.tests = append(r.tests, t)
	}
	slices.SortStableFunc(r.tests, func(a, b test) int { return cmp.Compare(a.Seconds, b.Seconds) })
	return nil
}

// coverage returns what a test ran, and all that it could have.
func (r *Runner) coverage(profile string) (runs, total []span, err error) {
	f, err := os.Open(profile)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m := counted.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		n := make([]int, 5)
		for i := range n {
			n[i], _ = strconv.Atoi(m[i+2])
		}
		s := span{r.Package + "/" + filepath.Base(m[1]), n[0], n[1], n[2], n[3]}
		total = append(total, s)
		if n[4] > 0 {
			runs = append(runs, s)
		}
	}
	return runs, total, lines.Err()
}

// testsOf returns the tests that run a mutant's code, the quickest first. Where
// the coverage tool doesn't count, as in variables of the package, that is all.
func (r *Runner) testsOf(m *Mutant) []test {
	isCounted := func(t test) bool { return slices.ContainsFunc(t.Total, func(s span) bool { return s.holds(m) }) }
	if !slices.ContainsFunc(r.tests, isCounted) {
		return r.tests
	}
	var of []test
	for _, t := range r.tests {
		if slices.ContainsFunc(t.Runs, func(s span) bool { return s.holds(m) }) {
			of = append(of, t)
		}
	}
	return of
}

// Run returns the fate of a mutant. The tree is not touched: the compiler reads
// the changed file through an overlay.
func (r *Runner) Run(ctx context.Context, m *Mutant) (Result, error) {
	start := time.Now()
	result := Result{Key: m.Key(), Package: m.Package, Line: m.Line, Inputs: r.inputs, Function: m.functionHash}
	done := func(fate, by string) (Result, error) {
		result.Fate, result.By, result.Seconds = fate, by, time.Since(start).Seconds()
		return result, ctx.Err()
	}
	tests := r.testsOf(m)
	if len(tests) == 0 {
		return done(Survived, "no test runs this line")
	}
	binary, id := r.switched, r.ids[m]
	if id == 0 {
		var compiled bool
		var err error
		if binary, compiled, err = r.compile(ctx, m); err != nil {
			return result, err
		}
		if !compiled {
			return done(NotCompile, "")
		}
		defer os.Remove(binary)
	}
	var first, rest []string
	var firstSeconds, restSeconds float64
	for _, t := range tests {
		if t.Seconds < quick {
			first = append(first, t.Name)
			firstSeconds += t.Seconds
		} else {
			rest = append(rest, t.Name)
			restSeconds += t.Seconds
		}
	}
	for _, part := range []struct {
		names   []string
		seconds float64
	}{{first, firstSeconds}, {rest, restSeconds}} {
		if len(part.names) == 0 {
			continue
		}
		// Wide, since a busy machine must not kill a mutant.
		limit := 20*time.Second + time.Duration(part.seconds*4*float64(time.Second))
		out, err := r.test(ctx, binary, id, limit, part.names)
		switch {
		case ctx.Err() != nil:
			return result, ctx.Err()
		case err == nil:
		case bytes.Contains(out, []byte("panic: test timed out")):
			return done(Killed, "time-out")
		default:
			if f := failed.FindSubmatch(out); f != nil {
				return done(Killed, string(f[1]))
			}
			return done(Killed, "the test program crashed")
		}
	}
	return done(Survived, "")
}

// compile compiles a mutant alone.
func (r *Runner) compile(ctx context.Context, m *Mutant) (binary string, compiled bool, err error) {
	changed := filepath.Join(r.Work, "changed.go")
	if err := os.WriteFile(changed, m.Apply(), 0o644); err != nil {
		return "", false, err
	}
	binary = filepath.Join(r.Work, "mutant.test")
	out, err := r.build(ctx, map[string]string{filepath.Join(r.Root, filepath.FromSlash(m.File)): changed}, binary)
	switch {
	case ctx.Err() != nil:
		return "", false, ctx.Err()
	case err == nil:
		return binary, true, nil
	case bytes.Contains(out, []byte("changed.go:")) || bytes.Contains(out, []byte(m.File+":")):
		return "", false, nil
	}
	return "", false, fmt.Errorf("%s: %s", m.Key(), out)
}

// test runs some tests of a test program in the package's directory. A mutant
// may try to use all memory or disk: it gets 6 GiB of addresses, files of 1 GiB.
func (r *Runner) test(ctx context.Context, binary string, id int, limit time.Duration, names []string, args ...string) ([]byte, error) {
	pattern := "^(" + strings.Join(names, "|") + ")$"
	args = append([]string{"-c", `ulimit -v 6291456; ulimit -f 1048576; exec nice -n "$0" "$@"`, strconv.Itoa(r.Nice), binary,
		"-test.run=" + pattern, "-test.failfast", "-test.timeout=" + limit.String()}, args...)
	ctx, cancel := context.WithTimeout(ctx, limit+20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", args...)
	cmd.Dir = filepath.Join(r.Root, r.Package)
	cmd.Env = append(os.Environ(), "TMPDIR="+r.Work, switchVariable+"="+strconv.Itoa(id))
	ownGroup(cmd)
	out, err := cmd.CombinedOutput()
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		out = append(out, "panic: test timed out"...)
	}
	return out, err
}

func (r *Runner) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nice", append([]string{"-n", strconv.Itoa(r.Nice), name}, args...)...)
	cmd.Dir = r.Root
	ownGroup(cmd)
	return cmd
}

// ownGroup makes a command's end the end of its children too.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// explain adds what a command wrote to its error.
func explain(err error) error {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

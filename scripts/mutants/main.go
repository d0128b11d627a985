// Command mutants changes the module's product code, one place at a time, and
// runs the tests of the changed package. A change that no test notices shows
// what the tests don't check.
//
// It never touches the tree: the compiler reads the changed file through an
// overlay. Only the tests that run the changed line are run, the quickest first.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
)

var packages = []string{
	"ci/version", "ci/release/plan", "ci/manifest", "ci/archive", "ci/binary", "ci/release/dist",
	"ci/github", "ci/image/oci", "ci/published", "ci/event", "ci/wire", "ci/strict", "ci/markdown", "ci/scaffold",
}

const usage = `mutants changes product code one place at a time and runs the changed package's
tests. It prints each change's fate (killed, survived, equivalent) and the score
of each package: the share of the changes that tests notice, without those judged
equivalent. It exits with 1 if the score in all is below --min.

  go run ./scripts/mutants                              a sample of every package
  go run ./scripts/mutants --package ci/archive --all   every change of one
  go run ./scripts/mutants --since main                 only functions changed since
  go run ./scripts/mutants --list --package ci/event    print them, run nothing

Results are kept as they come in. A run that is interrupted, or started again
with a larger sample, does only what is missing, unless the package's code or
tests changed.

Options:
`

// Options of a run.
type Options struct {
	Root, Cache, Equivalent string
	Packages                []string
	Sample, Least, Jobs     int
	Nice                    int
	All, List, Fresh        bool
	Trust, Judge            bool
	Seed                    uint64
	Since                   string
	Min                     float64
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func parse(args []string) (Options, error) {
	o := Options{Packages: packages}
	f := flag.NewFlagSet("mutants", flag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	var only []string
	f.Func("package", "`directory` of a package, such as ci/archive; repeatable (default: the pure packages of the release)", func(s string) error {
		only = append(only, strings.Trim(filepath.ToSlash(filepath.Clean(s)), "/"))
		return nil
	})
	f.IntVar(&o.Sample, "sample", 500, "`number` of changes in all, split by the packages' sizes")
	f.IntVar(&o.Least, "least", 15, "`number` of changes of each package at least")
	f.BoolVar(&o.All, "all", false, "make every change")
	f.Uint64Var(&o.Seed, "seed", 1, "`number` that selects the sample")
	f.IntVar(&o.Jobs, "jobs", 1, "packages to work on at a time")
	f.IntVar(&o.Nice, "nice", 10, "`number` that the priority of compiler and tests is lowered by")
	f.StringVar(&o.Since, "since", "", "only change functions that differ from this git `revision`")
	f.BoolVar(&o.List, "list", false, "print the changes and run nothing")
	f.BoolVar(&o.Fresh, "fresh", false, "ignore the results of former runs")
	f.BoolVar(&o.Trust, "trust-killed", false, "don't rerun what was killed, as long as its function is the same; for work on the tests")
	f.BoolVar(&o.Judge, "judge", false, "run only those judged equivalent; fail if a test notices one")
	f.Float64Var(&o.Min, "min", 95, "lowest score in `percent` to succeed with")
	f.StringVar(&o.Cache, "cache", "", "`directory` of the results (default: mutants in Gantry's cache)")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unknown argument %q: name a package with --package %s", f.Arg(0), f.Arg(0))
	}
	if len(only) > 0 {
		o.Packages = only
	}
	top, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return o, fmt.Errorf("run it inside the repository: %w", explain(err))
	}
	o.Root = strings.TrimSpace(string(top))
	o.Equivalent = filepath.Join(o.Root, "scripts", "mutants", "equivalent.txt")
	if o.Cache == "" {
		base := os.Getenv("GANTRY_CACHE")
		if base == "" {
			if base, err = os.UserCacheDir(); err != nil {
				return o, err
			}
			base = filepath.Join(base, "gantry")
		}
		o.Cache = filepath.Join(base, "mutants")
	}
	return o, nil
}

// job is the work on one package.
type job struct {
	pkg   string
	order []*Mutant
	want  int
}

func run(ctx context.Context, o Options, out io.Writer) error {
	equivalent, err := ReadEquivalent(o.Equivalent)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return err
	}
	jobs, sizes := []job{}, map[string]int{}
	stale := maps.Clone(equivalent)
	for _, pkg := range o.Packages {
		all, err := Find(o.Root, pkg)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return fmt.Errorf("%s holds nothing to change: name the directory of a Go package of this module", pkg)
		}
		for _, m := range all {
			delete(stale, m.Key())
		}
		maps.DeleteFunc(stale, func(key, _ string) bool {
			return !slices.Contains(o.Packages, filepath.ToSlash(filepath.Dir(strings.Fields(key)[0])))
		})
		if all, err = since(o, pkg, all); err != nil {
			return err
		}
		jobs = append(jobs, job{pkg: pkg, order: Order(all, o.Seed)})
		sizes[pkg] = len(all)
	}
	shares := Shares(sizes, o.Sample, o.Least)
	for i := range jobs {
		jobs[i].want = shares[jobs[i].pkg]
		if o.All || o.Judge || o.Since != "" {
			jobs[i].want = sizes[jobs[i].pkg]
		}
	}
	if o.List {
		for _, j := range jobs {
			for _, m := range j.order[:j.want] {
				fmt.Fprintf(out, "%s:%d\t%s\n", m.File, m.Line, m.Key())
			}
		}
		return nil
	}
	for key := range stale {
		fmt.Fprintf(out, "warning: equivalent.txt lists a change that the code no longer has: %s\n", key)
	}
	s := &session{Options: o, out: out, equivalent: equivalent, file: filepath.Join(o.Cache, "results.jsonl")}
	if err := s.load(); err != nil {
		return err
	}
	queue, failures := make(chan job), make(chan error, len(jobs))
	var workers sync.WaitGroup
	for range max(1, o.Jobs) {
		workers.Go(func() {
			for j := range queue {
				if err := s.work(ctx, j); err != nil {
					failures <- fmt.Errorf("%s: %w", j.pkg, err)
				}
			}
		})
	}
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	workers.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	score := s.report()
	switch {
	case len(all) > 0:
		return errors.Join(all...)
	case o.Judge && len(stale) > 0:
		return errors.New("equivalent.txt lists changes that the code no longer has (see the warnings): remove them, or adapt their keys")
	case o.Judge && s.count("", Killed) > 0:
		return errors.New("tests notice changes that equivalent.txt calls equivalent: remove those from it")
	case !o.Judge && score < o.Min:
		return fmt.Errorf("the score is %.1f %%, below %.1f %%: write tests for the survivors, or explain in scripts/mutants/equivalent.txt why no test can notice them", score, o.Min)
	}
	return nil
}

// session collects the fates of one run.
type session struct {
	Options
	out        io.Writer
	equivalent Equivalent
	file       string

	sync.Mutex
	former map[string]Result
	fates  []Result
}

func (s *session) load() error {
	s.former = map[string]Result{}
	f, err := os.Open(s.file)
	if errors.Is(err, os.ErrNotExist) || s.Fresh {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r Result
		if json.Unmarshal(lines.Bytes(), &r) == nil { // the last line may be cut off
			s.former[r.Key] = r
		}
	}
	return lines.Err()
}

// work runs the mutants of a package until as many as wanted have a fate. One
// that does not compile is replaced by the next.
func (s *session) work(ctx context.Context, j job) error {
	work, err := os.MkdirTemp("", "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	runner, err := Open(ctx, s.Options, j.pkg, work)
	if err != nil {
		return err
	}
	done := 0
	for _, m := range j.order {
		if done == j.want {
			break
		}
		if ctx.Err() != nil {
			return errors.New("interrupted: run it again to go on")
		}
		_, judged := s.equivalent[m.Key()]
		if judged && !s.Judge {
			s.add(Result{Key: m.Key(), Package: m.Package, Line: m.Line, Fate: Judged})
			done++
			continue
		}
		if s.Judge && !judged {
			continue
		}
		result, known := s.known(m, runner)
		if !known {
			if runner.switched == "" {
				if err := runner.Switch(ctx, j.order); err != nil {
					return err
				}
			}
			if result, err = runner.Run(ctx, m); err != nil {
				return err
			}
			if err := s.keep(result); err != nil {
				return err
			}
		}
		result.Line = m.Line
		s.add(result)
		if result.Fate != NotCompile {
			done++
		}
	}
	return nil
}

// known returns the result of a former run, if it still holds.
func (s *session) known(m *Mutant, runner *Runner) (Result, bool) {
	former, found := s.former[m.Key()]
	sameFunction := found && former.Function == m.functionHash
	return former, found && former.Inputs == runner.inputs || sameFunction && (former.Fate == NotCompile || s.Trust && former.Fate == Killed)
}

func (s *session) keep(r Result) error {
	s.Lock()
	defer s.Unlock()
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

func (s *session) add(r Result) {
	s.Lock()
	defer s.Unlock()
	s.fates = append(s.fates, r)
	if r.Fate == NotCompile {
		return
	}
	fmt.Fprintf(s.out, "%-10s line %-4d %s", r.Fate, r.Line, r.Key)
	if r.By != "" {
		fmt.Fprintf(s.out, "  [%s, %.1f s]", r.By, r.Seconds)
	}
	fmt.Fprintln(s.out)
}

// count counts the fates of a package, or of all.
func (s *session) count(pkg, fate string) int {
	n := 0
	for _, r := range s.fates {
		if r.Fate == fate && (pkg == "" || r.Package == pkg) {
			n++
		}
	}
	return n
}

// report prints the survivors and the table, and returns the score in all.
func (s *session) report() float64 {
	if s.count("", Survived) > 0 && !s.Judge {
		fmt.Fprintln(s.out, "\nsurvivors:")
		for _, r := range s.fates {
			if r.Fate == Survived {
				fmt.Fprintf(s.out, "%s:%d\n  %s\n", strings.Fields(r.Key)[0], r.Line, r.Key)
				if r.By != "" {
					fmt.Fprintf(s.out, "  %s\n", r.By)
				}
			}
		}
	}
	fmt.Fprintln(s.out)
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "package\tchanges\tkilled\tof these by time-out\tsurvived\tequivalent\tscore\t")
	var total float64
	for _, pkg := range append(slices.Clone(s.Packages), "") {
		killed, survived, judged := s.count(pkg, Killed), s.count(pkg, Survived), s.count(pkg, Judged)
		late := 0
		for _, r := range s.fates {
			if r.Fate == Killed && r.By == "time-out" && (pkg == "" || r.Package == pkg) {
				late++
			}
		}
		total = 100
		if killed+survived > 0 {
			total = 100 * float64(killed) / float64(killed+survived)
		}
		name := pkg
		if pkg == "" {
			name = "in all"
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%.1f %%\t\n", name, killed+survived+judged, killed, late, survived, judged, total)
	}
	table.Flush()
	fmt.Fprintf(s.out, "seed %d; %d changes that don't compile were skipped\n", s.Seed, s.count("", NotCompile))
	return total
}

var hunk = regexp.MustCompile(`(?m)^@@ -\S+ \+(\d+)(?:,(\d+))? @@`)

// since keeps the mutants of functions that differ from a revision.
func since(o Options, pkg string, all []*Mutant) ([]*Mutant, error) {
	if o.Since == "" {
		return all, nil
	}
	changed := map[string]bool{} // file and function
	lines := map[string][][2]int{}
	for _, m := range all {
		if _, known := lines[m.File]; known {
			continue
		}
		cmd := exec.Command("git", "diff", "-U0", o.Since, "--", m.File)
		cmd.Dir = o.Root
		diff, err := cmd.Output()
		if err != nil {
			return nil, explain(err)
		}
		lines[m.File] = [][2]int{}
		for _, h := range hunk.FindAllStringSubmatch(string(diff), -1) {
			start, _ := strconv.Atoi(h[1])
			n := 1
			if h[2] != "" {
				n, _ = strconv.Atoi(h[2])
			}
			lines[m.File] = append(lines[m.File], [2]int{start, start + max(n, 1) - 1})
		}
	}
	for _, m := range all {
		for _, l := range lines[m.File] {
			if l[0] <= m.lastLine && m.firstLine <= l[1] {
				changed[m.File+" "+m.Function] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(all), func(m *Mutant) bool { return !changed[m.File+" "+m.Function] }), nil
}

// Command peers compares Gantry with the tools that a maintainer would use instead: in
// one run, on the same files, against the same fake GitHub (ci/fakehub), each tool as
// its documentation recommends. It writes a table, in which a row says so where Gantry
// is not ahead.
//
//	scripts/bench peers             all parts
//	scripts/bench peers releases    only this one; the rows of the others stay
//	scripts/bench peers -install    install the other tools only, which takes about 40
//	                                minutes, once; or those named after it
//	scripts/bench peers -docs       write the last results into the documentation
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command's flags and arguments.
type options struct {
	root, cache, out, faults string
	rounds                   int
	install, docs            bool
	parts                    []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// start does what the arguments ask for.
func start(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == publishCommand {
		return publishAsGantry(ctx, args[1:])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	return run(ctx, o)
}

func parse(args []string) (*options, error) {
	o := &options{}
	cache, _ := os.UserCacheDir()
	f := flag.NewFlagSet("peers", flag.ContinueOnError)
	f.StringVar(&o.root, "root", ".", "this repository")
	f.StringVar(&o.cache, "cache", filepath.Join(cache, "gantry"), "where the tools are installed")
	f.StringVar(&o.out, "out", "out/peers", "where peers.json and peers.md are written")
	f.StringVar(&o.faults, "faults", "all", "which faults are injected into releases: light or all")
	f.IntVar(&o.rounds, "rounds", 3, "how often something is measured, of which the median counts")
	f.BoolVar(&o.install, "install", false, "install the other tools, and compare nothing")
	f.BoolVar(&o.docs, "docs", false, "write the last results into the documentation, and compare nothing")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if o.faults != "light" && o.faults != "all" {
		return nil, fmt.Errorf("-faults is %q: want light or all", o.faults)
	}
	if o.rounds < 1 {
		return nil, fmt.Errorf("-rounds is %d: want 1 or more", o.rounds)
	}
	o.parts = f.Args()
	if o.install {
		return o, nil
	}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	for _, name := range f.Args() {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("no part is named %q: want some of %s", name, strings.Join(names, ", "))
		}
	}
	if len(o.parts) == 0 {
		o.parts = names
	}
	return o, nil
}

// run runs the parts. What is done is kept even if a later part fails.
func run(ctx context.Context, o *options) error {
	var err error
	for _, path := range []*string{&o.root, &o.cache, &o.out} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	switch {
	case o.install:
		return newEnv(o, "").InstallAll(ctx, o.parts)
	case o.docs:
		return document(o.root, filepath.Join(o.out, "peers.json"))
	}
	results, err := ReadResults(filepath.Join(o.out, "peers.json"))
	if err != nil {
		return err
	}
	var failed []error
	for _, p := range parts {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		got, err := runPart(ctx, o, p.name, p.run)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", p.name, err))
			continue
		}
		results.Add(p.name, got)
		if err := results.Write(o.out); err != nil {
			return err
		}
		fmt.Printf("### %s\n\n%s\n", p.title, got.markdown())
	}
	return errors.Join(failed...)
}

func newEnv(o *options, work string) *Env {
	return &Env{
		Root: o.root, Cache: o.cache, Out: o.out, Work: work, Rounds: o.rounds, Faults: o.faults,
		tools: map[string]installed{}, used: map[string]string{},
	}
}

func runPart(ctx context.Context, o *options, name string, part Part) (*PartResults, error) {
	work, err := os.MkdirTemp("", "peers-"+name+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	e := newEnv(o, work)
	e.Part = name
	version, err := ours(ctx, o.root)
	if err != nil {
		return nil, err
	}
	e.Used(Gantry, version)
	start := time.Now()
	rows, err := part(ctx, e)
	if err != nil {
		return nil, err
	}
	e.Log("%s: done in %s", name, time.Since(start).Round(time.Second))
	return &PartResults{
		Date: start.UTC().Format(time.DateOnly), Command: o.command(name), Machine: fmt.Sprintf("%d CPUs", runtime.NumCPU()),
		Tools: e.used, Notes: e.notes, Rows: rows,
	}, nil
}

// command is what a person runs for the same rows.
func (o *options) command(part string) string {
	words := []string{"scripts/bench peers"}
	if o.rounds != 3 {
		words = append(words, fmt.Sprintf("-rounds %d", o.rounds))
	}
	if o.faults != "all" && part == "releases" {
		words = append(words, "-faults "+o.faults)
	}
	return strings.Join(append(words, part), " ")
}

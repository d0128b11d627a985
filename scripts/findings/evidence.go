package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// evidence is the directory in which scripts/survey leaves what it saw of one program:
//
//	plan.json, plan.log, plan.seconds    the plan, or why there is none
//	build.log, build.seconds             the release; absent if it was only planned
//	build-TARGET.log                     each target by itself, after the release failed
//	timeout                              the time limit, if it was over
//	run/TARGET                           the unpacked archive of a target
//	said/TARGET@PROGRAM, ….stderr        what the program printed for --version
type evidence string

// text returns the content of a file; ok is false if there is none.
func (e evidence) text(name string) (text string, ok bool, err error) {
	content, err := os.ReadFile(filepath.Join(string(e), name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	return string(content), err == nil, err
}

func (e evidence) seconds(name string) (int, error) {
	text, ok, err := e.text(name)
	if !ok || err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(text))
}

// judge fills in what the evidence says about a program.
func (e evidence) judge(r *Result) error {
	var err error
	if r.PlanSeconds, err = e.seconds("plan.seconds"); err != nil {
		return err
	}
	if r.BuildSeconds, err = e.seconds("build.seconds"); err != nil {
		return err
	}
	failure, err := e.plan()
	if err != nil {
		return err
	}
	if failure != nil {
		r.Finding = *failure
		return nil
	}
	r.Planned = true
	if limit, over, err := e.text("timeout"); err != nil || over {
		r.Finding = Finding{Class: Time, Reason: "not finished in " + strings.TrimSpace(limit)}
		return err
	}
	build, tried, err := e.text("build.log")
	if err != nil || !tried {
		r.Class = Planned
		return err
	}
	return e.targets(r, build)
}

// plan judges the plan. It returns nil if it has no error.
func (e evidence) plan() (*Finding, error) {
	text, ok, err := e.text("plan.json")
	if err != nil {
		return nil, err
	}
	var planned struct {
		Problems []struct{ Severity, Message string }
	}
	if !ok || json.Unmarshal([]byte(text), &planned) != nil {
		log, _, err := e.text("plan.log")
		finding := Classify(errorOf(log))
		return &finding, err
	}
	for _, problem := range planned.Problems {
		if problem.Severity == "error" {
			finding := Classify(problem.Message)
			return &finding, nil
		}
	}
	return nil, nil
}

// gravity tells which failure of several targets is that of the program: the machine's,
// since nothing is known then, or else Gantry's.
func gravity(c Class) int {
	switch c {
	case Started:
		return 0
	case Gantry:
		return 2
	case Machine:
		return 3
	}
	return 1
}

// targets judges each target, and the program by the gravest failure, or else by the first.
func (e evidence) targets(r *Result, build string) error {
	r.Targets = map[string]Target{}
	r.Class = Started
	for _, name := range targets {
		t, err := e.target(name, r.Version, build)
		if err != nil {
			return err
		}
		r.Targets[name] = t
		if t.Failure != nil && gravity(t.Failure.Class) > gravity(r.Class) {
			r.Finding = *t.Failure
		}
	}
	return nil
}

func (e evidence) target(name, version, build string) (Target, error) {
	log, ok, err := e.text("build-" + name + ".log")
	if err != nil {
		return Target{}, err
	}
	if !ok {
		log = build
	}
	if _, err := os.Stat(filepath.Join(string(e), "run", name)); err != nil {
		finding := Classify(errorOf(log))
		return Target{Failure: &finding}, nil
	}
	t := Target{Built: true, Said: map[string]string{}}
	files, err := filepath.Glob(filepath.Join(string(e), "said", name+"@*"))
	if err != nil {
		return t, err
	}
	said, complaints := map[string]string{}, map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return t, err
		}
		_, program, _ := strings.Cut(filepath.Base(file), "@")
		if program, complaint := strings.CutSuffix(program, ".stderr"); complaint {
			complaints[program] = string(content)
			continue
		}
		said[program] = string(content)
		t.Said[program] = shorten(firstLine(string(content)))
	}
	t.Failure = ClassifyAnswers(version, said, complaints, log)
	return t, nil
}

// line describes a result for a person who waits.
func (r Result) line() string {
	built, started := r.count()
	line := fmt.Sprintf("%s %s: %s", r.Name, r.Version, r.Class)
	if r.Targets != nil {
		line += fmt.Sprintf(", %d of %d targets built, %d started", built, len(targets), started)
	}
	if r.Reason != "" {
		line += ": " + r.Reason
	}
	return line
}

// Command findings judges and tabulates what scripts/survey sees of programs.
//
// It only reads what the survey left, and decides by the messages alone: the same
// evidence always gives the same result. A failure that it doesn't know counts as
// Gantry's.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const usage = `findings judges what scripts/survey sees of programs.

  findings record EVIDENCE NAME VERSION GANTRY COMMIT DATE RESULT   judge a directory, write RESULT
  findings done RESULT GANTRY plan|build                            whether that needs no other run
  findings write ROOT RESULTS                                       bring docs/survey.json and docs/survey.md up to date

record exits with 3, and writes nothing, if the machine failed and not the program.
`

// errMachine means that a failure says nothing about the program.
var errMachine = errors.New("the machine failed")

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "error:", err)
	if errors.Is(err, errMachine) {
		os.Exit(3)
	}
	os.Exit(1)
}

func run(args []string) error {
	switch {
	case len(args) == 8 && args[0] == "record":
		return record(args[1], Result{Name: args[2], Version: args[3], Gantry: args[4], Commit: args[5], Date: args[6]}, args[7])
	case len(args) == 4 && args[0] == "done":
		return done(args[1], args[2], args[3] == "build")
	case len(args) == 3 && args[0] == "write":
		return write(args[1], args[2])
	}
	return fmt.Errorf("unknown arguments %q\n%s", args, usage)
}

// record judges a directory of evidence, and writes the result.
func record(directory string, r Result, path string) error {
	if err := evidence(directory).judge(&r); err != nil {
		return err
	}
	fmt.Println(r.line())
	if r.Class == Machine {
		return fmt.Errorf("%w: %s", errMachine, r.Reason)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	// A result is there whole or not at all.
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// done fails unless there is a result that the version of Gantry recorded. A program that
// was only planned is not done if it should be built.
func done(path, gantry string, build bool) error {
	r, err := readResult(path)
	if err != nil {
		return err
	}
	if r.Gantry != gantry || build && r.Class == Planned {
		return fmt.Errorf("%s is of Gantry %s, class %s", path, r.Gantry, r.Class)
	}
	return nil
}

func readResult(path string) (r Result, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(text, &r)
}

// read returns the committed results of the programs on the list, by name.
func read(path string, list []Entry) (map[string]Result, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]Result{}, nil
	}
	if err != nil {
		return nil, err
	}
	var results []Result
	if err := json.Unmarshal(text, &results); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	byName := map[string]Result{}
	for _, r := range results {
		for _, e := range list {
			if e.Name == r.Name && e.Version == r.Version {
				byName[r.Name] = r
			}
		}
	}
	return byName, nil
}

// write brings the committed results and their page up to date. Where there is no new
// result, or only a plan and a build was recorded, the committed one stays.
func write(root, directory string) error {
	list, err := readList(filepath.Join(root, "scripts/survey.list"))
	if err != nil {
		return err
	}
	committed := filepath.Join(root, "docs/survey.json")
	results, err := read(committed, list)
	if err != nil {
		return err
	}
	all := []Result{}
	for _, e := range list {
		r, err := readResult(filepath.Join(directory, e.Name+"-"+e.Version+".json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if old, ok := results[e.Name]; err == nil && (!ok || r.Class != Planned || old.Class == Planned) {
			results[e.Name] = r
		}
		if r, ok := results[e.Name]; ok {
			all = append(all, r)
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(committed, append(text, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Println(totals(list, results))
	return writePage(filepath.Join(root, "docs/survey.md"), list, results)
}

func writePage(path string, list []Entry, results map[string]Result) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := page(string(old), list, results)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Targets that Gantry releases by default.
var targets = []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"}

// Class is what became of a program.
type Class string

// The classes. The first two are no failures.
const (
	Started   Class = "started"    // every target was built, and prints its version
	Planned   Class = "planned"    // only planned so far
	OtherRust Class = "other-rust" // it or one of its crates needs another Rust
	Source    Class = "source"     // its code does not compile with this Rust
	Needs     Class = "needs"      // it needs a library, a program or a setting
	Lock      Class = "lock"       // it was published without a Cargo.lock that fits
	NoProgram Class = "no-program" // it has no binary
	Version   Class = "version"    // it answers --version in another way, or not
	Time      Class = "time"       // the build was ended after the time limit
	Gantry    Class = "gantry"     // anything else, until somebody finds another reason
	// Machine is the class of failures that say nothing about the program, such as of
	// the network. They are not recorded.
	Machine Class = "machine"
)

// classes in the order of the page, with what it calls them.
var classes = []struct {
	Class Class
	Title string
}{
	{Started, "built and started"},
	{Planned, "planned, not built yet"},
	{OtherRust, "needs another Rust than 1.96"},
	{Source, "does not compile with Rust 1.96"},
	{Needs, "needs a C library, a program or a setting"},
	{Lock, "published without a Cargo.lock that fits"},
	{NoProgram, "has no binary"},
	{Version, "answers `--version` in another way"},
	{Time, "not built within the time limit"},
	{Gantry, "Gantry's fault"},
}

// Finding is the judgement of a failure.
type Finding struct {
	Class Class `json:"class"`
	// Reason is the line that decided.
	Reason string `json:"reason,omitempty"`
	// Hinted is true if Gantry's message also said what to do about it.
	Hinted bool `json:"hinted,omitempty"`
}

// Target is what became of one target.
type Target struct {
	Built bool `json:"built"`
	// Said has the first line that each program printed.
	Said map[string]string `json:"said,omitempty"`
	// Failure is nil if the target was built and a program of it printed the version.
	Failure *Finding `json:"failure,omitempty"`
}

// Result is what the survey found about one program.
type Result struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Gantry and Commit are the version of Gantry and its commit; Date is the day.
	Gantry string `json:"gantry"`
	Commit string `json:"commit"`
	Date   string `json:"date"`

	Planned      bool `json:"planned"`
	PlanSeconds  int  `json:"planSeconds"`
	BuildSeconds int  `json:"buildSeconds,omitempty"`
	// Targets is empty if the program was only planned.
	Targets map[string]Target `json:"targets,omitempty"`
	Finding
}

// count returns how many targets were built, and how many started.
func (r Result) count() (built, started int) {
	for _, t := range r.Targets {
		if t.Built {
			built++
		}
		if t.Failure == nil {
			started++
		}
	}
	return built, started
}

// Entry is a line of the list of programs.
type Entry struct {
	Name, Version string
	// Packages in its Cargo.lock; 0 if it has none.
	Packages int
}

// readList reads scripts/survey.list.
func readList(path string) ([]Entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var entries []Entry
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 3 {
			return nil, fmt.Errorf("%s: %q is not NAME VERSION PACKAGES", path, line)
		}
		e := Entry{Name: words[0], Version: words[1]}
		if words[2] != "-" {
			if e.Packages, err = strconv.Atoi(words[2]); err != nil {
				return nil, fmt.Errorf("%s: %q: %w", path, line, err)
			}
		}
		entries = append(entries, e)
	}
	return entries, lines.Err()
}

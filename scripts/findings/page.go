package main

import (
	"fmt"
	"strings"
)

// heading begins the part of docs/survey.md that is made here.
const heading = "## Results\n"

// page returns the page with its results made anew.
func page(old string, list []Entry, results map[string]Result) (string, error) {
	before, _, found := strings.Cut(old, heading)
	if !found {
		return "", fmt.Errorf("the page has no heading %q", strings.TrimSpace(heading))
	}
	return before + heading + "\n" + section(list, results), nil
}

// section renders the results: how many, by class, and each program.
func section(list []Entry, results map[string]Result) string {
	var b strings.Builder
	b.WriteString(totals(list, results) + "\n\n| what became of it | programs |\n|---|---|\n")
	counts := map[Class]int{}
	for _, e := range list {
		counts[results[e.Name].Class]++
	}
	for _, c := range classes {
		fmt.Fprintf(&b, "| %s | %d |\n", c.Title, counts[c.Class])
	}
	if n := counts[""]; n > 0 {
		fmt.Fprintf(&b, "| not tried yet | %d |\n", n)
	}
	b.WriteString("\nEach program, with the number of packages in its `Cargo.lock`, and of the four targets those that were built and those that started:\n\n")
	b.WriteString("| program | packages | plan | built | started | reason | date |\n|---|---|---|---|---|---|---|\n")
	for _, e := range list {
		b.WriteString(row(e, results[e.Name]))
	}
	return b.String()
}

// totals is the one line that counts.
func totals(list []Entry, results map[string]Result) string {
	var planned, tried, built, started, fault, unhinted int
	for _, e := range list {
		r := results[e.Name]
		if r.Planned {
			planned++
		}
		if r.Class == Gantry {
			fault++
		}
		if r.Class == Needs && !r.Hinted {
			unhinted++
		}
		if len(r.Targets) == 0 && r.Class != Time {
			continue
		}
		tried++
		b, s := r.count()
		if b == len(targets) {
			built++
		}
		if s == len(targets) {
			started++
		}
	}
	return fmt.Sprintf("%d programs: %d plan. Of the %d whose build was tried, %d build for all targets, and %d start. Gantry's fault: %d. Missing libraries, programs and settings without the right hint: %d.",
		len(list), planned, tried, built, started, fault, unhinted)
}

func row(e Entry, r Result) string {
	packages, plan, built, started := "none", "no", "", ""
	if e.Packages > 0 {
		packages = fmt.Sprint(e.Packages)
	}
	switch {
	case r.Class == "":
		plan = ""
	case r.Planned:
		plan = "yes"
	}
	if len(r.Targets) > 0 {
		b, s := r.count()
		built, started = fmt.Sprint(b), fmt.Sprint(s)
	}
	return fmt.Sprintf("| %s %s | %s | %s | %s | %s | %s | %s |\n", e.Name, e.Version, packages, plan, built, started, reason(r), r.Date)
}

// reason returns a cell with the class of a failure and the line that decided.
func reason(r Result) string {
	if r.Class == "" || r.Class == Started || r.Class == Planned {
		return ""
	}
	text := string(r.Class)
	for _, c := range classes {
		if c.Class == r.Class {
			text = c.Title
		}
	}
	if r.Reason != "" {
		const most = 160
		line := []rune(r.Reason)
		if len(line) > most {
			line = append(line[:most], []rune(" …")...)
		}
		text += ": `" + strings.NewReplacer("`", "'", "|", "¦").Replace(string(line)) + "`"
	}
	return text
}

package reproduce

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Result is what the comparison of a file of two builds found.
type Result struct {
	// Name of the file.
	Name string
	// Sum is the SHA-256 of the first build's.
	Sum      string
	Findings []Finding
	Notes    []string
}

// Check compares a file of two builds.
func (c Conditions) Check(name string, first, second []byte) Result {
	sum := sha256.Sum256(first)
	r := Result{Name: name, Sum: hex.EncodeToString(sum[:]), Findings: c.Compare(first, second)}
	if len(r.Findings) == 0 {
		r.Notes = c.Notes(first)
	}
	return r
}

// Target has the results of one target.
type Target struct {
	Name  string
	Files []Result
}

// Script is a file that a build script wrote, or its output.
type Script struct {
	// Path in Cargo's target directory.
	Path          string
	First, Second []byte
}

// Report is the result of a comparison.
type Report struct {
	Tag        string
	Conditions Conditions
	Targets    []Target
	// Scripts differ. They show where differences of programs start.
	Scripts []Script
}

// Err returns an error with the report if anything differs.
func (r Report) Err() error {
	differ, all := 0, 0
	for _, t := range r.Targets {
		for _, f := range t.Files {
			all++
			if len(f.Findings) > 0 {
				differ++
			}
		}
	}
	if differ == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d files differ between two builds of %q:\n%s", differ, all, r.Tag, r.body())
}

// String is the report if nothing differs.
func (r Report) String() string {
	return fmt.Sprintf("two builds of %s have the same bytes\n%s", r.Tag, r.body())
}

func (r Report) body() string {
	var b strings.Builder
	causes := map[Cause]bool{}
	for _, t := range r.Targets {
		fmt.Fprintf(&b, "\n%s\n", t.Name)
		for _, f := range t.Files {
			if len(f.Findings) == 0 {
				fmt.Fprintf(&b, "  %s: same, SHA-256 %s\n", f.Name, f.Sum)
			} else {
				fmt.Fprintf(&b, "  %s: differs\n", f.Name)
			}
			for _, finding := range f.Findings {
				causes[finding.Cause] = true
				b.WriteString(finding.lines("    "))
			}
			for _, n := range f.Notes {
				fmt.Fprintf(&b, "    note: %s\n", n)
			}
		}
	}
	if origins := r.origins(causes); origins != "" {
		fmt.Fprintf(&b, "\nbuild scripts that did not write the same twice\n%s", origins)
	}
	return b.String() + "\n" + r.Conditions.String()
}

// place names where a finding is.
func (f Finding) place() string {
	switch {
	case f.Section != "":
		return fmt.Sprintf("section %s, offset 0x%x", f.Section, f.Offset)
	case f.Line > 0:
		return fmt.Sprintf("line %d", f.Line)
	}
	return fmt.Sprintf("offset 0x%x", f.Offset)
}

// lines describes a finding.
func (f Finding) lines(indent string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, indent+format+"\n", args...) }
	place := f.place()
	if f.Symbol != "" {
		place += ", " + f.Symbol
	}
	if f.More > 0 {
		place += fmt.Sprintf(", and %d more like it", f.More)
	}
	switch f.Cause {
	case Follows:
		line("%s: %s", place, f.What)
		return b.String()
	case Unknown:
		line("%s: cause unknown", place)
	default:
		line("%s: %s: %s", place, f.Cause, f.What)
	}
	line("  first:  %s", f.First)
	line("  second: %s", f.Second)
	if f.Fix != "" {
		line("  fix: %s", f.Fix)
	}
	return b.String()
}

// maxScripts bounds the files of one crate in a report.
const maxScripts = 3

// origins describes the build scripts that some causes start in.
func (r Report) origins(causes map[Cause]bool) string {
	var b strings.Builder
	shown := map[string]int{}
	seen := map[string]bool{}
	for _, s := range r.Scripts {
		crate, file, ok := s.origin()
		if !ok || seen[crate+"/"+file] || shown[crate] == maxScripts {
			continue
		}
		findings := slices.DeleteFunc(r.Conditions.script(s), func(f Finding) bool { return !causes[f.Cause] && !causes[Unknown] })
		if len(findings) == 0 {
			continue
		}
		seen[crate+"/"+file] = true
		shown[crate]++
		fmt.Fprintf(&b, "  package %s: %s\n%s", crate, file, findings[0].lines("    "))
	}
	return b.String()
}

// script compares what a build script wrote. The output of one has paths that mean
// nothing.
func (c Conditions) script(s Script) []Finding {
	second := s.Second
	if path.Base(s.Path) == "output" {
		text := string(second)
		for _, f := range c.Facts {
			if f.path() {
				text = strings.ReplaceAll(text, f.Second, f.First)
			}
		}
		second = []byte(text)
	}
	return c.Compare(s.First, second)
}

var metadata = regexp.MustCompile(`-[0-9a-f]{16}$`)

// origin returns the package of a build script, and its file: those of Cargo are at
// build/PACKAGE-HASH/out/… or build/PACKAGE/HASH/out/….
func (s Script) origin() (crate, file string, ok bool) {
	_, within, ok := strings.Cut("/"+s.Path, "/build/")
	crate, rest, _ := strings.Cut(within, "/")
	crate = metadata.ReplaceAllString(crate, "")
	if strings.HasSuffix(rest, "/output") || rest == "output" {
		return crate, "the output of its build script", ok
	}
	if _, file, found := strings.Cut("/"+rest, "/out/"); found {
		return crate, file + ", in OUT_DIR", ok
	}
	return crate, rest, ok
}

// Differing returns the names that two lists of sha256sum both have, with different sums.
// Files that build scripts compiled come last: their sources tell more.
func Differing(first, second string) []string {
	sums := map[string]string{}
	for line := range strings.Lines(first) {
		if sum, name, ok := strings.Cut(strings.TrimSpace(line), "  "); ok {
			sums[name] = sum
		}
	}
	var names []string
	for line := range strings.Lines(second) {
		sum, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if other, there := sums[name]; ok && there && other != sum {
			names = append(names, strings.TrimPrefix(name, "./"))
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if compiled(a) != compiled(b) {
			if compiled(b) {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	return names
}

func compiled(name string) bool {
	return slices.Contains([]string{".a", ".o", ".so", ".rlib"}, path.Ext(name))
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The documentation has the results in docs/peers.json, and the same as text in
// docs/peers.md and, in short, between two lines of README.md. A test compares them.
const (
	documented = "docs/peers.json"
	page       = "docs/peers.md"
	readme     = "README.md"

	begin = "<!-- begin: made by scripts/bench peers -docs -->\n"
	stop  = "<!-- end -->\n"
)

const intro = `# Compared with other tools

Gantry, side by side with what a maintainer would use instead. Each table comes from one run, on the same files, with each tool as its documentation recommends. Where Gantry is not ahead, its row says so.

GitHub is a fake ([ci/fakehub](../ci/fakehub/fakehub.go)), which follows GitHub's published API description and injects faults. Nothing here has run against github.com. The command below each title makes its table again; [scripts](../scripts/README.md) explains what it needs.

`

// document writes results into the documentation.
func document(root, path string) error {
	results, err := ReadResults(path)
	if err != nil {
		return err
	}
	if len(results.Parts) == 0 {
		return fmt.Errorf("%s has no results: run scripts/bench peers first", path)
	}
	text, err := results.json()
	if err != nil {
		return err
	}
	all, err := os.ReadFile(filepath.Join(root, readme))
	if err != nil {
		return err
	}
	changed, err := results.intoReadme(string(all))
	if err != nil {
		return err
	}
	for name, content := range map[string]string{documented: string(text), page: results.Page(), readme: changed} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Page returns the page of the documentation.
func (r *Results) Page() string {
	return intro + strings.TrimRight(strings.ReplaceAll(r.Markdown(), "### ", "## "), "\n") + "\n"
}

// Short returns the rows that are in the README: the headlines, and those in which
// Gantry is behind.
func (r *Results) Short() string {
	var b strings.Builder
	for _, p := range parts {
		got := r.Parts[p.name]
		if got == nil {
			continue
		}
		rows := slices.DeleteFunc(slices.Clone(got.Rows), func(row Row) bool { return !row.Headline && row.Verdict() != Behind })
		fmt.Fprintf(&b, "%s: %s\n\n%s\n", p.title, got.origin(), table(rows, nil))
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// intoReadme returns the README with the results.
func (r *Results) intoReadme(text string) (string, error) {
	before, rest, found := strings.Cut(text, begin)
	_, after, closed := strings.Cut(rest, stop)
	if !found || !closed {
		return "", errors.New("README.md lacks the two lines between which the results go: " + strings.TrimSpace(begin) + " and " + strings.TrimSpace(stop))
	}
	return before + begin + "\n" + r.Short() + "\n" + stop + after, nil
}

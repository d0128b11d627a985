package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The generated history: two components of one repository, whose commits take turns.
const (
	historyTag     = "alpha-1.0.0"
	historyVersion = "1.0.0"
)

// The subjects of the commits that are looked for in changelogs. All belong to alpha.
const (
	breakingMark   = "drop the old form"
	breakingFooter = "rename the parser"
	squashed       = "count the readings"
	reverted       = "count the gulls"
	merged         = "round the heights"
	mergeSubject   = "Merge pull request #13 from example/round"
	unconventional = "Tidy up the harbour"
)

// generateHistory makes a repository with a number of conventional commits, and a few
// more that are looked for. Its last commit has the tags.
func generateHistory(ctx context.Context, dir string, commits int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := git(ctx, dir, "init", "--quiet", "--initial-branch=main"); err != nil {
		return err
	}
	if err := git(ctx, dir, "remote", "add", "origin", sampleRemote); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(stream(commits))
	if _, err := Output(cmd); err != nil {
		return err
	}
	if err := git(ctx, dir, "reset", "--quiet", "--hard", "main"); err != nil {
		return err
	}
	// As `git revert` does it.
	sha, err := Output(Command(ctx, dir, nil, "git", "log", "-1", "--format=%H", "--grep", "^feat(alpha): "+reverted))
	if err != nil {
		return err
	}
	if err := git(ctx, dir, "revert", "--no-edit", sha); err != nil {
		return err
	}
	return commit(ctx, dir, "chore: release "+historyVersion, historyTag, "v"+historyVersion)
}

// imported writes commits for git fast-import.
type imported struct {
	strings.Builder
	mark, minute int
}

// add adds a commit to a branch. It writes files, and may have a second parent.
func (i *imported) add(branch, message string, merge int, files map[string]string) int {
	i.mark++
	i.minute++
	fmt.Fprintf(i, "commit refs/heads/%s\nmark :%d\ncommitter peers <peers@example.com> %d +0000\ndata %d\n%s\n", branch, i.mark, 1700000000+60*i.minute, len(message), message)
	if merge > 0 {
		fmt.Fprintf(i, "merge :%d\n", merge)
	}
	for _, path := range keys(files) {
		fmt.Fprintf(i, "M 100644 inline %s\ndata %d\n%s\n", path, len(files[path]), files[path])
	}
	return i.mark
}

// stream is the history for git fast-import.
func stream(commits int) string {
	i := &imported{}
	first := map[string]string{"LICENSE": "MIT\n", ".gitignore": "/target\n"}
	members, lock := "", "version = 3\n"
	for _, c := range []string{"alpha", "beta"} {
		members += fmt.Sprintf("%q, ", "crates/"+c)
		lock += fmt.Sprintf("\n[[package]]\nname = %q\nversion = %q\n", c, historyVersion)
		first[filepath.Join("crates", c, "Cargo.toml")] = fmt.Sprintf("[package]\nname = %q\nversion = %q\nedition = \"2021\"\nlicense = \"MIT\"\nrepository = \"https://github.com/%s\"\n", c, historyVersion, sampleRepository)
		first[filepath.Join("crates", c, "src/main.rs")] = "fn main() {}\n"
	}
	first["Cargo.toml"] = fmt.Sprintf("[workspace]\nresolver = \"2\"\nmembers = [%s]\n", strings.TrimSuffix(members, ", "))
	first["Cargo.lock"] = lock
	i.add("main", "chore: begin", 0, first)
	kinds := []string{"feat", "fix", "perf", "docs", "refactor", "test"}
	for n := range commits {
		component := []string{"alpha", "beta"}[n%2]
		i.add("main", fmt.Sprintf("%s(%s): change %d of %s", kinds[n/2%len(kinds)], component, n, component), 0,
			map[string]string{"crates/" + component + "/notes.txt": fmt.Sprintln(n)})
		if n == commits/2 {
			i.special()
		}
	}
	return i.String()
}

// special adds the commits that are looked for.
func (i *imported) special() {
	alpha := func(message string) int {
		return i.add("main", message, 0, map[string]string{fmt.Sprintf("crates/alpha/%d.txt", i.mark): message + "\n"})
	}
	alpha("feat(alpha)!: " + breakingMark)
	alpha("refactor(alpha): " + breakingFooter + "\n\nBREAKING CHANGE: parse_line is parse_entry now.")
	alpha("feat(alpha): " + squashed + " (#12)")
	alpha("feat(alpha): " + reverted)
	from := alpha(unconventional)
	fmt.Fprintf(i, "reset refs/heads/round\nfrom :%d\n\n", from)
	topic := i.add("round", "fix(alpha): "+merged, 0, map[string]string{"crates/alpha/round.txt": "round\n"})
	i.add("main", mergeSubject+"\n\n"+"Round", topic, map[string]string{"crates/alpha/round.txt": "round\n"})
}

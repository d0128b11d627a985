package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"dagger/gantry/ci/manifest"
)

// checkGit reports problems of the repository's state.
func (p *Plan) checkGit(git Git, project *Project) {
	switch {
	case git.Worktree:
		p.fail(".git is a file that points out of the source (a git worktree or submodule): pass the main checkout as --source, or the URL of the repository as --git")
		return
	case !git.Present:
		p.fail("the source has no git history (no .git directory): pass the top of a git checkout with its full history and tags as --source, and a workspace below it with --manifest-path")
		return
	case git.Failed != "":
		p.fail("can't read the repository's state: %s: run git status in the source; if git needs a program such as git-crypt, pass --toolchain with a container that has it", strings.TrimSpace(git.Failed))
		return
	case git.Commit == "":
		p.fail("the repository has no commit yet: commit first")
		return
	}
	p.Commit, p.CommitDate = git.Commit, git.Time.UTC().Format(time.RFC3339)
	if git.Shallow {
		p.fail("the source is a shallow clone, without the history and tags that versions and the changelog need: run git fetch --unshallow --tags (on GitHub Actions: fetch-depth: 0), or pass the URL of a repository as --git")
	}
	if len(git.Tags) == 0 {
		// A clone may lack them.
		p.warn("the repository has no tags, so %q would be the first release: if it should have some, run git fetch --tags", p.Tag)
	}
	p.checkClean(git, project)
	if slices.Contains(git.Ignored, "Cargo.lock") {
		p.warn("git ignores Cargo.lock, so commit %s doesn't pin the dependencies: remove it from .gitignore and commit it", short(git.Commit))
	}
	p.checkTags(git, project.Scheme)
}

// checkClean reports changes of the source that are not in the commit.
func (p *Plan) checkClean(git Git, project *Project) {
	const remedy = "run git config core.autocrlf false, then git rm -r -q --cached . and git reset --hard; or commit a .gitattributes with \"* text=auto eol=lf\", and check out again; or pass the URL of a repository as --git"
	if n := len(git.LineEndings); n > 0 {
		p.fail("%d files differ from commit %s only in their line endings, such as %q: git converted them on checkout (core.autocrlf): %s", n, short(git.Commit), git.LineEndings[0], remedy)
	}
	var rest, hints []string
	modified := 0
	untracked := ""
	for _, line := range git.Dirty {
		kind, file := dirtyFile(line)
		if slices.Contains(git.LineEndings, file) {
			continue
		}
		rest = append(rest, line)
		switch {
		case kind == "M":
			modified++
		case kind != "??":
		case path.Base(file) == manifest.FileName:
			hints = append(hints, fmt.Sprintf("; %q comes from an earlier dist, in a directory with other files or at the top of the source: move it, or add its directory to .gitignore", file))
		default:
			untracked = ", or add untracked files to .gitignore"
		}
	}
	if len(rest) == 0 {
		return
	}
	// A commit hardly ever changes most files, but git's conversion does.
	if len(git.LineEndings) == 0 && modified > 1 && 2*modified > len(project.files) {
		hints = append([]string{"; most files are changed, as if git had converted line endings on checkout (core.autocrlf): if git diff --ignore-cr-at-eol shows no change, " + remedy}, hints...)
	}
	shown := strings.Join(rest[:min(len(rest), 10)], ", ")
	if n := len(rest) - 10; n > 0 {
		shown += fmt.Sprintf(" and %d more", n)
	}
	p.fail("uncommitted changes; the build would not match commit %s: commit or stash them%s: %s%s", short(git.Commit), untracked, shown, strings.Join(hints, ""))
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

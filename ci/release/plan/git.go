package plan

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// Git is the state of the repository.
type Git struct {
	// Present is false if the source has no .git directory.
	Present bool
	// Worktree is true if .git is a file that points somewhere else.
	Worktree bool
	// Failed is the git command that failed and its output; everything that git
	// would have reported after it is unknown.
	Failed string
	// Shallow is true if the history was cut.
	Shallow bool
	// Commit that is checked out, and its committer time.
	Commit string
	Time   time.Time
	// Tags of the repository, peeled, and those that Commit descends from.
	Tags, Reachable []version.GitTag
	// Dirty lists changed, deleted and untracked files, as `git status --porcelain`
	// does.
	Dirty []string
	// LineEndings are the paths of those that differ from the commit only in their
	// line endings.
	LineEndings []string
	// Ignored names the important files that git ignores.
	Ignored []string
	// Submodules are the paths of those that are not checked out.
	Submodules []string
	// Pointers are the files whose contents are in Git LFS, and not in the source.
	Pointers []string
	// Origin is the URL of the remote with that name.
	Origin string
}

// ReadGit reads the output of ci/release/toolchain/git.sh, which has a keyword and
// its value on each line.
func ReadGit(facts string) (Git, error) {
	var g Git
	lists := map[string]*[]string{"eol": &g.LineEndings, "ignored": &g.Ignored, "submodule": &g.Submodules, "pointer": &g.Pointers}
	tags := map[string]*[]version.GitTag{"tag": &g.Tags, "reachable": &g.Reachable}
	flags := map[string]*bool{"present": &g.Present, "worktree": &g.Worktree}
	texts := map[string]*string{"failed": &g.Failed, "head": &g.Commit, "origin": &g.Origin}
	for line := range strings.SplitSeq(facts, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch {
		case key == "":
		case flags[key] != nil:
			*flags[key] = true
		case key == "shallow":
			g.Shallow = value == "true"
		case key == "time":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Git{}, fmt.Errorf("read the commit time %q: %w", value, err)
			}
			g.Time = time.Unix(seconds, 0)
		case key == "dirty":
			g.Dirty = append(g.Dirty, strings.TrimSpace(value))
		case tags[key] != nil:
			commit, name, _ := strings.Cut(value, " ")
			*tags[key] = append(*tags[key], version.GitTag{Name: name, Commit: commit})
		case lists[key] != nil:
			*lists[key] = append(*lists[key], value)
		case texts[key] != nil:
			*texts[key] = value
		default:
			return Git{}, fmt.Errorf("read the state of the repository: unknown line %q", line)
		}
	}
	return g, nil
}

// TakeExports finds the files of earlier releases that were exported into the
// checkout, as "dist export --path=dist" does, and removes them from g.Dirty; the
// caller must remove them from the source. They are the untracked files of a
// directory below its top that has a manifest, checksums and nothing else. files
// are those of the source.
func (g *Git) TakeExports(files []string) []string {
	untracked := map[string]bool{}
	for _, line := range g.Dirty {
		if kind, file := dirtyFile(line); kind == "??" {
			untracked[file] = true
		}
	}
	var exports []string
	for _, f := range files {
		dir := path.Dir(f)
		if dir == "." || path.Base(f) != manifest.FileName || !untracked[path.Join(dir, manifest.SumsName)] {
			continue
		}
		var inside []string
		for _, other := range files {
			if path.Dir(other) == dir {
				inside = append(inside, other)
			}
		}
		if !slices.ContainsFunc(inside, func(f string) bool { return !untracked[f] || !isExport(path.Base(f)) }) {
			exports = append(exports, inside...)
		}
	}
	g.Dirty = slices.DeleteFunc(slices.Clone(g.Dirty), func(line string) bool {
		_, file := dirtyFile(line)
		return slices.Contains(exports, file)
	})
	return exports
}

// isExport reports whether a file of a release may have the name.
func isExport(name string) bool {
	return slices.Contains([]string{manifest.FileName, manifest.SumsName, manifest.ChangelogName}, name) || slices.ContainsFunc([]string{".tar.gz", ".zip", sbomSuffix, spdxSuffix}, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

// dirtyFile splits a line of [Git.Dirty].
func dirtyFile(line string) (kind, file string) {
	kind, file, _ = strings.Cut(line, " ")
	if unquoted, err := strconv.Unquote(file); err == nil {
		file = unquoted
	}
	return kind, file
}

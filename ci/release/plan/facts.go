package plan

import (
	"bufio"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/sbom"
	"dagger/gantry/ci/version"
)

// ReadGit reads the facts that ci/release/toolchain/git.sh prints, a keyword and its value
// on each line.
func ReadGit(facts string) (Git, error) {
	var g Git
	lines := bufio.NewScanner(strings.NewReader(facts))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), " ")
		switch key {
		case "present":
			g.Present = true
		case "worktree":
			g.Worktree = true
		case "failed":
			g.Failed = value
		case "shallow":
			g.Shallow = value == "true"
		case "head":
			g.Commit = value
		case "time":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return Git{}, fmt.Errorf("read the commit time %q: %w", value, err)
			}
			g.Time = time.Unix(seconds, 0)
		case "tag", "reachable":
			commit, name, _ := strings.Cut(value, " ")
			if key == "tag" {
				g.Tags = append(g.Tags, version.GitTag{Name: name, Commit: commit})
			} else {
				g.Reachable = append(g.Reachable, version.GitTag{Name: name, Commit: commit})
			}
		case "dirty":
			g.Dirty = append(g.Dirty, strings.TrimSpace(value))
		case "eol":
			g.LineEndings = append(g.LineEndings, value)
		case "ignored":
			g.Ignored = append(g.Ignored, value)
		case "submodule":
			g.Submodules = append(g.Submodules, value)
		case "pointer":
			g.Pointers = append(g.Pointers, value)
		case "origin":
			g.Origin = value
		case "":
		default:
			return Git{}, fmt.Errorf("read the facts of the repository: unknown line %q", lines.Text())
		}
	}
	return g, lines.Err()
}

// TakeExports finds the files of earlier releases that were exported into the
// checkout, as "dist export --path=dist" does, and takes them out of g.Dirty: the
// caller must take them out of the source. They are the untracked files of a
// directory below its top that has a manifest and checksums, and that has
// nothing else. files are those of the source.
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

// isExport says whether a file of a release may have the name.
func isExport(name string) bool {
	switch name {
	case manifest.FileName, manifest.SumsName, manifest.ChangelogName:
		return true
	}
	return slices.ContainsFunc([]string{".tar.gz", ".zip", sbom.Suffix}, func(suffix string) bool { return strings.HasSuffix(name, suffix) })
}

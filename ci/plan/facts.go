package plan

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/version"
)

// ReadGit reads the facts that ci/cargo/git.sh prints, a keyword and its value
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

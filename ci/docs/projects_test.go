package docs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/target"
)

// ways are those in which an artifact comes about, in the order of the page's columns.
var ways = []string{"`targets`", "`with-binaries`", "`with-file`", "always", "phase 2", "not made"}

// The page of projects counts right, and its targets are those that Gantry has.
func TestProjects(t *testing.T) {
	page := pages(t)["docs/projects.md"]
	intro, rest, found := strings.Cut(page, "\n## The share\n")
	require.True(t, found)
	for _, way := range ways {
		assert.Contains(t, intro, "| "+way+" | ")
	}
	sections := strings.Split(rest, "\n## ")
	require.Len(t, sections, 8)
	all := make([]int, len(ways)+1)
	for _, section := range sections[1:] {
		name, _, _ := strings.Cut(section, " ")
		assert.Regexp(t, regexp.MustCompile(`/blob/[0-9a-f]{40}/`), section, "%s names no commit", name)
		counts := countProject(t, name, section)
		assert.Contains(t, sections[0], row(name, counts))
		for i, n := range counts {
			all[i] += n
		}
	}
	assert.Contains(t, sections[0], row("all", all))
	covered := all[0] - all[len(ways)]
	assert.Contains(t, sections[0], fmt.Sprintf("%d of %d artifacts are covered: %.1f %%.", covered, all[0], 100*float64(covered)/float64(all[0])))
	assert.GreaterOrEqual(t, float64(covered)/float64(all[0]), 0.95)
}

func row(name string, counts []int) string {
	return fmt.Sprintf("| %s | %s |\n", name, strings.ReplaceAll(strings.Trim(fmt.Sprint(counts), "[]"), " ", " | "))
}

// countProject counts the artifacts of a project: all, and by the ways.
func countProject(t *testing.T, name, section string) []int {
	t.Helper()
	counts := make([]int, len(ways)+1)
	rows := regexp.MustCompile(`(?m)^\| (.*) \| (\d+) \| (.*) \|$`).FindAllStringSubmatch(section, -1)
	require.NotEmpty(t, rows, name)
	for _, r := range rows {
		n, err := strconv.Atoi(r[2])
		require.NoError(t, err)
		way := -1
		for i, w := range ways {
			if w == r[3] {
				way = i
			}
		}
		require.GreaterOrEqual(t, way, 0, "%s: %s", name, r[3])
		counts[0] += n
		counts[way+1] += n
		if way > 1 {
			continue
		}
		triples := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(r[1], -1)
		assert.Len(t, triples, n, "%s: %s", name, r[1])
		for _, triple := range triples {
			known, err := target.Lookup(triple[1])
			assert.NoError(t, err, name)
			if way == 0 {
				assert.Empty(t, known.External, "%s: %s needs a toolchain", name, triple[1])
			}
		}
	}
	return counts
}

package sections

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// repo is a history that is being made: the parents of each commit, by their
// numbers.
type repo [][]int

// id of a commit.
func id(commit int) string { return fmt.Sprintf("%040d", commit) }

// history as git prints it: children come first.
func (r repo) history(t require.TestingT) *history {
	var text strings.Builder
	for c := len(r) - 1; c >= 0; c-- {
		fmt.Fprintf(&text, "%d %s", 1000+c, id(c))
		for _, p := range r[c] {
			fmt.Fprintf(&text, " %s", id(p))
		}
		text.WriteString("\n")
	}
	h, err := readHistory(text.String())
	require.NoError(t, err)
	return h
}

// contains says whether a commit descends from another, or is it.
func (r repo) contains(commit, other int) bool {
	return commit == other || slices.ContainsFunc(r[commit], func(p int) bool { return r.contains(p, other) })
}

func tagAt(version string, commit int) Release {
	return Release{Tag: "v" + version, Version: version, Commit: id(commit)}
}

// show a division, a line for each section: its version, that of its previous
// section, and its commits.
func show(d *division, r repo) []string {
	var lines []string
	for _, s := range d.sections {
		line := s.Version
		if s.Previous != nil {
			line += " after " + s.Previous.Version
		}
		line += ":"
		for c := range r {
			if d.of(id(c)) == s {
				line += fmt.Sprint(" ", c)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestDivide(t *testing.T) {
	line := func(n int) repo {
		r := repo{nil}
		for c := 1; c < n; c++ {
			r = append(r, []int{c - 1})
		}
		return r
	}
	for name, c := range map[string]struct {
		repo     repo
		releases []Release
		want     []string
	}{
		"one line": {
			line(5), []Release{tagAt("1.0.0", 1), tagAt("1.1.0", 4)},
			[]string{"1.0.0: 0 1", "1.1.0 after 1.0.0: 2 3 4"},
		},
		"several tags at a commit": {
			line(4), []Release{tagAt("1.0.0", 1), tagAt("1.1.0", 2), tagAt("1.1.0-rc.1", 2), tagAt("1.2.0", 3)},
			[]string{"1.0.0: 0 1", "1.1.0-rc.1 after 1.0.0: 2", "1.1.0 after 1.1.0-rc.1:", "1.2.0 after 1.1.0: 3"},
		},
		"a branch that was started before a release and merged after it": {
			// 0 - 1 - 3 - 4, and 2 from 0, merged by 4
			repo{nil, {0}, {0}, {1}, {3, 2}}, []Release{tagAt("1.0.0", 1), tagAt("1.1.0", 3), tagAt("1.2.0", 4)},
			[]string{"1.0.0: 0 1", "1.1.0 after 1.0.0: 3", "1.2.0 after 1.1.0: 2 4"},
		},
		"a backport that was merged": {
			// 1.0.0 at 0, 2.0.0 at 1; 1.0.1 at 2 from 0; 3 merges it
			repo{nil, {0}, {0}, {1, 2}}, []Release{tagAt("1.0.0", 0), tagAt("1.0.1", 2), tagAt("2.0.0", 1), tagAt("2.1.0", 3)},
			[]string{"1.0.0: 0", "1.0.1 after 1.0.0: 2", "2.0.0 after 1.0.0: 1", "2.1.0 after 2.0.0: 3"},
		},
		"a lower version that descends from a higher one": {
			line(4), []Release{tagAt("2.0.0", 1), tagAt("1.5.0", 2), tagAt("2.1.0", 3)},
			[]string{"2.0.0: 0 1", "1.5.0: 2", "2.1.0 after 2.0.0: 3"},
		},
		"unrelated histories": {
			repo{nil, nil, {0, 1}}, []Release{tagAt("1.0.0", 0), tagAt("1.1.0", 2)},
			[]string{"1.0.0: 0", "1.1.0 after 1.0.0: 1 2"},
		},
	} {
		d, err := divide(c.repo.history(t), c.releases)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, show(d, c.repo), name)
	}
}

func TestDivideRefuses(t *testing.T) {
	r := repo{nil}
	_, err := divide(r.history(t), []Release{tagAt("1.0.0", 7)})
	assert.ErrorContains(t, err, `tag "v1.0.0" is at commit 0000000000000000000000000000000000000007, which is not in the history`)
	_, err = divide(r.history(t), []Release{tagAt("1.0", 0)})
	assert.ErrorContains(t, err, `version "1.0" of tag "v1.0"`)
	for text, says := range map[string]string{
		"abc\n":                    `line "abc" has no time and commit`,
		"then " + id(0) + "\n":     "has no time",
		"1 " + id(1) + " " + id(0): "lacks part of its history",
		"1 0\n1 1 0\n":             "comes before its child",
	} {
		_, err := readHistory(text)
		assert.ErrorContains(t, err, says, text)
	}
}

// Whatever the history, each commit is in the section of the first release that
// contains it, by the definition alone.
func TestDivideAnyHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 25).Draw(t, "commits")
		r := repo{nil}
		for c := 1; c < n; c++ {
			parents := rapid.SliceOfNDistinct(rapid.IntRange(max(0, c-6), c-1), 1, min(c, 3), rapid.ID[int]).Draw(t, "parents")
			r = append(r, parents)
		}
		var releases []Release
		at := map[string]int{}
		for _, v := range rapid.SliceOfNDistinct(rapid.IntRange(0, 29), 0, 8, rapid.ID[int]).Draw(t, "versions") {
			version := fmt.Sprintf("1.%d.0", v/3)
			if v%3 < 2 {
				version += fmt.Sprintf("-rc.%d", v%3)
			}
			commit := rapid.IntRange(0, n-1).Draw(t, "at")
			releases = append(releases, tagAt(version, commit))
			at[version] = commit
		}
		d, err := divide(r.history(t), releases)
		require.NoError(t, err)

		lower := func(a, b string) bool { return semver.MustParse(a).LessThan(semver.MustParse(b)) }
		before := func(a, b string) bool { // a comes before b whatever their versions
			return a != b && r.contains(at[b], at[a]) && (at[a] != at[b] || lower(a, b))
		}
		var left, order []string
		for v := range at {
			left = append(left, v)
		}
		for len(left) > 0 {
			next := ""
			for _, v := range left {
				if (next == "" || lower(v, next)) && !slices.ContainsFunc(left, func(o string) bool { return before(o, v) }) {
					next = v
				}
			}
			order = append(order, next)
			left = slices.DeleteFunc(left, func(v string) bool { return v == next })
		}
		want := map[string][]int{}
		for c := range r {
			for _, v := range order {
				if r.contains(at[v], c) {
					want[v] = append(want[v], c)
					break
				}
			}
		}
		var lines []string
		for _, v := range order {
			line, previous := v, ""
			for _, o := range order {
				if lower(o, v) && before(o, v) && (previous == "" || lower(previous, o)) {
					previous = o
				}
			}
			if previous != "" {
				line += " after " + previous
			}
			line += ":"
			for _, c := range want[v] {
				line += fmt.Sprint(" ", c)
			}
			lines = append(lines, line)
		}
		assert.Equal(t, lines, show(d, r))
	})
}

// As many tags as no argument of a program has room for.
func TestManyTags(t *testing.T) {
	const tags = 6000
	r := repo{nil}
	var releases []Release
	for c := 1; c < 5*tags; c++ {
		parents := []int{c - 1}
		if c%7 == 0 && c > 20 {
			parents = append(parents, c-20)
		}
		r = append(r, parents)
		if c%5 == 0 {
			releases = append(releases, tagAt(fmt.Sprintf("1.%d.0", c/5), c))
		}
	}
	d, err := divide(r.history(t), releases)
	require.NoError(t, err)
	assert.Len(t, d.sections, tags-1)
	assert.Equal(t, "1.1.0", d.of(id(0)).Version)
	assert.Equal(t, "1.4000.0", d.of(id(19998)).Version)
	assert.Nil(t, d.of(id(5*tags-1)), "after the last release")
}

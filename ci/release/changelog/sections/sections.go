// Package sections decides which commits belong to which release of a changelog,
// and arranges the commits that git-cliff has read accordingly.
//
// It is pure: it turns the output of git and git-cliff into input of git-cliff. It
// keeps one invariant: every release has a section, and every commit is in only one
// section, that of the first release which contains it.
//
// Git-cliff itself can't do this. It sorts all commits by their time and cuts at
// tags, so a commit of a branch that was merged later ends up in a release that does
// not contain it. And if it filters by paths, it misses a tag whose commit changes
// none of them.
package sections

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Release is a tag that has a section.
type Release struct {
	Tag     string `json:"tag"`
	Version string `json:"version"`
	Commit  string `json:"commit"`
}

// section is a release and its place among the others.
type section struct {
	Release
	// Time of the release's commit, in seconds since 1970.
	Time int64
	// Previous is the release that this one is compared with: the highest lower
	// version that it contains. Nil for a first release.
	Previous *section
}

// history is the history of a commit.
type history struct {
	// index of each commit in parents and times.
	index map[string]int
	// parents come after their children.
	parents [][]int32
	times   []int64
}

// readHistory reads the output of `git rev-list --topo-order --timestamp --parents`.
func readHistory(text string) (*history, error) {
	h := &history{index: map[string]int{}}
	var parents [][]string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return nil, fmt.Errorf("read the history: line %q has no time and commit", strings.TrimSpace(line))
		}
		time, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the history: line %q has no time: %w", strings.TrimSpace(line), err)
		}
		h.index[fields[1]] = len(h.times)
		h.times = append(h.times, time)
		parents = append(parents, fields[2:])
	}
	h.parents = make([][]int32, len(parents))
	for child, ids := range parents {
		for _, id := range ids {
			p, known := h.index[id]
			if !known {
				return nil, fmt.Errorf("read the history: parent %s is missing: the repository lacks part of its history", id)
			}
			if p <= child {
				return nil, fmt.Errorf("read the history: parent %s comes before its child", id)
			}
			h.parents[child] = append(h.parents[child], int32(p))
		}
	}
	return h, nil
}

// division divides a history into sections.
type division struct {
	// Sections, the first release first.
	sections []*section
	history  *history
	// section of each commit, by its place in sections; none if it is in no release.
	section []int32
}

const none = int32(1<<31 - 1)

// of returns the section of a commit, or nil.
func (d *division) of(commit string) *section {
	i, known := d.history.index[commit]
	if !known || d.section[i] == none {
		return nil
	}
	return d.sections[d.section[i]]
}

// divide divides a history into sections of releases.
//
// Releases are in the order of their versions, except that a release always comes
// after those that it contains. A commit is in the section of the first release in
// this order that contains it.
func divide(h *history, releases []Release) (*division, error) {
	g := &graph{history: h}
	if err := g.read(releases); err != nil {
		return nil, err
	}
	d := &division{history: h, section: make([]int32, len(h.times))}
	for i := range d.section {
		d.section[i] = none
	}
	place := make([]*section, len(g.releases))
	for _, r := range g.order() {
		release := g.releases[r]
		commit := h.index[release.Commit]
		s := &section{Release: release.Release, Time: h.times[commit]}
		// Of several releases at a commit, the first has its changes.
		d.section[commit] = min(d.section[commit], int32(len(d.sections)))
		place[r] = s
		d.sections = append(d.sections, s)
	}
	for i, parents := range h.parents {
		for _, p := range parents {
			d.section[p] = min(d.section[p], d.section[i])
		}
	}
	for r, s := range place {
		// Lower versions come first.
		for other := r - 1; other >= 0; other-- {
			if g.contains[r].Bit(other) == 1 && g.releases[other].version.LessThan(g.releases[r].version) {
				s.Previous = place[other]
				break
			}
		}
	}
	return d, nil
}

// graph has the releases by their places in the order of versions.
type graph struct {
	history  *history
	releases []versioned
	// contains are the releases that each one contains, except itself.
	contains []*big.Int
	// follows are the releases that directly precede each one.
	follows [][]int
}

type versioned struct {
	Release
	version *semver.Version
}

func (g *graph) read(releases []Release) error {
	releasesOf := map[int][]int{} // by commit
	for _, r := range releases {
		v, err := semver.StrictNewVersion(r.Version)
		if err != nil {
			return fmt.Errorf("version %q of tag %q: %w", r.Version, r.Tag, err)
		}
		if _, known := g.history.index[r.Commit]; !known {
			return fmt.Errorf("tag %q is at commit %s, which is not in the history of the release", r.Tag, r.Commit)
		}
		g.releases = append(g.releases, versioned{r, v})
	}
	slices.SortStableFunc(g.releases, func(a, b versioned) int { return a.version.Compare(b.version) })
	for i, r := range g.releases {
		commit := g.history.index[r.Commit]
		releasesOf[commit] = append(releasesOf[commit], i)
	}
	g.contains = make([]*big.Int, len(g.releases))
	g.follows = make([][]int, len(g.releases))
	// nearest are the releases that a commit contains and that no other of these
	// releases contains.
	nearest := make([][]int, len(g.history.times))
	for i := len(g.history.times) - 1; i >= 0; i-- {
		below := g.nearestOf(g.history.parents[i], nearest)
		for _, r := range releasesOf[i] {
			g.follows[r] = below
			g.contains[r] = new(big.Int)
			for _, b := range below {
				g.contains[r].Or(g.contains[r], g.contains[b])
				g.contains[r].SetBit(g.contains[r], b, 1)
			}
			below = []int{r}
		}
		nearest[i] = below
	}
	return nil
}

func (g *graph) nearestOf(parents []int32, nearest [][]int) []int {
	if len(parents) == 0 {
		return nil
	}
	all := nearest[parents[0]]
	if len(parents) == 1 {
		return all
	}
	all = slices.Clone(all)
	for _, p := range parents[1:] {
		all = append(all, nearest[p]...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	below := new(big.Int)
	for _, r := range all {
		below.Or(below, g.contains[r])
	}
	return slices.DeleteFunc(all, func(r int) bool { return below.Bit(r) == 1 })
}

// order returns the order of the versions, with each release after those that it
// contains.
func (g *graph) order() []int {
	waitsFor := make([]int, len(g.releases))
	blocks := make([][]int, len(g.releases))
	var ready, order []int // ready is sorted
	for r, follows := range g.follows {
		waitsFor[r] = len(follows)
		if len(follows) == 0 {
			ready = append(ready, r)
		}
		for _, f := range follows {
			blocks[f] = append(blocks[f], r)
		}
	}
	for len(ready) > 0 {
		r := ready[0]
		ready = ready[1:]
		order = append(order, r)
		for _, b := range blocks[r] {
			if waitsFor[b]--; waitsFor[b] == 0 {
				i, _ := slices.BinarySearch(ready, b)
				ready = slices.Insert(ready, i, b)
			}
		}
	}
	return order
}

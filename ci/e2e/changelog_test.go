package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// Changelogs of generated histories of a workspace with components, made by the
// real git-cliff and compared with what follows from the definition: each
// release has a section, newest first, and each commit that changed the
// component is listed in one section only, that of the first release which
// contains it. GANTRY_SEED repeats a run.
func TestChangelogOfAnyHistory(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("GANTRY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("GANTRY_SEED=%d repeats this", seed)
	client := connect(t)
	require.NoError(t, client.ModuleSource(".").AsModule().Serve(t.Context()))

	// A history for each component and repository.
	const repositories = 8
	start := time.Now()
	var g errgroup.Group
	g.SetLimit(3)
	var total counts
	for i := range uint64(repositories) {
		h := generate(rand.New(rand.NewPCG(seed, i)), kinds[i%uint64(len(kinds))])
		dir := filepath.Join(t.TempDir(), "repository")
		h.write(t, dir)
		var query strings.Builder
		for _, c := range h.components {
			total.add(h, c, h.changelog(c))
			fmt.Fprintf(&query, "%s: release(tag: %q) { changelog { contents } }\n", c.name, c.tag)
		}
		noted := h.components[i%uint64(len(h.components))]
		fmt.Fprintf(&query, "notes: release(tag: %q) { notes { contents } }\n", noted.tag)
		g.Go(func() error {
			name := fmt.Sprintf("GANTRY_SEED=%d, repository %d", seed, i)
			source, err := client.Host().Directory(dir).ID(t.Context())
			if !assert.NoError(t, err, name) {
				return err
			}
			var out struct {
				Gantry map[string]struct{ Changelog, Notes struct{ Contents string } }
			}
			err = client.Do(t.Context(), &dagger.Request{
				Query:     "query($source: DirectoryID!) { gantry(source: $source) { " + query.String() + "} }",
				Variables: map[string]any{"source": source},
			}, &dagger.Response{Data: &out})
			if !assert.NoError(t, err, name) {
				return err
			}
			for _, c := range h.components {
				name := name + ", " + c.tag
				want, got := h.changelog(c), out.Gantry[c.name].Changelog.Contents
				ok := assert.Equal(t, render(want), render(readChangelog(got)), name)
				assert.NotContains(t, got, "Unreleased", name)
				if !ok {
					t.Logf("%s\n%s\n%s", name, run(t, dir, "git", "log", "--graph", "--oneline", "--all"), got)
				}
			}
			notes := out.Gantry["notes"].Notes.Contents
			assert.Equal(t, render(h.changelog(noted)[:1]), render(readChangelog(notes)), "%s, notes of %s", name, noted.tag)
			assert.True(t, strings.HasPrefix(strings.TrimSpace(notes), "## "), "%s, notes of %s have no header: %s", name, noted.tag, notes)
			return nil
		})
	}
	_ = g.Wait()
	t.Logf("%d histories in %s: %s", total.histories, time.Since(start).Round(time.Second), total)
	// What the histories are meant to have.
	assert.GreaterOrEqual(t, total.histories, 30)
	for what, n := range map[string]int{
		"sections": total.sections, "empty sections": total.empty, "tags that share a commit": total.shared,
		"prereleases": total.prereleases, "tags at commits of other paths": total.elsewhere, "merges": total.merges,
		"backports": total.backports, "renamed prefixes": total.renamed,
	} {
		assert.Positive(t, n, what)
	}
}

// counts what the histories have.
type counts struct {
	histories, sections, empty, listed, shared, prereleases, elsewhere, merges, backports, renamed int
}

func (c counts) String() string {
	return fmt.Sprintf("%d sections (%d empty), %d commits listed; %d tags that share a commit, %d prereleases, %d tags at commits of other paths, %d merges, %d backports, %d tags of renamed prefixes",
		c.sections, c.empty, c.listed, c.shared, c.prereleases, c.elsewhere, c.merges, c.backports, c.renamed)
}

func (c *counts) add(h *history, component component, sections []section) {
	c.histories++
	at := map[int]int{}
	for _, s := range sections {
		c.sections++
		c.listed += len(s.commits)
		if len(s.commits) == 0 {
			c.empty++
		}
		at[s.release.commit]++
		if at[s.release.commit] == 2 {
			c.shared++
		}
		if strings.Contains(s.release.version, "-") {
			c.prereleases++
		}
		if !h.changes(s.release.commit, component) {
			c.elsewhere++
		}
		if s.release.backport {
			c.backports++
		}
		if !strings.HasPrefix(s.release.tag, component.prefix) {
			c.renamed++
		}
	}
	for i := range h.commits {
		if len(h.commits[i].parents) > 1 && h.contains(sections[0].release.commit, i) {
			c.merges++
		}
	}
}

// history of a repository that is being made.
type history struct {
	*rand.Rand
	commits    []made
	tags       []release
	components []component
	clock      int64
	// next number of a mark, and the commit that is released.
	next, tip int
}

// made is a commit: the files of its tree, by their paths, and what makes its
// line in a changelog known, or nothing if it is not meant to be listed.
type made struct {
	parents       []int
	files         map[string]string
	message, mark string
	time          int64
	// ancestors of the commit, itself among them.
	ancestors map[int]bool
}

// release of a component.
type release struct {
	tag, version, component string
	commit                  int
	backport                bool
}

// component of the workspace: the prefix of its tags, that of older ones if it
// was another, and the tag whose changelog is asked for.
type component struct{ name, prefix, old, tag, version string }

// paths of what belongs to a component: alpha is built from the library too, and
// delta's configuration adds one.
var paths = map[string][]string{
	"alpha": {"crates/alpha/", "crates/shared/"},
	"beta":  {"crates/beta/"},
	"gamma": {"crates/gamma/"},
	"delta": {"crates/delta/", "proto/"},
}

// kinds of what is released last.
var kinds = []string{"release", "candidate", "patch", "release"}

// generate a history: a main line with branches that are merged, and branches
// of older releases that patch releases come from.
func generate(r *rand.Rand, kind string) *history {
	h := &history{Rand: r, clock: 1700000000}
	h.components = []component{
		{name: "alpha", prefix: "alpha-", old: "old/alpha-"}, {name: "beta", prefix: "beta-v"},
		{name: "gamma", prefix: "v", old: "gamma-"}, {name: "delta", prefix: "delta-"},
	}
	files := map[string]string{
		"Cargo.toml": "[workspace]\nresolver = \"2\"\nmembers = [\"crates/*\"]\n\n[workspace.package]\nversion = \"0.0.0\"\nedition = \"2021\"\nrepository = \"https://github.com/example/app\"\n",
		"Cargo.lock": "version = 3\n\n[[package]]\nname = \"alpha\"\nversion = \"0.0.0\"\n",
	}
	for _, name := range []string{"alpha", "beta", "gamma", "delta", "shared"} {
		manifest := "[package]\nname = \"" + name + "\"\nversion.workspace = true\nedition.workspace = true\nrepository.workspace = true\n"
		source := "src/main.rs"
		switch name {
		case "alpha":
			manifest += "\n[dependencies]\nshared = { path = \"../shared\" }\n\n[package.metadata.gantry]\ntag-prefix = [\"alpha-\", \"old/alpha-\"]\n"
		case "beta":
			manifest += "\n[package.metadata.gantry]\ntag-prefix = \"beta-\"\n"
		case "delta":
			manifest += "\n[package.metadata.gantry]\ntag-prefix = \"delta-\"\nchangelog = { paths = [\"proto/**\"] }\n"
		case "shared":
			source = "src/lib.rs"
		}
		files["crates/"+name+"/Cargo.toml"] = manifest
		files["crates/"+name+"/"+source] = "fn main() {}\n"
	}
	h.commits = []made{{files: files, message: "feat: change-0 of everything", mark: "change-0", time: h.clock, ancestors: map[int]bool{0: true}}}
	h.next = 1

	main := 0
	var branches []int
	// old are the tips of the branches of older releases, by their minor version.
	old := map[int]int{}
	patch := map[int]int{}
	minor := 0
	for range 18 + r.IntN(18) {
		switch r.IntN(11) {
		case 0, 1, 10:
			main = h.change(main)
		case 3:
			branches = append(branches, h.change(main))
		case 4:
			if len(branches) > 0 {
				i := r.IntN(len(branches))
				branches[i] = h.change(branches[i])
			}
		case 5:
			if len(branches) > 0 {
				main = h.merge(main, branches[0])
				branches = branches[1:]
			}
		case 6, 7:
			main = h.release(main, minor)
			old[minor] = main
			minor++
		case 8, 9:
			if minor > 0 {
				m := r.IntN(minor)
				tip := h.change(old[m])
				if r.IntN(2) == 0 {
					tip = h.bump(tip)
				}
				old[m] = tip
				patch[m]++
				for _, c := range h.some() {
					h.tag(c, fmt.Sprintf("1.%d.%d", m, patch[m]), tip, true)
				}
				if r.IntN(2) == 0 {
					// It comes back to the main line.
					main = h.change(h.merge(main, tip))
				}
			}
		}
	}
	// The ordinary release: all components at once, by a commit that changes the
	// workspace's version alone. Some changelogs are asked for before the tag is
	// made.
	tip, version := h.bump(main), fmt.Sprintf("1.%d.0", minor)
	if kind == "patch" && minor > 0 {
		m := r.IntN(minor)
		tip, version = h.bump(h.change(old[m])), fmt.Sprintf("1.%d.%d", m, patch[m]+1)
	} else if kind == "candidate" {
		version += "-rc.1"
	}
	for i, c := range h.components {
		h.components[i].tag, h.components[i].version = h.tag(c, version, tip, false), version
		if r.IntN(3) == 0 {
			h.tags = h.tags[:len(h.tags)-1]
		}
	}
	h.tip = tip
	return h
}

// commit files over those of the first parent; an empty mark is one that the
// changelog leaves out.
func (h *history) commit(message, mark string, files map[string]string, parents ...int) int {
	h.clock += int64(h.IntN(3)) * 3600
	tree := maps.Clone(h.commits[parents[0]].files)
	maps.Copy(tree, files)
	ancestors := map[int]bool{len(h.commits): true}
	for _, p := range parents {
		maps.Copy(ancestors, h.commits[p].ancestors)
	}
	// Clocks differ.
	h.commits = append(h.commits, made{parents, tree, message, mark, h.clock - int64(h.IntN(2))*7200, ancestors})
	return len(h.commits) - 1
}

func (h *history) mark() string {
	h.next++
	return fmt.Sprintf("change-%d", h.next)
}

// change some packages, or none of them.
func (h *history) change(parent int) int {
	mark := h.mark()
	files := map[string]string{}
	for _, dir := range []string{"crates/alpha/", "crates/beta/", "crates/gamma/", "crates/delta/", "crates/shared/", "proto/"} {
		if h.IntN(3) == 0 {
			files[dir+"notes"] = mark
		}
	}
	if len(files) == 0 {
		files["docs/"+mark] = mark
	}
	message := []string{"feat: %s", "fix(x): %s", "fix!: %s", "refactor: %s\n\nBREAKING CHANGE: other words", "Just %s", "docs: %s\n\nMore."}[h.IntN(6)]
	return h.commit(fmt.Sprintf(message, mark), mark, files, parent)
}

// bump the workspace's version, which changes no package's directory.
func (h *history) bump(parent int) int {
	version := h.mark()
	return h.commit("chore(release): "+version, "", map[string]string{
		"Cargo.toml": h.commits[0].files["Cargo.toml"] + "# " + version + "\n", "Cargo.lock": h.commits[0].files["Cargo.lock"] + "# " + version + "\n",
	}, parent)
}

// merge a branch: what it changed since it was started is taken over.
func (h *history) merge(into, branch int) int {
	if h.contains(into, branch) {
		return into
	}
	files := map[string]string{}
	for name, text := range h.commits[branch].files {
		if h.commits[into].files[name] != text {
			files[name] = text
		}
	}
	if h.IntN(2) == 0 {
		return h.commit("Merge branch 'x'", "", files, into, branch)
	}
	mark := h.mark()
	return h.commit("feat: take "+mark, mark, files, into, branch)
}

// some of the components, at least one.
func (h *history) some() []component {
	n := 1 + h.IntN(len(h.components))
	out := slices.Clone(h.components)
	h.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:n]
}

// release a minor version of some components: with a commit of its own or not,
// after candidates or not, with other tags at the same commit or not.
func (h *history) release(parent, minor int) int {
	version := fmt.Sprintf("1.%d.0", minor)
	released := h.some()
	for rc := range h.IntN(3) {
		for _, c := range released {
			h.tag(c, fmt.Sprintf("%s-rc.%d", version, rc+1), parent, false)
		}
		if h.IntN(2) == 0 {
			parent = h.change(parent)
		}
	}
	if h.IntN(3) > 0 {
		parent = h.bump(parent)
	}
	for _, c := range released {
		h.tag(c, version, parent, false)
		if h.IntN(6) == 0 {
			// Released again, from the same commit.
			h.tag(c, fmt.Sprintf("1.%d.%d", minor, 50), parent, false)
		}
	}
	return parent
}

func (h *history) tag(c component, version string, commit int, backport bool) string {
	prefix := c.prefix
	if c.old != "" && len(h.commits) < 15 {
		prefix = c.old
	}
	tag := prefix + version
	h.tags = append(h.tags, release{tag, version, c.name, commit, backport})
	return tag
}

// contains says whether a commit descends from another, or is it.
func (h *history) contains(commit, other int) bool { return h.commits[commit].ancestors[other] }

// changes says whether a commit changes files of a component, against its first
// parent.
func (h *history) changes(commit int, c component) bool {
	var before map[string]string
	if parents := h.commits[commit].parents; len(parents) > 0 {
		before = h.commits[parents[0]].files
	}
	for name, text := range h.commits[commit].files {
		if before[name] != text && slices.ContainsFunc(paths[c.name], func(dir string) bool { return strings.HasPrefix(name, dir) }) {
			return true
		}
	}
	return false
}

// section of a changelog.
type section struct {
	release release
	// previous is the tag that it is compared with.
	previous string
	commits  []string
}

// changelog of a component's last tag, by the definition.
func (h *history) changelog(c component) []section {
	tip := h.tip
	stable := !strings.Contains(c.version, "-")
	current := release{c.tag, c.version, c.name, tip, false}
	lower := func(a, b release) bool {
		return semver.MustParse(a.version).LessThan(semver.MustParse(b.version))
	}
	left := []release{current}
	for _, r := range h.tags {
		if r.component == c.name && h.contains(tip, r.commit) && r.commit != tip && lower(r, current) && !(stable && strings.Contains(r.version, "-")) {
			left = append(left, r)
		}
	}
	// inside says whether a release comes with another, whatever their versions.
	inside := func(a, b release) bool {
		return a != b && h.contains(b.commit, a.commit) && (a.commit != b.commit || lower(a, b))
	}
	var sections []section
	for len(left) > 0 {
		i := -1
		for k, r := range left {
			if (i < 0 || lower(r, left[i])) && !slices.ContainsFunc(left, func(o release) bool { return inside(o, r) }) {
				i = k
			}
		}
		s := section{release: left[i]}
		var previous release
		for _, o := range sections {
			if inside(o.release, s.release) && lower(o.release, s.release) && (previous.tag == "" || lower(previous, o.release)) {
				previous = o.release
			}
		}
		s.previous = previous.tag
		for k, commit := range h.commits {
			taken := slices.ContainsFunc(sections, func(o section) bool { return h.contains(o.release.commit, k) })
			if !taken && h.contains(s.release.commit, k) && commit.mark != "" && h.changes(k, c) {
				s.commits = append(s.commits, commit.mark)
			}
		}
		sections = append(sections, s)
		left = slices.Delete(left, i, i+1)
	}
	slices.Reverse(sections)
	return sections
}

var (
	title = regexp.MustCompile(`^## (?:\[([^\]]+)\]\(https://github.com/example/app/compare/(.+)\.\.\.(.+)\)|(\S+)) - \d{4}-\d\d-\d\d$`)
	entry = regexp.MustCompile(`^- .*?\b[Cc](hange-\d+)\b`)
)

// readChangelog reads what was made.
func readChangelog(text string) []section {
	var sections []section
	for _, line := range strings.Split(text, "\n") {
		if m := title.FindStringSubmatch(line); m != nil {
			sections = append(sections, section{release: release{version: m[1] + m[4], tag: m[3]}, previous: m[2]})
		} else if strings.HasPrefix(line, "## ") {
			sections = append(sections, section{release: release{version: line}})
		} else if m := entry.FindStringSubmatch(line); m != nil && len(sections) > 0 {
			last := &sections[len(sections)-1]
			last.commits = append(last.commits, "c"+m[1])
		} else if strings.HasPrefix(line, "- ") {
			sections = append(sections, section{release: release{version: line}})
		}
	}
	return sections
}

// render sections, a line for each.
func render(sections []section) string {
	var out strings.Builder
	for _, s := range sections {
		slices.Sort(s.commits)
		compare := ""
		if s.previous != "" {
			compare = " " + s.previous + "..." + s.release.tag
		}
		fmt.Fprintf(&out, "%s%s: %s\n", s.release.version, compare, strings.Join(s.commits, " "))
	}
	return out.String()
}

// write the repository, with the last commit checked out.
func (h *history) write(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	run(t, dir, "git", "init", "-q", "-b", "main")
	var stream bytes.Buffer
	data := func(text string) { fmt.Fprintf(&stream, "data %d\n%s\n", len(text), text) }
	for i, c := range h.commits {
		fmt.Fprintf(&stream, "commit refs/made/%d\nmark :%d\ncommitter t <t@example.com> %d +0000\n", i, i+1, c.time)
		data(c.message)
		for k, p := range c.parents {
			fmt.Fprintf(&stream, "%s :%d\n", []string{"from", "merge"}[min(k, 1)], p+1)
		}
		for _, name := range slices.Sorted(maps.Keys(c.files)) {
			fmt.Fprintf(&stream, "M 100644 inline %s\n", name)
			data(c.files[name])
		}
	}
	for i, r := range h.tags {
		if i%2 == 0 {
			fmt.Fprintf(&stream, "reset refs/tags/%s\nfrom :%d\n\n", r.tag, r.commit+1)
			continue
		}
		fmt.Fprintf(&stream, "tag %s\nfrom :%d\ntagger t <t@example.com> %d +0000\n", r.tag, r.commit+1, h.clock)
		data("annotated")
	}
	fmt.Fprintf(&stream, "reset refs/heads/main\nfrom :%d\n", h.tip+1)
	cmd := exec.CommandContext(t.Context(), "git", "fast-import", "--quiet", "--force")
	cmd.Dir, cmd.Stdin = dir, &stream
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	run(t, dir, "git", "reset", "-q", "--hard", "main")
}

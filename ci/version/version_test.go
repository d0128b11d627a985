package version

import (
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The components and tags of a repository that was once hard to release.
func scheme(t *testing.T) *Scheme {
	t.Helper()
	s, err := NewScheme([]Component{
		{Name: "sdk", Prefixes: []string{"iggy-"}},
		{Name: "cli", Prefixes: []string{"iggy-cli-"}},
		{Name: "server", Prefixes: []string{"server-"}},
		{Name: "go-sdk", Prefixes: []string{"foreign/go/"}},
		{Name: "python-sdk", Prefixes: []string{"python-sdk-"}},
		{Name: "whole", Prefixes: []string{""}},
	})
	require.NoError(t, err)
	return s
}

func TestParseTag(t *testing.T) {
	for _, c := range []struct{ tag, component, version, channel string }{
		{"0.0.52", "whole", "0.0.52", "stable"},
		{"v1.2.3", "whole", "1.2.3", "stable"},
		{"server-0.4.214", "server", "0.4.214", "stable"},
		{"server-v0.4.214", "server", "0.4.214", "stable"},
		{"server-0.7.0-rc1", "server", "0.7.0-rc1", "rc"},
		{"server-0.8.0-rc.2", "server", "0.8.0-rc.2", "rc"},
		{"server-0.9.0-edge.5", "server", "0.9.0-edge.5", "edge"},
		{"iggy-0.11.0-edge.4", "sdk", "0.11.0-edge.4", "edge"},
		{"iggy-cli-0.10.0", "cli", "0.10.0", "stable"},
		{"foreign/go/v0.9.0-edge.4", "go-sdk", "0.9.0-edge.4", "edge"},
		{"1.0.0-1", "whole", "1.0.0-1", "prerelease"},
		{"1.0.0-latest.1", "whole", "1.0.0-latest.1", "prerelease"},
		{"1.0.0-RC.1", "whole", "1.0.0-RC.1", "rc"},
	} {
		tag, err := scheme(t).Parse(c.tag)
		if assert.NoError(t, err, c.tag) {
			assert.Equal(t, c.component, tag.Component, c.tag)
			assert.Equal(t, c.version, tag.Version.String(), c.tag)
			assert.Equal(t, c.channel, Channel(tag.Version), c.tag)
		}
	}
}

func TestParseTagRefuses(t *testing.T) {
	for tag, says := range map[string]string{
		"":                       "the tag is empty",
		"edge":                   `tag "edge" names no known component`,
		"iggy-iggy@0.2.1":        `"iggy@0.2.1", which is not a version`,
		"iggy-clip-0.9.0":        `"clip-0.9.0", which is not a version`,
		"python-sdk-0.9.0.dev4":  `did you mean "0.9.0-dev.4"?`,
		"v1.2":                   `did you mean "1.2.0"?`,
		"v01.2.3":                `did you mean "1.2.3"?`,
		"v1.2.3-":                `is not SemVer`,
		"v1.2.3-rc.01":           `is not SemVer`,
		"vv1.2.3":                `names no known component`,
		"server-":                `which is not a version`,
		"unknown-1.2.3":          `tags look like`,
		"refs/tags/server-1.0.0": `pass "server-1.0.0"`,
		"name@1.2.3":             `tag "name@1.2.3" names no known component; to use tags that start with "name@", set tag-prefix = "name@" in the [package.metadata.gantry] of the package they release; tags look like`,
		"release/v1.2.3":         `set tag-prefix = "release/" in`,
		"servr-1.2.3":            `; did you mean "server-1.2.3"?; to use tags`,
		"server-next-1.2.3":      `after the prefix "server-" of "server" comes "next-1.2.3", which is not a version; did you mean "server-1.2.3"?; to use tags that start with "server-next-"`,
	} {
		_, err := scheme(t).Parse(tag)
		assert.ErrorContains(t, err, says, tag)
		if tag == "edge" || tag == "v1.2.3-" {
			assert.NotContains(t, err.Error(), "tag-prefix", "it ends in no version, so no prefix helps")
		}
	}
	_, err := (&Scheme{}).Parse("v1.2.3")
	assert.EqualError(t, err, `tag "v1.2.3" names no known component; tags look like nothing, since there are no components`)
}

func TestTagWith(t *testing.T) {
	s := scheme(t)
	for name, want := range map[string]string{
		"v1.2.3": "v2.0.0", "1.2.3": "2.0.0", "server-v1.2.3": "server-v2.0.0", "server-1.2.3": "server-2.0.0",
	} {
		tag, err := s.Parse(name)
		require.NoError(t, err)
		assert.Equal(t, want, tag.With("2.0.0"), name)
	}
}

func TestSchemeRefusesAmbiguousPrefixes(t *testing.T) {
	for _, c := range []struct{ a, b, says string }{
		{"x-", "x-", "ambiguous"},
		{"x-", "x-v", "ambiguous"},
		{"", "v", "ambiguous"},
		{"x 1", "y-", "git forbids in tags"},
		{"x..", "y-", "cannot start a git tag"},
		{"x//", "y-", "cannot start a git tag"},
		{"x@{", "y-", "cannot start a git tag"},
		{"x/.y-", "y-", "cannot start a git tag"},
		{"/x", "y-", "cannot start a git tag"},
		{".x", "y-", "cannot start a git tag"},
		{"x9", "y-", "ends in a digit"},
		{"x0", "y-", "ends in a digit"},
		{"x\x7f", "y-", "git forbids in tags"},
		{"x:", "y-", "git forbids in tags"},
		{"x-", "x-v", `"x-v" of component "b" is ambiguous with "x-" of component "a": a tag such as "x-v1.2.3" would belong to both`},
		{"x1", "y-", "ends in a digit"},
		{"-x", "y-", "cannot start a git tag"},
	} {
		_, err := NewScheme([]Component{{Name: "a", Prefixes: []string{c.a}}, {Name: "b", Prefixes: []string{c.b}}})
		assert.ErrorContains(t, err, c.says, "%q and %q", c.a, c.b)
	}
	_, err := NewScheme([]Component{{Name: "a", Prefixes: []string{"dev"}}, {Name: "b", Prefixes: []string{"de"}}})
	assert.NoError(t, err, "a v that belongs to a word introduces no version")
}

func TestHistory(t *testing.T) {
	s := scheme(t)
	reachable := []GitTag{
		{"server-1.0.0", "c1"}, {"server-1.1.0-rc.1", "c2"}, {"server-1.1.0", "c3"},
		{"server-1.2.0-rc.1", "c4"}, {"server-1.2.0-rc.2", "c5"}, {"server-1.2.0", "c5"},
		{"iggy-9.0.0", "c5"}, {"edge", "c5"},
	}
	for _, c := range []struct {
		name, tag, commit, previous string
		releases                    []string
	}{
		{"a stable release", "server-1.2.0", "c5", "server-1.1.0", []string{"server-1.0.0", "server-1.1.0", "server-1.2.0"}},
		{"a candidate", "server-1.2.0-rc.2", "c5", "server-1.2.0-rc.1", []string{"server-1.0.0", "server-1.1.0-rc.1", "server-1.1.0", "server-1.2.0-rc.1", "server-1.2.0-rc.2"}},
		{"a backport", "server-1.0.1", "c9", "server-1.0.0", []string{"server-1.0.0", "server-1.0.1"}},
		{"the first", "server-0.9.0", "c9", "", []string{"server-0.9.0"}},
		{"a candidate on the commit of the one before", "server-1.2.0-rc.3", "c5", "server-1.2.0-rc.1", []string{"server-1.0.0", "server-1.1.0-rc.1", "server-1.1.0", "server-1.2.0-rc.1", "server-1.2.0-rc.3"}},
		{"a stable release on the commit of the one before", "server-1.3.0", "c5", "server-1.1.0", []string{"server-1.0.0", "server-1.1.0", "server-1.3.0"}},
		{"a tag of the same version elsewhere", "server-v1.1.0", "c9", "server-1.0.0", []string{"server-1.0.0", "server-v1.1.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tag, err := s.Parse(c.tag)
			require.NoError(t, err)
			h := s.History(tag, c.commit, reachable)
			assert.Equal(t, c.previous, h.Previous)
			assert.Equal(t, c.releases, h.Releases)
		})
	}
}

// Of several spellings of one version, the one that is like the current tag's
// counts.
func TestHistoryOfAVersionThatIsTaggedTwice(t *testing.T) {
	s, err := NewScheme([]Component{{Name: "app", Prefixes: []string{"new-", "old-", ""}}})
	require.NoError(t, err)
	for _, c := range []struct{ current, previous string }{
		{"new-2.0.0", "new-1.0.0"}, {"new-v2.0.0", "new-v1.0.0"}, {"old-2.0.0", "old-1.0.0"}, {"v2.0.0", "v1.0.0"}, {"2.0.0", "1.0.0"},
	} {
		tag, err := s.Parse(c.current)
		require.NoError(t, err)
		all := []GitTag{{"v1.0.0", "a"}, {"old-v1.0.0", "a"}, {"new-v1.0.0", "a"}, {"new-1.0.0", "a"}, {"old-1.0.0", "a"}, {"1.0.0", "a"}}
		for range all {
			all = append(all[1:], all[0])
			assert.Equal(t, History{c.previous, []string{c.previous, c.current}}, s.History(tag, "z", all), c.current)
		}
	}
	tag, err := s.Parse("new-2.0.0")
	require.NoError(t, err)
	assert.Equal(t, "old-v1.0.0", s.History(tag, "z", []GitTag{{"1.0.0", "a"}, {"old-v1.0.0", "a"}}).Previous, "the prefix that the component had last")
	assert.Equal(t, "1.0.0", s.History(tag, "z", []GitTag{{"1.0.0", "a"}, {"v1.0.0", "a"}}).Previous)
	assert.Equal(t, "old-1.0.0", s.History(tag, "z", []GitTag{{"old-1.0.0", "a"}, {"old-1.1.0+fork.1", "b"}}).Previous, "no release can have build metadata")
}

// Whatever prefixes a component had, its history is that of its versions.
func TestHistoryOfRenamedPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefixes := rapid.Permutation([]string{"new-", "old-", "release/", ""}).Draw(t, "prefixes")
		prefixes = prefixes[:rapid.IntRange(1, len(prefixes)).Draw(t, "of them")]
		s, err := NewScheme([]Component{{Name: "app", Prefixes: prefixes}, {Name: "other", Prefixes: []string{"other-"}}})
		require.NoError(t, err)
		number, pre := rapid.Uint64Range(0, 2), rapid.SampledFrom([]string{"", "", "rc.1", "rc.2"})
		commit := rapid.SampledFrom([]string{"c1", "c2", "c3", "c4"})
		draw := func(prefix string) string {
			v := semver.New(number.Draw(t, "major"), number.Draw(t, "minor"), number.Draw(t, "patch"), pre.Draw(t, "prerelease"), "")
			return prefix + rapid.SampledFrom([]string{"", "v"}).Draw(t, "v") + v.String()
		}
		var reachable []GitTag
		seen := map[string]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "tags") {
			name := draw(rapid.SampledFrom(append([]string{"other-", "foreign-"}, prefixes...)).Draw(t, "prefix"))
			if !seen[name] {
				reachable = append(reachable, GitTag{name, commit.Draw(t, "commit")})
			}
			seen[name] = true
		}
		current, err := s.Parse(draw(rapid.SampledFrom(prefixes).Draw(t, "current prefix")))
		require.NoError(t, err)
		at := commit.Draw(t, "current commit")
		h := s.History(current, at, reachable)

		// What it should be, from the definition alone.
		want := map[string]bool{}
		for _, g := range reachable {
			tag, err := s.Parse(g.Name)
			if err != nil || tag.Component != "app" || g.Commit == at || g.Name == current.Name || tag.Version.Compare(current.Version) >= 0 {
				continue
			}
			if current.Version.Prerelease() == "" && tag.Version.Prerelease() != "" {
				continue
			}
			want[tag.Version.String()] = true
		}
		require.Len(t, h.Releases, len(want)+1, "each version once, and the current one")
		var last *semver.Version
		for i, name := range h.Releases {
			tag, err := s.Parse(name)
			require.NoError(t, err)
			if last != nil {
				require.Truef(t, last.LessThan(tag.Version), "%s is not above %s", tag.Version, last)
			}
			last = tag.Version
			if i < len(h.Releases)-1 {
				require.Contains(t, want, tag.Version.String())
				require.True(t, seen[name], "%s is no tag", name)
			}
		}
		require.Equal(t, current.Name, h.Releases[len(h.Releases)-1])
		if len(want) == 0 {
			require.Empty(t, h.Previous)
		} else {
			require.Equal(t, h.Releases[len(h.Releases)-2], h.Previous)
		}
		shuffled := rapid.Permutation(reachable).Draw(t, "shuffled")
		require.Equal(t, h, s.History(current, at, shuffled), "the order of git's tags does not matter")
	})
}

func tagsThatMove(t require.TestingT, v string, known ...string) []string {
	var versions []*semver.Version
	for _, k := range known {
		versions = append(versions, semver.MustParse(k))
	}
	tags, err := ImageTags(semver.MustParse(v), versions, TagOptions{})
	require.NoError(t, err)
	var moved []string
	for _, tag := range tags {
		if tag.Move {
			moved = append(moved, tag.Tag)
		}
	}
	return moved
}

func TestImageTags(t *testing.T) {
	for _, c := range []struct {
		name, version string
		known, moved  []string
	}{
		{"first", "1.2.3", nil, []string{"1.2.3", "1.2", "1", "latest"}},
		{"before 1.0 there is no major tag", "0.1.2", nil, []string{"0.1.2", "0.1", "latest"}},
		{"backport", "1.2.4", []string{"1.3.0", "2.0.0"}, []string{"1.2.4", "1.2"}},
		{"backport of the highest minor", "1.3.1", []string{"1.3.0", "2.0.0"}, []string{"1.3.1", "1.3", "1"}},
		{"older patch published late", "1.2.3", []string{"1.2.4"}, []string{"1.2.3"}},
		{"a prerelease above does not hold latest back", "1.2.3", []string{"1.3.0-rc.1"}, []string{"1.2.3", "1.2", "1", "latest"}},
		{"prerelease", "2.0.8-beta.67", nil, []string{"2.0.8-beta.67", "beta"}},
		{"lower prerelease", "2.0.0-rc.1", []string{"2.0.0-rc.2"}, []string{"2.0.0-rc.1"}},
		{"another channel does not matter", "2.0.0-beta.1", []string{"2.0.0-rc.2"}, []string{"2.0.0-beta.1", "beta"}},
		{"a prerelease without a name", "1.0.0-1", nil, []string{"1.0.0-1"}},
		{"a prerelease called latest", "1.0.0-latest.1", nil, []string{"1.0.0-latest.1"}},
		{"again", "1.2.3", []string{"1.2.3"}, []string{"1.2.3", "1.2", "1", "latest"}},
	} {
		assert.Equal(t, c.moved, tagsThatMove(t, c.version, c.known...), c.name)
	}
	_, err := ImageTags(semver.MustParse("1.2.3+fork.1"), nil, TagOptions{})
	assert.ErrorContains(t, err, "build metadata (+fork.1)")
}

// Whatever the order of releases, a floating tag ends on the highest version
// of its class and never goes down on the way.
func TestFloatingTagsNeverGoDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.IntRange(0, 3)
		pre := rapid.SampledFrom([]string{"", "", "rc.1", "rc.2", "beta.1", "edge.3", "1"})
		floating := map[string]*semver.Version{}
		var released []*semver.Version
		for range rapid.IntRange(1, 20).Draw(t, "releases") {
			v := semver.New(uint64(number.Draw(t, "major")), uint64(number.Draw(t, "minor")), uint64(number.Draw(t, "patch")), pre.Draw(t, "prerelease"), "")
			tags, err := ImageTags(v, released, TagOptions{})
			require.NoError(t, err)
			for _, tag := range tags {
				if tag.Exact || !tag.Move {
					continue
				}
				if was := floating[tag.Tag]; was != nil {
					require.Falsef(t, v.LessThan(was), "%s went from %s to %s", tag.Tag, was, v)
				}
				floating[tag.Tag] = v
			}
			released = append(released, v)
		}
		var top *semver.Version
		for _, v := range released {
			if v.Prerelease() == "" && (top == nil || v.GreaterThan(top)) {
				top = v
			}
		}
		if top != nil {
			require.True(t, floating["latest"].Equal(top), "latest is at %s, not %s", floating["latest"], top)
		} else {
			require.NotContains(t, floating, "latest")
		}
	})
}

func TestOrderHint(t *testing.T) {
	assert.Contains(t, OrderHint(semver.MustParse("1.0.0-rc2")), "rc.2 sorts as expected")
	assert.Empty(t, OrderHint(semver.MustParse("1.0.0-rc.2")))
	assert.Empty(t, OrderHint(semver.MustParse("1.0.0")))
}

func FuzzParseTag(f *testing.F) {
	for _, tag := range []string{"v1.2.3", "iggy-cli-0.1.0-rc.1", "iggy-iggy@0.2.1", "edge", "refs/tags/v1.0.0"} {
		f.Add(tag)
	}
	s, err := NewScheme([]Component{{Name: "sdk", Prefixes: []string{"iggy-"}}, {Name: "cli", Prefixes: []string{"iggy-cli-"}}, {Name: "whole", Prefixes: []string{""}}})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, text string) {
		tag, err := s.Parse(text)
		if err != nil {
			return
		}
		rest := text[len(tag.Prefix):]
		assert.Contains(t, []string{tag.Version.Original(), "v" + tag.Version.Original()}, rest)
	})
}

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
		"edge":                   `tag "edge" names no component`,
		"iggy-iggy@0.2.1":        `"iggy@0.2.1", which is no version`,
		"iggy-clip-0.9.0":        `"clip-0.9.0", which is no version`,
		"python-sdk-0.9.0.dev4":  `did you mean "0.9.0-dev.4"?`,
		"v1.2":                   `did you mean "1.2.0"?`,
		"v01.2.3":                `did you mean "1.2.3"?`,
		"v1.2.3-":                `is not SemVer`,
		"v1.2.3-rc.01":           `is not SemVer`,
		"vv1.2.3":                `names no component`,
		"server-":                `which is no version`,
		"unknown-1.2.3":          `tags look like`,
		"refs/tags/server-1.0.0": `pass "server-1.0.0"`,
	} {
		_, err := scheme(t).Parse(tag)
		assert.ErrorContains(t, err, says, tag)
	}
}

func TestSchemeRefusesAmbiguousPrefixes(t *testing.T) {
	for _, c := range []struct{ a, b, says string }{
		{"x-", "x-", "ambiguous"},
		{"x-", "x-v", "ambiguous"},
		{"", "v", "ambiguous"},
		{"x 1", "y-", "git allows in no tag"},
		{"x..", "y-", "cannot start a git tag"},
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
		tag, commit, previous string
		releases              []string
	}{
		{"server-1.2.0", "c5", "server-1.1.0", []string{"server-1.0.0", "server-1.1.0", "server-1.2.0"}},
		{"server-1.2.0-rc.2", "c5", "server-1.2.0-rc.1", []string{"server-1.0.0", "server-1.1.0-rc.1", "server-1.1.0", "server-1.2.0-rc.1", "server-1.2.0-rc.2"}},
		{"server-1.0.1", "c9", "server-1.0.0", []string{"server-1.0.0", "server-1.0.1"}},
		{"server-0.9.0", "c9", "", []string{"server-0.9.0"}},
	} {
		tag, err := s.Parse(c.tag)
		require.NoError(t, err)
		h := s.History(tag, c.commit, reachable)
		assert.Equal(t, c.previous, h.Previous, c.tag)
		assert.Equal(t, c.releases, h.Releases, c.tag)
	}
}

func tagsThatMove(t require.TestingT, v string, known ...string) []string {
	var versions []*semver.Version
	for _, k := range known {
		versions = append(versions, semver.MustParse(k))
	}
	tags, err := ImageTags(semver.MustParse(v), versions)
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
	_, err := ImageTags(semver.MustParse("1.2.3+fork.1"), nil)
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
			tags, err := ImageTags(v, released)
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

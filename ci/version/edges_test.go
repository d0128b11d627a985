package version

import (
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseProposesOnlyVersions(t *testing.T) {
	for text, want := range map[string]string{
		"1.2":       `did you mean "1.2.0"?`,
		"1":         `did you mean "1.0.0"?`,
		"v1.2rc":    `did you mean "1.2.0-rc"?`,
		"1.2.3rc1":  `did you mean "1.2.3-rc.1"?`,
		"1.2.3.rc2": `did you mean "1.2.3-rc.2"?`,
		"00.01.02":  `did you mean "0.1.2"?`,
	} {
		_, err := Parse(text)
		assert.ErrorContains(t, err, want, text)
	}
	for _, text := range []string{"", "x", "1.2.3.4", "1.2.3-", "1.2.3rc01", "99999999999999999999999.0.0"} {
		_, err := Parse(text)
		require.ErrorContains(t, err, "is not SemVer", text)
		assert.NotContains(t, err.Error(), "did you mean", text)
	}
}

// No prerelease takes a floating tag that promises something else.
func TestChannelsThatMeanSomethingElse(t *testing.T) {
	for pre, want := range map[string]string{
		"stable": "prerelease", "stable.1": "prerelease", "Latest": "prerelease", "latest-1": "prerelease", "7": "prerelease",
		"stables": "stables", "latestx.1": "latestx", "az.1": "az", "rc": "rc", "beta-2": "beta", "a": "a", "z9": "z",
	} {
		v := semver.MustParse("1.0.0-" + pre)
		assert.Equal(t, want, Channel(v), pre)
		tags, err := ImageTags(v, nil, TagOptions{})
		require.NoError(t, err)
		for _, tag := range tags {
			assert.NotContains(t, []string{"stable", "latest"}, tag.Tag, pre)
		}
	}
}

// A floating tag says why it stays, and where.
func TestImageTagsSayWhy(t *testing.T) {
	known := []*semver.Version{semver.MustParse("1.2.9"), semver.MustParse("1.4.0"), semver.MustParse("1.3.0"), semver.MustParse("2.0.0-rc.1")}
	tags, err := ImageTags(semver.MustParse("1.2.3"), known, TagOptions{})
	require.NoError(t, err)
	assert.Equal(t, []ImageTag{
		{Tag: "1.2.3", Exact: true, Move: true, Why: tags[0].Why},
		{Tag: "1.2", Why: "stays at 1.2.9, the highest stable 1.2 release"},
		{Tag: "1", Why: "stays at 1.4.0, the highest stable 1 release"},
		{Tag: "latest", Why: "stays at 1.4.0, the highest stable release"},
	}, tags)

	longest := "1.0.0-" + strings.Repeat("x", 122)
	_, err = ImageTags(semver.MustParse(longest), nil, TagOptions{})
	require.NoError(t, err, "128 characters")
	_, err = ImageTags(semver.MustParse(longest+"x"), nil, TagOptions{})
	assert.ErrorContains(t, err, "at most 128")
}

// A "v" introduces a version after anything but a letter or a digit.
func TestPrefixesThatDifferByV(t *testing.T) {
	both := func(a, b string) error {
		_, err := NewScheme([]Component{{Name: "a", Prefixes: []string{a}}, {Name: "b", Prefixes: []string{b}}})
		return err
	}
	for _, last := range []string{"a", "m", "z", "A", "M", "Z"} {
		assert.NoError(t, both("x"+last, "x"+last+"v"), last)
	}
	for _, last := range []string{"@", "`", "{", "/", "-", "_", "."} {
		assert.ErrorContains(t, both("x"+last, "x"+last+"v"), "ambiguous", last)
	}
	for _, p := range []string{" x", "~x", "x y", "x*"} {
		assert.ErrorContains(t, both(p, "y-"), "git forbids in tags", p)
	}
	assert.NoError(t, both("!x", "y-"), "the first character above space")
}

func TestTagsOfAComponent(t *testing.T) {
	s := scheme(t)
	var names []string
	for _, tag := range s.Tags("server", []GitTag{{"server-1.10.0", "c3"}, {"server-1.2.0", "c2"}, {"iggy-1.0.0", "c1"}, {"edge", "c1"}, {"server-1.2.0-rc.1", "c1"}}) {
		names = append(names, tag.Name)
	}
	assert.Equal(t, []string{"server-1.2.0-rc.1", "server-1.2.0", "server-1.10.0"}, names)

	_, err := s.Parse("")
	require.ErrorContains(t, err, "iggy-1.2.3 (sdk), iggy-cli-1.2.3 (cli), server-1.2.3 (server)")
	assert.ErrorContains(t, err, ", v1.2.3 (whole)")
}

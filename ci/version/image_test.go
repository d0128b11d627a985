package version

import (
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestImageTagsAsConfigured(t *testing.T) {
	for _, c := range []struct {
		name, version string
		options       TagOptions
		tags          string
	}{
		{"exact only", "1.2.3", TagOptions{ExactOnly: true}, "1.2.3"},
		{"exact only, prerelease", "1.2.3-rc.1", TagOptions{ExactOnly: true, Prefix: "v"}, "v1.2.3-rc.1"},
		{"prefix", "1.2.3", TagOptions{Prefix: "v"}, "v1.2.3 v1.2 v1 latest"},
		{"prefix, prerelease", "1.2.3-rc.1", TagOptions{Prefix: "v"}, "v1.2.3-rc.1 rc"},
		{"suffix", "1.2.3", TagOptions{Suffix: "-alpine"}, "1.2.3-alpine 1.2-alpine 1-alpine latest-alpine"},
		{"both", "0.2.0", TagOptions{Prefix: "app-", Suffix: "_x"}, "app-0.2.0_x app-0.2_x latest_x"},
		{"suffix, prerelease", "1.2.3-beta.4", TagOptions{Suffix: "-alpine"}, "1.2.3-beta.4-alpine beta-alpine"},
	} {
		tags, err := ImageTags(semver.MustParse(c.version), nil, c.options)
		require.NoError(t, err, c.name)
		var names []string
		for _, tag := range tags {
			names = append(names, tag.Tag)
		}
		assert.Equal(t, c.tags, strings.Join(names, " "), c.name)
		read, ok := c.options.Read(tags[0].Tag)
		require.True(t, ok, c.name)
		assert.Equal(t, c.version, read.String(), c.name)
	}
	for _, o := range []TagOptions{{Suffix: ".0"}, {Suffix: "+x"}, {Prefix: "-"}, {Suffix: strings.Repeat("x", 130)}} {
		_, err := ImageTags(semver.MustParse("1.2.3"), nil, o)
		assert.Error(t, err, "%+v", o)
	}
}

func TestTagsReadBack(t *testing.T) {
	for _, c := range []struct {
		options TagOptions
		tag     string
		want    string // empty when it is not the tag of a version
	}{
		{TagOptions{}, "1.2.3", "1.2.3"},
		{TagOptions{}, "v1.2.3", "1.2.3"},
		{TagOptions{}, "1.2", ""},
		{TagOptions{}, "latest", ""},
		{TagOptions{Prefix: "v"}, "v1.2.3-rc.1", "1.2.3-rc.1"},
		{TagOptions{Prefix: "v"}, "1.2.3", "1.2.3"},
		{TagOptions{Prefix: "app-"}, "app-1.2.3", "1.2.3"},
		{TagOptions{Prefix: "app-"}, "app-v1.2.3", ""},
		{TagOptions{Prefix: "app-"}, "1.2.3", ""},
		{TagOptions{Prefix: "app-"}, "cli-1.2.3", ""},
		{TagOptions{Suffix: "-alpine"}, "1.2.3-alpine", "1.2.3"},
		{TagOptions{Suffix: "-alpine"}, "1.2.3-rc.1-alpine", "1.2.3-rc.1"},
		{TagOptions{Suffix: "-alpine"}, "1.2.3", ""},
		{TagOptions{Suffix: "-alpine"}, "1.2.3-debian", ""},
	} {
		v, ok := c.options.Read(c.tag)
		if assert.Equal(t, c.want != "", ok, "%+v %s", c.options, c.tag) && ok {
			assert.Equal(t, c.want, v.String())
		}
	}
}

// Tags of another variant hold nothing back, and those of the same one do.
func TestFloatingTagsOfAVariant(t *testing.T) {
	o := TagOptions{Suffix: "-alpine"}
	tags, err := ImageTags(semver.MustParse("1.2.3"), o.Versions([]string{"2.0.0", "1.3.0-alpine", "latest-alpine"}), o)
	require.NoError(t, err)
	moves := map[string]bool{}
	for _, tag := range tags {
		moves[tag.Tag] = tag.Move
	}
	assert.Equal(t, map[string]bool{"1.2.3-alpine": true, "1.2-alpine": true, "1-alpine": false, "latest-alpine": false}, moves)
}

// A stable version whose release is flagged as a prerelease gets its own tag and
// no other, until it is promoted.
func TestTagsOfAFlaggedRelease(t *testing.T) {
	flagged := TagOptions{Flagged: []*semver.Version{semver.MustParse("1.2.3")}}
	for _, c := range []struct{ version, moves, why string }{
		{"1.2.3", "1.2.3", "stays until the release is promoted: it is flagged as a prerelease"},
		{"1.2.4", "1.2.4 1.2 1 latest", "the highest stable release"},
	} {
		tags, err := ImageTags(semver.MustParse(c.version), nil, flagged)
		require.NoError(t, err)
		var moves []string
		for _, tag := range tags {
			if tag.Move {
				moves = append(moves, tag.Tag)
			}
		}
		assert.Equal(t, c.moves, strings.Join(moves, " "))
		assert.Equal(t, c.why, tags[len(tags)-1].Why)
	}
}

package oci_test

import (
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// A release that is flagged as a prerelease gets its exact tag; floating tags
// move when it is promoted, and are held back by it no sooner.
func TestFlaggedReleases(t *testing.T) {
	p := newPeer(t)
	r := p.repository(t, fast)
	publish := func(number string, flagged ...string) map[string]string {
		t.Helper()
		_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf(number)), Index: tiny(t, number), Flagged: versions(flagged...)}, r)
		require.NoError(t, err)
		return namedVersions(t, p)
	}
	lacks := func(number string, known []*semver.Version, flagged ...string) []oci.Lack {
		return oci.MissingFrom(t.Context(), oci.Candidate{
			Release:      &published.Release{Manifest: &manifest.Manifest{Version: number}, Known: known, Flagged: versions(flagged...)},
			Repositories: []*oci.Repository{p.repository(t, fast)},
		})[0]
	}
	publish("1.0.0")
	tags := publish("1.1.0", "1.1.0")
	assert.Equal(t, map[string]string{"1.0.0": "1.0.0", "1.0": "1.0.0", "1": "1.0.0", "latest": "1.0.0", "1.1.0": "1.1.0"}, tags)
	assert.Empty(t, lacks("1.1.0", nil, "1.1.0"))
	assert.Empty(t, lacks("1.0.0", nil, "1.1.0"))

	tags = publish("1.0.1", "1.1.0")
	assert.Equal(t, "1.0.1", tags["latest"], "nothing holds it back")
	assert.Equal(t, "1.0.1", tags["1"])

	require.Len(t, lacks("1.1.0", versions("1.0.0", "1.0.1")), 1)
	assert.Equal(t, "it should have the tags 1.1, 1, latest", lacks("1.1.0", versions("1.0.0", "1.0.1"))[0].Why)
	tags = publish("1.1.0")
	for _, tag := range []string{"1.1", "1", "latest"} {
		assert.Equal(t, "1.1.0", tags[tag], tag)
	}

	// Flagged again, it keeps what it has: no tag moves down.
	tags = publish("1.0.2", "1.1.0")
	assert.Equal(t, "1.1.0", tags["latest"])
	assert.Equal(t, "1.0.2", tags["1.0"])
}

// namedVersions are the tags of a peer and the versions that they name.
func namedVersions(t *testing.T, p *peer) map[string]string {
	byDigest := map[string]string{}
	for _, number := range []string{"1.0.0", "1.0.1", "1.0.2", "1.1.0"} {
		byDigest[must(tiny(t, number).Digest()).String()] = number
	}
	out := map[string]string{}
	for tag, digest := range p.tags(t) {
		out[tag] = byDigest[digest]
	}
	return out
}

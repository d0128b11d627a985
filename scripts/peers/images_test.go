package main

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// forPlatform returns an image for linux.
func forPlatform(t *testing.T, arch string) mutate.IndexAddendum {
	img, err := random.Image(1000, 1)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	config.OS, config.Architecture = "linux", arch
	img, err = mutate.ConfigFile(img, config)
	require.NoError(t, err)
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}}
}

// The registry counts what is sent, and finds tags that lack a platform.
func TestRegistry(t *testing.T) {
	r, err := startRegistry()
	require.NoError(t, err)
	defer r.Close()
	repo, err := r.repository("some/image")
	require.NoError(t, err)

	tags, err := r.tags("some/image")
	require.NoError(t, err)
	assert.Empty(t, tags)

	amd64, arm64 := forPlatform(t, "amd64"), forPlatform(t, "arm64")
	require.NoError(t, remote.WriteIndex(repo.Tag("both"), mutate.AppendManifests(empty.Index, amd64, arm64)))
	assert.Greater(t, r.reset(), int64(2000))
	assert.Zero(t, r.reset())
	require.NoError(t, remote.WriteIndex(repo.Tag("one"), mutate.AppendManifests(empty.Index, amd64)))
	assert.Less(t, r.reset(), int64(2000), "the layers are there")

	tags, err = r.tags("some/image")
	require.NoError(t, err)
	assert.Equal(t, []string{"both", "one"}, keys(tags))
	broken, err := r.broken("some/image", platforms...)
	require.NoError(t, err)
	assert.Equal(t, []string{"one"}, broken)

	r.refusing(writes)
	assert.ErrorContains(t, remote.WriteIndex(repo.Tag("new"), mutate.AppendManifests(empty.Index, amd64)), "quota")
	r.refusing(nil)
	assert.NoError(t, remote.WriteIndex(repo.Tag("new"), mutate.AppendManifests(empty.Index, amd64)))
}

func TestAfterManifests(t *testing.T) {
	refused := afterManifests(1)
	put := func(method, path string) bool {
		q, err := http.NewRequest(method, "http://registry"+path, io.NopCloser(&bytes.Buffer{}))
		require.NoError(t, err)
		return refused(q)
	}
	assert.False(t, put(http.MethodPut, "/v2/a/blobs/uploads/1"), "a layer")
	assert.False(t, put(http.MethodPut, "/v2/a/manifests/one"))
	assert.False(t, put(http.MethodGet, "/v2/a/manifests/two"))
	assert.True(t, put(http.MethodPut, "/v2/a/manifests/two"))
	assert.False(t, put(http.MethodPut, "/v2/a/manifests/one"), "the same again")
	assert.True(t, put(http.MethodPut, "/v2/a/manifests/two"), "for ever")
}

func TestImageRows(t *testing.T) {
	r := &imageRows{}
	r.add(Gantry, &imageResults{cold: 3, again: 2, same: true, binaries: true, kept: true})
	r.add("crane", &imageResults{cold: 2, again: 2.05, sentAgain: 500, kept: true, binaries: true, lacking: []string{"1-amd64"}})
	r.add("goreleaser", &imageResults{cold: 9, again: 9, binaries: true, orphans: map[string]string{"latest": "sha256:1", "1": "sha256:1"}})
	r.add("buildah", &imageResults{missing: assert.AnError})
	verdicts := map[string]Verdict{}
	texts := map[string]string{}
	for _, row := range r.rows() {
		verdicts[row.What] = row.Verdict()
		texts[row.What] = row.Cells["goreleaser"].Text
		assert.True(t, row.Cells["buildah"].Missing, row.What)
	}
	assert.Equal(t, map[string]Verdict{
		"image for two platforms, into an empty repository":                     Behind,
		"again, nothing changed":                                                Equal,
		"data sent to the registry again":                                       Equal,
		"the same digest when made twice":                                       Ahead,
		"the image has the bytes of the release's binaries":                     Equal,
		"tags without all platforms, after the registry refused the second one": Equal,
		"the GitHub Release, after the registry refused the image":              Equal,
		"tags of an image whose GitHub Release failed":                          Equal,
	}, verdicts)
	assert.Equal(t, "1, latest", texts["tags of an image whose GitHub Release failed"])
	assert.Equal(t, "there is none", texts["the GitHub Release, after the registry refused the image"])
}

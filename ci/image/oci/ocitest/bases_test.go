package ocitest

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
)

// Base images in memory are found by name, and by the digest of the index or of
// the platform's image.
func TestBasesInMemory(t *testing.T) {
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: empty.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	whole, err := index.Digest()
	require.NoError(t, err)
	one, err := empty.Image.Digest()
	require.NoError(t, err)
	bases := Bases{"base": index}
	for _, ref := range []string{"base", "base@" + whole.String(), "base@" + one.String()} {
		base, err := bases.Base(t.Context(), ref, "linux/amd64")
		require.NoError(t, err, ref)
		assert.Equal(t, "base", base.Name)
		assert.Equal(t, one, base.Digest)
	}
	for ref, says := range map[string]string{"base@sha256:0": `find base image "base@sha256:0": not in the registry: it is "` + one.String() + `"`, "other": `find base image "other": not in the registry: known are ["base"]`} {
		_, err := bases.Base(t.Context(), ref, "linux/amd64")
		require.ErrorIs(t, err, oci.ErrNotFound, ref)
		assert.EqualError(t, err, says)
	}
	_, err = bases.Base(t.Context(), "base", "linux/arm64")
	require.ErrorContains(t, err, `find base image "base": `)
	require.ErrorIs(t, err, imagespec.ErrBase)
}

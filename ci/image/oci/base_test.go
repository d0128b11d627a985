package oci_test

import (
	"archive/tar"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
)

// layered is a base image of several layers, for platforms.
func layered(t testing.TB, mediaType types.MediaType, layers []string, platforms ...string) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range platforms {
		p, err := v1.ParsePlatform(platform)
		require.NoError(t, err)
		img := mutate.MediaType(empty.Image, types.DockerManifestSchema2)
		for _, name := range layers {
			img, err = mutate.AppendLayers(img, tarLayer(t, mediaType, &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Linkname: name + platform}))
			require.NoError(t, err)
		}
		config := must(img.ConfigFile()).DeepCopy()
		config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
		config.Config.Labels = map[string]string{"maintainer": "base", "org.opencontainers.image.vendor": "base", "org.opencontainers.image.base.name": "of the base"}
		img, err = mutate.ConfigFile(img, config)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
	}
	return index
}

// The layers of a base image stay in their order, below the one of binaries, and
// what is said of the base's own program goes.
func TestBaseOfSeveralLayers(t *testing.T) {
	for _, mediaType := range []types.MediaType{types.DockerLayer, types.OCILayer} {
		base := layered(t, mediaType, []string{"one", "two", "three", "four"}, "linux/amd64", "linux/arm64")
		image := assembled(t, newRelease(t, "1.2.3", both...).load(), oci.AssembleOptions{Bases: ocitest.Bases{imagespec.StaticBase: base}})
		for i, p := range image.Platforms {
			from := must(base.Image(must(base.IndexManifest()).Manifests[i].Digest))
			want, got := must(from.Layers()), must(p.Image.Layers())
			require.Len(t, got, len(want)+1)
			config := must(p.Image.ConfigFile())
			require.Len(t, config.RootFS.DiffIDs, len(got))
			for n := range want {
				assert.Equal(t, must(want[n].Digest()), must(got[n].Digest()), "layer %d of %s", n, p.Platform)
				assert.Equal(t, must(from.ConfigFile()).RootFS.DiffIDs[n], config.RootFS.DiffIDs[n])
				assert.Equal(t, types.OCILayer, must(got[n].MediaType()))
			}
			labels := config.Config.Labels
			assert.Equal(t, "base", labels["maintainer"])
			assert.NotContains(t, labels, "org.opencontainers.image.vendor")
			assert.NotContains(t, labels, "org.opencontainers.image.base.name")
		}
	}
}

// A connection that breaks in the middle of a large layer of the base image, which
// is not read again by itself, ends nothing.
func TestBaseLayerThatIsCutOff(t *testing.T) {
	p := newPeer(t)
	base := layered(t, types.DockerLayer, []string{"one", "two"}, "linux/amd64", "linux/arm64")
	img := must(base.Image(must(base.IndexManifest()).Manifests[1].Digest))
	// Larger than what is kept of an answer before it is handed on.
	large := make([]byte, 6<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	img, err := mutate.AppendLayers(img, tarLayer(t, types.DockerLayer, &tar.Header{Typeflag: tar.TypeReg, Name: "large", Mode: 0o644, Linkname: string(large)}))
	require.NoError(t, err)
	blob := must(must(img.Layers())[2].Digest()).String()
	base = mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}})
	r, err := oci.NewRepository(p.address("base"), fast)
	require.NoError(t, err)
	_, err = oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("0.1.0")), Index: base}, r)
	require.NoError(t, err)
	rel := newRelease(t, "1.2.3", both[0])
	rel.manifest.Image.Base = p.address("base") + ":latest"
	for broken, fails := range map[int]bool{1: false, 4: false, 5: true} {
		image := assembled(t, rel.load(), oci.AssembleOptions{Bases: oci.RegistryBases(fast)})
		met := 0
		p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, blob) || met == broken {
				return false
			}
			met++
			rec := httptest.NewRecorder()
			p.inner.ServeHTTP(rec, r)
			w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
			_, _ = w.Write(rec.Body.Bytes()[:5<<20])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		dir := t.TempDir()
		err := oci.WriteLayout(dir, image.Index, "1.2.3")
		p.set(nil)
		assert.Equal(t, broken, met)
		assert.Equal(t, fails, err != nil, "%d times: %v", broken, err)
		if !fails {
			index, err := oci.ReadLayout(dir)
			require.NoError(t, err)
			assert.Equal(t, image.Digest, must(index.Digest()))
		}
	}
}

// A layer that may not be copied would be missing where the image is pulled from.
func TestBaseWithForeignLayers(t *testing.T) {
	for _, mediaType := range []types.MediaType{types.DockerForeignLayer, types.OCIRestrictedLayer} {
		base := layered(t, mediaType, []string{"one"}, "linux/amd64", "linux/arm64")
		_, err := oci.Assemble(t.Context(), newRelease(t, "1.2.3", both...).load(), oci.AssembleOptions{Bases: ocitest.Bases{imagespec.StaticBase: base}, Dir: t.TempDir()})
		require.ErrorIs(t, err, imagespec.ErrBase)
		assert.ErrorContains(t, err, "must not be copied to another registry: set base to an image without such layers")
	}
}

// The variant of a platform decides, whatever the order.
func TestBaseOfAVariant(t *testing.T) {
	for _, c := range []struct {
		platforms  []string
		asked, has string // empty when there is none
	}{
		{[]string{"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v7", "linux/arm/v7"},
		{[]string{"linux/arm/v7", "linux/arm/v6"}, "linux/arm/v7", "linux/arm/v7"},
		{[]string{"linux/arm/v7", "linux/arm/v6"}, "linux/arm/v6", "linux/arm/v6"},
		{[]string{"linux/arm/v6"}, "linux/arm/v7", ""},
		{[]string{"linux/arm64", "linux/arm64/v8"}, "linux/arm64/v8", "linux/arm64/v8"},
		{[]string{"linux/arm64/v8", "linux/arm64"}, "linux/arm64", "linux/arm64"},
		{[]string{"linux/arm64/v8"}, "linux/arm64", "linux/arm64/v8"},
		{[]string{"linux/arm64/v9"}, "linux/arm64", ""},
		{[]string{"windows/amd64"}, "linux/amd64", ""},
	} {
		index := layered(t, types.OCILayer, []string{"one"}, c.platforms...)
		base, err := ocitest.Bases{imagespec.StaticBase: index}.Base(t.Context(), imagespec.StaticBase, c.asked)
		if c.has == "" {
			require.ErrorIs(t, err, imagespec.ErrBase, "%s of %s", c.asked, c.platforms)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.has, must(base.Image.ConfigFile()).Platform().String(), "%s of %s", c.asked, c.platforms)
	}
}

// either has a base image at the first of indexes, and by digest the others.
type either []ocitest.Bases

func (e either) Base(ctx context.Context, ref, platform string) (found oci.Base, err error) {
	for _, b := range e {
		if found, err = b.Base(ctx, ref, platform); err == nil {
			return found, nil
		}
	}
	return found, err
}

// A pin counts for the base image that it is of, by name, and for no reference
// that says itself which image it means.
func TestPinsOfOtherBases(t *testing.T) {
	all := bases(t)
	static, glibc := must(all.Base(t.Context(), imagespec.StaticBase, "linux/amd64")), must(all.Base(t.Context(), imagespec.GlibcBase, "linux/amd64"))
	newer := baseIndex(t, "newer", types.OCIManifestSchema1, "linux/amd64")
	moved := either{ocitest.Bases{imagespec.StaticBase: newer}, all}
	now := must(moved.Base(t.Context(), imagespec.StaticBase, "linux/amd64"))
	require.NotEqual(t, static.Digest, now.Digest)
	pin := func(name string, digest v1.Hash) oci.Pins {
		return oci.Pins{"linux/amd64": {Name: name, Digest: digest.String()}}
	}
	for _, c := range []struct {
		name string
		pins oci.Pins
		ref  string
		want v1.Hash
	}{
		{"its own", pin(imagespec.StaticBase, static.Digest), imagespec.StaticBase, static.Digest},
		{"of another base", pin(imagespec.GlibcBase, glibc.Digest), imagespec.StaticBase, now.Digest},
		{"of another variant", pin(strings.Replace(imagespec.StaticBase, "nonroot", "debug", 1), static.Digest), imagespec.StaticBase, now.Digest},
		{"of another platform", oci.Pins{"linux/arm64": {Name: imagespec.StaticBase, Digest: static.Digest.String()}}, imagespec.StaticBase, now.Digest},
		{"a reference with a digest", pin(imagespec.StaticBase, static.Digest), imagespec.StaticBase + "@" + now.Digest.String(), now.Digest},
	} {
		base, err := c.pins.With(moved).Base(t.Context(), c.ref, "linux/amd64")
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, base.Digest, c.name)
	}
}

// What can't be read is not absent: nothing is written.
func TestFloatingTagThatCannotBeRead(t *testing.T) {
	for _, tag := range []string{"1", "latest"} {
		for _, code := range []int{401, 403, 404, 429, 500} {
			t.Run(fmt.Sprint(tag, " ", code), func(t *testing.T) {
				p := newPeer(t)
				require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.0"))
				before, writes := p.tags(t), 0
				p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
					if r.Method != http.MethodGet && r.Method != http.MethodHead {
						writes++
					}
					return strings.HasSuffix(r.URL.Path, "/"+tag) && answer("/manifests/", code, "<html>")(n, w, r)
				})
				require.ErrorContains(t, publishTiny(t, p.repository(t, fast), "1.1.0"), fmt.Sprintf("read %s of ", tag))
				assert.Zero(t, writes)
				assert.Equal(t, before, p.tags(t))
			})
		}
	}
}

// A registry that accepts what it doesn't keep is found out.
func TestWhatWasWrittenIsReadBack(t *testing.T) {
	image := newRelease(t, "1.2.3", both...).assemble()
	for name, path := range map[string]string{
		"the index":      image.Digest.String(),
		"an image":       image.Platforms[1].Digest.String(),
		"the exact tag":  "1.2.3",
		"a floating tag": "1.2",
		"the last one":   "latest",
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			forget := func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if !puts(path)(r) {
					return false
				}
				w.WriteHeader(http.StatusCreated)
				return true
			}
			// The registry of the tests refuses an index without its images.
			if name == "an image" {
				p.after = func(r *http.Request) {
					if puts(image.Digest.String())(r) {
						p.mu.Lock()
						p.after = nil
						p.mu.Unlock()
						assert.NoError(t, drop(p, path))
					}
				}
			} else {
				p.set(forget)
			}
			_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
			require.ErrorContains(t, err, "the registry accepted it but does not serve it: run it again")
			p.set(nil)
			_, err = oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
			require.NoError(t, err)
			assert.Len(t, p.tags(t), 4)
		})
	}
}

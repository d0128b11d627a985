package oci_test

import (
	"archive/tar"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
)

// remake makes an index like the image's, with changed images.
func remake(t testing.TB, image *oci.Image, change func(platform string, img v1.Image) v1.Image) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range image.Platforms {
		img := change(p.Platform, p.Image)
		if img == nil {
			continue
		}
		platform, err := v1.ParsePlatform(p.Platform)
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: platform}})
	}
	return mutate.Annotations(index, must(image.Index.IndexManifest()).Annotations).(v1.ImageIndex)
}

// with adds a layer to the arm64 image alone.
func with(t testing.TB, headers ...*tar.Header) func(string, v1.Image) v1.Image {
	return func(platform string, img v1.Image) v1.Image {
		if platform != "linux/arm64" {
			return img
		}
		img, err := mutate.AppendLayers(img, tarLayer(t, types.OCILayer, headers...))
		require.NoError(t, err)
		return img
	}
}

func TestVerifyImage(t *testing.T) {
	rel := newRelease(t, "1.2.3", both...)
	binary := rel.binary(both[0], "server", 4<<10).content
	image := rel.assemble()
	config := func(change func(*v1.ConfigFile)) func(string, v1.Image) v1.Image {
		return func(platform string, img v1.Image) v1.Image {
			c := must(img.ConfigFile()).DeepCopy()
			change(c)
			return must(mutate.ConfigFile(img, c))
		}
	}
	flipped := []byte(string(binary))
	flipped[2000] ^= 1
	file := func(name string, content []byte) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Linkname: string(content)}
	}
	const path = "usr/local/bin/server"
	cases := []struct {
		name   string
		change func(string, v1.Image) v1.Image
		want   string // empty when only the digest differs
	}{
		{"a harmless layer", with(t, file("etc/motd", []byte("x"))), ""},
		{"the same binary again", with(t, file(path, binary)), ""},
		{"a flipped byte", with(t, file(path, flipped)), "has SHA-256"},
		{"a second entry", with(t, file(path, binary), file("./"+path, flipped)), "has SHA-256"},
		{"a link", with(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: "/bin/evil"}), "not a regular file"},
		{"a link for its folder", with(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/local/bin", Linkname: "/opt"}), "not a directory"},
		{"deleted", with(t, file("usr/local/bin/.wh.server", nil)), "deletes it"},
		{"its folder deleted", with(t, file("usr/.wh.local", nil)), "deletes it"},
		{"hidden", with(t, file("usr/local/.wh..wh..opq", nil)), "hides it"},
		{"deleted and put back", with(t, file("usr/local/bin/.wh.server", nil), file(path, binary)), ""},
		{"not executable", with(t, &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Linkname: string(binary)}), "its mode is"},
		{"no binary", func(_ string, img v1.Image) v1.Image {
			c := must(img.ConfigFile()).DeepCopy()
			c.RootFS.DiffIDs, c.History = nil, nil
			return mutate.Annotations(must(mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), c)), must(img.Manifest()).Annotations).(v1.Image)
		}, "is missing"},
		{"a platform less", func(p string, img v1.Image) v1.Image {
			if p == "linux/amd64" {
				return nil
			}
			return img
		}, "linux/amd64: the index lacks the platform"},
		{"another entrypoint", config(func(c *v1.ConfigFile) { c.Config.Entrypoint = []string{"/bin/sh"} }), "the entrypoint is"},
		{"root", config(func(c *v1.ConfigFile) { c.Config.User = "0" }), "the user is"},
		{"another command", config(func(c *v1.ConfigFile) { c.Config.Cmd = []string{"x"} }), "the command is"},
		{"another revision", config(func(c *v1.ConfigFile) { c.Config.Labels["org.opencontainers.image.revision"] = "x" }), "revision"},
		{"another architecture", config(func(c *v1.ConfigFile) { c.Architecture = "s390x" }), "linux/s390x"},
		{"another system", config(func(c *v1.ConfigFile) { c.OS = "freebsd" }), "the configuration is for freebsd/"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			index := remake(t, image, c.change)
			_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, p.repository(t, fast))
			require.NoError(t, err)
			verified, err := oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Digest: image.Digest})
			require.NoError(t, err)
			require.NotEmpty(t, verified.Findings)
			assert.Contains(t, verified.Findings[0].Message, "the one assembled from the release")
			// Without the assembled digest, what the registry holds has to do.
			verified, err = oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{})
			require.NoError(t, err)
			if c.want == "" {
				assert.Empty(t, verified.Findings)
				return
			}
			assert.Contains(t, fmt.Sprint(verified.Findings), c.want)
		})
	}
	t.Run("another platform", func(t *testing.T) {
		p := newPeer(t)
		only := newRelease(t, "1.2.3", both...)
		only.manifest.Image.Platforms = []string{"linux/arm64"}
		_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
		require.NoError(t, err)
		verified, err := oci.VerifyImage(t.Context(), only.manifest, p.repository(t, fast), oci.VerifyOptions{})
		require.NoError(t, err)
		assert.Equal(t, `[platform "linux/amd64" is not the release's]`, fmt.Sprint(verified.Findings))
	})
	t.Run("no image", func(t *testing.T) {
		verified, err := oci.VerifyImage(t.Context(), rel.manifest, newPeer(t).repository(t, fast), oci.VerifyOptions{})
		require.NoError(t, err)
		assert.Contains(t, fmt.Sprint(verified.Findings), "does not exist")
	})
}

// What a registry returns that isn't what its digest says is a finding; what it
// doesn't return is not.
func TestVerifyImageOfADamagedRegistry(t *testing.T) {
	rel := newRelease(t, "1.2.3", both...)
	image := rel.assemble()
	layers := must(image.Platforms[0].Image.Layers())
	blob := must(layers[len(layers)-1].Digest()).String()
	content := func(change func([]byte) []byte) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, blob) {
				return false
			}
			var text []byte
			if rc, err := layers[len(layers)-1].Compressed(); err == nil {
				text = make([]byte, must(layers[len(layers)-1].Size()))
				_, _ = rc.Read(text)
				_ = rc.Close()
			}
			_, _ = w.Write(change(text))
			return true
		}
	}
	for name, c := range map[string]struct {
		spoil   func(int, http.ResponseWriter, *http.Request) bool
		finding bool
	}{
		"a flipped byte": {content(func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), true},
		"cut off":        {content(func(b []byte) []byte { return b[:len(b)/2] }), true},
		"a page":         {answer(blob, 200, "<html>"), true},
		"gone":           {answer(blob, 404, `{"errors":[{"code":"BLOB_UNKNOWN"}]}`), true},
		"denied":         {answer(blob, 403, ""), false},
		"down":           {answer(blob, 500, ""), false},
		"interrupted": {func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, blob) {
				w.Header().Set("Content-Length", fmt.Sprint(must(layers[len(layers)-1].Size())))
				_, _ = w.Write([]byte("\x1f\x8b"))
				hangUp(w)
			}
			return false
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
			require.NoError(t, err)
			p.set(c.spoil)
			verified, err := oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Digest: image.Digest})
			if !c.finding {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Len(t, verified.Findings, 1)
			assert.Contains(t, verified.Findings[0].String(), "linux/amd64: it is damaged")
		})
	}
}

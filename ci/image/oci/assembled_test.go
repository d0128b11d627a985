package oci_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// chatty is a base image whose configuration has everything.
func chatty(t testing.TB) v1.ImageIndex {
	index := baseIndex(t, "chatty", types.DockerManifestSchema2, "linux/amd64", "linux/arm64")
	return mutate.AppendManifests(mutate.IndexMediaType(mutate.RemoveManifests(index, func(v1.Descriptor) bool { return true }), types.OCIImageIndex), func() []mutate.IndexAddendum {
		var all []mutate.IndexAddendum
		for _, d := range must(index.IndexManifest()).Manifests {
			img := must(index.Image(d.Digest))
			c := must(img.ConfigFile()).DeepCopy()
			c.Author, c.Container = "base", "base"
			c.Config.Hostname, c.Config.Domainname, c.Config.Image, c.Config.MacAddress, c.Config.ArgsEscaped = "base", "base", "base", "base", true
			c.Config.OnBuild, c.Config.Healthcheck = []string{"base"}, &v1.HealthConfig{Test: []string{"base"}, Interval: time.Second}
			c.Config.Volumes, c.Config.ExposedPorts = map[string]struct{}{"/base": {}}, map[string]struct{}{"1/tcp": {}}
			c.Config.StopSignal, c.Config.Shell = "SIGINT", []string{"base"}
			all = append(all, mutate.IndexAddendum{Add: must(mutate.ConfigFile(img, c)), Descriptor: v1.Descriptor{Platform: d.Platform}})
		}
		return all
	}()...)
}

// What images are made of, to the last field and file: published images never
// change, so that this doesn't either.
func TestAssembledImages(t *testing.T) {
	type made struct {
		name  string
		edit  func(*release)
		bases ocitest.Bases
	}
	var text strings.Builder
	for _, c := range []made{
		{"nothing said", func(*release) {}, bases(t)},
		{"no image settings", func(r *release) { r.manifest.Image = nil }, bases(t)},
		{"from scratch", func(r *release) { r.manifest.Image.Base = imagespec.Scratch }, nil},
		{"two base images", func(r *release) {
			r.manifest.Assets = nil
			r.add("aarch64-unknown-linux-musl", r.binary("aarch64-unknown-linux-musl", "server", 100))
			r.add("x86_64-unknown-linux-gnu", r.binary("x86_64-unknown-linux-gnu", "server", 100))
			r.add("armv7-unknown-linux-musleabihf", r.binary("armv7-unknown-linux-musleabihf", "server", 100))
		}, bases(t)},
		{"everything said", func(r *release) {
			r.manifest.Image = &manifest.Image{
				Base: "chatty", Cmd: []string{"--config"}, User: "1:1", Workdir: "/work", Expose: []string{"8080", "53/udp"},
				Env: map[string]string{"RUST_LOG": "info", "PATH": "/opt"}, Labels: map[string]string{"org.example": "x", "org.opencontainers.image.title": "Server"},
				Include: map[string]string{"config": "/etc/server/", "config/server.toml": "/root/", "LICENSE": "/home/nonroot/doc/LICENSE"},
			}
		}, ocitest.Bases{"chatty": chatty(t)}},
	} {
		r := newRelease(t, "1.2.3", both...)
		c.edit(r)
		dir := t.TempDir()
		image, err := oci.Assemble(t.Context(), r.load(), oci.AssembleOptions{Bases: c.bases, Dir: dir})
		require.NoError(t, err, c.name)
		head := fmt.Sprintf("%s\n%s\n", image.Digest, indented(t, must(image.Index.RawManifest())))
		if strings.Contains(text.String(), head) {
			fmt.Fprintf(&text, "== %s: %s again\n", c.name, image.Digest)
			continue
		}
		fmt.Fprintf(&text, "== %s: %s", c.name, head)
		for _, p := range image.Platforms {
			assert.Equal(t, must(p.Image.Digest()), p.Digest)
			layers := must(p.Image.Layers())
			fmt.Fprintf(&text, "-- %s on %+v\n%s\n%s\n%s", p.Platform, p.Pinned, indented(t, must(p.Image.RawManifest())), indented(t, must(p.Image.RawConfigFile())), listing(t, layers[len(layers)-1]))
		}
		require.NoError(t, image.Close())
		assertEmpty(t, dir)
	}
	golden(t, "images.txt", text.String())
}

func indented(t testing.TB, text []byte) string {
	var out bytes.Buffer
	require.NoError(t, json.Indent(&out, text, "", "  "))
	return out.String()
}

// listing is what a layer has, in its order.
func listing(t testing.TB, l v1.Layer) string {
	r := must(l.Uncompressed())
	defer r.Close()
	var text strings.Builder
	for reader := tar.NewReader(r); ; {
		h, err := reader.Next()
		if err == io.EOF {
			return text.String()
		}
		require.NoError(t, err)
		fmt.Fprintf(&text, "%c %04o %d:%d %s %6d %s %s\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.ModTime.UTC().Format(time.RFC3339), h.Size, h.Name, h.Linkname)
	}
}

// A layer whose bytes are had one way has the digests that it says it has.
func TestLayerOfBinaries(t *testing.T) {
	image := newRelease(t, "1.2.3", both...).assemble()
	layers := must(image.Platforms[0].Image.Layers())
	l := layers[len(layers)-1]
	assert.Equal(t, types.OCILayer, must(l.MediaType()))
	compressed := must(io.ReadAll(must(l.Compressed())))
	plain := must(io.ReadAll(must(l.Uncompressed())))
	assert.Equal(t, must(l.Digest()).Hex, digestOf(compressed))
	assert.Equal(t, must(l.DiffID()).Hex, digestOf(plain))
	assert.EqualValues(t, len(compressed), must(l.Size()))
}

// Where images can't be made, nothing is.
func TestAssembleNowhere(t *testing.T) {
	_, err := oci.Assemble(t.Context(), newRelease(t, "1.2.3", both...).load(), oci.AssembleOptions{Bases: bases(t), Dir: filepath.Join(t.TempDir(), "none")})
	require.ErrorContains(t, err, "no such file or directory")
}

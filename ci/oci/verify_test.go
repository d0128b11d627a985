package oci_test

import (
	"archive/tar"
	"context"
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

	"dagger/gantry/ci/oci"
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
		{"a flipped byte", with(t, file(path, flipped)), "has the SHA-256"},
		{"a second entry", with(t, file(path, binary), file("./"+path, flipped)), "has the SHA-256"},
		{"a link", with(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: path, Linkname: "/bin/evil"}), "no regular file"},
		{"a link for its folder", with(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "usr/local/bin", Linkname: "/opt"}), "no directory"},
		{"deleted", with(t, file("usr/local/bin/.wh.server", nil)), "deletes it"},
		{"its folder deleted", with(t, file("usr/.wh.local", nil)), "deletes it"},
		{"hidden", with(t, file("usr/local/.wh..wh..opq", nil)), "hides it"},
		{"deleted and put back", with(t, file("usr/local/bin/.wh.server", nil), file(path, binary)), ""},
		{"not executable", with(t, &tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Linkname: string(binary)}), "its mode is"},
		{"no binary", func(_ string, img v1.Image) v1.Image {
			c := must(img.ConfigFile()).DeepCopy()
			c.RootFS.DiffIDs, c.History = nil, nil
			return mutate.Annotations(must(mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), c)), must(img.Manifest()).Annotations).(v1.Image)
		}, "is not there"},
		{"a platform less", func(p string, img v1.Image) v1.Image {
			if p == "linux/amd64" {
				return nil
			}
			return img
		}, "linux/amd64: the index doesn't have the platform"},
		{"another entrypoint", config(func(c *v1.ConfigFile) { c.Config.Entrypoint = []string{"/bin/sh"} }), "the entrypoint is"},
		{"root", config(func(c *v1.ConfigFile) { c.Config.User = "0" }), "the user is"},
		{"another command", config(func(c *v1.ConfigFile) { c.Config.Cmd = []string{"x"} }), "the command is"},
		{"another revision", config(func(c *v1.ConfigFile) { c.Config.Labels["org.opencontainers.image.revision"] = "x" }), "revision"},
		{"another architecture", config(func(c *v1.ConfigFile) { c.Architecture = "s390x" }), "linux/s390x"},
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
		_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
		require.NoError(t, err)
		verified, err := oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{ChooseOptions: oci.ChooseOptions{Platforms: []string{"linux/arm64"}}})
		require.NoError(t, err)
		assert.Equal(t, `[platform "linux/amd64" is not the release's]`, fmt.Sprint(verified.Findings))
	})
	t.Run("no image", func(t *testing.T) {
		verified, err := oci.VerifyImage(t.Context(), rel.manifest, newPeer(t).repository(t, fast), oci.VerifyOptions{})
		require.NoError(t, err)
		assert.Contains(t, fmt.Sprint(verified.Findings), "is not there")
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

// One registry that can't be read does not hide what another lacks.
func TestWanting(t *testing.T) {
	good, empty, foreign, down := newPeer(t), newPeer(t), newPeer(t), newPeer(t)
	var all []*oci.Repository
	for _, p := range []*peer{good, empty, foreign, down} {
		all = append(all, p.repository(t, fast))
	}
	require.NoError(t, publishTiny(t, all[0], "1.0.0"))
	require.NoError(t, put(foreign, "1.0.0", "foreign"))
	down.Close()
	v := versions("1.0.0", "0.9.0")
	got := oci.Wanting(t.Context(), v[0], v[1:], all...)
	require.Len(t, got, 3)
	assert.Contains(t, got[0], "the tag is not there")
	assert.Contains(t, got[1], "does not say that it is of this version")
	assert.Contains(t, got[2], "it can't be read")
}

func TestSplitReference(t *testing.T) {
	for ref, want := range map[string][2]string{
		"ghcr.io/a/b":                {"ghcr.io/a/b", ""},
		"ghcr.io/a/b:1.0":            {"ghcr.io/a/b", "1.0"},
		"localhost:5000/a":           {"localhost:5000/a", ""},
		"localhost:5000/a:rc":        {"localhost:5000/a", "rc"},
		"a/b@sha256:00":              {"a/b", "sha256:00"},
		"localhost:5000/a@sha256:00": {"localhost:5000/a", "sha256:00"},
	} {
		address, reference := oci.SplitReference(ref)
		assert.Equal(t, want, [2]string{address, reference}, ref)
	}
}

func TestReconcileOld(t *testing.T) {
	digest := func(v string) string { return must(tiny(t, v).Digest()).String() }
	expect := func(all ...string) []oci.Expected {
		var out []oci.Expected
		for _, v := range versions(all...) {
			out = append(out, oci.Expected{Version: v, Digest: digest(v.String())})
		}
		return out
	}
	all := []string{"1.0.0", "1.1.0-rc.1", "1.1.0", "2.0.0", "1.1.1"}
	spoil := map[string]func(*peer) error{
		"nothing":             func(*peer) error { return nil },
		"an exact tag":        func(p *peer) error { return drop(p, "1.1.0") },
		"the highest":         func(p *peer) error { return drop(p, "2.0.0") },
		"a floating tag":      func(p *peer) error { return drop(p, "latest") },
		"a channel":           func(p *peer) error { return drop(p, "rc") },
		"an image":            func(p *peer) error { return drop(p, imageOf(t, "1.1.1")) },
		"a floating tag's":    func(p *peer) error { return put(p, "1", "foreign") },
		"several":             func(p *peer) error { return firstError(drop(p, "1.0.0"), drop(p, "1.1"), drop(p, "2")) },
		"everything but tags": func(p *peer) error { return drop(p, digest("1.0.0")) },
	}
	for name, lose := range spoil {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			r := p.repository(t, fast)
			for i, v := range all {
				require.NoError(t, publishTiny(t, r, v, all[:i]...))
			}
			want := p.tags(t)
			require.NoError(t, lose(p))
			reconcileAll(t, r, expect(all...), all)
			assert.Equal(t, want, p.tags(t))
		})
	}
	t.Run("lost events", func(t *testing.T) {
		for lost := range 1 << len(all) {
			p := newPeer(t)
			r := p.repository(t, fast)
			for i, v := range all {
				if lost>>i&1 == 0 {
					require.NoError(t, publishTiny(t, r, v, all[:i+1]...))
				}
			}
			reconcileAll(t, r, expect(all...), all)
			tags := p.tags(t)
			for tag, v := range map[string]string{"latest": "2.0.0", "2": "2.0.0", "2.0": "2.0.0", "1": "1.1.1", "1.1": "1.1.1", "1.0": "1.0.0", "rc": "1.1.0-rc.1"} {
				require.Equal(t, digest(v), tags[tag], "tag %s, lost %b", tag, lost)
			}
		}
	})
	t.Run("a conflict", func(t *testing.T) {
		p := newPeer(t)
		r := p.repository(t, fast)
		require.NoError(t, put(p, "1.0.0", "foreign"))
		decisions := oci.Reconcile(expect("1.0.0"), must(r.State(t.Context(), versions("1.0.0"))))
		assert.Equal(t, oci.VerdictConflict, decisions[0].Verdict)
		verified, err := oci.VerifyImage(t.Context(), newRelease(t, "1.0.0", both...).load().Manifest, r, oci.VerifyOptions{})
		require.NoError(t, err)
		assert.Contains(t, fmt.Sprint(verified.Findings), "no index of platforms")
	})
}

func firstError(all ...error) error {
	for _, err := range all {
		if err != nil {
			return err
		}
	}
	return nil
}

func imageOf(t testing.TB, v string) string {
	return must(tiny(t, v).IndexManifest()).Manifests[0].Digest.String()
}

// reconcileAll does what is decided, and makes sure that nothing is left to do.
func reconcileAll(t testing.TB, r *oci.Repository, releases []oci.Expected, known []string) {
	for round := 0; ; round++ {
		require.Less(t, round, 2)
		state, err := r.State(context.Background(), versions(known...))
		require.NoError(t, err)
		todo := 0
		for _, d := range oci.Reconcile(releases, state) {
			if d.Verdict == oci.VerdictPublish {
				todo++
				require.NoError(t, publishTiny(t, r, d.Version, known...))
			} else {
				require.Equal(t, oci.VerdictOK, d.Verdict, d)
			}
		}
		if todo == 0 {
			return
		}
	}
}

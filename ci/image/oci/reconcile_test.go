package oci_test

import (
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

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// candidates are releases, each of which knows all of them.
func candidates(r *oci.Repository, all ...string) []oci.Candidate {
	var out []oci.Candidate
	for _, v := range all {
		out = append(out, oci.Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: v}, Known: versions(all...)}, Repositories: []*oci.Repository{r}})
	}
	return out
}

func TestReconcile(t *testing.T) {
	digest := func(v string) string { return must(tiny(t, v).Digest()).String() }
	all := []string{"1.0.0", "1.1.0-rc.1", "1.1.0", "2.0.0", "1.1.1"}
	for name, c := range map[string]struct {
		lose func(*peer) error
		says map[string]string // by version
	}{
		"nothing":          {func(*peer) error { return nil }, nil},
		"an exact tag":     {func(p *peer) error { return drop(p, "1.1.0") }, map[string]string{"1.1.0": "the tag 1.1.0 is missing"}},
		"the highest":      {func(p *peer) error { return drop(p, "2.0.0") }, map[string]string{"2.0.0": "the tag 2.0.0 is missing"}},
		"a floating tag":   {func(p *peer) error { return drop(p, "latest") }, map[string]string{"2.0.0": "it should have the tags latest"}},
		"a channel":        {func(p *peer) error { return drop(p, "rc") }, map[string]string{"1.1.0-rc.1": "it should have the tags rc"}},
		"an image":         {func(p *peer) error { return drop(p, imageOf(t, "1.1.1")) }, map[string]string{"1.1.1": "the image " + imageOf(t, "1.1.1") + " is missing"}},
		"a floating tag's": {func(p *peer) error { return put(p, "1", "foreign") }, map[string]string{"1.1.1": "it should have the tags 1"}},
		"several": {func(p *peer) error { return firstError(drop(p, "1.0.0"), drop(p, "1.1"), drop(p, "2")) },
			map[string]string{"1.0.0": "the tag 1.0.0", "1.1.1": "the tags 1.1", "2.0.0": "the tags 2"}},
		"an exact tag's": {func(p *peer) error { return put(p, "1.0.0", "foreign") }, map[string]string{"1.0.0": "is not of version 1.0.0"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			r := p.repository(t, fast)
			for i, v := range all {
				require.NoError(t, publishTiny(t, r, v, all[:i]...))
			}
			want := p.tags(t)
			require.NoError(t, c.lose(p))
			survey := oci.MissingFrom(t.Context(), candidates(p.repository(t, fast), all...)...)
			for i, v := range all {
				assert.Equal(t, c.says[v] != "", len(survey[i]) > 0, "%s: %v", v, survey[i])
				assert.Contains(t, fmt.Sprint(survey[i]), c.says[v])
			}
			if name == "an exact tag's" {
				require.ErrorAs(t, publishTiny(t, r, "1.0.0", all...), new(*oci.ConflictError))
				return
			}
			reconcileAll(t, p, all...)
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
			reconcileAll(t, p, all...)
			tags := p.tags(t)
			for tag, v := range map[string]string{"latest": "2.0.0", "2": "2.0.0", "2.0": "2.0.0", "1": "1.1.1", "1.1": "1.1.1", "1.0": "1.0.0", "rc": "1.1.0-rc.1"} {
				require.Equal(t, digest(v), tags[tag], "tag %s, lost %b", tag, lost)
			}
		}
	})
}

// reconcileAll publishes what is missing, and makes sure that nothing is missing
// then.
func reconcileAll(t testing.TB, p *peer, all ...string) {
	for round := range 2 {
		r := p.repository(t, fast)
		for i, missing := range oci.MissingFrom(context.Background(), candidates(r, all...)...) {
			if len(missing) > 0 {
				require.Zero(t, round, "%s after all was published: %v", all[i], missing)
				require.NoError(t, publishTiny(t, r, all[i], all...))
			}
		}
	}
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

// One registry that can't be read does not hide what another lacks, and what is
// known of several candidates is read once.
func TestMissingFromSeveralRepositories(t *testing.T) {
	good, empty, foreign, down := newPeer(t), newPeer(t), newPeer(t), newPeer(t)
	var all []*oci.Repository
	for _, p := range []*peer{good, empty, foreign, down} {
		all = append(all, p.repository(t, fast))
	}
	require.NoError(t, publishTiny(t, all[0], "1.0.0"))
	require.NoError(t, put(foreign, "1.0.0", "foreign"))
	down.Close()
	survey := oci.MissingFrom(t.Context(),
		oci.Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.0.0"}, Known: versions("0.9.0")}, Repositories: all},
		oci.Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "0.9.0"}, Known: versions("1.0.0")}, Repositories: all[:1]},
	)
	got := survey[0]
	require.Len(t, got, 3)
	assert.Contains(t, got[0].String(), empty.address("acme/server")+": the tag 1.0.0 is missing")
	assert.Contains(t, got[1].String(), "is not of version 1.0.0")
	assert.Contains(t, got[2].String(), "it can't be read")
	require.Len(t, survey[1], 1)
	assert.Contains(t, survey[1][0].String(), good.address("acme/server")+": the tag 0.9.0 is missing")
}

// double is an index of two platforms, of a version.
func double(t testing.TB, number string) v1.ImageIndex {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
			OS: "linux", Architecture: arch, RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Env: []string{"VERSION=" + number}},
		})
		require.NoError(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	return mutate.Annotations(index, map[string]string{"org.opencontainers.image.version": number}).(v1.ImageIndex)
}

// Reconcile of the last ten releases of a repository with forty versions of two
// platforms, half of which other tools made: what is missing is found with few
// requests, and published; nothing is missing then.
func TestReconcileReadsLittle(t *testing.T) {
	p := newPeer(t)
	r := p.repository(t, fast)
	publish := func(r *oci.Repository, v string, known []string) oci.Stats {
		report, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf(v)), Index: double(t, v), Known: versions(known...)}, r)
		require.NoError(t, err)
		return report.Repositories[0].Stats
	}
	var ours, all []string
	for i := range 40 {
		v := fmt.Sprintf("1.%d.%d", i/4, i%4)
		all = append(all, v)
		if i%2 == 0 {
			require.NoError(t, put(p, v, "made by another tool"))
			continue
		}
		ours = append(ours, v)
		publish(r, v, all)
	}
	want := p.tags(t)
	last := ours[len(ours)-10:]
	require.NoError(t, drop(p, last[3]))
	require.NoError(t, drop(p, "latest"))

	gets, lists := 0, 0
	p.set(func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			gets++
		}
		if strings.HasSuffix(r.URL.Path, "/tags/list") {
			lists++
		}
		return false
	})
	fresh := p.repository(t, fast)
	survey := oci.MissingFrom(t.Context(), candidates(fresh, last...)...)
	read, pulls := fresh.Stats().Requests, gets
	assert.LessOrEqual(t, int64(p.count()), read, "some are answered by nobody, such as a try with TLS")
	assert.Equal(t, 1, lists, "the tags are listed once")
	assert.LessOrEqual(t, pulls, len(last), "an index of each candidate, and nothing else")
	assert.LessOrEqual(t, read, int64(45))
	total := read
	for i, missing := range survey {
		if i == 3 || i == 9 {
			require.Len(t, missing, 1, last[i])
			spent := publish(fresh, last[i], all)
			t.Logf("%s: published with %d requests: %v", last[i], spent.Requests, missing)
			total += spent.Requests
			continue
		}
		assert.Empty(t, missing, last[i])
	}
	t.Logf("reconcile of %d candidates: %d requests, %d of which read a manifest; %d with what was published", len(last), read, pulls, total)
	assert.LessOrEqual(t, total, int64(60))
	p.set(nil)
	assert.Equal(t, want, p.tags(t))
	for i, missing := range oci.MissingFrom(t.Context(), candidates(p.repository(t, fast), last...)...) {
		assert.Empty(t, missing, last[i])
	}
}

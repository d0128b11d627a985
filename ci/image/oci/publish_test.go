package oci_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
)

func isNotFound(err error) bool { return errors.Is(err, oci.ErrNotFound) }

func versionOf(s string) (*semver.Version, error) { return version.Parse(s) }

func versions(all ...string) []*semver.Version { return version.TagOptions{}.Versions(all) }

func publication(image *oci.Image, number string, known ...string) oci.Publication {
	return oci.Publication{Version: must(versionOf(number)), Index: image.Index, Known: versions(known...)}
}

func TestPublish(t *testing.T) {
	p := newPeer(t)
	image := newRelease(t, "1.2.3", both...).assemble()
	digest := image.Digest.String()
	tested := 0
	job := publication(image, "1.2.3")
	job.Smoke = func(ctx context.Context) error {
		tested++
		assert.Empty(t, p.tags(t), "nothing has a tag before it is tested")
		_, err := p.repository(t, fast).Index(ctx, digest)
		return err
	}

	// A dry run has the same plan, and changes nothing.
	job.DryRun = true
	dry, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Empty(t, p.tags(t))
	assert.Zero(t, dry.Repositories[0].BytesPushed)
	assert.Contains(t, dry.Text(), "would tag 1.2.3")

	job.DryRun = false
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Equal(t, dry.Repositories[0].Planned, report.Repositories[0].Planned)
	assert.Equal(t, report.Repositories[0].Planned, report.Repositories[0].Done)
	assert.Equal(t, map[string]string{"1.2.3": digest, "1.2": digest, "1": digest, "latest": digest}, p.tags(t))
	assert.Equal(t, 1, tested)
	actions := ""
	for _, s := range report.Repositories[0].Done {
		actions += string(s.Action) + " " + strings.Replace(s.Ref, digest, "digest", 1) + "; "
	}
	assert.Equal(t, "push digest; smoke-test ; tag 1.2.3; move 1.2; move 1; move latest; ", actions)
	assert.Positive(t, report.Repositories[0].BytesPushed)

	// Nothing to do: nothing is sent, and nothing tested.
	again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Zero(t, again.Repositories[0].BytesPushed)
	assert.Empty(t, again.Repositories[0].Done)
	assert.Equal(t, 1, tested)
	assert.Contains(t, again.Text(), fmt.Sprintf("%d requests", again.Repositories[0].Requests))

	verified, err := oci.VerifyImage(t.Context(), newRelease(t, "1.2.3", both...).load().Manifest, p.repository(t, fast), oci.VerifyOptions{Digest: image.Digest})
	require.NoError(t, err)
	assert.Empty(t, verified.Findings)
}

// What one publication asks a registry for is little, and counted: blobs are sent
// with four requests each, tags are listed twice, and a manifest is read only to
// know what a floating tag names, or that something is certainly not there.
func TestPublishAsksForLittle(t *testing.T) {
	p := newPeer(t)
	known := []string{"1.0.0", "1.1.0", "1.1.1"}
	for i, c := range []struct {
		number                  string
		requests, gets, listing int
	}{
		{"1.0.0", 53, 5, 2}, {"1.1.0", 50, 4, 2}, {"1.1.1", 51, 3, 2},
	} {
		image := newRelease(t, c.number, both...).assemble()
		count := func() (gets, lists int) {
			p.mu.Lock()
			defer p.mu.Unlock()
			for _, r := range p.requests {
				if strings.HasPrefix(r, "GET ") && strings.Contains(r, "/manifests/") {
					gets++
				}
				if strings.HasSuffix(r, "/tags/list") {
					lists++
				}
			}
			return gets, lists
		}
		p.set(nil)
		report, err := oci.Publish(t.Context(), publication(image, c.number, known[:i]...), p.repository(t, fast))
		require.NoError(t, err)
		gets, lists := count()
		t.Logf("%s: %d requests, %d of which read a manifest, and %d the tags", c.number, report.Repositories[0].Requests, gets, lists)
		assert.LessOrEqual(t, report.Repositories[0].Requests, int64(c.requests))
		assert.LessOrEqual(t, gets, c.gets)
		assert.LessOrEqual(t, lists, c.listing)

		p.set(nil)
		report, err = oci.Publish(t.Context(), publication(image, c.number, known[:i]...), p.repository(t, fast))
		require.NoError(t, err)
		gets, lists = count()
		t.Logf("%s again: %d requests, %d of which read a manifest, and %d the tags", c.number, report.Repositories[0].Requests, gets, lists)
		assert.LessOrEqual(t, report.Repositories[0].Requests, int64(10))
		assert.Zero(t, gets)
		assert.Equal(t, 1, lists)
	}
}

func TestExactTagIsWrittenOnce(t *testing.T) {
	p := newPeer(t)
	_, err := oci.Publish(t.Context(), publication(newRelease(t, "1.2.3", both...).assemble(), "1.2.3"), p.repository(t, fast))
	require.NoError(t, err)
	before := p.tags(t)

	other := newRelease(t, "1.2.3", both[0]).assemble()
	report, err := oci.Publish(t.Context(), publication(other, "1.2.3"), p.repository(t, fast))
	var conflict *oci.ConflictError
	require.ErrorAs(t, err, &conflict)
	assert.Equal(t, other.Digest.String(), conflict.Want)
	assert.Equal(t, before["1.2.3"], conflict.Have)
	assert.Equal(t, before, p.tags(t))
	assert.Zero(t, report.Repositories[0].BytesPushed)

	_, err = oci.Publish(t.Context(), publication(other, "1.2.4"), p.repository(t, fast))
	require.ErrorIs(t, err, published.ErrMismatch, "an image of another version")
	_, err = oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3+fork")), Index: tiny(t, "1.2.3+fork")}, p.repository(t, fast))
	require.ErrorContains(t, err, "build metadata")
}

func TestSmokeTestThatFails(t *testing.T) {
	p := newPeer(t)
	image := newRelease(t, "1.2.3", both...).assemble()
	job := publication(image, "1.2.3")
	broken := errors.New("it says 1.2.2")
	job.Smoke = func(context.Context) error { return broken }
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorIs(t, err, oci.ErrSmoke)
	require.ErrorIs(t, err, broken)
	assert.Empty(t, p.tags(t))
	assert.Contains(t, report.Text(), "failed: smoke-test")

	job.Smoke = func(context.Context) error { return nil }
	_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Len(t, p.tags(t), 4)
}

func TestRegistriesAreIndependent(t *testing.T) {
	good, bad, late := newPeer(t), newPeer(t), newPeer(t)
	bad.set(answer("/v2/", 503, ""))
	late.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && answer("/manifests/1.2", 403, "")(0, w, r)
	})
	image := newRelease(t, "1.2.3", both...).assemble()
	tested := 0
	job := publication(image, "1.2.3")
	job.Smoke = func(context.Context) error { tested++; return nil }
	repositories := []*oci.Repository{bad.repository(t, fast), good.repository(t, fast), late.repository(t, fast)}
	report, err := oci.Publish(t.Context(), job, repositories...)
	require.ErrorContains(t, err, bad.address("acme/server"))
	require.ErrorContains(t, err, late.address("acme/server"))
	assert.NotEmpty(t, report.Repositories[0].Failed)
	assert.Empty(t, report.Repositories[1].Failed)
	assert.Equal(t, 1, tested)
	assert.Len(t, good.tags(t), 4)
	assert.Empty(t, late.tags(t), "no exact tag, no floating tags")

	bad.set(nil)
	late.set(nil)
	report, err = oci.Publish(t.Context(), job, repositories...)
	require.NoError(t, err)
	assert.Zero(t, report.Repositories[1].BytesPushed)
	assert.Len(t, bad.tags(t), 4)
	assert.Len(t, late.tags(t), 4)
}

// tiny is an index with one image without layers, of a version.
func tiny(t testing.TB, number string) v1.ImageIndex {
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}, Config: v1.Config{Env: []string{"VERSION=" + number}},
	})
	require.NoError(t, err)
	index := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{
		Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	})
	return mutate.Annotations(index, map[string]string{"org.opencontainers.image.version": number}).(v1.ImageIndex)
}

func publishTiny(t testing.TB, r *oci.Repository, number string, known ...string) error {
	_, err := oci.Publish(context.Background(), oci.Publication{Version: must(versionOf(number)), Index: tiny(t, number), Known: versions(known...)}, r)
	return err
}

func TestFloatingTags(t *testing.T) {
	cases := []struct {
		name      string
		published []string
		known     []string // releases without an image
		want      map[string]string
	}{
		{"a backport", []string{"1.2.3", "2.0.0", "1.2.4"}, nil, map[string]string{"latest": "2.0.0", "2": "2.0.0", "2.0": "2.0.0", "1": "1.2.4", "1.2": "1.2.4"}},
		{"an older backport", []string{"1.3.0", "1.2.4"}, nil, map[string]string{"latest": "1.3.0", "1": "1.3.0", "1.3": "1.3.0", "1.2": "1.2.4"}},
		{"out of order", []string{"1.0.1", "1.0.0"}, nil, map[string]string{"latest": "1.0.1", "1": "1.0.1", "1.0": "1.0.1"}},
		{"prereleases", []string{"1.0.0", "1.1.0-rc.1", "1.1.0-beta.2", "1.1.0-rc.2", "1.1.0-rc.1"}, nil,
			map[string]string{"latest": "1.0.0", "1": "1.0.0", "1.0": "1.0.0", "rc": "1.1.0-rc.2", "beta": "1.1.0-beta.2"}},
		{"before 1.0", []string{"0.1.0", "0.2.0"}, nil, map[string]string{"latest": "0.2.0", "0.1": "0.1.0", "0.2": "0.2.0"}},
		{"a release whose image is still to come", []string{"1.2.3"}, []string{"1.2.4"}, map[string]string{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			r := p.repository(t, fast)
			want := map[string]string{}
			for _, v := range c.published {
				require.NoError(t, publishTiny(t, r, v, c.known...))
				want[v] = must(tiny(t, v).Digest()).String()
			}
			for tag, v := range c.want {
				want[tag] = must(tiny(t, v).Digest()).String()
			}
			assert.Equal(t, want, p.tags(t))
		})
	}
}

// A tag that names a version without a tag of its own is believed.
func TestFloatingTagWhoseVersionHasNoTag(t *testing.T) {
	p := newPeer(t)
	r := p.repository(t, fast)
	require.NoError(t, publishTiny(t, r, "3.0.0"))
	require.NoError(t, drop(p, "3.0.0"))
	require.NoError(t, publishTiny(t, r, "2.0.0"))
	assert.Equal(t, must(tiny(t, "3.0.0").Digest()).String(), p.tags(t)["latest"])
}

func drop(p *peer, reference string) error {
	req, err := http.NewRequest(http.MethodDelete, p.URL+"/v2/acme/server/manifests/"+reference, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Another run publishes a higher version at the worst moment: whichever that
// is, the floating tags end at the higher one.
func TestFloatingTagsUnderRaces(t *testing.T) {
	higher := must(tiny(t, "1.2.4").Digest()).String()
	alone := newPeer(t)
	require.NoError(t, publishTiny(t, alone.repository(t, fast), "1.2.3"))
	total := alone.count()
	for n := 1; n <= total; n++ {
		p := newPeer(t)
		p.set(func(i int, _ http.ResponseWriter, _ *http.Request) bool {
			if i == n {
				p.mu.Lock()
				p.spoil = nil
				p.mu.Unlock()
				assert.NoError(t, publishTiny(t, p.repository(t, fast), "1.2.4"))
			}
			return false
		})
		require.NoError(t, publishTiny(t, p.repository(t, fast), "1.2.3"), n)
		tags := p.tags(t)
		for _, tag := range []string{"1.2", "1", "latest"} {
			assert.Equal(t, higher, tags[tag], "tag %s, the other run at request %d of %d", tag, n, total)
		}
		assert.Equal(t, must(tiny(t, "1.2.3").Digest()).String(), tags["1.2.3"])
	}
}

// Every request fails once in every way: no floating tag ever names something
// lower or untested, and another run completes.
func TestFaults(t *testing.T) {
	release := newRelease(t, "1.2.3", both...)
	release.manifest.Image.Base = imagespec.Scratch
	image := release.assemble()
	faults := map[string]func(http.ResponseWriter){
		"500": status(500), "403": status(403), "404": status(404), "reset": hangUp, "page": text("<html>"),
	}
	if testing.Short() {
		faults = map[string]func(http.ResponseWriter){"500": status(500), "page": text("<html>")}
	}
	clean := newPeer(t)
	r := clean.repository(t, fast)
	require.NoError(t, publishTiny(t, r, "1.2.2"))
	clean.set(nil)
	_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), r)
	require.NoError(t, err)
	want, total := clean.tags(t), clean.count()
	old := must(tiny(t, "1.2.2").Digest()).String()
	runs, failed := 0, 0
	for kind, fault := range faults {
		for n := 1; n <= total; n++ {
			for _, tries := range []int{1, 3} {
				if tries > 1 && kind != "500" && kind != "reset" {
					continue // it isn't tried again
				}
				runs++
				at := fmt.Sprintf("%s at request %d of %d, %d tries", kind, n, total, tries)
				p := newPeer(t)
				require.NoError(t, publishTiny(t, p.repository(t, fast), "1.2.2"))
				tested := false
				job := publication(image, "1.2.3")
				job.Smoke = func(context.Context) error { tested = true; return nil }
				p.set(func(i int, w http.ResponseWriter, _ *http.Request) bool {
					if i == n {
						fault(w)
					}
					return i == n
				})
				o := fast
				o.Tries = tries
				_, err := oci.Publish(t.Context(), job, p.repository(t, o))
				p.set(nil)
				tags := p.tags(t)
				for tag, digest := range tags {
					if digest != old {
						require.True(t, tested, at)
						require.Equal(t, image.Digest.String(), digest, at)
						require.Equal(t, digest, tags["1.2.3"], "%s: tag %s before the exact one", at, tag)
					}
				}
				if err == nil {
					require.Equal(t, want, tags, at)
					continue
				}
				failed++
				require.NotContains(t, err.Error(), "panic", at)
				_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
				require.NoError(t, err, at)
				require.Equal(t, want, p.tags(t), at)
				report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
				require.NoError(t, err, at)
				require.Zero(t, report.Repositories[0].BytesPushed, at)
			}
		}
	}
	t.Logf("%d runs with one fault each (%d requests, %d kinds): %d failed and were completed by the next run", runs, total, len(faults), failed)
}

// A registry that lost an image gets it again.
func TestPublishRepairs(t *testing.T) {
	p := newPeer(t)
	image := newRelease(t, "1.2.3", both...).assemble()
	r := p.repository(t, fast)
	_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), r)
	require.NoError(t, err)
	require.NoError(t, drop(p, image.Platforms[1].Digest.String()))
	_, err = oci.Publish(t.Context(), publication(image, "1.2.3"), r)
	require.NoError(t, err)
	require.NoError(t, func() error { _, err := r.Digest(t.Context(), image.Platforms[1].Digest.String()); return err }())
}

func TestPublishFromLayout(t *testing.T) {
	p := newPeer(t)
	image := newRelease(t, "1.2.3", both...).assemble()
	dir := t.TempDir()
	require.NoError(t, oci.WriteLayout(dir, image.Index, "1.2.3"))
	require.NoError(t, image.Close())
	index, err := oci.ReadLayout(dir)
	require.NoError(t, err)
	_, err = oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, p.repository(t, fast))
	require.NoError(t, err)
	assert.Equal(t, image.Digest.String(), p.tags(t)["latest"])
}

// Over random histories of releases, of which some images come late or never and
// some are yanked (deleted, while their images stay), of one of several components
// whose tags have prefixes, in registries with foreign tags and with requests that fail, no floating tag
// ever moves to a lower version, prereleases move nothing but their channel, and
// exact tags are never rewritten.
func TestTagsOverHistories(t *testing.T) {
	number := rapid.Custom(func(r *rapid.T) string {
		v := fmt.Sprintf("%d.%d.%d", rapid.IntRange(0, 2).Draw(r, "major"), rapid.IntRange(0, 2).Draw(r, "minor"), rapid.IntRange(0, 2).Draw(r, "patch"))
		return v + rapid.SampledFrom([]string{"", "", "", "-rc.1", "-rc.2", "-beta.1", "-latest.1", "-1"}).Draw(r, "pre")
	})
	foreign := rapid.SampledFrom([]string{"nightly", "sha-0a1b2c3", "edge", "1.2.3-alpine", "v1.1.1", "2024", "main", "0.0"})
	byDigest := map[string]string{}
	index := func(v string) string {
		d := must(tiny(t, v).Digest()).String()
		byDigest[d] = v
		return d
	}
	rapid.Check(t, func(r *rapid.T) {
		p := newPeer(t)
		defer p.Close()
		repository := p.repository(t, fast)
		strangers := rapid.SliceOfNDistinct(foreign, 0, 3, rapid.ID[string]).Draw(r, "foreign")
		before := map[string]string{}
		for _, tag := range strangers {
			require.NoError(t, put(p, tag, "foreign "+tag))
		}
		for tag, digest := range p.tags(t) {
			before[tag] = digest
		}
		released := rapid.SliceOfNDistinct(number, 1, 8, rapid.ID[string]).Draw(r, "releases")
		yanked := map[string]bool{}
		left := func(all []string) []string {
			return slices.DeleteFunc(slices.Clone(all), func(v string) bool { return yanked[v] })
		}
		// The other components' releases are in the same list of GitHub's.
		prefixes := rapid.Permutation([]string{"v", "app-", "app-cli-", "cli-v"}).Draw(r, "prefixes")
		var others []string
		for _, v := range rapid.SliceOfN(number, 0, 6).Draw(r, "others") {
			others = append(others, rapid.SampledFrom(prefixes[1:]).Draw(r, "other")+v)
		}
		component := func(all []string) []string {
			tags := slices.Clone(others)
			for _, v := range all {
				tags = append(tags, prefixes[0]+v)
			}
			var own []string
			for _, tag := range rapid.Permutation(tags).Draw(r, "tags") {
				if v, ok := (&manifest.Manifest{Tag: prefixes[0] + "9.9.9", Version: "9.9.9"}).VersionOf(tag); ok {
					own = append(own, v.String())
				}
			}
			require.ElementsMatch(r, all, own, "of component %q among %q", prefixes[0], tags)
			return own
		}
		for i, v := range released {
			for _, earlier := range released[:i] {
				if rapid.IntRange(0, 5).Draw(r, "yank") == 0 {
					yanked[earlier] = true
				}
			}
			known := component(left(released[:i]))
			runs := rapid.IntRange(0, 2).Draw(r, "runs")
			for range runs {
				if fails := rapid.IntRange(0, 40).Draw(r, "fails"); fails > 0 {
					p.set(func(n int, w http.ResponseWriter, _ *http.Request) bool {
						if n >= fails {
							w.WriteHeader(403)
						}
						return n >= fails
					})
				}
				_ = publishTiny(t, repository, v, known...)
				p.set(nil)
				after := p.tags(t)
				index(v)
				for tag, digest := range after {
					was, had := before[tag]
					if digest == was {
						continue
					}
					now := byDigest[digest]
					require.Equal(r, v, now, "tag %s", tag)
					if tag == v {
						require.False(r, had, "exact tag %s was rewritten", tag)
						continue
					}
					current := must(versionOf(v))
					if current.Prerelease() != "" {
						require.Equal(r, version.Channel(current), tag, "what prerelease %s moves", v)
					}
					if had && byDigest[was] != "" {
						require.True(r, current.GreaterThan(must(versionOf(byDigest[was]))), "tag %s from %s to %s", tag, byDigest[was], v)
					}
					require.False(r, had && slices.Contains(strangers, tag) && tag != version.Channel(current) && byDigest[was] == "" && !strings.HasPrefix(v, tag+"."), "foreign tag %s", tag)
				}
				for tag := range before {
					require.Contains(r, after, tag)
				}
				before = after
			}
		}
		// A last run of each, without faults, lowest first or not, ends where it should.
		for _, v := range rapid.Permutation(left(released)).Draw(r, "order") {
			require.NoError(r, publishTiny(t, repository, v, component(left(released))...))
			index(v)
		}
		after := p.tags(t)
		all := append(versions(strangers...), versions(left(released)...)...)
		for v := range yanked {
			// What the registry has of it counts still: nobody who has it gets less.
			if _, there := after[v]; there {
				all = append(all, versions(v)...)
			}
		}
		for _, v := range versions(left(released)...) {
			tags, err := version.ImageTags(v, all, version.TagOptions{})
			require.NoError(r, err)
			for _, tag := range tags {
				if tag.Move {
					require.Equal(r, index(v.String()), after[tag.Tag], "tag %s of %s", tag.Tag, v)
				}
			}
		}
	})
}

// put writes a manifest that isn't ours.
func put(p *peer, tag, content string) error {
	req, err := http.NewRequest(http.MethodPut, p.URL+"/v2/acme/server/manifests/"+tag, strings.NewReader(fmt.Sprintf(`{"schemaVersion":2,"x":%q}`, content)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", string(types.OCIManifestSchema1))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.Body.Close()
}

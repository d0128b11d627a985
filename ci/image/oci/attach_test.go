package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

const (
	cycloneDX = "application/vnd.cyclonedx+json"
	spdx      = "application/spdx+json"
)

// bill adds a bill of materials of a target, in the format of an end of a name.
func (r *release) bill(triple, end, content string) *release {
	r.put(manifest.Asset{Name: "server-" + r.manifest.Version + "-" + triple + end, Kind: manifest.KindSBOM, Target: triple}, []byte(content))
	return r
}

// billed is a release for both platforms, without base images: one has bills of
// materials in two formats, and the other one bill. There are others which are no
// platform's, or of an unknown format.
func billed(t testing.TB, number string) *release {
	r := newRelease(t, number, both...)
	r.manifest.Image.Base = imagespec.Scratch
	r.bill(both[0], ".cdx.json", `{"bomFormat":"CycloneDX","of":"arm64"}`).bill(both[0], ".spdx.json", `{"spdxVersion":"SPDX-2.3"}`)
	r.bill(both[1], ".cdx.json", `{"bomFormat":"CycloneDX","of":"amd64"}`).bill(both[1], ".swid.xml", "<SoftwareIdentity/>")
	return r.bill("x86_64-pc-windows-gnu", ".cdx.json", `{"bomFormat":"CycloneDX","of":"windows"}`)
}

// attaching is the publication of a release with its bills of materials.
func attaching(t testing.TB, r *release) (oci.Publication, *oci.Image) {
	loaded := r.load()
	image := assembled(t, loaded, oci.AssembleOptions{})
	bills, err := oci.Bills(loaded)
	require.NoError(t, err)
	job := publication(image, r.manifest.Version)
	job.Manifest, job.Attachments = loaded.Manifest, bills
	return job, image
}

// registries are one that keeps lists of referrers, one whose clients do, and one whose
// clients do with conditions.
var registries = map[string]func() http.Handler{
	"referrers API": func() http.Handler { return inMemory(registry.WithReferrersSupport(true)) },
	"fallback tag":  func() http.Handler { return inMemory() },
	"conditions":    func() http.Handler { return &conditional{Handler: inMemory()} },
}

func inMemory(options ...registry.Option) http.Handler {
	return registry.New(append(options, registry.Logger(log.New(io.Discard, "", 0)))...)
}

func newPeerOf(t testing.TB, inner http.Handler) *peer {
	p := &peer{}
	p.Server = httptest.NewServer(p.wrap(inner))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(p.Close)
	return p
}

// conditional is a registry that heeds the conditions of writes.
type conditional struct {
	http.Handler
	mu      sync.Mutex
	refused int
}

func (c *conditional) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/manifests/sha256-") {
		c.Handler.ServeHTTP(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	head := httptest.NewRecorder()
	c.Handler.ServeHTTP(head, httptest.NewRequest(http.MethodHead, r.URL.Path, nil))
	etag := fmt.Sprintf("%q", head.Header().Get("Docker-Content-Digest"))
	if match := r.Header.Get("If-Match"); match != "" && match != etag || r.Header.Get("If-None-Match") == "*" && head.Code == http.StatusOK {
		c.refused++
		w.WriteHeader(http.StatusPreconditionFailed)
		return
	}
	if r.Method == http.MethodGet {
		w.Header().Set("ETag", etag)
	}
	c.Handler.ServeHTTP(w, r)
}

// remotely are the options of another client.
func (p *peer) remotely(t testing.TB, reference string) (name.Reference, remote.Option) {
	ref, err := name.ParseReference(hubAddress+reference, name.Insecure)
	require.NoError(t, err)
	return ref, remote.WithTransport(ocitest.Within{Handler: p.inner})
}

// referrers are what another client finds to be attached to a digest, sorted.
func (p *peer) referrers(t testing.TB, digest v1.Hash) []v1.Descriptor {
	t.Helper()
	ref, option := p.remotely(t, "@"+digest.String())
	index, err := remote.Referrers(ref.(name.Digest), option)
	require.NoError(t, err)
	im, err := index.IndexManifest()
	require.NoError(t, err)
	return slices.SortedFunc(slices.Values(im.Manifests), func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
}

// listing is what is attached to the platforms of an image, as text.
func (p *peer) listing(t testing.TB, image *oci.Image) string {
	t.Helper()
	var text strings.Builder
	for _, platform := range image.Platforms {
		fmt.Fprintf(&text, "%s\n", platform.Platform)
		for _, d := range p.referrers(t, platform.Digest) {
			ref, option := p.remotely(t, "@"+d.Digest.String())
			got, err := remote.Get(ref, option)
			require.NoError(t, err)
			if d.ArtifactType == "application/vnd.oci.empty.v1+json" {
				// This registry lists the type of the configuration.
				m, err := v1.ParseManifest(bytes.NewReader(got.Manifest))
				require.NoError(t, err)
				d.ArtifactType = m.ArtifactType
			}
			line, err := json.Marshal(d)
			require.NoError(t, err)
			fmt.Fprintf(&text, "  %s\n  %s\n", line, got.Manifest)
		}
	}
	return text.String()
}

// raw is the manifest of a reference, or "".
func (p *peer) raw(t testing.TB, reference string) string {
	t.Helper()
	ref, option := p.remotely(t, reference)
	got, err := remote.Get(ref, option)
	if err != nil {
		return ""
	}
	return string(got.Manifest)
}

// foreign attaches something to a digest as another client does, and describes it with
// more than Gantry knows of.
func (p *peer) foreign(t testing.TB, subject v1.Hash, what string) v1.Hash {
	t.Helper()
	text := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/vnd.example","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"what":%q},"subject":{"mediaType":%q,"digest":%q,"size":1}}`,
		types.OCIManifestSchema1, what, types.OCIManifestSchema1, subject)
	digest, size, err := v1.SHA256(bytes.NewReader(text))
	require.NoError(t, err)
	p.write(t, digest.String(), types.OCIManifestSchema1, text)
	ref, option := p.remotely(t, "@"+subject.String())
	index, err := remote.Referrers(ref.(name.Digest), option)
	require.NoError(t, err)
	im, err := index.IndexManifest()
	require.NoError(t, err)
	if slices.ContainsFunc(im.Manifests, func(d v1.Descriptor) bool { return d.Digest == digest }) {
		return digest // the registry lists it
	}
	entries := []json.RawMessage{fmt.Appendf(nil, `{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/vnd.example","example":{"of":%q}}`, types.OCIManifestSchema1, digest, size, what)}
	for _, d := range im.Manifests {
		line, err := json.Marshal(d)
		require.NoError(t, err)
		entries = append(entries, line)
	}
	list, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex, "manifests": entries, "annotations": map[string]string{"by": "another client"}})
	require.NoError(t, err)
	p.write(t, "sha256-"+subject.Hex, types.OCIImageIndex, list)
	return digest
}

// write puts a manifest.
func (p *peer) write(t testing.TB, reference string, mediaType types.MediaType, text []byte) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPut, "/v2/acme/server/manifests/"+reference, bytes.NewReader(text))
	req.Header.Set("Content-Type", string(mediaType))
	rec := httptest.NewRecorder()
	p.inner.ServeHTTP(rec, req)
	require.Equal(t, http.StatusCreated, rec.Code, rec.Body)
}

func TestAttach(t *testing.T) {
	text := ""
	for _, kind := range []string{"fallback tag", "conditions", "referrers API"} {
		p := newPeerOf(t, registries[kind]())
		job, image := attaching(t, billed(t, "1.2.3"))
		plain := job
		plain.Attachments = nil
		_, err := oci.Publish(t.Context(), plain, p.repository(t, fast))
		require.NoError(t, err)
		before, platform := p.tags(t), p.raw(t, "@"+image.Platforms[0].Digest.String())

		job.DryRun = true
		dry, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Zero(t, dry.Repositories[0].BytesPushed, kind)
		assert.Contains(t, dry.Text(), "would attach server-1.2.3-aarch64-unknown-linux-musl.spdx.json: linux/arm64 lacks this "+spdx, kind)
		assert.Empty(t, p.referrers(t, image.Platforms[0].Digest), kind)

		job.DryRun = false
		report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Equal(t, dry.Repositories[0].Planned, report.Repositories[0].Planned, kind)
		assert.Contains(t, report.Text(), "done: attach server-1.2.3-x86_64-unknown-linux-musl.cdx.json: linux/amd64 lacks this "+cycloneDX, kind)
		require.Len(t, report.Repositories[0].Done, 3, kind)

		got := p.listing(t, image)
		if text == "" {
			text = got
			golden(t, "attached.txt", got)
		}
		assert.Equal(t, text, got, kind)
		assert.Equal(t, before, p.tags(t), "the image or its tags changed: %s", kind)
		assert.Equal(t, platform, p.raw(t, "@"+image.Platforms[0].Digest.String()), kind)
		assert.Equal(t, kind == "referrers API", p.raw(t, ":sha256-"+image.Platforms[0].Digest.Hex) == "", kind)

		again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Zero(t, again.Repositories[0].BytesPushed, kind)
		assert.Empty(t, again.Repositories[0].Done, kind)
		assert.Contains(t, again.Text(), "nothing to do: keep server-1.2.3-x86_64-unknown-linux-musl.cdx.json: linux/amd64 has it", kind)
		assert.Equal(t, got, p.listing(t, image), kind)
	}
}

// An image that is pushed with its attachments needs no second look at what it lacked.
func TestAttachToANewImage(t *testing.T) {
	for kind, inner := range registries {
		p := newPeerOf(t, inner())
		job, image := attaching(t, billed(t, "1.2.3"))
		var asked []string
		p.after = func(r *http.Request) {
			if strings.Contains(r.URL.Path, "/referrers/") {
				asked = append(asked, r.URL.Path)
			}
		}
		report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Equal(t, report.Repositories[0].Planned, report.Repositories[0].Done, kind)
		lists := map[bool]int{true: 2, false: 4}[kind == "referrers API"]
		assert.Len(t, asked, lists, kind)
		assert.Contains(t, p.listing(t, image), spdx, kind)
	}
}

// What others attached stays, with all that Gantry doesn't know of.
func TestAttachKeepsOthers(t *testing.T) {
	for kind, inner := range registries {
		p := newPeerOf(t, inner())
		job, image := attaching(t, billed(t, "1.2.3"))
		plain := job
		plain.Attachments = nil
		_, err := oci.Publish(t.Context(), plain, p.repository(t, fast))
		require.NoError(t, err)
		subject := image.Platforms[1].Digest
		other := p.foreign(t, subject, "a signature")
		_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Len(t, p.referrers(t, subject), 3, kind)
		assert.Contains(t, p.listing(t, image), other.String(), kind)
		if kind != "referrers API" {
			list := p.raw(t, ":sha256-"+subject.Hex)
			assert.Contains(t, list, `"annotations":{"by":"another client"}`, kind)
			assert.Contains(t, list, `"example":{"of":"a signature"}`, kind)
		}
	}
}

// spoilt carries requests to a handler without a connection, and fails one of them.
type spoilt struct {
	http.Handler
	n, at int
	fault string
}

func (s *spoilt) RoundTrip(r *http.Request) (*http.Response, error) {
	s.n++
	if s.n != s.at {
		return ocitest.Within{Handler: s.Handler}.RoundTrip(r)
	}
	code := map[string]int{"500": 500, "403": 403, "404": 404, "page": 200}[s.fault]
	switch s.fault {
	case "reset":
		return nil, io.ErrUnexpectedEOF
	case "lost answer":
		_, _ = ocitest.Within{Handler: s.Handler}.RoundTrip(r)
		code = http.StatusBadGateway
	}
	res := respond(code, "<html>")
	res.Request = r
	return res, nil
}

// Whatever request fails, nobody's attachments get lost, the image has its tags before
// anything is attached, and another run completes.
func TestAttachFaults(t *testing.T) {
	job, image := attaching(t, billed(t, "1.2.3"))
	plain := job
	plain.Attachments = nil
	publish := func(job oci.Publication, s *spoilt, tries int) (*oci.Report, error) {
		o := fast
		o.Tries, o.Jobs, o.Transport = tries, 1, s
		r, err := oci.NewRepository(hubAddress, o)
		require.NoError(t, err)
		return oci.Publish(t.Context(), job, r)
	}
	for _, kind := range []string{"referrers API", "fallback tag"} {
		begin := func() (*peer, v1.Hash) {
			p := &peer{inner: registries[kind]()}
			_, err := publish(plain, &spoilt{Handler: p.inner}, 1)
			require.NoError(t, err)
			return p, p.foreign(t, image.Platforms[0].Digest, "a signature")
		}
		clean, _ := begin()
		counted := &spoilt{Handler: clean.inner}
		_, err := publish(job, counted, 1)
		require.NoError(t, err)
		want, tags := clean.listing(t, image), clean.imageTags(t)
		runs, failed := 0, 0
		for _, fault := range []string{"500", "403", "404", "reset", "page", "lost answer"} {
			for n := 1; n <= counted.n; n++ {
				for _, tries := range []int{1, 3} {
					again := fault == "500" || fault == "reset" || fault == "lost answer"
					if tries > 1 && !again {
						continue
					}
					runs++
					at := fmt.Sprintf("%s: %s at request %d of %d, %d tries", kind, fault, n, counted.n, tries)
					p, other := begin()
					_, err := publish(job, &spoilt{Handler: p.inner, at: n, fault: fault}, tries)
					require.Equal(t, tags, p.imageTags(t), at)
					require.Contains(t, p.listing(t, image), other.String(), at)
					if err != nil {
						failed++
						require.Equal(t, 1, tries, "%s: %v", at, err)
						_, err := publish(job, &spoilt{Handler: p.inner}, 1)
						require.NoError(t, err, at)
					}
					require.Equal(t, want, p.listing(t, image), at)
					report, err := publish(job, &spoilt{Handler: p.inner}, 1)
					require.NoError(t, err, at)
					require.Zero(t, report.Repositories[0].BytesPushed, at)
				}
			}
		}
		require.Positive(t, failed, kind)
		t.Logf("%s: %d runs with one fault each: %d failed and were completed by the next run", kind, runs, failed)
	}
}

// imageTags are the tags of images and their manifests.
func (p *peer) imageTags(t testing.TB) map[string]string {
	t.Helper()
	ref, option := p.remotely(t, "")
	tags, err := remote.List(ref.Context(), option)
	require.NoError(t, err)
	all := map[string]string{}
	for _, tag := range tags {
		if !strings.HasPrefix(tag, "sha256-") {
			all[tag] = p.raw(t, ":"+tag)
		}
	}
	return all
}

// Two runs attach different files at the same moment, the second as a whole before any
// one request of the first. Registries that heed conditions lose nothing. In one that
// doesn't, the first overwrites the list of the second if that comes just between the
// read and the write of the list, and the next run of the second repairs it.
func TestAttachAtOnce(t *testing.T) {
	first, image := attaching(t, billed(t, "1.2.3"))
	plain, second := first, first
	plain.Attachments = nil
	second.Attachments = []oci.Attachment{note(image.Platforms[0].Platform, "a provenance")}
	for kind, inner := range registries {
		begin := func() (*peer, http.Handler) {
			h := inner()
			p := newPeerOf(t, h)
			_, err := oci.Publish(t.Context(), plain, p.repository(t, fast))
			require.NoError(t, err)
			return p, h
		}
		clean, _ := begin()
		clean.set(nil)
		_, err := oci.Publish(t.Context(), first, clean.repository(t, fast))
		require.NoError(t, err)
		total, overwritten, refused := clean.count(), 0, 0
		_, err = oci.Publish(t.Context(), second, clean.repository(t, fast))
		require.NoError(t, err)
		all := clean.listing(t, image)
		for n := 1; n <= total; n++ {
			p, h := begin()
			i := 0
			p.during(func(*http.Request) bool { i++; return i == n }, func() {
				_, err := oci.Publish(context.Background(), second, p.repository(t, fast))
				assert.NoError(t, err)
			})
			_, err := oci.Publish(t.Context(), first, p.repository(t, fast))
			require.NoError(t, err)
			p.set(nil)
			if c, ok := h.(*conditional); ok {
				refused += c.refused
			}
			if p.listing(t, image) != all {
				overwritten++
				_, err := oci.Publish(t.Context(), second, p.repository(t, fast))
				require.NoError(t, err)
			}
			require.Equal(t, all, p.listing(t, image), "%s: request %d of %d", kind, n, total)
		}
		assert.Equal(t, map[bool]int{true: 1}[kind == "fallback tag"], overwritten, kind)
		assert.Equal(t, map[bool]int{true: 1}[kind == "conditions"], refused, kind)
	}
}

// Runs of one release at the same moment, each attaching all, end with all.
func TestAttachTheSameAtOnce(t *testing.T) {
	job, image := attaching(t, billed(t, "1.2.3"))
	for kind, inner := range registries {
		p := newPeerOf(t, inner())
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		want := p.listing(t, image)
		for range 10 {
			p := newPeerOf(t, inner())
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					_, err := oci.Publish(context.Background(), job, p.repository(t, fast))
					assert.NoError(t, err)
				})
			}
			wg.Wait()
			require.Equal(t, want, p.listing(t, image), kind)
		}
	}
}

// note is a small attachment.
func note(platform, content string) oci.Attachment {
	return oci.Attachment{
		Platform: platform, ArtifactType: "application/vnd.example.note", Name: "note.txt", SHA256: digestOf([]byte(content)), Size: int64(len(content)),
		Read: func(context.Context) ([]byte, error) { return []byte(content), nil },
	}
}

// The index is a subject like any other.
func TestAttachToTheIndex(t *testing.T) {
	p := newPeer(t)
	job, image := attaching(t, billed(t, "1.2.3"))
	job.Attachments = []oci.Attachment{note("", "for the index"), note("linux/amd64", "for a platform")}
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Contains(t, report.Text(), "done: attach note.txt: the index lacks this application/vnd.example.note")
	listed := p.referrers(t, image.Digest)
	require.Len(t, listed, 1)
	assert.Equal(t, "application/vnd.example.note", listed[0].ArtifactType)
	var m v1.Manifest
	require.NoError(t, json.Unmarshal([]byte(p.raw(t, "@"+listed[0].Digest.String())), &m))
	require.NotNil(t, m.Subject)
	assert.Equal(t, image.Digest, m.Subject.Digest)
	assert.Equal(t, types.OCIImageIndex, m.Subject.MediaType)
	assert.Empty(t, m.Annotations, "it has no date")

	for what, c := range map[string]struct {
		change func(*oci.Attachment)
		says   string
	}{
		"another platform": {func(a *oci.Attachment) { a.Platform = "linux/s390x" }, `it lacks platform "linux/s390x"`},
		"a bad digest":     {func(a *oci.Attachment) { a.SHA256 = "x" }, `attach "note.txt"`},
		"too large":        {func(a *oci.Attachment) { a.Size = 64<<20 + 1 }, "more than 67108864"},
	} {
		a := note("", "more")
		c.change(&a)
		job.Attachments = []oci.Attachment{a}
		_, err := oci.Publish(t.Context(), job, newPeer(t).repository(t, fast))
		assert.ErrorContains(t, err, c.says, what)
	}
}

// A file that isn't the release's is not attached, and the image is complete all the same.
func TestAttachOtherBytes(t *testing.T) {
	p := newPeer(t)
	job, image := attaching(t, billed(t, "1.2.3"))
	good := job.Attachments[0].Read
	job.Attachments[0].Read = func(context.Context) ([]byte, error) { return []byte("other"), nil }
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorIs(t, err, published.ErrMismatch)
	assert.ErrorContains(t, err, "attach server-1.2.3-x86_64-unknown-linux-musl.cdx.json to linux/amd64: it does not match the release: it has 5 bytes")
	assert.Contains(t, report.Text(), "failed: attach server-1.2.3-x86_64-unknown-linux-musl.cdx.json")
	assert.Contains(t, report.Text(), "done: move latest")
	assert.Len(t, p.tags(t), 4)
	assert.Empty(t, p.referrers(t, image.Platforms[0].Digest))
	for _, other := range []string{strings.Repeat("x", int(job.Attachments[0].Size)), ""} {
		job.Attachments[0].Read = func(context.Context) ([]byte, error) { return []byte(other), nil }
		_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
		assert.ErrorIs(t, err, published.ErrMismatch, other)
	}
	gone := errors.New("the asset is gone")
	job.Attachments[0].Read = func(context.Context) ([]byte, error) { return nil, gone }
	_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
	assert.ErrorIs(t, err, gone)
	assert.Empty(t, p.referrers(t, image.Platforms[0].Digest))

	job.Attachments[0].Read = good
	again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	for _, s := range again.Repositories[0].Done {
		assert.Equal(t, oci.ActionAttach, s.Action)
	}
	assert.Len(t, p.referrers(t, image.Platforms[1].Digest), 2)
}

// Tags that are made of digests are not those of images.
func TestTagsOfDigests(t *testing.T) {
	p := newPeer(t)
	job, image := attaching(t, billed(t, "1.2.3"))
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	want := []string{"1", "1.2", "1.2.3", "latest", "sha256-abc"}
	hex := image.Digest.Hex
	for _, tag := range []string{"sha256-" + hex, "sha256-" + hex + ".sig", "sha256-" + hex + ".att", "sha256-" + hex + ".sbom", "sha256-abc"} {
		require.NoError(t, put(p, tag, "foreign"))
	}
	tags, err := p.repository(t, fast).Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, want, tags)
	_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
}

package oci_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
)

// unattached is a registry with the image of a release, to which nothing is attached yet.
func unattached(t *testing.T, inner http.Handler) (*peer, oci.Publication, *oci.Image) {
	p := newPeerOf(t, inner)
	job, image := attaching(t, billed(t, "1.2.3"))
	plain := job
	plain.Attachments = nil
	_, err := oci.Publish(t.Context(), plain, p.repository(t, fast))
	require.NoError(t, err)
	return p, job, image
}

// insteadOf answers requests whose path has a part, and passes on the others.
func insteadOf(method, part string, answer http.HandlerFunc) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		answer(w, r)
		return true
	}
}

// Registries without the referrers API say so in many ways.
func TestRegistriesWithoutReferrers(t *testing.T) {
	elsewhere := 0
	other := newPeer(t)
	other.set(func(int, http.ResponseWriter, *http.Request) bool { elsewhere++; return false })
	for name, answer := range map[string]http.HandlerFunc{
		"a 404 without a code": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"a 400":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) },
		"a 405":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) },
		"a 406":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotAcceptable) },
		"a 501":                func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) },
		"a page":               func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"a redirect to another server": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusSeeOther)
		},
		"a redirect to a page": func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.RawQuery, "page") {
				_, _ = io.WriteString(w, "<html>")
				return
			}
			http.Redirect(w, r, r.URL.Path+"?page", http.StatusSeeOther)
		},
		"redirects without end": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusSeeOther)
		},
	} {
		p, job, image := unattached(t, inMemory())
		p.set(insteadOf(http.MethodGet, "/referrers/", answer))
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err, name)
		assert.Len(t, p.referrers(t, image.Platforms[1].Digest), 2, name)
		assert.NotEmpty(t, p.raw(t, ":sha256-"+image.Platforms[1].Digest.Hex), name)
	}
	assert.Zero(t, elsewhere, "the other server was asked")
}

// What is not known is not taken for an empty list.
func TestReferrersThatAreUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		part   string
		answer http.HandlerFunc
		says   string
	}{
		"a list that is refused": {"/referrers/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "check that the credentials"},
		"a list that is no JSON": {"/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			_, _ = io.WriteString(w, "<html>")
		}, "read the list"},
		"a list without end": {"/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=%s1>; rel="next"`, r.URL.Path, r.URL.Query().Get("n")))
			_, _ = io.WriteString(w, `{"manifests":[]}`)
		}, "more than 100 pages"},
		"a next page elsewhere": {"/referrers/", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			w.Header().Set("Link", `<https://elsewhere.example/>; rel="next"`)
			_, _ = io.WriteString(w, `{"manifests":[]}`)
		}, "leads to another host"},
		"a second page that isn't there": {"/referrers/", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery != "" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=1>; rel="next"`, r.URL.Path))
			_, _ = io.WriteString(w, `{"manifests":[]}`)
		}, "404"},
		"a list that is too large": {"/referrers/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			_, _ = io.WriteString(w, strings.Repeat(" ", 4<<20+1))
		}, "more than 4194304 bytes"},
		"a tag whose absence is not confirmed": {"/manifests/sha256-", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "404"},
		"a tag that is no list": {"/manifests/sha256-", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			_, _ = io.WriteString(w, "{}")
		}, `is not a list of referrers: it is a "application/vnd.oci.image.manifest.v1+json": delete the tag`},
		"a tag that is no JSON": {"/manifests/sha256-", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			_, _ = io.WriteString(w, "[]")
		}, "is not a list of referrers"},
		"a tag with another kind of list": {"/manifests/sha256-", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			_, _ = io.WriteString(w, `{"manifests":{}}`)
		}, "is not a list of referrers"},
	} {
		p, job, _ := unattached(t, inMemory())
		wrote := false
		p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
			wrote = wrote || r.Method != http.MethodGet && r.Method != http.MethodHead
			return insteadOf(http.MethodGet, c.part, c.answer)(n, w, r)
		})
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.ErrorContains(t, err, c.says, name)
		assert.ErrorContains(t, err, "list what is attached to sha256:", name)
		assert.False(t, wrote, name)
	}
}

// A registry may list referrers in pages.
func TestReferrersOfAllPages(t *testing.T) {
	p, job, image := unattached(t, inMemory(registry.WithReferrersSupport(true)))
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	all := p.referrers(t, image.Platforms[1].Digest)
	require.Len(t, all, 2)
	pages := 0
	p.set(insteadOf(http.MethodGet, "/referrers/"+image.Platforms[1].Digest.String(), func(w http.ResponseWriter, r *http.Request) {
		pages++
		w.Header().Set("Content-Type", string(types.OCIImageIndex)+"; charset=utf-8")
		page := all[1:]
		if r.URL.RawQuery == "" {
			page = all[:1]
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=1>; rel="next"`, r.URL.Path))
		}
		_ = json.NewEncoder(w).Encode(v1.IndexManifest{Manifests: page})
	}))
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Empty(t, report.Repositories[0].Done)
	assert.Equal(t, 2, pages)
}

// Some registries take the tag of a list for the digest in it. Nothing can be listed
// there, which is an error; what they answer is not taken for a list.
func TestTagsThatAreTakenForDigests(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		repository, hex, found := strings.Cut(r.URL.Path, "/manifests/sha256-")
		if found && r.Method == http.MethodPut {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":[{"code":"DIGEST_INVALID"}]}`)
			return true
		}
		if found {
			r.URL.Path = repository + "/manifests/sha256:" + hex
		}
		return false
	})
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorContains(t, err, "list what is attached to linux/amd64")
	assert.ErrorContains(t, err, "DIGEST_INVALID")
	assert.Len(t, report.Repositories[0].Planned, len(report.Repositories[0].Skipped)+3)
	assert.Equal(t, image.Digest.String(), p.tags(t)["latest"])
}

// A registry that never lists what it accepted is told of.
func TestArtifactsThatAreNeverListed(t *testing.T) {
	p, job, _ := unattached(t, inMemory(registry.WithReferrersSupport(true)))
	p.set(insteadOf(http.MethodGet, "/referrers/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = io.WriteString(w, `{"manifests":[]}`)
	}))
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorIs(t, err, oci.ErrNotFound)
	assert.ErrorContains(t, err, "read back what is attached to linux/amd64")
	assert.ErrorContains(t, err, "does not list it: the image and its tags are complete: run it again, or use without-attachments")
}

// Tags that can't be overwritten, and weak tags of states, which are no condition.
func TestListsThatAreRefused(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	p.foreign(t, image.Platforms[0].Digest, "a signature")
	p.set(insteadOf(http.MethodPut, "/manifests/sha256-", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
		_, _ = io.WriteString(w, `{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}`)
	}))
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.ErrorContains(t, err, "in tags that start with sha256-")

	for etag, want := range map[string]string{`W/"weak"`: "", `"strong"`: `"strong"`, "": ""} {
		p, job, image := unattached(t, inMemory())
		p.foreign(t, image.Platforms[0].Digest, "a signature")
		var match, none []string
		p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
			switch {
			case !strings.Contains(r.URL.Path, "/manifests/sha256-"):
			case r.Method == http.MethodGet:
				w.Header()["ETag"] = []string{etag}
			case r.Method == http.MethodPut:
				match, none = append(match, r.Header.Get("If-Match")), append(none, r.Header.Get("If-None-Match"))
			}
			return false
		})
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Equal(t, []string{want, ""}, match, etag)
		assert.Equal(t, []string{"", "*"}, none, etag)
	}
}

// What the clients' list names may be lost: it is sent again.
func TestArtifactsThatAreLost(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	want := p.listing(t, image)
	require.NoError(t, drop(p, p.referrers(t, image.Platforms[0].Digest)[0].Digest.String()))
	report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	assert.Len(t, report.Repositories[0].Done, 1)
	assert.Equal(t, want, p.listing(t, image))
}

func verifyAttached(t *testing.T, p *peer, r *release, sboms bool) *oci.Verification {
	t.Helper()
	verified, err := oci.VerifyImage(t.Context(), r.load().Manifest, p.repository(t, fast), oci.VerifyOptions{Attached: true, SBOMs: sboms})
	require.NoError(t, err)
	return verified
}

func TestVerifyAttached(t *testing.T) {
	for kind, inner := range registries {
		p, job, image := unattached(t, inner())
		r := billed(t, "1.2.3")
		none := verifyAttached(t, p, r, false)
		assert.Empty(t, none.Findings, kind)
		assert.Empty(t, none.Attached, kind)
		lacking := verifyAttached(t, p, r, true)
		assert.Contains(t, lacking.Text(), "- linux/arm64: server-1.2.3-aarch64-unknown-linux-musl.spdx.json is not attached: publish the image again", kind)
		assert.Len(t, lacking.Findings, 3, kind)

		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		other := p.foreign(t, image.Platforms[0].Digest, "a signature")
		verified := verifyAttached(t, p, r, true)
		assert.Empty(t, verified.Findings, kind)
		assert.Len(t, verified.Attached, 4, kind)
		assert.Contains(t, verified.Text(), "linux/arm64: attached "+spdx+" sha256:", kind)
		assert.Contains(t, verified.Text(), ", the release's server-1.2.3-aarch64-unknown-linux-musl.spdx.json\n", kind)
		assert.Contains(t, verified.Text(), other.String()+", not from the release\n", kind)
	}
}

// Lists may lack the types of artifacts, which their manifests have.
func TestVerifyUnknownTypes(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	for _, platform := range image.Platforms {
		tag := "sha256-" + platform.Digest.Hex
		list := regexp.MustCompile(`,"artifactType":"[^"]*"`).ReplaceAllString(p.raw(t, ":"+tag), "")
		p.write(t, tag, types.OCIImageIndex, []byte(list))
	}
	verified := verifyAttached(t, p, billed(t, "1.2.3"), true)
	assert.Empty(t, verified.Findings)
	assert.Contains(t, verified.Text(), "linux/arm64: attached "+spdx+" sha256:")
}

// A bill of materials counts only if it is the release's, of that platform.
func TestVerifyOtherBills(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	bill := job.Attachments[0]
	require.Equal(t, "linux/amd64", bill.Platform)
	other := note("linux/amd64", "another bill")
	other.ArtifactType, other.Name = bill.ArtifactType, bill.Name
	job.Attachments[0] = other
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	verified := verifyAttached(t, p, billed(t, "1.2.3"), true)
	assert.Contains(t, verified.Text(), cycloneDX+" "+p.referrers(t, image.Platforms[0].Digest)[0].Digest.String()+", not from the release\n")
	require.Len(t, verified.Findings, 1)
	assert.Contains(t, verified.Text(), "- linux/amd64: server-1.2.3-x86_64-unknown-linux-musl.cdx.json is not attached")

	// An artifact of another platform that a list names all the same.
	p.write(t, "sha256-"+image.Platforms[0].Digest.Hex, types.OCIImageIndex, []byte(p.raw(t, ":sha256-"+image.Platforms[1].Digest.Hex)))
	assert.Len(t, verifyAttached(t, p, billed(t, "1.2.3"), true).Findings, 1)

	// A release without any.
	bare := newRelease(t, "1.2.3", both...)
	bare.manifest.Image.Base = "scratch"
	assert.Contains(t, verifyAttached(t, p, bare, true).Text(), `- linux/amd64: the release has no bill of materials of "server-1.2.3-x86_64-unknown-linux-musl.tar.gz": release a new version, without sbom = false`)
	assert.Empty(t, verifyAttached(t, p, bare, false).Findings)
}

// Damage is told, and is a finding where the bills of materials must be there. A failed
// read proves nothing.
func TestVerifyDamagedBills(t *testing.T) {
	p, job, image := unattached(t, inMemory())
	_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
	require.NoError(t, err)
	bill := job.Attachments[0]
	manifest := "/manifests/" + p.referrers(t, image.Platforms[0].Digest)[0].Digest.String()
	for name, c := range map[string]struct {
		part   string
		answer http.HandlerFunc
		says   string
	}{
		"other bytes": {"/blobs/sha256:" + bill.SHA256, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), int(bill.Size)))
		}, "error verifying sha256 checksum"},
		"fewer bytes": {"/blobs/sha256:" + bill.SHA256, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, "error verifying"},
		"no manifest": {manifest, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, unknown)
		}, "not in the registry"},
	} {
		p.set(insteadOf(http.MethodGet, c.part, c.answer))
		verified := verifyAttached(t, p, billed(t, "1.2.3"), false)
		assert.Empty(t, verified.Findings, name)
		assert.Contains(t, verified.Text(), ", which is damaged: ", name)
		assert.Contains(t, verified.Text(), c.says, name)
		verified = verifyAttached(t, p, billed(t, "1.2.3"), true)
		require.Len(t, verified.Findings, 1, name)
		assert.Contains(t, verified.Findings[0].String(), "is not attached", name)
	}
	for _, part := range []string{"/blobs/sha256:" + bill.SHA256, manifest, "/referrers/"} {
		p.set(insteadOf(http.MethodGet, part, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
		_, err := oci.VerifyImage(t.Context(), billed(t, "1.2.3").load().Manifest, p.repository(t, fast), oci.VerifyOptions{Attached: true})
		assert.ErrorContains(t, err, "403", part)
	}
}

// A release without bills of materials is not asked for what is attached.
func TestNoBillsAreNotMissing(t *testing.T) {
	p := newPeer(t)
	rel := newRelease(t, "1.2.3", both...)
	rel.manifest.Image.Base = "scratch"
	_, err := oci.Publish(t.Context(), publication(rel.assemble(), "1.2.3"), p.repository(t, fast))
	require.NoError(t, err)
	gets := 0
	p.set(func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			gets++
		}
		return false
	})
	missing := oci.MissingFrom(t.Context(), oci.Candidate{Release: rel.load(), Repositories: []*oci.Repository{p.repository(t, fast)}})
	assert.Empty(t, missing[0])
	assert.Equal(t, 1, gets, "the index is read once")
}

// Reconciling finds what isn't attached, if it is to be.
func TestMissingBills(t *testing.T) {
	for kind, inner := range registries {
		p, job, image := unattached(t, inner())
		missing := func(without bool) [][]oci.Lack {
			return oci.MissingFrom(t.Context(), oci.Candidate{Release: billed(t, "1.2.3").load(), Repositories: []*oci.Repository{p.repository(t, fast)}, WithoutBills: without})
		}
		lacks := missing(false)
		require.Len(t, lacks[0], 1, kind)
		assert.Equal(t, "the image of linux/amd64 lacks server-1.2.3-x86_64-unknown-linux-musl.cdx.json", lacks[0][0].Why, kind)
		assert.Empty(t, missing(true)[0], kind)
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Empty(t, missing(false)[0], kind)
		require.NoError(t, drop(p, p.referrers(t, image.Platforms[1].Digest)[0].Digest.String()))
		lacks = missing(false)
		require.Len(t, lacks[0], 1, kind)
		assert.Contains(t, lacks[0][0].Why, "the image of linux/arm64 lacks server-1.2.3-aarch64-unknown-linux-musl.", kind)
	}
}

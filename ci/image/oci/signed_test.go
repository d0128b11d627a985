package oci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/published"
)

const (
	bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	builder    = "https://github.com/acme/server/.github/workflows/images.yml@refs/heads/main"
)

func newSigner(t testing.TB) attest.Signer {
	t.Helper()
	key, err := attest.NewKey()
	require.NoError(t, err)
	return attest.Signer{Author: key, Builder: builder, Version: "0.1.0"}
}

// signing is the publication of a release with its bills of materials, signed.
func signing(t testing.TB, by attest.Signer) (oci.Publication, *oci.Image, *published.Release) {
	loaded := billed(t, "1.2.3").load()
	job, image := attaching(t, billed(t, "1.2.3"))
	job.Sign = oci.Signatures(loaded, by)
	return job, image, loaded
}

// bundles are what another client finds attached to a digest as bundles, by the type of
// the predicate.
func (p *peer) bundles(t testing.TB, digest v1.Hash) map[string][]v1.Manifest {
	t.Helper()
	all := map[string][]v1.Manifest{}
	for _, d := range p.referrers(t, digest) {
		var m v1.Manifest
		require.NoError(t, json.Unmarshal([]byte(p.raw(t, "@"+d.Digest.String())), &m))
		if m.ArtifactType == bundleType {
			assert.Equal(t, m.Annotations, d.Annotations, "the list has other annotations")
			all[m.Annotations["dev.sigstore.bundle.predicateType"]] = append(all[m.Annotations["dev.sigstore.bundle.predicateType"]], m)
		}
	}
	return all
}

// blob is a blob of the registry.
func (p *peer) blob(t testing.TB, digest v1.Hash) []byte {
	t.Helper()
	rec := httptest.NewRecorder()
	p.inner.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/v2/acme/server/blobs/"+digest.String(), nil))
	require.Equal(t, http.StatusOK, rec.Code)
	return rec.Body.Bytes()
}

// An image is signed before it gets a tag, the index and every platform, in every
// registry alike; nothing else changes, and a second run sends nothing.
func TestSign(t *testing.T) {
	by := newSigner(t)
	public := by.Author.Verifier().(*attest.PublicKey).String()
	for kind, inner := range registries {
		plain := newPeerOf(t, inner())
		job, image, loaded := signing(t, by)
		unsigned := job
		unsigned.Sign = nil
		_, err := oci.Publish(t.Context(), unsigned, plain.repository(t, fast))
		require.NoError(t, err)

		p := newPeerOf(t, inner())
		job.DryRun = true
		dry, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Contains(t, dry.Text(), "would attach signature.sigstore.json: the index lacks this "+bundleType, kind)
		job.DryRun = false
		report, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Equal(t, dry.Repositories[0].Planned, report.Repositories[0].Planned, kind)
		assert.Equal(t, report.Repositories[0].Planned, report.Repositories[0].Done, kind)
		last := slices.IndexFunc(report.Repositories[0].Done, func(s oci.Step) bool { return s.Why == "the index lacks this "+bundleType })
		tag := slices.IndexFunc(report.Repositories[0].Done, func(s oci.Step) bool { return s.Action == oci.ActionTag })
		require.True(t, last > 0 && last < tag, "%s: %v", kind, report.Repositories[0].Done)
		assert.Equal(t, plain.imageTags(t), p.imageTags(t), "signing changed the image or its tags: %s", kind)

		digests := []v1.Hash{image.Digest, image.Platforms[0].Digest, image.Platforms[1].Digest}
		for _, digest := range digests {
			got := p.bundles(t, digest)
			require.Len(t, got, 2, kind)
			for predicateType, all := range got {
				require.Len(t, all, 1, kind)
				require.NotNil(t, all[0].Subject, kind)
				assert.Equal(t, digest, all[0].Subject.Digest, kind)
				assert.Equal(t, map[string]string{
					"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicateType, "org.opencontainers.image.created": "2026-04-14T09:30:00Z",
				}, all[0].Annotations, kind)
				require.Len(t, all[0].Layers, 1, kind)
				assert.Equal(t, bundleType, string(all[0].Layers[0].MediaType), kind)
				require.NoError(t, attest.CheckType(t.Context(), by.Author.Verifier(), p.blob(t, all[0].Layers[0].Digest), digest.Hex, predicateType), kind)
			}
		}

		for _, builder := range []string{by.Builder, "", "https://ci.example/another"} {
			other := by
			other.Builder, other.Version = builder, by.Version+builder
			job.Sign = oci.Signatures(loaded, other)
			again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
			require.NoError(t, err)
			assert.Zero(t, again.Repositories[0].BytesPushed, kind)
			assert.Empty(t, again.Repositories[0].Done, "%s: %q", kind, builder)
			assert.Contains(t, again.Text(), "nothing to do: keep provenance.sigstore.json: the index has it", kind)
		}

		verified := verifySigned(t, p, loaded, by.Author.Verifier())
		assert.Empty(t, verified.Findings, kind)
		assert.Contains(t, verified.Text(), "the index: attached "+bundleType+" sha256:", kind)
		assert.Contains(t, verified.Text(), "signed by the key "+public+", with the predicate https://slsa.dev/provenance/v1 of the builder "+builder, kind)
		assert.Equal(t, 6, strings.Count(verified.Text(), "signed by the key "+public), kind)
		unchecked := verifySigned(t, p, loaded, nil)
		assert.Empty(t, unchecked.Findings, kind)
		assert.Equal(t, 6, strings.Count(unchecked.Text(), ", not checked: pass --verification-key"), "%s: %s", kind, unchecked.Text())
	}
}

func verifySigned(t testing.TB, p *peer, r *published.Release, by attest.Verifier) *oci.Verification {
	t.Helper()
	verified, err := oci.VerifyImage(t.Context(), r.Manifest, p.repository(t, fast), oci.VerifyOptions{Attached: true, By: by, ManifestSHA256: r.ManifestSHA256})
	require.NoError(t, err)
	return verified
}

// The provenance names the release, its archives and the base images.
func TestImageProvenance(t *testing.T) {
	by := newSigner(t)
	rel := newRelease(t, "1.2.3", both...)
	loaded := rel.load()
	image := assembled(t, loaded, oci.AssembleOptions{})
	attachments, err := oci.Signatures(loaded, by)(t.Context(), "registry.example/acme/server", image.Index)
	require.NoError(t, err)
	require.Len(t, attachments, 6)
	assert.Equal(t, "", attachments[5].Platform, "the index is last")
	text, err := attachments[5].Read(t.Context())
	require.NoError(t, err)
	var bundle struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	require.NoError(t, json.Unmarshal(text, &bundle))
	var indented bytes.Buffer
	require.NoError(t, json.Indent(&indented, bundle.Envelope.Payload, "", "  "))
	golden(t, "provenance.json", indented.String()+"\n")
	for _, want := range append([]string{image.Digest.Hex, image.Platforms[0].Digest.Hex, image.Platforms[1].Digest.Hex, loaded.ManifestSHA256, commit, builder},
		archivesOf(loaded)...) {
		assert.Contains(t, indented.String(), want)
	}
	for platform, pin := range pinsOf(image) {
		assert.Contains(t, indented.String(), strings.TrimPrefix(pin.Digest, "sha256:"), platform)
	}
}

func archivesOf(r *published.Release) (digests []string) {
	for _, a := range r.Manifest.Archives() {
		digests = append(digests, a.SHA256)
	}
	return digests
}

type signs = func(context.Context, string, v1.ImageIndex) ([]oci.Attachment, error)

// changed attaches other bytes than were signed.
func changed(t *testing.T, sign signs, change func([]byte) []byte) signs {
	return func(ctx context.Context, repository string, index v1.ImageIndex) ([]oci.Attachment, error) {
		all, err := sign(ctx, repository, index)
		require.NoError(t, err)
		for i := range all {
			text, err := all[i].Read(t.Context())
			require.NoError(t, err)
			text = change(bytes.Clone(text))
			all[i].SHA256, all[i].Size, all[i].Equivalent = digestOf(text), int64(len(text)), nil
			all[i].Read = func(context.Context) ([]byte, error) { return text, nil }
		}
		return all, nil
	}
}

// flipped changes one bit of each statement.
func flipped(t *testing.T, sign signs) signs {
	return changed(t, sign, func(text []byte) []byte {
		text[bytes.Index(text, []byte(`"payload":"`))+40] ^= 1
		return text
	})
}

// Whoever lacks the key can't sign: each change is refused with its reason.
func TestVerifyRefusesSignatures(t *testing.T) {
	by, stranger := newSigner(t), newSigner(t)
	job, image, loaded := signing(t, by)
	other := newRelease(t, "1.2.3", both...)
	otherLoaded := other.load()
	otherImage := assembled(t, otherLoaded, oci.AssembleOptions{})
	require.NotEqual(t, image.Digest, otherImage.Digest)
	for name, c := range map[string]struct {
		sign signs
		says string
	}{
		"nothing":     {nil, "the index has no signature by the " + by.Author.Verifier().Who() + ": nothing else is attached as " + bundleType},
		"another key": {oci.Signatures(loaded, stranger), "it is signed with another key"},
		"another image": {func(ctx context.Context, repository string, _ v1.ImageIndex) ([]oci.Attachment, error) {
			return oci.Signatures(otherLoaded, by)(ctx, repository, otherImage.Index)
		}, "it is about sha256:" + otherImage.Digest.Hex + ", not sha256:" + image.Digest.Hex},
		"one flipped bit of the payload": {flipped(t, oci.Signatures(loaded, by)), "it was changed"},
		"no JSON":                        {changed(t, oci.Signatures(loaded, by), func(text []byte) []byte { return text[1:] }), "it is not a Sigstore bundle in JSON"},
	} {
		p := newPeerOf(t, inMemory())
		job.Sign = c.sign
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err, name)
		verified := verifySigned(t, p, loaded, by.Author.Verifier())
		require.Len(t, verified.Findings, 2, name)
		assert.Contains(t, verified.Findings[0].String(), "the index has no signature by the key ", name)
		assert.Contains(t, verified.Findings[1].String(), "the index has no provenance by the key ", name)
		assert.Contains(t, verified.Findings[0].String(), c.says, name)

		job.Sign = oci.Signatures(loaded, by)
		repaired, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err, name)
		assert.Len(t, repaired.Repositories[0].Done, 6, name)
		assert.Empty(t, verifySigned(t, p, loaded, by.Author.Verifier()).Findings, name)
	}
}

// Signatures that can't be attached leave no tag behind, and the next run completes.
func TestSignBeforeTags(t *testing.T) {
	by := newSigner(t)
	for kind, inner := range registries {
		p := newPeerOf(t, inner())
		job, _, loaded := signing(t, by)
		first := true
		p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/sha256:") {
				return false
			}
			body := readBody(t, r)
			if !bytes.Contains(body, []byte(bundleType)) || !first {
				return false
			}
			first = false
			w.WriteHeader(http.StatusForbidden)
			return true
		})
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.ErrorContains(t, err, "signature.sigstore.json", kind)
		assert.ErrorContains(t, err, "no tag was written: run it again", kind)
		assert.Empty(t, p.imageTags(t), kind)
		_, err = oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err, kind)
		assert.Len(t, p.imageTags(t), 4, kind)
		assert.Empty(t, verifySigned(t, p, loaded, by.Author.Verifier()).Findings, kind)
	}
}

// readBody returns the body of a request, which can be read again.
func readBody(t testing.TB, r *http.Request) []byte {
	t.Helper()
	var body bytes.Buffer
	_, err := body.ReadFrom(r.Body)
	require.NoError(t, err)
	r.Body = http.NoBody
	if body.Len() > 0 {
		r.Body = nopCloser{bytes.NewReader(body.Bytes())}
	}
	return body.Bytes()
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

// Reconciling with a key finds images that it didn't sign.
func TestMissingSignatures(t *testing.T) {
	by := newSigner(t)
	for kind, inner := range registries {
		p, job, image := unattached(t, inner())
		missing := func(by attest.Verifier) []oci.Lack {
			return oci.MissingFrom(t.Context(), oci.Candidate{Release: billed(t, "1.2.3").load(), Repositories: []*oci.Repository{p.repository(t, fast)}, WithoutBills: true, By: by})[0]
		}
		assert.Empty(t, missing(nil), kind)
		lacks := missing(by.Author.Verifier())
		require.Len(t, lacks, 1, kind)
		assert.Equal(t, "the image is not signed by the key "+by.Author.Verifier().(*attest.PublicKey).String(), lacks[0].Why, kind)
		job.Sign = oci.Signatures(billed(t, "1.2.3").load(), by)
		_, err := oci.Publish(t.Context(), job, p.repository(t, fast))
		require.NoError(t, err)
		assert.Empty(t, missing(by.Author.Verifier()), kind)
		assert.Len(t, missing(newSigner(t).Author.Verifier()), 1, kind)
		for _, d := range p.referrers(t, image.Digest) {
			if d.Annotations["dev.sigstore.bundle.predicateType"] == attest.ProvenancePredicateType {
				require.NoError(t, drop(p, d.Digest.String()))
			}
		}
		lacks = missing(by.Author.Verifier())
		require.Len(t, lacks, 1, kind)
		assert.Equal(t, "the image has no provenance by the key "+by.Author.Verifier().(*attest.PublicKey).String(), lacks[0].Why, kind)
	}
}

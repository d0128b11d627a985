package oci

import (
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// A login is for its registry or path, however that is written.
func TestLoginOfAPath(t *testing.T) {
	for _, test := range []struct {
		address, repository string
		known               bool
	}{
		{"ghcr.io", "ghcr.io/owner/app", true},
		{"ghcr.io/", "ghcr.io/owner/app", true},
		{"GHCR.io:443", "ghcr.io/owner/app", true},
		{"ghcr.io/owner", "ghcr.io/owner/app", true},
		{"ghcr.io/owner/", "ghcr.io/owner/app", true},
		{"ghcr.io/owner/app", "ghcr.io/owner/app", true},
		{"ghcr.io/own", "ghcr.io/owner/app", false},
		{"ghcr.io/owner/app", "ghcr.io/owner/application", false},
		{"ghcr.io", "quay.io/owner/app", false},
	} {
		login, err := Login(test.address, "me", "secret")
		require.NoError(t, err, test.address)
		repository, err := name.NewRepository(test.repository)
		require.NoError(t, err)
		auth, err := login.Resolve(repository)
		require.NoError(t, err)
		assert.Equal(t, test.known, auth != authn.Anonymous, "%s for %s", test.address, test.repository)
	}
}

// Only the refusal of a write is that of a tag which can't be moved.
func TestRefusalsOfImmutableTags(t *testing.T) {
	refusal := func(method string, status int, message string) *transport.Error {
		return &transport.Error{
			StatusCode: status, Errors: []transport.Diagnostic{{Code: transport.ManifestInvalidErrorCode, Message: message}},
			Request: &http.Request{Method: method, URL: &url.URL{Scheme: "https", Host: "immutable.example", Path: "/v2/a/manifests/latest"}},
		}
	}
	for _, message := range []string{"tag is immutable", "The image tag cannot be overwritten", "can't be overwritten", "Write disabled", "IMMUTABILITY policy"} {
		assert.True(t, isImmutable(refusal(http.MethodPut, 400, message)), message)
		assert.True(t, isImmutable(refusal(http.MethodPut, 499, message)), message)
		assert.False(t, isImmutable(refusal(http.MethodPut, 399, message)), message)
		assert.False(t, isImmutable(refusal(http.MethodPut, 500, message)), "a failure says nothing for good")
		assert.False(t, isImmutable(refusal(http.MethodGet, 403, message)), "nothing was to be written")
		assert.False(t, isImmutable(refusal(http.MethodHead, 403, message)), "nothing was to be written")
	}
	assert.False(t, isImmutable(refusal(http.MethodPut, 403, "denied")), "the address may have any word")
}

// brokenIndex can't be read.
type brokenIndex struct{ anIndex }

type anIndex = v1.ImageIndex // it has a method of its own name

var errBroken = errors.New("broken")

func (brokenIndex) IndexManifest() (*v1.IndexManifest, error) { return nil, errBroken }

func TestBasesOfABrokenIndex(t *testing.T) {
	_, err := PinsOf(brokenIndex{})
	assert.ErrorIs(t, err, errBroken)
}

// Each annotation is that of the release; a label of the project's own may say
// another source.
func TestAnnotationsThatAreCompared(t *testing.T) {
	m := &manifest.Manifest{Version: "1.0.0", Commit: "c0ffee", Repository: "https://github.com/acme/app", CommitDate: "2026-01-01T00:00:00Z"}
	good := func() map[string]string {
		return map[string]string{keyVersion: m.Version, keyRevision: m.Commit, keySource: m.Repository, keyCreated: m.CommitDate}
	}
	findings := func(m *manifest.Manifest, have map[string]string) []Finding {
		v := &verifier{m: m, result: &Verification{}}
		v.annotations("the image", have)
		return v.result.Findings
	}
	assert.Empty(t, findings(m, good()))
	for key := range good() {
		have := good()
		have[key] = "other"
		assert.Len(t, findings(m, have), 1, key)
		delete(have, key)
		assert.Len(t, findings(m, have), 1, key)
	}
	labelled := *m
	labelled.Image = &manifest.Image{Labels: map[string]string{keySource: "https://git.example/app", keyVersion: "9"}}
	have := good()
	assert.Len(t, findings(&labelled, have), 1)
	have[keySource] = "https://git.example/app"
	assert.Empty(t, findings(&labelled, have), "only the source may differ")
}

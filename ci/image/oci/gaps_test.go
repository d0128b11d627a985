package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
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
		return map[string]string{imagespec.KeyVersion: m.Version, imagespec.KeyRevision: m.Commit, imagespec.KeySource: m.Repository, imagespec.KeyCreated: m.CommitDate}
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
	labelled.Image = &manifest.Image{Labels: map[string]string{imagespec.KeySource: "https://git.example/app", imagespec.KeyVersion: "9"}}
	have := good()
	assert.Len(t, findings(&labelled, have), 1)
	have[imagespec.KeySource] = "https://git.example/app"
	assert.Empty(t, findings(&labelled, have), "only the source may differ")
}

// A tag of a version is never rewritten, whatever the settings of its image were
// replaced by.
func TestSettingsOfThePublishedImage(t *testing.T) {
	release := func(override string) *published.Release {
		return &published.Release{Manifest: &manifest.Manifest{Version: "1.0.0"}, Override: override}
	}
	const one, two = `{"user":"1:1"}`, `{"user":"2:2"}`
	for _, c := range []struct{ published, given, says string }{
		{"", "", ""},
		{one, one, ""},
		{"", one, "was published with the release's own image settings, and is never rewritten: drop the settings " + one},
		{one, "", "pass the same with with-image-settings (given: none)"},
		{one, two, "image settings that replace the release's, " + one + ", and is never rewritten: pass the same with with-image-settings (given: " + two + ")"},
	} {
		err := (&Published{Repository: "ghcr.io/o/r", Override: c.published}).Agrees(release(c.given))
		if c.says == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, c.says)
		}
		assert.NoError(t, (&Published{Override: c.published}).Agrees(release(c.given)), "no repository has the version yet")
	}
}

// A wait that is cut short is an error, not a registry that lost something.
func TestWaitThatEnds(t *testing.T) {
	stopped := errors.New("stopped")
	w := &work{r: &Repository{o: RegistryOptions{Tries: 3, Sleep: func(context.Context, time.Duration) error { return stopped }}}}
	seen, err := w.soon(t.Context(), func() (bool, error) { return false, nil })
	require.ErrorIs(t, err, stopped)
	assert.False(t, seen)
}

// An upload that the registry lost is made again; what it refuses is not.
func TestLostUploads(t *testing.T) {
	for code, lost := range map[transport.ErrorCode]bool{
		transport.BlobUploadUnknownErrorCode: true, transport.BlobUploadInvalidErrorCode: true,
		transport.BlobUnknownErrorCode: false, transport.ManifestInvalidErrorCode: false,
	} {
		err := &transport.Error{StatusCode: http.StatusNotFound, Errors: []transport.Diagnostic{{Code: code}}}
		assert.Equal(t, lost, transient(fmt.Errorf("push: %w", err)), code)
	}
}

// Who may write asks for the right to, also for reading: some registries deny
// reading a repository that isn't there yet. Nobody in particular may look at
// most.
func TestRightsThatAreAskedFor(t *testing.T) {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	for _, test := range []struct {
		login, write bool
		scope        string
	}{
		{false, false, "pull"}, {false, true, "pull"}, {true, false, "pull"}, {true, true, "push,pull"},
	} {
		var scopes []string
		var s *httptest.Server
		s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/token":
				scopes = append(scopes, r.URL.Query().Get("scope"))
				fmt.Fprint(w, `{"token":"good"}`)
			case r.Header.Get("Authorization") != "Bearer good":
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="x"`, s.URL))
				w.WriteHeader(http.StatusUnauthorized)
			case r.URL.Path == "/v2/":
			case r.Method == http.MethodHead: // it doesn't answer these
				w.WriteHeader(http.StatusMethodNotAllowed)
			default:
				w.WriteHeader(http.StatusNotFound)
				fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)
			}
		}))
		o := RegistryOptions{Tries: 1, PlainHTTP: true}
		if test.login {
			login, err := Login(strings.TrimPrefix(s.URL, "http://"), "me", "secret")
			require.NoError(t, err)
			o.Keychain = login
		}
		r, err := NewRepository(strings.TrimPrefix(s.URL, "http://")+"/acme/app", o)
		require.NoError(t, err)
		if test.write {
			there, err := r.hasManifest(t.Context(), true, digest)
			require.NoError(t, err)
			assert.False(t, there)
		} else {
			_, err := r.Digest(t.Context(), digest.String())
			require.ErrorIs(t, err, ErrNotFound)
		}
		s.Close()
		assert.Equal(t, []string{"repository:acme/app:" + test.scope}, scopes, "%+v", test)
	}
}

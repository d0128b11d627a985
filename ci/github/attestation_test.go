package github

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// sealed publishes an immutable release of one asset, and reads it and the object that
// its tag names.
func sealed(t *testing.T, w *world, tag string) (*Release, string) {
	t.Helper()
	w.repo.Immutable().Seed(fakehub.Seed{Tag: tag, Commit: w.commit, Files: []fakehub.File{{Name: "a.txt", Data: []byte("hello")}}})
	rel, err := w.client().Published(t.Context(), "octo", "hello", tag)
	require.NoError(t, err)
	object, err := w.client().TagObject(t.Context(), "octo", "hello", tag)
	require.NoError(t, err)
	w.hub.Forget()
	return rel, object
}

const helloSum = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

// The attestation of a new release is awaited for about a minute. That of an old one
// is asked for twice, so that its absence is confirmed.
func TestReleaseAttestationIsAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		delay, age, waited time.Duration
		looks              int
		found              bool
	}{
		"there at once":         {0, 0, 0, 1, true},
		"a moment later":        {5 * time.Second, 0, 7 * time.Second, 4, true},
		"at the last look":      {time.Minute, 0, 61 * time.Second, 7, true},
		"too late":              {2 * time.Minute, 0, 61 * time.Second, 7, false},
		"not quite old":         {time.Hour, 9 * time.Minute, 61 * time.Second, 7, false},
		"getting old meanwhile": {time.Hour, 10*time.Minute - 5*time.Second, 7 * time.Second, 4, false},
		"old":                   {time.Hour, 10 * time.Minute, time.Second, 2, false},
		"old, and there":        {0, 10 * time.Minute, 0, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{AttestationDelay: c.delay})
				rel, object := sealed(t, w, "v1.0.0")
				time.Sleep(c.age)
				start := time.Now()
				a, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
				require.NoError(t, err)
				assert.Equal(t, c.waited, time.Since(start))
				assert.Len(t, w.hub.Calls(), c.looks)
				if !c.found {
					require.Nil(t, a)
					return
				}
				require.Equal(t, &Attestation{Object: w.commit, Assets: map[string]string{"a.txt": helloSum}}, a)
			})
		})
	}
}

// The server's clock tells how old a release is.
func TestReleaseAttestationByTheServersClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{AttestationDelay: time.Hour, Now: func() time.Time { return time.Now().Add(24 * time.Hour) }})
		rel, object := sealed(t, w, "v1.0.0")
		_, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.NoError(t, err)
		require.Len(t, w.hub.Calls(), 7)
		time.Sleep(10 * time.Minute)
		w.hub.Forget()
		_, err = w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.NoError(t, err)
		require.Len(t, w.hub.Calls(), 2)
	})
}

// As gh does, the client asks with the tag object of an annotated tag, and of the
// releases of one commit takes the one with the tag.
func TestReleaseAttestationOfTheTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		annotated := w.repo.AnnotatedTag("v1.0.0", w.commit)
		rel, object := sealed(t, w, "v1.0.0")
		require.Equal(t, annotated, object)
		a, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.NoError(t, err)
		require.Equal(t, annotated, a.Object)

		w.repo.Seed(fakehub.Seed{Tag: "cli-v1.0.0", Commit: w.commit})
		rel, object = sealed(t, w, "v1.0.1")
		require.Equal(t, w.commit, object)
		a, err = w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a.txt": helloSum}, a.Assets)

		_, err = w.client().TagObject(t.Context(), "octo", "hello", "v2.0.0")
		require.ErrorIs(t, err, ErrNotFound)
	})
}

// A bundle is read at its address if the list has none, without the token.
func TestReleaseAttestationAtItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{NoBundles: true})
		rel, object := sealed(t, w, "v1.0.0")
		a, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a.txt": helloSum}, a.Assets)
		calls := w.hub.Calls()
		require.Len(t, calls, 2)
		assert.True(t, calls[0].Token)
		assert.Equal(t, "get bundle", calls[1].Op)
		assert.False(t, calls[1].Token)
	})
}

// A read that fails for a while is tried again. What the token may not read, or what
// is gone at its address, is no absence.
func TestReleaseAttestationFaults(t *testing.T) {
	for _, op := range []string{"list attestations", "get bundle"} {
		for kind, says := range map[fakehub.FaultKind]string{
			fakehub.ServerError: "", fakehub.Reset: "", fakehub.RequestTimeout: "", fakehub.TooMany: "",
			fakehub.Denied: "unread",
		} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{NoBundles: true})
				rel, object := sealed(t, w, "v1.0.0")
				match := func(c fakehub.Call) bool { return c.Op == op }
				w.hub.Arm(fakehub.Fault{Kind: kind, N: 1, RetryAfter: time.Second, Match: match})
				a, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
				require.Equal(t, 1, w.hub.FaultsMet())
				if says == "unread" {
					require.ErrorIs(t, err, ErrUnread, "%s on %s", kind, op)
					require.Nil(t, a)
					quiet(t, err.Error())
					return
				}
				require.NoError(t, err, "%s on %s", kind, op)
				require.NotNil(t, a)
				w.hub.Forget()
				w.hub.Arm(fakehub.Fault{Kind: kind, N: 1, Times: -1, RetryAfter: time.Second, Match: match})
				_, err = w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
				require.ErrorContains(t, err, "GitHub's attestation of the release: gave up after 8 tries")
				require.NotErrorIs(t, err, ErrUnread)
				require.NotContains(t, err.Error(), "_attestations/", "the address is signed")
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		rel, object := sealed(t, w, "v1.0.0")
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: 1})
		_, err := w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.ErrorContains(t, err, "permissions: attestations: read")
		w.hub.Forget()
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Secondary, N: 1, Times: -1, RetryAfter: time.Second})
		_, err = w.client().ReleaseAttestation(t.Context(), "octo", "hello", rel, object)
		require.ErrorContains(t, err, "gave up after 8 tries")
		require.NotErrorIs(t, err, ErrUnread, "a limit is no refusal")
	})
}

// attested is an entry in a list of attestations.
func attested(initiator, predicate, tag, subjects string) string {
	statement := fmt.Sprintf(`{"predicateType": %q, "predicate": {"tag": %q}, "subject": [%s]}`, predicate, tag, subjects)
	return fmt.Sprintf(`{"initiator": %q, "bundle": {"dsseEnvelope": {"payload": %q}}}`, initiator, base64.StdEncoding.EncodeToString([]byte(statement)))
}

// Only GitHub's own statement about the release of the tag counts, and one that can't
// be understood is reported as such.
func TestReleaseAttestationAmongOthers(t *testing.T) {
	const v1, v2 = "https://in-toto.io/attestation/release/v0.1", "https://in-toto.io/attestation/release/v0.2"
	object := strings.Repeat("a", 40)
	subjects := fmt.Sprintf(`{"uri": "pkg:github/o/r@v1.0.0", "digest": {"sha1": %q}}, {"name": "a.txt", "digest": {"sha256": %q}}`, object, helloSum)
	ours := attested("github", v2, "v1.0.0", subjects)
	bundle := func(text string) string { return `{"initiator": "github", "bundle": ` + text + `}` }
	for name, c := range map[string]struct {
		list string
		says string // "" if it is found, "none" if there is none
	}{
		"one":                      {ours, ""},
		"of the older type":        {attested("github", v1, "v1.0.0", subjects), ""},
		"none":                     {"", "none"},
		"a user's":                 {attested("user", v2, "v1.0.0", subjects), "none"},
		"of nobody":                {attested("", v2, "v1.0.0", subjects), "none"},
		"of another tag":           {attested("github", v2, "v1.0.1", subjects), "none"},
		"of another type":          {attested("github", "https://slsa.dev/provenance/v1", "v1.0.0", subjects), "none"},
		"after others":             {attested("user", v2, "v1.0.0", "") + "," + attested("github", v2, "v1.0.1", "") + "," + ours, ""},
		"after a user's nonsense":  {`{"initiator": "user", "bundle": 7},` + ours, ""},
		"two":                      {ours + "," + ours, `there are several of tag "v1.0.0"`},
		"a bundle of another form": {bundle(`7`), "its bundle is invalid"},
		"no base64":                {bundle(`{"dsseEnvelope": {"payload": "%"}}`), "its bundle is invalid"},
		"no statement":             {bundle(`{}`), "its statement is invalid"},
		"a statement that is text": {bundle(`{"dsseEnvelope": {"payload": "aGVsbG8="}}`), "its statement is invalid"},
		"no bundle and no address": {bundle(`null`), "its address is invalid"},
		"an address of nothing":    {`{"initiator": "github", "bundle_url": "://"}`, "its address is invalid"},
		"no Snappy":                {`{"initiator": "github", "bundle_url": "https://blob.example/page"}`, "the download is not a bundle"},
		"a huge bundle":            {`{"initiator": "github", "bundle_url": "https://blob.example/huge"}`, "the download is not a bundle"},
		"a broken bundle":          {`{"initiator": "github", "bundle_url": "https://blob.example/broken"}`, "decompress the bundle"},
		"an empty bundle":          {`{"initiator": "github", "bundle_url": "https://blob.example/empty"}`, "its bundle is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, err := New(Options{Transport: answers(func(req *http.Request) (int, string, string) {
					switch req.URL.Path {
					case "/page":
						return 200, "text/html", ""
					case "/huge":
						return 200, "application/x-snappy", "\xff\xff\xff\x7f"
					case "/broken":
						return 200, "application/x-snappy", string(snappy.Encode(nil, []byte("hello"))[:3])
					case "/empty":
						return 200, "application/x-snappy", string(snappy.Encode(nil, nil))
					}
					assert.Equal(t, "/repos/o/r/attestations/sha1:"+object+"?per_page=100&predicate_type=release", req.URL.RequestURI())
					return 200, "application/json", `{"attestations": [` + c.list + `]}`
				})})
				require.NoError(t, err)
				a, err := client.ReleaseAttestation(t.Context(), "o", "r", &Release{Tag: "v1.0.0"}, object)
				switch c.says {
				case "", "none":
					require.NoError(t, err)
					require.Equal(t, c.says == "", a != nil)
					if a != nil {
						require.Equal(t, &Attestation{Object: object, Assets: map[string]string{"a.txt": helloSum}}, a)
					}
				default:
					require.ErrorIs(t, err, ErrUnread)
					require.ErrorContains(t, err, c.says)
					require.NotContains(t, err.Error(), "blob.example", "the address is signed")
					require.Nil(t, a)
				}
			})
		})
	}
}

// A repository with SHA-256 objects is asked for with its own algorithm, as gh does.
func TestReleaseAttestationOfSHA256Repository(t *testing.T) {
	object := strings.Repeat("b", 64)
	asked := ""
	client, err := New(Options{Transport: answers(func(req *http.Request) (int, string, string) {
		asked = req.URL.Path
		return 200, "application/json", `{"attestations": [` + attested("github", "https://in-toto.io/attestation/release/v0.2", "v1.0.0",
			fmt.Sprintf(`{"uri": "pkg:github/o/r@v1.0.0", "digest": {"sha256": %q}}`, object)) + `]}`
	})})
	require.NoError(t, err)
	a, err := client.ReleaseAttestation(t.Context(), "o", "r", &Release{Tag: "v1.0.0"}, object)
	require.NoError(t, err)
	require.Equal(t, "/repos/o/r/attestations/sha256:"+object, asked)
	require.Equal(t, object, a.Object)
}

package published

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// newSealedShop publishes an immutable release. after edits its files.
func newSealedShop(t *testing.T, cfg fakehub.Config, after func(*made)) *shop {
	t.Helper()
	w := newShop(t, cfg, nil, after)
	w.repo.Delete(w.id)
	w.repo.Immutable()
	w.put()
	return w
}

// verifyAwake verifies the release with a client that waits on the bubble's clock,
// which is the server's too.
func (w *shop) verifyAwake(t *testing.T) (*Verification, error) {
	t.Helper()
	client, err := github.New(github.Options{APIURL: w.hub.URL + "api/v3/", Transport: w.hub.Transport(false, false)})
	require.NoError(t, err)
	return Verify(t.Context(), client, "o", "r", "v1.0.0", nil)
}

func isAttestations(c fakehub.Call) bool { return c.Op == "list attestations" }

const (
	attestedNote   = "GitHub attested the release: its tag and 5 assets; verify the signature with: gh release verify v1.0.0 --repo github.test/o/r"
	unattestedNote = "not attested: GitHub has no attestation of this immutable release"
)

// GitHub's attestation of an immutable release is awaited, if the release is new, and
// named. A mutable release costs no request for it.
func TestAttestedRelease(t *testing.T) {
	for name, c := range map[string]struct {
		cfg  fakehub.Config
		age  time.Duration
		says string
		most time.Duration
	}{
		"at once":                     {fakehub.Config{}, 0, attestedNote, 0},
		"by its address":              {fakehub.Config{NoBundles: true}, 0, attestedNote, 0},
		"without the server's digest": {fakehub.Config{NoDigests: true}, 0, attestedNote, 0},
		"after a moment":              {fakehub.Config{AttestationDelay: 10 * time.Second}, 0, attestedNote, time.Minute},
		"not yet":                     {fakehub.Config{AttestationDelay: time.Hour}, 0, unattestedNote, 2 * time.Minute},
		"never":                       {fakehub.Config{AttestationDelay: time.Hour}, 30 * time.Minute, unattestedNote, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSealedShop(t, c.cfg, nil)
				time.Sleep(c.age)
				start := time.Now()
				v, err := w.verifyAwake(t)
				require.NoError(t, err)
				require.NoError(t, v.Err())
				assert.LessOrEqual(t, time.Since(start), c.most)
				assert.Contains(t, v.Text(), "\n"+c.says)
				assert.Contains(t, v.Text(), "verified: every asset")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newShop(t, fakehub.Config{}, nil, nil)
		v, err := w.verifyAwake(t)
		require.NoError(t, err)
		require.NotContains(t, v.Text(), "attest")
		require.False(t, slices.ContainsFunc(w.hub.Calls(), isAttestations))
	})
}

// Each difference between the release and GitHub's attestation is a finding that
// names the asset.
func TestAttestationDiffers(t *testing.T) {
	other := strings.Repeat("0", 64)
	replace := func(name string) func(*shop) {
		return func(w *shop) {
			w.repo.Attest(w.id, func(all []fakehub.Subject) []fakehub.Subject {
				for i := range all {
					if all[i].Name == name {
						all[i].Digest = map[string]string{"sha256": other}
					}
				}
				return all
			})
		}
	}
	for name, c := range map[string]struct {
		after  func(*made)
		tamper func(*shop)
		says   []string
	}{
		"a listed asset": {nil, replace("CHANGELOG.md"), []string{`asset "CHANGELOG.md" has SHA-256 `}},
		"the manifest":   {nil, replace(manifest.FileName), []string{`asset "release-manifest.json" has SHA-256 `}},
		"the checksums":  {nil, replace(manifest.SumsName), []string{`asset "SHA256SUMS" has SHA-256 `}},
		"an asset of nobody's": {func(r *made) { r.files["extra.txt"] = []byte("x") }, replace("extra.txt"), []string{
			`asset "extra.txt" is not listed in release-manifest.json`, `asset "extra.txt" has SHA-256 `,
		}},
		"an asset that it lacks": {nil, func(w *shop) {
			w.repo.Attest(w.id, func(all []fakehub.Subject) []fakehub.Subject {
				return slices.DeleteFunc(all, func(s fakehub.Subject) bool { return s.Name == "CHANGELOG.md" })
			})
		}, []string{`asset "CHANGELOG.md" is not in GitHub's attestation of the release`}},
		"an asset that the release lacks": {nil, func(w *shop) { w.repo.Detach(w.id, "CHANGELOG.md") }, []string{
			`asset "CHANGELOG.md" is missing`, `asset "CHANGELOG.md" is in GitHub's attestation of the release, but not in the release`,
		}},
		"another object": {nil, func(w *shop) {
			w.repo.Attest(w.id, func(all []fakehub.Subject) []fakehub.Subject {
				at := all[0].Digest
				all[0].Digest = map[string]string{"sha1": other[:40]}
				return append(all, fakehub.Subject{Name: "commit", Digest: at})
			})
		}, []string{`GitHub attested tag "v1.0.0" at ` + other[:40] + `, but it is at `, `asset "commit" is in GitHub's attestation`}},
		"an unfinished asset": {func(r *made) { r.files["extra.txt"] = nil }, nil, []string{`asset "extra.txt" is not listed in release-manifest.json`}},
		"no tag":              {nil, func(w *shop) { w.repo.Untag("v1.0.0") }, []string{`tag "v1.0.0" is gone`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Only of a file that nothing lists, the server's digest is needed.
				w := newSealedShop(t, fakehub.Config{NoDigests: name != "an asset of nobody's"}, c.after)
				if c.tamper != nil {
					c.tamper(w)
				}
				v, err := w.verifyAwake(t)
				require.NoError(t, err)
				require.Len(t, v.Findings, len(c.says), v.Findings)
				for i, says := range c.says {
					assert.Contains(t, v.Findings[i], says)
				}
				// Where the attestation itself agrees, it is named nevertheless.
				assert.Equal(t, name == "an unfinished asset", strings.Contains(v.Text(), "GitHub attested the release"))
			})
		})
	}
}

// An annotated tag is attested by its tag object, and verified by its commit.
func TestAttestationOfAnnotatedTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSealedShop(t, fakehub.Config{}, nil)
		object := w.repo.AnnotatedTag("v1.0.0", w.commit)
		w.repo.Attest(w.id, func(all []fakehub.Subject) []fakehub.Subject {
			all[0].Digest = map[string]string{"sha1": object}
			return all
		})
		v, err := w.verifyAwake(t)
		require.NoError(t, err)
		require.Empty(t, v.Findings)
		require.Contains(t, v.Notes, attestedNote)
	})
}

// A token that may not read attestations verifies the rest. What could not be read for
// another reason is an error.
func TestAttestationThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSealedShop(t, fakehub.Config{}, nil)
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: 1, Times: -1, Match: isAttestations})
		v, err := w.verifyAwake(t)
		require.NoError(t, err)
		require.NoError(t, v.Err())
		require.Contains(t, v.Text(), "\nnot compared: could not read GitHub's attestation of the release: the token may not: ")
		require.Contains(t, v.Text(), "gh release verify v1.0.0")
	})
	for _, match := range []func(fakehub.Call) bool{isAttestations, func() func(fakehub.Call) bool {
		refs := 0
		return func(c fakehub.Call) bool { // the second read of the tag is for the attestation
			if c.Op == "get ref" {
				refs++
			}
			return c.Op == "get ref" && refs > 1
		}
	}()} {
		synctest.Test(t, func(t *testing.T) {
			w := newSealedShop(t, fakehub.Config{}, nil)
			w.hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1, Times: -1, Match: match})
			_, err := w.verifyAwake(t)
			require.ErrorContains(t, err, "gave up after 8 tries")
			require.NotContains(t, err.Error(), "does not match its manifest")
		})
	}
}

// gh finds a repository on github.com without the host.
func TestAttestationOnGitHubCom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSealedShop(t, fakehub.Config{}, nil)
		transport := w.hub.Transport(false, false)
		client, err := github.New(github.Options{APIURL: "http://api.github.com/", Transport: transport})
		require.NoError(t, err)
		v, err := Verify(t.Context(), client, "o", "r", "v1.0.0", nil)
		require.NoError(t, err)
		require.Contains(t, v.Text(), "with: gh release verify v1.0.0 --repo o/r\n")
	})
}

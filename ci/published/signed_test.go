package published

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/manifest"
)

const provenance = "app-1.0.0.intoto.jsonl"

// sign adds the signature and the provenance, as phase 1 does.
func (r *made) sign(t *testing.T, key *attest.Key) {
	t.Helper()
	release := attest.Release{Manifest: &r.m, SumsText: r.files[manifest.SumsName]}
	require.Equal(t, provenance, release.ProvenanceName())
	s, err := release.Statement(attest.Build{Repository: "https://github.com/o/r", Version: "0.1.0"})
	require.NoError(t, err)
	r.files[provenance], err = key.SignStatement(t.Context(), s)
	require.NoError(t, err)
	r.files[attest.SignatureName], err = key.SignFile(t.Context(), r.files[manifest.SumsName])
	require.NoError(t, err)
}

// A signed release verifies with its key. With another, or after any change, it is
// refused; without a key, the report tells that nobody looked.
func TestSignedRelease(t *testing.T) {
	key, err := attest.NewKey()
	require.NoError(t, err)
	other, err := attest.NewKey()
	require.NoError(t, err)
	for name, c := range map[string]struct {
		key   attest.Verifier
		spoil func(*made)
		says  []string // findings, or the notes
		wrong bool
	}{
		"right":  {key.Public(), nil, []string{"signed: SHA256SUMS by the key " + key.Public().String() + ", with provenance of the builder urn:gantry:builder:local\n"}, false},
		"no key": {nil, nil, []string{"not checked: SHA256SUMS.sigstore.json and " + provenance + ": pass --verification-key"}, false},
		"another key": {other.Public(), nil, []string{
			`asset "SHA256SUMS.sigstore.json" does not verify: it is signed with another key`, `asset "` + provenance + `" does not verify: it is signed with another key`,
		}, true},
		"neither, and no key": {nil, func(r *made) { delete(r.files, attest.SignatureName); delete(r.files, provenance) }, []string{"not signed: the release has no SHA256SUMS.sigstore.json"}, false},
		"no signature":        {key.Public(), func(r *made) { delete(r.files, attest.SignatureName) }, []string{`asset "SHA256SUMS.sigstore.json" is missing`}, true},
		"no provenance":       {key.Public(), func(r *made) { delete(r.files, provenance) }, []string{`asset "` + provenance + `" is missing`}, true},
		"a page":              {key.Public(), func(r *made) { r.files[provenance] = []byte(page) }, []string{`asset "` + provenance + `" is an HTML page`}, true},
		"each other's":        {key.Public(), func(r *made) { r.files[provenance] = r.files[attest.SignatureName] }, []string{"does not contain an in-toto statement"}, true},
		"made anew by somebody without the key": {key.Public(), func(r *made) {
			r.files["CHANGELOG.md"] = []byte("# Evil\n")
			r.measure()
			r.seal(t)
		}, []string{`asset "SHA256SUMS.sigstore.json" does not verify: it signs another file`, `its subject "CHANGELOG.md" has SHA-256`}, true},
		"of another commit": {key.Public(), func(r *made) {
			r.m.Commit = strings.Repeat("e", 40)
			r.sign(t, key)
			r.m.Commit = ""
		}, []string{`it is about commit "` + strings.Repeat("e", 40)}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newShop(t, fakehub.Config{}, nil, func(r *made) {
					r.sign(t, key)
					if c.spoil != nil {
						c.spoil(r)
					}
				})
				v, err := w.verifyWith(t, c.key)
				require.NoError(t, err)
				for _, says := range c.says {
					assert.Contains(t, v.Text(), says)
				}
				assert.Equal(t, c.wrong, v.Err() != nil, v.Text())
			})
		})
	}
}

// One changed byte anywhere in the signed bytes is noticed.
func TestSignedReleaseByteByByte(t *testing.T) {
	key, err := attest.NewKey()
	require.NoError(t, err)
	r := newMade(t, strings.Repeat("a", 40))
	r.seal(t)
	r.sign(t, key)
	sums := r.files[manifest.SumsName]
	for i := range sums {
		changed := bytes.Clone(sums)
		changed[i] ^= 1
		release := attest.Release{Manifest: &r.m, SumsText: changed}
		require.Error(t, release.CheckSignature(t.Context(), key.Public(), r.files[attest.SignatureName]), "byte %d", i)
	}
}

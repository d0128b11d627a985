package keyless_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/attest/keyless"
	"dagger/gantry/ci/attest/keyless/keylesstest"
	"dagger/gantry/ci/manifest"
)

const workflow = "acme/tally/.github/workflows/release.yml"

// The real cosign signs as a workflow, and verifies that workflow's signature only.
func TestCosign(t *testing.T) {
	s := keylesstest.Start(t, "127.0.0.1:0", "")
	author := s.Author(t, workflow+"@refs/tags/v1.0.0")
	exactly := &keyless.Verifier{Instance: s.Instance, Identity: s.Identity(workflow + "@refs/tags/v1.0.0")}
	require.Equal(t, exactly.Identity, author.Identity)
	t.Run("files", func(t *testing.T) {
		content := []byte("a file\n")
		bundle, err := author.SignFile(t.Context(), content)
		require.NoError(t, err)
		got, err := keyless.IdentityOf(bundle)
		require.NoError(t, err)
		assert.Equal(t, author.Identity, got)
		require.NoError(t, exactly.VerifyFile(t.Context(), bundle, content))
		assert.ErrorContains(t, exactly.VerifyFile(t.Context(), bundle, []byte("another file\n")), "cosign refuses it: ")
		refuses(t, s, exactly, func(v *keyless.Verifier, bundle []byte) error { return v.VerifyFile(t.Context(), bundle, content) }, bundle)
	})
	t.Run("provenance", func(t *testing.T) { provenance(t, s, author, exactly) })
	t.Run("another_ref", func(t *testing.T) {
		content := []byte("a file\n")
		byHand := s.Author(t, workflow+"@refs/heads/main")
		bundle, err := byHand.SignFile(t.Context(), content)
		require.NoError(t, err)
		assert.NoError(t, author.Verifier().VerifyFile(t.Context(), bundle, content), "a re-run by hand is the same workflow")
		assert.ErrorContains(t, exactly.VerifyFile(t.Context(), bundle, content), "release.yml@refs/heads/main of ")
		other := s.Author(t, "acme/tally/.github/workflows/other.yml@refs/heads/main")
		bundle, err = other.SignFile(t.Context(), content)
		require.NoError(t, err)
		assert.ErrorContains(t, author.Verifier().VerifyFile(t.Context(), bundle, content), "it is signed by the identity https://github.com/acme/tally/.github/workflows/other.yml@refs/heads/main")
	})
	t.Run("faults", func(t *testing.T) {
		for _, path := range []string{keylesstest.TokenPath, keylesstest.CertificatePath, keylesstest.EntryPath} {
			// More than cosign itself tries again.
			s.Fail(t, s.URL, path, 3)
			_, err := author.SignFile(t.Context(), []byte("a file\n"))
			require.NoError(t, err, path)
		}
		s.Fail(t, s.URL, keylesstest.EntryPath, 1000)
		_, err := author.SignFile(t.Context(), []byte("a file\n"))
		require.ErrorContains(t, err, "503", "the log is down")
		assert.NotContains(t, err.Error(), "CANARY")
	})
}

// refuses makes sure that no other identity, issuer or Sigstore will do, and no change.
func refuses(t *testing.T, s *keylesstest.Sigstore, v *keyless.Verifier, verify func(*keyless.Verifier, []byte) error, bundle []byte) {
	t.Helper()
	stranger := keylesstest.Start(t, "127.0.0.1:0", "")
	for says, change := range map[string]func(*keyless.Verifier){
		"not by https://github.com/evil/tally":                    func(v *keyless.Verifier) { v.Identity.Subject = "https://github.com/evil/tally" },
		"not by " + v.Identity.Subject + " of https://gitlab.com": func(v *keyless.Verifier) { v.Identity.Issuer = "https://gitlab.com" },
		"cosign refuses it: ":                                     func(v *keyless.Verifier) { v.TrustedRoot = stranger.TrustedRoot },
	} {
		other := *v
		change(&other)
		assert.ErrorContains(t, verify(&other, bundle), says)
	}
	for name, change := range map[string]func(b, material map[string]any){
		"the signature": func(b, _ map[string]any) {
			for _, at := range []string{"messageSignature", "dsseEnvelope"} {
				if content, ok := b[at].(map[string]any); ok {
					flip(content, "signature")
					if all, ok := content["signatures"].([]any); ok {
						flip(all[0].(map[string]any), "sig")
					}
				}
			}
		},
		"the certificate":         func(_, m map[string]any) { flip(m["certificate"].(map[string]any), "rawBytes") },
		"no entry in the log":     func(_, m map[string]any) { delete(m, "tlogEntries") },
		"the promise of the log":  func(_, m map[string]any) { flip(entry(m)["inclusionPromise"].(map[string]any), "signedEntryTimestamp") },
		"the time of the entry":   func(_, m map[string]any) { entry(m)["integratedTime"] = "1000000000" },
		"the entry":               func(_, m map[string]any) { flip(entry(m), "canonicalizedBody") },
		"the proof of the entry":  func(_, m map[string]any) { flip(entry(m)["inclusionProof"].(map[string]any), "rootHash") },
		"a certificate of others": func(_, m map[string]any) { m["certificate"] = map[string]any{"rawBytes": "AA=="} },
	} {
		var b map[string]any
		require.NoError(t, json.Unmarshal(bundle, &b))
		change(b, b["verificationMaterial"].(map[string]any))
		changed, err := json.Marshal(b)
		require.NoError(t, err)
		assert.Error(t, verify(v, changed), name)
	}
}

func entry(material map[string]any) map[string]any {
	return material["tlogEntries"].([]any)[0].(map[string]any)
}

// flip changes a character of a text in base64, in the middle.
func flip(of map[string]any, field string) {
	text, ok := of[field].(string)
	if !ok {
		return
	}
	at := len(text) / 2
	c := "A"
	if text[at] == 'A' {
		c = "B"
	}
	of[field] = text[:at] + c + text[at+1:]
}

// provenance of a release is signed and verified like a file.
func provenance(t *testing.T, s *keylesstest.Sigstore, author *keyless.Author, exactly *keyless.Verifier) {
	m := &manifest.Manifest{Component: "tally", Tag: "v1.0.0", Version: "1.0.0", Commit: strings.Repeat("f5", 20), CommitDate: "2026-04-14T09:30:00Z"}
	sums := archive.Sums{"tally-1.0.0.tar.gz": strings.Repeat("1", 64), manifest.FileName: strings.Repeat("2", 64)}
	text, err := sums.Format()
	require.NoError(t, err)
	r := attest.Release{Manifest: m, SumsText: text}
	statement, err := r.Statement(attest.Build{Repository: "https://github.com/acme/tally", Builder: author.Identity.Subject})
	require.NoError(t, err)
	bundle, err := author.SignStatement(t.Context(), statement)
	require.NoError(t, err)
	builder, err := r.CheckProvenance(t.Context(), exactly, bundle)
	require.NoError(t, err)
	assert.Equal(t, author.Identity.Subject, builder)
	changed := r
	changed.SumsText = []byte(strings.Replace(string(text), "1", "3", 1))
	_, err = changed.CheckProvenance(t.Context(), exactly, bundle)
	assert.ErrorContains(t, err, "but SHA256SUMS lists")
	refuses(t, s, exactly, func(v *keyless.Verifier, bundle []byte) error {
		_, err := r.CheckProvenance(t.Context(), v, bundle)
		return err
	}, bundle)
}

package attest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// canary is the password of the tests: no error may contain it.
const canary = "CANARY-password"

// generate makes a key of each kind that signs.
var generate = map[string]func() (crypto.Signer, error){
	"ecdsa": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"ed25519": func() (crypto.Signer, error) {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	},
}

func pkcs8(t *testing.T, private crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return der
}

func encoded(kind string, content []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
}

// sealed is a key as cosign keeps it.
func sealed(t *testing.T, private crypto.PrivateKey, password string) []byte {
	t.Helper()
	// The parameters of older keys: half the work.
	text, err := encrypted.EncryptWithCustomKDFParameters(pkcs8(t, private), []byte(password), encrypted.Legacy)
	require.NoError(t, err)
	return encoded("ENCRYPTED SIGSTORE PRIVATE KEY", text)
}

func publicPEM(t *testing.T, public crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	require.NoError(t, err)
	return encoded("PUBLIC KEY", der)
}

// example is a release.
func example(t *testing.T) Release {
	t.Helper()
	m := &manifest.Manifest{
		Component: "tally", Tag: "tally-1.4.0", Version: "1.4.0", Commit: strings.Repeat("f5", 20), CommitDate: "2026-04-14T09:30:00Z",
		Toolchain: manifest.Toolchain{
			Image: "docker.io/library/rust:1.85-bookworm@sha256:" + strings.Repeat("1", 64),
			Rustc: "rustc 1.85.0 (4d91de4e4 2025-02-17)", Cargo: "cargo 1.85.0 (d73d2caf9 2024-12-31)",
		},
		Assets: []manifest.Asset{
			{Name: "CHANGELOG.md", Kind: manifest.KindChangelog, SHA256: strings.Repeat("2", 64)},
			{Name: "tally-1.4.0-x86_64-pc-windows-gnu.zip", Kind: manifest.KindArchive, Target: "x86_64-pc-windows-gnu", SHA256: strings.Repeat("3", 64)},
			{Name: "tally-1.4.0-x86_64-unknown-linux-musl.tar.gz", Kind: manifest.KindArchive, Target: "x86_64-unknown-linux-musl", SHA256: strings.Repeat("4", 64)},
		},
	}
	sums := archive.Sums{manifest.FileName: strings.Repeat("5", 64)}
	for _, a := range m.Assets {
		require.NoError(t, sums.Add(a.Name, a.SHA256))
	}
	text, err := sums.Format()
	require.NoError(t, err)
	return Release{Manifest: m, SumsText: text}
}

func newTestKey(t *testing.T) *Key {
	t.Helper()
	k, err := NewKey()
	require.NoError(t, err)
	return k
}

var build = Build{Repository: "https://github.com/acme/tally", Lock: "version = 4\n", Version: "0.1.0",
	Builder: "https://github.com/acme/tally/.github/workflows/release.yml@refs/tags/v1.4.0"}

// Both kinds of keys sign, in every form that is read, and always the same.
func TestSigns(t *testing.T) {
	r := example(t)
	for kind, make := range generate {
		t.Run(kind, func(t *testing.T) {
			private, err := make()
			require.NoError(t, err)
			public, err := ReadPublicKey(publicPEM(t, private.Public()))
			require.NoError(t, err)
			var bundles []string
			for _, c := range []struct {
				text     []byte
				password string
			}{
				{encoded("PRIVATE KEY", pkcs8(t, private)), ""},
				{sealed(t, private, canary), canary},
				{sealed(t, private, canary), canary + "\n"},
				{sealed(t, private, ""), ""},
			} {
				key, err := ReadKey(c.text, []byte(c.password))
				require.NoError(t, err)
				assert.Equal(t, public.String(), key.Public().String())
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v %s", key, key, key, key), "ecdsa.PrivateKey")
				signature, err := key.SignFile(t.Context(), r.SumsText)
				require.NoError(t, err)
				require.NoError(t, r.CheckSignature(t.Context(), public, signature))
				statement, err := r.Statement(build)
				require.NoError(t, err)
				provenance, err := key.SignStatement(t.Context(), statement)
				require.NoError(t, err)
				builder, err := r.CheckProvenance(t.Context(), public, provenance)
				require.NoError(t, err)
				assert.Equal(t, build.Builder, builder)
				bundles = append(bundles, string(signature)+string(provenance))
			}
			for _, b := range bundles {
				assert.Equal(t, bundles[0], b, "the key signs differently each time")
			}
		})
	}
}

// Every other key is refused, with a way out and no secret.
func TestReadKeyRefuses(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	private, err := generate["ecdsa"]()
	require.NoError(t, err)
	sec1, err := x509.MarshalECPrivateKey(private.(*ecdsa.PrivateKey))
	require.NoError(t, err)
	for name, c := range map[string]struct {
		text     []byte
		password string
		says     string
	}{
		"nothing":                   {nil, canary, "it is not a key in PEM: pass the cosign.key"},
		"a password":                {[]byte(canary), canary, "it is not a key in PEM"},
		"no password":               {sealed(t, private, canary), "", "it is encrypted: pass --signing-key-password"},
		"another password":          {sealed(t, private, "other"), canary, "the password does not decrypt it, or the key is damaged: check --signing-key-password"},
		"damaged":                   {encoded("ENCRYPTED COSIGN PRIVATE KEY", []byte(`{"kdf":`+canary)), canary, "the key is damaged"},
		"other parameters":          {encoded("ENCRYPTED COSIGN PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1}},"cipher":{"name":"nacl/secretbox"}}`)), canary, "the key is damaged"},
		"a public key":              {publicPEM(t, private.Public()), "", "it is a public key"},
		"of openssl":                {encoded("EC PRIVATE KEY", sec1), "", `it is a PEM block of type "EC PRIVATE KEY", which can't sign here`},
		"RSA":                       {sealed(t, rsaKey, canary), canary, "it is neither an ECDSA key on P-256 nor an Ed25519 key"},
		"another curve":             {encoded("PRIVATE KEY", pkcs8(t, p384)), "", "it is neither an ECDSA key on P-256 nor an Ed25519 key"},
		"something else in the PEM": {encoded("PRIVATE KEY", []byte(canary)), "", "it is not a private key in PKCS#8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadKey(c.text, []byte(c.password))
			require.ErrorContains(t, err, c.says)
			assert.NotContains(t, fmt.Sprintf("%+v %#v", err, err), "CANARY")
		})
	}
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":       {nil, "it is not a key in PEM: pass the cosign.pub"},
		"a private key": {sealed(t, private, canary), `it is a PEM block of type "ENCRYPTED SIGSTORE PRIVATE KEY", not a public key`},
		"damaged":       {encoded("PUBLIC KEY", []byte("x")), "it is not a public key"},
		"RSA":           {publicPEM(t, rsaKey.Public()), "it is neither an ECDSA key on P-256 nor an Ed25519 key"},
	} {
		t.Run("public: "+name, func(t *testing.T) {
			_, err := ReadPublicKey(c.text)
			require.ErrorContains(t, err, c.says)
		})
	}
}

// A bundle has the fields of the specification, and no other.
func TestBundle(t *testing.T) {
	key := newTestKey(t)
	text, err := key.SignFile(t.Context(), []byte("content"))
	require.NoError(t, err)
	var b map[string]any
	require.NoError(t, json.Unmarshal(text, &b))
	message := b["messageSignature"].(map[string]any)
	assert.Equal(t, map[string]any{
		"mediaType":            "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{"publicKey": map[string]any{"hint": strings.TrimPrefix(key.Public().String(), "SHA256:")}},
		"messageSignature": map[string]any{
			"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": "7XACtDnprIRfIjV9giusFERzD722AW0+yUMil7nsn3M="},
			"signature":     message["signature"],
		},
	}, b)
	assert.Equal(t, 1, strings.Count(string(text), "\n"), "it is not one line")
}

// The provenance has these fields; a change of them is one of the build type.
func TestStatement(t *testing.T) {
	r := example(t)
	s, err := r.Statement(build)
	require.NoError(t, err)
	got, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	golden := filepath.Join("testdata", "statement.json")
	if *update {
		require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got)+"\n")

	r.Manifest.Toolchain.Image = "" // the caller's container
	local, err := r.Statement(Build{Repository: build.Repository, Given: Given{Dist: true, Binaries: []string{"x86_64-pc-windows-msvc"}, Files: []string{"guide.pdf"}}})
	require.NoError(t, err)
	assert.Equal(t, LocalBuilder, local.Predicate.RunDetails.Builder.ID)
	assert.Nil(t, local.Predicate.RunDetails.Builder.Version)
	assert.Len(t, local.Predicate.BuildDefinition.ResolvedDependencies, 1)
	external, err := json.Marshal(local.Predicate.BuildDefinition.ExternalParameters)
	require.NoError(t, err)
	assert.Contains(t, string(external), `"dist":true,"binaries":["x86_64-pc-windows-msvc"],"files":["guide.pdf"]`)
}

// Whatever is changed, a signature and provenance are refused.
func TestRefuses(t *testing.T) {
	r, key, other := example(t), newTestKey(t), newTestKey(t)
	signature, err := key.SignFile(t.Context(), r.SumsText)
	require.NoError(t, err)
	statement := func(change func(*Statement)) []byte {
		s, err := r.Statement(build)
		require.NoError(t, err)
		change(s)
		text, err := key.SignStatement(t.Context(), s)
		require.NoError(t, err)
		return text
	}
	provenance := statement(func(*Statement) {})
	edit := func(text []byte, change func(*bundle)) []byte {
		b, err := parse(text)
		require.NoError(t, err)
		change(b)
		text, err = json.Marshal(b)
		require.NoError(t, err)
		return text
	}
	changed := r
	changed.SumsText = []byte(strings.Replace(string(r.SumsText), "2", "1", 1))
	flip := func(b []byte) { b[len(b)-1] ^= 1 }

	assert.ErrorContains(t, r.CheckSignature(t.Context(), other.Public(), signature), "it is signed with another key, "+fmt.Sprintf("%q", key.public.hint))
	assert.ErrorContains(t, changed.CheckSignature(t.Context(), key.Public(), signature), "it signs another file, with the SHA2_256 ")
	for says, text := range map[string][]byte{
		"it was changed":                      edit(signature, func(b *bundle) { flip(b.MessageSignature.Signature) }),
		"it signs another file":               edit(signature, func(b *bundle) { flip(b.MessageSignature.MessageDigest.Digest) }),
		"it contains no signature of a file":  provenance,
		"it is not a Sigstore bundle in JSON": signature[1:],
		`it has the media type "application/vnd.dev.sigstore.bundle+json;version=0.1"`: edit(signature, func(b *bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1" }),
		"it is not signed with a key, but with a certificate":                          edit(signature, func(b *bundle) { b.VerificationMaterial.PublicKey = nil }),
	} {
		assert.ErrorContains(t, r.CheckSignature(t.Context(), key.Public(), text), says)
	}

	for says, text := range map[string][]byte{
		"it was changed": edit(provenance, func(b *bundle) { flip(b.Envelope.Payload) }),
		"it does not contain an in-toto statement with one signature": edit(provenance, func(b *bundle) { b.Envelope.PayloadType = "text/plain" }),
		"not contain an in-toto statement":                            edit(provenance, func(b *bundle) { b.Envelope.Signatures = append(b.Envelope.Signatures, b.Envelope.Signatures[0]) }),
		"contain an in-toto statement with one":                       signature,
		`with the predicate "https://slsa.dev/provenance/v0.2", not`:  statement(func(s *Statement) { s.PredicateType = "https://slsa.dev/provenance/v0.2" }),
		"it lacks the subject":                                        statement(func(s *Statement) { s.Subject = s.Subject[1:] }),
		"or it has it twice":                                          statement(func(s *Statement) { s.Subject = append(s.Subject, s.Subject[0]) }),
		`its subject "other" is not listed in SHA256SUMS`:             statement(func(s *Statement) { s.Subject[0].Name = "other" }),
		"has SHA-256 abc, but SHA256SUMS lists":                       statement(func(s *Statement) { s.Subject[0].Digest = sha256Of("abc") }),
		`its build type is "x", not "` + buildType:                    statement(func(s *Statement) { s.Predicate.BuildDefinition.BuildType = "x" }),
		`it is about the tag "v9" of `:                                statement(func(s *Statement) { s.Predicate.BuildDefinition.ExternalParameters.Tag = "v9" }),
		`it is about commit "", not`:                                  statement(func(s *Statement) { s.Predicate.BuildDefinition.ResolvedDependencies = nil }),
		"it names no builder":                                         statement(func(s *Statement) { s.Predicate.RunDetails.Builder.ID = "" }),
	} {
		_, err := r.CheckProvenance(t.Context(), key.Public(), text)
		assert.ErrorContains(t, err, says)
	}
	_, err = r.CheckProvenance(t.Context(), other.Public(), provenance)
	assert.ErrorContains(t, err, "it is signed with another key")
	_, err = changed.CheckProvenance(t.Context(), key.Public(), provenance)
	assert.Error(t, err)
}

func TestCheckBuilder(t *testing.T) {
	for _, id := range []string{"", LocalBuilder, build.Builder, "https://ci.example.com/jobs/release"} {
		assert.NoError(t, CheckBuilder(id), id)
	}
	for _, id := range []string{"release.yml", "/workflow", "https://", "https://user:secret@example.com/x", "a b", "%zz"} {
		assert.ErrorContains(t, CheckBuilder(id), `--builder: `, id)
	}
}

// The largest release that GitHub takes has provenance that is read.
func TestLargest(t *testing.T) {
	r, sums := example(t), archive.Sums{}
	for n := range 1000 {
		require.NoError(t, sums.Add(strings.Repeat("x", 250)+fmt.Sprint(n), strings.Repeat("a", 64)))
	}
	var err error
	r.SumsText, err = sums.Format()
	require.NoError(t, err)
	s, err := r.Statement(build)
	require.NoError(t, err)
	text, err := newTestKey(t).SignStatement(t.Context(), s)
	require.NoError(t, err)
	assert.Less(t, len(text), MaxSize)
}

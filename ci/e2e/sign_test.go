package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/manifest"
)

// keyPair makes a key as cosign does, whose password is in the variable
// SIGNING_PASSWORD and which is in SIGNING_KEY. It returns a line of the private key, and
// the file of the public one.
func keyPair(t *testing.T) (line, public string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	password := canary + "-password"
	sealed, err := encrypted.Encrypt(der, []byte(password))
	require.NoError(t, err)
	text := string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: sealed}))
	t.Setenv("SIGNING_KEY", text)
	t.Setenv("SIGNING_PASSWORD", password)
	t.Setenv("ANOTHER", "another password")
	return strings.Split(text, "\n")[3], publicKey(t, private)
}

// publicKey writes the public key of a private one.
func publicKey(t *testing.T, private *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "cosign.pub")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644))
	return file
}

var signing = []string{"--signing-key=env:SIGNING_KEY", "--signing-key-password=env:SIGNING_PASSWORD"}

// A release that requires a signature gets one from the key of the caller: it verifies
// with that key only, a second run sends nothing, and nothing is built for a key that
// can't sign. The key and its password are in nothing that anybody can read.
func TestSign(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\nsign = \"required\"\n")
	h := newHub(t, source)
	line, public := keyPair(t)
	start := time.Now()

	for says, args := range map[string][]string{
		`Cargo.toml has sign = "required" and there is no key or identity to sign with: pass --signing-key or --oidc-request-url`: nil,
		"the password does not decrypt it":                            {"--signing-key=env:SIGNING_KEY", "--signing-key-password=env:ANOTHER"},
		"--signing-key: it is encrypted: pass --signing-key-password": {"--signing-key=env:SIGNING_KEY"},
		`--builder: "release.yml" is not the URI of a builder`:        append([]string{"--builder=release.yml"}, signing...),
	} {
		refused := h.release(t, source, args...)
		require.Error(t, refused.err)
		assert.Contains(t, refused.said(), says)
		assert.False(t, refused.started(), "something was compiled")
		assert.NotContains(t, refused.log, line)
	}
	assert.Empty(t, h.Calls(), "GitHub was asked for a release that can't be signed")

	const builder = "https://github.com/example/tiny/.github/workflows/release.yml@refs/tags/v1.0.0"
	first := h.release(t, source, append([]string{"--builder=" + builder}, signing...)...)
	require.NoError(t, first.err)
	assert.Contains(t, first.stdout, "note: signed with the key SHA256:")
	assert.Contains(t, first.stdout, "; builder "+builder+"\n")
	assert.NotContains(t, first.stdout+first.log, line, "the key was printed")
	assert.Contains(t, os.Getenv("SIGNING_KEY"), line)
	h.checkSigned(t, source, builder)
	state := h.Dump()
	for _, name := range []string{attest.SignatureName, "tiny-1.0.0.intoto.jsonl"} {
		content, _ := h.repo.Asset("v1.0.0", name)
		t.Logf("%s: %d bytes", name, len(content))
	}

	again := h.release(t, source, signing...) // by another builder
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "sent 0 bytes")
	assert.Contains(t, again.stdout, " 0 writes")
	assert.Equal(t, state, h.Dump(), "a second run changed something")
	noCanaryInEngine(t, start, line)

	verified := call(t, h.at("verify-release", "--tag=v1.0.0", "--verification-key="+public)...)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "signed: SHA256SUMS by the key SHA256:")
	assert.Contains(t, verified.stdout, "with provenance of the builder "+builder)
	unchecked := call(t, h.at("verify-release", "--tag=v1.0.0")...)
	require.NoError(t, unchecked.err)
	assert.Contains(t, unchecked.stdout, "not checked: SHA256SUMS.sigstore.json and tiny-1.0.0.intoto.jsonl: pass --verification-key")
	_, other := keyPair(t)
	wrong := call(t, h.at("verify-release", "--tag=v1.0.0", "--verification-key="+other)...)
	require.Error(t, wrong.err)
	assert.Contains(t, wrong.said(), `asset "SHA256SUMS.sigstore.json" does not verify: it is signed with another key`)
	assert.Contains(t, wrong.said(), `asset "tiny-1.0.0.intoto.jsonl" does not verify: it is signed with another key`)
}

// checkSigned compares every field of the provenance with the run, and the signed
// files with those of a release without a signature.
func (h *hub) checkSigned(t *testing.T, source, builder string) {
	t.Helper()
	asset := func(name string) []byte {
		content, published := h.repo.Asset("v1.0.0", name)
		require.True(t, published, name)
		return content
	}
	out := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, call(t, "--source="+source, "release", "--tag=v1.0.0", "dist", "export", "--path="+out).err)
	unsigned, err := os.ReadFile(filepath.Join(out, manifest.SumsName))
	require.NoError(t, err)
	require.Equal(t, string(unsigned), string(asset(manifest.SumsName)), "signing changed the release")

	var bundle struct{ DSSEEnvelope struct{ Payload []byte } }
	require.NoError(t, json.Unmarshal(asset("tiny-1.0.0.intoto.jsonl"), &bundle))
	var s attest.Statement
	require.NoError(t, json.Unmarshal(bundle.DSSEEnvelope.Payload, &s))
	m, err := manifest.Parse(asset(manifest.FileName))
	require.NoError(t, err)
	lock, err := os.ReadFile(filepath.Join(source, "Cargo.lock"))
	require.NoError(t, err)
	tag := "git+https://" + strings.TrimSuffix(strings.TrimPrefix(h.api, "http://"), "/api/v3/") + "/example/tiny@refs/tags/v1.0.0"
	want := attest.BuildDefinition{
		BuildType:          "urn:gantry:build:cargo-workspace:v1",
		ExternalParameters: attest.External{Source: tag, Tag: "v1.0.0", Component: "tiny", Targets: []string{native}},
		InternalParameters: attest.Internal{CommitDate: m.CommitDate, Rustc: m.Toolchain.Rustc, Cargo: m.Toolchain.Cargo},
		ResolvedDependencies: []attest.Resource{
			{URI: tag, Digest: map[string]string{"gitCommit": strings.TrimSpace(run(t, source, "git", "rev-parse", "HEAD"))}},
		},
	}
	if image, digest, found := strings.Cut(m.Toolchain.Image, "@sha256:"); found {
		want.ResolvedDependencies = append(want.ResolvedDependencies, attest.Resource{Name: "toolchain", URI: "oci://" + image, Digest: map[string]string{"sha256": digest}})
	}
	want.ResolvedDependencies = append(want.ResolvedDependencies, attest.Resource{Name: "Cargo.lock", Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(lock))}})
	assert.Equal(t, want, s.Predicate.BuildDefinition)
	assert.Equal(t, builder, s.Predicate.RunDetails.Builder.ID)
	sums, err := archive.ParseSums(unsigned)
	require.NoError(t, err)
	subjects := archive.Sums{}
	for _, subject := range s.Subject {
		subjects[subject.Name] = subject.Digest["sha256"]
	}
	assert.Equal(t, sums, subjects)
}

// An image is signed by the key of the caller: it verifies with that key only, it is the
// same image as without a signature, a second run sends nothing, and a key that can't sign
// stops the publication before anything is pushed.
func TestSignedImage(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source).err)
	local, inside := os.Getenv("GANTRY_REGISTRY"), os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	repository := fmt.Sprintf("/test/signed-%d", time.Now().UnixNano())
	images := func(args ...string) result {
		t.Helper()
		return call(t, h.images(args...)...)
	}
	publish := append([]string{"image", "--tag=v1.0.0", "publish", "--addresses=" + inside + repository}, signing...)
	line, public := keyPair(t)
	start := time.Now()

	for says, args := range map[string][]string{
		"the password does not decrypt it":                            {"image", "--tag=v1.0.0", "publish", "--addresses=" + inside + repository, "--signing-key=env:SIGNING_KEY", "--signing-key-password=env:ANOTHER"},
		`--builder: "images.yml" is not the URI of a builder`:         append([]string{"image", "--tag=v1.0.0", "publish", "--addresses=" + inside + repository, "--builder=images.yml"}, signing...),
		"a signature with without-attachments":                        append([]string{"without-attachments"}, publish...),
		"--verification-key: it is not a key in PEM: pass the cosign": {"image", "--tag=v1.0.0", "verify", "--ref=" + inside + repository, "--verification-key=" + filepath.Join(source, "Cargo.toml")},
	} {
		refused := images(args...)
		require.Error(t, refused.err, says)
		assert.Contains(t, refused.said(), says)
		assert.NotContains(t, refused.log, line)
	}
	_, err := remote.Index(must(t, local+repository+":1.0.0"))
	require.Error(t, err, "it was published with a key that can't sign")

	const builder = "https://github.com/example/tiny/.github/workflows/images.yml@refs/heads/main"
	first := images(append(slices.Clone(publish), "--builder="+builder)...)
	require.NoError(t, first.err)
	assert.Contains(t, first.stdout, "done: attach signature.sigstore.json: the index lacks this "+attest.BundleType)
	assert.Contains(t, first.stdout, "done: attach provenance.sigstore.json: linux/amd64 lacks this "+attest.BundleType)
	assert.NotContains(t, first.stdout+first.log, line, "the key was printed")
	digest := images("image", "--tag=v1.0.0", "digest")
	require.NoError(t, digest.err)
	index, err := remote.Index(must(t, local+repository+":latest"))
	require.NoError(t, err)
	have, err := index.Digest()
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(digest.stdout), have.String(), "signing changed the image")

	again := images(publish...) // by another builder
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "pushed 0 bytes")
	assert.NotContains(t, again.stdout, "done: ")
	assert.Contains(t, again.stdout, "nothing to do: keep provenance.sigstore.json: the index has it")
	reconciled := images(append([]string{"reconcile", "--addresses=" + inside + repository}, signing...)...)
	require.NoError(t, reconciled.err)
	assert.Contains(t, reconciled.stdout, "v1.0.0: ok: nothing is missing")
	noCanaryInEngine(t, start, line)

	verified := images("image", "--tag=v1.0.0", "verify", "--ref="+inside+repository, "--verification-key="+public)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "signed by the key SHA256:")
	assert.Contains(t, verified.stdout, "of the builder "+builder)
	unchecked := images("image", "--tag=v1.0.0", "verify", "--ref="+inside+repository)
	require.NoError(t, unchecked.err)
	assert.Contains(t, unchecked.stdout, "not checked: pass --verification-key")
	_, other := keyPair(t)
	wrong := images("image", "--tag=v1.0.0", "verify", "--ref="+inside+repository, "--verification-key="+other)
	require.Error(t, wrong.err)
	assert.Contains(t, wrong.said(), "the index has no signature by the key SHA256:")
	assert.Contains(t, wrong.said(), "it is signed with another key")
	renewed := images(append([]string{"reconcile", "--dry-run", "--addresses=" + inside + repository}, signing...)...)
	require.NoError(t, renewed.err)
	assert.Contains(t, renewed.stdout, "v1.0.0: would publish: ")
	assert.Contains(t, renewed.stdout, "the image is not signed by the key SHA256:")
}

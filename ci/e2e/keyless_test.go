package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/attest/keyless/keylesstest"
	"dagger/gantry/ci/manifest"
)

// cosignImage pushes an image of cosign, which stands in for Sigstore's own, and returns
// its address in containers.
func cosignImage(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile(keylesstest.Cosign(t))
	require.NoError(t, err)
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "ko-app/cosign", Mode: 0o755, Size: int64(len(program))}))
	_, err = w.Write(program)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil }, tarball.WithCompressionLevel(1))
	require.NoError(t, err)
	image, err := mutate.AppendLayers(empty.Image, l)
	require.NoError(t, err)
	config, err := image.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.Entrypoint, config.Config.User = []string{"/ko-app/cosign"}, "65532"
	image, err = mutate.ConfigFile(image, config)
	require.NoError(t, err)
	const name = "/test/cosign:v3"
	require.NoError(t, remote.Write(must(t, os.Getenv("GANTRY_REGISTRY")+name), image))
	return os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS") + name
}

// identity is a CI that gives identity tokens to its jobs, and the Sigstore that takes them.
type identity struct {
	*keylesstest.Sigstore
	// flags set up the module for it.
	flags []string
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	require.NotEmpty(t, os.Getenv(keylesstest.CosignVariable), "set by scripts/test: the program of cosign")
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(t, l.Close())
	s := keylesstest.Start(t, fmt.Sprintf("0.0.0.0:%d", port), fmt.Sprintf("%s:%d", os.Getenv("GANTRY_HOST_IN_CONTAINERS"), port))
	return identity{s, []string{
		"with-sigstore", "--signing-config=" + filepath.Join(s.Directory, "signing-config.json"), "--trusted-root=" + filepath.Join(s.Directory, "trusted-root.json"),
		"--cosign=" + cosignImage(t),
	}}
}

// job sets the variables that GitHub gives to a job with the permission id-token: write,
// and returns the arguments that pass them.
func (i identity) job(t *testing.T, workflow string) []string {
	t.Helper()
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", i.RequestURL(workflow))
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", keylesstest.RequestToken)
	return []string{"--oidc-request-url=env:ACTIONS_ID_TOKEN_REQUEST_URL", "--oidc-request-token=env:ACTIONS_ID_TOKEN_REQUEST_TOKEN"}
}

// secrets returns what nobody may read: the request token, and the signature of each
// identity token, without which it is worth nothing.
func (i identity) secrets(t *testing.T) []string {
	all := []string{keylesstest.RequestToken}
	for _, token := range i.Tokens(t) {
		all = append(all, token[strings.LastIndex(token, ".")+1:])
	}
	return all
}

// A release and its image are signed as the workflow that publishes them: they verify for
// that workflow only, a second run signs and sends nothing, and nothing is built for a job
// without an identity. No token is in anything that anybody can read.
func TestKeyless(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\"]\nsign = \"required\"\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	i := newIdentity(t)
	start := time.Now()
	const workflow = "example/tiny/.github/workflows/release.yml@refs/tags/v1.0.0"
	publish := func(args ...string) result {
		t.Helper()
		return h.releaseWith(t, h.at(slices.Concat([]string{"--source=" + source}, i.flags, []string{"release", "--tag=v1.0.0", "publish", "--token=env:CANARY"}, args)...))
	}
	t.Run("refuses", func(t *testing.T) { i.refuses(t, h, publish) })

	first := publish(i.job(t, workflow)...)
	require.NoError(t, first.err)
	subject := i.Identity(workflow).Subject
	assert.Contains(t, first.stdout, "note: signed with the identity "+subject+" of "+i.URL+"; builder "+subject+"\n")
	entries := i.Count(t, keylesstest.EntryPath)
	assert.Equal(t, 2, entries, "the checksums and the provenance")
	state := h.Dump()
	for _, ref := range []string{"refs/tags/v1.0.0", "refs/heads/main"} { // by hand, too
		again := publish(i.job(t, "example/tiny/.github/workflows/release.yml@"+ref)...)
		require.NoError(t, again.err)
		assert.Contains(t, again.stdout, "sent 0 bytes")
		assert.Contains(t, again.stdout, " 0 writes")
	}
	assert.Equal(t, state, h.Dump(), "a second run changed something")
	other := publish(i.job(t, "example/tiny/.github/workflows/other.yml@refs/heads/main")...)
	require.Error(t, other.err)
	assert.Contains(t, other.said(), "has a different SHA256SUMS.sigstore.json: it is signed by the identity "+subject)
	assert.Equal(t, entries, i.Count(t, keylesstest.EntryPath), "a run that changes nothing signed something")

	verify := func(subject, issuer string) result {
		t.Helper()
		return call(t, h.at(append(slices.Clone(i.flags), "verify-release", "--tag=v1.0.0", "--certificate-identity="+subject, "--certificate-oidc-issuer="+issuer)...)...)
	}
	verified := verify(subject, i.URL)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "signed: SHA256SUMS by the identity "+subject+" of "+i.URL+", with provenance of the builder "+subject)
	wrong := verify(strings.Replace(subject, "v1.0.0", "v2.0.0", 1), i.URL)
	require.Error(t, wrong.err)
	assert.Contains(t, wrong.said(), `asset "SHA256SUMS.sigstore.json" does not verify: it is signed by the identity `+subject)

	i.signsImage(t, h)
	noCanaryInEngine(t, start, i.secrets(t)...)
	for _, asset := range []string{attest.SignatureName, "tiny-1.0.0.intoto.jsonl", manifest.FileName} {
		content, _ := h.repo.Asset("v1.0.0", asset)
		for _, secret := range i.secrets(t) {
			assert.NotContains(t, string(content), secret, asset)
		}
	}
}

// refuses shows that arguments that can't sign stop the release before anything else.
func (i identity) refuses(t *testing.T, h *hub, publish func(...string) result) {
	t.Setenv("EMPTY", "")
	t.Setenv("TOKEN", "CANARY.token.CANARY")
	job := i.job(t, "example/tiny/.github/workflows/release.yml@refs/tags/v1.0.0")
	for says, args := range map[string][]string{
		"--oidc-request-url and --oidc-request-token belong together":            job[:1],
		"pass either --identity-token or --oidc-request-url":                     append([]string{"--identity-token=env:TOKEN"}, job...),
		"pass either --signing-key or an identity":                               append([]string{"--signing-key=env:TOKEN"}, job...),
		"identity token: it is not an OIDC identity token":                       {"--identity-token=env:TOKEN"},
		"--identity-token is empty: give the job an identity":                    {"--identity-token=env:EMPTY"},
		"answered 401 Unauthorized: give the job the permission id-token: write": {job[0], "--oidc-request-token=env:TOKEN"},
	} {
		refused := publish(args...)
		require.Error(t, refused.err, says)
		assert.Contains(t, refused.said(), says)
		assert.False(t, refused.started(), "something was compiled")
		assert.NotContains(t, refused.log, keylesstest.RequestToken)
	}
	assert.Empty(t, h.Calls(), "GitHub was asked for a release that can't be signed")
}

// signsImage publishes the image, twice, and verifies it.
func (i identity) signsImage(t *testing.T, h *hub) {
	t.Helper()
	const workflow = "example/tiny/.github/workflows/images.yml@refs/heads/main"
	address := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS") + fmt.Sprintf("/test/keyless-%d", time.Now().UnixNano())
	images := func(args ...string) result {
		t.Helper()
		all := h.images(args...)
		at := slices.Index(all, "images")
		return call(t, slices.Insert(all, at, i.flags...)...)
	}
	publish := append([]string{"image", "--tag=v1.0.0", "publish", "--addresses=" + address}, i.job(t, workflow)...)
	first := images(publish...)
	require.NoError(t, first.err)
	assert.Contains(t, first.stdout, "done: attach signature.sigstore.json: the index lacks this "+attest.BundleType)
	entries := i.Count(t, keylesstest.EntryPath)
	again := images(publish...)
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "pushed 0 bytes")
	assert.NotContains(t, again.stdout, "done: ")
	reconciled := images(append([]string{"reconcile", "--addresses=" + address}, i.job(t, workflow)...)...)
	require.NoError(t, reconciled.err)
	assert.Contains(t, reconciled.stdout, "v1.0.0: ok: nothing is missing")
	assert.Equal(t, entries, i.Count(t, keylesstest.EntryPath), "a run that changes nothing signed something")

	subject := i.Identity(workflow).Subject
	verified := images("image", "--tag=v1.0.0", "verify", "--ref="+address, "--certificate-identity="+subject, "--certificate-oidc-issuer="+i.URL)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "signed by the identity "+subject)
	wrong := images("image", "--tag=v1.0.0", "verify", "--ref="+address, "--certificate-identity="+subject+"-other", "--certificate-oidc-issuer="+i.URL)
	require.Error(t, wrong.err)
	assert.Contains(t, wrong.said(), "the index has no signature by the identity "+subject+"-other of "+i.URL)
}

package attest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// cosign runs the real one, with a key that it made, and returns what it says.
type cosign struct{ program, dir string }

func (c cosign) run(args ...string) (string, error) {
	cmd := exec.Command(c.program, args...)
	cmd.Dir = c.dir
	// No home, so that nothing that is fetched or trusted elsewhere helps, and no network.
	cmd.Env = []string{"COSIGN_PASSWORD=" + canary, "HOME=" + c.dir, "HTTPS_PROXY=http://127.0.0.1:9"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c cosign) file(t *testing.T, bundle, file string, more ...string) (string, error) {
	t.Helper()
	return c.run(append([]string{"verify-blob", "--key=cosign.pub", "--bundle=" + bundle, "--insecure-ignore-tlog", file}, more...)...)
}

func (c cosign) provenance(t *testing.T, bundle, file string, more ...string) (string, error) {
	t.Helper()
	return c.run(append([]string{"verify-blob-attestation", "--key=cosign.pub", "--bundle=" + bundle, "--type=slsaprovenance1", "--insecure-ignore-tlog", file}, more...)...)
}

func (c cosign) write(t *testing.T, name string, content []byte) string {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, name), content, 0o600))
	return name
}

// The real cosign accepts what a key of its own signed, and refuses everything else.
func TestCosign(t *testing.T) {
	program := os.Getenv("GANTRY_COSIGN")
	if program == "" {
		t.Skip("GANTRY_COSIGN names no cosign: scripts/signatures builds one and runs this test")
	}
	c := cosign{program, t.TempDir()}
	out, err := c.run("generate-key-pair")
	require.NoError(t, err, out)
	text, err := os.ReadFile(filepath.Join(c.dir, "cosign.key"))
	require.NoError(t, err)
	key, err := ReadKey(text, []byte(canary))
	require.NoError(t, err)
	text, err = os.ReadFile(filepath.Join(c.dir, "cosign.pub"))
	require.NoError(t, err)
	public, err := ReadPublicKey(text)
	require.NoError(t, err)
	require.Equal(t, key.Public().String(), public.String())

	archive := []byte("an archive")
	r := example(t)
	r.SumsText = fmt.Appendf(nil, "%x  app.tar.gz\n", sum(archive))
	t.Run("files", func(t *testing.T) { c.signsFile(t, key, r) })
	t.Run("provenance", func(t *testing.T) { c.signsProvenance(t, key, r, archive) })
	t.Run("ed25519", func(t *testing.T) {
		private, err := generate["ed25519"]()
		require.NoError(t, err)
		key, err := newKey(private)
		require.NoError(t, err)
		c := cosign{program, t.TempDir()}
		c.write(t, "cosign.pub", publicPEM(t, private.Public()))
		c.signsFile(t, key, r)
		c.signsProvenance(t, key, r, archive)
	})
	t.Run("bundles of cosign", func(t *testing.T) {
		file := c.write(t, "SHA256SUMS", r.SumsText)
		c.write(t, "config.json", []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`))
		out, err := c.run("sign-blob", "--key=cosign.key", "--yes", "--signing-config=config.json", "--bundle=theirs.json", file)
		require.NoError(t, err, out)
		theirs, err := os.ReadFile(filepath.Join(c.dir, "theirs.json"))
		require.NoError(t, err)
		assert.NoError(t, r.CheckSignature(t.Context(), public, theirs))
		assert.Error(t, r.CheckSignature(t.Context(), newTestKey(t).Public(), theirs))
	})
}

func (c cosign) signsFile(t *testing.T, key *Key, r Release) {
	bundle, err := key.SignFile(t.Context(), r.SumsText)
	require.NoError(t, err)
	file, ours := c.write(t, "SHA256SUMS", r.SumsText), c.write(t, SignatureName, bundle)
	out, err := c.file(t, ours, file)
	require.NoError(t, err, out)
	assert.Contains(t, out, "Verified OK")
	out, err = c.file(t, ours, file, "--private-infrastructure")
	require.NoError(t, err, out)

	flipped := bytes.Clone(r.SumsText)
	flipped[0] ^= 1
	out, err = c.file(t, ours, c.write(t, "flipped", flipped))
	assert.Error(t, err, "one flipped bit: %s", out)
	b, err := parse(bundle)
	require.NoError(t, err)
	b.MessageSignature.Signature[20] ^= 1
	changed, err := key.encode(*b)
	require.NoError(t, err)
	out, err = c.file(t, c.write(t, "changed", changed), file)
	assert.Error(t, err, "a changed signature: %s", out)
	other, err := newTestKey(t).SignFile(t.Context(), r.SumsText)
	require.NoError(t, err)
	out, err = c.file(t, c.write(t, "other", other), file)
	assert.Error(t, err, "another key: %s", out)
}

func (c cosign) signsProvenance(t *testing.T, key *Key, r Release, archive []byte) {
	s, err := r.Statement(build)
	require.NoError(t, err)
	bundle, err := key.SignStatement(t.Context(), s)
	require.NoError(t, err)
	file, ours := c.write(t, "app.tar.gz", archive), c.write(t, r.ProvenanceName(), bundle)
	out, err := c.provenance(t, ours, file)
	require.NoError(t, err, out)
	assert.Contains(t, out, "Verified OK")

	out, err = c.provenance(t, ours, c.write(t, "another", append(archive, '!')))
	assert.ErrorContains(t, err, "exit status", "another digest: %s", out)
	assert.Contains(t, out, "provided artifact digests do not match digests in statement")
	b, err := parse(bundle)
	require.NoError(t, err)
	b.Envelope.Payload[50] ^= 1
	changed, err := key.encode(*b)
	require.NoError(t, err)
	out, err = c.provenance(t, c.write(t, "changed", changed), file)
	assert.Error(t, err, "changed provenance: %s", out)
	other, err := newTestKey(t).SignStatement(t.Context(), s)
	require.NoError(t, err)
	out, err = c.provenance(t, c.write(t, "other", other), file)
	assert.Error(t, err, "another key: %s", out)
}

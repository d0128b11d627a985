package oci_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/image/oci"
)

// cosign runs the real one in a directory with keys that it made.
type cosign struct{ program, dir string }

const password = "CANARY-password"

func (c cosign) run(args ...string) (string, error) {
	cmd := exec.Command(c.program, args...)
	cmd.Dir = c.dir
	// No home, so that nothing that is trusted elsewhere helps, and no proxy to anywhere.
	cmd.Env = []string{"COSIGN_PASSWORD=" + password, "HOME=" + c.dir, "HTTPS_PROXY=http://127.0.0.1:9"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// pair makes a key.
func (c cosign) pair(t *testing.T, name string) *attest.Key {
	t.Helper()
	out, err := c.run("generate-key-pair", "--output-key-prefix="+name)
	require.NoError(t, err, out)
	text, err := os.ReadFile(filepath.Join(c.dir, name+".key"))
	require.NoError(t, err)
	key, err := attest.ReadKey(text, []byte(password))
	require.NoError(t, err)
	return key
}

func (c cosign) verify(key, image string) (string, error) {
	return c.run("verify", "--key="+key, "--insecure-ignore-tlog", image)
}

func (c cosign) provenance(key, image string) (string, error) {
	return c.run("verify-attestation", "--key="+key, "--insecure-ignore-tlog", "--type=slsaprovenance1", image)
}

// The real cosign accepts what Gantry attaches, in registries with and without the
// referrers API, and refuses other keys and other images. Both registries list the same.
func TestCosign(t *testing.T) {
	program := os.Getenv("GANTRY_COSIGN")
	if program == "" {
		t.Skip("GANTRY_COSIGN names no cosign: scripts/signatures builds one and runs this test")
	}
	c := cosign{program, t.TempDir()}
	by := attest.Signer{Author: c.pair(t, "cosign"), Builder: builder, Version: "0.1.0"}
	c.pair(t, "other")
	server := httptest.NewServer(inMemory(registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	addresses := map[string]string{"tags": withoutReferrers(t), "API": strings.TrimPrefix(server.URL, "http://")}
	listed := map[string][]string{}
	for kind, address := range addresses {
		t.Run(kind, func(t *testing.T) {
			repository := address + "/acme/server"
			job, image, _ := signing(t, by)
			r, err := oci.NewRepository(repository, fast)
			require.NoError(t, err)
			_, err = oci.Publish(t.Context(), job, r)
			require.NoError(t, err)
			for _, digest := range []v1.Hash{image.Digest, image.Platforms[0].Digest, image.Platforms[1].Digest} {
				c.accepts(t, repository+"@"+digest.String())
				listed[kind] = append(listed[kind], artifacts(t, repository+"@"+digest.String())...)
			}
			c.accepts(t, repository+":latest")
			c.signs(t, job, image, r)
		})
	}
	require.NotEmpty(t, listed["tags"])
	assert.Equal(t, listed["tags"], listed["API"], "the registries list other artifacts")
	t.Run("refuses", func(t *testing.T) { c.refuses(t, by, addresses["tags"]) })
}

// withoutReferrers starts a registry without the referrers API: Debian's, if the machine
// has it.
func withoutReferrers(t *testing.T) string {
	debian, err := exec.LookPath("docker-registry")
	if err == nil {
		return realRegistry(t, debian)
	}
	t.Log("docker-registry is not installed: a registry in memory is used instead")
	server := httptest.NewServer(inMemory())
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// accepts makes sure that an image verifies with the key that signed it only, and that
// what is attached is listed.
func (c cosign) accepts(t *testing.T, image string) {
	t.Helper()
	out, err := c.verify("cosign.pub", image)
	require.NoError(t, err, out)
	out, err = c.provenance("cosign.pub", image)
	require.NoError(t, err, out)
	for _, run := range []func(string, string) (string, error){c.verify, c.provenance} {
		out, err = run("other.pub", image)
		require.Error(t, err, out)
	}
	out, err = c.run("tree", image)
	require.NoError(t, err, out)
	for _, predicateType := range []string{attest.SignPredicateType, attest.ProvenancePredicateType} {
		assert.Equal(t, 1, strings.Count(out, predicateType+" artifacts via OCI referrer"), "%s", out)
	}
}

// signs lets cosign sign the image in addition, with the same key: both signatures verify,
// and a run of Gantry sends nothing.
func (c cosign) signs(t *testing.T, job oci.Publication, image *oci.Image, r *oci.Repository) {
	t.Helper()
	at := r.String() + "@" + image.Digest.String()
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "config.json"), []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`), 0o600))
	out, err := c.run("sign", "--key=cosign.key", "--yes", "--signing-config=config.json", at)
	require.NoError(t, err, out)
	out, err = c.verify("cosign.pub", at)
	require.NoError(t, err, out)
	again, err := oci.Publish(t.Context(), job, r)
	require.NoError(t, err)
	assert.Zero(t, again.Repositories[0].BytesPushed)
}

// refuses shows that cosign refuses bundles about another image, and changed ones.
func (c cosign) refuses(t *testing.T, by attest.Signer, address string) {
	job, _, loaded := signing(t, by)
	other := newRelease(t, "1.2.3", both...)
	otherImage := assembled(t, other.load(), oci.AssembleOptions{})
	for name, sign := range map[string]signs{
		"unsigned": nil,
		"another": func(ctx context.Context, repository string, _ v1.ImageIndex) ([]oci.Attachment, error) {
			return oci.Signatures(other.load(), by)(ctx, repository, otherImage.Index)
		},
		"flipped": flipped(t, oci.Signatures(loaded, by)),
	} {
		r, err := oci.NewRepository(address+"/acme/"+name, fast)
		require.NoError(t, err)
		job.Sign = sign
		_, err = oci.Publish(t.Context(), job, r)
		require.NoError(t, err)
		for _, run := range []func(string, string) (string, error){c.verify, c.provenance} {
			out, err := run("cosign.pub", r.String()+":1.2.3")
			require.Error(t, err, "%s: %s", name, out)
		}
	}
}

// artifacts are what a policy engine finds: the types of the artifacts and their digests.
// go-containerregistry's registry lists the configuration's type instead.
func artifacts(t *testing.T, image string) (all []string) {
	t.Helper()
	ref, err := name.NewDigest(image, name.Insecure)
	require.NoError(t, err)
	index, err := remote.Referrers(ref)
	require.NoError(t, err)
	im, err := index.IndexManifest()
	require.NoError(t, err)
	for _, d := range im.Manifests {
		artifact, err := remote.Get(ref.Digest(d.Digest.String()))
		require.NoError(t, err)
		var m v1.Manifest
		require.NoError(t, json.Unmarshal(artifact.Manifest, &m))
		if d.ArtifactType != string(m.Config.MediaType) {
			assert.Equal(t, m.ArtifactType, d.ArtifactType)
		}
		all = append(all, m.ArtifactType+" "+m.Annotations["dev.sigstore.bundle.predicateType"]+" of "+m.Subject.Digest.String())
	}
	slices.Sort(all)
	return all
}

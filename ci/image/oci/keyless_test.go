package oci_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/attest/keyless"
	"dagger/gantry/ci/attest/keyless/keylesstest"
	"dagger/gantry/ci/image/oci"
)

const imagesWorkflow = "acme/server/.github/workflows/images.yml@refs/heads/main"

// An image is signed without a key, in registries with and without the referrers API: the
// real cosign verifies the workflow's identity only, and a second run signs nothing.
func TestCosignKeyless(t *testing.T) {
	s := keylesstest.Start(t, "127.0.0.1:0", "")
	c := cosign{keylesstest.Cosign(t), t.TempDir()}
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "root.json"), s.TrustedRoot, 0o600))
	by := attest.Signer{Author: s.Author(t, imagesWorkflow), Version: "0.1.0"}
	server := httptest.NewServer(inMemory(registry.WithReferrersSupport(true)))
	t.Cleanup(server.Close)
	for kind, address := range map[string]string{"tags": withoutReferrers(t), "API": strings.TrimPrefix(server.URL, "http://")} {
		t.Run(kind, func(t *testing.T) {
			r, err := oci.NewRepository(address+"/acme/keyless", fast)
			require.NoError(t, err)
			job, image, loaded := signing(t, by)
			before := s.Count(t, keylesstest.EntryPath)
			dry := job
			dry.DryRun = true
			plan, err := oci.Publish(t.Context(), dry, r)
			require.NoError(t, err)
			assert.Contains(t, plan.Text(), "attach signature.sigstore.json: the index lacks this")
			assert.Equal(t, before, s.Count(t, keylesstest.EntryPath), "a dry run signed something")

			_, err = oci.Publish(t.Context(), job, r)
			require.NoError(t, err)
			logged := s.Count(t, keylesstest.EntryPath)
			assert.Equal(t, before+4, logged, "a signature for each of three digests, and the provenance")
			for _, digest := range []v1.Hash{image.Digest, image.Platforms[0].Digest, image.Platforms[1].Digest} {
				c.acceptsIdentity(t, s, r.String()+"@"+digest.String())
			}
			c.converges(t, s, job, r)
			assert.Equal(t, logged, s.Count(t, keylesstest.EntryPath), "a run with nothing to do signed something")

			for subject, findings := range map[string]int{imagesWorkflow: 0, "acme/server/.github/workflows/images.yml@refs/tags/v1": 2} {
				verified, err := oci.VerifyImage(t.Context(), loaded.Manifest, r, oci.VerifyOptions{
					Attached: true, ManifestSHA256: loaded.ManifestSHA256, By: &keyless.Verifier{Instance: s.Instance, Identity: s.Identity(subject)},
				})
				require.NoError(t, err)
				assert.Len(t, verified.Findings, findings, verified.Text())
			}
		})
	}
}

// acceptsIdentity makes sure that an image verifies for the workflow only.
func (c cosign) acceptsIdentity(t *testing.T, s *keylesstest.Sigstore, image string) {
	t.Helper()
	for _, command := range [][]string{{"verify"}, {"verify-attestation", "--type=slsaprovenance1"}} {
		for subject, accepted := range map[string]bool{imagesWorkflow: true, "evil/server/.github/workflows/images.yml@refs/heads/main": false} {
			out, err := c.run(append(command, "--trusted-root=root.json", "--certificate-identity="+s.Identity(subject).Subject, "--certificate-oidc-issuer="+s.URL, image)...)
			assert.Equal(t, accepted, err == nil, "%s %s: %s", command[0], subject, out)
		}
	}
}

// converges publishes again, by the same workflow from another ref, too, and makes sure
// that nothing is sent; another workflow attaches its own.
func (c cosign) converges(t *testing.T, s *keylesstest.Sigstore, job oci.Publication, r *oci.Repository) {
	t.Helper()
	_, _, loaded := signing(t, attest.Signer{Author: s.Author(t, imagesWorkflow), Version: "0.1.0"})
	for _, workflow := range []string{imagesWorkflow, "acme/server/.github/workflows/images.yml@refs/tags/v9"} {
		job.Sign = oci.Signatures(loaded, attest.Signer{Author: s.Author(t, workflow), Version: "0.1.0"})
		again, err := oci.Publish(t.Context(), job, r)
		require.NoError(t, err)
		assert.Zero(t, again.Repositories[0].BytesPushed, workflow)
		assert.Empty(t, again.Repositories[0].Done, workflow)
	}
	lacks := func(by attest.Author) [][]oci.Lack {
		return oci.MissingFrom(t.Context(), oci.Candidate{Release: loaded, Repositories: []*oci.Repository{r}, WithoutBills: true, By: by.Verifier()})
	}
	assert.Empty(t, lacks(s.Author(t, imagesWorkflow))[0])
	assert.Len(t, lacks(s.Author(t, "acme/server/.github/workflows/other.yml@refs/heads/main"))[0], 1)
}

package oci_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
)

// A registry that people run, where it is installed, and another client.
func TestRealRegistry(t *testing.T) {
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	address := realRegistry(t, program)

	base, err := oci.NewRepository(address+"/distroless/static", fast)
	require.NoError(t, err)
	_, err = oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("0.1.0")), Index: bases(t)[imagespec.StaticBase]}, base)
	require.NoError(t, err)
	rel := newRelease(t, "1.2.3", both...)
	rel.manifest.Image.Base = base.String() + ":0.1"
	image := assembled(t, rel.load(), oci.AssembleOptions{Bases: oci.RegistryBases(fast)})

	r, err := oci.NewRepository(address+"/acme/server", fast)
	require.NoError(t, err)
	_, err = oci.Publish(t.Context(), publication(image, "1.2.3"), r)
	require.NoError(t, err)
	again, err := oci.Publish(t.Context(), publication(image, "1.2.3"), r)
	require.NoError(t, err)
	assert.Zero(t, again.Repositories[0].BytesPushed)
	tags, err := r.Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "1.2", "1.2.3", "latest"}, tags)
	attachToReal(t, rel, r)
	tags, err = r.Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "1.2", "1.2.3", "latest"}, tags)
	verified, err := oci.VerifyImage(t.Context(), rel.manifest, r, oci.VerifyOptions{Digest: image.Digest})
	require.NoError(t, err)
	assert.Empty(t, verified.Findings)

	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed")
	}
	layout := t.TempDir()
	for _, args := range [][]string{
		{"inspect", "--tls-verify=false", "--override-arch=arm64", "docker://" + r.String() + ":latest"},
		{"copy", "--insecure-policy", "--src-tls-verify=false", "--multi-arch=all", "docker://" + r.String() + ":1.2.3", "oci:" + layout + ":1.2.3"},
	} {
		out, err := exec.CommandContext(t.Context(), skopeo, args...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	index, err := oci.ReadLayout(layout)
	require.NoError(t, err)
	// Older versions write the index anew, without its media type; the images
	// stay the same bytes.
	copied := must(index.IndexManifest()).Manifests
	require.Len(t, copied, 2)
	for i, p := range image.Platforms {
		assert.Equal(t, p.Digest, copied[i].Digest)
	}
	// And it reads what we write.
	ours := t.TempDir()
	require.NoError(t, oci.WriteLayout(ours, image.Index, "1.2.3"))
	tarball := filepath.Join(t.TempDir(), "image.tar")
	f, err := os.Create(tarball)
	require.NoError(t, err)
	require.NoError(t, oci.WriteTarball(f, ours))
	require.NoError(t, f.Close())
	out, err := exec.CommandContext(t.Context(), skopeo, "inspect", "--raw", "oci-archive:"+tarball+":1.2.3").Output()
	require.NoError(t, err)
	assert.Equal(t, image.Digest.Hex, digestOf(out))
}

// attachToReal attaches bills of materials to a published image. The archives are those
// that it was made from, so that it is the same image.
func attachToReal(t *testing.T, rel *release, r *oci.Repository) {
	t.Helper()
	for _, triple := range both {
		rel.bill(triple, ".cdx.json", `{"bomFormat":"CycloneDX","of":"`+triple+`"}`).bill(triple, ".spdx.json", `{"of":"`+triple+`"}`)
	}
	loaded := rel.load()
	bills, err := oci.Bills(loaded)
	require.NoError(t, err)
	job := publication(assembled(t, loaded, oci.AssembleOptions{Bases: oci.RegistryBases(fast)}), "1.2.3")
	job.Attachments = bills
	first, err := oci.Publish(t.Context(), job, r)
	require.NoError(t, err)
	assert.Len(t, first.Repositories[0].Done, 4)
	again, err := oci.Publish(t.Context(), job, r)
	require.NoError(t, err)
	assert.Zero(t, again.Repositories[0].BytesPushed)
	verified, err := oci.VerifyImage(t.Context(), loaded.Manifest, r, oci.VerifyOptions{Attached: true, SBOMs: true})
	require.NoError(t, err)
	assert.Empty(t, verified.Findings)
	assert.Len(t, verified.Attached, 4)
}

// realRegistry starts docker-registry, and returns its address.
func realRegistry(t *testing.T, program string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n", dir, address)
	file := filepath.Join(t.TempDir(), "config.yml")
	require.NoError(t, os.WriteFile(file, []byte(config), 0o600))
	command := exec.CommandContext(t.Context(), program, "serve", file)
	require.NoError(t, command.Start())
	t.Cleanup(func() { _ = command.Wait() }) // t.Context ends it
	require.Eventually(t, func() bool {
		res, err := http.Get("http://" + address + "/v2/")
		return err == nil && res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}, 10*time.Second, 20*time.Millisecond)
	return address
}

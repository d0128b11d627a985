package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Phase 2 makes the image of a published release, and never touches it.
func TestImages(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\", \"aarch64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\nexpose = [\"8080/tcp\"]\n")
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	h := newHub(t, source)
	require.NoError(t, h.release(t, source, "--dispatch").err)
	released := h.Dump()

	local, inside := os.Getenv("GANTRY_REGISTRY"), os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	require.NotEmpty(t, local, "set by scripts/test: the registry, as this machine sees it")
	require.NotEmpty(t, inside, "set by scripts/test: the registry, as containers see it")
	repository := fmt.Sprintf("/test/tiny-%d", time.Now().UnixNano())
	images := func(args ...string) result {
		return call(t, append([]string{"images", "--repository=example/tiny", "--api-url=" + h.api, "--plain-http", "--mirrors=gcr.io=http://" + inside}, args...)...)
	}

	// A registry that is not there fails the phase and nothing else.
	got := images("publish", "--tag=v1.0.0", "--addresses="+strings.Split(inside, ":")[0]+":1/x/y")
	require.Error(t, got.err)
	assert.Equal(t, released, h.Dump(), "a failure of phase 2 changed the release")

	digest := images("image", "--tag=v1.0.0", "digest")
	require.NoError(t, digest.err)

	payload := h.repo.Dispatches()[0]
	event := filepath.Join(t.TempDir(), "event.json")
	require.NoError(t, os.WriteFile(event, fmt.Appendf(nil, `{"action": %q, "client_payload": %s, "repository": {"full_name": "example/tiny"}}`, payload.EventType, payload.Payload), 0o644))
	published := images("publish", "--event="+event, "--addresses="+inside+repository)
	require.NoError(t, published.err)
	assert.Contains(t, published.stdout, strings.TrimSpace(digest.stdout), "the digest was known before the push")
	assert.Contains(t, published.log, "linux/arm64: tiny 1.0.0")
	assert.Contains(t, published.log, "linux/amd64: tiny 1.0.0")
	assert.False(t, published.started(), "phase 2 compiled something")

	for _, tag := range []string{"1.0.0", "1.0", "1", "latest"} {
		ref, err := name.ParseReference(local+repository+":"+tag, name.Insecure)
		require.NoError(t, err)
		index, err := remote.Index(ref)
		require.NoError(t, err, tag)
		have, err := index.Digest()
		require.NoError(t, err)
		assert.Equal(t, strings.TrimSpace(digest.stdout), have.String(), tag)
		m, err := index.IndexManifest()
		require.NoError(t, err)
		assert.Len(t, m.Manifests, 2, tag)
	}

	again := images("publish", "--tag=v1.0.0", "--addresses="+inside+repository)
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "0 bytes")
	verified := images("verify", "--ref="+inside+repository, "--tag=v1.0.0")
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "byte for byte, on linux/amd64, linux/arm64")
	reconciled := images("reconcile", "--addresses="+inside+repository)
	require.NoError(t, reconciled.err)
	assert.Contains(t, reconciled.stdout, "v1.0.0: all as it should be")
	explained := images("explain", "--tag=v1.0.0", "--addresses="+inside+repository)
	require.NoError(t, explained.err)
	assert.Contains(t, explained.stdout, "latest")
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")

	// A lost event is made up for.
	lost := images("reconcile", "--addresses="+inside+repository+"-lost")
	require.NoError(t, lost.err)
	assert.Contains(t, lost.stdout, "v1.0.0: published: ")
}

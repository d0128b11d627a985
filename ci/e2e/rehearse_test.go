package e2e

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Both phases are played through, with everything going wrong, and nothing is
// written anywhere.
func TestRehearse(t *testing.T) {
	source := tiny(t, "repository = \"https://github.com/Example/tiny\"\n\n[package.metadata.gantry]\ntargets = [\""+native+"\", \"aarch64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\n")
	got := call(t, "--source="+source, "release", "--tag=v1.0.0", "rehearse", "--mirrors=gcr.io=http://"+os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS"))
	require.NoError(t, got.err)
	assert.Regexp(t, `phase 1, against a fake GitHub that failed [1-9]\d* times:`, got.stdout)
	assert.Regexp(t, "re-run: 0 bytes, 0 writes, [0-9]+ reads; it kept the signature and the provenance", got.stdout)
	assert.Contains(t, got.stdout, "verified with the throw-away key that signed it:")
	assert.Regexp(t, "signed: SHA256SUMS by the key SHA256:[^ ]+, with provenance of the builder urn:gantry:builder:local", got.stdout)
	assert.Regexp(t, `phase 2, started by the event of phase 1, against a fake registry that failed [1-9]\d* times:`, got.stdout)
	assert.Contains(t, got.stdout, "done: move latest")
	assert.Contains(t, got.stdout, "pushed 0 bytes")
	assert.Contains(t, got.stdout, "phase 2 did not change the release")

	none := call(t, "--source="+tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\n"), "release", "--tag=v1.0.0", "rehearse", "--faults=none", "--markdown")
	require.NoError(t, none.err)
	assert.Contains(t, none.stdout, "### Rehearsal of v1.0.0\n\n```text\nphase 1, against a fake GitHub that failed 0 times:\n")
	assert.Contains(t, none.stdout, "phase 2: skipped, since Cargo.toml has no [package.metadata.gantry.image]")
}

// The check of the caller's project needs no argument.
func TestReleaseReady(t *testing.T) {
	source := tiny(t, "")
	got := call(t, "--source="+source, "release-ready")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "tiny: tagged as v1.0.0 at this commit; ready to release")
	write(t, source, map[string]string{"dist/release-manifest.json": "{}\n", "dist/SHA256SUMS": "", "dist/tiny.tar.gz": ""})
	got = call(t, "--source="+source, "release-ready")
	require.NoError(t, got.err, "an exported release is no change of the source")
	write(t, source, map[string]string{"new": ""})
	got = call(t, "--source="+source, "release-ready")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), `component "tiny" can't be released as "v1.0.0"`)
	assert.False(t, got.started(), "something was compiled")
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A newcomer has a program in a repository on GitHub, and nothing of Gantry's. One
// command adds the workflows. Their own steps release the next tag and publish its
// image: the newcomer wrote no line for it.
func TestNewcomer(t *testing.T) {
	source := tiny(t, "")
	// The program that cargo new writes, which has no --version.
	write(t, source, map[string]string{"src/main.rs": "fn main() {\n    println!(\"Hello, world!\");\n}\n"})
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "start")
	run(t, source, "git", "tag", "-d", "start")
	run(t, source, "git", "remote", "add", "origin", "git@github.com:example/tiny.git")
	said, err := initIn(t, source, ".", "github")
	require.NoError(t, err, said)
	assert.Equal(t, "?? .github/workflows/images.yml\n?? .github/workflows/reconcile.yml\n?? .github/workflows/rehearse.yml\n?? .github/workflows/release.yml\n",
		run(t, source, "git", "status", "--porcelain", "--untracked-files=all"), "nothing of the newcomer's was changed")

	// A second call changes nothing, and a changed file is shown.
	said, err = initIn(t, source, ".", "github")
	require.NoError(t, err, said)
	assert.Contains(t, said, "no changes to apply")
	path := filepath.Join(source, ".github/workflows/images.yml")
	made := read(t, path)
	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(made, "timeout-minutes: 60", "timeout-minutes: 5", 1)), 0o644))
	said, err = initIn(t, source, ".", "github", "as-patch", "contents")
	require.NoError(t, err, said)
	_, patch, _ := strings.Cut(said, "\ndiff --git a/.github/workflows/images.yml")
	assert.Contains(t, patch, "\n-    timeout-minutes: 5\n+    timeout-minutes: 60\n")
	assert.NotContains(t, patch, "diff --git", "only what differs is shown")
	require.NoError(t, os.WriteFile(path, []byte(made), 0o644))

	// So is what another option changes: here, a signature without a key.
	said, err = initIn(t, source, ".", "github", "--keyless", "as-patch", "contents")
	require.NoError(t, err, said)
	assert.Equal(t, 3, strings.Count(said, "\n+      id-token: write # to sign as this workflow\n"), said)
	assert.Equal(t, 3, strings.Count(said, "\n-          COSIGN_PASSWORD: "), said)
	said, err = initIn(t, source, ".", "circleci", "--keyless", "as-patch", "contents")
	require.Error(t, err)
	assert.Contains(t, said, "--keyless is for --ci=github and --ci=gitlab, not for --ci=circleci: omit it")
	commit(t, source, "v1.0.0")

	h := newHub(t, source)
	local, inside, dead := addresses(t, "newcomer")
	event := filepath.Join(t.TempDir(), "event.json")
	r := newRunner(t, source, map[string]string{
		"GITHUB_REPOSITORY": "example/tiny", "GITHUB_SERVER_URL": strings.TrimSuffix(h.api, "/api/v3/"), "GITHUB_ACTOR": "octocat", "GITHUB_EVENT_PATH": event, "IMAGE": dead,
		"GITHUB_WORKFLOW_REF": "example/tiny/.github/workflows/release.yml@refs/tags/v1.0.0",
	})
	_, public := keyPair(t)
	contexts := map[string]string{
		"github.ref_name": "v1.0.0", "github.ref": "refs/tags/v1.0.0", "github.token": canary,
		"secrets.COSIGN_PRIVATE_KEY": os.Getenv("SIGNING_KEY"), "secrets.COSIGN_PASSWORD": os.Getenv("SIGNING_PASSWORD"),
	}

	// The tag is pushed: each target is built on a runner of its own.
	require.NoError(t, r.workflow(t, readWorkflow(t, source, ".github/workflows/release.yml"), source, contexts))
	require.Equal(t, "v1.0.0", h.repo.Latest())
	for _, target := range []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"} {
		_, found := h.repo.Asset("v1.0.0", "tiny-1.0.0-"+target+".tar.gz")
		assert.True(t, found, target)
	}
	released := h.Dump()

	// It is signed with the secrets of the repository, and GitHub attests the same files.
	verified := call(t, h.at("verify-release", "--tag=v1.0.0", "--verification-key="+public)...)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "/example/tiny/.github/workflows/release.yml@refs/tags/v1.0.0")
	sums, _ := h.repo.Asset("v1.0.0", "SHA256SUMS")
	assert.Equal(t, string(sums), r.attested)

	// Its event starts phase 2, which fails once and is run again.
	require.Len(t, h.repo.Dispatches(), 1)
	payload := h.repo.Dispatches()[0]
	require.NoError(t, os.WriteFile(event, fmt.Appendf(nil, `{"action": %q, "client_payload": %s, "repository": {"full_name": "example/tiny"}}`, payload.EventType, payload.Payload), 0o644))
	images := readWorkflow(t, source, ".github/workflows/images.yml")
	require.ErrorContains(t, r.workflow(t, images, source, contexts), "connection refused", "no registry is there")
	r.env["IMAGE"] = inside
	require.NoError(t, r.workflow(t, images, source, contexts))
	index, err := remote.Index(must(t, local+":latest"))
	require.NoError(t, err)
	manifest, err := index.IndexManifest()
	require.NoError(t, err)
	assert.Len(t, manifest.Manifests, 2, "both platforms")

	// A lost event is made up for.
	r.env["IMAGE"] = inside + "-lost"
	require.NoError(t, r.workflow(t, readWorkflow(t, source, ".github/workflows/reconcile.yml"), source, contexts))
	_, err = remote.Index(must(t, local+"-lost:1.0.0"))
	require.NoError(t, err)
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")

	// A pull request, while Cargo.toml has a version that is released.
	commit(t, source, "unrelated")
	delete(contexts, "github.token")
	require.NoError(t, r.workflow(t, readWorkflow(t, source, ".github/workflows/rehearse.yml"), source, contexts))
	summary := read(t, r.summary)
	_, rehearsed, found := strings.Cut(summary, "ehearsal of v1.0.0")
	require.True(t, found, summary)
	assert.Contains(t, rehearsed, "re-run: 0 bytes, 0 writes")
	assert.Equal(t, released, h.Dump(), "a rehearsal wrote to GitHub")
	assert.NotContains(t, r.log.String()+summary, canary, "the token was printed")
	t.Logf("%d scripts of the workflows ran; lines that the newcomer wrote: 0", r.ran)
}

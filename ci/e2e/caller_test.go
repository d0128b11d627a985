package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// asking makes a registry ask for a login, whose password is a secret.
func asking(f *flaky, user, secret string) {
	f.arm(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if u, password, _ := r.BasicAuth(); u == user && password == secret {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		answer(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")(w)
		return true
	})
}

// examples/go is a module that uses this one: it plans, refuses a problem, builds in
// its own container, adds a file, publishes, and makes the image in two registries.
func TestExampleModule(t *testing.T) {
	// A dependency that is a directory has to be in the same repository.
	repository := t.TempDir()
	copied := exec.CommandContext(t.Context(), "sh", "-euc", `git ls-files -co --exclude-standard -z . ':!scripts' | xargs -0 cp --parents -t "$0" && git init -q "$0"`, repository)
	copied.Dir = root(t)
	out, err := copied.CombinedOutput()
	require.NoError(t, err, string(out))
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\n\n[package.metadata.gantry.image]\n")
	write(t, source, map[string]string{"install.sh": "#!/bin/sh\n"})
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")

	certificate, ca := selfSigned(t, os.Getenv("GANTRY_HOST_IN_CONTAINERS"))
	h := newHubWith(t, source, &certificate)
	one, other := newFlakyWith(t, &certificate), newFlakyWith(t, &certificate)
	asking(one, "robot", canary)
	asking(other, "robot", canary+"-other")
	t.Setenv("CANARY", canary)
	t.Setenv("OTHER", canary+"-other")
	path := fmt.Sprintf("/test/example-%d", time.Now().UnixNano())
	release := func(tag string) (string, string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, "dagger", "call", "--progress=plain", "release", "--source="+source, "--repository=example/tiny", "--tag="+tag,
			"--token=env:CANARY", "--addresses="+one.address+path+","+other.address+path+"-other", "--user=robot", "--password=env:CANARY", "--other-password=env:OTHER",
			"--github="+strings.TrimSuffix(h.api, "/api/v3/"), "--mirror=http://"+os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS"), "--ca-certificates="+ca)
		var log strings.Builder
		cmd.Dir, cmd.Stderr = filepath.Join(repository, "examples/go"), &log
		cmd.Env = append(os.Environ(), "NO_COLOR=1")
		printed, err := cmd.Output()
		return strings.TrimSpace(string(printed)), log.String(), err
	}
	_, log, err := release("v1.0.1")
	require.Error(t, err)
	assert.Contains(t, log, "v1.0.1 is not ready:\ntag \"v1.0.1\"")
	assert.Empty(t, h.Events(), "nothing was written")

	digest, log, err := release("v1.0.0")
	require.NoError(t, err, tail(log))
	assert.NotContains(t, log, canary)
	assert.Equal(t, "v1.0.0", h.repo.Latest())
	added, published := h.repo.Asset("v1.0.0", "install.sh")
	require.True(t, published)
	assert.Equal(t, "#!/bin/sh\n", string(added))
	sums, published := h.repo.Asset("v1.0.0", "SHA256SUMS")
	require.True(t, published)
	assert.Contains(t, string(sums), "  install.sh\n")
	for _, repository := range []string{path, path + "-other"} {
		head, err := remote.Head(must(t, os.Getenv("GANTRY_REGISTRY")+repository+":1.0.0"))
		require.NoError(t, err)
		assert.Equal(t, digest, head.Digest.String())
	}
	again, log, err := release("v1.0.0")
	require.NoError(t, err, tail(log))
	assert.Equal(t, digest, again, "a re-run")
}

// examples/shell/all calls every function there is, in an order that works.
func TestExampleShell(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(root(t), "examples/shell/all"))
	require.NoError(t, err)
	for _, object := range [][]string{nil, {"release"}, {"images"}, {"images", "image"}} {
		for _, function := range functionsOf(t, object...) {
			assert.Regexp(t, `(?m)^[^#]*[ (]`+function+`\b`, string(script), "function %q of %q is not called", function, object)
		}
	}
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	address := fmt.Sprintf("/test/shell-%d", time.Now().UnixNano())
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root(t), "examples/shell/all"))
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "SOURCE="+source, "REPOSITORY=example/tiny", "TAG=v1.0.0", "ADDRESS="+inside+address, "TOKEN="+canary,
		"GITHUB="+h.api, "MIRROR=http://"+inside, "PLAIN_HTTP="+inside, "OUT="+t.TempDir(), "GANTRY=--progress=plain")
	var log strings.Builder
	cmd.Stderr = &log
	printed, err := cmd.Output()
	require.NoError(t, err, tail(log.String()))
	assert.Equal(t, "v1.0.0", h.repo.Latest())
	ref, err := name.ParseReference(os.Getenv("GANTRY_REGISTRY")+address+":latest", name.Insecure)
	require.NoError(t, err)
	head, err := remote.Head(ref)
	require.NoError(t, err)
	assert.Contains(t, string(printed), head.Digest.String())
	for _, heading := range []string{"## v1.0.0: tiny 1.0.0 is ready to release", "### Release of v1.0.0", "### Image of v1.0.0", "### Images of recent releases"} {
		assert.Contains(t, string(printed), heading+"\n\n", "reports as Markdown")
	}
	assert.Regexp(t, regexp.MustCompile(`v1\.0\.0: ok: `), string(printed), "reconcile has nothing to do")
}

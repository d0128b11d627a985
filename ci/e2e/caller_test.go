package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Another Dagger module calls this one, as its dependency.
func TestFromAnotherModule(t *testing.T) {
	// A dependency that is a folder has to be in the same repository.
	repository := t.TempDir()
	copied := exec.CommandContext(t.Context(), "sh", "-euc", `git ls-files -co --exclude-standard -z . ':!scripts' | xargs -0 cp --parents -t "$0" && git init -q "$0"`, repository)
	copied.Dir = root(t)
	out, err := copied.CombinedOutput()
	require.NoError(t, err, string(out))
	caller := filepath.Join(repository, "caller")
	write(t, caller, map[string]string{
		"dagger.json": `{"name": "caller", "engineVersion": "v0.19.10", "sdk": {"source": "go"}, "dependencies": [{"name": "gantry", "source": ".."}]}`,
		"main.go": `package main

import (
	"context"

	"dagger/caller/internal/dagger"
)

type Caller struct{}

// Sums of what Gantry builds.
func (*Caller) Sums(ctx context.Context, source *dagger.Directory, tag string) (string, error) {
	return dag.Gantry(dagger.GantryOpts{Source: source}).Dist(tag).File("SHA256SUMS").Contents(ctx)
}
`,
	})
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\n")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dagger", "call", "--progress=plain", "sums", "--source="+source, "--tag=v1.0.0")
	cmd.Dir, cmd.Stderr = caller, os.Stderr
	said, err := cmd.Output()
	require.NoError(t, err)
	direct, _ := mustDist(t, source, "v1.0.0")
	assert.Equal(t, sums(t, direct), string(said), "the same bytes as when it is called directly")
}

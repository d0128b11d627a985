package plan

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), text, "%s differs: run go test ./ci/release/plan -update, and look at the difference", path)
}

// A summary of a plan in Markdown, of a release that can be made and of others.
func TestMarkdown(t *testing.T) {
	linux := table{"targets": []string{"x86_64-unknown-linux-musl", "aarch64-unknown-linux-gnu"}, "sbom": true}
	image := table{"image": table{"repositories": []string{"ghcr.io/example/app"}, "expose": []string{"8080/tcp"}}}
	for name, plan := range map[string]*Plan{
		"ready.md": planOf(t, mustLoad(t, linux, nil, pkg("app", "1.2.3", ".", image, "app", "appctl")), "v1.2.3", clean("v1.2.2")),
		// A backport keeps Latest and most image tags where they are.
		"backport.md": planOf(t, mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-musl"}}, nil, pkg("app", "1.2.3", ".", nil, "app")), "v1.2.3", clean("v1.2.2", "v2.0.0")),
		"first.md":    planOf(t, mustLoad(t, table{"targets": []string{"x86_64-pc-windows-gnu"}}, nil, pkg("app", "1.2.3", ".", nil, "app")), "v1.2.3", clean()),
		"refused.md":  planOf(t, mustLoad(t, linux, nil, pkg("app", "1.2.4", ".", nil, "app")), "v1.2.3", Git{Present: true, Commit: head, Dirty: []string{"src/<b>|`x`.rs"}}),
	} {
		golden(t, name, plan.Markdown())
	}
}

// Nothing from a project ends a table, starts a heading or adds HTML.
func TestMarkdownOfOddValues(t *testing.T) {
	p := planOf(t, mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-musl"}}, nil, pkg("app", "1.2.3", ".", nil, "app")), "v1.2.3", clean())
	const odd = "</td><script>alert(1)</script>\n\n# heading\n| a | b |\n```"
	p.Component, p.Commit, p.PreviousTag, p.Repository, p.Toolchain = odd, odd, odd, odd, odd
	p.Targets[0].Binaries[0].Name, p.Targets[0].Profile = odd, odd
	p.ImageTags[0].Tag, p.ImageTags[0].Why = odd, odd
	p.ContainerImage.Cmd, p.ContainerImage.Repositories, p.ContainerImage.Platforms[0].Base = []string{odd}, []string{odd}, odd
	p.LeftOut = []LeftOut{{Package: odd, Why: odd}}
	p.warn("%s", odd)
	text := p.Markdown()
	assert.NotContains(t, text, "<script")
	assert.NotContains(t, text, "</td")
	assert.NotContains(t, text, "\n# heading")
	assert.NotContains(t, text, "\n| a | b |")
	assert.NotContains(t, text, "```")
	golden(t, "odd.md", text)
	p.ImageTags = nil
	assert.NotContains(t, p.Markdown(), "### Image tags", "a section without content")
}

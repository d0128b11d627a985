package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOutline(t *testing.T) {
	const page = "https://github.com/example/app"
	image := func(repositories ...string) table { return table{"image": table{"repositories": repositories}} }
	library := pkg("app", "1.0.0", "app", nil)
	for _, c := range []struct {
		name     string
		project  *Project
		git      Git
		expected Outline
	}{
		{"one package", mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", nil, "app")), clean(),
			Outline{Page: page, TagPrefixes: []string{"", "app-"}, Unplaced: []string{"app"}}},
		{"an image repository", mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", image("ghcr.io/o/app"), "app")), clean(),
			Outline{Page: page, TagPrefixes: []string{"", "app-"}, Images: []string{"ghcr.io/o/app"}}},
		{"an image without a repository", mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", table{"image": table{"user": "1:1"}}, "app")), clean(),
			Outline{Page: page, TagPrefixes: []string{"", "app-"}, Unplaced: []string{"app"}}},
		{"no target with an image", mustLoad(t, table{"targets": []string{"x86_64-pc-windows-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app")), clean(),
			Outline{Page: page, TagPrefixes: []string{"", "app-"}}},
		{"components", mustLoad(t, nil, nil, library,
			pkg("server", "1.0.0", "server", table{"tag-prefix": "app-", "image": table{"repositories": []string{"ghcr.io/o/a", "quay.io/o/a"}}}, "server"),
			pkg("cli", "1.0.0", "cli", table{"tag-prefix": []string{"cli-", "old-"}}, "cli")), clean(),
			Outline{Page: page, TagPrefixes: []string{"cli-", "old-", "app-"}, Images: []string{"ghcr.io/o/a", "quay.io/o/a"}, Unplaced: []string{"cli"}}},
	} {
		assert.Equal(t, c.expected, c.project.Outline(c.git), c.name)
	}

	// A package that may not be published is no component of the project, and the
	// remote tells where the project is if no package does.
	tool := pkg("tool", "1.0.0", "tool", nil, "tool")
	tool["publish"], tool["repository"] = []string{}, "https://github.com/other/tool"
	app := pkg("app", "1.0.0", "app", nil, "app")
	app["repository"] = ""
	git := clean()
	git.Origin = "git@github.com:Me/app.git"
	assert.Equal(t, Outline{Page: "https://github.com/Me/app", TagPrefixes: []string{"", "app-"}, Unplaced: []string{"app"}}, mustLoad(t, nil, nil, app, tool).Outline(git))
	assert.Empty(t, mustLoad(t, nil, nil, app).Outline(clean()).Page)
}

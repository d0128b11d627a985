package plan

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// A name that the manifest can't have is reported in the terms of Cargo.toml,
// with a proposal where there is one.
func TestNamesThatTheManifestRefuses(t *testing.T) {
	for _, c := range []struct {
		gantry table
		tag    string
		says   string
	}{
		{table{"name": "größe", "tag-prefix": "x-"}, "x-1.0.0", `component name "größe"`},
		{table{"tag-prefix": "größe-"}, "größe-1.0.0", `set tag-prefix = "gre-", for example`},
		{table{"tag-prefix": "größe/v_"}, "größe/v_1.0.0", `set tag-prefix = "gre/v-", for example`},
		{table{"tag-prefix": "ü-"}, "ü-1.0.0", "set tag-prefix to letters, digits"},
		{table{"tag-prefix": "a."}, "a.1.0.0", `set tag-prefix = "a-", for example`},
		{table{"image": table{"user": "a b"}}, "v1.0.0", `user of the image configuration: "a b"`},
	} {
		plan := planOf(t, mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", c.gantry, "app")), c.tag, clean())
		assert.ErrorContains(t, plan.Err(), c.says, c.tag)
		assert.NotContains(t, plan.Err().Error(), "would be invalid", c.tag)
	}
}

// What is unknown for another reason is not reported again as wrong.
func TestOneReasonIsOneProblem(t *testing.T) {
	plan := planOf(t, mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", Git{})
	var errors []string
	for _, p := range plan.Problems {
		if p.Severity == SeverityError {
			errors = append(errors, p.Message)
		}
	}
	require.Len(t, errors, 1, "%q", errors)
	assert.Contains(t, errors[0], "no git history")

	plan = planOf(t, mustLoad(t, nil, nil, pkg("app", "1.2.0", ".", nil, "app")), "v1.3.0-rc.1", clean())
	assert.ErrorContains(t, plan.Err(), "has 1.2.0")
	assert.NotContains(t, plan.Err().Error(), "to tag prereleases", "it is a candidate of another version")
}

func TestUnknownKeysAreSorted(t *testing.T) {
	gantry := table{}
	for i := range 12 {
		gantry[fmt.Sprintf("zz%02d", i)] = 1
	}
	_, err := load(t, nil, nil, pkg("app", "1.0.0", ".", gantry, "app"))
	require.Error(t, err)
	var at []int
	for i := range 12 {
		at = append(at, strings.Index(err.Error(), fmt.Sprintf("zz%02d", i)))
	}
	assert.True(t, sort.IntsAreSorted(at), "%v", err)
	assert.NotContains(t, at, -1)
}

// Whether a base suits is judged by the targets that link dynamically.
func TestBasesOfTargets(t *testing.T) {
	const static = "gcr.io/distroless/static-debian12:nonroot"
	for target, warns := range map[string]bool{"x86_64-unknown-linux-musl": false, "x86_64-unknown-linux-gnu": true} {
		p := mustLoad(t, table{"targets": []string{target}, "image": table{"base": static}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
		plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
		require.NoError(t, plan.Err())
		assert.Equal(t, warns, len(plan.Problems) > 0, "%s: %v", target, plan.Problems)
	}
}

func TestWholeText(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-musl"}}, []string{"Cargo.toml", "Cargo.lock"}, pkg("app", "1.0.0", ".", nil, "app", "appctl"))
	text := planOf(t, p, "v1.0.0", clean("v0.9.0")).Text()
	for _, line := range []string{
		"tag +v1.0.0", "commit +" + head + "  2023-11-14T22:13:20Z", "previous tag +v0.9.0", "repository +https://github.com/example/app",
		"targets", "  x86_64-unknown-linux-musl +app, appctl +profile release",
		"assets", "  CHANGELOG.md", "  SHA256SUMS", "  app-1.0.0-x86_64-unknown-linux-musl.tar.gz", "  release-manifest.json",
		"image", "  entrypoint +/usr/local/bin/app .*", "  user +65532:65532", "  directory +/",
		"image tags", "  1.0.0 +is written once +.*", "  1.0 +moves +.*", "  latest +moves +.*", "ready to release",
	} {
		assert.Regexp(t, `(?m)^`+line+`$`, text)
	}
	assert.NotRegexp(t, `(?m)^ *(arguments|ports|toolchain|excluded)`, text, "what is empty is not shown")
	text = planOf(t, p, "v1.0.0", clean("v1.1.0")).Text()
	assert.Regexp(t, `(?m)^  1.0 +moves`, text)
	assert.Regexp(t, `(?m)^  1 +stays +stays at 1.1.0`, text)
	text = planOf(t, p, "v1.0.0", Git{}).Text()
	assert.Contains(t, text, "none, this is the first release")
	assert.Contains(t, text, "\nnot ready to release\n")
}

// The name of several packages together: that of the root package, else of the
// repository, else of the directory, else of the first package.
func TestNameOfTheWorkspace(t *testing.T) {
	name := func(root string, gantry table, repositories ...string) string {
		var packages []table
		for i, repository := range repositories {
			dir := fmt.Sprintf("%s/p%d", strings.TrimSuffix(root, "/"), i)
			p := pkg(fmt.Sprintf("p%d", i), "1.0.0", "x", nil, fmt.Sprintf("bin%d", i))
			p["manifest_path"], p["repository"] = dir+"/Cargo.toml", repository
			p["id"] = dir
			packages = append(packages, p)
		}
		var members []any
		for _, p := range packages {
			members = append(members, p["id"])
		}
		raw, err := json.Marshal(table{"packages": packages, "workspace_members": members, "workspace_root": root, "metadata": table{"gantry": gantry}})
		require.NoError(t, err)
		p, err := Load(raw, root, []string{"Cargo.toml", "Cargo.lock"})
		require.NoError(t, err)
		return planOf(t, p, "v1.0.0", clean()).Component
	}
	assert.Equal(t, "given", name("/src", table{"name": "given"}, "https://github.com/acme/suite", ""))
	assert.Equal(t, "suite", name("/src", nil, "https://github.com/acme/suite", ""))
	assert.Equal(t, "second", name("/src", nil, "", "https://github.com/acme/second"))
	assert.Equal(t, "tools", name("/work/tools", nil, "", ""))
	assert.Equal(t, "p0", name("/src", nil, "", ""), "the source's own directory says nothing")

	root := mustLoad(t, nil, nil, pkg("zz", "1.0.0", ".", nil, "zz"), pkg("a", "1.0.0", "a", nil, "a"))
	assert.Equal(t, "zz", planOf(t, root, "v1.0.0", clean()).Component)
}

func TestManifestOfAPlan(t *testing.T) {
	first := with(pkg("a", "1.0.0", "a", nil, "a"), table{"description": " Does\n", "license": "MIT", "homepage": "https://a.example"})
	second := with(pkg("b", "1.0.0", "b", nil, "b"), table{"description": "Other", "license": "ISC", "homepage": "https://b.example"})
	m := planOf(t, mustLoad(t, nil, nil, first, second), "v1.0.0", clean("v0.9.0")).Manifest(manifest.Toolchain{Rustc: "rustc 1.96.0"})
	assert.Equal(t, []string{"Does", "MIT", "https://a.example", "https://github.com/example/app", "v0.9.0", "rustc 1.96.0", "stable"},
		[]string{m.Description, m.License, m.Homepage, m.Repository, m.PreviousTag, m.Toolchain.Rustc, m.Channel})
	delete(first, "license")
	m = planOf(t, mustLoad(t, nil, nil, first, second), "v1.0.0", clean()).Manifest(manifest.Toolchain{})
	assert.Equal(t, "ISC", m.License, "that of the next package which has one")
}

func TestGlobsOfChangelogsAreNotRepeated(t *testing.T) {
	changelog := table{"changelog": table{"paths": []string{"proto/**"}}}
	p := mustLoad(t, nil, nil, pkg("a", "1.0.0", "a", changelog, "a"), pkg("b", "1.0.0", "b", changelog, "b"), pkg("c", "2.0.0", "c", table{"tag-prefix": "c-"}, "c"))
	whole, err := p.Component(planOf(t, p, "v1.0.0", clean()).Component)
	require.NoError(t, err)
	assert.Equal(t, []string{"proto/**"}, whole.Config.Changelog.Paths)
}

// Files that an archive can't have next to each other.
func TestFilesInEachOthersWay(t *testing.T) {
	files := func(include []string, files ...string) error {
		p := mustLoad(t, nil, append([]string{"Cargo.toml", "Cargo.lock"}, files...), pkg("app", "1.0.0", ".", table{"include": include}, "app"))
		return planOf(t, p, "v1.0.0", clean()).Err()
	}
	require.NoError(t, files([]string{"etc"}, "etc/a", "etc/b"))
	assert.ErrorContains(t, files([]string{"etc"}, "etc/a", "etc/A"), `file "etc/A" and file "etc/a" differ only in case`)
	assert.ErrorContains(t, files([]string{"app"}, "app/a"), `file "app/a" needs the directory "app" in the archives, but that is binary "app"`)
	assert.ErrorContains(t, files([]string{"app"}, "app"), `binary "app" and file "app" would have the same path`)
	assert.ErrorContains(t, files([]string{"x*"}, "x\\y"), `can't be in an archive`)

	assert.Equal(t, 1, countEntries(nil), "the root")
	assert.Equal(t, 3, countEntries([]string{"a", "b"}))
	assert.Equal(t, 6, countEntries([]string{"d/e/a", "d/e/b", "c"})) // d and d/e
}

func TestSmokeTexts(t *testing.T) {
	for want, s := range map[string]*manifest.Smoke{
		"--version must print 1.0.0": nil,
		"none":                       {Skip: true},
		"check it must print 1.0.0":  {Args: []string{"check", "it"}},
		"--version must print fine":  {Expect: "fine"},
	} {
		assert.Equal(t, want, smokeText(s, "1.0.0"))
	}
}

func TestGitThatFailed(t *testing.T) {
	g, err := ReadGit("present\nfailed git-crypt is missing\nhead " + head + "\ntime 1700000000\n")
	require.NoError(t, err)
	assert.Equal(t, "git-crypt is missing", g.Failed)
	assert.Equal(t, head, g.Commit)
	plan := planOf(t, mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", g)
	assert.ErrorContains(t, plan.Err(), "git-crypt is missing")
}

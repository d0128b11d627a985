package plan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/version"
)

// table is a TOML table, as cargo metadata gives it.
type table map[string]any

func pkg(name, version, dir string, gantry table, bins ...string) table {
	var targets []table
	for _, b := range bins {
		targets = append(targets, table{"name": b, "kind": []string{"bin"}})
	}
	targets = append(targets, table{"name": name, "kind": []string{"lib"}})
	id := "path+file:///src/" + dir + "#" + name + "@" + version
	p := table{
		"id": id, "name": name, "version": version, "manifest_path": "/src/" + dir + "/Cargo.toml", "targets": targets,
		"features": table{"default": []string{"std"}, "std": []string{}, "extra": []string{}}, "repository": "https://github.com/example/app.git/",
	}
	if dir == "." {
		p["manifest_path"] = "/src/Cargo.toml"
	}
	if gantry != nil {
		p["metadata"] = table{"gantry": gantry, "other-tool": table{"anything": 1}}
	}
	return p
}

func load(t *testing.T, workspace table, files []string, packages ...table) (*Project, error) {
	t.Helper()
	var members []any
	for _, p := range packages {
		members = append(members, p["id"])
	}
	raw, err := json.Marshal(table{
		"packages": packages, "workspace_members": members, "workspace_root": "/src", "metadata": table{"gantry": workspace},
	})
	require.NoError(t, err)
	if files == nil {
		files = []string{"Cargo.toml", "Cargo.lock"}
	}
	return Load(raw, "/src", files)
}

func mustLoad(t *testing.T, workspace table, files []string, packages ...table) *Project {
	t.Helper()
	p, err := load(t, workspace, files, packages...)
	require.NoError(t, err)
	return p
}

const head = "0123456789abcdef0123456789abcdef01234567"

func clean(tags ...string) Git {
	g := Git{Present: true, Commit: head, Time: time.Unix(1700000000, 0)}
	for _, name := range tags {
		tag := version.GitTag{Name: name, Commit: "other"}
		g.Tags, g.Reachable = append(g.Tags, tag), append(g.Reachable, tag)
	}
	return g
}

func planOf(t *testing.T, p *Project, tag string, g Git) *Plan {
	t.Helper()
	plan, err := p.Plan(tag, g, nil)
	require.NoError(t, err)
	return plan
}

func TestPlanOfASinglePackage(t *testing.T) {
	files := []string{"Cargo.toml", "Cargo.lock", "LICENSE-MIT", "README.md", "src/main.rs", "docs/LICENSE"}
	p := mustLoad(t, nil, files, pkg("app", "1.2.3", ".", nil, "app"))
	for _, tag := range []string{"v1.2.3", "1.2.3", "app-1.2.3", "app-v1.2.3"} {
		plan := planOf(t, p, tag, clean("v1.2.2", "v1.3.0-rc.1", "unrelated"))
		require.NoError(t, plan.Err(), tag)
		assert.Equal(t, "app", plan.Component)
		assert.Equal(t, "v1.2.2", plan.PreviousTag)
		assert.True(t, plan.Latest)
		assert.Equal(t, "https://github.com/example/app", plan.Repository)
		assert.Equal(t, "2023-11-14T22:13:20Z", plan.CommitDate)
		assert.Empty(t, plan.ChangelogPaths, "the only package's changelog is that of the repository")
		assert.Equal(t, []Extra{{"LICENSE-MIT", "LICENSE-MIT"}, {"README.md", "README.md"}}, plan.Extra)
		assert.Contains(t, plan.Assets, "app-1.2.3-aarch64-unknown-linux-musl.tar.gz")
		assert.Contains(t, plan.Assets, manifest.FileName)
	}
	assert.False(t, planOf(t, p, "v1.2.3", clean("v2.0.0")).Latest, "a backport is not the latest")
}

func TestComponents(t *testing.T) {
	prefixed := mustLoad(t, nil, nil,
		pkg("app", "0.7.0", "crates/app", nil), // a library, called like a binary
		pkg("app-server", "1.0.0", "crates/server", table{"tag-prefix": "app-"}, "server"),
		pkg("app-cli", "2.0.0", "crates/cli", table{"tag-prefix": "app-cli-"}, "app"))
	assert.Equal(t, "app-cli", planOf(t, prefixed, "app-cli-2.0.0", clean()).Component)
	server := planOf(t, prefixed, "app-1.0.0", clean())
	assert.Equal(t, "app-server", server.Component)
	assert.Equal(t, []string{"crates/server/**"}, server.ChangelogPaths)
	_, err := prefixed.Plan("v1.0.0", clean(), nil)
	assert.ErrorContains(t, err, "names no known component")

	together := mustLoad(t, table{"name": "suite"}, nil,
		pkg("a", "1.0.0", "a", nil, "a"), pkg("b", "1.0.0", "b", nil, "b"), pkg("c", "3.0.0", "c", table{"release": false}, "c"))
	suite := planOf(t, together, "v1.0.0", clean())
	require.NoError(t, suite.Err())
	assert.Equal(t, "suite", suite.Component)
	assert.Equal(t, []string{"a", "b"}, []string{suite.Targets[0].Binaries[0].Name, suite.Targets[0].Binaries[1].Name})
	assert.Equal(t, "a", planOf(t, together, "a-1.0.0", clean()).Component, "each can be released on its own too")

	apart := mustLoad(t, nil, nil, pkg("a", "1.0.0", "a", nil, "a"), pkg("b", "2.0.0", "b", nil, "b"))
	assert.ErrorContains(t, planOf(t, apart, "v1.0.0", clean()).Err(), `(package "b") has 2.0.0`)
	assert.ErrorContains(t, planOf(t, apart, "v1.0.0", clean()).Err(), `if "b" is not part of this release, set release = false or a tag-prefix in its [package.metadata.gantry]`)

	tool := func(gantry table) []cargo.Bin {
		p := mustLoad(t, table{"tag-prefix": "app-v"}, nil, pkg("app", "1.0.0", "app", nil, "app"), pkg("xtask", "1.0.0", "xtask", gantry, "xtask"))
		return planOf(t, p, "app-v1.0.0", clean()).Targets[0].Binaries
	}
	assert.Len(t, tool(nil), 1, "xtask is the workspace's own tool")
	assert.Len(t, tool(table{"release": true}), 2)
}

func TestVersionAgreement(t *testing.T) {
	for _, c := range []struct{ policy, manifest, tag, says string }{
		{"exact", "1.2.0", "v1.2.0", ""},
		{"exact", "1.2.0-rc.1", "v1.2.0-rc.1", ""},
		{"exact", "1.2.0", "v1.2.1", `tag "v1.2.1" is for version 1.2.1, but Cargo.toml (package "app") has 1.2.0: set version = "1.2.1" there, or tag v1.2.0 instead`},
		{"exact", "1.2.0", "1.2.1", `set version = "1.2.1" there, or tag 1.2.0 instead`},
		{"exact", "1.2.0", "app-v1.2.1", `set version = "1.2.1" there, or tag app-v1.2.0 instead`},
		{"exact", "1.2.0", "v1.2.0-rc.1", `set prerelease = "core"`},
		{"core", "1.2.0", "v1.2.0-rc.1", ""},
		{"core", "1.2.0", "v1.2.1-rc.1", "is for version 1.2.1-rc.1"},
		{"core", "1.2.0-rc.1", "v1.2.0", "is for version 1.2.0"},
		{"core", "1.2.0", "v1.2.0+build.5", "build metadata"},
	} {
		p := mustLoad(t, table{"prerelease": c.policy}, nil, pkg("app", c.manifest, ".", nil, "app"))
		err := planOf(t, p, c.tag, clean()).Err()
		if c.says == "" {
			assert.NoError(t, err, c.tag)
		} else {
			assert.ErrorContains(t, err, c.says, c.tag)
		}
	}
}

func TestStateOfTheRepository(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2.3", ".", nil, "app"))
	for _, c := range []struct {
		name, says string
		change     func(*Git)
	}{
		{"no history", "no .git directory", func(g *Git) { *g = Git{} }},
		{"a worktree", "pass the main checkout", func(g *Git) { g.Worktree = true }},
		{"no commit", "no commit yet", func(g *Git) { g.Commit = "" }},
		{"shallow", "git fetch --unshallow --tags", func(g *Git) { g.Shallow = true }},
		{"dirty", "commit or stash them: M src/main.rs", func(g *Git) { g.Dirty = []string{"M src/main.rs"} }},
		{"another commit", "check out the tag", func(g *Git) { g.Tags = []version.GitTag{{Name: "v1.2.3", Commit: "fedcba9876543210"}} }},
		{"twice", `version 1.2.3 of "app" is already tagged as "app-1.2.3" at commit fedcba987654: release another version, or check out that tag and release it; if it is a mistake, remove it with git tag -d app-1.2.3 and git push --delete origin app-1.2.3`, func(g *Git) { g.Tags = []version.GitTag{{Name: "app-1.2.3", Commit: "fedcba9876543210"}} }},
	} {
		g := clean()
		c.change(&g)
		assert.ErrorContains(t, planOf(t, p, "v1.2.3", g).Err(), c.says, c.name)
	}
}

func TestTextSaysWhetherItIsReady(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2.3", ".", nil, "app"))
	g := clean()
	g.Ignored = []string{"Cargo.lock"}
	text := planOf(t, p, "v1.2.3", g).Text()
	assert.Contains(t, text, "warning: git ignores Cargo.lock")
	assert.Contains(t, text, "\nready to release\n", "a warning holds nothing up")
	g.Shallow = true
	text = planOf(t, p, "v1.2.3", g).Text()
	assert.Contains(t, text, "error: the source is a shallow clone")
	assert.Contains(t, text, "\nnot ready to release\n")
}

func TestFilesOfArchives(t *testing.T) {
	files := []string{"Cargo.toml", "Cargo.lock", "config/a.toml", "config/deep/b.toml", "crates/app/config/c.toml", "crates/app/Cargo.toml", "crates/app/LICENSE", "LICENSE", "README.md"}
	for _, c := range []struct {
		name, where, glob string
		paths             []string
		says              string
	}{
		{"a folder", "workspace", "config", []string{"LICENSE", "README.md", "config/a.toml", "config/deep/b.toml"}, ""},
		{"a glob", "workspace", "config/**/b.toml", []string{"LICENSE", "README.md", "config/deep/b.toml"}, ""},
		{"of the package", "package", "config/c.toml", []string{"LICENSE", "README.md", "config/c.toml"}, ""},
		{"missing", "workspace", "nope/*", nil, `include "nope/*" of Cargo.toml matches no file`},
		{"at the wrong level", "package", "config/a.toml", nil, "move the key to [workspace.metadata.gantry]"},
		{"escape", "workspace", "../secrets", nil, "would escape the archive"},
		{"hidden escape", "workspace", "config/../../secrets", nil, "would escape the archive"},
		{"absolute", "workspace", "/etc/passwd", nil, "would escape the archive"},
	} {
		workspace, own := table{}, table{}
		map[string]table{"workspace": workspace, "package": own}[c.where]["include"] = []string{c.glob}
		p := mustLoad(t, workspace, files, pkg("app", "1.0.0", "crates/app", own, "app"))
		plan := planOf(t, p, "v1.0.0", clean())
		if c.says != "" {
			assert.ErrorContains(t, plan.Err(), c.says, c.name)
			continue
		}
		require.NoError(t, plan.Err(), c.name)
		var paths []string
		for _, e := range plan.Extra {
			paths = append(paths, e.Path)
			if e.Path == "LICENSE" {
				assert.Equal(t, "crates/app/LICENSE", e.Source, "the package's own wins")
			}
		}
		assert.Equal(t, c.paths, paths, c.name)
	}
	p := mustLoad(t, nil, []string{"Cargo.toml"}, pkg("app", "1.0.0", ".", nil, "app"))
	assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), "Cargo.lock is missing")
}

func TestMistakesOfTheConfiguration(t *testing.T) {
	for _, c := range []struct {
		name           string
		workspace, own table
		says           string
	}{
		{"unknown key", table{"targts": []string{}}, nil, `Cargo.toml [workspace.metadata.gantry]: unknown key "targts"; did you mean "targets"?`},
		{"unknown key of a package", nil, table{"tag_prefix": "x-"}, `[package.metadata.gantry]: unknown key "tag_prefix"; did you mean "tag-prefix"?`},
		{"unknown key below", nil, table{"image": table{"usr": "1"}}, `unknown key "image.usr"; did you mean "user"?`},
		{"unknown key of a target", table{"target": table{"x86_64-unknown-linux-gnu": table{"envv": table{}}}}, nil, `unknown key "target.x86_64-unknown-linux-gnu.envv"; did you mean "env"?`},
		{"wrong type", table{"targets": "x86_64-unknown-linux-gnu"}, nil, `key "targets" must be an array of strings, not a string`},
		{"unknown target", table{"targets": []string{"x86_64-unknown-linux-gnuu"}}, nil, `did you mean "x86_64-unknown-linux-gnu"?`},
		{"unknown target of a table", table{"target": table{"x86-linux": table{}}}, nil, `unknown target "x86-linux"`},
		{"target twice", table{"targets": []string{"x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"}}, nil, "listed twice"},
		{"policy", table{"prerelease": "loose"}, nil, `unknown prerelease policy "loose"`},
		{"glibc", table{"max-glibc": "two"}, nil, `max-glibc "two"`},
		{"subcommand", table{"cargo-command": "build; rm"}, nil, `cargo-command "build; rm"`},
		{"variable", table{"env": table{"A=B": "c"}}, nil, `"A=B" is not the name of an environment variable`},
		{"variable of a target", table{"target": table{"x86_64-unknown-linux-gnu": table{"env": table{"-i": "c"}}}}, nil, `"-i" is not the name`},
		{"value", table{"env": table{"A": "\x00"}}, nil, `the value of env "A" contains a NUL`},
		{"missing binary", nil, table{"bins": []string{"ap"}}, `has no binary "ap" for x86_64-unknown-linux-gnu; did you mean "app"?`},
		{"placeholder", table{"archive": "{nme}"}, nil, ""},
		{"image path", nil, table{"image": table{"include": table{"a": "b"}}}, "not an absolute path"},
		{"prefix", nil, table{"tag-prefix": "a b"}, "git forbids in tags"},
	} {
		p, err := load(t, c.workspace, nil, pkg("app", "1.0.0", ".", c.own, "app"))
		if c.says == "" {
			require.NoError(t, err, c.name)
			_, err = p.Plan("v1.0.0", clean(), nil)
			assert.ErrorContains(t, err, "unknown placeholder {nme}", c.name)
			continue
		}
		assert.ErrorContains(t, err, c.says, c.name)
	}
	_, err := load(t, nil, nil, pkg("a", "1.0.0", "a", table{"tag-prefix": "x-"}, "a"), pkg("b", "1.0.0", "b", table{"tag-prefix": "x-v"}, "b"))
	assert.ErrorContains(t, err, "ambiguous")
	_, err = load(t, nil, nil, pkg("lib", "1.0.0", ".", nil))
	assert.ErrorContains(t, err, "no package of the workspace has a binary")
}

// Every wrong type is reported at once, and by the key that has it.
func TestWrongTypes(t *testing.T) {
	_, err := load(t, table{"targets": "x86_64-unknown-linux-gnu", "sbom": "yes", "changelog": []string{}, "targts": 1}, nil, pkg("app", "1.0.0", ".", table{
		"image":  table{"expose": 8080, "labels": table{"a": 1, "b": "c"}, "entrypoint": []any{"app", 1, table{}}, "tags": table{"floating": "no"}, "smoke": true},
		"target": table{"x86_64-unknown-linux-gnu": table{"env": table{"A": false}}}, "features": []any{true},
	}, "app"))
	require.Error(t, err)
	assert.Equal(t, []string{
		`Cargo.toml [workspace.metadata.gantry]: key "changelog" must be a table, not an array`,
		`Cargo.toml [workspace.metadata.gantry]: key "sbom" must be true or false, not a string`,
		`Cargo.toml [workspace.metadata.gantry]: key "targets" must be an array of strings, not a string`,
		`Cargo.toml [workspace.metadata.gantry]: unknown key "targts"; did you mean "targets"?`,
		`Cargo.toml [package.metadata.gantry]: key "features[0]" must be a string, not true`,
		`Cargo.toml [package.metadata.gantry]: key "image.entrypoint[1]" must be a string, not the number 1`,
		`Cargo.toml [package.metadata.gantry]: key "image.entrypoint[2]" must be a string, not a table`,
		`Cargo.toml [package.metadata.gantry]: key "image.expose" must be an array of strings, not the number 8080`,
		`Cargo.toml [package.metadata.gantry]: key "image.labels.a" must be a string, not the number 1`,
		`Cargo.toml [package.metadata.gantry]: key "image.smoke" must be a table, not true`,
		`Cargo.toml [package.metadata.gantry]: key "image.tags.floating" must be true or false, not a string`,
		`Cargo.toml [package.metadata.gantry]: key "target.x86_64-unknown-linux-gnu.env.A" must be a string, not false`,
	}, strings.Split(err.Error(), "\n"))
}

func TestArchiveNames(t *testing.T) {
	p := mustLoad(t, table{"archive": "{name}"}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), "add {target} to the archive template")
	p = mustLoad(t, table{"archive": "{name} {target}"}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), "GitHub keeps as it is")
	p = mustLoad(t, table{"archive": "{name}_{os}_{arch}", "targets": []string{"x86_64-pc-windows-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, "app_windows_x86_64.zip", plan.Targets[0].Archive)
}

func TestBuildSettings(t *testing.T) {
	own := table{
		"profile": "dist", "features": []string{"extra"}, "env": table{"A": "1", "B": "1"},
		"target": table{"aarch64-unknown-linux-musl": table{"env": table{"B": "2"}, "features": []string{}, "no-default-features": true}},
	}
	p := mustLoad(t, table{"target": table{"aarch64-unknown-linux-musl": table{"packages": []string{"libssl-dev"}}}}, nil,
		pkg("lib", "1.0.0", "lib", nil), pkg("app-cli", "1.0.0", "cli", own, "app", "appctl"))
	c, err := p.Component("app-cli")
	require.NoError(t, err)
	b, err := c.Build("x86_64-unknown-linux-gnu")
	require.NoError(t, err)
	assert.Equal(t, []string{
		"--locked", "--profile", "dist", "--bin", "app", "--bin", "appctl",
		"--package", "app-cli@1.0.0", "--features", "extra",
	}, b.Args())
	b, err = c.Build("aarch64-unknown-linux-musl")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"A": "1", "B": "2"}, b.Config.Env)
	assert.Equal(t, []string{"libssl-dev"}, b.Config.Packages)
	assert.Contains(t, b.Args(), "--no-default-features")
	assert.NotContains(t, b.Args(), "--features")
}

func TestGroup(t *testing.T) {
	p := mustLoad(t, table{
		"targets": []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"},
		"target":  table{"aarch64-unknown-linux-gnu": table{"env": table{"A": "1"}}, "x86_64-unknown-linux-musl": table{"packages": []string{"libssl-dev"}}},
	}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	builds, err := planOf(t, p, "v1.0.0", clean()).Builds()
	require.NoError(t, err)
	var got [][]string
	for _, g := range Group(builds) {
		var triples []string
		for _, b := range g {
			triples = append(triples, b.Target.Triple)
		}
		got = append(got, triples)
	}
	assert.Equal(t, [][]string{{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl"}, {"aarch64-unknown-linux-gnu"}, {"x86_64-unknown-linux-musl"}}, got)
}

func TestRequiredFeatures(t *testing.T) {
	p := pkg("app", "1.0.0", ".", nil, "app")
	p["targets"] = append(p["targets"].([]table), table{"name": "extra-tool", "kind": []string{"bin"}, "required-features": []string{"extra"}})
	without := mustLoad(t, nil, nil, p)
	assert.Len(t, planOf(t, without, "v1.0.0", clean()).Targets[0].Binaries, 1, "cargo passes over it, and so do we")
	with := mustLoad(t, table{"features": []string{"app/extra"}}, nil, p)
	assert.Len(t, planOf(t, with, "v1.0.0", clean()).Targets[0].Binaries, 2)
}

func TestReadGit(t *testing.T) {
	g, err := ReadGit("present\nshallow false\nhead abc\ntime 1700000000\ntag abc v1.0.0\nreachable abc v1.0.0\ndirty  M src/main.rs\ndirty ?? new file\nignored Cargo.lock\nsubmodule vendor/a b\npointer film.bin\norigin https://github.com/o/r\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"M src/main.rs", "?? new file"}, g.Dirty)
	assert.Equal(t, []version.GitTag{{Name: "v1.0.0", Commit: "abc"}}, g.Tags)
	assert.Equal(t, []string{"vendor/a b"}, g.Submodules)
	assert.Equal(t, []string{"film.bin"}, g.Pointers)
	_, err = ReadGit("what is this")
	assert.ErrorContains(t, err, `unknown line "what is this"`)
}

func TestProjectURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com/o/r.git":                          "https://github.com/o/r",
		"git@github.com:o/r.git":                              "https://github.com/o/r",
		"https://github.com/o/app/tree/main/crates/app":       "https://github.com/o/app",
		"https://GitHub.com/o/app.git":                        "https://github.com/o/app",
		"https://www.github.com/o/app#readme":                 "https://github.com/o/app",
		"https://github.com/o/app.git/":                       "https://github.com/o/app",
		"https://github.com/o/app/?tab=readme":                "https://github.com/o/app",
		"https://gitlab.com/group/sub/app/-/tree/main/crates": "https://gitlab.com/group/sub/app",
		"https://gitlab.com/group/sub/app.git":                "https://gitlab.com/group/sub/app",
		"https://codeberg.org/o/app/src/branch/main/crates":   "https://codeberg.org/o/app",
		"https://github.com/o/tree":                           "https://github.com/o/tree",
		"https://codeberg.org/src/src":                        "https://codeberg.org/src/src",
		"https://host:8443/o/r/tree/x":                        "https://host:8443/o/r",
		"https://app.example.com":                             "https://app.example.com",
		"/srv/git/r.git":                                      "",
		"":                                                    "",
	} {
		assert.Equal(t, want, projectURL(address), address)
	}
}

func TestMatrix(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	m := planOf(t, p, "v1.0.0", clean()).Matrix()
	assert.NotContains(t, m, "\n")
	assert.JSONEq(t, `{"include":[{"target":"x86_64-unknown-linux-gnu","platform":"linux/amd64","libc":"gnu","profile":"release",
		"archive":"app-1.0.0-x86_64-unknown-linux-gnu.tar.gz","sbom":"app-1.0.0-x86_64-unknown-linux-gnu.cdx.json",
		"spdx":"app-1.0.0-x86_64-unknown-linux-gnu.spdx.json","notices":true,"binaries":[{"name":"app","package":"app"}]}]}`, m)
}

func TestDefaultTag(t *testing.T) {
	one := mustLoad(t, nil, nil, pkg("app", "1.2.0", ".", nil, "app"))
	two := mustLoad(t, nil, nil,
		pkg("server", "1.4.0", "server", table{"tag-prefix": "server-"}, "server"), pkg("cli", "0.3.0", "cli", table{"tag-prefix": "cli-"}, "cli"))
	git := clean()
	tagged := func(names ...string) Git {
		g := git
		g.Tags = nil
		for _, n := range names {
			name, elsewhere := strings.CutPrefix(n, "other:")
			commit := git.Commit
			if elsewhere {
				commit = strings.Repeat("9", 40)
			}
			g.Tags = append(g.Tags, version.GitTag{Name: name, Commit: commit})
		}
		return g
	}
	for _, c := range []struct {
		project *Project
		git     Git
		tag     string
		fails   string
	}{
		{one, tagged(), "v1.2.0", ""},
		{one, tagged("v1.1.0"), "v1.1.0", ""},
		{one, tagged("other:v1.1.0"), "v1.2.0", ""},
		{one, tagged("nightly", "v1.2.0-rc.1"), "v1.2.0-rc.1", ""},
		{one, tagged("v1.2.0-rc.2", "v1.2.0", "v1.2.0-rc.10"), "v1.2.0", ""},
		{two, tagged(), "", "pass --tag=cli-0.3.0 or --tag=server-1.4.0"},
		{two, tagged("server-1.4.0"), "server-1.4.0", ""},
		{two, tagged("server-1.4.0", "cli-0.3.0"), "", "pass --tag="},
	} {
		tag, err := c.project.DefaultTag(c.git)
		if c.fails != "" {
			assert.ErrorContains(t, err, c.fails)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, c.tag, tag)
	}
}

func TestLinksOfArchives(t *testing.T) {
	files := []string{"Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "docs/a"}
	p := mustLoad(t, nil, files, pkg("app", "1.0.0", ".", table{"include": []string{"docs/*"}}, "app"))
	p.BadLinks = map[string]string{"docs/a": "is wrong", "other": "is not in any archive"}
	err := planOf(t, p, "v1.0.0", clean()).Err()
	require.ErrorContains(t, err, `"docs/a" is wrong`)
	assert.NotContains(t, err.Error(), "other")
}

func TestReady(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2.0", "app", table{"tag-prefix": "app-"}, "app"),
		pkg("app-cli", "0.3.0-rc.1", "cli", table{"tag-prefix": "app-cli-"}, "app-cli"))
	for _, c := range []struct {
		name string
		git  Git
		want []string
	}{
		{"nothing is tagged", clean(), []string{"app: ready to release as app-1.2.0", "app-cli: ready to release as app-cli-0.3.0-rc.1"}},
		{"one is released", clean("app-1.2.0"), []string{"app: released as app-1.2.0", "app-cli: ready"}},
		{"with a v", clean("app-v1.2.0"), []string{"app: released as app-v1.2.0"}},
		{"another version", clean("app-1.1.0"), []string{"app: ready to release as app-1.2.0"}},
	} {
		got, err := p.Ready(c.git)
		require.NoError(t, err, c.name)
		for _, want := range c.want {
			assert.Contains(t, got, want, c.name)
		}
	}
	here := clean()
	here.Tags = []version.GitTag{{Name: "app-v1.2.0", Commit: head}}
	got, err := p.Ready(here)
	require.NoError(t, err)
	assert.Contains(t, got, "app: tagged as app-v1.2.0 at this commit; ready to release", "the tag that is at this commit")

	dirty := clean()
	dirty.Dirty = []string{"?? x"}
	_, err = p.Ready(dirty)
	require.ErrorContains(t, err, `component "app" can't be released as "app-1.2.0"`)
	require.ErrorContains(t, err, `component "app-cli" can't be released`)
	require.ErrorContains(t, err, "uncommitted changes")

	single := mustLoad(t, nil, nil, pkg("app", "1.2.0", ".", nil, "app"))
	got, err = single.Ready(clean())
	require.NoError(t, err)
	assert.Equal(t, "app: ready to release as v1.2.0\n", got)
}

// A workspace in a folder of its repository finds its files from there, and
// licenses and the changelog's configuration above it too.
func TestWorkspaceInAFolder(t *testing.T) {
	raw, err := json.Marshal(table{
		"workspace_root": "/src/rust", "workspace_members": []string{"app", "shared"},
		"packages": []table{
			{"id": "app", "name": "app", "version": "1.0.0", "manifest_path": "/src/rust/Cargo.toml", "targets": []table{{"name": "app", "kind": []string{"bin"}}},
				"dependencies": []table{{"name": "shared", "path": "/src/shared"}},
				"metadata":     table{"gantry": table{"include": []string{"**/*.txt"}, "changelog": table{"paths": []string{"proto/**"}}}}},
			{"id": "shared", "name": "shared", "version": "1.0.0", "manifest_path": "/src/shared/Cargo.toml", "targets": []table{{"name": "shared", "kind": []string{"lib"}}}},
		},
	})
	require.NoError(t, err)
	files := []string{"LICENSE-MIT", "README.md", "cliff.toml", "notes.txt", "rust/Cargo.toml", "rust/Cargo.lock", "rust/README.md", "rust/a.txt", "shared/Cargo.toml"}
	p, err := Load(raw, "/src", files)
	require.NoError(t, err)
	assert.Equal(t, "rust", p.Dir)
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, []Extra{{"LICENSE-MIT", "LICENSE-MIT"}, {"rust/README.md", "README.md"}, {"rust/a.txt", "a.txt"}}, plan.Extra)
	assert.Equal(t, "cliff.toml", plan.ChangelogConfig)
	assert.Equal(t, []string{"rust/**", "shared/**", "rust/proto/**"}, plan.ChangelogPaths, "the only package's changelog is that of the workspace")

	p, err = Load(raw, "/src", append(files, "rust/cliff.toml"))
	require.NoError(t, err)
	p.BadLinks = map[string]string{"LICENSE-MIT": "is wrong"}
	plan = planOf(t, p, "v1.0.0", clean())
	assert.ErrorContains(t, plan.Err(), `"LICENSE-MIT" is wrong`)
	assert.Equal(t, "rust/cliff.toml", plan.ChangelogConfig)

	_, err = Load(raw, "/other", nil)
	assert.ErrorContains(t, err, `the workspace root "/src/rust" is outside of the source`)
}

func TestCheckNameClashes(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("a", "1.0.0", "a", nil, "tool"), pkg("b", "1.0.0", "b", table{"tag-prefix": "b-"}, "tool"), pkg("c", "1.0.0", "c", nil, "other"))
	var builds []Build
	for _, name := range []string{"a", "b", "c"} {
		c, err := p.Component(name)
		require.NoError(t, err)
		b, err := c.Build("x86_64-unknown-linux-gnu")
		require.NoError(t, err)
		builds = append(builds, b)
	}
	assert.NoError(t, CheckNameClashes([]Build{builds[0], builds[2], builds[0]}), "the same program twice is no conflict")
	assert.EqualError(t, CheckNameClashes(builds), `packages "a" and "b" both build a binary "tool": pass --component to build only one`)
}

func TestBillsOfMaterials(t *testing.T) {
	p := mustLoad(t, table{"sbom": true, "targets": []string{"x86_64-unknown-linux-gnu", "x86_64-pc-windows-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.0.0", clean())
	assert.Equal(t, []string{
		"CHANGELOG.md", "SHA256SUMS", "app-1.0.0-x86_64-pc-windows-gnu.cdx.json", "app-1.0.0-x86_64-pc-windows-gnu.spdx.json", "app-1.0.0-x86_64-pc-windows-gnu.zip",
		"app-1.0.0-x86_64-unknown-linux-gnu.cdx.json", "app-1.0.0-x86_64-unknown-linux-gnu.spdx.json", "app-1.0.0-x86_64-unknown-linux-gnu.tar.gz", "release-manifest.json",
	}, plan.Assets)
	builds, err := plan.Builds()
	require.NoError(t, err)
	assert.True(t, builds[0].SBOM)
}

// The plan shows the image that phase 2 will make, and how its parts were chosen.
func TestTextShowsTheImage(t *testing.T) {
	image := func(workspace, image table, bins ...string) string {
		own := table{}
		if image != nil {
			own["image"] = image
		}
		return planOf(t, mustLoad(t, workspace, nil, pkg("app", "1.2.3", ".", own, bins...)), "v1.2.3", clean()).Text()
	}
	text := image(nil, nil, "app")
	for _, want := range []string{
		"/usr/local/bin/app  (the only binary)", "65532:65532", "linux/amd64   on gcr.io/distroless/static-debian12:nonroot\n",
		"linux/arm64 ", "none configured; pass --addresses to publish", "--version must print 1.2.3",
	} {
		assert.Contains(t, text, want)
	}
	text = image(table{"targets": []string{"x86_64-unknown-linux-gnu"}}, table{
		"repositories": []string{"ghcr.io/acme/app", "docker.io/acme/app"}, "user": "1000", "workdir": "/srv", "cmd": []string{"serve"},
		"expose": []string{"8080"}, "smoke": table{"args": []string{"check", "all"}, "expect": "fine"}, "tags": table{"prefix": "v"},
	}, "app", "appctl")
	for _, want := range []string{
		"(the binary with the component's name; set entrypoint to choose another)", "ghcr.io/acme/app, docker.io/acme/app", "1000", "/srv", "serve", "8080",
		"on gcr.io/distroless/cc-debian12:nonroot, or gcr.io/distroless/static-debian12:nonroot for static binaries", "check all must print fine", "v1.2.3  ",
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "on a local host", "an image without a base comes from elsewhere")
	text = image(nil, table{"base": "debian:bookworm-slim", "entrypoint": []string{"tini", "--", "app"}, "platforms": []string{"linux/arm64"}, "smoke": table{"skip": true}}, "app")
	assert.Contains(t, text, "tini -- app  (configured)")
	assert.Contains(t, text, "on debian:bookworm-slim")
	assert.NotContains(t, text, "linux/amd64")
	assert.Regexp(t, `smoke test +none\n`, text)
	assert.Contains(t, image(nil, nil, "one", "two"), "unknown, see below")
	assert.NotContains(t, image(table{"targets": []string{"x86_64-pc-windows-gnu"}}, nil, "app"), "\nimage\n")
}

// Where some targets are planned, as on one runner of several, an image of all of
// them is still possible.
func TestPartOfTheTargets(t *testing.T) {
	p := mustLoad(t, table{"image": table{"platforms": []string{"linux/amd64", "linux/arm64"}}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan, err := p.Plan("v1.0.0", clean(), []string{"x86_64-unknown-linux-gnu"})
	require.NoError(t, err)
	assert.NoError(t, plan.Err())
	assert.Len(t, plan.Targets, 1)
}

// A tag that an older configuration allowed starts the changelog, and stays out of
// the manifest, which has no such tags.
func TestPreviousTagOfAnotherNotation(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", nil, "app"))
	c, err := p.Component("app")
	require.NoError(t, err)
	plan := &Plan{PreviousTag: "größe-0.9.0", component: c}
	assert.Empty(t, plan.Manifest(manifest.Toolchain{}).PreviousTag)
	plan.PreviousTag = "v0.9.0"
	assert.Equal(t, "v0.9.0", plan.Manifest(manifest.Toolchain{}).PreviousTag)
}

package plan

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// with sets more of what cargo metadata says of a package.
func with(p table, more table) table {
	for k, v := range more {
		p[k] = v
	}
	return p
}

var unpublished = table{"publish": []string{}}

func binaries(t TargetPlan) []string {
	var names []string
	for _, b := range t.Binaries {
		names = append(names, b.Name)
	}
	return names
}

func TestTagsWithoutAPrefix(t *testing.T) {
	app := func(repository string, gantry table) table {
		return with(pkg("app", "1.0.0", "app", gantry, "app"), table{"repository": repository})
	}
	a, b := pkg("a", "1.0.0", "a", nil, "a"), pkg("b", "1.0.0", "b", nil, "b")
	t.Run("a package with a prefix that is called like the repository", func(t *testing.T) {
		_, err := load(t, nil, nil, app("https://github.com/o/app", table{"tag-prefix": "app-", "latest": true}), a, b)
		assert.ErrorContains(t, err, `tags such as v1.2.3 would release packages "a", "b" together as "app", but tags with prefix "app-" already release package "app" under that name: set name in [workspace.metadata.gantry]`)

		p := mustLoad(t, table{"name": "suite"}, nil, app("https://github.com/o/app", table{"tag-prefix": "app-", "latest": true}), a, b)
		plan := planOf(t, p, "app-1.0.0", clean())
		assert.Equal(t, []string{"app"}, binaries(plan.Targets[0]))
		assert.True(t, plan.OwnsLatest)
		suite := planOf(t, p, "v1.0.0", clean())
		assert.Equal(t, []string{"a", "b"}, binaries(suite.Targets[0]))
		assert.False(t, suite.OwnsLatest)
	})
	t.Run("the name of a repository whose URL goes on", func(t *testing.T) {
		far := with(pkg("a", "1.0.0", "a", nil, "a"), table{"repository": "https://github.com/o/tools/tree/main/crates/a"})
		p := mustLoad(t, nil, nil, far, b)
		plan := planOf(t, p, "v1.0.0", clean())
		require.NoError(t, plan.Err())
		assert.Equal(t, "tools", plan.Component)
		assert.Equal(t, "https://github.com/o/tools", plan.Repository)
	})
	t.Run("a package without a prefix that is called like the repository", func(t *testing.T) {
		p := mustLoad(t, nil, nil, app("https://github.com/o/app", nil), a, b)
		assert.Equal(t, []string{"a", "app", "b"}, binaries(planOf(t, p, "v1.0.0", clean()).Targets[0]))
		for _, tag := range []string{"app-1.0.0", "app-v1.0.0"} {
			_, err := p.Plan(tag, clean(), nil)
			assert.EqualError(t, err, `tag "`+tag+`" names no component: "app" is the name of packages "a", "app", "b" together, which tags such as v1.0.0 release: use that tag, or set another name in [workspace.metadata.gantry] so that "`+tag+`" releases only one package`)
		}
		_, err := p.Plan("app-next", clean(), nil)
		assert.ErrorContains(t, err, "names no known component")
		p = mustLoad(t, table{"name": "suite"}, nil, app("https://github.com/o/app", nil), a, b)
		assert.Equal(t, []string{"app"}, binaries(planOf(t, p, "app-1.0.0", clean()).Targets[0]), "as the hint says")
	})
	t.Run("names", func(t *testing.T) {
		none := func(name, dir string) table {
			return with(pkg(name, "1.0.0", dir, nil, name), table{"repository": ""})
		}
		assert.NotNil(t, named(mustLoad(t, nil, nil, none("z", "."), none("b", "b")).Components, "z"), "that of the root package")
		assert.True(t, named(mustLoad(t, nil, nil, none("b", "b"), none("c", "c")).Components, "b").Whole, "that of the first package, in a source without a name")
		_, err := load(t, nil, nil, pkg("a", "1.0.0", "a", table{"name": "x"}, "a"), pkg("b", "1.0.0", "b", table{"name": "x"}, "b"))
		assert.ErrorContains(t, err, `packages "a" and "b" are both released as "x": set a different name`)
	})
}

func TestPackagesThatAreNotPublished(t *testing.T) {
	app := pkg("app", "1.0.0", "app", nil, "app")
	helper := func(gantry table) table {
		return with(pkg("test-server", "0.0.0", "test", gantry, "test-server"), unpublished)
	}

	p := mustLoad(t, nil, []string{"Cargo.lock", "app/Cargo.toml"}, app, helper(nil), pkg("xtask", "0.1.0", "xtask", nil, "xtask"), pkg("old", "0.1.0", "old", table{"release": false}, "old"))
	plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
	require.NoError(t, plan.Err(), "its version does not matter")
	assert.Equal(t, []string{"app"}, binaries(plan.Targets[0]))
	assert.Empty(t, plan.ChangelogPaths, "it is the only package that is released")
	assert.True(t, plan.OwnsLatest)
	assert.Equal(t, []LeftOut{
		{"old", "it has release = false"},
		{"xtask", "xtask is the workspace's build tool: set release = true in its [package.metadata.gantry] to include it"},
		{"test-server", "it has publish = false: set release = true in its [package.metadata.gantry] to include it, or tag test-server-0.0.0 to release only it"},
	}, plan.LeftOut)
	assert.Contains(t, plan.Text(), "excluded      test-server: it has publish = false")
	alone := planOf(t, p, "test-server-0.0.0", clean())
	require.NoError(t, alone.Err(), "a tag that names it releases it")
	assert.False(t, alone.OwnsLatest)
	assert.Empty(t, alone.LeftOut)

	p = mustLoad(t, table{"tag-prefix": "app-v"}, nil, app, helper(nil))
	assert.True(t, planOf(t, p, "app-v1.0.0", clean()).OwnsLatest, "a helper is no rival")

	p = mustLoad(t, nil, nil, app, with(pkg("test-server", "1.0.0", "test", table{"release": true}, "test-server"), unpublished))
	plan = planOf(t, p, "v1.0.0", clean())
	assert.Equal(t, []string{"app", "test-server"}, binaries(plan.Targets[0]))
	assert.Empty(t, plan.LeftOut)

	private := mustLoad(t, nil, nil, with(pkg("a", "1.0.0", "a", nil, "a"), unpublished), with(pkg("b", "1.0.0", "b", nil, "b"), unpublished))
	assert.Len(t, planOf(t, private, "v1.0.0", clean()).Targets[0].Binaries, 2, "where none is published, it says nothing")
	registry := mustLoad(t, nil, nil, with(pkg("a", "1.0.0", "a", nil, "a"), table{"publish": []string{"company"}}), with(pkg("b", "1.0.0", "b", nil, "b"), unpublished))
	assert.Len(t, planOf(t, registry, "v1.0.0", clean()).Targets[0].Binaries, 1, "a registry of one's own counts")
	server := mustLoad(t, nil, nil, pkg("cli", "2.0.0", "cli", table{"tag-prefix": "cli-"}, "cli"), with(pkg("server", "1.0.0", "server", nil, "server"), unpublished))
	assert.Equal(t, "server", planOf(t, server, "v1.0.0", clean()).Component, "a package with a prefix of its own is no part of the tag, so the tag still has one")

	named := mustLoad(t, nil, nil, with(pkg("app", "1.0.0", "app", nil, "app"), unpublished), pkg("a", "1.0.0", "a", nil, "a"), pkg("b", "1.0.0", "b", nil, "b"))
	plan = planOf(t, named, "v1.0.0", clean())
	assert.Equal(t, []LeftOut{{"app", "it has publish = false: set release = true in its [package.metadata.gantry] to include it"}}, plan.LeftOut, "its tags are not its own")

	_, err := p.Plan("app-1.0.0", clean(), nil)
	assert.ErrorContains(t, err, "names no component", "the name is the workspace's")
	ready, err := mustLoad(t, nil, nil, app, helper(nil)).Ready(clean())
	require.NoError(t, err)
	assert.Equal(t, "app: ready to release as v1.0.0\ntest-server: excluded: it has publish = false: set release = true in its [package.metadata.gantry] to include it\n", ready)
}

// What a package sets holds for a tag of several packages too, or is refused by
// its name.
func TestSettingsOfPackagesInOneRelease(t *testing.T) {
	gnu := "x86_64-unknown-linux-gnu"
	suite := func(a, b table) *Plan {
		t.Helper()
		files := []string{"Cargo.toml", "Cargo.lock", "a/file", "cliff.toml", "log.toml"}
		p := mustLoad(t, table{"name": "suite", "targets": []string{gnu, "aarch64-unknown-linux-gnu"}}, files,
			pkg("a", "1.2.0", "a", a, "a", "a2"), pkg("b", "1.2.0", "b", b, "b"), pkg("other", "9.0.0", "other", table{"tag-prefix": "other-"}, "other"))
		return planOf(t, p, "v1.2.0-rc.1", clean())
	}
	core := func(more table) table { return with(table{"prerelease": "core"}, more) }
	build := func(p *Plan) Build {
		t.Helper()
		require.NoError(t, p.Err())
		builds, err := p.Builds()
		require.NoError(t, err)
		return builds[0]
	}
	// Followed for each package, or for both.
	followed := map[string]func(*testing.T){
		"name":    func(t *testing.T) { assert.Equal(t, "suite", suite(core(table{"name": "x"}), core(nil)).Component) },
		"release": func(t *testing.T) { require.NoError(t, suite(core(table{"release": true}), core(nil)).Err()) },
		"latest": func(t *testing.T) {
			assert.True(t, suite(core(table{"latest": true}), core(nil)).OwnsLatest)
			assert.True(t, suite(core(table{"latest": false}), core(table{"latest": true})).OwnsLatest)
			assert.True(t, suite(core(table{"latest": true}), core(table{"latest": false})).OwnsLatest)
			assert.False(t, suite(core(table{"latest": false}), core(nil)).OwnsLatest)
			assert.True(t, suite(core(nil), core(nil)).OwnsLatest)
		},
		"tag-prefix": func(t *testing.T) {
			assert.Equal(t, []string{"b"}, binaries(suite(core(table{"tag-prefix": "a-"}), core(nil)).Targets[0]))
		},
		"prerelease": func(t *testing.T) {
			err := suite(core(nil), nil).Err()
			require.ErrorContains(t, err, `but b/Cargo.toml (package "b") has 1.2.0`)
			assert.NotContains(t, err.Error(), `a/Cargo.toml`)
		},
		"include": func(t *testing.T) {
			assert.Equal(t, []Extra{{"a/file", "file"}}, suite(core(table{"include": []string{"file"}}), core(nil)).Extra)
		},
		"generate": func(t *testing.T) {
			assert.Equal(t, []Generated{{"b.1", "b", []string{"man"}}}, suite(core(nil), core(table{"generate": table{"b.1": []string{"man"}}})).Generated)
		},
		"bins": func(t *testing.T) {
			assert.Equal(t, []string{"a2", "b"}, binaries(suite(core(table{"bins": []string{"a2"}}), core(nil)).Targets[0]))
		},
		"features": func(t *testing.T) {
			args := strings.Join(build(suite(core(table{"features": []string{"extra"}}), core(nil))).Args(), " ")
			assert.Contains(t, args, "--package a@1.2.0 --package b@1.2.0")
			assert.Contains(t, args, "--features a/extra")
			args = strings.Join(build(suite(core(table{"features": []string{"extra", "a/std"}}), core(table{"features": []string{"extra"}}))).Args(), " ")
			assert.Contains(t, args, "--features a/extra,a/std,b/extra")
			args = strings.Join(build(suite(core(table{"features": []string{"extra"}}), core(table{"features": []string{"extra"}}))).Args(), " ")
			assert.Contains(t, args, "--features extra")
		},
		"git-dir": func(t *testing.T) { assert.True(t, build(suite(core(nil), core(table{"git-dir": true}))).GitDir) },
		"sign": func(t *testing.T) {
			assert.ErrorContains(t, suite(core(table{"sign": "optional"}), core(table{"sign": "required"})).CheckSigning(false), "pass --signing-key")
		},
		"sbom": func(t *testing.T) {
			assert.True(t, build(suite(core(nil), core(nil))).SBOM)
			assert.False(t, build(suite(core(nil), core(table{"sbom": false}))).SBOM)
			assert.False(t, build(suite(core(table{"sbom": false}), core(nil))).SBOM)
			assert.True(t, build(suite(core(table{"sbom": true}), core(table{"sbom": false}))).SBOM)
			assert.True(t, build(suite(core(table{"sbom": false}), core(table{"sbom": true}))).SBOM)
		},
		"notices": func(t *testing.T) {
			assert.True(t, build(suite(core(nil), core(nil))).Notices)
			assert.False(t, build(suite(core(table{"notices": false}), core(nil))).Notices)
		},
		"auditable": func(t *testing.T) {
			assert.False(t, build(suite(core(nil), core(nil))).Auditable)
			assert.True(t, build(suite(core(nil), core(table{"auditable": true}))).Auditable)
		},
		"packages": func(t *testing.T) {
			got := build(suite(core(table{"packages": []string{"x", "y"}}), core(table{"packages": []string{"y", "z"}}))).Config.Packages
			assert.Equal(t, []string{"x", "y", "z"}, got)
		},
		"changelog": func(t *testing.T) {
			assert.Equal(t, "log.toml", suite(core(table{"changelog": table{"config": "log.toml"}}), core(table{"changelog": table{"config": "log.toml"}})).ChangelogConfig)
			assert.ErrorContains(t, suite(core(table{"changelog": table{"config": "log.toml"}}), core(nil)).Err(), `changelog.config is "log.toml" for a/Cargo.toml and "" for b/Cargo.toml`)
		},
		"image": func(t *testing.T) {
			plan := suite(core(nil), core(table{"image": table{"user": "1:1", "entrypoint": []string{"b"}}}))
			require.NoError(t, plan.Err())
			assert.Equal(t, "1:1", plan.Manifest(manifest.Toolchain{}).Image.User)
			assert.ErrorContains(t, suite(core(table{"image": table{"user": "2:2"}}), core(table{"image": table{"user": "1:1"}})).Err(), `image is {"user":"2:2"} for a/Cargo.toml and {"user":"1:1"} for b/Cargo.toml`)
		},
		"target": func(t *testing.T) {
			plan := suite(core(table{"target": table{gnu: table{"bins": []string{"a2"}, "packages": []string{"x"}}}}), core(nil))
			assert.Equal(t, []string{"a2", "b"}, binaries(plan.Targets[0]))
			assert.Equal(t, []string{"a", "a2", "b"}, binaries(plan.Targets[1]))
			assert.Equal(t, []string{"x"}, build(plan).Config.Packages)
		},
		"pre-build": func(t *testing.T) {
			assert.Equal(t, "make", build(suite(core(nil), core(table{"pre-build": "make"}))).Config.PreBuild)
			assert.ErrorContains(t, suite(core(table{"pre-build": "true"}), core(table{"pre-build": "make"})).Err(), `pre-build is "true" for a/Cargo.toml and "make" for b/Cargo.toml`)
		},
	}
	for key, follows := range followed {
		t.Run(key, follows)
	}
	// One for all: the same for both is followed, and another is refused.
	for key, c := range map[string]struct {
		a, b  any
		says  string
		check func(*Plan) bool
	}{
		"targets":             {[]string{gnu}, nil, `targets is ["x86_64-unknown-linux-gnu"] for a/Cargo.toml and ["aarch64-unknown-linux-gnu","x86_64-unknown-linux-gnu"] for b/Cargo.toml`, func(p *Plan) bool { return len(p.Targets) == 1 }},
		"archive":             {"{name}-{target}", nil, `archive is "{name}-{target}" for a/Cargo.toml and "{name}-{version}-{target}" for b/Cargo.toml`, func(p *Plan) bool { return p.Targets[0].Archive == "suite-"+gnu+".tar.gz" }},
		"max-glibc":           {"2.31", "2.36", `max-glibc is "2.31" for a/Cargo.toml and "2.36" for b/Cargo.toml`, func(p *Plan) bool { return build(p).MaxGlibc == "2.31" }},
		"cargo-command":       {"zigbuild", nil, `cargo-command is "zigbuild" for a/Cargo.toml and "build" for b/Cargo.toml`, func(p *Plan) bool { return build(p).Command == "zigbuild" }},
		"profile":             {"dist", nil, `profile is "dist" for a/Cargo.toml and "release" for b/Cargo.toml`, func(p *Plan) bool { return build(p).Config.Profile == "dist" }},
		"all-features":        {true, nil, `all-features is true for a/Cargo.toml and false for b/Cargo.toml`, func(p *Plan) bool { return isTrue(build(p).Config.AllFeatures) }},
		"no-default-features": {true, false, `no-default-features is true for a/Cargo.toml and false for b/Cargo.toml`, func(p *Plan) bool { return isTrue(build(p).Config.NoDefaultFeatures) }},
		"env":                 {table{"A": "1"}, nil, `env is {"A":"1"} for a/Cargo.toml and {} for b/Cargo.toml`, func(p *Plan) bool { return build(p).Config.Env["A"] == "1" }},
	} {
		t.Run(key, func(t *testing.T) {
			same := suite(core(table{key: c.a}), core(table{key: c.a}))
			require.NoError(t, same.Err())
			assert.True(t, c.check(same))
			own := core(nil)
			if c.b != nil {
				own[key] = c.b
			}
			plan := suite(core(table{key: c.a}), own)
			assert.EqualError(t, plan.Err(), `cannot release "v1.2.0-rc.1": tag "v1.2.0-rc.1" releases packages "a", "b" together, but `+c.says+`: set one value in [workspace.metadata.gantry], or give a package a tag-prefix`)
			_, err := plan.Builds()
			assert.ErrorContains(t, err, c.says)
			require.NoError(t, planOf(t, mustLoad(t, nil, nil, pkg("a", "1.2.0", "a", table{key: c.a}, "a"), pkg("b", "1.2.0", "b", own, "b")), "a-1.2.0", clean()).Err(), "a tag of one package is not concerned")
			followed[key] = nil
		})
	}
	plan := suite(core(table{"target": table{gnu: table{"profile": "dist"}}}), core(nil))
	assert.ErrorContains(t, plan.Err(), `profile is "dist" for a/Cargo.toml and "release" for b/Cargo.toml for x86_64-unknown-linux-gnu: set`)

	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); !f.Anonymous {
			assert.Contains(t, followed, key, "no case says what becomes of this key")
		}
	}
}

// What packages take over from the workspace, each takes its part of.
func TestSharedSettings(t *testing.T) {
	a := pkg("a", "1.0.0", "a", nil, "a", "tool")
	b := with(pkg("b", "1.0.0", "b", nil, "b", "tool"), table{"features": table{"fast": []string{}}})

	p := mustLoad(t, table{"bins": []string{"a", "b"}, "features": []string{"fast", "a/extra"}}, nil, a, b, pkg("c", "1.0.0", "c", nil, "c"))
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, []string{"a", "b"}, binaries(plan.Targets[0]))
	assert.Equal(t, []LeftOut{{"c", "bins in [workspace.metadata.gantry] names none of its binaries"}}, plan.LeftOut)
	assert.Equal(t, []string{"a/extra", "b/fast"}, plan.Targets[0].Features)
	assert.Equal(t, []string{"fast"}, planOf(t, p, "b-1.0.0", clean()).Targets[0].Features, "cargo refuses a feature that no selected package has")

	for _, c := range []struct {
		name           string
		workspace, own table
		says           string
	}{
		{"a binary of none", table{"bins": []string{"aa"}}, nil, `Cargo.toml [workspace.metadata.gantry]: no package has the binary "aa" in bins; did you mean "a"? (known: a, tool, b, tool)`},
		{"a binary of none for a target", table{"target": table{"x86_64-unknown-linux-gnu": table{"bins": []string{"aa"}}}}, nil, `[workspace.metadata.gantry] target x86_64-unknown-linux-gnu: no package has the binary "aa"`},
		{"a feature of none", table{"features": []string{"fst"}}, nil, `no package has the feature "fst" in features; did you mean "fast"?`},
		{"a feature of another package", nil, table{"features": []string{"fast"}}, `package "a" has no feature "fast"`},
		{"a feature of nothing", nil, table{"features": []string{"serde/std"}}, `package "a" has no feature "serde/std"`},
		{"a binary of another package", nil, table{"bins": []string{"b"}}, `component "a" has no binary "b" for x86_64-unknown-linux-gnu`},
	} {
		_, err := load(t, c.workspace, nil, pkg("a", "1.0.0", "a", c.own, "a", "tool"), b)
		assert.ErrorContains(t, err, c.says, c.name)
	}
}

// Two packages may have a binary of one name: it only matters to a tag of both.
func TestBinariesOfOneName(t *testing.T) {
	two := func(gantry table) *Project {
		return mustLoad(t, table{"name": "suite"}, nil, pkg("a", "1.0.0", "a", gantry, "tool", "a"), pkg("b", "1.0.0", "b", nil, "tool", "b"))
	}
	p := two(nil)
	require.NoError(t, planOf(t, p, "a-1.0.0", clean()).Err())
	require.NoError(t, planOf(t, p, "b-1.0.0", clean()).Err())
	err := planOf(t, p, "v1.0.0", clean()).Err()
	assert.EqualError(t, err, `cannot release "v1.0.0": packages "a" and "b" both have a binary "tool", and tag "v1.0.0" would put both into one archive: choose with bins in each [package.metadata.gantry], or give one package a tag-prefix or release = false`)
	require.NoError(t, planOf(t, two(table{"bins": []string{"a"}}), "v1.0.0", clean()).Err(), "as it says")
	require.NoError(t, planOf(t, two(table{"release": false}), "v1.0.0", clean()).Err())
	require.NoError(t, planOf(t, two(table{"tag-prefix": "a-"}), "v1.0.0", clean()).Err())
}

func TestSeparate(t *testing.T) {
	names := func(all []*Component) []string {
		var out []string
		for _, c := range all {
			out = append(out, c.Name)
		}
		return out
	}
	a, b := pkg("a", "1.0.0", "a", nil, "a"), pkg("b", "1.0.0", "b", nil, "b")
	assert.Equal(t, []string{"a", "b"}, names(mustLoad(t, table{"name": "suite"}, nil, a, b).Separate()), "each package once")
	assert.Equal(t, []string{"a", "app", "b"}, names(mustLoad(t, nil, nil, a, b, pkg("app", "1.0.0", "app", nil, "app")).Separate()), "the workspace's is the only one of package app")
}

// Tables of features and what cargo 1.95 builds with them.
func TestFeaturesThatBinariesRequire(t *testing.T) {
	bin := func(name string, features ...string) table {
		return table{"name": name, "kind": []string{"bin"}, "required-features": features}
	}
	app := with(pkg("app", "1.0.0", ".", nil), table{
		"targets":      []table{bin("app"), bin("needs", "dep"), bin("needs-std", "dep/std"), bin("needs-fixed", "fixed/std"), bin("needs-renamed", "other"), bin("hidden", "hid")},
		"features":     table{"default": []string{"dep/std"}, "dep": []string{"dep:dep"}, "weak": []string{"dep?/std"}, "other": []string{"dep:other"}, "use-hidden": []string{"hid/x"}},
		"dependencies": []table{{"name": "dep", "optional": true}, {"name": "fixed", "features": []string{"std"}}, {"name": "renamed", "rename": "other", "optional": true}, {"name": "hid", "optional": true}, {"name": "tests", "kind": "dev", "features": []string{"std"}}},
	})
	for _, c := range []struct {
		name   string
		gantry table
		want   []string
	}{
		{"by default", nil, []string{"app", "needs", "needs-fixed", "needs-std"}},
		{"without", table{"no-default-features": true}, []string{"app", "needs-fixed"}},
		{"a weak one", table{"no-default-features": true, "features": []string{"weak"}}, []string{"app", "needs-fixed"}},
		{"a weak one of a dependency that is there", table{"no-default-features": true, "features": []string{"weak", "dep"}}, []string{"app", "needs", "needs-fixed", "needs-std"}},
		{"one of a dependency", table{"no-default-features": true, "features": []string{"dep/std"}}, []string{"app", "needs", "needs-fixed", "needs-std"}},
		{"one of a renamed dependency", table{"no-default-features": true, "features": []string{"other/x"}}, []string{"app", "needs-fixed", "needs-renamed"}},
		{"one of a dependency without a feature of its name", table{"no-default-features": true, "features": []string{"use-hidden"}}, []string{"app", "needs-fixed"}},
		{"all", table{"all-features": true}, []string{"app", "needs", "needs-fixed", "needs-renamed", "needs-std"}},
	} {
		p := mustLoad(t, c.gantry, nil, app)
		assert.Equal(t, c.want, binaries(planOf(t, p, "v1.0.0", clean()).Targets[0]), c.name)
	}
}

func TestSeveralPrefixes(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("a", "1.1.0", "a", table{"tag-prefix": []string{"a-", "old/", "older-"}}, "a"), pkg("b", "1.0.0", "b", table{"tag-prefix": "b-"}, "b"))
	plan := planOf(t, p, "a-1.1.0", clean("old/1.0.0", "older-v0.9.0", "b-1.0.5"))
	require.NoError(t, plan.Err())
	assert.Empty(t, plan.Problems)
	assert.Equal(t, "old/1.0.0", plan.PreviousTag)
	assert.Equal(t, []Section{{"older-v0.9.0", "0.9.0", "other"}, {"old/1.0.0", "1.0.0", "other"}, {"a-1.1.0", "1.1.0", head}}, plan.Sections)
	assert.False(t, planOf(t, p, "a-1.1.0", clean("old/2.0.0")).Latest, "they count there too")

	ready, err := p.Ready(clean("old/1.0.0"))
	require.NoError(t, err)
	assert.Contains(t, ready, "a: ready to release as a-1.1.0", "the first is for new tags")

	late := planOf(t, p, "old/1.1.0", clean())
	require.NoError(t, late.Err())
	assert.Contains(t, late.Problems[1].Message, `tag "old/1.1.0" starts with a former tag-prefix of "a": new tags start with "a-", such as a-1.1.0`)
	there := clean()
	there.Tags = []version.GitTag{{Name: "old/1.1.0", Commit: head}}
	assert.Empty(t, planOf(t, p, "old/1.1.0", there).Problems, "a tag that exists is not new")

	whole := mustLoad(t, table{"name": "suite", "tag-prefix": []string{"", "suite-"}}, nil, pkg("a", "1.1.0", "a", nil, "a"), pkg("b", "1.1.0", "b", nil, "b"))
	plan = planOf(t, whole, "v1.1.0", clean("suite-1.0.0"))
	require.NoError(t, plan.Err())
	assert.Equal(t, "suite-1.0.0", plan.PreviousTag)
	assert.True(t, plan.OwnsLatest)
	assert.True(t, slices.Equal([]string{"", "suite-"}, named(whole.Components, "suite").Prefixes))

	for _, c := range []struct {
		value any
		says  string
	}{
		{1, `[package.metadata.gantry]: key "tag-prefix" must be a string or an array of strings, the first of which is for new tags, not 1`},
		{[]any{"a-", 1}, `key "tag-prefix" must be a string or an array of strings, the first of which is for new tags, not ["a-",1]`},
		{[]string{}, `for new tags, not []`},
		{[]string{"a-", "a b"}, "git forbids in tags"},
		{[]string{"a-", "b-"}, "ambiguous"},
	} {
		_, err := load(t, nil, nil, pkg("a", "1.0.0", "a", table{"tag-prefix": c.value}, "a"), pkg("b", "1.0.0", "b", table{"tag-prefix": "b-"}, "b"))
		assert.ErrorContains(t, err, c.says)
	}
}

func TestTakeExports(t *testing.T) {
	dist := []string{"dist/CHANGELOG.md", "dist/SHA256SUMS", "dist/app-1.0.0-x86_64-unknown-linux-gnu.tar.gz", "dist/app.cdx.json", "dist/app.spdx.json", "dist/app.zip", "dist/release-manifest.json"}
	status := func(files ...string) []string {
		var lines []string
		for _, f := range files {
			lines = append(lines, "?? "+f)
		}
		return lines
	}
	source := []string{"Cargo.toml", "src/main.rs"}
	for _, c := range []struct {
		name         string
		files, dirty []string
		taken        []string
	}{
		{"an export", dist, status(dist...), dist},
		{"a part of one, below others", []string{"a b/x/SHA256SUMS", "a b/x/release-manifest.json", "a b/x.txt"}, []string{`?? "a b/x/SHA256SUMS"`, `?? "a b/x/release-manifest.json"`, `?? "a b/x.txt"`}, []string{"a b/x/SHA256SUMS", "a b/x/release-manifest.json"}},
		{"with a file of somebody's", append(dist, "dist/notes.txt"), status(append(dist, "dist/notes.txt")...), nil},
		{"with a file of the commit", append(dist, "dist/old.zip"), status(dist...), nil},
		{"a changed file of the commit", dist, append(status(dist[1:]...), " M "+dist[0]), nil},
		{"without checksums", []string{"dist/release-manifest.json"}, status("dist/release-manifest.json"), nil},
		{"without a manifest", []string{"dist/SHA256SUMS"}, status("dist/SHA256SUMS"), nil},
		{"at the top", []string{"SHA256SUMS", "release-manifest.json"}, status("SHA256SUMS", "release-manifest.json"), nil},
		{"ignored by git", dist, nil, nil},
	} {
		git := clean()
		git.Dirty = append([]string{"?? other"}, c.dirty...)
		got := git.TakeExports(append(slices.Clone(source), c.files...))
		assert.Equal(t, c.taken, got, c.name)
		assert.Len(t, git.Dirty, 1+len(c.dirty)-len(c.taken), c.name)
		assert.Equal(t, "?? other", git.Dirty[0], c.name)
	}

	git := clean()
	git.Dirty = status("dist/notes.txt", "dist/release-manifest.json")
	err := planOf(t, mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", git).Err()
	assert.ErrorContains(t, err, `"dist/release-manifest.json" comes from an earlier dist, in a directory with other files or at the top of the source: move it, or add its directory to .gitignore`)
}

func TestLineEndings(t *testing.T) {
	p := mustLoad(t, nil, []string{"Cargo.toml", "Cargo.lock", "src/main.rs", "logo.png"}, pkg("app", "1.0.0", ".", nil, "app"))
	dirty := func(eol []string, lines ...string) error {
		git := clean("v0.9.0")
		git.Dirty, git.LineEndings = lines, eol
		return planOf(t, p, "v1.0.0", git).Err()
	}
	all := []string{"M Cargo.toml", "M Cargo.lock", "M src/main.rs"}

	err := dirty([]string{"Cargo.toml", "Cargo.lock", "src/main.rs"}, all...)
	require.ErrorContains(t, err, `3 files differ from commit 0123456789ab only in their line endings, such as "Cargo.toml": git converted them on checkout (core.autocrlf): run git config core.autocrlf false`)
	assert.NotContains(t, err.Error(), "uncommitted", "nothing else is wrong")
	err = dirty([]string{"Cargo.toml"}, append(all, "?? x")...)
	require.ErrorContains(t, err, "1 files differ")
	require.ErrorContains(t, err, "commit or stash them, or add untracked files to .gitignore: M Cargo.lock, M src/main.rs, ?? x")
	assert.NotContains(t, err.Error(), "--ignore-cr-at-eol", "that is known by now")

	require.ErrorContains(t, dirty(nil, all...), "M src/main.rs; most files are changed, as if git had converted line endings on checkout (core.autocrlf): if git diff --ignore-cr-at-eol shows no change, run git config core.autocrlf false")
	for _, few := range [][]string{all[:2], {"?? a", "?? b", "?? c", "?? d"}, {"D Cargo.toml", "D Cargo.lock", "D src/main.rs"}} {
		assert.NotContains(t, dirty(nil, few...).Error(), "line endings", few)
	}
	one := mustLoad(t, nil, []string{"Cargo.lock"}, pkg("app", "1.0.0", ".", nil, "app"))
	git := clean()
	git.Dirty = []string{"M Cargo.lock"}
	assert.NotContains(t, planOf(t, one, "v1.0.0", git).Err().Error(), "line endings", "one file is a change")

	read, err := ReadGit("present\neol src/a b.rs\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"src/a b.rs"}, read.LineEndings)
}

func TestTargetsOfOtherToolchains(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"x86_64-unknown-netbsd", "x86_64-unknown-linux-gnu", "x86_64-unknown-freebsd", "xtensa-esp32-espidf"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
	require.NoError(t, plan.Err(), "it may be built elsewhere")
	assert.Contains(t, plan.Assets, "app-1.0.0-x86_64-unknown-netbsd.tar.gz")
	unknown := []Problem{
		{SeverityWarning, `target "x86_64-unknown-netbsd" is not in Gantry's table: by its name, it needs an ELF program for x86_64; it gets no container image`},
		{SeverityWarning, `target "xtensa-esp32-espidf" is not in Gantry's table: the format, architecture and libraries of its programs are unknown and not checked; it gets a .tar.gz and no container image`},
	}
	assert.Subset(t, plan.Problems, unknown)
	assert.Subset(t, plan.Problems, []Problem{
		{SeverityWarning, `building target "x86_64-unknown-netbsd" needs its own toolchain: build it elsewhere and use with-binaries, or pass --toolchain with a container that builds for it`},
		{SeverityWarning, `building target "x86_64-unknown-freebsd" needs the libraries of FreeBSD: build it there and use with-binaries, or pass --toolchain with a container that has a cross compiler for it`},
	})
	p.CustomToolchain = true
	plan = planOf(t, p, "v1.0.0", clean("v0.9.0"))
	assert.Subset(t, plan.Problems, unknown, "no toolchain makes that known")
	for _, problem := range plan.Problems {
		assert.NotContains(t, problem.Message, "toolchain")
	}
}

// A release with WebAssembly has the schema that knows it, also its parts without any.
func TestSchemaOfWebAssembly(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"wasm32-wasip1", "x86_64-unknown-linux-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
	require.NoError(t, plan.Err())
	assert.Contains(t, plan.Assets, "app-1.0.0-wasm32-wasip1.tar.gz")
	schema := func(p *Project, only ...string) string {
		plan, err := p.Plan("v1.0.0", clean("v0.9.0"), only)
		require.NoError(t, err)
		return plan.Manifest(manifest.Toolchain{}).SchemaVersion
	}
	assert.Equal(t, "1.2", schema(p))
	assert.Equal(t, "1.2", schema(p, "x86_64-unknown-linux-gnu"))
	p = mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	assert.Equal(t, "1.0", schema(p))
	assert.Equal(t, "1.2", schema(p, "x86_64-unknown-linux-gnu", "wasm32-wasip1"))
}

// cargo-zigbuild links against the glibc that follows the triple.
func TestTargetArgOfZigbuild(t *testing.T) {
	for _, c := range []struct{ command, maximum, triple, want string }{
		{"zigbuild", "2.17", "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu.2.17"},
		{"zigbuild", "2.17", "x86_64-unknown-linux-musl", "x86_64-unknown-linux-musl"},
		{"zigbuild", "", "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"},
		{"build", "2.17", "x86_64-unknown-linux-gnu", "x86_64-unknown-linux-gnu"},
	} {
		known, err := target.Lookup(c.triple)
		require.NoError(t, err)
		assert.Equal(t, c.want, Build{Command: c.command, MaxGlibc: c.maximum, Target: known}.TargetArg())
	}
}

// A version that is tagged twice on one commit has a way out.
func TestTwoTagsOfOneVersion(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2.3", ".", nil, "app"))
	git := clean("v1.2.2")
	git.Tags = append(git.Tags, version.GitTag{Name: "v1.2.3", Commit: head}, version.GitTag{Name: "app-1.2.3", Commit: head})
	for tag, other := range map[string]string{"v1.2.3": "app-1.2.3", "app-1.2.3": "v1.2.3"} {
		plan := planOf(t, p, tag, git)
		require.NoError(t, plan.Err(), tag)
		assert.Contains(t, plan.Problems, Problem{SeverityWarning, `version 1.2.3 of "app" is also tagged as "` + other + `" at this commit: release only one of the two tags`})
		assert.Equal(t, "v1.2.2", plan.PreviousTag)
		assert.True(t, plan.Latest)
	}
	ready, err := p.Ready(git)
	require.NoError(t, err)
	assert.Equal(t, "app: tagged as v1.2.3 at this commit; ready to release\n", ready, "the tag as Gantry would have made it")
}

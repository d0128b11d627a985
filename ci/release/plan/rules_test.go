package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/version"
)

func single(t *testing.T) *Project {
	return mustLoad(t, nil, nil, pkg("app", "1.2.3", ".", nil, "app"))
}

func TestErr(t *testing.T) {
	p := &Plan{Tag: "v1.0.0"}
	p.warn("a %s", "warning")
	require.NoError(t, p.Err())
	p.fail("one")
	assert.EqualError(t, p.Err(), `cannot release "v1.0.0": one`)
	p.fail("two")
	assert.EqualError(t, p.Err(), "cannot release \"v1.0.0\", for 2 reasons:\n- one\n- two")
}

func TestTitle(t *testing.T) {
	assert.Equal(t, "v1.2.3", planOf(t, single(t), "1.2.3", clean()).Title())
	assert.Equal(t, "app 1.2.3", planOf(t, single(t), "app-v1.2.3", clean()).Title())
}

func TestSomeTargetsOnly(t *testing.T) {
	p := single(t)
	plan, err := p.Plan("v1.2.3", clean(), []string{"x86_64-unknown-linux-musl"})
	require.NoError(t, err)
	require.Len(t, plan.Targets, 1)
	assert.Equal(t, []string{"CHANGELOG.md", "SHA256SUMS", "app-1.2.3-x86_64-unknown-linux-musl.cdx.json", "app-1.2.3-x86_64-unknown-linux-musl.spdx.json", "app-1.2.3-x86_64-unknown-linux-musl.tar.gz", "release-manifest.json"}, plan.Assets)
	target, err := plan.Target("x86_64-unknown-linux-musl")
	require.NoError(t, err)
	assert.Equal(t, "app-1.2.3-x86_64-unknown-linux-musl.tar.gz", target.Archive)
	_, err = plan.Target("x86_64-unknown-linux-gnu")
	assert.EqualError(t, err, `target "x86_64-unknown-linux-gnu" is not in the plan of "v1.2.3"`)
	_, err = p.Plan("v1.2.3", clean(), []string{"x86_64-linux-gnu"})
	assert.ErrorContains(t, err, `unknown target "x86_64-linux-gnu"`)
}

func TestLatest(t *testing.T) {
	for _, c := range []struct {
		version, tag string
		others       []string
		want         bool
	}{
		{"1.2.3", "v1.2.3", nil, true},
		{"1.2.3", "v1.2.3", []string{"v1.2.4"}, false},
		{"1.2.3", "v1.2.3", []string{"v1.2.2", "v1.2.4-rc.1", "other-9.0.0"}, true},
		{"1.2.3-rc.1", "v1.2.3-rc.1", nil, false},
	} {
		p := mustLoad(t, nil, nil, pkg("app", c.version, ".", nil, "app"))
		assert.Equal(t, c.want, planOf(t, p, c.tag, clean(c.others...)).Latest, c)
	}
}

func TestOwnersOfLatest(t *testing.T) {
	a, b := func(gantry table) table { return pkg("a", "1.0.0", "a", with(table{"tag-prefix": "a-"}, gantry), "a") }, pkg("b", "1.0.0", "b", table{"tag-prefix": "b-", "latest": true}, "b")
	owner := func(all ...table) (owners []string) {
		for _, c := range mustLoad(t, nil, nil, all...).Components {
			if c.OwnsLatest {
				owners = append(owners, c.Name)
			}
		}
		return owners
	}
	assert.Equal(t, []string{"b"}, owner(a(nil), b))
	assert.Equal(t, []string{"a"}, owner(a(nil)), "the only one")
	assert.Empty(t, owner(a(table{"latest": false})))
	assert.Empty(t, owner(a(nil), pkg("c", "1.0.0", "c", table{"tag-prefix": "c-"}, "c")), "none has more right to it")
	_, err := load(t, nil, nil, a(table{"latest": true}), b)
	assert.EqualError(t, err, "components a, b all have latest = true, but a repository has one Latest release: keep it in one")
}

func TestWhatIsDirty(t *testing.T) {
	git := clean()
	for i := range 10 {
		git.Dirty = append(git.Dirty, fmt.Sprintf("?? f%d", i))
	}
	err := planOf(t, single(t), "v1.2.3", git).Err()
	assert.ErrorContains(t, err, "uncommitted changes; the build would not match commit 0123456789ab: commit or stash them")
	assert.ErrorContains(t, err, "commit or stash them, or add untracked files to .gitignore: ?? f0, ?? f1, ?? f2, ?? f3, ?? f4, ?? f5, ?? f6, ?? f7, ?? f8, ?? f9")
	assert.NotContains(t, err.Error(), "more")
	git.Dirty = append(git.Dirty, "?? f10", "?? f11")
	err = planOf(t, single(t), "v1.2.3", git).Err()
	assert.ErrorContains(t, err, "?? f9 and 2 more")
	assert.NotContains(t, err.Error(), "f10")
}

func TestWarningsOfTheRepository(t *testing.T) {
	warned := func(git Git) []string {
		var all []string
		plan := planOf(t, single(t), "v1.2.3", git)
		require.NoError(t, plan.Err())
		for _, problem := range plan.Problems {
			all = append(all, problem.Message)
		}
		return all
	}
	assert.Empty(t, warned(clean("v1.2.2")))
	assert.Equal(t, []string{`the repository has no tags, so "v1.2.3" would be the first release: if it should have some, run git fetch --tags`}, warned(clean()))
	git := clean("v1.2.2")
	git.Ignored = []string{"other"}
	assert.Empty(t, warned(git))
	rc := mustLoad(t, nil, nil, pkg("app", "1.0.0-rc2", ".", nil, "app"))
	assert.Contains(t, planOf(t, rc, "v1.0.0-rc2", clean("v0.1.0")).Problems[0].Message, `prerelease "rc2": SemVer compares "rc2" as text`)

	here := clean("v1.2.2")
	here.Tags = append(here.Tags, version.GitTag{Name: "v1.2.3", Commit: head})
	assert.Empty(t, warned(here), "the tag may exist at the commit")
}

func TestFilesThatPackagesName(t *testing.T) {
	app := func(more table) table { return with(pkg("app", "1.0.0", "crates/app", nil, "app"), more) }
	files := []string{"Cargo.lock", "LICENSE", "doc/README.md", "crates/app/Cargo.toml", "legal/OURS.txt", "readme.md", "NOTICE.txt", "licenses.md", "Unlicense"}
	paths := func(more table) []Extra {
		plan := planOf(t, mustLoad(t, nil, files, app(more)), "v1.0.0", clean())
		require.NoError(t, plan.Err())
		return plan.Extra
	}
	assert.Equal(t, []Extra{{"LICENSE", "LICENSE"}, {"NOTICE.txt", "NOTICE.txt"}, {"Unlicense", "Unlicense"}, {"readme.md", "readme.md"}}, paths(nil))
	assert.Contains(t, paths(table{"license_file": "../../legal/OURS.txt"}), Extra{"legal/OURS.txt", "OURS.txt"})
	assert.Contains(t, paths(table{"readme": "../../doc/README.md"}), Extra{"doc/README.md", "README.md"})
	assert.NotContains(t, paths(table{"readme": "GONE.md"}), Extra{"GONE.md", "GONE.md"}, "cargo names readmes by itself")
	err := planOf(t, mustLoad(t, nil, files, app(table{"license_file": "GONE"})), "v1.0.0", clean()).Err()
	assert.ErrorContains(t, err, `license-file "GONE" of package "app" is missing (looked for "crates/app/GONE")`)

	for glob, says := range map[string]string{
		"a[": `include "a[" of Cargo.toml is not a valid glob`, `a\b`: "would escape the archive", "..": "would escape the archive", "a/../..": "would escape the archive", "a\x00": "would escape",
	} {
		p := mustLoad(t, table{"include": []string{glob}}, files, app(nil))
		assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), says, glob)
	}
	p := mustLoad(t, table{"include": []string{"legal/*.txt", "doc"}}, append(files, "doc/OURS.txt", "legal/doc/x"), app(nil))
	extra := planOf(t, p, "v1.0.0", clean()).Extra
	assert.Contains(t, extra, Extra{"legal/OURS.txt", "legal/OURS.txt"})
	assert.Contains(t, extra, Extra{"doc/OURS.txt", "doc/OURS.txt"})
	assert.NotContains(t, extra, Extra{"legal/doc/x", "legal/doc/x"})

	p = mustLoad(t, nil, files, app(table{"metadata": table{"gantry": table{"include": []string{"nowhere"}}}}))
	err = planOf(t, p, "v1.0.0", clean()).Err()
	assert.ErrorContains(t, err, `include "nowhere" of crates/app/Cargo.toml matches no file below "crates/app"`)
	assert.NotContains(t, err.Error(), "move the key", "it would not help")
	p = mustLoad(t, table{"changelog": table{"config": "gone.toml"}}, files, app(nil))
	assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), `changelog config "gone.toml" is missing`)
	p = mustLoad(t, nil, append(files, "cliff.toml"), app(nil))
	assert.Equal(t, "cliff.toml", planOf(t, p, "v1.0.0", clean()).ChangelogConfig)
}

// What a change must touch to be a change of a component.
func TestPathsOfChangelogs(t *testing.T) {
	root := depends(pkg("root", "1.0.0", ".", table{"tag-prefix": "root-"}, "root"), table{"name": "lib", "path": "/src/lib"})
	cli := depends(pkg("cli", "1.0.0", "cli", table{"tag-prefix": "cli-", "changelog": table{"paths": []string{"proto/**"}}}, "cli"),
		table{"name": "lib", "path": "/src/lib"}, table{"name": "testing", "path": "/src/testing", "kind": "dev"}, table{"name": "gen", "path": "/src/gen", "kind": "build"}, table{"name": "serde"})
	lib := depends(pkg("lib", "1.0.0", "lib", nil), table{"name": "deep", "path": "/src/deep"}, table{"name": "vendored", "path": "/src/vendor/v"}, table{"name": "out", "path": "/out"})
	deep := depends(pkg("deep", "1.0.0", "deep", nil), table{"name": "lib", "path": "/src/lib", "optional": true})
	p := mustLoad(t, nil, []string{"Cargo.toml", "Cargo.lock", "vendor/v/Cargo.toml", "gen/Cargo.toml", "testing/Cargo.toml", "lib/Cargo.toml", "deep/Cargo.toml"},
		root, cli, lib, deep, pkg("testing", "1.0.0", "testing", nil), pkg("gen", "1.0.0", "gen", nil))
	paths := func(tag string) []string { return planOf(t, p, tag, clean()).ChangelogPaths }
	assert.Equal(t, []string{"../out/**", "cli/**", "deep/**", "gen/**", "lib/**", "vendor/v/**", "proto/**"}, paths("cli-1.0.0"))
	assert.Equal(t, []string{"src/**", "build.rs", "Cargo.toml", "../out/**", "deep/**", "lib/**", "vendor/v/**"}, paths("root-1.0.0"), "of a package that has all others below it, only its own sources")

	alone := mustLoad(t, nil, nil, pkg("root", "1.0.0", ".", table{"tag-prefix": "root-"}, "root"), pkg("cli", "1.0.0", "cli", table{"tag-prefix": "cli-"}, "cli"))
	assert.Empty(t, planOf(t, alone, "root-1.0.0", clean()).ChangelogPaths)
}

func TestGroupsOfOtherCommands(t *testing.T) {
	groups := func(workspace table) int {
		builds, err := planOf(t, mustLoad(t, workspace, nil, pkg("app", "1.0.0", ".", nil, "app")), "v1.0.0", clean()).Builds()
		require.NoError(t, err)
		return len(Group(builds))
	}
	assert.Equal(t, 1, groups(nil))
	assert.Equal(t, 4, groups(table{"cargo-command": "zigbuild"}), "other commands may take one target only")
	assert.Equal(t, 4, groups(table{"packages": []string{"libssl-dev"}}))
	assert.Equal(t, 2, groups(table{"target": table{"x86_64-unknown-linux-gnu": table{"profile": "dev"}}}))

	b := Build{Command: DefaultCargoCommand, Bins: []cargo.Bin{{Name: "a"}}}
	assert.True(t, b.groupsWith(b))
	for _, change := range []func(*Build){
		func(b *Build) { b.GitDir = true }, func(b *Build) { b.SBOM = true }, func(b *Build) { b.Notices = true }, func(b *Build) { b.Auditable = true }, func(b *Build) { b.Bins = nil }, func(b *Build) { b.Command = "zigbuild" },
	} {
		other := b
		change(&other)
		assert.False(t, b.groupsWith(other))
		assert.False(t, other.groupsWith(b))
	}
}

func TestArgs(t *testing.T) {
	b := Build{Bins: []cargo.Bin{{Name: "z", Package: "p", Version: "1.0.0"}, {Name: "a", Package: "o", Version: "2.0.0"}, {Name: "b", Package: "p", Version: "1.0.0"}}}
	yes := true
	b.Config = BuildConfig{Profile: "dist", AllFeatures: &yes}
	assert.Equal(t, []string{"--locked", "--profile", "dist", "--bin", "z", "--bin", "a", "--bin", "b", "--package", "o@2.0.0", "--package", "p@1.0.0", "--all-features"}, b.Args())
	assert.Equal(t, []string{"--package", "o@2.0.0", "--package", "p@1.0.0", "--all-features"}, b.Selection(), "cargo tree knows no profile and no binary")
}

func TestComponentByName(t *testing.T) {
	two := mustLoad(t, nil, nil, pkg("a", "1.0.0", "a", table{"tag-prefix": "a-"}, "a"), pkg("b", "1.0.0", "b", table{"tag-prefix": "b-"}, "b"))
	c, err := two.Component("b")
	require.NoError(t, err)
	assert.Equal(t, "b", c.Name)
	_, err = two.Component("")
	assert.EqualError(t, err, "the workspace has several components: pass --component with one of a, b")
	_, err = two.Component("bb")
	assert.EqualError(t, err, `unknown component "bb"; did you mean "b"? (known: a, b)`)
	c, err = single(t).Component("")
	require.NoError(t, err)
	assert.Equal(t, "app", c.Name)
	_, err = single(t).Component("other")
	assert.ErrorContains(t, err, `unknown component "other"`)
}

func TestPackagesWithoutBinaries(t *testing.T) {
	needs := pkg("a", "1.0.0", "a", nil)
	needs["targets"] = []table{{"name": "a", "kind": []string{"bin"}, "required-features": []string{"extra"}}}
	_, err := load(t, nil, nil, needs)
	assert.EqualError(t, err, `no package of the workspace has a binary to release: add src/main.rs or a [[bin]] to one; package "a" is excluded: all its binaries have required-features that are off: enable them with features`)
	_, err = load(t, nil, nil, with(needs, table{"metadata": table{"gantry": table{"tag-prefix": "a-"}}}))
	assert.ErrorContains(t, err, `a/Cargo.toml: package "a" has a tag-prefix, but no binary to release (all its binaries have required-features`)
	p := mustLoad(t, nil, nil, pkg("b", "1.0.0", "b", nil, "b"), pkg("lib", "1.0.0", "lib", nil), pkg("off", "1.0.0", "off", table{"release": false, "tag-prefix": "off-"}, "off"))
	assert.Equal(t, []LeftOut{{"off", "it has release = false"}}, planOf(t, p, "v1.0.0", clean()).LeftOut, "a library is no program that is missing")
	_, err = load(t, nil, nil)
	assert.ErrorContains(t, err, "the workspace has no package")
	_, err = Load([]byte("{"), "/src", nil)
	assert.ErrorContains(t, err, "read the output of cargo metadata")
	xtask := mustLoad(t, nil, nil, pkg("b", "1.0.0", "b", nil, "b"), pkg("xtask", "1.0.0", "xtask", table{"tag-prefix": "xtask-"}, "xtask"))
	assert.Equal(t, "xtask", planOf(t, xtask, "xtask-1.0.0", clean()).Component, "a prefix says that it is wanted")
}

func TestMoreOfWhatTheSourceLacks(t *testing.T) {
	uses := func(name, dep string) table {
		return depends(pkg(name, "1.0.0", name, nil, name), table{"name": "dep", "path": dep})
	}
	files := []string{"Cargo.toml", "Cargo.lock", "a/Cargo.toml", "b/Cargo.toml", "x/there/Cargo.toml"}
	git := clean("v0.9.0")
	git.Submodules = []string{"vendor/sub", "other"}
	plan := planOf(t, mustLoad(t, nil, files, uses("a", "/src/vendor/sub"), uses("b", "/src/vendor/sub")), "v1.0.0", git)
	assert.Equal(t, 1, strings.Count(plan.Err().Error(), "vendor/sub"), "each is told once: %v", plan.Err())
	assert.Empty(t, warnings(plan), "what is missing says enough")
	plan = planOf(t, mustLoad(t, nil, files, uses("a", "/src/vendor/subtle"), pkg("b", "1.0.0", "b", nil, "b")), "v1.0.0", git)
	assert.ErrorContains(t, plan.Err(), `but "vendor/subtle/Cargo.toml" is missing`)
	plan = planOf(t, mustLoad(t, nil, files, uses("a", "/src/x/there"), pkg("b", "1.0.0", "b", nil, "b")), "v1.0.0", git)
	require.NoError(t, plan.Err())
	assert.Equal(t, []string{"submodule vendor/sub, other is not checked out: if the build needs it, run git submodule update --init --recursive (on GitHub Actions: submodules: recursive)"}, warnings(plan))
}

func warnings(p *Plan) []string {
	var all []string
	for _, problem := range p.Problems {
		if problem.Severity == SeverityWarning && !strings.HasPrefix(problem.Message, "image: ") {
			all = append(all, problem.Message)
		}
	}
	return all
}

func TestMoreFactsOfGit(t *testing.T) {
	g, err := ReadGit("present\nworktree\nshallow true\nhead abc\ntime 1700000000\ntag abc v1\nreachable def v0\nignored Cargo.lock\norigin u\n\n")
	require.NoError(t, err)
	assert.True(t, g.Present)
	assert.True(t, g.Worktree)
	assert.True(t, g.Shallow)
	assert.Equal(t, "abc", g.Commit)
	assert.Equal(t, int64(1700000000), g.Time.Unix())
	assert.Equal(t, []version.GitTag{{Name: "v0", Commit: "def"}}, g.Reachable)
	assert.Equal(t, []string{"Cargo.lock"}, g.Ignored)
	assert.Equal(t, "u", g.Origin)
	g, err = ReadGit("shallow false\n")
	require.NoError(t, err)
	assert.False(t, g.Present || g.Worktree || g.Shallow)
	_, err = ReadGit("time never\n")
	assert.ErrorContains(t, err, `read the commit time "never"`)
}

// Tables are merged key by key, and what a package sets wins.
func TestMerge(t *testing.T) {
	read := func(text string) Config {
		var c Config
		require.NoError(t, json.Unmarshal([]byte(text), &c))
		return c
	}
	got := merge(read(`{"profile":"a","targets":["x"],"env":{"A":"1","B":"1"},"sbom":true,"image":{"user":"1","env":{"C":"1"}},"target":{"t":{"env":{"D":"1"},"profile":"p"}},"changelog":{"config":"c"}}`),
		read(`{"profile":"b","env":{"B":"2"},"sbom":false,"image":{"env":{"C":"2","E":"2"}},"target":{"t":{"env":{"D":"2"}},"u":{}},"changelog":{"paths":["p"]}}`))
	assert.Equal(t, read(`{"profile":"b","targets":["x"],"env":{"A":"1","B":"2"},"sbom":false,"image":{"user":"1","env":{"C":"2","E":"2"}},"target":{"t":{"env":{"D":"2"},"profile":"p"},"u":{}},"changelog":{"config":"c","paths":["p"]}}`), got)
}

func TestReadyTellsTheManifestThatIsWrong(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2", ".", nil, "app"))
	_, err := p.Ready(clean())
	assert.ErrorContains(t, err, `component "app" can't be released as "v1.2": `)
	other := clean()
	other.Tags = []version.GitTag{{Name: "v1.2.3", Commit: "other"}, {Name: "app-1.2.3", Commit: head}}
	got, err := single(t).Ready(other)
	require.NoError(t, err)
	assert.Equal(t, "app: released as v1.2.3; the next release needs another version\n", got, "wherever else it is tagged too")
}

func TestMoreMistakes(t *testing.T) {
	app := func(more table) table { return with(pkg("app", "1.0.0", "app", nil, "app"), more) }
	files := []string{"Cargo.lock", "a.txt", "app/a.txt"}
	long := "1.0.0-" + strings.Repeat("a", 125)
	for _, c := range []struct {
		name, tag string
		load      func() (*Project, error)
		says      string
	}{
		{"a version of a package that is none", "v1.2.0", func() (*Project, error) { return load(t, nil, files, app(table{"version": "1.2"})) }, `app/Cargo.toml: version "1.2" is not SemVer`},
		{"files of one path", "v1.0.0", func() (*Project, error) {
			return load(t, table{"include": []string{"a.txt", "*.txt"}}, files, app(table{"metadata": table{"gantry": table{"include": []string{"a.txt"}}}}))
		}, `"a.txt" and "app/a.txt" would both be "a.txt" in the archives: rename one`},
		{"a target without binaries", "", func() (*Project, error) {
			needs := table{"name": "app", "kind": []string{"bin"}, "required-features": []string{"default"}}
			return load(t, table{"target": table{"aarch64-unknown-linux-musl": table{"no-default-features": true}}}, files, app(table{"targets": []table{needs}}))
		}, `component "app" has no binary for aarch64-unknown-linux-musl`},
		{"a repository without a page", "v1.0.0", func() (*Project, error) { return load(t, nil, files, app(table{"repository": "/srv/app"})) }, `repository "/srv/app" of app/Cargo.toml is not the URL of a web page: write it like https://github.com/owner/name`},
		{"a version that is too long for an image tag", "v" + long, func() (*Project, error) { return load(t, nil, files, app(table{"version": long})) }, "is not an image tag: at most 128 letters"},
		{"a key like no other", "", func() (*Project, error) { return load(t, table{"zzzzzzzzzzzzzzzzzzzzzzzzz": 1}, files, app(nil)) }, `unknown key "zzzzzzzzzzzzzzzzzzzzzzzzz"; known keys: all-features, archive, auditable, bins,`},
	} {
		p, err := c.load()
		if c.tag != "" {
			require.NoError(t, err, c.name)
			err = planOf(t, p, c.tag, clean()).Err()
		}
		assert.ErrorContains(t, err, c.says, c.name)
	}

	for _, metadata := range []any{nil, 1, "gantry", []any{}, table{"other": 1}} {
		_, err := load(t, nil, files, app(table{"metadata": metadata}))
		assert.NoError(t, err, "the metadata of other tools: %v", metadata)
	}
	git := clean()
	git.Failed = "git status failed: no git-crypt\n"
	assert.ErrorContains(t, planOf(t, single(t), "v1.2.3", git).Err(), "can't read the repository's state: git status failed: no git-crypt: run git status")

	p := mustLoad(t, nil, files, app(table{"metadata": table{"gantry": table{"tag-prefix": []string{"app-", "größe-"}}}}))
	assert.Contains(t, warnings(planOf(t, p, "app-1.0.0", clean("größe-0.9.0")))[0], `the previous tag "größe-0.9.0" is not`)
}

// In a folder of its repository, a workspace's changelog has what each package
// adds.
func TestPathsOfPackagesInOneRelease(t *testing.T) {
	member := func(name string, paths ...string) table {
		return table{"id": name, "name": name, "version": "1.0.0", "manifest_path": "/src/rust/" + name + "/Cargo.toml", "targets": []table{{"name": name, "kind": []string{"bin"}}},
			"metadata": table{"gantry": table{"changelog": table{"paths": paths}}}}
	}
	raw, err := json.Marshal(table{
		"workspace_root": "/src/rust", "workspace_members": []string{"a", "b"}, "packages": []table{member("a", "../proto/**", "../docs/**"), member("b", "../docs/**", "../web/**")},
		"metadata": table{"gantry": table{"changelog": table{"paths": []string{"../proto/**"}}}},
	})
	require.NoError(t, err)
	p, err := Load(raw, "/src", []string{"rust/Cargo.toml", "rust/Cargo.lock"})
	require.NoError(t, err)
	plan := planOf(t, p, "v1.0.0", clean())
	assert.Equal(t, []string{"rust/**", "proto/**", "docs/**", "web/**"}, plan.ChangelogPaths)
	assert.Equal(t, "rust", plan.Component, "called like its folder")
}

// Packages outside of the workspace that several of its members depend on are in
// its changelog once.
func TestPathsOfSharedPackages(t *testing.T) {
	member := func(name string, paths ...string) table {
		var deps []table
		for _, path := range paths {
			deps = append(deps, table{"name": path, "path": "/src/" + path})
		}
		return table{"id": name, "name": name, "version": "1.0.0", "manifest_path": "/src/rust/" + name + "/Cargo.toml",
			"targets": []table{{"name": name, "kind": []string{"bin"}}}, "dependencies": deps}
	}
	raw, err := json.Marshal(table{
		"workspace_root": "/src/rust", "workspace_members": []string{"a", "b"},
		"packages": []table{member("a", "shared"), member("b", "alpha", "shared")},
	})
	require.NoError(t, err)
	p, err := Load(raw, "/src", []string{"rust/Cargo.toml", "rust/Cargo.lock", "shared/Cargo.toml", "alpha/Cargo.toml"})
	require.NoError(t, err)
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, []string{"rust/**", "alpha/**", "shared/**"}, plan.ChangelogPaths)
}

// The policy for candidates is only proposed where it would help.
func TestProposedPolicy(t *testing.T) {
	for _, c := range []struct {
		manifest, tag string
		proposed      bool
	}{
		{"1.2.0", "v1.2.0-rc.1", true}, {"1.2.0", "v1.2.1-rc.1", false}, {"1.2.0", "v1.2.1", false}, {"1.2.0-rc.1", "v1.2.0", false}, {"1.2.0-rc.1", "v1.2.0-rc.2", false},
	} {
		err := planOf(t, mustLoad(t, nil, nil, pkg("app", c.manifest, ".", nil, "app")), c.tag, clean()).Err()
		require.Error(t, err)
		assert.Equal(t, c.proposed, strings.Contains(err.Error(), `set prerelease = "core"`), "%s of %s", c.tag, c.manifest)
	}
}

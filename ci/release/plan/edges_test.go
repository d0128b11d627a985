package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// The facts of a plan for callers from other modules.
func TestFactsOfAPlan(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl"}}, nil, pkg("app", "1.1.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.1.0", clean("v1.2.0"))
	assert.Equal(t, []string{"x86_64-unknown-linux-gnu", "aarch64-unknown-linux-musl"}, plan.Triples())
	assert.Equal(t, []string{"1.1.0", "1.1"}, plan.MovedTags(), "1 and latest stay at 1.2.0")
	plan.Problems = []Problem{{SeverityError, "one"}, {SeverityWarning, "two"}, {SeverityError, "three"}}
	assert.Equal(t, []string{"one", "three"}, plan.Messages(SeverityError))
	assert.Equal(t, []string{"two"}, plan.Messages(SeverityWarning))
	assert.EqualError(t, plan.Err(), "cannot release \"v1.1.0\", for 2 reasons:\n- one\n- three")
	assert.EqualError(t, Refusal("v1", []string{"one"}), `cannot release "v1": one`)
	assert.NoError(t, Refusal("v1", nil))
}

// An invalid field of the manifest is reported in terms of Cargo.toml and the tag.
func TestExplainFields(t *testing.T) {
	m := &manifest.Manifest{Assets: []manifest.Asset{{}, {Binaries: []manifest.Binary{{Name: "first"}, {Name: "tool"}}}}}
	one := semver.MustParse("1.0.0")
	for _, c := range []struct{ field, problem, want string }{
		{"component", `"a b" is not a name`, `component name "a b" is not a name, with name in [package.metadata.gantry] or [workspace.metadata.gantry]`},
		{"repository", `"x" is not a URL`, `repository of Cargo.toml: "x" is not a URL: write it like https://github.com/owner/name`},
		{"image.user", `"a b" is not a user`, `user of the image configuration: "a b" is not a user`},
		{"assets[1].binaries[1].name", `"tool?" is not a name`, `binary "tool?" is not a name: rename it, or choose others with bins in [package.metadata.gantry]`},
		{"assets[1].binaries[1].package", `"päckage" is not a name`, `package "päckage" is not a name: rename it, or exclude it with release = false (it builds binary "tool")`},
		{"assets[1].binaries[0].package", `"p ": rename it to "p"`, `package "p ": rename it to "p", or exclude it with release = false (it builds binary "first")`},
		{"commit", "is wrong", "commit of release-manifest.json would be invalid: is wrong"},
		{"assets[0].name", "is wrong", "assets[0].name of release-manifest.json would be invalid: is wrong"},
	} {
		p := &Plan{Tag: "v1.0.0", tag: version.Tag{Name: "v1.0.0", Version: one}}
		p.explain(m, &manifest.FieldError{Field: c.field, Problem: c.problem})
		assert.Equal(t, []string{c.want}, p.Messages(SeverityError), c.field)
	}
	silent := &Plan{tag: version.Tag{Version: semver.MustParse("1.0.0+build")}}
	silent.explain(m, &manifest.FieldError{Field: "version", Problem: "has metadata"})
	assert.Empty(t, silent.Problems, "checkVersion reports it")
	loud := &Plan{tag: version.Tag{Version: one}}
	loud.explain(m, &manifest.FieldError{Field: "version", Problem: "is wrong"})
	assert.Equal(t, []string{"version of release-manifest.json would be invalid: is wrong"}, loud.Messages(SeverityError))

	p := &Plan{Problems: []Problem{{SeverityError, "reported"}}, tag: version.Tag{Version: one}}
	p.explain(m, &manifest.FieldError{Field: "assets[0].name", Problem: "follows from it"})
	assert.Equal(t, []string{"reported"}, p.Messages(SeverityError))
}

// Only what was joined is taken apart: an error that wraps several is one.
func TestLeaves(t *testing.T) {
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	wrapped := fmt.Errorf("%w because of %w", a, b)
	assert.Equal(t, []error{a, wrapped, c}, leaves(errors.Join(a, errors.Join(wrapped, c))))
	assert.Equal(t, []error{wrapped}, leaves(wrapped))
	assert.Empty(t, leaves(nil))
}

// Every section that git reads is kept, without the keys that run something.
func TestStripEverySection(t *testing.T) {
	for _, section := range []string{"core", "extensions", "remote", "branch", "submodule", "filter", "index", "i18n", "lfs", "diff", "merge"} {
		config := "[" + section + "]\n\tname = value"
		assert.Equal(t, config, StripCredentials(config), section)
	}
	for _, section := range []string{"http", "credential", "url", "user", "includeIf", "include", "alias"} {
		assert.Empty(t, strings.TrimSpace(StripCredentials("["+section+"]\n\tname = value")), section)
	}
	for _, key := range []string{"sshCommand", "askPass", "gitProxy", "fsmonitor", "hooksPath", "pager", "editor", "proxy", "proxyAuthMethod", "uploadpack", "receivepack", "vcs"} {
		assert.Equal(t, "[core]\n\tbare = false", StripCredentials("[core]\n\t"+key+" = secret\n\tbare = false"), key)
	}
}

// A manifest that no reader would take is found by the plan.
func TestManifestThatIsTooLarge(t *testing.T) {
	var files []string
	for i := range 6270 {
		files = append(files, fmt.Sprintf("docs/%s-%d.md", strings.Repeat("x", 80), i))
	}
	p := mustLoad(t, table{"include": []string{"docs/*"}}, append(files, "Cargo.toml", "Cargo.lock"), pkg("app", "1.0.0", ".", nil, "app"))
	err := planOf(t, p, "v1.0.0", clean()).Err()
	require.ErrorContains(t, err, "release-manifest.json would have about")
	require.ErrorContains(t, err, "include fewer files")
	err = planOf(t, p, "v1.0.1", clean()).Err()
	require.ErrorContains(t, err, "1.0.1")
	require.NotContains(t, err.Error(), "would have about", "one problem is enough to begin with")
}

// The limit of an archive counts directories too.
func TestArchiveThatIsTooLarge(t *testing.T) {
	for n, fits := range map[int]bool{archive.DefaultLimits.Entries - 4: true, archive.DefaultLimits.Entries - 3: false} {
		files := []string{"Cargo.toml", "Cargo.lock"}
		for i := range n {
			files = append(files, fmt.Sprintf("docs/%d", i))
		}
		p := mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu"}, "include": []string{"docs/*"}}, files, pkg("app", "1.0.0", ".", nil, "app"))
		err := planOf(t, p, "v1.0.0", clean()).Err()
		if fits {
			assert.NoError(t, err, n)
		} else {
			assert.ErrorContains(t, err, fmt.Sprintf("the archives would have %d files and directories; the limit is", archive.DefaultLimits.Entries+1), n)
		}
	}
}

// An SBOM is an asset of the plan, and so of the manifest that it is checked by.
func TestSkeletonHasSBOMs(t *testing.T) {
	for _, sbom := range []bool{true, false} {
		p := mustLoad(t, table{"targets": []string{"x86_64-unknown-linux-gnu"}, "sbom": sbom}, nil, pkg("app", "1.0.0", ".", nil, "app"))
		plan := planOf(t, p, "v1.0.0", clean())
		m := plan.skeleton(plan.Targets, "static")
		assert.Equal(t, sbom, slices.ContainsFunc(m.Assets, func(a manifest.Asset) bool { return a.Kind == manifest.KindSBOM }))
		for _, a := range m.Assets {
			assert.NotEmpty(t, a.Name)
		}
	}
}

// Hosts that only this machine reaches are warned of, in repositories and bases.
func TestLocalHostsOfImages(t *testing.T) {
	image := func(settings table) []string {
		p := mustLoad(t, table{"image": settings}, nil, pkg("app", "1.0.0", ".", nil, "app"))
		plan := planOf(t, p, "v1.0.0", clean())
		require.NoError(t, plan.Err())
		return plan.Messages(SeverityWarning)
	}
	assert.Contains(t, image(table{"repositories": []string{"127.0.0.1:5000/app"}}),
		`image: repository "127.0.0.1:5000/app" is on a local host: it is only used if --addresses or with-plain-http names that host`)
	assert.Contains(t, strings.Join(image(table{"base": "localhost:5000/base:1"}), "\n"), `image: base "localhost:5000/base:1" is on a local host`)
	for _, w := range image(table{"repositories": []string{"ghcr.io/o/app"}, "base": "debian:bookworm-slim"}) {
		assert.NotContains(t, w, "local host")
	}
}

// A project without a Linux target has no image.
func TestNoImageWithoutLinux(t *testing.T) {
	p := mustLoad(t, table{"targets": []string{"x86_64-pc-windows-gnu"}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
	assert.Nil(t, plan.ContainerImage)
	assert.Empty(t, plan.Messages(SeverityWarning))
}

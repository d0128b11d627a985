package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestGeneratedFiles(t *testing.T) {
	generate := table{"man/app.1": []string{"man"}, "completions/app.bash": []string{"completions", "bash"}}
	p := mustLoad(t, nil, []string{"Cargo.toml", "Cargo.lock", "LICENSE"}, pkg("app", "1.0.0", ".", table{"generate": generate}, "app", "helper"))
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, []Generated{{"completions/app.bash", "app", []string{"completions", "bash"}}, {"man/app.1", "app", []string{"man"}}}, plan.Generated)
	assert.Equal(t, []Extra{
		{"LICENSE", "LICENSE"}, {".gantry-generated/completions/app.bash", "completions/app.bash"}, {".gantry-generated/man/app.1", "man/app.1"},
	}, plan.Extra)

	b, err := plan.Native("linux/arm64")
	require.NoError(t, err)
	assert.Equal(t, "aarch64-unknown-linux-gnu", b.Target.Triple)
	_, err = plan.Native("linux/s390x")
	assert.EqualError(t, err, `generate runs a binary of the release, but none of the targets runs on linux/s390x, where this builds: add one to targets, such as "x86_64-unknown-linux-musl" for linux/amd64`)

	// A part of the release has the same files, printed by the same binary.
	part, err := p.Plan("v1.0.0", clean(), []string{"aarch64-unknown-linux-musl"})
	require.NoError(t, err)
	assert.Equal(t, plan.Generated, part.Generated)
	b, err = part.Native("linux/amd64")
	require.NoError(t, err)
	assert.Equal(t, "x86_64-unknown-linux-gnu", b.Target.Triple)
	b, err = part.Native("linux/arm64")
	require.NoError(t, err)
	assert.Equal(t, "aarch64-unknown-linux-musl", b.Target.Triple, "what is compiled anyway")
}

func TestBinaryThatGenerates(t *testing.T) {
	generate := table{"a.1": []string{}}
	for name, c := range map[string]struct {
		own  table
		bins []string
		want string
		says string
	}{
		"the only one":                   {nil, []string{"tool"}, "tool", ""},
		"named like the package":         {nil, []string{"tool", "app"}, "app", ""},
		"named like the component":       {table{"name": "tool"}, []string{"other", "tool"}, "tool", ""},
		"selected":                       {table{"bins": []string{"two"}}, []string{"one", "two"}, "two", ""},
		"none is named like the package": {nil, []string{"one", "two"}, "", `generate of Cargo.toml runs the binary with the name of the package, but the release has one, two: select one with bins`},
	} {
		own := table{"generate": generate}
		for k, v := range c.own {
			own[k] = v
		}
		p := mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", own, c.bins...))
		plan := planOf(t, p, "v1.0.0", clean())
		if c.says != "" {
			assert.ErrorContains(t, plan.Err(), c.says, name)
			continue
		}
		require.NoError(t, plan.Err(), name)
		require.Len(t, plan.Generated, 1, name)
		assert.Equal(t, c.want, plan.Generated[0].Bin, name)
	}
}

func TestMistakesOfGeneratedFiles(t *testing.T) {
	for _, path := range []string{"/etc/a", "../a", "..", ".", "a/../b", "a/", "a\\b", "a\x00", ""} {
		p := mustLoad(t, nil, nil, pkg("app", "1.0.0", ".", table{"generate": table{path: []string{"x"}}}, "app"))
		assert.ErrorContains(t, planOf(t, p, "v1.0.0", clean()).Err(), `of Cargo.toml must be the path of a file in the archives, such as "completions/app.bash"`, "%q", path)
	}
	_, err := load(t, table{"generate": table{"a": []string{"b"}}}, nil, pkg("app", "1.0.0", ".", nil, "app"))
	assert.EqualError(t, err, "Cargo.toml [workspace.metadata.gantry]: generate runs the binary of a package: move it to the [package.metadata.gantry] of that package")

	files := []string{"Cargo.toml", "Cargo.lock", "LICENSE"}
	p := mustLoad(t, nil, files, pkg("app", "1.0.0", ".", table{"generate": table{"license": []string{"license"}, "app": []string{"x"}}}, "app"))
	err = planOf(t, p, "v1.0.0", clean()).Err()
	assert.ErrorContains(t, err, `binary "app" and file "app" would have the same path in the archives`)
	assert.ErrorContains(t, err, `file "LICENSE" and generated file "license" differ only in case`)

	// Two packages in one archive.
	p = mustLoad(t, nil, nil, pkg("a", "1.0.0", "a", table{"generate": table{"x.1": []string{"m"}}}, "a"), pkg("b", "1.0.0", "b", table{"generate": table{"y.1": []string{"m"}}}, "b"))
	plan := planOf(t, p, "v1.0.0", clean())
	require.NoError(t, plan.Err())
	assert.Equal(t, []Generated{{"x.1", "a", []string{"m"}}, {"y.1", "b", []string{"m"}}}, plan.Generated)
}

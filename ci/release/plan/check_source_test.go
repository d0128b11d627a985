package plan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func depends(p table, deps ...table) table {
	p["dependencies"] = deps
	return p
}

func TestLock(t *testing.T) {
	app := func(deps ...table) table { return depends(pkg("app", "1.1.0", ".", nil, "app"), deps...) }
	const packages = "version = 4\n[[package]]\nname = \"app\"\nversion = \"1.1.0\"\n"
	const serde = "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n"
	for _, c := range []struct {
		name, lock string
		deps       []table
		says       string
	}{
		{"as it should be", packages + serde, []table{{"name": "serde", "rename": "s"}}, ""},
		{"of the first version of the format", "[root]\nname = \"app\"\nversion = \"1.1.0\"\n", nil, ""},
		{"not read", "", []table{{"name": "serde"}}, ""},
		{"of the version before", "[[package]]\nname = \"app\"\nversion = \"1.0.0\"\n", nil,
			`Cargo.lock has version 1.0.0 of package "app", but Cargo.toml has 1.1.0: run cargo update --workspace, and commit Cargo.lock`},
		{"of another package of the name", "[[package]]\nname = \"app\"\nversion = \"1.1.0\"\nsource = \"registry+x\"\n", nil, `does not have package "app" of Cargo.toml`},
		{"without a dependency of tests", packages, []table{{"name": "serde", "kind": "dev"}}, `Cargo.lock does not have "serde", which Cargo.toml depends on`},
		{"half merged", "<<<<<<< HEAD\n" + packages, nil, "Cargo.lock cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustLoad(t, nil, nil, app(c.deps...))
			p.Lock = c.lock
			err := planOf(t, p, "v1.1.0", clean("v1.0.0")).Err()
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, c.says)
		})
	}
}

// The toolchain may lack the Rust that a package needs.
func TestRustOfTheToolchain(t *testing.T) {
	for _, c := range []struct {
		needs, rustc string
		warns        bool
	}{
		{"1.97", "rustc 1.96.0 (abc 2026-01-01)", true},
		{"1.96.1", "rustc 1.96.0 (abc 2026-01-01)", true},
		{"1.96", "rustc 1.96.0 (abc 2026-01-01)", false},
		{"1.97.0", "rustc 1.97.0-nightly (abc 2026-01-01)", false},
		{"1.98", "rustc 1.97.0-nightly (abc 2026-01-01)", true},
		{"", "rustc 1.96.0", false},
		{"1.97", "", false},
		{"1.97", "rustc unknown", false},
	} {
		app := pkg("app", "1.0.0", ".", nil, "app")
		app["rust_version"] = c.needs
		p := mustLoad(t, nil, nil, app)
		p.Rustc = c.rustc
		plan := planOf(t, p, "v1.0.0", clean("v0.9.0"))
		require.NoError(t, plan.Err())
		warning := fmt.Sprintf(`package "app" needs Rust %s, but the toolchain has %s: set channel = %q in rust-toolchain.toml, or pass --toolchain with a container that has it`, c.needs, c.rustc, c.needs)
		if c.warns {
			assert.Contains(t, plan.Messages(SeverityWarning), warning)
		} else {
			assert.NotContains(t, plan.Messages(SeverityWarning), warning)
		}
	}
}

func TestWhatTheSourceLacks(t *testing.T) {
	files := []string{"Cargo.toml", "Cargo.lock", "README.md", "vendor/there/Cargo.toml", "linked"}
	app := func(path string) table {
		return depends(pkg("app", "1.0.0", ".", nil, "app"), table{"name": "dep", "path": path})
	}
	for _, c := range []struct {
		name, path string
		git        Git
		says       string
	}{
		{"a package that is there", "/src/vendor/there", Git{}, ""},
		{"a package behind a link", "/src/linked/dep", Git{}, ""},
		{"a package that is not", "/src/vendor/gone", Git{}, `Cargo.toml depends on package "dep", but "vendor/gone/Cargo.toml" is missing`},
		{"a package outside", "/other/dep", Git{}, `at "../other/dep", which is outside of the source`},
		{"a submodule's package", "/src/vendor/sub/dep", Git{Submodules: []string{"vendor/sub"}}, `in "vendor/sub", a submodule that is not checked out: run git submodule update --init --recursive`},
		{"a readme that is a pointer", "/src/vendor/there", Git{Pointers: []string{"README.md"}}, `"README.md" would go into the archives, but it is a Git LFS pointer`},
	} {
		t.Run(c.name, func(t *testing.T) {
			git := clean("v0.9.0")
			git.Submodules, git.Pointers = c.git.Submodules, c.git.Pointers
			err := planOf(t, mustLoad(t, nil, files, app(c.path)), "v1.0.0", git).Err()
			if c.says == "" {
				require.NoError(t, err)
				return
			}
			assert.ErrorContains(t, err, c.says)
		})
	}

	git := clean("v0.9.0")
	git.Submodules, git.Pointers = []string{"docs/theme"}, []string{"assets/film.bin"}
	p := planOf(t, mustLoad(t, nil, files, app("/src/vendor/there")), "v1.0.0", git)
	require.NoError(t, p.Err())
	require.Len(t, p.Problems, 2, "neither may be needed")
	assert.Contains(t, p.Problems[0].Message, "submodule docs/theme is not checked out")
	assert.Contains(t, p.Problems[1].Message, `"assets/film.bin"`)
}

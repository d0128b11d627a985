package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Bad input is refused before anything is compiled, with the value and the way
// out.
func TestRefuses(t *testing.T) {
	edit := func(more string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			path := filepath.Join(dir, "Cargo.toml")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, dir, map[string]string{"Cargo.toml": string(text) + more})
			run(t, dir, "git", "tag", "-d", "v1.0.0")
			commit(t, dir, "v1.0.0")
		}
	}
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir string)
		args   []string
		says   string
	}{
		{"a tag that is no SemVer", nil, []string{"--tag=v1.0"}, `version "v1.0" is not SemVer (MAJOR.MINOR.PATCH[-PRERELEASE]); did you mean "1.0.0"?`},
		{"another version", nil, []string{"--tag=v1.0.1"}, `tag "v1.0.1" is for version 1.0.1, but Cargo.toml (package "tiny") has 1.0.0: set version = "1.0.1" there, or tag v1.0.0 instead`},
		{"an unknown component", nil, []string{"--tag=other-1.0.0"}, `tag "other-1.0.0" names no known component`},
		{"an unknown target", nil, []string{"--tag=v1.0.0", "--targets=x86_64-linux-gnu"}, `unknown target "x86_64-linux-gnu"; did you mean "x86_64-unknown-linux-gnu"?`},
		{"a target that needs another toolchain", nil, []string{"--tag=v1.0.0", "--targets=aarch64-apple-darwin"}, "pass --toolchain with a container that has one"},
		{"a target without a standard library", nil, []string{"--tag=v1.0.0", "--targets=" + native + ",s390x-unknown-linux-gnu"}, `target "s390x-unknown-linux-gnu": the toolchain container has no standard library for it, nor rustup to add it: pass --toolchain`},
		{"an unknown key", edit("\n[package.metadata.gantry]\ntargts = []\n"), []string{"--tag=v1.0.0"}, `unknown key "targts"; did you mean "targets"?`},
		{"no Cargo.lock", func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(dir, "Cargo.lock")))
			commit(t, dir, "v0")
			run(t, dir, "git", "tag", "-f", "v1.0.0")
		}, []string{"--tag=v1.0.0"}, "Cargo.lock is missing"},
		{"a Cargo.lock of other dependencies", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"Cargo.lock": "version = 3\n"})
			commit(t, dir, "v0")
			run(t, dir, "git", "tag", "-f", "v1.0.0")
		}, []string{"--tag=v1.0.0"}, `Cargo.lock does not have package "tiny" of Cargo.toml: run cargo update --workspace, and commit Cargo.lock`},
		{"a Cargo.lock of the version before", func(t *testing.T, dir string) {
			path := filepath.Join(dir, "Cargo.toml")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, dir, map[string]string{"Cargo.toml": replaceOnce(t, string(text), `version = "1.0.0"`, `version = "1.1.0"`)})
			commit(t, dir, "v1.1.0")
		}, []string{"--tag=v1.1.0"}, `Cargo.lock has version 1.0.0 of package "tiny", but Cargo.toml has 1.1.0`},
		{"a submodule that is not checked out", func(t *testing.T, dir string) {
			library := t.TempDir()
			write(t, library, map[string]string{"Cargo.toml": "[package]\nname = \"small\"\nversion = \"0.1.0\"\n", "src/lib.rs": ""})
			run(t, library, "git", "init", "-q")
			commit(t, library, "v0.1.0")
			run(t, dir, "git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "vendor/small")
			path := filepath.Join(dir, "Cargo.toml")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, dir, map[string]string{"Cargo.toml": string(text) + "\n[dependencies]\nsmall = { path = \"vendor/small\" }\n"})
			run(t, dir, "git", "tag", "-d", "v1.0.0")
			commit(t, dir, "v1.0.0")
			run(t, dir, "git", "submodule", "--quiet", "deinit", "--all")
		}, []string{"--tag=v1.0.0"}, `Cargo.toml depends on package "small" in "vendor/small", a submodule that is not checked out`},
		{"no history", func(t *testing.T, dir string) { require.NoError(t, os.RemoveAll(filepath.Join(dir, ".git"))) }, []string{"--tag=v1.0.0"}, "no git history"},
		{"changed files", func(t *testing.T, dir string) { write(t, dir, map[string]string{"src/main.rs": "fn main() {}\n"}) }, []string{"--tag=v1.0.0"}, "uncommitted changes; the build would not match commit"},
		{"untracked files", func(t *testing.T, dir string) { write(t, dir, map[string]string{"build.rs": "fn main() {}\n"}) }, []string{"--tag=v1.0.0"}, "?? build.rs"},
		{"a shallow clone", func(t *testing.T, dir string) {
			commit(t, dir, "v0")
			run(t, dir, "git", "tag", "-f", "v1.0.0")
			run(t, dir, "git", "clone", "-q", "--depth=1", "file://"+dir, dir+".shallow")
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, os.Rename(dir+".shallow", dir))
		}, []string{"--tag=v1.0.0"}, "git fetch --unshallow --tags"},
		{"a repository that git cannot read", func(t *testing.T, dir string) {
			run(t, dir, "git", "config", "filter.secret.clean", "no-such-program")
			run(t, dir, "git", "config", "filter.secret.required", "true")
			write(t, dir, map[string]string{".git/info/attributes": "*.rs filter=secret\n"})
			old := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
			require.NoError(t, os.Chtimes(filepath.Join(dir, "src/main.rs"), old, old))
		}, []string{"--tag=v1.0.0"}, "can't read the repository's state: git status: "},
		{"a toolchain image that is not there", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"rust-toolchain.toml": "[toolchain]\nchannel = \"1.42\"\n"})
		}, []string{"--tag=v1.0.0"}, "pass --toolchain with a container that has Rust"},
		{"a tag of another commit", func(t *testing.T, dir string) { commit(t, dir, "v0") }, []string{"--tag=v1.0.0"}, "check out the tag"},
		{"a missing file", edit("\n[package.metadata.gantry]\ninclude = [\"man/tiny.1\"]\n"), []string{"--tag=v1.0.0"}, `include "man/tiny.1" of Cargo.toml matches no file`},
		{"a link that leaves the source", func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "LICENSE")))
			run(t, dir, "git", "tag", "-d", "v1.0.0")
			commit(t, dir, "v1.0.0")
		}, []string{"--tag=v1.0.0"}, `"LICENSE" is a symlink out of the source: replace it with a copy`},
		{"a link to nothing", func(t *testing.T, dir string) {
			require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, "LICENSE")))
			run(t, dir, "git", "tag", "-d", "v1.0.0")
			commit(t, dir, "v1.0.0")
		}, []string{"--tag=v1.0.0"}, `"LICENSE" is a broken symlink: fix it or remove it from include`},
		{"a path that escapes", edit("\n[package.metadata.gantry]\ninclude = [\"../secret\"]\n"), []string{"--tag=v1.0.0"}, `include "../secret" of Cargo.toml would escape the archive`},
		{"a missing binary", edit("\n[package.metadata.gantry]\nbins = [\"tinny\"]\n"), []string{"--tag=v1.0.0"}, `has no binary "tinny" for x86_64-unknown-linux-gnu; did you mean "tiny"?`},
		{"no workspace", func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "Cargo.toml"))) }, []string{"--tag=v1.0.0"}, "not a Cargo workspace: it has no Cargo.toml at its top"},
		{"a member of a workspace", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"Cargo.toml": "[package]\nname = \"tiny\"\nversion.workspace = true\n"})
		}, []string{"--tag=v1.0.0"}, `--source is only a part of the project: its Cargo.toml inherits "version" from its workspace`},
		{"a broken manifest", func(t *testing.T, dir string) { write(t, dir, map[string]string{"Cargo.toml": "[package\n"}) }, []string{"--tag=v1.0.0"}, "read Cargo.toml"},
		{"a toolchain that has no image", func(t *testing.T, dir string) {
			write(t, dir, map[string]string{"rust-toolchain.toml": "[toolchain]\nchannel = \"nightly\"\n"})
		}, []string{"--tag=v1.0.0"}, `pins "nightly", which has no official image: pass --toolchain`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := tiny(t, "")
			if c.change != nil {
				c.change(t, dir)
			}
			// The tag is for release, and what follows for dist.
			args := append([]string{"--source=" + dir, "release", c.args[0], "dist"}, c.args[1:]...)
			got := call(t, args...)
			require.Error(t, got.err)
			assert.Contains(t, got.said(), c.says)
			assert.False(t, got.started(), "something was compiled:\n%s", tail(got.log))
		})
	}
}

func TestRefusesAmbiguousPrefixes(t *testing.T) {
	dir := sample(t)
	path := filepath.Join(dir, "crates/tally-cli/Cargo.toml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(replaceOnce(t, string(text), `"tally-cli-"`, `"tally-v"`)), 0o644))
	got := call(t, "--source="+dir, "release", "--tag=tally-1.4.0", "plan")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), "is ambiguous with")
}

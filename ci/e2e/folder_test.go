package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// A workspace that is a folder of its repository is released with the history,
// the licenses and the toolchain file that are above it.
func TestWorkspaceInAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repository")
	write(t, dir, map[string]string{
		"LICENSE":                 "MIT\n",
		"rust-toolchain.toml":     "[toolchain]\nchannel = \"1.96\"\n",
		"web/index.html":          "<p>\n",
		"shared/Cargo.toml":       "[package]\nname = \"shared\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
		"shared/src/lib.rs":       "pub fn version() -> &'static str { \"1.0.0\" }\n",
		"rust/Cargo.toml":         "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nshared = { path = \"../shared\" }\n",
		"rust/Cargo.lock":         "version = 3\n\n[[package]]\nname = \"shared\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"shared\",\n]\n",
		"rust/src/main.rs":        "#[cfg(not(from_the_folder))]\ncompile_error!(\"the folder's configuration\");\nfn main() { println!(\"tiny {}\", shared::version()); }\n",
		"rust/.cargo/config.toml": "[build]\nrustflags = [\"--cfg\", \"from_the_folder\"]\n",
		".gitignore":              "target\n",
	})
	commit(t, dir, "before")
	change := func(message, file string) {
		write(t, dir, map[string]string{file: message + "\n"})
		run(t, dir, "git", "add", "-A")
		run(t, dir, "git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-q", "-m", message)
	}
	change("feat: of the page", "web/page.html")
	change("feat: of the library", "shared/notes")
	change("feat: of the program", "rust/notes")
	run(t, dir, "git", "tag", "v1.0.0")
	// Neither an upload nor a stale build may come of it.
	write(t, dir, map[string]string{"rust/target/release/tiny": "stale\n"})

	got := call(t, "--source="+dir, "release", "--tag=v1.0.0", "plan")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), "no Cargo.toml at its top")
	assert.Contains(t, got.said(), "or --manifest-path=rust/Cargo.toml for the one in this source")

	out, _ := mustDist(t, dir, "v1.0.0", "--manifest-path=rust/Cargo.toml")
	archive, found := readManifest(t, out).ArchiveFor(native)
	require.True(t, found)
	files := unpack(t, out)
	bin := filepath.Join(files, archive.Binaries[0].Path)
	assert.Equal(t, "tiny 1.0.0\n", run(t, files, bin))
	assert.FileExists(t, filepath.Join(filepath.Dir(bin), "LICENSE"))
	log, err := os.ReadFile(filepath.Join(out, manifest.ChangelogName))
	require.NoError(t, err)
	for message, belongs := range map[string]bool{"Of the program": true, "Of the library": true, "Of the page": false} {
		if belongs {
			assert.Contains(t, string(log), message)
		} else {
			assert.NotContains(t, string(log), message)
		}
	}
}

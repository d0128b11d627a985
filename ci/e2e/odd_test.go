package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestOdd makes sure that configurations which only packing or the image would
// refuse are refused before anything is compiled, with the value and the fix.
// ci/contract has many more of them, without an engine.
func TestOdd(t *testing.T) {
	image := func(line string) string { return "\n[package.metadata.gantry.image]\n" + line + "\n" }
	for _, c := range []struct {
		name string
		// more of Cargo.toml, and files besides it.
		more  string
		files map[string]string
		// tag of the release; by default, v1.0.0.
		tag  string
		says []string
	}{
		{"image repository in upper case", image(`repositories = ["ghcr.io/Acme/Tiny"]`), nil, "", []string{`"ghcr.io/Acme/Tiny" is not a repository`, `write it in lower case, "ghcr.io/acme/tiny"`}},
		{"image repository without a host", image(`repositories = ["acme/tiny"]`), nil, "", []string{`repository "acme/tiny" names no registry`, `write it like "ghcr.io/acme/tiny"`}},
		{"port with a name", image(`expose = ["http"]`), nil, "", []string{`expose[0] of the image configuration: "http" is not a port like 8080/tcp`}},
		{"label that Gantry sets", image(`labels = { "org.opencontainers.image.version" = "2" }`), nil, "", []string{`Gantry sets label "org.opencontainers.image.version" from the release, so it can't be set: remove it`}},
		{"platform that isn't built", image(`platforms = ["linux/s390x"]`), nil, "", []string{`no archive for platform "linux/s390x", only for linux/amd64, linux/arm64`, "release a target for it, or remove it"}},
		{"image include in no archive", image(`include = { "config" = "/etc/tiny" }`), nil, "", []string{`include "config" is not in the archives`, "add it to the include of [package.metadata.gantry]"}},
		{"image include in a place that is a link", image(`include = { "LICENSE" = "/lib/tiny/" }`), map[string]string{"LICENSE": "MIT\n"}, "", []string{`"/lib/tiny/LICENSE" is below "/lib"`, "use another place, such as /usr/lib/tiny/LICENSE"}},
		{"licenses that differ in case", "", map[string]string{"LICENSE": "MIT\n", "License": "MIT\n"}, "", []string{`file "LICENSE" and file "License" differ only in case`, "rename or remove one of them"}},
		{"directory like the binary", "\n[package.metadata.gantry]\ninclude = [\"tiny\"]\n", map[string]string{"tiny/config.toml": "\n"}, "", []string{`file "tiny/config.toml" needs the directory "tiny" in the archives, but that is binary "tiny"`, "rename one of them"}},
		{"prefix with a number sign", "\n[package.metadata.gantry]\ntag-prefix = \"tiny#\"\n", nil, "tiny#1.0.0", []string{`tag prefix "tiny#"`, `set tag-prefix = "tiny-"`}},
		{"two binaries and no entrypoint", image(`user = "1000"`) + "\n[[bin]]\nname = \"one\"\npath = \"src/main.rs\"\n\n[[bin]]\nname = \"two\"\npath = \"src/main.rs\"\n", nil, "", []string{"any of one, two may be the entrypoint", `set entrypoint = ["/usr/local/bin/one"]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := tiny(t, "")
			path := filepath.Join(dir, "Cargo.toml")
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			write(t, dir, map[string]string{"Cargo.toml": string(text) + c.more})
			write(t, dir, c.files)
			tag := "v1.0.0"
			if c.tag != "" {
				tag = c.tag
			}
			run(t, dir, "git", "tag", "-d", "v1.0.0")
			commit(t, dir, tag)
			got := call(t, "--source="+dir, "release", "--tag="+tag, "dist")
			require.Error(t, got.err)
			for _, says := range c.says {
				assert.Contains(t, got.said(), says)
			}
			assert.False(t, got.started(), "something was compiled:\n%s", tail(got.log))
		})
	}
}

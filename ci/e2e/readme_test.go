package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The README's table of functions is that of the module, its calls have
// arguments that exist, and its configuration is one that a project can have.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	require.NoError(t, err)
	readme := string(text)

	_, functions, found := strings.Cut(readme, "## Functions")
	require.True(t, found)
	functions, _, _ = strings.Cut(functions, "\n## ")
	for _, object := range [][]string{nil, {"release"}, {"images"}, {"images", "image"}} {
		for _, name := range functionsOf(t, object...) {
			assert.Regexp(t, "`"+name+"[` ]", functions, "function %q of %q is not in the tables", name, object)
		}
	}
	calls := regexp.MustCompile(`(?m)^dagger call (.*)$`).FindAllStringSubmatch(readme, -1)
	require.GreaterOrEqual(t, len(calls), 4)
	for _, c := range calls {
		var path []string
		flags := map[string]string{}
		for _, word := range strings.Fields(c[1]) {
			if !strings.HasPrefix(word, "-") {
				if word == "export" {
					break
				}
				path = append(path, word)
				continue
			}
			flag, _, _ := strings.Cut(word, "=")
			flags[flag] = strings.Join(path, " ")
		}
		for flag, of := range flags {
			assert.Contains(t, help(t, strings.Fields(of)...), flag, "dagger call %s", c[1])
		}
	}

	config := regexp.MustCompile("(?s)```toml\n(.*?)```").FindStringSubmatch(readme)
	require.NotNil(t, config)
	dir := tiny(t, "\n"+config[1])
	write(t, dir, map[string]string{"completions/tiny.bash": "", "config/server.toml": ""})
	cargo := filepath.Join(dir, "Cargo.toml")
	manifest, err := os.ReadFile(cargo)
	require.NoError(t, err)
	// The example is of a workspace with one package, called server.
	toml := strings.ReplaceAll(string(manifest), `name = "tiny"`, `name = "server"`)
	write(t, dir, map[string]string{"Cargo.toml": toml + "\n[profile.dist]\ninherits = \"release\"\n\n[workspace]\n", "Cargo.lock": "version = 3\n\n[[package]]\nname = \"server\"\nversion = \"1.0.0\"\n"})
	commit(t, dir, "server-1.0.0")
	got := call(t, "--source="+dir, "release", "--tag=server-1.0.0", "plan")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "ready to release")
}

// Settings can come from a file in the directory of the call.
func TestDefaultsFromEnvFile(t *testing.T) {
	dir := tiny(t, "")
	write(t, dir, map[string]string{".env": "GANTRY_REPOSITORY=not-a-repository\nGANTRY_MANIFESTPATH=none/Cargo.toml\n"})
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"verify-release", "--tag=v1.0.0"}, `repository "not-a-repository" is not owner/name`},
		{[]string{"--source=.", "release", "--tag=v1.0.0", "plan"}, "none/Cargo.toml"},
	} {
		cmd := exec.CommandContext(t.Context(), "dagger", append([]string{"-m", root(t), "call", "--progress=plain"}, c.args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.Error(t, err)
		assert.Contains(t, string(out), c.says)
	}
}

// functionsOf returns the names of the functions of what a call returns.
func functionsOf(t *testing.T, path ...string) []string {
	t.Helper()
	_, list, found := strings.Cut(help(t, path...), "FUNCTIONS\n")
	require.True(t, found)
	list, _, _ = strings.Cut(list, "\n\n")
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) `).FindAllStringSubmatch(list, -1) {
		names = append(names, match[1])
	}
	require.NotEmpty(t, names)
	return names
}

// help returns the help of a function.
func help(t *testing.T, path ...string) string {
	t.Helper()
	got := call(t, append(path, "--help")...)
	require.NoError(t, got.err)
	return regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(got.stdout+got.log, "")
}

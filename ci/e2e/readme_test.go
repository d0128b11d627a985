package e2e

import (
	"os"
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

	for _, object := range [][]string{nil, {"images", "--repository=o/r"}} {
		_, list, found := strings.Cut(help(t, object...), "FUNCTIONS\n")
		require.True(t, found)
		list, _, _ = strings.Cut(list, "\n\n")
		names := regexp.MustCompile(`(?m)^  ([a-z-]+) `).FindAllStringSubmatch(list, -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			assert.True(t, strings.Contains(readme, "| `"+name[1]) || strings.Contains(readme, "| … `"+name[1]), "function %q is not in the table", name[1])
		}
	}
	calls := regexp.MustCompile(`(?m)^dagger call (?:--source=\. )?([a-z-]+)((?: --?[a-z-]+=\S+| [a-z]+)*)`).FindAllStringSubmatch(readme, -1)
	require.GreaterOrEqual(t, len(calls), 4)
	for _, c := range calls {
		path := []string{c[1]}
		for _, word := range strings.Fields(c[2]) {
			if !strings.HasPrefix(word, "-") && word != "export" {
				path = append(path, "--repository=o/r", word)
			}
		}
		text := help(t, path...)
		for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(c[2], -1) {
			if flag != "--path" && flag != "--repository" {
				assert.Contains(t, text, flag, "dagger call %s", strings.Join(path, " "))
			}
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
	got := call(t, "--source="+dir, "plan", "--tag=server-1.0.0")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "ready to release")
}

// help of a function.
func help(t *testing.T, path ...string) string {
	t.Helper()
	got := call(t, append(path, "--help")...)
	require.NoError(t, got.err)
	return regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAllString(got.stdout+got.log, "")
}

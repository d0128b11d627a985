package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The README's tables have the functions of the module, the calls of all pages have
// arguments that it has, and the example of the configuration is one that a project can
// have. ci/docs checks the same against the declarations, and everything else.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	require.NoError(t, err)
	_, functions, found := strings.Cut(string(text), "## Functions")
	require.True(t, found)
	functions, _, _ = strings.Cut(functions, "\n## ")
	for _, object := range [][]string{nil, {"release"}, {"images"}, {"images", "image"}} {
		for _, name := range functionsOf(t, object...) {
			assert.Regexp(t, "`"+name+"[` ]", functions, "function %q of %q is not in the tables", name, object)
		}
	}

	calls := callsOf(t)
	assert.GreaterOrEqual(t, len(calls), 5)
	for path, flags := range calls {
		shown := help(t, strings.Fields(path)...)
		for _, flag := range slices.Sorted(maps.Keys(flags)) {
			assert.Contains(t, shown, flag, "dagger call %s", path)
		}
	}

	page, err := os.ReadFile(filepath.Join(root(t), "docs", "configuration.md"))
	require.NoError(t, err)
	config := regexp.MustCompile("(?s)```toml\n(.*?)```").FindSubmatch(page)
	require.NotNil(t, config)
	dir := tiny(t, "\n"+string(config[1]))
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

// callsOf returns the flags in the documentation's calls, by the path of the function.
func callsOf(t *testing.T) map[string]map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root(t), "docs", "*.md"))
	require.NoError(t, err)
	calls := map[string]map[string]bool{}
	for _, page := range append(paths, filepath.Join(root(t), "README.md")) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, c := range regexp.MustCompile(`(?m)^dagger call (.*)$`).FindAllStringSubmatch(strings.ReplaceAll(string(text), "\\\n", " "), -1) {
			var path []string
			// A value in quotes may have spaces.
			for _, word := range strings.Fields(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(c[1], "VALUE")) {
				switch {
				case slices.Contains([]string{"export", "terminal"}, word) || strings.HasPrefix(word, ">"):
					path = append(path, "-") // of Dagger's own types
				case !strings.HasPrefix(word, "-"):
					path = append(path, word)
				case !slices.Contains(path, "-"):
					of := strings.Join(path, " ")
					if calls[of] == nil {
						calls[of] = map[string]bool{}
					}
					flag, _, _ := strings.Cut(word, "=")
					calls[of][flag] = true
				}
			}
		}
	}
	return calls
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

// The commands of the page for newcomers run as they are written, from a program with
// a tag to its release on GitHub. A .env file names the test's GitHub.
func TestFiveMinutes(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs", "five-minutes.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(page), "\n## 2. ")
	require.True(t, found)
	rest, _, found = strings.Cut(rest, "\n## 6. ")
	require.True(t, found)
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(rest, -1)
	require.Len(t, blocks, 4, "the plan, the files, a rehearsal and the release")

	dir := tiny(t, "repository = \"https://github.com/example/tiny\"\n")
	for name, from := range map[string]string{"Cargo.toml": `version = "1.0.0"`, "Cargo.lock": `version = "1.0.0"`} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		write(t, dir, map[string]string{name: strings.Replace(string(text), from, `version = "0.1.0"`, 1)})
	}
	run(t, dir, "git", "branch", "--move", "main")
	run(t, dir, "git", "tag", "--delete", "v1.0.0")
	commit(t, dir, "v0.1.0")
	remote := t.TempDir()
	run(t, remote, "git", "init", "--quiet", "--bare")
	run(t, dir, "git", "remote", "add", "origin", remote)
	h := newHubOf(t, dir, "v0.1.0", nil)
	write(t, dir, map[string]string{".git/info/exclude": ".env\n", ".env": "GANTRY_GITHUB=" + h.api + "\nGANTRY_REPOSITORY=example/tiny\n"})

	var printed string
	for _, b := range blocks {
		cmd := exec.CommandContext(t.Context(), "bash", "-euc", b[1])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "DAGGER_MODULE="+root(t), "GITHUB_TOKEN="+canary, "NO_COLOR=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", b[1], tail(string(out)))
		printed += string(out)
	}
	assert.Contains(t, printed, "ready to release")
	assert.Contains(t, printed, "phase 1, against a fake GitHub")
	assert.FileExists(t, filepath.Join(dir, "dist", "tiny-0.1.0-aarch64-unknown-linux-musl.tar.gz"))
	assert.Equal(t, "v0.1.0", h.repo.Latest())
	assert.Contains(t, run(t, remote, "git", "tag"), "v0.1.0")
}

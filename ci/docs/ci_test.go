package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/scaffold"
)

// The table of providers has each of them, with its files and the token that these
// name.
func TestProviders(t *testing.T) {
	page := pages(t)["docs/ci.md"]
	providers := readModule(t)["Gantry"]["init"].values["--ci"]
	require.NotEmpty(t, providers)
	rows := regexp.MustCompile("(?m)^\\| `([a-z]+)` \\| (.*) \\| (.*) \\|$").FindAllStringSubmatch(page, -1)
	var listed []string
	for _, row := range rows {
		listed = append(listed, row[1])
		files, err := scaffold.Files(
			scaffold.Options{CI: scaffold.CI(strings.ToUpper(row[1])), Module: "github.com/owner/gantry", Version: "1.0.0", Image: "registry.example.com/owner/app"},
			scaffold.Project{Repository: "owner/app", TagPrefixes: []string{""}})
		require.NoError(t, err)
		var all string
		for _, f := range files {
			assert.Contains(t, row[2], path.Base(f.Path), row[1])
			if dir := path.Dir(f.Path); dir != "." {
				assert.Contains(t, row[2], dir+"/", row[1])
			}
			all += f.Text
		}
		for _, name := range regexp.MustCompile("`([a-zA-Z_-]+)`").FindAllStringSubmatch(row[3], -1) {
			assert.Contains(t, all, name[1], row[1])
		}
		assert.Equal(t, row[1] != "github", strings.Contains(row[3], "`"), "%s needs a token of its own, except on GitHub", row[1])
		if row[1] != "jenkins" {
			assert.Contains(t, all, "REGISTRY_PASSWORD", row[1])
		}
	}
	assert.ElementsMatch(t, providers, listed)
}

// The commands that sign without a key are as the module takes them.
func TestKeylessCommands(t *testing.T) {
	m := readModule(t)
	for _, ci := range []scaffold.CI{scaffold.GitHub, scaffold.GitLab} {
		files, err := scaffold.Files(
			scaffold.Options{CI: ci, Module: "github.com/owner/gantry", Version: "1.0.0", Keyless: true},
			scaffold.Project{Repository: "owner/app", TagPrefixes: []string{""}})
		require.NoError(t, err)
		checked := 0
		for _, f := range files {
			for _, line := range strings.Split(strings.ReplaceAll(f.Text, "\\\n", " "), "\n") {
				_, command, found := strings.Cut(line, "dagger call ")
				if !found || !strings.Contains(command, "ID_TOKEN") {
					continue
				}
				assert.NoError(t, m.checkScript("dagger call "+command), f.Path)
				checked++
			}
		}
		assert.Equal(t, 3, checked, "%s: a release, its image, and images that lack a signature", ci)
	}
}

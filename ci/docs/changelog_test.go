package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The changelog's first section is of the version that module-version returns.
func TestChangelog(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		return string(text)
	}
	version := regexp.MustCompile(`const version = "(.*)"`).FindStringSubmatch(read("version.go"))
	require.NotNil(t, version)
	section := regexp.MustCompile(`(?m)^## (\S+) - \d{4}-\d\d-\d\d$`).FindStringSubmatch(read("CHANGELOG.md"))
	require.NotNil(t, section, "CHANGELOG.md has no section: run scripts/changelog")
	assert.Equal(t, version[1], section[1], "CHANGELOG.md is of another version: run scripts/changelog")
}

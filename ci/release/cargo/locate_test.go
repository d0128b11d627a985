package cargo

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestManifestDir(t *testing.T) {
	for manifest, dir := range map[string]string{
		"": ".", "Cargo.toml": ".", "./Cargo.toml": ".", "rust/Cargo.toml": "rust", "a/b/../Cargo.toml": "a", `rust\Cargo.toml`: "rust",
	} {
		got, err := ManifestDir(manifest)
		require.NoError(t, err, manifest)
		assert.Equal(t, dir, got, manifest)
	}
	for manifest, says := range map[string]string{
		"rust": "pass --manifest-path=rust/Cargo.toml", "../Cargo.toml": "not in the source", "/src/Cargo.toml": "not in the source", "a/../../Cargo.toml": "not in the source",
	} {
		_, err := ManifestDir(manifest)
		assert.ErrorContains(t, err, says, manifest)
		assert.ErrorContains(t, err, manifest)
	}
	assert.EqualError(t, NoManifest("Cargo.toml", []string{"b/Cargo.toml", "a/x/Cargo.toml"}, []string{".git", "b"}),
		`the source is not a Cargo workspace: it has no Cargo.toml at its top (it has .git, b); pass --source with the directory that has one, or --manifest-path=b/Cargo.toml for the one in this source`)
	assert.ErrorContains(t, NoManifest("Cargo.toml", nil, nil), "(it has nothing); pass --source with the directory that has one")
	assert.EqualError(t, NoManifest("c/Cargo.toml", []string{"Cargo.toml", "b/Cargo.toml"}, nil), `the source has no "c/Cargo.toml"; omit --manifest-path for the one at its top`)
}

func TestMoreOfNoManifest(t *testing.T) {
	assert.ErrorContains(t, NoManifest("Cargo.toml", []string{"b/Cargo.toml", "a/Cargo.toml", "c/Cargo.toml"}, nil), "--manifest-path=a/Cargo.toml")
	ten := strings.Split("a b c d e f g h i j", " ")
	assert.Contains(t, NoManifest("Cargo.toml", nil, ten).Error(), "(it has a, b, c, d, e, f, g, h, i, j);")
	assert.Contains(t, NoManifest("Cargo.toml", nil, append(ten, "k")).Error(), "(it has a, b, c, d, e, f, g, h, i, j, …);")
}

// What Cargo 1.95 says of a member without its workspace.
func TestMemberHint(t *testing.T) {
	for _, c := range []struct{ name, stderr, says string }{
		{"inherits", "error: failed to parse manifest at `/gantry/src/Cargo.toml`\n\nCaused by:\n  error inheriting `edition` from workspace root manifest's `workspace.package.edition`\n\nCaused by:\n  failed to find a workspace root\n", `its Cargo.toml inherits "edition" from its workspace, whose root is not in the source`},
		{"says no more", "failed to find a workspace root", "its Cargo.toml belongs to a workspace"},
		{"names its workspace", "error: failed to read `/gantry/Cargo.toml`\n\nCaused by:\n  No such file or directory (os error 2)\n", "its Cargo.toml names a package above it"},
		{"names a neighbour", "error: failed to read `/gantry/src-other/Cargo.toml`", "its Cargo.toml names a package above it"},
		{"a member that is missing", "error: failed to load manifest for workspace member `/gantry/src/a`\n\nCaused by:\n  failed to read `/gantry/src/a/Cargo.toml`\n", ""},
		{"another failure", "error: expected a package", ""},
	} {
		hint := MemberHint(c.stderr, "/gantry/src")
		if c.says == "" {
			assert.Empty(t, hint, c.name)
			continue
		}
		assert.Contains(t, hint, c.says, c.name)
		assert.Contains(t, hint, "pass the repository with the workspace's root as --source", c.name)
		assert.Contains(t, hint, "--manifest-path", c.name)
		assert.NotContains(t, hint, "/gantry", c.name)
	}
}

func TestListsForPeople(t *testing.T) {
	var names []string
	for i := range 11 {
		names = append(names, fmt.Sprint(i))
	}
	assert.Equal(t, "nothing", List(nil))
	assert.Equal(t, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9", List(names[:10]))
	assert.Equal(t, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …", List(names))
	for _, path := range []string{"..", "../Cargo.toml", "/Cargo.toml", "a/../../Cargo.toml"} {
		_, err := ManifestDir(path)
		assert.ErrorContains(t, err, "is not in the source", path)
	}
	dir, err := ManifestDir("..a/Cargo.toml")
	require.NoError(t, err)
	assert.Equal(t, "..a", dir)
}

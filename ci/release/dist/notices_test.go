package dist

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
)

// kept writes license files as a build keeps them.
func kept(t *testing.T, further string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, "texts", filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "texts"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "further"), []byte(further), 0o600))
	return dir
}

// The notices have the crates of others that are in the program, and each text once.
func TestNotices(t *testing.T) {
	dir := kept(t, "/r/file\t/r/file/docs/../terms.txt\n/git/c/1/sub\t/git/c/1/COPYING\n", map[string]string{
		"/r/a-1/LICENSE-MIT": "MIT\n\ntext \n", "/r/a-1/LICENSE-APACHE": "Apache\n", "/r/a-1/licenses.rs": "mod code;", "/r/a-1/LICENSES/Zlib.txt": "Zlib\n",
		"/r/a-1/src/LICENSE": "of a file", "/r/b-2/LICENSE": "\xef\xbb\xbfMIT\r\n\r\ntext\r\n\r\n", "/r/b-2/NOTICE": "\n", "/r/file/terms.txt": "Terms\n",
		"/git/c/1/COPYING": "Copying\n", "/gantry/src/LICENSE": "ours", "/r/macros/LICENSE": "while building",
	})
	texts, err := readLicenseTexts(dir)
	require.NoError(t, err)
	crates := []cargo.Crate{
		{Name: "a", Version: "1.0.0", License: "MIT OR Apache-2.0", Repository: "https://example.org/a", Manifest: "/r/a-1/Cargo.toml", Linked: true},
		{Name: "app", Version: "1.0.0", License: "MIT", Manifest: "/gantry/src/Cargo.toml", Linked: true, Root: true},
		{Name: "b", Version: "2.0.0", License: "MIT", Manifest: "/r/b-2/Cargo.toml", Linked: true},
		{Name: "file", Version: "3.0.0", Manifest: "/r/file/Cargo.toml", Linked: true},
		{Name: "macros", Version: "1.0.0", License: "MIT", Manifest: "/r/macros/Cargo.toml"},
		{Name: "none", Version: "4.0.0", License: "0BSD", Manifest: "/r/none/Cargo.toml", Linked: true},
		{Name: "sub", Version: "5.0.0", License: "GPL-3.0-only", Manifest: "/git/c/1/sub/Cargo.toml", Linked: true},
	}
	m := &manifest.Manifest{Component: "app", Version: "1.0.0"}
	var b bytes.Buffer
	require.NoError(t, writeNotices(&b, m, amd, crates, []string{"/gantry/src/Cargo.toml"}, texts))
	want := `Third-party licenses of app 1.0.0 for ` + amd + `

It contains these crates of others:

a 1.0.0
  license: MIT OR Apache-2.0
  source: https://example.org/a
b 2.0.0
  license: MIT
file 3.0.0
  license: not stated
none 4.0.0
  license: 0BSD
  It ships no license text.
sub 5.0.0
  license: GPL-3.0-only

` + noticesRule + "LICENSE-APACHE of a 1.0.0\n" + noticesRule + "\nApache\n\n" +
		noticesRule + "LICENSE-MIT of a 1.0.0, b 2.0.0\n" + noticesRule + "\nMIT\n\ntext\n\n" +
		noticesRule + "Zlib.txt of a 1.0.0\n" + noticesRule + "\nZlib\n\n" +
		noticesRule + "terms.txt of file 3.0.0\n" + noticesRule + "\nTerms\n\n" +
		noticesRule + "COPYING of sub 5.0.0\n" + noticesRule + "\nCopying\n"
	assert.Equal(t, want, b.String())

	b.Reset()
	require.NoError(t, writeNotices(&b, m, amd, crates[1:2], []string{"/gantry/src/Cargo.toml"}, texts))
	assert.Equal(t, "Third-party licenses of app 1.0.0 for "+amd+"\n\nIt contains no crates of others.\n", b.String())

	texts.further["/r/none"] = []string{"/gone"}
	assert.ErrorContains(t, writeNotices(&b, m, amd, crates, nil, texts), "read the licenses of crate none 4.0.0")
	require.NoError(t, os.Remove(filepath.Join(dir, "further")))
	_, err = readLicenseTexts(dir)
	assert.Error(t, err)
	_, err = readLicenseTexts(filepath.Join(dir, "nowhere"))
	assert.Error(t, err)
}

// The notices are a file of the archive, and nothing else changes.
func TestAssembleWithNotices(t *testing.T) {
	bins := binaries(t)
	left := kept(t, "", map[string]string{"/r/serde/LICENSE-MIT": "MIT text\n"})
	keep(t, left, `{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#serde@1.0.0","manifest_path":"/r/serde/Cargo.toml","filenames":["/gantry/target/`+amd+`/release/deps/libserde.rlib"]}`+"\n",
		"0\tapp v1.0.0 (/src)\t\t\t\n1\tserde v1.0.0\tMIT/Apache-2.0\t\t\n")
	with := func() Input {
		in := input(t, bins, amd)
		in.Targets[0].Notices, in.Targets[0].CratesDir = true, left
		return in
	}
	dir := assemble(t, with())
	m, err := Merge(t.Context(), dir, t.TempDir())
	require.NoError(t, err)
	a, found := m.ArchiveFor(amd)
	require.True(t, found)
	var names []string
	for _, f := range a.Files {
		names = append(names, f.Path+" "+f.Mode)
		assert.Len(t, f.SHA256, 64)
	}
	root := strings.TrimSuffix(a.Name, ".tar.gz")
	assert.Equal(t, []string{root + "/LICENSE 0644", root + "/" + plan.NoticesName + " 0644"}, names)
	assert.Equal(t, read(t, dir, manifest.SumsName), read(t, assemble(t, with()), manifest.SumsName))
	plain, err := Merge(t.Context(), assemble(t, input(t, bins, amd)), t.TempDir())
	require.NoError(t, err)
	other, _ := plain.ArchiveFor(amd)
	assert.Equal(t, other.Binaries, a.Binaries)

	for name, says := range map[string]string{"messages": `list the crates of target "` + amd + `": `, "further": "make THIRD-PARTY-LICENSES of"} {
		file := filepath.Join(left, name)
		require.NoError(t, os.Rename(file, file+".away"))
		_, err = Assemble(t.TempDir(), with(), quiet(t))
		assert.ErrorContains(t, err, says)
		require.NoError(t, os.Rename(file+".away", file))
	}
}

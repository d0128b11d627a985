package published

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
)

// inMemory has the files of a release, and knows their sizes or not.
type inMemory struct {
	files map[string][]byte
	sized bool
	fail  error // of each read
}

func (m inMemory) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	content, found := m.files[name]
	if !found {
		return nil, 0, &AssetError{name, errMissing}
	}
	size := int64(-1)
	if m.sized {
		size = int64(len(content))
	}
	if m.fail != nil {
		return io.NopCloser(io.MultiReader(bytes.NewReader(content[:1]), failing{m.fail})), size, nil
	}
	return io.NopCloser(bytes.NewReader(content)), size, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

const page = "\n <!DOCTYPE html>\n<html>Sign in</html>"

// The manifest and SHA256SUMS are read in one way, whether their sizes are known or
// not.
func TestLoad(t *testing.T) {
	sum := func(text string) string { return digest([]byte(text)) }
	for name, c := range map[string]struct {
		spoil func(files map[string][]byte)
		says  string
	}{
		"right":       {func(map[string][]byte) {}, ""},
		"no manifest": {func(f map[string][]byte) { delete(f, manifest.FileName) }, `asset "release-manifest.json" is missing`},
		"no sums":     {func(f map[string][]byte) { delete(f, manifest.SumsName) }, `asset "SHA256SUMS" is missing`},
		"a page for the manifest": {func(f map[string][]byte) {
			f[manifest.FileName] = []byte(page)
		}, `asset "release-manifest.json" is an HTML page, probably of a login or an error: check the token and retry`},
		"a page for the sums":     {func(f map[string][]byte) { f[manifest.SumsName] = []byte("<HTML>") }, `asset "SHA256SUMS" is an HTML page`},
		"sums cut off":            {func(f map[string][]byte) { f[manifest.SumsName] = f[manifest.SumsName][:20] }, `asset "SHA256SUMS" is invalid: parse checksums: line 1`},
		"another manifest":        {func(f map[string][]byte) { f[manifest.FileName] = append(f[manifest.FileName], '\n') }, `asset "release-manifest.json" has SHA-256 `},
		"huge sums":               {func(f map[string][]byte) { f[manifest.SumsName] = make([]byte, maxSums+1) }, "1048576"},
		"a huge manifest":         {func(f map[string][]byte) { f[manifest.FileName] = make([]byte, manifest.MaxSize+1) }, "8388608"},
		"sums without a manifest": {func(f map[string][]byte) { f[manifest.SumsName] = []byte(sum("") + "  a\n") }, `asset "release-manifest.json" is not listed in SHA256SUMS`},
		"a broken manifest": {func(f map[string][]byte) {
			f[manifest.FileName], f[manifest.SumsName] = []byte("{}"), []byte(sum("{}")+"  "+manifest.FileName+"\n")
		}, `asset "release-manifest.json" is invalid: read release-manifest.json: no field "schemaVersion"`},
		"an asset less": {func(f map[string][]byte) {
			f[manifest.SumsName] = []byte(sum(string(f[manifest.FileName])) + "  " + manifest.FileName + "\n")
		}, `asset "app.tar.gz" is not listed in SHA256SUMS`},
		"an asset more": {func(f map[string][]byte) {
			f[manifest.SumsName] = append(f[manifest.SumsName], sum("x")+"  zz\n"...)
		}, `asset "zz" is listed in SHA256SUMS, but not in release-manifest.json`},
		"another digest": {func(f map[string][]byte) {
			f[manifest.SumsName] = bytes.ReplaceAll(f[manifest.SumsName], []byte(sum("an archive")), []byte(strings.Repeat("0", 64)))
		}, `asset "app.tar.gz" has SHA-256 ` + strings.Repeat("0", 64) + ` in SHA256SUMS, but ` + sum("an archive") + ` in release-manifest.json`},
	} {
		for _, sized := range []bool{true, false} {
			assets := inMemory{files: map[string][]byte{}, sized: sized}
			for _, f := range files(t, "v1.0.0", "1.0.0", "") {
				assets.files[f.Name] = bytes.Clone(f.Data)
			}
			c.spoil(assets.files)
			r, err := Load(t.Context(), assets)
			if c.says == "" {
				require.NoError(t, err, name)
				assert.Equal(t, "1.0.0", r.Version().String())
				assert.Equal(t, sum(string(assets.files[manifest.FileName])), r.ManifestSHA256)
				continue
			}
			assert.Nil(t, r, name)
			require.ErrorContains(t, err, c.says, name)
			require.ErrorIs(t, err, ErrMismatch, name)
		}
	}
	broken := errors.New("the connection broke")
	_, err := Load(t.Context(), inMemory{files: map[string][]byte{manifest.SumsName: []byte("x")}, fail: broken})
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, ErrMismatch, "it could not be read")
}

// No byte of an asset counts unless all are those of the manifest.
func TestCopy(t *testing.T) {
	content := strings.Repeat("an archive ", 100)
	a := manifest.Asset{Name: "a", SHA256: digest([]byte(content)), Size: int64(len(content))}
	broken := errors.New("the connection broke")
	for name, c := range map[string]struct {
		content string
		says    string
	}{
		"right":          {content, ""},
		"cut off":        {content[:50], `asset "a" has 50 bytes, but release-manifest.json lists 1100: it may be cut off`},
		"more":           {content + "x", `asset "a" has more than the 1100 bytes that release-manifest.json lists`},
		"another":        {strings.ToUpper(content), `asset "a" has SHA-256 `},
		"a page":         {page, `asset "a" is an HTML page`},
		"a page of size": {page + strings.Repeat(" ", len(content)-len(page)), `asset "a" is an HTML page`},
	} {
		for _, sized := range []bool{true, false} {
			r := &Release{assets: inMemory{files: map[string][]byte{"a": []byte(c.content)}, sized: sized}}
			var copied bytes.Buffer
			err := r.Copy(t.Context(), a, &copied)
			dir := t.TempDir()
			f, ferr := r.Fetch(t.Context(), a, dir)
			left, lerr := os.ReadDir(dir)
			require.NoError(t, lerr)
			assert.Empty(t, left, "the file is gone when it is closed")
			if c.says != "" {
				require.ErrorContains(t, err, c.says, name)
				require.ErrorIs(t, err, ErrMismatch, name)
				require.ErrorContains(t, ferr, c.says, name)
				continue
			}
			require.NoError(t, err, name)
			assert.Equal(t, content, copied.String())
			require.NoError(t, ferr)
			fetched := make([]byte, len(content))
			_, err = f.ReadAt(fetched, 0)
			require.NoError(t, err)
			assert.Equal(t, content, string(fetched))
			require.NoError(t, f.Close())
		}
	}
	r := &Release{assets: inMemory{files: map[string][]byte{"a": []byte(content)}, fail: broken}}
	require.ErrorIs(t, r.Copy(t.Context(), a, io.Discard), broken)
	r = &Release{assets: inMemory{}}
	require.ErrorIs(t, r.Copy(t.Context(), a, io.Discard), errMissing)
	_, err := r.Fetch(t.Context(), a, filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A directory has the same release, and only its regular files count.
func TestDir(t *testing.T) {
	dir := t.TempDir()
	for _, f := range files(t, "v1.0.0", "1.0.0", "") {
		require.NoError(t, os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o644))
	}
	r, err := Load(t.Context(), Dir(dir))
	require.NoError(t, err)
	a := r.Manifest.Assets[0]
	require.NoError(t, r.Copy(t.Context(), a, io.Discard))
	file := filepath.Join(dir, a.Name)
	require.NoError(t, os.Remove(file))
	require.EqualError(t, r.Copy(t.Context(), a, io.Discard), `asset "app.tar.gz" is missing`)
	require.NoError(t, os.Mkdir(file, 0o755))
	require.EqualError(t, r.Copy(t.Context(), a, io.Discard), `asset "app.tar.gz" is not a regular file`)
	require.NoError(t, os.Remove(file))
	require.NoError(t, os.Symlink(file, file))
	err = r.Copy(t.Context(), a, io.Discard)
	require.ErrorContains(t, err, a.Name)
	require.NotErrorIs(t, err, ErrMismatch, "it could not be read")
}

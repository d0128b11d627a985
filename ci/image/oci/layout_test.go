package oci_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
)

// A directory that is anything but a layout of one index is refused, by its name.
func TestLayoutsThatAreRefused(t *testing.T) {
	write := func(file, text string) func(string) error {
		return func(dir string) error {
			file := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return err
			}
			return os.WriteFile(file, []byte(text), 0o644)
		}
	}
	zeros := strings.Repeat("0", 64)
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		says  string
	}{
		{"nothing there", os.RemoveAll, "index.json: no such file or directory"},
		{"no JSON", write("index.json", "<html>"), "invalid character"},
		{"no entry", write("index.json", `{"manifests":[]}`), "it has 0 entries, not one index"},
		{"a second index", func(dir string) error { return layout.Path(dir).AppendIndex(tiny(t, "1.2.4")) }, "it has 2 entries, not one index"},
		{"no index", func(dir string) error {
			l, err := layout.Write(dir, empty.Index)
			if err != nil {
				return err
			}
			return l.AppendImage(empty.Image)
		}, "it has 1 entries, not one index"},
		{"a foreign file", write("README", ""), `"README" does not belong to it`},
		{"a foreign blob", write("blobs/sha512/"+zeros, ""), `"blobs/sha512/` + zeros + `" does not belong to it`},
		{"a directory for a blob", write("blobs/sha256/"+zeros+"/x", ""), `"blobs/sha256/` + zeros + `/x" does not belong to it`},
		{"a link for a blob", func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "blobs/sha256", zeros)) }, `"blobs/sha256/` + zeros + `" does not belong to it`},
		{"another blob", write("blobs/sha256/"+zeros, "x"), "blob " + zeros + " has SHA-256 " + digestOf([]byte("x"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, oci.WriteLayout(dir, tiny(t, "1.2.3"), "1.2.3"))
			require.NoError(t, c.spoil(dir))
			_, err := oci.ReadLayout(dir)
			require.ErrorIs(t, err, oci.ErrLayout)
			assert.ErrorContains(t, err, "read the OCI layout: ")
			assert.ErrorContains(t, err, c.says)
			if strings.HasSuffix(c.says, "does not belong to it") {
				err := oci.WriteTarball(io.Discard, dir)
				require.ErrorIs(t, err, oci.ErrLayout)
				assert.ErrorContains(t, err, c.says)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	assert.ErrorContains(t, oci.WriteLayout(file, tiny(t, "1.2.3"), "1.2.3"), "write the OCI layout: ")
	_, err := oci.ReadTarball(&bytes.Buffer{}, file)
	assert.ErrorContains(t, err, "read the OCI archive: ")
}

// An archive is unpacked into a layout or, at the first thing that is wrong with
// it, refused.
func TestTarballsOfLayouts(t *testing.T) {
	dir := t.TempDir()
	index := tiny(t, "1.2.3")
	require.NoError(t, oci.WriteLayout(dir, index, "1.2.3"))
	var good bytes.Buffer
	require.NoError(t, oci.WriteTarball(&good, dir))

	type entry struct {
		header tar.Header
		text   []byte
	}
	var all []entry
	for r := tar.NewReader(bytes.NewReader(good.Bytes())); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		all = append(all, entry{*h, must(io.ReadAll(r))})
	}
	// Directories first, then files by name, all of them alike.
	var names []string
	for _, e := range all {
		names = append(names, e.header.Name)
		want := tar.Header{Typeflag: tar.TypeReg, Mode: 0o644, Name: e.header.Name, Size: int64(len(e.text)), ModTime: e.header.ModTime, Format: e.header.Format}
		if strings.HasSuffix(e.header.Name, "/") {
			want.Typeflag, want.Mode = tar.TypeDir, 0o755
		}
		assert.Equal(t, want, e.header)
		assert.Zero(t, e.header.ModTime.Unix())
	}
	assert.Equal(t, []string{"blobs/", "blobs/sha256/"}, names[:2])
	assert.IsIncreasing(t, names[2:])
	assert.Equal(t, []string{"index.json", "oci-layout"}, names[len(names)-2:])

	// pack writes the entries again, after a change.
	pack := func(change func([]entry) []entry) *bytes.Buffer {
		var text bytes.Buffer
		w := tar.NewWriter(&text)
		for _, e := range change(append([]entry(nil), all...)) {
			require.NoError(t, w.WriteHeader(&e.header))
			_, _ = w.Write(e.text)
		}
		_ = w.Flush() // which fails where an entry's content is missing
		return &text
	}
	dotted, err := oci.ReadTarball(pack(func(all []entry) []entry {
		for i := range all {
			all[i].header.Name = "./" + all[i].header.Name
		}
		return append([]entry{{header: tar.Header{Typeflag: tar.TypeDir, Name: "./"}}}, all...)
	}), t.TempDir())
	require.NoError(t, err)
	assert.Equal(t, must(index.Digest()), must(dotted.Digest()))

	huge := func(size int64) func([]entry) []entry {
		return func(all []entry) []entry {
			return append(all[:2], entry{header: tar.Header{Typeflag: tar.TypeReg, Name: "index.json", Size: size}})
		}
	}
	for _, c := range []struct {
		name   string
		text   io.Reader
		layout bool
		says   string
	}{
		{"a file twice", pack(func(all []entry) []entry { return append(all, all[2]) }), true, "file exists"},
		{"a foreign file", pack(func(all []entry) []entry {
			return append(all, entry{header: tar.Header{Typeflag: tar.TypeReg, Name: "x"}})
		}), true, `"x" does not belong to it`},
		{"a link", pack(func(all []entry) []entry {
			return append(all, entry{header: tar.Header{Typeflag: tar.TypeSymlink, Name: "index.json", Linkname: "x"}})
		}), true, `"index.json" does not belong to it`},
		{"no archive", strings.NewReader(strings.Repeat("x", 1024)), true, "invalid tar header"},
		{"cut off in a header", bytes.NewReader(good.Bytes()[:700]), true, "unexpected EOF"},
		{"cut off in a file", bytes.NewReader(good.Bytes()[:3*512+10]), false, "unexpected EOF"},
		{"too large", pack(huge(16<<30 + 1)), true, "it unpacks to more than 17179869184 bytes"},
		{"not too large, and cut off", pack(huge(16 << 30)), false, "unexpected EOF"},
		{"too large in all", pack(func(all []entry) []entry {
			small := entry{tar.Header{Typeflag: tar.TypeReg, Name: "oci-layout", Size: 1}, []byte("x")}
			return append([]entry{small}, huge(16<<30)(all)...)
		}), true, "it unpacks to more than 17179869184 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := oci.ReadTarball(c.text, t.TempDir())
			require.ErrorContains(t, err, "read the OCI archive: ")
			assert.ErrorContains(t, err, c.says)
			assert.Equal(t, c.layout, isLayout(err), "%v", err)
		})
	}
}

func isLayout(err error) bool { return errors.Is(err, oci.ErrLayout) }

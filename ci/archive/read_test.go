package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/notation"
)

// rawTar makes a tar.gz archive with the standard library, of anything.
func rawTar(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	for _, h := range headers {
		require.NoError(t, w.WriteHeader(h))
		_, err := io.CopyN(w, zeros{}, h.Size)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func rawZip(t testing.TB, headers ...*zip.FileHeader) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, h := range headers {
		size := h.UncompressedSize64
		f, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = io.CopyN(f, zeros{}, int64(size))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

func regular(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644}
}

func zipped(name string, size uint64) *zip.FileHeader {
	return &zip.FileHeader{Name: name, Method: zip.Deflate, UncompressedSize64: size}
}

func zipMode(name string, mode fs.FileMode) *zip.FileHeader {
	h := zipped(name, 0)
	h.SetMode(mode)
	return h
}

func gzipped(content []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(content)
	z.Close()
	return out.Bytes()
}

func gunzipped(t testing.TB, archive []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(archive))
	require.NoError(t, err)
	content, err := io.ReadAll(z)
	require.NoError(t, err)
	return content
}

func TestReadRefuses(t *testing.T) {
	goodTar, goodZip := write(t, TarGz, entries()), write(t, Zip, entries())
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 0x10
		return b
	}
	patched := func(b []byte, old, new string) []byte {
		require.Contains(t, string(b), old)
		return bytes.ReplaceAll(b, []byte(old), []byte(new))
	}
	for name, test := range map[string]struct {
		format  Format
		archive []byte
		is      error
	}{
		"tar: nothing":              {TarGz, nil, ErrFormat},
		"tar: a page":               {TarGz, []byte("<!DOCTYPE html>"), ErrFormat},
		"tar: a zip file":           {TarGz, goodZip, ErrFormat},
		"tar: cut off":              {TarGz, goodTar[:len(goodTar)-9], ErrFormat},
		"tar: wrong checksum":       {TarGz, flip(goodTar, -6), ErrFormat},
		"tar: no tar inside":        {TarGz, gzipped([]byte(strings.Repeat("text", 500))), ErrFormat},
		"tar: bytes after gzip":     {TarGz, append(bytes.Clone(goodTar), 0), ErrTrailing},
		"tar: a second gzip member": {TarGz, append(bytes.Clone(goodTar), goodTar...), ErrTrailing},
		"tar: a second tar":         {TarGz, gzipped(append(gunzipped(t, goodTar), gunzipped(t, goodTar)...)), ErrTrailing},
		"tar: parent":               {TarGz, rawTar(t, regular("a/../../b", 1)), notation.ErrUnsafePath},
		"tar: absolute":             {TarGz, rawTar(t, regular("/etc/passwd", 1)), notation.ErrUnsafePath},
		"tar: backslash":            {TarGz, rawTar(t, regular(`..\b`, 1)), notation.ErrUnsafePath},
		"tar: not the shortest":     {TarGz, rawTar(t, regular("./a", 1)), notation.ErrUnsafePath},
		"tar: absolute folder":      {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeDir, Name: "/a/"}), notation.ErrUnsafePath},
		"tar: symbolic link":        {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/"}), ErrNotRegular},
		"tar: hard link":            {TarGz, rawTar(t, regular("a", 0), &tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}), ErrNotRegular},
		"tar: device":               {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeChar, Name: "a"}), ErrNotRegular},
		"tar: pipe":                 {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeFifo, Name: "a"}), ErrNotRegular},
		"tar: global header":        {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "g", PAXRecords: map[string]string{"path": "x"}}), ErrNotRegular},
		"tar: path twice":           {TarGz, rawTar(t, regular("a", 1), regular("a", 2)), ErrDuplicate},
		"tar: below a file":         {TarGz, rawTar(t, regular("a", 1), regular("a/b", 1)), ErrDuplicate},
		"tar: file over a folder":   {TarGz, rawTar(t, &tar.Header{Typeflag: tar.TypeDir, Name: "a/"}, regular("a", 1)), ErrDuplicate},
		"tar: too many entries":     {TarGz, rawTar(t, regular("a", 0), regular("b", 0), regular("c", 0), regular("d", 0), regular("e", 0)), ErrLimit},
		"tar: file too large":       {TarGz, rawTar(t, regular("a", 2001)), ErrLimit},
		"tar: all too large":        {TarGz, rawTar(t, regular("a", 2000), regular("b", 1001)), ErrLimit},
		"tar: bomb":                 {TarGz, rawTar(t, regular("a", 17<<20)), ErrLimit},
		"tar: bomb after the end":   {TarGz, gzipped(append(gunzipped(t, goodTar), make([]byte, 20<<20)...)), ErrLimit},

		"zip: nothing":            {Zip, nil, ErrFormat},
		"zip: a page":             {Zip, []byte("<!DOCTYPE html><p>Not found"), ErrFormat},
		"zip: a tar file":         {Zip, goodTar, ErrFormat},
		"zip: cut off":            {Zip, goodZip[:len(goodZip)-9], ErrTrailing},
		"zip: bytes after":        {Zip, append(bytes.Clone(goodZip), 0), ErrTrailing},
		"zip: bytes before":       {Zip, append([]byte("#!/bin/sh\n"), goodZip...), ErrTrailing},
		"zip: two":                {Zip, append(bytes.Clone(goodZip), goodZip...), ErrTrailing},
		"zip: wrong content":      {Zip, flip(goodZip, bytes.Index(goodZip, []byte("Apache"))), ErrFormat},
		"zip: parent":             {Zip, rawZip(t, zipped("../a", 1)), notation.ErrUnsafePath},
		"zip: absolute":           {Zip, rawZip(t, zipped("/a", 1)), notation.ErrUnsafePath},
		"zip: drive":              {Zip, rawZip(t, zipped("C:/a", 1)), notation.ErrUnsafePath},
		"zip: backslash":          {Zip, rawZip(t, zipped(`a\b`, 1)), notation.ErrUnsafePath},
		"zip: NUL":                {Zip, patched(rawZip(t, zipped("aXb", 1)), "aXb", "a\x00b"), notation.ErrUnsafePath},
		"zip: symbolic link":      {Zip, rawZip(t, zipMode("a", fs.ModeSymlink|0o777)), ErrNotRegular},
		"zip: device":             {Zip, rawZip(t, zipMode("a", fs.ModeDevice|0o777)), ErrNotRegular},
		"zip: folder called file": {Zip, patched(rawZip(t, zipMode("a/", fs.ModeDir|0o755)), "a/", "ab"), ErrNotRegular},
		"zip: path twice":         {Zip, rawZip(t, zipped("a", 1), zipped("a", 1)), ErrDuplicate},
		"zip: below a file":       {Zip, rawZip(t, zipped("a", 1), zipped("a/b", 1)), ErrDuplicate},
		"zip: encrypted":          {Zip, encrypted(rawZip(t, zipped("a", 1))), ErrFormat},
		"zip: too many entries":   {Zip, rawZip(t, zipped("a", 0), zipped("b", 0), zipped("c", 0), zipped("d", 0), zipped("e", 0)), ErrLimit},
		"zip: file too large":     {Zip, rawZip(t, zipped("a", 2001)), ErrLimit},
		"zip: all too large":      {Zip, rawZip(t, zipped("a", 2000), zipped("b", 1001)), ErrLimit},
		"zip: bomb":               {Zip, rawZip(t, zipped("a", 17<<20)), ErrLimit},
		"zip: smaller than said":  {Zip, resized(rawZip(t, zipped("a", 1000)), 1000, 2000), ErrFormat},
		"zip: larger than said":   {Zip, resized(rawZip(t, zipped("a", 1000)), 1000, 10), ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			limits := Limits{Entries: 20, Ratio: 50}
			if test.is == ErrLimit && !strings.Contains(name, "bomb") {
				limits = Limits{Entries: 4, FileSize: 2000, TotalSize: 3000}
			}
			_, err := read(test.archive, test.format, limits)
			assert.ErrorIs(t, err, test.is)
			assert.ErrorContains(t, err, "read "+string(test.format)+" archive: ")
		})
	}
}

// encrypted sets the flag in the central directory.
func encrypted(archive []byte) []byte {
	at := bytes.Index(archive, []byte("PK\x01\x02"))
	archive[at+8] |= zipEncrypted
	return archive
}

// resized changes the unpacked size in the central directory.
func resized(archive []byte, from, to uint32) []byte {
	at := bytes.Index(archive, []byte("PK\x01\x02")) + 24
	if binary.LittleEndian.Uint32(archive[at:]) != from {
		panic("not the size")
	}
	binary.LittleEndian.PutUint32(archive[at:], to)
	return archive
}

func TestReadAcceptsOthersArchives(t *testing.T) {
	files, err := read(rawTar(t, regular(strings.Repeat("long/", 60)+"a", 3)), TarGz, Limits{})
	require.NoError(t, err)
	assert.Len(t, files, 1)

	padded := gzipped(append(gunzipped(t, rawTar(t, regular("a", 1))), make([]byte, 10240)...))
	_, err = read(padded, TarGz, Limits{})
	assert.NoError(t, err, "GNU tar pads to its record size")

	files, err = read(rawZip(t, zipMode("a/", fs.ModeDir|0o755), zipMode("a/b", 0o700)), Zip, Limits{})
	require.NoError(t, err)
	assert.Equal(t, []unpacked{{File{"a/b", 0o755, 0}, []byte{}}}, files)

	files, err = read(rawZip(t), Zip, Limits{})
	require.NoError(t, err)
	assert.Empty(t, files)

	_, err = read(rawTar(t, regular("a", 16<<20)), TarGz, Limits{Ratio: 50})
	assert.NoError(t, err, "a small file of zeros is no bomb")
}

func TestWalk(t *testing.T) {
	for _, format := range []Format{TarGz, Zip} {
		t.Run(string(format), func(t *testing.T) {
			archive := write(t, format, entries())
			stop := errors.New("enough")
			calls := 0
			err := Walk(bytes.NewReader(archive), int64(len(archive)), format, Limits{}, func(File, io.Reader) error {
				calls++
				return stop
			})
			assert.Equal(t, stop, err, "an error of the caller's is returned as it is")
			assert.Equal(t, 1, calls)

			var paths []string
			err = Walk(bytes.NewReader(archive), int64(len(archive)), format, Limits{}, func(f File, _ io.Reader) error {
				paths = append(paths, strings.TrimPrefix(f.Path, root+"/"))
				return nil
			})
			assert.NoError(t, err, "content may be left unread")
			assert.Equal(t, []string{"LICENSE", "config/deep/server.toml", "config/server.toml", "server"}, paths)
		})
	}
	err := Walk(bytes.NewReader(nil), 0, "rar", Limits{}, nil)
	assert.ErrorContains(t, err, `unknown format "rar"`)
}

// What Read accepts is safe, and Write can write it again.
func FuzzRead(f *testing.F) {
	for _, format := range []Format{TarGz, Zip} {
		f.Add(write(f, format, entries()), format == Zip)
	}
	f.Add(rawTar(f, regular(strings.Repeat("long/", 60)+"a", 3)), false)
	f.Add(rawTar(f, &tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/"}), false)
	f.Add(rawZip(f, zipMode("a/", fs.ModeDir|0o755), zipMode("a/b", 0o700)), true)
	f.Add(rawZip(f, zipMode("a", fs.ModeSymlink|0o777)), true)
	f.Fuzz(func(t *testing.T, archive []byte, isZip bool) {
		format := TarGz
		if isZip {
			format = Zip
		}
		limits := Limits{Entries: 50, FileSize: 1 << 20, TotalSize: 2 << 20, Ratio: 100}
		files, err := read(archive, format, limits)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(files), limits.Entries)
		dir := t.TempDir()
		total := 0
		folded := map[string]bool{}
		var again []Entry
		for _, file := range files {
			require.True(t, filepath.IsLocal(file.Path), file.Path)
			require.Contains(t, []fs.FileMode{0o644, 0o755}, file.Mode)
			require.Len(t, file.data, int(file.Size))
			total += len(file.data)
			target := filepath.Join(dir, file.Path)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err == nil { // names may be too long
				_, err := os.Lstat(target)
				require.Error(t, err, "two files at one path")
				os.WriteFile(target, file.data, file.Mode)
			}
			if lower := strings.ToLower(file.Path); !folded[lower] && !underFile(folded, lower) {
				folded[lower] = true
				again = append(again, bytesEntry(file.Path, file.Mode, file.data))
			}
		}
		require.LessOrEqual(t, int64(total), limits.TotalSize)
		err = Write(io.Discard, format, "", date, again)
		if !errors.Is(err, ErrDuplicate) { // "A" and "a/b" are fine for a reader
			require.NoError(t, err)
		}
	})
}

func underFile(files map[string]bool, path string) bool {
	for _, parent := range parents(path) {
		if files[parent] {
			return true
		}
	}
	return false
}

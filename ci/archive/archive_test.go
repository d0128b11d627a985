package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/notation"
)

var (
	date = time.Date(2026, 4, 14, 11, 30, 0, 5, time.FixedZone("", 2*3600))
	root = "server-0.8.0-x86_64-unknown-linux-gnu"
)

// bytesEntry returns an entry with the given content.
func bytesEntry(path string, mode fs.FileMode, content []byte) Entry {
	return Entry{Path: path, Mode: mode, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// unpacked is a file of an archive with its content.
type unpacked struct {
	File
	data []byte
}

// read unpacks an archive.
func read(archive []byte, format Format, limits Limits) ([]unpacked, error) {
	var files []unpacked
	err := Walk(bytes.NewReader(archive), int64(len(archive)), format, limits, func(f File, r io.Reader) error {
		data, err := io.ReadAll(r)
		files = append(files, unpacked{f, data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return files, nil
}

// entries are in no order.
func entries() []Entry {
	return []Entry{
		bytesEntry("server", 0o700, bytes.Repeat([]byte("binary "), 1000)),
		bytesEntry("LICENSE", 0o666, []byte("Apache-2.0\n")),
		bytesEntry("config/deep/server.toml", 0o600, nil),
		bytesEntry("config/server.toml", fs.ModeSetuid|0o640, []byte("[server]\n")),
	}
}

func write(t testing.TB, format Format, entries []Entry) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, Write(&out, format, root, date, entries))
	return out.Bytes()
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// The digests change with the compressor in go.mod or with an archive's layout,
// and with nothing else. To change them is to change every archive that is
// built again.
func TestWriteIsDeterministic(t *testing.T) {
	for format, want := range map[Format]string{
		TarGz: "d497f60daed8f99a92e106709f8336f2a8af8472b5ec2fb3bf12895534efa8b7",
		Zip:   "755bffa0833f9350b7fb7fa503c2c73fa59f7952dda38eac3036da1cfb0a4fe3",
	} {
		t.Run(string(format), func(t *testing.T) {
			first := write(t, format, entries())
			assert.Equal(t, want, digest(first))

			shuffled := entries()
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			assert.Equal(t, first, write(t, format, shuffled), "the order of entries makes no difference")
		})
	}
}

// mixed returns content with long and short matches, noise and runs, in many
// windows of the compressor.
func mixed(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var out bytes.Buffer
	for out.Len() < size {
		switch random.IntN(4) {
		case 0:
			fmt.Fprintf(&out, "symbol_%d::<impl core::fmt::Debug for T%d>::fmt", random.IntN(1000), random.IntN(10))
		case 1:
			for range random.IntN(3000) {
				out.WriteByte(byte(random.IntN(1 + random.IntN(200)))) // whole numbers: fractions could be fused here, too
			}
		case 2:
			out.Write(make([]byte, random.IntN(500)))
		case 3:
			at := random.IntN(out.Len() + 1)
			out.Write(bytes.Clone(out.Bytes()[at:min(out.Len(), at+random.IntN(9000))]))
		}
	}
	return out.Bytes()[:size]
}

// The digest holds on every architecture, also on arm64, where Go fuses
// floating-point operations: qemu-user runs the test there.
func TestGzipIsDeterministic(t *testing.T) {
	content := mixed(3 << 20)
	var whole bytes.Buffer
	w, err := NewGzipWriter(&whole)
	require.NoError(t, err)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	assert.Equal(t, "5c46036886ef144cc096b42442c75dc161d36eb51e8c2ad40e99c4a06587f3fc", digest(whole.Bytes()))
	assert.Equal(t, []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, whole.Bytes()[:10], "no name, no time, no system")

	r, err := gzip.NewReader(&whole)
	require.NoError(t, err)
	back, err := io.ReadAll(r)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, back))
}

func TestGzipDoesNotDependOnTheSizesOfWrites(t *testing.T) {
	content := mixed(200_000)
	compress := func(chunk int) []byte {
		var out bytes.Buffer
		w, err := NewGzipWriter(&out)
		require.NoError(t, err)
		for rest := content; len(rest) > 0; rest = rest[min(chunk, len(rest)):] {
			_, err := w.Write(rest[:min(chunk, len(rest))])
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return out.Bytes()
	}
	want := compress(len(content))
	for _, chunk := range []int{1000, window - 1, window, window + 1, 100_000} {
		assert.True(t, bytes.Equal(want, compress(chunk)), "chunks of %d bytes", chunk)
	}
}

func TestReadReturnsWhatWriteWrote(t *testing.T) {
	for _, format := range []Format{TarGz, Zip} {
		t.Run(string(format), func(t *testing.T) {
			files, err := read(write(t, format, entries()), format, Limits{})
			require.NoError(t, err)
			assert.Equal(t, []unpacked{
				{File{root + "/LICENSE", 0o644, 11}, []byte("Apache-2.0\n")},
				{File{root + "/config/deep/server.toml", 0o644, 0}, []byte{}},
				{File{root + "/config/server.toml", 0o644, 9}, []byte("[server]\n")},
				{File{root + "/server", 0o755, 7000}, bytes.Repeat([]byte("binary "), 1000)},
			}, files)
		})
	}
}

func TestTarHeaders(t *testing.T) {
	z, err := gzip.NewReader(bytes.NewReader(write(t, TarGz, entries())))
	require.NoError(t, err)
	var lines []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		lines = append(lines, fmt.Sprintf("%s %o %d:%d%s%s %s %v",
			h.Name, h.Mode, h.Uid, h.Gid, h.Uname, h.Gname, h.ModTime.UTC().Format(time.RFC3339Nano), h.Format))
	}
	const rest = " 0:0 2026-04-14T09:30:00Z USTAR"
	assert.Equal(t, []string{
		root + "/ 755" + rest,
		root + "/LICENSE 644" + rest,
		root + "/config/ 755" + rest,
		root + "/config/deep/ 755" + rest,
		root + "/config/deep/server.toml 644" + rest,
		root + "/config/server.toml 644" + rest,
		root + "/server 755" + rest,
	}, lines)
}

// Other people's tools list the archives, with modes and dates.
func TestToolsReadArchives(t *testing.T) {
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s: %s", name, out)
		return string(out)
	}
	t.Run("tar", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a.tar.gz")
		require.NoError(t, os.WriteFile(file, write(t, TarGz, entries()), 0o644))
		out := run("tar", "-tvzf", file)
		assert.Regexp(t, `(?m)^drwxr-xr-x 0/0 +0 2026-04-14 09:30 `+root+`/config/$`, out)
		assert.Regexp(t, `(?m)^-rwxr-xr-x 0/0 +7000 2026-04-14 09:30 `+root+`/server$`, out)
		assert.Regexp(t, `(?m)^-rw-r--r-- 0/0 +11 2026-04-14 09:30 `+root+`/LICENSE$`, out)
	})
	t.Run("python", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "a.zip")
		require.NoError(t, os.WriteFile(file, write(t, Zip, entries()), 0o644))
		out := run("python3", "-c", `
import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
for i in z.infolist():
    print("%o" % (i.external_attr >> 16), i.date_time, i.file_size, i.filename)`, file)
		assert.Equal(t, strings.ReplaceAll(`100644 (2026, 4, 14, 9, 30, 0) 11 ROOT/LICENSE
100644 (2026, 4, 14, 9, 30, 0) 0 ROOT/config/deep/server.toml
100644 (2026, 4, 14, 9, 30, 0) 9 ROOT/config/server.toml
100755 (2026, 4, 14, 9, 30, 0) 7000 ROOT/server
`, "ROOT", root), out)
	})
}

func TestZipIsNotOlderThan1980(t *testing.T) {
	at := func(year int) []byte {
		var out bytes.Buffer
		require.NoError(t, Write(&out, Zip, "", time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), entries()))
		return out.Bytes()
	}
	assert.Equal(t, at(1980), at(1970))
	assert.NotEqual(t, at(1980), at(1981))
}

func TestWriteRefuses(t *testing.T) {
	file := func(path string) Entry { return bytesEntry(path, 0o644, nil) }
	broken := errors.New("disk on fire")
	for name, test := range map[string]struct {
		entries []Entry
		is      error
		want    string
	}{
		"escaping path":     {[]Entry{file("../a")}, notation.ErrUnsafePath, `unsafe path "../a": it has a ".."`},
		"symbolic link":     {[]Entry{bytesEntry("a", fs.ModeSymlink|0o777, nil)}, ErrNotRegular, `add "a" to the archive: it is a symbolic link`},
		"folder":            {[]Entry{bytesEntry("a", fs.ModeDir|0o755, nil)}, ErrNotRegular, "it is a directory"},
		"device":            {[]Entry{bytesEntry("a", fs.ModeDevice|0o644, nil)}, ErrNotRegular, "it is a special file"},
		"path twice":        {[]Entry{file("a/b"), file("./a//b")}, ErrDuplicate, `add "./a//b" to the archive: duplicate path: "a/b" is in it already`},
		"only case differs": {[]Entry{file("README"), file("Readme")}, ErrDuplicate, "README"},
		"file and folder":   {[]Entry{file("A/b"), file("a")}, ErrDuplicate, `add "A/b" to the archive: duplicate path: "a" is a file`},
		"content too long":  {[]Entry{{Path: "a", Size: 1, Open: bytesEntry("", 0, []byte("ab")).Open}}, nil, `/a": its content does not have 1 bytes`},
		"content too short": {[]Entry{{Path: "a", Size: 3, Open: bytesEntry("", 0, []byte("ab")).Open}}, nil, `/a": its content does not have 3 bytes`},
		"unreadable":        {[]Entry{{Path: "a", Open: func() (io.ReadCloser, error) { return nil, broken }}}, broken, `/a": disk on fire`},
	} {
		for _, format := range []Format{TarGz, Zip} {
			t.Run(name+" "+string(format), func(t *testing.T) {
				err := Write(io.Discard, format, root, date, test.entries)
				assert.ErrorContains(t, err, "write "+string(format)+" archive: ")
				assert.ErrorContains(t, err, test.want)
				if test.is != nil {
					assert.ErrorIs(t, err, test.is)
				}
			})
		}
	}
	assert.ErrorContains(t, Write(io.Discard, "rar", root, date, nil), `unknown format "rar": use "tar.gz" or "zip"`)
	assert.ErrorIs(t, Write(io.Discard, Zip, "..", date, nil), notation.ErrUnsafePath)
}

func TestEntriesFromDisk(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "run")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o700))
	entry, err := FileEntry("share/run", script)
	require.NoError(t, err)
	files, err := read(write(t, TarGz, []Entry{entry}), TarGz, Limits{})
	require.NoError(t, err)
	assert.Equal(t, []unpacked{{File{root + "/share/run", 0o755, 10}, []byte("#!/bin/sh\n")}}, files)

	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "link")))
	_, err = FileEntry("share/link", filepath.Join(dir, "link"))
	assert.ErrorIs(t, err, ErrNotRegular)
	assert.ErrorContains(t, err, `"share/link"`)
	_, err = FileEntry("dir", dir)
	assert.ErrorIs(t, err, ErrNotRegular)
	_, err = FileEntry("x", filepath.Join(dir, "x"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{"a.tar.gz": TarGz, "a-1.0.0.zip": Zip, "a.tgz": "", ".zip": "", "a": ""} {
		got, err := FormatOf(name)
		assert.Equal(t, want, got, name)
		assert.Equal(t, want == "", err != nil, name)
	}
}

func TestCleanPath(t *testing.T) {
	for path, want := range map[string]string{
		"a":             "a",
		"./a//b/":       "a/b",
		"a/./b":         "a/b",
		"..a/b..":       "..a/b..",
		"...":           "...",
		"ünïcode/文":     "ünïcode/文",
		"a b":           "a b",
		"":              "",
		".":             "",
		"./":            "",
		"/":             "",
		"/a":            "",
		"..":            "",
		"../a":          "",
		"a/..":          "",
		"a/../b":        "",
		`a\b`:           "",
		"C:/a":          "",
		"c:":            "",
		"a\x00b":        "",
		"a\nb":          "",
		"a\u0085b":      "",
		"a\xff":         "",
		"//host/share":  "",
		`..\..\windows`: "",
	} {
		got, err := notation.CleanPath(path)
		assert.Equal(t, want, got, "%q", path)
		if want == "" {
			assert.ErrorIs(t, err, notation.ErrUnsafePath, "%q", path)
		} else {
			assert.NoError(t, err, "%q", path)
		}
	}
}

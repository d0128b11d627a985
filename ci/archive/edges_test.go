package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/notation"
)

// failing takes some bytes and then fails.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// Wherever the disk is full, Write says so.
func TestWriteReportsEveryFailure(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	noise := func(n int) []byte {
		out := make([]byte, n)
		for i := range out {
			out[i] = byte(random.Uint32())
		}
		return out
	}
	var entries []Entry
	for i := range 200 {
		entries = append(entries, bytesEntry(fmt.Sprintf("d%d/f", i), 0o644, noise(random.IntN(600))))
	}
	entries = append(entries, bytesEntry("large", 0o755, noise(3*window)))
	full := errors.New("disk full")
	for _, format := range []Format{TarGz, Zip} {
		var whole bytes.Buffer
		require.NoError(t, Write(&whole, format, "", date, entries))
		for left := 0; left < whole.Len(); left += whole.Len() / 12 {
			require.ErrorIs(t, Write(&failing{left, full}, format, "", date, entries), full, "%s after %d bytes", format, left)
		}
		require.ErrorIs(t, Write(&failing{whole.Len() - 1, full}, format, "", date, entries), full, "%s: the last byte", format)
		require.NoError(t, Write(&failing{whole.Len(), full}, format, "", date, entries))
	}
	// Folders alone: the window fills while their headers are written.
	entries = nil
	for i := range 700 {
		entries = append(entries, bytesEntry(fmt.Sprintf("%x/%x/%x/f", noise(20), noise(20), noise(20)), 0o644, fmt.Append(nil, i)))
	}
	var whole bytes.Buffer
	require.NoError(t, Write(&whole, TarGz, "", date, entries))
	for left := 0; left < whole.Len(); left += whole.Len() / 12 {
		require.ErrorIs(t, Write(&failing{left, full}, TarGz, "", date, entries), full)
	}
}

func TestGzipWriterReportsFailures(t *testing.T) {
	full := errors.New("disk full")
	noise := make([]byte, 4*window)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	z, err := NewGzipWriter(&failing{window, full})
	require.NoError(t, err)
	n, err := z.Write(noise)
	assert.ErrorIs(t, err, full)
	assert.LessOrEqual(t, n, 2*window)
	assert.Positive(t, n)

	z, err = NewGzipWriter(&failing{0, full})
	require.NoError(t, err)
	n, err = z.Write([]byte("text"))
	require.NoError(t, err, "it waits for a window")
	assert.Equal(t, 4, n)
	assert.ErrorIs(t, z.Close(), full)
}

// unflushable writes, but can't flush.
type unflushable struct {
	io.Writer
	err error
}

func (u unflushable) Flush() error { return u.err }
func (u unflushable) Close() error { return nil }

func TestEndsOfWindowsAreFlushed(t *testing.T) {
	full := errors.New("disk full")
	w := newWindowed(unflushable{io.Discard, full})
	n, err := w.Write(make([]byte, window+1))
	assert.ErrorIs(t, err, full)
	assert.Equal(t, window, n)
	w = newWindowed(unflushable{io.Discard, full})
	_, err = w.Write(make([]byte, 1))
	require.NoError(t, err)
	assert.ErrorIs(t, w.Close(), full)

	// The end of this tar archive is what fills the first window.
	e := bytesEntry("a", 0o644, make([]byte, 126*512))
	assert.ErrorIs(t, Write(&failing{10, full}, TarGz, "", date, []Entry{e}), full)
}

func TestWriteRefusesSizes(t *testing.T) {
	e := bytesEntry("a", 0o644, []byte("a"))
	e.Size = -1
	assert.ErrorContains(t, Write(io.Discard, TarGz, "", date, []Entry{e}), `add "a"`)
	closing := errors.New("closing failed")
	e = bytesEntry("a", 0o644, []byte("a"))
	e.Open = func() (io.ReadCloser, error) { return failingClose{strings.NewReader("a"), closing}, nil }
	assert.ErrorIs(t, Write(io.Discard, TarGz, "", date, []Entry{e}), closing)
	reading := errors.New("reading failed")
	e.Open = func() (io.ReadCloser, error) {
		return failingClose{io.MultiReader(strings.NewReader("a"), failingReader{reading}), closing}, nil
	}
	assert.ErrorIs(t, Write(io.Discard, TarGz, "", date, []Entry{e}), reading, "the first error counts")
}

type failingClose struct {
	io.Reader
	err error
}

func (f failingClose) Close() error { return f.err }

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestLayoutErrors(t *testing.T) {
	errs := CheckLayout([]string{"a", "../x", "A", "a/b", "ok/c", "c"})
	require.Len(t, errs, 3)
	assert.Equal(t, LayoutError{Path: "../x", Err: errs[0].Err}, *errs[0])
	assert.Equal(t, LayoutError{Path: "A", Other: "a", Err: ErrDuplicate}, *errs[1])
	assert.Equal(t, LayoutError{Path: "a/b", Other: "a", Below: true, Err: ErrDuplicate}, *errs[2])
	assert.Equal(t, errs[0].Err.Error(), errs[0].Error(), "only what is wrong with the path")
	assert.ErrorIs(t, errs[0], notation.ErrUnsafePath)
	assert.Equal(t, `add "A" to the archive: duplicate path: "a" is in it already`, errs[1].Error())
	assert.Equal(t, `add "a/b" to the archive: duplicate path: "a" is a file`, errs[2].Error())
	assert.Empty(t, CheckLayout([]string{"a/b", "a/c", "b"}))
}

// What is exactly at a limit is read.
func TestLimitsAreInclusive(t *testing.T) {
	assert.Equal(t, DefaultLimits, Limits{}.withDefaults())
	limits := Limits{Entries: 3, FileSize: 2000, TotalSize: 3000, Ratio: 7}
	assert.Equal(t, limits, limits.withDefaults())
	for _, test := range []struct {
		sizes []int64
		is    error
	}{
		{[]int64{2000, 1000, 0}, nil},
		{[]int64{2000, 1001}, ErrLimit},
		{[]int64{2001}, ErrLimit},
		{[]int64{1, 1, 1, 1}, ErrLimit},
	} {
		var headers []*tar.Header
		var zipHeaders []*zip.FileHeader
		for i, size := range test.sizes {
			headers = append(headers, regular(fmt.Sprint(i), size))
			zipHeaders = append(zipHeaders, zipped(fmt.Sprint(i), uint64(size)))
		}
		_, err := read(rawTar(t, headers...), TarGz, limits)
		require.ErrorIs(t, err, test.is, "tar of %d", test.sizes)
		_, err = read(rawZip(t, zipHeaders...), Zip, limits)
		require.ErrorIs(t, err, test.is, "zip of %d", test.sizes)
	}
	const most = int64(1) << 62
	for _, test := range [][3]int64{{3, 5, 15}, {0, most, 0}, {1 << 40, 1 << 40, most}, {3, most / 3, most/3*3 + 0}, {1, most, most}, {2, most, most}} {
		assert.Equal(t, test[2], mulCap(test[0], test[1]), "%d × %d", test[0], test[1])
	}
}

// Headers may take as much as entries need, and no more.
func TestLimitOfHeaders(t *testing.T) {
	var many []*tar.Header
	for i := range 1500 {
		many = append(many, regular(strings.Repeat("long/", 60)+fmt.Sprint(i), 1))
	}
	_, err := read(rawTar(t, many...), TarGz, Limits{Entries: len(many), TotalSize: 2000})
	require.NoError(t, err)

	var large []*tar.Header
	for i := range 6 {
		h := regular(fmt.Sprint(i), 0)
		h.PAXRecords = map[string]string{"GANTRY.comment": strings.Repeat("x", 900_000)}
		large = append(large, h)
	}
	_, err = read(rawTar(t, large...), TarGz, Limits{Entries: 30, TotalSize: 1000})
	assert.ErrorIs(t, err, ErrLimit)
	assert.NotErrorIs(t, err, ErrFormat)
}

func TestFilesHaveTheSizeThatTheyClaim(t *testing.T) {
	for _, size := range []int64{2, 4, 5} {
		w := &walker{limits: DefaultLimits, budget: 100, fn: func(File, io.Reader) error { return nil }}
		err := w.file(File{Path: "a", Size: size}, strings.NewReader("abc"))
		assert.ErrorIs(t, err, ErrFormat, "%d of 3", size)
	}
	w := &walker{limits: DefaultLimits, budget: 3, fn: func(File, io.Reader) error { return nil }}
	require.NoError(t, w.file(File{Path: "a", Size: 3}, strings.NewReader("abc")), "the whole budget")
	require.ErrorIs(t, w.file(File{Path: "a", Size: -1}, strings.NewReader("")), ErrLimit)

	// An error of the archive's is told from the caller's own.
	damage, own := errors.New("damage"), errors.New("own")
	w = &walker{limits: DefaultLimits, budget: 100, fn: func(_ File, r io.Reader) error { _, err := io.ReadAll(r); return err }}
	err := w.file(File{Path: "a", Size: 3}, failingReader{damage})
	assert.ErrorIs(t, err, ErrFormat)
	assert.ErrorIs(t, err, damage)
	w.fn = func(File, io.Reader) error { return own }
	err = w.file(File{Path: "a", Size: 3}, failingReader{damage})
	assert.NotErrorIs(t, err, ErrFormat)
	w.fn = func(File, io.Reader) error { return nil }
	assert.ErrorIs(t, w.file(File{Path: "a", Size: 3}, failingReader{damage}), ErrFormat, "also when nobody read it")
}

func TestZipOfOtherSystems(t *testing.T) {
	by := func(creator uint16, name string, attributes uint32) *zip.FileHeader {
		return &zip.FileHeader{Name: name, CreatorVersion: creator << 8, ExternalAttrs: attributes, Method: zip.Store}
	}
	const fat, ntfs, executable = 0, 10, 0o100755 << 16
	for name, test := range map[string]struct {
		header *zip.FileHeader
		mode   fs.FileMode
	}{
		"Unix":              {by(zipCreatorUnix, "a", executable), 0o755},
		"macOS":             {by(zipCreatorMacOS, "a", executable), 0o755},
		"macOS, no program": {by(zipCreatorMacOS, "a", 0o100644<<16), 0o644},
		"Windows":           {by(ntfs, "a", executable), 0o644},
		"FAT":               {by(fat, "a", 0x20), 0o644},
	} {
		files, err := read(rawZip(t, test.header), Zip, Limits{})
		require.NoError(t, err, name)
		assert.Equal(t, []unpacked{{File{"a", test.mode, 0}, []byte{}}}, files, name)
	}
	files, err := read(rawZip(t, by(fat, "d/", 0x10), by(fat, "d/a", 0)), Zip, Limits{})
	require.NoError(t, err, "a folder of FAT's")
	assert.Len(t, files, 1)
}

func TestZipRefusesWhatReadersDisagreeOn(t *testing.T) {
	directory := func(archive []byte, change func(entry []byte)) []byte {
		change(archive[bytes.Index(archive, []byte("PK\x01\x02")):])
		return archive
	}
	end := func(archive []byte, change func(end []byte)) []byte {
		change(archive[len(archive)-zipEndSize:])
		return archive
	}
	one := func() []byte { return rawZip(t, zipped("a", 1)) }
	put16, put32 := binary.LittleEndian.PutUint16, binary.LittleEndian.PutUint32
	for name, test := range map[string]struct {
		archive []byte
		is      error
		want    string
	}{
		"another compression":    {directory(one(), func(e []byte) { put16(e[10:], 12) }), ErrFormat, "compression method 12"},
		"no entry":               {directory(one(), func(e []byte) { e[0] = 'X' }), ErrFormat, ""},
		"a folder with content":  {directory(rawZip(t, zipMode("d/", fs.ModeDir|0o755)), func(e []byte) { put32(e[24:], 5) }), ErrFormat, "has content"},
		"a comment":              {end(one(), func(e []byte) { e[20] = 1 }), ErrTrailing, "comment"},
		"a long comment":         {end(one(), func(e []byte) { e[21] = 1 }), ErrTrailing, "comment"},
		"zip64 by entries":       {end(one(), func(e []byte) { put16(e[10:], 0xffff) }), ErrLimit, "zip64"},
		"zip64 by size":          {end(one(), func(e []byte) { put32(e[12:], 0xffffffff) }), ErrLimit, "zip64"},
		"zip64 by start":         {end(one(), func(e []byte) { put32(e[16:], 0xffffffff) }), ErrLimit, "zip64"},
		"a directory too short":  {end(one(), func(e []byte) { put32(e[12:], binary.LittleEndian.Uint32(e[12:])-1) }), ErrTrailing, ""},
		"another start":          {append([]byte("XX"), one()[2:]...), ErrTrailing, "before the first entry"},
		"the end's size, no end": {bytes.Repeat([]byte("x"), zipEndSize), ErrFormat, "no directory"},
		"one byte less":          {bytes.Repeat([]byte("x"), zipEndSize-1), ErrFormat, "too few"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(test.archive, Zip, Limits{})
			require.ErrorIs(t, err, test.is)
			assert.ErrorContains(t, err, test.want)
		})
	}
	short := one()
	err := Walk(bytes.NewReader(short), int64(len(short))+1, Zip, Limits{}, nil)
	assert.ErrorIs(t, err, ErrFormat, "the end can't be read")
	err = Walk(bytes.NewReader(nil), 100, Zip, Limits{}, nil)
	assert.ErrorIs(t, err, ErrFormat, "nothing can be read")
}

func TestSumsEdges(t *testing.T) {
	a := strings.Repeat("a", 64)
	for text, want := range map[string]string{
		a[2:] + "  x\n":                   "is not 64 lower-case",
		a + "aa  x\n":                     "is not 64 lower-case",
		a + "  .\n":                       "not the name of a file",
		a + "  a\\b\n":                    "backslash",
		a + "  \xff\n":                    "UTF-8",
		strings.Repeat("x", 90) + "\n":    `"` + strings.Repeat("x", 80) + `"`,
		strings.Repeat("é", 70) + "  x\n": "is not 64 lower-case",
	} {
		_, err := ParseSums([]byte(text))
		assert.ErrorContains(t, err, want, "%q", text)
	}
}

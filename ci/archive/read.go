package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strings"

	"dagger/gantry/ci/notation"
)

// What [Walk] refuses, for errors.Is; [notation.ErrUnsafePath] too.
var (
	// ErrFormat reports a damaged archive, or a file of another format.
	ErrFormat = errors.New("not a valid archive")
	// ErrNotRegular reports an entry that is not a regular file or, in reading, a
	// directory.
	ErrNotRegular = errors.New("not a regular file")
	// ErrDuplicate reports two entries for one path.
	ErrDuplicate = errors.New("duplicate path")
	// ErrLimit reports an archive over the [Limits].
	ErrLimit = errors.New("archive over its limit")
	// ErrTrailing reports bytes before or after the archive.
	ErrTrailing = errors.New("bytes that do not belong to the archive")
)

// Limits bound what [Walk] unpacks. Zero fields have the values of [DefaultLimits].
type Limits struct {
	// Entries is the number of files and directories.
	Entries int
	// FileSize is the size of a file, in bytes.
	FileSize int64
	// TotalSize is the size of all files, in bytes.
	TotalSize int64
	// Ratio is the size of all files in relation to the archive's. Content of up to
	// 16 MiB may have any ratio.
	Ratio int64
}

// DefaultLimits suit release archives: some large binaries and a few texts.
var DefaultLimits = Limits{
	Entries:   10_000,
	FileSize:  2 << 30, // GitHub's limit of an asset
	TotalSize: 4 << 30,
	Ratio:     200,
}

// anyRatio is the size up to which any ratio is fine: a small file of zeros is
// harmless.
const anyRatio = 16 << 20

// File is a regular file of an archive.
type File struct {
	// Path in the archive, clean and with the root directory.
	Path string
	// Mode is 0755 if the file is executable, else 0644.
	Mode fs.FileMode
	// Size in bytes.
	Size int64
}

// Walk reads an archive of size bytes and calls fn for each regular file, in the
// archive's order, with a reader of its content. Walk reads the rest of the content
// itself, which verifies checksums. It returns an error of fn unchanged.
//
// Trust nothing before Walk has returned nil: damage may show at the end.
func Walk(r io.ReaderAt, size int64, format Format, limits Limits, fn func(File, io.Reader) error) error {
	w := &walker{limits: limits.withDefaults(), seen: map[string]bool{}, fn: fn}
	w.budget = min(w.limits.TotalSize, max(anyRatio, mulCap(size, w.limits.Ratio)))
	var err error
	switch format {
	case TarGz:
		err = w.tarGz(r, size)
	case Zip:
		err = w.zip(r, size)
	default:
		err = fmt.Errorf("unknown format %q: use %q or %q", format, TarGz, Zip)
	}
	var stop *stopError
	switch {
	case errors.As(err, &stop):
		return stop.err
	case err != nil:
		return fmt.Errorf("read %s archive: %w", format, err)
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Entries:   cmp.Or(l.Entries, DefaultLimits.Entries),
		FileSize:  cmp.Or(l.FileSize, DefaultLimits.FileSize),
		TotalSize: cmp.Or(l.TotalSize, DefaultLimits.TotalSize),
		Ratio:     cmp.Or(l.Ratio, DefaultLimits.Ratio),
	}
}

func mulCap(a, b int64) int64 {
	const most = 1 << 62
	if a > 0 && b > most/a {
		return most
	}
	return a * b
}

// stopError carries an error of the caller's function.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

type walker struct {
	limits  Limits
	budget  int64 // bytes of content left
	entries int
	seen    map[string]bool // true for files, false for directories
	fn      func(File, io.Reader) error
}

// admit checks the name of an entry before its content is read, and returns its
// path.
func (w *walker) admit(name string, dir bool) (string, error) {
	if w.entries++; w.entries > w.limits.Entries {
		return "", fmt.Errorf("%w: more than %d entries", ErrLimit, w.limits.Entries)
	}
	clean, err := notation.CleanPath(name)
	if err != nil {
		return "", err
	}
	if other := strings.TrimSuffix(name, "/"); clean != other || name != other && !dir {
		return "", fmt.Errorf("%w %q: its shortest form is %q", notation.ErrUnsafePath, name, clean)
	}
	if _, found := w.seen[clean]; found {
		return "", fmt.Errorf("%w %q", ErrDuplicate, clean)
	}
	for _, parent := range parents(clean) {
		if w.seen[parent] {
			return "", fmt.Errorf("%w %q: %q is a file", ErrDuplicate, clean, parent)
		}
	}
	w.seen[clean] = !dir
	return clean, nil
}

// file passes a file to the caller and checks its size.
func (w *walker) file(f File, r io.Reader) error {
	if f.Size < 0 || f.Size > w.limits.FileSize {
		return fmt.Errorf("%w: file %q has %d bytes, more than %d", ErrLimit, f.Path, f.Size, w.limits.FileSize)
	}
	if w.budget -= f.Size; w.budget < 0 {
		return fmt.Errorf("%w: it unpacks to more than %d bytes, or to more than %d times its size", ErrLimit, w.limits.TotalSize, w.limits.Ratio)
	}
	counted := &countReader{r: io.LimitReader(r, f.Size+1)}
	if err := w.fn(f, counted); err != nil {
		// Damage usually shows while fn reads.
		if counted.err != nil {
			return fmt.Errorf("file %q: %w: %w", f.Path, ErrFormat, counted.err)
		}
		return &stopError{err}
	}
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return fmt.Errorf("file %q: %w: %w", f.Path, ErrFormat, err)
	}
	if counted.n != f.Size {
		return fmt.Errorf("file %q: %w: its content does not have the %d bytes of its header", f.Path, ErrFormat, f.Size)
	}
	return nil
}

// countReader counts bytes and keeps the error.
type countReader struct {
	r   io.Reader
	n   int64
	err error
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (w *walker) tarGz(r io.ReaderAt, size int64) error {
	compressed := bufio.NewReader(io.NewSectionReader(r, 0, size))
	z, err := gzip.NewReader(compressed)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	z.Multistream(false)
	// Headers are limited too: an entry has at most a header, a few blocks of
	// attributes and padding.
	unpacked := &limitReader{r: z, left: w.budget + int64(w.limits.Entries)*4096 + 1<<20}
	t := tar.NewReader(unpacked)
	for {
		header, err := t.Next()
		if err == io.EOF {
			break
		}
		if errors.Is(err, ErrLimit) {
			return err
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		dir := header.Typeflag == tar.TypeDir
		if !dir && header.Typeflag != tar.TypeReg {
			return fmt.Errorf("entry %q of type %q: %w", header.Name, header.Typeflag, ErrNotRegular)
		}
		clean, err := w.admit(header.Name, dir)
		if err != nil {
			return err
		}
		if dir {
			continue
		}
		mode := normal(fs.FileMode(header.Mode) & fs.ModePerm)
		if err := w.file(File{Path: clean, Mode: mode, Size: header.Size}, t); err != nil {
			return err
		}
	}
	if err := onlyZeros(unpacked); err != nil {
		return err
	}
	if _, err := compressed.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: after the gzip stream", ErrTrailing)
	}
	return nil
}

// onlyZeros reads the padding after a tar archive.
func onlyZeros(r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if len(bytes.Trim(buf[:n], "\x00")) > 0 {
			return fmt.Errorf("%w: after the end of the tar archive", ErrTrailing)
		}
		switch {
		case err == io.EOF:
			return nil
		case errors.Is(err, ErrLimit):
			return err
		case err != nil:
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
}

// limitReader fails if there is more to read, unlike io.LimitReader.
type limitReader struct {
	r    io.Reader
	left int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, fmt.Errorf("%w: it continues after the last allowed byte", ErrLimit)
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

const (
	zipLocalHeader  = "PK\x03\x04"
	zipEnd          = "PK\x05\x06"
	zipEndSize      = 22 // without a comment
	zipEncrypted    = 0x1
	zipCreatorUnix  = 3
	zipCreatorMacOS = 19
)

func (w *walker) zip(r io.ReaderAt, size int64) error {
	// Readers of zip files search for both ends of the archive and ignore everything
	// outside, so that different readers may see different archives.
	if err := zipBounds(r, size); err != nil {
		return err
	}
	z, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // admit checks names
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, f := range z.File {
		if f.Flags&zipEncrypted != 0 {
			return fmt.Errorf("%w: entry %q is encrypted", ErrFormat, f.Name)
		}
		if f.Method != zip.Store && f.Method != zip.Deflate {
			return fmt.Errorf("%w: entry %q has compression method %d", ErrFormat, f.Name, f.Method)
		}
		dir := strings.HasSuffix(f.Name, "/")
		mode := f.Mode()
		if creator := f.CreatorVersion >> 8; creator != zipCreatorUnix && creator != zipCreatorMacOS {
			mode = mode&fs.ModeDir | 0o644
		}
		if mode.IsDir() != dir || mode.Type()&^fs.ModeDir != 0 {
			return fmt.Errorf("entry %q with mode %v: %w", f.Name, mode, ErrNotRegular)
		}
		clean, err := w.admit(f.Name, dir)
		if err != nil {
			return err
		}
		if dir {
			if f.UncompressedSize64 != 0 {
				return fmt.Errorf("%w: directory %q has content", ErrFormat, f.Name)
			}
			continue
		}
		if f.UncompressedSize64 > uint64(w.limits.FileSize) {
			return fmt.Errorf("%w: file %q has %d bytes, more than %d", ErrLimit, f.Name, f.UncompressedSize64, w.limits.FileSize)
		}
		if err := w.zipFile(f, File{Path: clean, Mode: normal(mode), Size: int64(f.UncompressedSize64)}); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) zipFile(f *zip.File, file File) error {
	content, err := f.Open()
	if err != nil {
		return fmt.Errorf("file %q: %w: %w", file.Path, ErrFormat, err)
	}
	defer content.Close() // reading to the end has reported everything
	return w.file(file, content)
}

// zipBounds checks that the archive starts with its first entry and ends with its
// directory.
func zipBounds(r io.ReaderAt, size int64) error {
	if size < zipEndSize {
		return fmt.Errorf("%w: %d bytes are too few", ErrFormat, size)
	}
	head := make([]byte, len(zipLocalHeader))
	if _, err := r.ReadAt(head, 0); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	end := make([]byte, zipEndSize)
	if n, err := r.ReadAt(end, size-zipEndSize); n != len(end) {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !bytes.HasPrefix(end, []byte(zipEnd)) || end[20] != 0 || end[21] != 0 {
		if bytes.HasPrefix(head, []byte(zipLocalHeader)) {
			return fmt.Errorf("%w: it does not end with its directory, without a comment", ErrTrailing)
		}
		return fmt.Errorf("%w: no directory at its end", ErrFormat)
	}
	directorySize, directoryStart := binary.LittleEndian.Uint32(end[12:]), binary.LittleEndian.Uint32(end[16:])
	if directorySize == math.MaxUint32 || directoryStart == math.MaxUint32 || binary.LittleEndian.Uint16(end[10:]) == math.MaxUint16 {
		return fmt.Errorf("%w: it is a zip64 archive: use one under 4 GB", ErrLimit)
	}
	// Readers would skip the difference as a prefix.
	if int64(directoryStart)+int64(directorySize) != size-zipEndSize ||
		directoryStart != 0 && !bytes.HasPrefix(head, []byte(zipLocalHeader)) {
		return fmt.Errorf("%w: before the first entry", ErrTrailing)
	}
	return nil
}

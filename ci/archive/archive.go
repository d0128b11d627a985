// Package archive writes and reads the archives and the checksums of a release.
//
// It keeps two invariants. The bytes that [Write] makes depend only on the entries,
// the root and the date: not on the machine, the version of Go or the time. The
// files that [Walk] passes on are safe: never a path that escapes, a link, a device,
// or more bytes than the limits.
//
// Only [FileEntry] touches the file system.
package archive

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"dagger/gantry/ci/notation"
)

// Format is a kind of archive.
type Format string

// The formats, each the suffix of its files without the leading period.
const (
	TarGz Format = "tar.gz"
	Zip   Format = "zip"
)

// Ext returns the suffix of the format's files with the leading period.
func (f Format) Ext() string { return "." + string(f) }

// FormatOf returns the format of an archive by the suffix of its name.
func FormatOf(name string) (Format, error) {
	for _, f := range []Format{TarGz, Zip} {
		if strings.HasSuffix(name, f.Ext()) && len(name) > len(f.Ext()) {
			return f, nil
		}
	}
	return "", fmt.Errorf("unknown format of archive %q: end its name in .tar.gz or .zip", name)
}

// Entry is a regular file to write to an archive.
type Entry struct {
	// Path inside the archive, below its root, as [notation.CleanPath] accepts it.
	Path string
	// Mode becomes 0755 if anybody may execute the file, else 0644. Only regular
	// files are accepted.
	Mode fs.FileMode
	// Size in bytes. [Write] fails if the content has another size.
	Size int64
	// Open returns the content. It may be called more than once, in turn.
	Open func() (io.ReadCloser, error)
}

// FileEntry returns an entry with the content and the mode of a file on disk. It
// refuses symbolic links, which could lead out of the project.
func FileEntry(path, file string) (Entry, error) {
	info, err := os.Lstat(file)
	if err != nil {
		return Entry{}, fmt.Errorf("add %q to the archive: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return Entry{}, notRegular(path, info.Mode())
	}
	return Entry{
		Path: path,
		Mode: info.Mode(),
		Size: info.Size(),
		Open: func() (io.ReadCloser, error) { return os.Open(file) },
	}, nil
}

func notRegular(path string, mode fs.FileMode) error {
	what := "a special file"
	switch {
	case mode&fs.ModeSymlink != 0:
		what = "a symbolic link"
	case mode.IsDir():
		what = "a directory"
	}
	return fmt.Errorf("add %q to the archive: it is %s: %w", path, what, ErrNotRegular)
}

// Write writes an archive of the entries to w, below the directory root, or at the
// top level if root is empty.
//
// The bytes depend only on the arguments, and not on the order of the entries. The
// entries are sorted by path, owned by 0:0 and dated mtime, to the second in UTC; a
// zip file is dated 1980 at the earliest. A tar archive has an entry for each
// directory, with mode 0755; a zip file needs none.
//
// Write refuses the paths that [CheckLayout] reports, and everything but regular
// files.
func Write(w io.Writer, format Format, root string, mtime time.Time, entries []Entry) error {
	entries, err := layout(root, entries)
	if err != nil {
		return fmt.Errorf("write %s archive: %w", format, err)
	}
	mtime = mtime.UTC().Truncate(time.Second)
	switch format {
	case TarGz:
		err = writeTarGz(w, mtime, entries)
	case Zip:
		err = writeZip(w, mtime, entries)
	default:
		err = fmt.Errorf("unknown format %q: use %q or %q", format, TarGz, Zip)
	}
	if err != nil {
		return fmt.Errorf("write %s archive: %w", format, err)
	}
	return nil
}

// LayoutError reports a path that an archive can't have.
type LayoutError struct {
	// Path is below the archive's root.
	Path string
	// Other is the conflicting path, or empty.
	Other string
	// Below reports that Path needs a directory where Other is a file. If false, Other
	// differs from Path at most in case.
	Below bool
	// Err wraps [notation.ErrUnsafePath] or [ErrDuplicate].
	Err error
}

// Error names both paths.
func (e *LayoutError) Error() string {
	switch {
	case e.Other == "":
		return e.Err.Error()
	case e.Below:
		return fmt.Sprintf("add %q to the archive: %v: %q is a file", e.Path, e.Err, e.Other)
	default:
		return fmt.Sprintf("add %q to the archive: %v: %q is in it already", e.Path, e.Err, e.Other)
	}
}

// Unwrap returns the reason.
func (e *LayoutError) Unwrap() error { return e.Err }

// CheckLayout returns the paths that an archive can't have: those that [notation.CleanPath]
// refuses, those that are equal or differ only in case, which would overwrite each
// other on macOS and Windows, and those below a file.
func CheckLayout(paths []string) []*LayoutError {
	var errs []*LayoutError
	files := map[string]string{}
	for _, p := range paths {
		clean, err := notation.CleanPath(p)
		if err != nil {
			errs = append(errs, &LayoutError{Path: p, Err: err})
			continue
		}
		if other, found := files[strings.ToLower(clean)]; found {
			errs = append(errs, &LayoutError{Path: p, Other: other, Err: ErrDuplicate})
			continue
		}
		files[strings.ToLower(clean)] = p
	}
	for _, p := range paths {
		for _, dir := range parents(path.Clean(p)) {
			if file, found := files[strings.ToLower(dir)]; found && file != p {
				errs = append(errs, &LayoutError{Path: p, Other: file, Below: true, Err: ErrDuplicate})
			}
		}
	}
	return errs
}

// layout checks the entries and returns a sorted copy with full paths and normal
// modes.
func layout(root string, entries []Entry) ([]Entry, error) {
	if root != "" {
		var err error
		if root, err = notation.CleanPath(root); err != nil {
			return nil, err
		}
	}
	entries = slices.Clone(entries)
	paths := make([]string, len(entries))
	for i, e := range entries {
		if e.Mode.Type() != 0 {
			return nil, notRegular(e.Path, e.Mode)
		}
		paths[i] = e.Path
		entries[i].Path = path.Join(root, e.Path)
		entries[i].Mode = normal(e.Mode)
	}
	if errs := CheckLayout(paths); len(errs) > 0 {
		return nil, errs[0]
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries, nil
}

func normal(mode fs.FileMode) fs.FileMode {
	if mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// parents returns the directories above p, the outermost first.
func parents(p string) []string {
	var dirs []string
	for i, r := range p {
		if r == '/' {
			dirs = append(dirs, p[:i])
		}
	}
	return dirs
}

func writeTarGz(w io.Writer, mtime time.Time, entries []Entry) error {
	z, err := NewGzipWriter(w)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	seen := map[string]bool{}
	for _, e := range entries {
		for _, dir := range parents(e.Path) {
			if seen[dir] {
				continue
			}
			seen[dir] = true
			header := &tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755, ModTime: mtime}
			if err := t.WriteHeader(header); err != nil {
				return fmt.Errorf("add directory %q: %w", dir, err)
			}
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg,
			Name:     e.Path,
			Size:     e.Size,
			Mode:     int64(e.Mode),
			ModTime:  mtime,
		}
		if err := t.WriteHeader(header); err != nil {
			return fmt.Errorf("add %q: %w", e.Path, err)
		}
		if err := copyContent(t, e); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return z.Close()
}

// zipEpoch is the earliest date in a zip file.
var zipEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func writeZip(w io.Writer, mtime time.Time, entries []Entry) error {
	if mtime.Before(zipEpoch) {
		mtime = zipEpoch
	}
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, newFlateWriter)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.Path, Method: zip.Deflate, Modified: mtime}
		header.SetMode(e.Mode)
		f, err := z.CreateHeader(header)
		if err != nil {
			return fmt.Errorf("add %q: %w", e.Path, err)
		}
		if err := copyContent(f, e); err != nil {
			return err
		}
	}
	return z.Close()
}

// copyContent copies the content of an entry and checks its size.
func copyContent(w io.Writer, e Entry) error {
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	n, err := io.Copy(w, io.LimitReader(r, e.Size+1))
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.Size {
		err = fmt.Errorf("its content does not have %d bytes: it changed in the meantime, retry", e.Size)
	}
	if err := errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	return nil
}

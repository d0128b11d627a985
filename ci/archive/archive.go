// Package archive writes and reads the archives of a release and its
// checksums.
//
// It keeps two invariants. What [Write] makes depends on the entries, the root
// and the date alone: the same on any machine, with any version of Go, at any
// time. What [Walk] hands out is safe to use: it never passes on a path that
// escapes, a link, a device, or more bytes than the caller is ready for.
//
// The package touches the file system only in [FileEntry], and the network never.
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
)

// Format is a kind of archive.
type Format string

// The formats, by the suffix of their files' names without its leading period.
const (
	TarGz Format = "tar.gz"
	Zip   Format = "zip"
)

// Ext returns the suffix of the format's files, with its leading period.
func (f Format) Ext() string { return "." + string(f) }

// FormatOf returns the format of the archive called name, by its suffix.
func FormatOf(name string) (Format, error) {
	for _, f := range []Format{TarGz, Zip} {
		if strings.HasSuffix(name, f.Ext()) && len(name) > len(f.Ext()) {
			return f, nil
		}
	}
	return "", fmt.Errorf("tell the format of archive %q: its name must end in .tar.gz or .zip", name)
}

// Entry is one regular file to be put into an archive.
type Entry struct {
	// Path inside the archive, below its root, as [CleanPath] takes it.
	Path string
	// Mode is reduced to 0755 when anybody may execute the file, else to 0644.
	// Anything but a regular file is refused.
	Mode fs.FileMode
	// Size in bytes. [Write] fails when the content has another one.
	Size int64
	// Open returns the content. It may be called more than once, in turn.
	Open func() (io.ReadCloser, error)
}

// FileEntry returns an entry with the content and the mode of the file on
// disk. A symbolic link is refused, not followed: it could lead out of the
// project.
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
		what = "a folder"
	}
	return fmt.Errorf("add %q to the archive: it is %s: %w", path, what, ErrNotRegular)
}

// Write writes an archive of the entries to w, below the folder root, or at
// the top level when root is empty.
//
// The bytes depend on nothing but the arguments, and not on the order of the
// entries. These are sorted by path, belong to 0:0 and are dated mtime (to the
// second, in UTC; a zip file cannot be older than 1980 and is then dated so).
// A tar archive has an entry for each folder, with mode 0755; a zip file needs
// none.
//
// It refuses paths that [CleanPath] refuses, anything but regular files,
// and paths that are equal or differ only in case: they would overwrite each
// other on macOS and Windows.
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

// LayoutError is a path that an archive can't have.
type LayoutError struct {
	// Path that was to be added, below the archive's root.
	Path string
	// Other is the path that is in its way, or empty.
	Other string
	// Below says that Path needs a directory where Other is a file. If false,
	// Other differs from it in case at most.
	Below bool
	// Err wraps [ErrUnsafePath] or [ErrDuplicate].
	Err error
}

// Error names the paths.
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

// CheckLayout finds the paths that [Write] would refuse: those that [CleanPath]
// refuses, those that are equal or differ only in case, and those below another
// one.
func CheckLayout(paths []string) []*LayoutError {
	var errs []*LayoutError
	files := map[string]string{}
	for _, p := range paths {
		clean, err := CleanPath(p)
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

// layout checks the entries and returns a sorted copy of them, with their full
// paths and reduced modes.
func layout(root string, entries []Entry) ([]Entry, error) {
	if root != "" {
		var err error
		if root, err = CleanPath(root); err != nil {
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

// parents returns the folders above p, the outermost first.
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
				return fmt.Errorf("add folder %q: %w", dir, err)
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

// The date field of a zip file starts in 1980.
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

// copyContent copies the content of e and makes sure that it has the size that
// was announced.
func copyContent(w io.Writer, e Entry) error {
	r, err := e.Open()
	if err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	n, err := io.Copy(w, io.LimitReader(r, e.Size+1))
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.Size {
		err = fmt.Errorf("its size was given as %d bytes, and its content has another: was it changed meanwhile?", e.Size)
	}
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	return nil
}

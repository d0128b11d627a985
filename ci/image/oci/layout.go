package oci

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"dagger/gantry/ci/imagespec"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// layoutTries bounds the tries to write a layout over broken connections.
const layoutTries = 5

// WriteLayout writes an index, with all its images and the layers of their base images,
// as an OCI layout into the directory dir. Other programs find the index by the name,
// usually the version.
func WriteLayout(dir string, index v1.ImageIndex, name string) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write the OCI layout: %w", err)
	}
	// Layers of base images come from a registry, whose connection may break. A retry
	// does not read complete layers again.
	for try := 1; ; try++ {
		err := l.AppendIndex(index, layout.WithAnnotations(map[string]string{imagespec.KeyRefName: name}))
		switch {
		case err == nil:
			return nil
		case !transient(err) || try == layoutTries:
			return fmt.Errorf("write the OCI layout: %w", err)
		}
	}
}

// openLayout reads the index of an OCI layout from [WriteLayout], and verifies every
// blob.
func openLayout(dir string) (v1.ImageIndex, error) {
	index, err := readLayout(dir)
	if err != nil {
		return nil, fmt.Errorf("read the OCI layout: %w", err)
	}
	return index, nil
}

func readLayout(dir string) (v1.ImageIndex, error) {
	whole, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	im, err := whole.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	if len(im.Manifests) != 1 || !im.Manifests[0].MediaType.IsIndex() {
		return nil, fmt.Errorf("%w: it has %d entries, not one index", ErrLayout, len(im.Manifests))
	}
	files, err := layoutFiles(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		want, ok := strings.CutPrefix(name, "blobs/sha256/")
		if !ok {
			continue
		}
		got, err := hashFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		if got != want {
			return nil, fmt.Errorf("%w: blob %s has SHA-256 %s", ErrLayout, want, got)
		}
	}
	return whole.ImageIndex(im.Manifests[0].Digest)
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h, _, err := v1.SHA256(f)
	return h.Hex, err
}

// layoutName matches the names of files in a layout.
var layoutName = regexp.MustCompile(`^(oci-layout|index\.json|blobs/sha256/[0-9a-f]{64})$`)

// layoutFiles are the files of a layout, in the order of their names, as WalkDir
// has them.
func layoutFiles(dir string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		name := filepath.ToSlash(rel)
		if !d.Type().IsRegular() || !layoutName.MatchString(name) {
			return fmt.Errorf("%w: %q does not belong to it", ErrLayout, name)
		}
		names = append(names, name)
		return nil
	})
	return names, err
}

// WriteTarball writes the OCI layout in dir as a tar archive. The bytes depend only on
// the layout.
func WriteTarball(w io.Writer, dir string) error {
	names, err := layoutFiles(dir)
	if err != nil {
		return fmt.Errorf("write the OCI archive: %w", err)
	}
	t := tar.NewWriter(w)
	for _, name := range []string{"blobs/", "blobs/sha256/"} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
			return fmt.Errorf("write the OCI archive: %w", err)
		}
	}
	for _, name := range names {
		if err := addFile(t, filepath.Join(dir, filepath.FromSlash(name)), name); err != nil {
			return fmt.Errorf("write the OCI archive: %w", err)
		}
	}
	if err := t.Close(); err != nil {
		return fmt.Errorf("write the OCI archive: %w", err)
	}
	return nil
}

func addFile(t *tar.Writer, file, name string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: info.Size(), ModTime: time.Unix(0, 0)}); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}

// maxTarball bounds the unpacked size for [ReadTarball].
const maxTarball = 16 << 30

// ReadTarball unpacks a tar archive of an OCI layout from [WriteTarball] into the empty
// directory dir, reads its index, and verifies every blob.
func ReadTarball(r io.Reader, dir string) (v1.ImageIndex, error) {
	if err := unpackLayout(r, dir); err != nil {
		return nil, fmt.Errorf("read the OCI archive: %w", err)
	}
	return openLayout(dir)
}

func unpackLayout(r io.Reader, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		return err
	}
	t := tar.NewReader(r)
	left := int64(maxTarball)
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrLayout, err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir {
			continue // all needed directories exist
		}
		if h.Typeflag != tar.TypeReg || !layoutName.MatchString(name) {
			return fmt.Errorf("%w: %q does not belong to it", ErrLayout, h.Name)
		}
		if left -= h.Size; left < 0 {
			return fmt.Errorf("%w: it unpacks to more than %d bytes", ErrLayout, int64(maxTarball))
		}
		f, err := os.OpenFile(filepath.Join(dir, filepath.FromSlash(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrLayout, err)
		}
		_, err = io.Copy(f, t)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

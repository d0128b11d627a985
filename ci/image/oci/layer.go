package oci

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// directory has the attributes of a directory in a layer.
type directory struct {
	mode     int64
	uid, gid int
}

// directories lists those with permissions that a layer must keep, in distroless and
// other systems.
var directories = map[string]directory{
	"/root":         {mode: 0o700},
	"/home/nonroot": {mode: 0o700, uid: 65532, gid: 65532},
}

// blob is a compressed layer in a file.
type blob struct {
	file           string
	digest, diffID v1.Hash
	size           int64
}

func (b *blob) Digest() (v1.Hash, error)            { return b.digest, nil }
func (b *blob) DiffID() (v1.Hash, error)            { return b.diffID, nil }
func (b *blob) Size() (int64, error)                { return b.size, nil }
func (b *blob) MediaType() (types.MediaType, error) { return types.OCILayer, nil }
func (b *blob) Compressed() (io.ReadCloser, error)  { return os.Open(b.file) }

// makeLayer writes the layer with an archive's files to dir. Files have the archive's
// order, each after its directories, so that the bytes depend only on the archive and
// the manifest.
func makeLayer(ctx context.Context, source *os.File, a manifest.Asset, include map[string]string, date time.Time, dir string) (_ v1.Layer, err error) {
	wanted, err := imagespec.Items(a, include)
	if err != nil {
		return nil, err
	}
	format, err := archive.FormatOf(a.Name)
	if err != nil {
		return nil, err
	}
	out, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	compressed, plain := sha256.New(), sha256.New()
	z, err := archive.NewGzipWriter(io.MultiWriter(out, compressed))
	if err != nil {
		return nil, err
	}
	l := &layerWriter{t: tar.NewWriter(io.MultiWriter(z, plain)), date: date, dirs: map[string]bool{}}
	listed := map[string]bool{}
	for _, p := range imagespec.Paths(a) {
		listed[p] = true
	}
	err = archive.Walk(source, a.Size, format, archive.Limits{}, func(f archive.File, r io.Reader) error {
		if !listed[f.Path] {
			return fmt.Errorf("file %q %w: it is not listed in %s", f.Path, published.ErrMismatch, manifest.FileName)
		}
		delete(listed, f.Path)
		return l.copy(f, &ctxReader{ctx, r}, wanted[f.Path])
	})
	if err != nil {
		return nil, fmt.Errorf("unpack archive %q: %w", a.Name, err)
	}
	if len(listed) > 0 {
		return nil, fmt.Errorf("unpack archive %q: it %w: it lacks file %q, which is listed in %s", a.Name, published.ErrMismatch, sortedKeys(listed)[0], manifest.FileName)
	}
	if err := errors.Join(l.t.Close(), z.Close()); err != nil {
		return nil, err
	}
	size, err := out.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	return partial.CompressedToLayer(&blob{file: out.Name(), digest: sum(compressed), diffID: sum(plain), size: size})
}

func sum(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

// ctxReader fails when its context ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

type layerWriter struct {
	t    *tar.Writer
	date time.Time
	dirs map[string]bool
}

// copy writes a file to its first place, and hard links to the others.
func (l *layerWriter) copy(f archive.File, r io.Reader, to []imagespec.Item) error {
	for n, i := range to {
		if err := l.parents(i.Dest); err != nil {
			return err
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(i.Dest, "/"), Mode: i.Mode, Size: f.Size, ModTime: l.date}
		if n > 0 {
			h.Typeflag, h.Size, h.Linkname = tar.TypeLink, 0, strings.TrimPrefix(to[0].Dest, "/")
		}
		if err := l.t.WriteHeader(h); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		digest := sha256.New()
		if _, err := io.Copy(io.MultiWriter(l.t, digest), io.LimitReader(r, f.Size)); err != nil {
			return err
		}
		if got := hex.EncodeToString(digest.Sum(nil)); got != i.SHA256 {
			return fmt.Errorf("file %q %w: it has SHA-256 %s, but %s lists %s", f.Path, published.ErrMismatch, got, manifest.FileName, i.SHA256)
		}
	}
	return nil
}

// parents writes the missing entries of the directories above dest: some runtimes make
// directories without an entry unreadable for other users.
func (l *layerWriter) parents(dest string) error {
	var missing []string
	for dir := path.Dir(dest); dir != "/" && !l.dirs[dir]; dir = path.Dir(dir) {
		missing = append(missing, dir)
	}
	slices.Reverse(missing)
	for _, dir := range missing {
		l.dirs[dir] = true
		attr, ok := directories[dir]
		if !ok {
			attr = directory{mode: 0o755}
		}
		h := &tar.Header{Typeflag: tar.TypeDir, Name: strings.TrimPrefix(dir, "/") + "/", Mode: attr.mode, Uid: attr.uid, Gid: attr.gid, ModTime: l.date}
		if err := l.t.WriteHeader(h); err != nil {
			return err
		}
	}
	return nil
}

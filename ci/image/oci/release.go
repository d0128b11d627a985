package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
)

// Release is a published release whose manifest and checksums agree.
type Release struct {
	// Manifest of the release.
	Manifest *manifest.Manifest
	// ManifestSHA256 is the digest of the manifest's file, in hexadecimal.
	ManifestSHA256 string
	// Override are image settings that replace the manifest's own, as JSON; empty
	// when there are none. Manifest has them applied, and the image's annotations
	// name them.
	Override string

	assets Assets
}

// maxSums bounds the checksum file: 1000 assets, with names of 255 bytes.
const maxSums = 1 << 20

// Load reads the manifest and the checksums of a release and compares them. It
// reads no other asset.
func Load(ctx context.Context, assets Assets) (*Release, error) {
	sumsText, err := readAsset(ctx, assets, manifest.SumsName, maxSums)
	if err != nil {
		return nil, err
	}
	text, err := readAsset(ctx, assets, manifest.FileName, manifest.MaxSize)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{manifest.SumsName: sumsText, manifest.FileName: text} {
		if isPage(content) {
			return nil, fmt.Errorf("read asset %q: %w: it is an HTML page, of a login or an error: check the token and try again", name, ErrMismatch)
		}
	}
	sums, err := archive.ParseSums(sumsText)
	if err != nil {
		return nil, fmt.Errorf("read asset %q: %w: %w", manifest.SumsName, ErrMismatch, err)
	}
	digest := sha256.Sum256(text)
	r := &Release{ManifestSHA256: hex.EncodeToString(digest[:]), assets: assets}
	if sum, found := sums[manifest.FileName]; !found || sum != r.ManifestSHA256 {
		return nil, fmt.Errorf("read asset %q: %w: its SHA-256 is %s, and %s says %q", manifest.FileName, ErrMismatch, r.ManifestSHA256, manifest.SumsName, sum)
	}
	if r.Manifest, err = manifest.Parse(text); err != nil {
		return nil, err
	}
	delete(sums, manifest.FileName)
	for _, a := range r.Manifest.Assets {
		if sum := sums[a.Name]; sum != a.SHA256 {
			return nil, fmt.Errorf("compare asset %q: %w: %s says %q, and %s %q", a.Name, ErrMismatch, manifest.FileName, a.SHA256, manifest.SumsName, sum)
		}
		delete(sums, a.Name)
	}
	for name := range sums {
		return nil, fmt.Errorf("compare asset %q: %w: %s has it, and %s has not", name, ErrMismatch, manifest.SumsName, manifest.FileName)
	}
	return r, nil
}

// Version of the release.
func (r *Release) Version() *semver.Version { return semver.MustParse(r.Manifest.Version) }

// ExactTag is the tag of the version in image repositories.
func (r *Release) ExactTag() string { return r.Manifest.Image.TagOptions().Exact(r.Version()) }

// date is the commit date, which a manifest that was parsed has.
func (r *Release) date() time.Time {
	t, err := time.Parse(time.RFC3339, r.Manifest.CommitDate)
	if err != nil {
		return time.Unix(0, 0).UTC()
	}
	return t.UTC()
}

// isPage recognises a web page where an asset should be.
func isPage(content []byte) bool {
	head := bytes.ToLower(bytes.TrimSpace(content[:min(len(content), 512)]))
	return bytes.HasPrefix(head, []byte("<!doctype")) || bytes.HasPrefix(head, []byte("<html"))
}

func openAsset(ctx context.Context, assets Assets, name string, limit int64) (io.ReadCloser, error) {
	content, size, err := assets.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read asset %q: %w", name, err)
	}
	if size > limit {
		return nil, errors.Join(fmt.Errorf("read asset %q: %w: it has %d bytes, more than %d", name, ErrMismatch, size, limit), content.Close())
	}
	return content, nil
}

func readAsset(ctx context.Context, assets Assets, name string, limit int64) ([]byte, error) {
	content, err := openAsset(ctx, assets, name, limit)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, fmt.Errorf("read asset %q: %w", name, err)
	}
	if int64(len(text)) > limit {
		return nil, fmt.Errorf("read asset %q: %w: it has more than %d bytes", name, ErrMismatch, limit)
	}
	return text, nil
}

// fetch copies an asset into a file of dir and makes sure that it is the one
// the manifest names.
func (r *Release) fetch(ctx context.Context, a manifest.Asset, dir string) (_ *os.File, err error) {
	content, err := openAsset(ctx, r.assets, a.Name, a.Size)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	f, err := os.CreateTemp(dir, "asset-")
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, discard(f))
		}
	}()
	h := sha256.New()
	head := &prefix{}
	n, err := io.Copy(io.MultiWriter(f, h, head), &ctxReader{ctx, io.LimitReader(content, a.Size+1)})
	if err != nil {
		return nil, fmt.Errorf("read asset %q: %w", a.Name, err)
	}
	got := hex.EncodeToString(h.Sum(nil))
	switch {
	case isPage(head.text):
		return nil, fmt.Errorf("read asset %q: %w: it is an HTML page, of a login or an error: check the token and try again", a.Name, ErrMismatch)
	case n != a.Size:
		return nil, fmt.Errorf("read asset %q: %w: it does not have the %d bytes of %s: was the download cut off?", a.Name, ErrMismatch, a.Size, manifest.FileName)
	case got != a.SHA256:
		return nil, fmt.Errorf("read asset %q: %w: its SHA-256 is %s, and %s says %s", a.Name, ErrMismatch, got, manifest.FileName, a.SHA256)
	}
	return f, nil
}

// discard closes and removes a temporary file.
func discard(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }

// prefix keeps the first bytes that are written.
type prefix struct{ text []byte }

func (p *prefix) Write(b []byte) (int, error) {
	if room := 512 - len(p.text); room > 0 {
		p.text = append(p.text, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// ctxReader ends when the context does.
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

package published

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// ErrMismatch reports that the files of a release disagree. A failed read is
// another error.
var ErrMismatch = errors.New("does not match the release")

// AssetError reports what is wrong with an asset of a release. It wraps
// [ErrMismatch].
type AssetError struct {
	Name string
	// Err completes a sentence that starts with the asset's name.
	Err error
}

// Error names the asset.
func (e *AssetError) Error() string { return fmt.Sprintf("asset %q %v", e.Name, e.Err) }

// Unwrap returns the reason and [ErrMismatch].
func (e *AssetError) Unwrap() []error { return []error{e.Err, ErrMismatch} }

func wrong(name, format string, args ...any) error {
	return &AssetError{Name: name, Err: fmt.Errorf(format, args...)}
}

// errMissing reports an asset that the release confirmably lacks.
var errMissing = errors.New("is missing")

// Assets opens the files of a release.
type Assets interface {
	// Open returns the content of an asset and its size, or -1 for an unknown
	// size. The caller closes the content. Errors, those of reading included, name
	// the asset.
	Open(ctx context.Context, name string) (io.ReadCloser, int64, error)
}

// Dir is a directory with the files of a release.
type Dir string

// Open opens a file of the directory.
func (d Dir) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &AssetError{name, errMissing}
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = wrong(name, "is not a regular file")
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// remote opens the assets of a release on GitHub.
type remote struct {
	client      *github.Client
	owner, name string
	assets      []github.RemoteAsset
}

// find returns an asset by name. An unfinished upload doesn't count.
func (r *remote) find(name string) (github.RemoteAsset, bool) {
	i := slices.IndexFunc(r.assets, func(a github.RemoteAsset) bool { return a.Name == name && a.State == "uploaded" })
	if i < 0 {
		return github.RemoteAsset{}, false
	}
	return r.assets[i], true
}

// missing quotes the names of the manifest's assets that the release lacks.
func (r *remote) missing(m *manifest.Manifest) []string {
	var names []string
	for _, a := range m.Assets {
		if _, found := r.find(a.Name); !found {
			names = append(names, fmt.Sprintf("%q", a.Name))
		}
	}
	return names
}

// Open downloads an asset and compares it with the digest that GitHub knows.
func (r *remote) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	a, found := r.find(name)
	if !found {
		return nil, 0, &AssetError{name, errMissing}
	}
	body, err := r.client.Download(ctx, r.owner, r.name, a)
	return body, a.Size, err
}

// maxSums bounds SHA256SUMS: 1000 assets with names of 255 bytes fit.
const maxSums = 1 << 20

// Load reads the manifest and SHA256SUMS of a release and compares them. Other
// assets are read by [Release.Copy] and [Release.Fetch].
func Load(ctx context.Context, assets Assets) (*Release, error) {
	r, err := load(ctx, assets)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// load is [Load], but also returns the release if the manifest and SHA256SUMS list
// different assets.
func load(ctx context.Context, assets Assets) (*Release, error) {
	text, err := read(ctx, assets, manifest.SumsName, maxSums)
	if err != nil {
		return nil, err
	}
	sums, err := archive.ParseSums(text)
	if err != nil {
		return nil, wrong(manifest.SumsName, "is invalid: %w", err)
	}
	sumsText := text
	if text, err = read(ctx, assets, manifest.FileName, manifest.MaxSize); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(text)
	r := &Release{ManifestSHA256: hex.EncodeToString(digest[:]), assets: assets, sums: sumsText}
	switch listed, found := sums[manifest.FileName]; {
	case !found:
		return nil, wrong(manifest.FileName, "is not listed in %s", manifest.SumsName)
	case listed != r.ManifestSHA256:
		return nil, wrong(manifest.FileName, "has SHA-256 %s, but %s lists %s", r.ManifestSHA256, manifest.SumsName, listed)
	}
	if r.Manifest, err = parse(text); err != nil {
		return nil, err
	}
	return r, compare(r.Manifest, sums)
}

func parse(text []byte) (*manifest.Manifest, error) {
	m, err := manifest.Parse(text)
	if err != nil {
		return nil, wrong(manifest.FileName, "is invalid: %w", err)
	}
	return m, nil
}

// compare reports every asset that the manifest and SHA256SUMS disagree on.
func compare(m *manifest.Manifest, sums archive.Sums) error {
	var errs []error
	for _, a := range m.Assets {
		switch listed, found := sums[a.Name]; {
		case !found:
			errs = append(errs, wrong(a.Name, "is not listed in %s", manifest.SumsName))
		case listed != a.SHA256:
			errs = append(errs, wrong(a.Name, "has SHA-256 %s in %s, but %s in %s", listed, manifest.SumsName, a.SHA256, manifest.FileName))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		if _, found := m.AssetByName(name); !found && name != manifest.FileName {
			errs = append(errs, wrong(name, "is listed in %s, but not in %s", manifest.SumsName, manifest.FileName))
		}
	}
	return errors.Join(errs...)
}

// read returns the content of an asset of at most limit bytes.
func read(ctx context.Context, assets Assets, name string, limit int64) ([]byte, error) {
	content, size, err := assets.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, errors.Join(wrong(name, "has %d bytes, more than %d", size, limit), content.Close())
	}
	text, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err := errors.Join(err, content.Close()); err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, wrong(name, "has more than %d bytes", limit)
	}
	return text, notPage(name, text)
}

// Copy writes an asset to w. It fails unless the size and the digest are those of
// the manifest.
func (r *Release) Copy(ctx context.Context, a manifest.Asset, w io.Writer) error {
	content, size, err := r.assets.Open(ctx, a.Name)
	if err != nil {
		return err
	}
	defer content.Close()
	if size > a.Size { // a smaller one may be a page
		return sizeError(a, size)
	}
	h, start := sha256.New(), &head{}
	n, err := io.Copy(io.MultiWriter(w, h, start), io.LimitReader(content, a.Size+1))
	if err != nil {
		return err
	}
	if err := notPage(a.Name, start.text); err != nil {
		return err
	}
	if n != a.Size {
		return sizeError(a, n)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != a.SHA256 {
		return wrong(a.Name, "has SHA-256 %s, but %s lists %s", got, manifest.FileName, a.SHA256)
	}
	return nil
}

func sizeError(a manifest.Asset, got int64) error {
	if got > a.Size {
		return wrong(a.Name, "has more than the %d bytes that %s lists", a.Size, manifest.FileName)
	}
	return wrong(a.Name, "has %d bytes, but %s lists %d: it may be cut off", got, manifest.FileName, a.Size)
}

// Fetch copies an asset to a temporary file in dir, which is gone when the caller
// closes it.
func (r *Release) Fetch(ctx context.Context, a manifest.Asset, dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "asset-")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), r.Copy(ctx, a, f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// headSize is how much of an asset shows whether it is an HTML page.
const headSize = 512

// notPage reports an HTML page in place of an asset.
func notPage(name string, content []byte) error {
	start := bytes.ToLower(bytes.TrimSpace(content[:min(len(content), headSize)]))
	if bytes.HasPrefix(start, []byte("<!doctype")) || bytes.HasPrefix(start, []byte("<html")) {
		return wrong(name, "is an HTML page, probably of a login or an error: check the token and retry")
	}
	return nil
}

// head keeps the first bytes that are written.
type head struct{ text []byte }

func (h *head) Write(p []byte) (int, error) {
	if room := headSize - len(h.text); room > 0 {
		h.text = append(h.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

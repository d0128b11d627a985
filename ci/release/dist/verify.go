package dist

import (
	"bytes"
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
	"sort"
	"strconv"
	"strings"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
)

// Read reads the manifest of a folder of release files, and checks that every
// file it names is there, with its size and digest, and that SHA256SUMS says
// the same of the same files.
func Read(dir string) (*manifest.Manifest, error) {
	text, err := os.ReadFile(filepath.Join(dir, manifest.FileName))
	if err != nil {
		return nil, fmt.Errorf("read the files of a release: %w", err)
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", manifest.FileName, err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, manifest.SumsName))
	if err != nil {
		return nil, fmt.Errorf("read the files of a release: %w", err)
	}
	if err := CheckSums(sums, text, m); err != nil {
		return nil, err
	}
	var errs []error
	for _, want := range m.Assets {
		got, err := Measure(filepath.Join(dir, want.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("asset %q is missing", want.Name))
		case err != nil:
			errs = append(errs, err)
		case got.SHA256 != want.SHA256 || got.Size != want.Size:
			errs = append(errs, fmt.Errorf("asset %q has %d bytes of sha256 %s, but %s says %d bytes of %s", want.Name, got.Size, got.SHA256, manifest.FileName, want.Size, want.SHA256))
		}
	}
	return m, errors.Join(errs...)
}

// CheckSums compares SHA256SUMS with the manifest: the same files, the same
// digests.
func CheckSums(sums, text []byte, m *manifest.Manifest) error {
	listed, err := archive.ParseSums(sums)
	if err != nil {
		return fmt.Errorf("read %s: %w", manifest.SumsName, err)
	}
	want := archive.Sums{}
	digest := sha256.Sum256(text)
	want[manifest.FileName] = hex.EncodeToString(digest[:])
	for _, a := range m.Assets {
		want[a.Name] = a.SHA256
	}
	if maps.Equal(listed, want) {
		return nil
	}
	var errs []error
	names := map[string]bool{}
	for name := range listed {
		names[name] = true
	}
	for name := range want {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if listed[name] != want[name] {
			errs = append(errs, fmt.Errorf("%s has %q for %q, but %s has %q", manifest.SumsName, listed[name], name, manifest.FileName, want[name]))
		}
	}
	return errors.Join(errs...)
}

// CheckArchive compares what is in an archive with what the manifest says of
// it: every file, its digest, size and mode, and nothing else.
func CheckArchive(r io.ReaderAt, asset manifest.Asset) error {
	type content struct {
		sha256, mode string
		size         int64
	}
	want := map[string]content{}
	for _, b := range asset.Binaries {
		want[b.Path] = content{b.SHA256, "0755", b.Size}
	}
	for _, f := range asset.Files {
		want[f.Path] = content{f.SHA256, f.Mode, f.Size}
	}
	format, err := archive.FormatOf(asset.Name)
	if err != nil {
		return err
	}
	var errs []error
	err = archive.Walk(r, asset.Size, format, archive.Limits{}, func(f archive.File, body io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, body)
		if err != nil {
			return err
		}
		got := content{hex.EncodeToString(h.Sum(nil)), fmt.Sprintf("%04o", f.Mode.Perm()), n}
		expected, known := want[f.Path]
		delete(want, f.Path)
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("archive %q has %q, of which the manifest says nothing", asset.Name, f.Path))
		case got != expected:
			errs = append(errs, fmt.Errorf("archive %q: %q has %d bytes of sha256 %s and mode %s, but the manifest says %d bytes of %s and %s",
				asset.Name, f.Path, got.size, got.sha256, got.mode, expected.size, expected.sha256, expected.mode))
		}
		return nil
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("read archive %q: %w", asset.Name, err))
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		errs = append(errs, fmt.Errorf("archive %q lacks %q", asset.Name, path))
	}
	return errors.Join(errs...)
}

// Merge makes one folder of release files out of several, each of which was
// built for some of the targets, as on the runners of a CI's matrix. They may
// be anywhere below from. They must agree in everything but their archives.
func Merge(from, to string) (*manifest.Manifest, error) {
	var parts []string
	unknown := map[string]bool{}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == manifest.FileName {
			parts = append(parts, filepath.Dir(path))
		}
		if err == nil && !d.IsDir() {
			unknown[path] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(parts) == 0 {
		return nil, fmt.Errorf("the dist has no %s, at its top or below: pass what the function dist made", manifest.FileName)
	}
	sort.Strings(parts)
	var merged *manifest.Manifest
	have := map[string]string{} // asset → sha256
	for _, part := range parts {
		m, err := Read(part)
		if err != nil {
			return nil, err
		}
		assets := m.Assets
		for _, name := range []string{manifest.FileName, manifest.SumsName} {
			delete(unknown, filepath.Join(part, name))
		}
		if merged == nil {
			merged = m
			merged.Assets = nil
		} else if err := sameBuild(merged, m); err != nil {
			return nil, err
		}
		for _, a := range assets {
			delete(unknown, filepath.Join(part, a.Name))
			if sha, twice := have[a.Name]; twice {
				if sha != a.SHA256 {
					return nil, fmt.Errorf("asset %q was built twice with different bytes (sha256 %s and %s): the runners do not have the same toolchain", a.Name, sha, a.SHA256)
				}
				continue
			}
			have[a.Name] = a.SHA256
			merged.Assets = append(merged.Assets, a)
			if err := copyFile(filepath.Join(part, a.Name), filepath.Join(to, a.Name)); err != nil {
				return nil, err
			}
		}
	}
	if len(unknown) > 0 {
		var names []string
		for path := range unknown {
			name, err := filepath.Rel(from, path)
			if err != nil {
				return nil, err
			}
			names = append(names, strconv.Quote(filepath.ToSlash(name)))
		}
		sort.Strings(names)
		return nil, fmt.Errorf("the dist has %s, which no %s lists and which would not be released: remove it, or pack it into the archives with include in [workspace.metadata.gantry]", strings.Join(names, ", "), manifest.FileName)
	}
	return merged, Seal(to, merged)
}

// sameBuild says whether two manifests differ in their assets alone.
func sameBuild(a, b *manifest.Manifest) error {
	x, y := *a, *b
	// Any assets will do, as long as they are the same.
	x.Assets, y.Assets = b.Assets, b.Assets
	left, err := x.Marshal()
	if err != nil {
		return err
	}
	right, err := y.Marshal()
	if err != nil {
		return err
	}
	if !bytes.Equal(left, right) {
		return fmt.Errorf("the parts of the dist were not built alike: one is %s at %s with %s, another %s at %s with %s",
			a.Tag, a.Commit, a.Toolchain.Rustc, b.Tag, b.Commit, b.Toolchain.Rustc)
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

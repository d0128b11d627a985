package dist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// Merge writes the release files in from, verified, to the directory to. They may
// be in several parts, each in a subdirectory and built for some of the targets,
// as on the runners of a CI's matrix. Parts may differ only in their assets.
func Merge(ctx context.Context, from, to string) (*manifest.Manifest, error) {
	parts, err := findParts(from)
	if err != nil {
		return nil, err
	}
	m := &merger{to: to, listed: map[string]bool{}}
	for _, part := range parts {
		if err := m.add(ctx, part); err != nil {
			return nil, err
		}
	}
	if err := m.checkListed(from); err != nil {
		return nil, err
	}
	return m.merged, seal(to, m.merged)
}

// findParts returns the directories in from that have a manifest, sorted.
func findParts(from string) ([]string, error) {
	var parts []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == manifest.FileName {
			parts = append(parts, filepath.Dir(path))
		}
		return err
	})
	if err == nil && len(parts) == 0 {
		err = fmt.Errorf("the dist has no %s, at its top or below: pass what the function dist made", manifest.FileName)
	}
	return parts, err
}

// merger collects the parts of a release.
type merger struct {
	to     string
	merged *manifest.Manifest
	// listed has the files of the parts that their manifests list.
	listed map[string]bool
}

// add verifies the assets of a part, and copies those that are new.
func (m *merger) add(ctx context.Context, part string) error {
	r, err := published.Load(ctx, published.Dir(part))
	if err != nil {
		return err
	}
	assets := r.Manifest.Assets
	if m.merged == nil {
		m.merged = r.Manifest
		m.merged.Assets = nil
	} else if err := sameBuild(m.merged, r.Manifest); err != nil {
		return err
	}
	m.listed[filepath.Join(part, manifest.FileName)], m.listed[filepath.Join(part, manifest.SumsName)] = true, true
	var errs []error
	for _, a := range assets {
		m.listed[filepath.Join(part, a.Name)] = true
		other, found := m.merged.AssetByName(a.Name)
		switch {
		case !found:
			m.merged.Assets = append(m.merged.Assets, a)
			errs = append(errs, m.copy(ctx, r, a))
		case other.SHA256 != a.SHA256:
			errs = append(errs, fmt.Errorf("asset %q was built twice with different bytes (SHA-256 %s and %s): the runners do not have the same toolchain", a.Name, other.SHA256, a.SHA256))
		default:
			errs = append(errs, r.Copy(ctx, a, io.Discard))
		}
	}
	return errors.Join(errs...)
}

func (m *merger) copy(ctx context.Context, r *published.Release, a manifest.Asset) error {
	out, err := os.Create(filepath.Join(m.to, a.Name))
	if err != nil {
		return err
	}
	return errors.Join(r.Copy(ctx, a, out), out.Close())
}

// checkListed refuses files that no manifest lists.
func (m *merger) checkListed(from string) error {
	var names []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || m.listed[path] {
			return err
		}
		name, err := filepath.Rel(from, path)
		names = append(names, strconv.Quote(filepath.ToSlash(name)))
		return err
	})
	if err != nil || len(names) == 0 {
		return err
	}
	return fmt.Errorf("the dist has %s, which no %s lists and which would not be released: remove it, or pack it into the archives with include in [workspace.metadata.gantry]", strings.Join(names, ", "), manifest.FileName)
}

// sameBuild refuses manifests that differ in more than their assets.
func sameBuild(a, b *manifest.Manifest) error {
	x, y := *a, *b
	x.Assets, y.Assets = b.Assets, b.Assets // any valid assets
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

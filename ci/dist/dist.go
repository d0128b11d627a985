// Package dist turns compiled binaries into the files of a release: archives,
// SHA256SUMS, CHANGELOG.md and release-manifest.json.
//
// It is pure but for the folder it reads from and the one it writes to. It
// keeps two invariants: a binary that is not what its target asks for never
// gets into an archive, and the bytes written depend on the input alone.
package dist

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/plan"
)

// Built are the binaries of one target.
type Built struct {
	Build plan.Build
	// Files on disk, in the order of the build's Bins.
	Files []string
}

// Input of [Assemble].
type Input struct {
	Plan      *plan.Plan
	Toolchain manifest.Toolchain
	Built     []Built
	// ExtraDir is the folder that the plan's extra files are in, each at its
	// path in the source.
	ExtraDir string
	// Changelog is the text of CHANGELOG.md.
	Changelog []byte
}

// Inspect checks the binaries of a target: format, architecture, linkage and
// glibc floor. All that is wrong is in the error.
func Inspect(b Built) ([]binary.Facts, error) {
	var all []binary.Facts
	var errs []error
	for i, file := range b.Files {
		facts, err := inspect(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("binary %q of target %q: %w", b.Build.Bins[i].Name, b.Build.Target.Triple, err))
			continue
		}
		all = append(all, facts)
		for _, problem := range binary.Check(facts, want(b.Build, b.Build.Bins[i].Name)) {
			errs = append(errs, problem)
		}
	}
	return all, errors.Join(errs...)
}

func want(b plan.Build, name string) binary.Want {
	t := b.Target
	return binary.Want{Binary: name, Target: t.Triple, Arch: t.Arch, OS: t.OS, Libc: t.Libc, MaxGlibc: b.MaxGlibc}
}

func inspect(file string) (binary.Facts, error) {
	f, err := os.Open(file)
	if err != nil {
		return binary.Facts{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return binary.Facts{}, err
	}
	return binary.Inspect(f, info.Size())
}

// Assemble writes the files of a release into dir.
func Assemble(dir string, in Input) (*manifest.Manifest, error) {
	p := in.Plan
	m := &manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: p.Component, Tag: p.Tag, Version: p.Version, Channel: p.Channel,
		Commit: p.Commit, CommitDate: p.CommitDate, PreviousTag: p.PreviousTag, Repository: p.Repository,
		Toolchain: in.Toolchain, Image: p.Image(),
	}
	p.Describe(m)
	mtime, err := time.Parse(time.RFC3339, p.CommitDate)
	if err != nil {
		return nil, fmt.Errorf("read the commit date %q: %w", p.CommitDate, err)
	}
	changelog := filepath.Join(dir, manifest.ChangelogName)
	if err := os.WriteFile(changelog, in.Changelog, 0o644); err != nil {
		return nil, err
	}
	asset, err := Measure(changelog)
	if err != nil {
		return nil, err
	}
	asset.Kind = manifest.KindChangelog
	m.Assets = append(m.Assets, asset)
	for _, built := range in.Built {
		name, err := p.Archive(built.Build.Target.Triple)
		if err != nil {
			return nil, err
		}
		asset, err := pack(dir, in, name, built, mtime)
		if err != nil {
			return nil, err
		}
		m.Assets = append(m.Assets, asset)
	}
	return m, Seal(dir, m)
}

// Seal writes release-manifest.json and then SHA256SUMS, which covers it.
func Seal(dir string, m *manifest.Manifest) error {
	text, err := m.Marshal()
	if err != nil {
		return fmt.Errorf("write %s: %w", manifest.FileName, err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), text, 0o644); err != nil {
		return err
	}
	sums := archive.Sums{}
	digest := sha256.Sum256(text)
	if err := sums.Add(manifest.FileName, hex.EncodeToString(digest[:])); err != nil {
		return err
	}
	for _, a := range m.Assets {
		if err := sums.Add(a.Name, a.SHA256); err != nil {
			return err
		}
	}
	lines, err := sums.Format()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifest.SumsName), lines, 0o644)
}

// pack writes the archive of one target.
func pack(dir string, in Input, name string, built Built, mtime time.Time) (manifest.Asset, error) {
	facts, err := Inspect(built)
	if err != nil {
		return manifest.Asset{}, err
	}
	t := built.Build.Target
	format, err := archive.FormatOf(name)
	if err != nil {
		return manifest.Asset{}, err
	}
	root := name[:len(name)-len(format.Ext())]
	var entries []archive.Entry
	asset := manifest.Asset{}
	for i, file := range built.Files {
		bin := built.Build.Bins[i]
		entry, err := archive.FileEntry(bin.Name+t.ExeSuffix, file)
		if err != nil {
			return manifest.Asset{}, err
		}
		entry.Mode = 0o755
		entries = append(entries, entry)
		measured, err := Measure(file)
		if err != nil {
			return manifest.Asset{}, err
		}
		f := facts[i]
		asset.Binaries = append(asset.Binaries, manifest.Binary{
			Name: bin.Name, Package: bin.Package, Path: root + "/" + entry.Path, SHA256: measured.SHA256, Size: measured.Size,
			Format: string(f.Format), Arch: f.Arch, Linkage: string(f.Linkage), Interpreter: f.Interpreter,
			GlibcFloor: f.GlibcFloor, Needed: f.Needed,
		})
	}
	for _, extra := range in.Plan.Extra {
		file := filepath.Join(in.ExtraDir, filepath.FromSlash(extra.Source))
		entry, err := archive.FileEntry(extra.Path, file)
		if err != nil {
			return manifest.Asset{}, err
		}
		entries = append(entries, entry)
		measured, err := Measure(file)
		if err != nil {
			return manifest.Asset{}, err
		}
		mode := int64(0o644)
		if entry.Mode&0o111 != 0 {
			mode = 0o755
		}
		asset.Files = append(asset.Files, manifest.File{
			Path: root + "/" + extra.Path, SHA256: measured.SHA256, Size: measured.Size, Mode: "0" + strconv.FormatInt(mode, 8),
		})
	}
	out, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return manifest.Asset{}, err
	}
	if err := errors.Join(archive.Write(out, format, root, mtime, entries), out.Close()); err != nil {
		return manifest.Asset{}, fmt.Errorf("write archive %q: %w", name, err)
	}
	measured, err := Measure(filepath.Join(dir, name))
	if err != nil {
		return manifest.Asset{}, err
	}
	asset.Name, asset.Kind, asset.Target = name, manifest.KindArchive, t.Triple
	asset.SHA256, asset.Size = measured.SHA256, measured.Size
	return asset, nil
}

// Measure is name, digest and size of a file.
func Measure(file string) (manifest.Asset, error) {
	f, err := os.Open(file)
	if err != nil {
		return manifest.Asset{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return manifest.Asset{}, err
	}
	return manifest.Asset{Name: filepath.Base(file), SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, nil
}

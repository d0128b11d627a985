// Package dist turns compiled binaries into the files of a release: archives,
// SHA256SUMS, CHANGELOG.md and release-manifest.json.
//
// It is pure except for the directories it reads and writes. It keeps two invariants:
// a binary that doesn't fit its target never gets into an archive, and the written
// bytes depend only on the input.
package dist

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
)

// Input of [Assemble]. It is plain data, since packing runs as a separate program
// ([Main]), in another container than the planning.
type Input struct {
	// Manifest of the release, without its assets.
	Manifest manifest.Manifest
	Targets  []Target
	// Extra files of every archive.
	Extra []plan.Extra
	// ExtraDir is the directory that has them, each at its path in the source.
	ExtraDir string
	// Own has the paths of the manifests of the project's packages, whose licenses are not
	// those of others.
	Own []string
	// Changelog is the file that becomes CHANGELOG.md.
	Changelog string
}

// Target has the binaries of one target.
type Target struct {
	// Want are the requirements on its binaries; Want.Binary is not used.
	Want binary.Requirements
	// Archive is the file name of the archive.
	Archive string
	// SBOM and SPDX are the file names of its bills of materials, in CycloneDX and in SPDX;
	// empty for none.
	SBOM, SPDX string
	// Notices adds the licenses of the crates to the archive, and Auditable the list of
	// crates to the binaries.
	Notices, Auditable bool
	// CratesDir has what the build kept about its crates (see
	// ci/release/toolchain/bill.sh).
	CratesDir string
	// crates are read from there.
	crates []cargo.Crate
	// Elsewhere is true if the binaries were not built here.
	Elsewhere bool
	Binaries  []Binary
}

// Binary that Cargo built.
type Binary struct {
	// Name of the file, such as "tool.exe".
	Name string
	// Bin is its name in Cargo, and Package its package.
	Bin, Package string
	// File on disk.
	File string
	// Run is a file on disk with its output (see [checkRun]), or empty if it could
	// not run.
	Run string
	// Version that a binary which was not built here must have; empty for any.
	Version string
}

// NewTarget describes a build whose binaries are in files, in the order of its
// Bins.
func NewTarget(b plan.Build, files []string) Target {
	t := b.Target
	out := Target{Want: binary.Requirements{Target: t.Triple, Format: binary.Format(t.Format), Arch: t.Arch, OS: t.OS, Libc: t.Libc, MaxGlibc: b.MaxGlibc}}
	for i, bin := range b.Bins {
		out.Binaries = append(out.Binaries, Binary{Name: bin.Name + t.ExeSuffix, Bin: bin.Name, Package: bin.Package, File: files[i]})
	}
	return out
}

// NewInput describes the release of a plan, with archives of built targets.
func NewInput(p *plan.Plan, toolchain manifest.Toolchain, built []Target) (Input, error) {
	in := Input{Manifest: p.Manifest(toolchain), Extra: p.Extra, Own: p.Manifests}
	for _, t := range built {
		planned, err := p.Target(t.Want.Target)
		if err != nil {
			return Input{}, err
		}
		t.Archive, t.SBOM, t.SPDX = planned.Archive, planned.SBOM, planned.SPDX
		t.Notices, t.Auditable = planned.Notices, planned.Auditable
		in.Targets = append(in.Targets, t)
	}
	return in, nil
}

// Inspect checks the binaries of a target: format, architecture, linkage, glibc
// floor, how they ran, and the version of those that were not built here. The error has
// every problem.
func Inspect(t Target) ([]binary.Facts, error) {
	var all []binary.Facts
	var errs []error
	for _, bin := range t.Binaries {
		facts, err := readFile(bin.File, binary.Inspect)
		if err != nil {
			errs = append(errs, fmt.Errorf("binary %q of target %q: %w", bin.Name, t.Want.Target, err))
			continue
		}
		all = append(all, facts)
		want := t.Want
		want.Binary = bin.Name
		problems := binary.Check(facts, want)
		errs = append(errs, problems...)
		if t.Elsewhere {
			// A file of another target is reported as such.
			if bin.Version != "" && len(problems) == 0 {
				errs = append(errs, checkVersion(t.Want.Target, bin))
			}
			continue
		}
		if bin.Run == "" {
			continue
		}
		run, err := os.ReadFile(bin.Run)
		if err == nil {
			err = checkRun(bin.Bin, t.Want.Target, string(run))
		}
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// readFile calls a function that reads a file of a size.
func readFile[T any](name string, read func(io.ReaderAt, int64) (T, error)) (T, error) {
	f, err := os.Open(name)
	if err != nil {
		return *new(T), err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return *new(T), err
	}
	return read(f, info.Size())
}

// Assemble writes the files of a release into dir. If the project configures an
// image, it refuses binaries that phase 2 could not make one of. It calls warn with
// problems that may not matter.
func Assemble(dir string, in Input, warn func(string)) (*manifest.Manifest, error) {
	m := in.Manifest
	mtime, err := time.Parse(time.RFC3339, m.CommitDate)
	if err != nil {
		return nil, fmt.Errorf("read the commit date %q: %w", m.CommitDate, err)
	}
	changelog, err := copyFile(in.Changelog, filepath.Join(dir, manifest.ChangelogName), manifest.KindChangelog)
	if err != nil {
		return nil, err
	}
	m.Assets = []manifest.Asset{changelog}
	work, err := os.MkdirTemp("", "gantry-dist-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	if in.Targets, err = withCrates(in.Targets); err != nil {
		return nil, err
	}
	if in.Targets, err = addLists(work, in.Targets); err != nil {
		return nil, err
	}
	facts := make([][]binary.Facts, len(in.Targets))
	errs := make([]error, len(in.Targets))
	for i, t := range in.Targets {
		facts[i], errs[i] = Inspect(t)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for i, t := range in.Targets {
		warnOfLibraries(t, facts[i], warn)
		asset, err := pack(dir, in, t, facts[i], mtime)
		if err != nil {
			return nil, err
		}
		m.Assets = append(m.Assets, asset)
		if t.SBOM == "" {
			continue
		}
		bills, err := writeSBOMs(dir, &m, t, asset)
		if err != nil {
			return nil, err
		}
		m.Assets = append(m.Assets, bills...)
	}
	warnings, err := checkImage(&m, in.Targets)
	for _, w := range warnings {
		warn(w)
	}
	if err != nil {
		return nil, err
	}
	return &m, seal(dir, &m)
}

// warnOfLibraries warns of shared libraries that users of a target may lack. A program
// that finds one of them in the toolchain links it dynamically, and does not start without
// it.
func warnOfLibraries(t Target, facts []binary.Facts, warn func(string)) {
	for i, bin := range t.Binaries {
		if libraries := facts[i].Foreign(); len(libraries) > 0 {
			warn(fmt.Sprintf("binary %q of target %q needs %s, which not every system has: link it statically, or tell users what to install",
				bin.Name, t.Want.Target, strings.Join(libraries, " and ")))
		}
	}
}

// seal writes release-manifest.json and then SHA256SUMS, which covers it.
func seal(dir string, m *manifest.Manifest) error {
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

// pack writes the archive of one target, whose binaries have been inspected.
func pack(dir string, in Input, t Target, facts []binary.Facts, mtime time.Time) (manifest.Asset, error) {
	format, err := archive.FormatOf(t.Archive)
	if err != nil {
		return manifest.Asset{}, err
	}
	extra, err := extraEntries(in, t)
	if err != nil {
		return manifest.Asset{}, err
	}
	root := strings.TrimSuffix(t.Archive, format.Ext())
	asset := manifest.Asset{
		Name: t.Archive, Kind: manifest.KindArchive, Target: t.Want.Target,
		Binaries: make([]manifest.Binary, len(t.Binaries)), Files: make([]manifest.File, len(extra)),
	}
	var entries []archive.Entry
	for i, bin := range t.Binaries {
		e, err := archive.FileEntry(bin.Name, bin.File)
		if err != nil {
			return manifest.Asset{}, err
		}
		e.Mode = 0o755
		f := facts[i]
		asset.Binaries[i] = manifest.Binary{
			Name: bin.Bin, Package: bin.Package, Path: root + "/" + e.Path, Size: e.Size,
			Format: string(f.Format), Arch: f.Arch, Linkage: string(f.Linkage), Interpreter: f.Interpreter,
			GlibcFloor: f.GlibcFloor, Needed: f.Needed,
		}
		entries = append(entries, hashing(e, &asset.Binaries[i].SHA256))
	}
	for i, e := range extra {
		asset.Files[i] = manifest.File{Path: root + "/" + e.Path, Size: e.Size, Mode: fmt.Sprintf("%04o", e.Mode)}
		entries = append(entries, hashing(e, &asset.Files[i].SHA256))
	}
	if asset.SHA256, asset.Size, err = writeArchive(filepath.Join(dir, t.Archive), format, root, mtime, entries); err != nil {
		return manifest.Asset{}, fmt.Errorf("write archive %q: %w", t.Archive, err)
	}
	return asset, nil
}

// extraEntries returns the entries of an archive in addition to the binaries.
func extraEntries(in Input, t Target) ([]archive.Entry, error) {
	var entries []archive.Entry
	for _, extra := range in.Extra {
		e, err := extraEntry(in.ExtraDir, extra)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	if !t.Notices {
		return entries, nil
	}
	notices, err := noticesEntry(&in.Manifest, t, in.Own)
	return append(entries, notices), err
}

// extraEntry returns the entry of an extra file, with the mode that it has in an
// archive. The plan refused links that leave the source.
func extraEntry(dir string, extra plan.Extra) (archive.Entry, error) {
	file, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(extra.Source)))
	if err != nil {
		return archive.Entry{}, fmt.Errorf("find %q for the archives: %w", extra.Source, err)
	}
	e, err := archive.FileEntry(extra.Path, file)
	if e.Mode&0o111 != 0 {
		e.Mode = 0o755
	} else {
		e.Mode = 0o644
	}
	return e, err
}

// writeArchive writes an archive, and returns its digest and its size.
func writeArchive(file string, format archive.Format, root string, mtime time.Time, entries []archive.Entry) (digest string, size int64, err error) {
	out, err := os.Create(file)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	if err := errors.Join(archive.Write(io.MultiWriter(out, h), format, root, mtime, entries), out.Close()); err != nil {
		return "", 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), info.Size(), nil
}

// hashing returns an entry that sets the digest when its content has been read, so
// that no file is read only for its digest.
func hashing(e archive.Entry, digest *string) archive.Entry {
	open := e.Open
	e.Open = func() (io.ReadCloser, error) {
		content, err := open()
		if err != nil {
			return nil, err
		}
		return &hasher{content, sha256.New(), digest}, nil
	}
	return e
}

type hasher struct {
	io.ReadCloser
	hash   hash.Hash
	digest *string
}

func (h *hasher) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	_, _ = h.hash.Write(p[:n]) // a hash never fails
	return n, err
}

// Close sets the digest of the content.
func (h *hasher) Close() error {
	*h.digest = hex.EncodeToString(h.hash.Sum(nil))
	return h.ReadCloser.Close()
}

// Measure returns the name, the digest and the size of a file.
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

// copyFile copies a file, and returns the copy as an asset of a kind.
func copyFile(from, to string, kind manifest.Kind) (manifest.Asset, error) {
	in, err := os.Open(from)
	if err != nil {
		return manifest.Asset{}, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return manifest.Asset{}, err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(out, h), in)
	asset := manifest.Asset{Name: filepath.Base(to), Kind: kind, SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}
	return asset, errors.Join(err, out.Close())
}

package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
)

// checkRelease makes the manifest that a release of targets will have, with made-up
// digests and facts of binaries, and the layout of every archive. The packages that
// will write and read them report what they would refuse.
func (p *Plan) checkRelease(targets []TargetPlan) {
	p.checkArchiveNames(targets)
	p.checkLayouts(targets)
	p.checkManifest(p.skeleton(targets, "static"))
	// The image comes last: mistakes above would be reported again in its terms.
	p.checkImage(targets)
}

// checkAuditable reports targets whose programs can't have a list of crates.
func (p *Plan) checkAuditable(targets []TargetPlan) {
	if !isTrue(p.component.Config.Auditable) {
		return
	}
	var without []string
	for _, t := range targets {
		if !t.Auditable {
			without = append(without, t.Target)
		}
	}
	switch {
	case len(without) == len(targets):
		p.fail("auditable = true adds the list of crates to ELF programs, and no target has one: remove it")
	case len(without) > 0:
		p.warn("auditable = true only affects ELF programs, not those of %s", strings.Join(without, ", "))
	}
}

func (p *Plan) checkArchiveNames(targets []TargetPlan) {
	template := p.component.archiveTemplate()
	taken := map[string]string{}
	for _, t := range targets {
		for _, name := range []string{t.Archive, t.SBOM, t.SPDX} {
			if err := notation.Asset.Check(name); name != "" && err != nil {
				p.fail("archive name %v: change the archive template %q", err, template)
			}
		}
		key := strings.ToLower(t.Archive)
		if other, dup := taken[key]; dup {
			p.fail("targets %q and %q would have the same archive %q: add {target} to the archive template %q", other, t.Target, t.Archive, template)
		}
		taken[key] = t.Target
	}
}

// checkLayouts reports files that can't be in one archive.
func (p *Plan) checkLayouts(targets []TargetPlan) {
	for _, t := range targets {
		what := map[string]string{} // by path
		var paths []string
		for _, bin := range t.Binaries {
			file := bin.Name + t.target.ExeSuffix
			what[file] = fmt.Sprintf("binary %q", bin.Name)
			paths = append(paths, file)
		}
		for _, extra := range p.Extra {
			if what[extra.Path] == "" {
				what[extra.Path] = extra.what()
			}
			paths = append(paths, extra.Path)
		}
		if t.Notices {
			what[NoticesName] = cmp.Or(what[NoticesName], "the file of licenses")
			paths = append(paths, NoticesName)
		}
		for _, err := range archive.CheckLayout(paths) {
			mine, other := what[err.Path], what[err.Other]
			switch {
			case err.Other == "" && !strings.HasPrefix(mine, "binary"):
				p.fail("%s can't be in an archive: %v: rename it, or remove it from include", mine, err.Err)
			case err.Other == "": // its name is reported
			case err.Below:
				p.fail("file %q needs the directory %q in the archives, but that is %s: rename one of them, or remove the file from include", err.Path, err.Other, other)
			case err.Path == err.Other:
				p.fail("%s and file %q would have the same path in the archives: rename one of them, or remove the file from include", other, err.Path)
			default:
				p.fail("%s and %s differ only in case, so one would overwrite the other on macOS and Windows: rename or remove one of them", other, mine)
			}
		}
		if n := countEntries(paths); n > archive.DefaultLimits.Entries {
			p.fail("the archives would have %d files and directories; the limit is %d: include fewer", n, archive.DefaultLimits.Entries)
		}
	}
}

// countEntries counts files and the directories they are in.
func countEntries(paths []string) int {
	dirs := map[string]bool{}
	for _, p := range paths {
		for d := path.Dir(p); d != "." && d != "/" && !dirs[d]; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	return len(paths) + len(dirs) + 1
}

// Made-up values in a skeleton.
var (
	madeUpDigest = strings.Repeat("0", 64)
	madeUpSize   = int64(1) << 31
)

// skeleton returns the manifest of the release, with made-up values for those that
// only a build can tell, and a linkage of gnu binaries.
func (p *Plan) skeleton(targets []TargetPlan, gnu string) *manifest.Manifest {
	m := p.Manifest(manifest.Toolchain{Rustc: "rustc", Cargo: "cargo"})
	if p.Commit == "" { // reported by checkGit
		m.Commit, m.CommitDate = strings.Repeat("0", 40), "1970-01-01T00:00:00Z"
	}
	asset := func(kind manifest.Kind, name, triple string) manifest.Asset {
		return manifest.Asset{Name: name, Kind: kind, Target: triple, SHA256: madeUpDigest, Size: madeUpSize}
	}
	m.Assets = []manifest.Asset{asset(manifest.KindChangelog, manifest.ChangelogName, "")}
	for _, t := range targets {
		a := asset(manifest.KindArchive, t.Archive, t.Target)
		linkage := "static"
		if t.Libc == "gnu" {
			linkage = gnu
		}
		for _, bin := range t.Binaries {
			a.Binaries = append(a.Binaries, manifest.Binary{
				Name: bin.Name, Package: bin.Package, Path: t.root() + "/" + bin.Name + t.target.ExeSuffix,
				SHA256: madeUpDigest, Size: madeUpSize, Format: cmp.Or(t.target.Format, "elf"), Arch: cmp.Or(t.target.Arch, "unknown"), Linkage: linkage,
			})
		}
		if t.Notices {
			a.Files = append(a.Files, manifest.File{Path: t.root() + "/" + NoticesName, SHA256: madeUpDigest, Size: madeUpSize, Mode: "0644"})
		}
		for _, extra := range p.Extra {
			a.Files = append(a.Files, manifest.File{Path: t.root() + "/" + extra.Path, SHA256: madeUpDigest, Size: madeUpSize, Mode: "0644"})
		}
		m.Assets = append(m.Assets, a)
		if t.SBOM != "" {
			m.Assets = append(m.Assets, asset(manifest.KindSBOM, t.SBOM, t.Target), asset(manifest.KindSBOM, t.SPDX, t.Target))
		}
	}
	return &m
}

// checkManifest reports the errors of the manifest's validator in terms of
// Cargo.toml and the tag.
func (p *Plan) checkManifest(m *manifest.Manifest) {
	for _, err := range leaves(m.Validate()) {
		var field *manifest.FieldError
		if errors.As(err, &field) {
			p.explain(m, field)
		} else {
			p.fail("%v", err)
		}
	}
	if p.Err() != nil {
		return
	}
	text, err := m.Marshal()
	// Real sizes, facts of binaries and the toolchain are longer.
	if err == nil && len(text) > manifest.MaxSize*9/10 {
		err = fmt.Errorf("%s would have about %d bytes; the limit is %d: include fewer files", manifest.FileName, len(text), manifest.MaxSize)
	}
	if err != nil {
		p.fail("%v", err)
	}
}

var binaryField = regexp.MustCompile(`^assets\[(\d+)\]\.binaries\[(\d+)\]\.(name|package)$`)

// explain reports an invalid field of the manifest.
func (p *Plan) explain(m *manifest.Manifest, e *manifest.FieldError) {
	binary := binaryField.FindStringSubmatch(e.Field)
	switch {
	case e.Field == "component":
		p.fail("component name %s, with name in [package.metadata.gantry] or [workspace.metadata.gantry]", e.Problem)
	case e.Field == "tag":
		p.explainTag(e.Problem)
	case e.Field == "version" && p.tag.Version.Metadata() != "": // reported by checkVersion
	case e.Field == "repository":
		p.fail("repository of Cargo.toml: %s: write it like https://github.com/owner/name", e.Problem)
	case strings.HasPrefix(e.Field, "image."):
		p.fail("%s of the image configuration: %s", strings.TrimPrefix(e.Field, "image."), e.Problem)
	case binary != nil && binary[3] == "name":
		p.fail("binary %s, or choose others with bins in [package.metadata.gantry]", orRename(e.Problem))
	case binary != nil:
		i, _ := strconv.Atoi(binary[1]) // digits
		j, _ := strconv.Atoi(binary[2])
		p.fail("package %s, or exclude it with release = false (it builds binary %q)", orRename(e.Problem), m.Assets[i].Binaries[j].Name)
	case strings.HasPrefix(e.Field, "assets[") && p.Err() != nil: // what made it invalid was reported
	default:
		p.fail("%s of %s would be invalid: %s", e.Field, manifest.FileName, e.Problem)
	}
}

func orRename(problem string) string {
	if strings.Contains(problem, ": rename it") {
		return problem
	}
	return problem + ": rename it"
}

// explainTag reports whether a tag's prefix or its version is wrong.
func (p *Plan) explainTag(problem string) {
	prefix := p.tag.Prefix
	switch {
	case strings.HasSuffix(prefix, ".") || !notation.Tag.Matches(prefix+"1.0.0"):
		proposal := strings.Map(func(r rune) rune {
			if r < 0x80 && (r == '-' || r == '/' || r == '_' || notation.Name.Matches(string(r))) {
				return r
			}
			return -1
		}, prefix)
		fix := "set tag-prefix to letters, digits, \"-\", \"_\" and \"/\""
		if proposal = strings.Trim(proposal, "-/_"); proposal != "" {
			fix = fmt.Sprintf("set tag-prefix = %q, for example", proposal+"-")
		}
		p.fail("tag prefix %q: tag %q is ambiguous or has characters that release-manifest.json allows in no tag: %s", prefix, p.Tag, fix)
	case p.tag.Version.Metadata() != "": // reported
	case !notation.Tag.Matches(p.Tag):
		p.fail("tag %s; its version is %s", problem, p.Version)
	default:
		p.fail("tag %s", problem)
	}
}

// joinedType distinguishes errors of [errors.Join] from others that wrap several.
var joinedType = reflect.TypeOf(errors.Join(errors.New("")))

// leaves lists the errors that were joined.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && reflect.TypeOf(err) == joinedType {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, leaves(e)...)
		}
		return all
	}
	return []error{err}
}

// plainSpec returns the text of an error about the image without the sentinels.
func plainSpec(err error) string {
	text := err.Error()
	for _, kind := range []error{imagespec.ErrSpec, imagespec.ErrBase} {
		text = strings.ReplaceAll(text, kind.Error()+": ", "")
	}
	return text
}

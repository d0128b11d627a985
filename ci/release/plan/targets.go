package plan

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// Suffixes by which tools recognize bills of materials.
const (
	sbomSuffix = ".cdx.json"
	spdxSuffix = ".spdx.json"
)

// NoticesName is the file of an archive with the licenses of the crates in its binaries.
const NoticesName = "THIRD-PARTY-LICENSES"

var placeholder = regexp.MustCompile(`\{([^{}]*)\}`)

// addTargets adds the component's targets, or only some, and the assets. It returns
// all targets, since those that are not added are built elsewhere.
func (p *Plan) addTargets(only []string) ([]TargetPlan, error) {
	triples := p.component.Config.targets()
	if len(only) == 0 {
		only = triples
	}
	var all []TargetPlan
	for _, triple := range union(only, triples) {
		t, err := p.planTarget(triple)
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	p.Targets = slices.Clone(all[:len(only)])
	for _, t := range p.Targets {
		p.Assets = append(p.Assets, t.Archive)
		if t.SBOM != "" {
			p.Assets = append(p.Assets, t.SBOM, t.SPDX)
		}
	}
	p.Assets = append(p.Assets, manifest.ChangelogName, manifest.SumsName, manifest.FileName)
	slices.Sort(p.Assets)
	return all, nil
}

// yieldNotices omits the licenses of crates if the project has a file, or a directory, of
// the same name for the archives.
func (p *Plan) yieldNotices(targets []TargetPlan) {
	for _, e := range p.Extra {
		if top, _, _ := strings.Cut(e.Path, "/"); strings.EqualFold(top, NoticesName) {
			for i := range targets {
				targets[i].Notices = false
			}
		}
	}
}

func (p *Plan) planTarget(triple string) (TargetPlan, error) {
	b, err := p.component.build(triple)
	if err != nil {
		return TargetPlan{}, err
	}
	stem, err := p.component.archiveStem(p.tag, b.Target)
	if err != nil {
		return TargetPlan{}, err
	}
	for i := len(b.Bins) - 1; i > 0; i-- {
		if bin, other := b.Bins[i], b.Bins[i-1]; bin.Name == other.Name {
			p.fail("packages %q and %q both have a binary %q, and tag %q would put both into one archive: choose with bins in each [package.metadata.gantry], or give one package a tag-prefix or release = false", other.Package, bin.Package, bin.Name, p.Tag)
			b.Bins = slices.Delete(b.Bins, i, i+1)
		}
	}
	t := TargetPlan{
		Target: triple, Platform: b.Target.Platform, Libc: b.Target.Libc, Profile: b.Config.Profile,
		Features: b.Config.Features, Archive: stem + b.Target.Archive, Notices: b.Notices, Auditable: b.Auditable, Binaries: b.Bins, target: b.Target,
	}
	if b.SBOM {
		t.SBOM, t.SPDX = stem+sbomSuffix, stem+spdxSuffix
	}
	return t, nil
}

func (c *Component) archiveTemplate() string { return cmp.Or(c.Config.Archive, defaultArchive) }

// archiveStem returns the name of a target's archive without suffix, which is also
// the name of the directory inside it.
func (c *Component) archiveStem(tag version.Tag, t target.Target) (string, error) {
	values := map[string]string{
		"name": c.Name, "version": tag.Version.String(), "tag": tag.Name, "target": t.Triple,
		"arch": t.Arch, "os": t.OS, "libc": t.Libc,
	}
	var unknown string
	stem := placeholder.ReplaceAllStringFunc(c.archiveTemplate(), func(m string) string {
		value, ok := values[m[1:len(m)-1]]
		if !ok {
			unknown = m
		}
		return value
	})
	if unknown != "" {
		return "", fmt.Errorf("archive template %q of component %q has the unknown placeholder %s; known are {name}, {version}, {tag}, {target}, {arch}, {os}, {libc}", c.archiveTemplate(), c.Name, unknown)
	}
	return stem, nil
}

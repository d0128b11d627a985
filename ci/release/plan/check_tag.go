package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/version"
)

// explainUnknown returns the error for a tag that names no component. If the tag
// names a package that was absorbed, it tells which tag releases that package.
func (p *Project) explainUnknown(tag string, err error) error {
	for prefix, whole := range p.absorbed {
		rest, fits := strings.CutPrefix(tag, prefix)
		if v, wrong := version.Parse(rest); fits && wrong == nil {
			return fmt.Errorf("tag %q names no component: %q is the name of packages %s together, which tags such as %s release: use that tag, or set another name in [workspace.metadata.gantry] so that %q releases only one package",
				tag, whole.Name, whole.quotedPackages(), whole.newTag(v.String()), tag)
		}
	}
	return err
}

// checkVersion compares the tag's version with the manifests'.
func (p *Plan) checkVersion() {
	tag := p.tag
	if tag.Version.Metadata() != "" {
		p.fail("version %q has build metadata (+%s), which image tags and release assets can't carry: tag it without", tag.Version, tag.Version.Metadata())
	}
	if hint := version.OrderHint(tag.Version); hint != "" {
		p.warn("prerelease %q: %s", tag.Version.Prerelease(), hint)
	}
	for i, pkg := range p.component.Packages {
		v, err := version.Parse(pkg.Version)
		if err != nil {
			p.fail("%s: %v", pkg.Manifest(), err)
			continue
		}
		if v.Equal(tag.Version) && v.Metadata() == tag.Version.Metadata() {
			continue
		}
		// The tag is a prerelease of the manifest's version.
		candidate := version.Core(v) == version.Core(tag.Version) && tag.Version.Prerelease() != "" && v.Prerelease() == ""
		if candidate && p.component.settings[i].merged.Prerelease == policyCore {
			continue
		}
		fix := fmt.Sprintf("set version = %q there, or tag %s instead", tag.Version, tag.With(v.String()))
		if candidate {
			fix += fmt.Sprintf("; to tag prereleases of the manifest's version, set prerelease = %q in [workspace.metadata.gantry]", policyCore)
		}
		if len(p.component.Packages) > 1 {
			fix += fmt.Sprintf("; if %q is not part of this release, set release = false or a tag-prefix in its [package.metadata.gantry]", pkg.Name)
		}
		p.fail("tag %q is for version %s, but %s (package %q) has %s: %s", tag.Name, tag.Version, pkg.Manifest(), pkg.Name, v, fix)
	}
}

// checkTags compares the tag with those of the repository, and finds the release
// before it.
func (p *Plan) checkTags(git Git, scheme *version.Scheme) {
	tag := p.tag
	commits := map[string]string{}
	for _, t := range git.Tags {
		commits[t.Name] = t.Commit
	}
	commit, exists := commits[tag.Name]
	if exists && commit != git.Commit {
		p.fail("tag %q is at commit %s, but the source is at %s: check out the tag", tag.Name, short(commit), short(git.Commit))
	}
	if !exists && slices.Contains(p.component.former, tag.Prefix) {
		p.warn("tag %q starts with a former tag-prefix of %q: new tags start with %q, such as %s", tag.Name, p.Component, p.component.Prefixes[0], p.component.newTag(p.Version))
	}
	var others []*semver.Version
	p.Latest = tag.Version.Prerelease() == ""
	for _, t := range scheme.Tags(p.Component, git.Tags) {
		if t.Name == tag.Name {
			continue
		}
		switch same := t.Version.Equal(tag.Version); {
		case same && commits[t.Name] == git.Commit:
			p.warn("version %s of %q is also tagged as %q at this commit: release only one of the two tags", tag.Version, p.Component, t.Name)
		case same:
			p.fail("version %s of %q is already tagged as %q at commit %s: release another version, or check out that tag and release it; if it is a mistake, remove it with git tag -d %s and git push --delete origin %s",
				tag.Version, p.Component, t.Name, short(commits[t.Name]), t.Name, t.Name)
		}
		others = append(others, t.Version)
		if t.Version.Prerelease() == "" && t.Version.GreaterThan(tag.Version) {
			p.Latest = false
		}
	}
	history := scheme.History(tag, git.Commit, git.Reachable)
	p.PreviousTag, p.Sections = history.Previous, sections(history, scheme, tag, git)
	if err := notation.Tag.Check(p.PreviousTag); p.PreviousTag != "" && err != nil {
		p.warn("the previous tag %v: the changelog starts from it, but release-manifest.json won't name it", err)
	}
	if tag.Version.Metadata() == "" {
		tags, err := version.ImageTags(tag.Version, others, p.imageSpec().TagOptions())
		if err != nil {
			p.fail("%v", err)
		}
		p.ImageTags = tags
	}
}

// sections returns the changelog's sections up to a tag, which need not exist yet.
func sections(history version.History, scheme *version.Scheme, current version.Tag, git Git) []Section {
	commits := map[string]string{}
	for _, t := range git.Reachable {
		commits[t.Name] = t.Commit
	}
	commits[current.Name] = git.Commit
	var out []Section
	for _, name := range history.Releases {
		if t, err := scheme.Parse(name); err == nil {
			out = append(out, Section{Tag: name, Version: t.Version.String(), Commit: commits[name]})
		}
	}
	return out
}

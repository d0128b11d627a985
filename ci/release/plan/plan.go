// Package plan decides what a release consists of, from the output of `cargo
// metadata`, the configuration in Cargo.toml and the state of the git repository.
//
// It is pure: it reads no file and runs nothing. It keeps one invariant: in a plan
// without errors, every name, version and path has been checked, so nothing later
// fails for a reason that could have been known here.
package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// Plan describes the release of a tag.
type Plan struct {
	Component   string `json:"component"`
	Tag         string `json:"tag"`
	Version     string `json:"version"`
	Channel     string `json:"channel"`
	Commit      string `json:"commit"`
	CommitDate  string `json:"commitDate"`
	PreviousTag string `json:"previousTag,omitempty"`
	Repository  string `json:"repository,omitempty"`
	// Toolchain is the image that builds, or "custom".
	Toolchain string `json:"toolchain"`
	// Latest is true for the highest stable version of the component.
	Latest bool `json:"latest"`
	// OwnsLatest is true if releases of the component may become GitHub's "Latest".
	OwnsLatest bool         `json:"ownsLatest"`
	Targets    []TargetPlan `json:"targets"`
	Assets     []string     `json:"assets"`
	// Sign is "required" if the release must be signed.
	Sign      string             `json:"sign,omitempty"`
	ImageTags []version.ImageTag `json:"imageTags"`
	// ContainerImage is the image that phase 2 makes of the release; nil without a
	// Linux target.
	ContainerImage *ImagePlan `json:"image,omitempty"`
	// LeftOut are the packages with binaries that are not part of the release.
	LeftOut  []LeftOut `json:"leftOut,omitempty"`
	Problems []Problem `json:"problems"`

	// Sections of the changelog, lowest version first.
	Sections []Section `json:"-"`
	// ChangelogPaths are the globs of the changelog; none means everything.
	ChangelogPaths []string `json:"-"`
	// ChangelogConfig is the path of the project's git-cliff configuration in the
	// source, or empty.
	ChangelogConfig string `json:"-"`
	// Extra are the files that go into every archive in addition to the binaries.
	Extra []Extra `json:"-"`

	// Manifests are the paths of the Cargo.toml of each package of the workspace, as Cargo
	// reads them.
	Manifests []string `json:"-"`
	// Generated are those of them that binaries print.
	Generated []Generated `json:"-"`

	component *Component
	tag       version.Tag
}

// Section of a changelog: a release and its commit.
type Section struct{ Tag, Version, Commit string }

// TargetPlan is one target of a release.
type TargetPlan struct {
	Target   string   `json:"target"`
	Platform string   `json:"platform,omitempty"`
	Libc     string   `json:"libc,omitempty"`
	Profile  string   `json:"profile"`
	Features []string `json:"features,omitempty"`
	Archive  string   `json:"archive"`
	// SBOM and SPDX are the names of the archive's bills of materials, if it has them.
	SBOM string `json:"sbom,omitempty"`
	SPDX string `json:"spdx,omitempty"`
	// Notices is true if the archive gets the licenses of the crates in its binaries.
	Notices bool `json:"notices,omitempty"`
	// Auditable is true if the programs get the list of their crates.
	Auditable bool        `json:"auditable,omitempty"`
	Binaries  []cargo.Bin `json:"binaries"`

	target target.Target
}

// root is the name of the directory in the archive.
func (t TargetPlan) root() string { return strings.TrimSuffix(t.Archive, t.target.Archive) }

// Extra is a file of the source that goes into archives.
type Extra struct{ Source, Path string }

// what describes the file.
func (e Extra) what() string {
	if file, generated := strings.CutPrefix(e.Source, GeneratedDir+"/"); generated {
		return fmt.Sprintf("generated file %q", file)
	}
	return fmt.Sprintf("file %q", e.Source)
}

// Problem is an error or a warning about a release.
type Problem struct {
	// Severity is "error", which stops a release, or "warning".
	Severity string `json:"severity"`
	// Message has the offending value and a fix.
	Message string `json:"message"`
}

// Severities of problems.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

func (p *Plan) fail(format string, args ...any) {
	p.report(SeverityError, fmt.Sprintf(format, args...))
}

func (p *Plan) warn(format string, args ...any) {
	p.report(SeverityWarning, fmt.Sprintf(format, args...))
}

// report adds a problem once: most mistakes are found again in every target.
func (p *Plan) report(severity, message string) {
	problem := Problem{severity, message}
	if !slices.Contains(p.Problems, problem) {
		p.Problems = append(p.Problems, problem)
	}
}

// Plan plans the release of a tag. only narrows the targets; none means all. It
// fails only if there is nothing to plan, such as for a tag that names no
// component. All other mistakes are problems of the plan, so that one run shows
// them all.
func (p *Project) Plan(tag string, git Git, only []string) (*Plan, error) {
	parsed, err := p.Scheme.Parse(tag)
	if err != nil {
		return nil, p.explainUnknown(tag, err)
	}
	c, err := p.Component(parsed.Component)
	if err != nil {
		return nil, err
	}
	plan := &Plan{
		Component: c.Name, Tag: tag, Version: parsed.Version.String(), Channel: version.Channel(parsed.Version),
		Sign: c.Config.Sign, Problems: []Problem{}, ImageTags: []version.ImageTag{}, component: c, tag: parsed, OwnsLatest: c.OwnsLatest, LeftOut: c.LeftOut,
	}
	for _, conflict := range c.conflicts {
		plan.fail("tag %q releases packages %s together, but %s: set one value in [workspace.metadata.gantry], or give a package a tag-prefix", tag, c.quotedPackages(), conflict)
	}
	for _, pkg := range p.packages {
		plan.Manifests = append(plan.Manifests, pkg.ManifestPath)
	}
	plan.Repository = plan.repository(git)
	plan.checkVersion()
	plan.checkGit(git, p)
	plan.addFiles(p)
	plan.addChangelog(p)
	plan.checkLock(p)
	plan.checkSource(p, git)
	plan.checkRust(p)
	targets, err := plan.addTargets(only)
	if err != nil {
		return nil, err
	}
	plan.addGenerated(targets)
	plan.yieldNotices(plan.Targets)
	plan.yieldNotices(targets)
	for _, t := range plan.Targets {
		if t.target.Beyond != "" {
			plan.warn("target %q is not in Gantry's table: %s", t.Target, t.target.Beyond)
		}
		if t.target.External != "" && !p.CustomToolchain {
			plan.warn("building target %q needs %s", t.Target, t.target.External)
		}
	}
	plan.checkAuditable(targets)
	plan.checkRelease(targets)
	return plan, nil
}

// Title returns the release's title: the component's name and version, or only the
// version for a tag without a prefix.
func (p *Plan) Title() string {
	if p.tag.Prefix == "" {
		return "v" + p.Version
	}
	return p.Component + " " + p.Version
}

// Builds returns a build for each target.
func (p *Plan) Builds() ([]Build, error) {
	var builds []Build
	for _, t := range p.Targets {
		b, err := p.component.Build(t.Target)
		if err != nil {
			return nil, err
		}
		builds = append(builds, b)
	}
	return builds, nil
}

// Target returns the plan of a target.
func (p *Plan) Target(triple string) (TargetPlan, error) {
	for _, t := range p.Targets {
		if t.Target == triple {
			return t, nil
		}
	}
	return TargetPlan{}, fmt.Errorf("target %q is not in the plan of %q", triple, p.Tag)
}

// formats returns the formats of the binaries of all targets, those that are built
// elsewhere included: the parts of a release have one schema version.
func (p *Plan) formats() []string {
	var all []string
	for _, triple := range p.component.Config.targets() {
		if t, err := target.Lookup(triple); err == nil {
			all = append(all, t.Format)
		}
	}
	for _, t := range p.Targets {
		all = append(all, t.target.Format)
	}
	return all
}

// imageSpec returns the component's configuration of the image, or nil.
func (p *Plan) imageSpec() *manifest.Image { return p.component.Config.Image }

// Manifest returns the release's manifest, without assets.
func (p *Plan) Manifest(toolchain manifest.Toolchain) manifest.Manifest {
	m := manifest.Manifest{
		Component: p.Component, Tag: p.Tag, Version: p.Version, Channel: p.Channel,
		Commit: p.Commit, CommitDate: p.CommitDate, Repository: p.Repository,
		Toolchain: toolchain, Image: p.imageSpec(),
	}
	// The changelog may start from a tag of another tool, which the manifest can't
	// name.
	if notation.Tag.Matches(p.PreviousTag) {
		m.PreviousTag = p.PreviousTag
	}
	for _, pkg := range p.component.Packages {
		m.Description = cmp.Or(m.Description, strings.TrimSpace(pkg.Description))
		m.License = cmp.Or(m.License, pkg.License)
		m.Homepage = cmp.Or(m.Homepage, pkg.Homepage)
	}
	m.UseLeastSchema(p.formats()...)
	return m
}

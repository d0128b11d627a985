// Package plan decides what a release consists of, from the output of `cargo
// metadata`, the configuration in Cargo.toml and the facts of the git
// repository.
//
// It is pure: it reads no file and runs nothing. It keeps one invariant: a
// plan without errors is one whose every name, version and path has been
// checked, so that nothing that follows can fail for a reason that could have
// been known here.
package plan

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/bmatcuk/doublestar/v4"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/sbom"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// Policies for prerelease tags.
const (
	PolicyExact = "exact"
	PolicyCore  = "core"
)

var (
	cargoCommand = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	// The cc crate also takes a target as it is written, "CC_x86_64-pc-linux-gnu".
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	placeholder = regexp.MustCompile(`\{([^{}]*)\}`)
)

// Git is what a plan needs to know of the repository.
type Git struct {
	// Present is false where the source has no .git folder.
	Present bool
	// Worktree says that .git is a file that points somewhere else.
	Worktree bool
	// Failed is the git command that failed and what it printed; what git would
	// have reported after it is unknown.
	Failed string
	// Shallow says that the history was cut.
	Shallow bool
	// Commit that is checked out, and its committer time.
	Commit string
	Time   time.Time
	// Tags of the repository, peeled, and those that Commit descends from.
	Tags, Reachable []version.GitTag
	// Dirty lists changed, deleted and untracked files, as `git status
	// --porcelain` does.
	Dirty []string
	// LineEndings are the paths of those that differ from the commit in their
	// line endings only.
	LineEndings []string
	// Ignored says of the files that matter which git ignores.
	Ignored []string
	// Submodules are the paths of those that are not checked out.
	Submodules []string
	// Pointers are files whose contents are in Git LFS, and not in the source.
	Pointers []string
	// Origin is the URL of the remote of that name.
	Origin string
}

// Plan is what a release of a tag consists of.
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
	// Latest says whether this is the highest stable version of its component.
	Latest bool `json:"latest"`
	// OwnsLatest says whether GitHub's "Latest" is for this component.
	OwnsLatest bool               `json:"ownsLatest"`
	Targets    []TargetPlan       `json:"targets"`
	Assets     []string           `json:"assets"`
	ImageTags  []version.ImageTag `json:"imageTags"`
	// ContainerImage is the image that phase 2 makes of the release; nil where
	// it has no Linux target.
	ContainerImage *ImagePlan `json:"image,omitempty"`
	// LeftOut are the packages with binaries that are not part of the release.
	LeftOut  []LeftOut `json:"leftOut,omitempty"`
	Problems []Problem `json:"problems"`

	// Sections of the changelog, lowest version first.
	Sections []Section `json:"-"`
	// ChangelogPaths are the globs of the changelog; none means everything.
	ChangelogPaths []string `json:"-"`
	// ChangelogConfig is the path of the project's git-cliff configuration in
	// the source, or empty.
	ChangelogConfig string `json:"-"`
	// Extra are the files that go into every archive besides the binaries.
	Extra []Extra `json:"-"`

	component *Component
	tag       version.Tag
}

// Section of a changelog: a release and the commit it was made of.
type Section struct{ Tag, Version, Commit string }

// TargetPlan is one target of a release.
type TargetPlan struct {
	Target   string   `json:"target"`
	Platform string   `json:"platform,omitempty"`
	Libc     string   `json:"libc,omitempty"`
	Profile  string   `json:"profile"`
	Features []string `json:"features,omitempty"`
	Archive  string   `json:"archive"`
	// SBOM is the name of the archive's bill of materials, if there is one.
	SBOM     string      `json:"sbom,omitempty"`
	Binaries []cargo.Bin `json:"binaries"`
}

// Extra is a file of the source that goes into archives.
type Extra struct{ Source, Path string }

// Problem is something that is wrong with a release, or may be.
type Problem struct {
	// Severity is "error", which stops a release, or "warning".
	Severity string `json:"severity"`
	// What is wrong, with the value, and what to do.
	Message string `json:"message"`
}

// Severities of problems.
const (
	SeverityError   = "error"
	SeverityWarning = "warning"
)

func (p *Plan) fail(format string, args ...any) {
	p.Problems = append(p.Problems, Problem{SeverityError, fmt.Sprintf(format, args...)})
}

func (p *Plan) warn(format string, args ...any) {
	p.Problems = append(p.Problems, Problem{SeverityWarning, fmt.Sprintf(format, args...)})
}

// Plan of the release of a tag. An error means that there is no plan at all,
// since the tag names nothing that is known; everything else that is wrong is
// among the plan's problems, so that all of it is seen at once. only narrows
// the targets, none means all.
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
		Problems: []Problem{}, ImageTags: []version.ImageTag{}, component: c, tag: parsed, OwnsLatest: c.OwnsLatest, LeftOut: c.LeftOut,
	}
	for _, conflict := range c.conflicts {
		plan.fail("tag %q releases packages %s together, which can't differ in this: %s; set it in [workspace.metadata.gantry] instead, or give a package a tag-prefix", tag, quoted(c.packageNames()), conflict)
	}
	plan.Repository = plan.repository(git)
	plan.checkVersion(parsed)
	plan.checkGit(parsed, git, p)
	plan.checkFiles(p)
	plan.checkLock(p)
	plan.checkSource(p, git)
	if err := plan.addTargets(c, only); err != nil {
		return nil, err
	}
	for _, t := range plan.Targets {
		if known, err := target.Lookup(t.Target); err == nil && known.External != "" && !p.CustomToolchain {
			plan.warn("target %q, where it is built, needs %s", t.Target, known.External)
		}
	}
	if err := plan.checkRelease(only); err != nil {
		return nil, err
	}
	return plan, nil
}

// explainUnknown returns the error of a tag that names no component. If the tag
// names a package without its own component, it says which tag releases it.
func (p *Project) explainUnknown(tag string, err error) error {
	for prefix, whole := range p.absorbed {
		rest, fits := strings.CutPrefix(tag, prefix)
		if v, wrong := version.Parse(rest); fits && wrong == nil {
			return fmt.Errorf("tag %q names no component: %q is the name of what tags such as %s release, which is packages %s together; tag that, or set another name in [workspace.metadata.gantry] to have %q release one package only",
				tag, whole.Name, whole.newTag(v.String()), quoted(whole.packageNames()), tag)
		}
	}
	return err
}

// Title of the release: the component's name and version, or the version
// alone where there is no other component.
func (p *Plan) Title() string {
	if p.tag.Prefix == "" {
		return "v" + p.Version
	}
	return p.Component + " " + p.Version
}

// Builds are what Cargo is to do, one for each target.
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

// Target of the plan.
func (p *Plan) Target(triple string) (TargetPlan, error) {
	for _, t := range p.Targets {
		if t.Target == triple {
			return t, nil
		}
	}
	return TargetPlan{}, fmt.Errorf("target %q is not in the plan of %q", triple, p.Tag)
}

// ImageSpec returns the component's configuration of the image, or nil.
func (p *Plan) ImageSpec() *manifest.Image { return p.component.Config.Image }

// Manifest returns the release's manifest, without assets.
func (p *Plan) Manifest(toolchain manifest.Toolchain) manifest.Manifest {
	m := manifest.Manifest{
		Component: p.Component, Tag: p.Tag, Version: p.Version, Channel: p.Channel,
		Commit: p.Commit, CommitDate: p.CommitDate, Repository: p.Repository,
		Toolchain: toolchain, Image: p.ImageSpec(),
	}
	// A tag of another tool may be written as no tag of a release is. The
	// changelog starts from it all the same.
	if notation.Tag.Matches(p.PreviousTag) {
		m.PreviousTag = p.PreviousTag
	}
	for _, pkg := range p.component.Packages {
		first := func(field *string, value string) {
			if *field == "" {
				*field = value
			}
		}
		first(&m.Description, strings.TrimSpace(pkg.Description))
		first(&m.License, pkg.License)
		first(&m.Homepage, pkg.Homepage)
	}
	m.UseLeastSchema()
	return m
}

// checkVersion compares the tag's version with the manifests'.
func (p *Plan) checkVersion(tag version.Tag) {
	if tag.Version.Metadata() != "" {
		p.fail("version %q has build metadata (+%s), which neither an image tag nor a release asset can carry; tag it without", tag.Version, tag.Version.Metadata())
	}
	if hint := version.OrderHint(tag.Version); hint != "" {
		p.warn("prerelease %q: %s", tag.Version.Prerelease(), hint)
	}
	for i, pkg := range p.component.Packages {
		policy := or(p.component.settings[i].merged.Prerelease, PolicyExact)
		manifestPath := pkg.Manifest()
		v, err := version.Parse(pkg.Version)
		if err != nil {
			p.fail("%s: %v", manifestPath, err)
			continue
		}
		if v.Equal(tag.Version) && v.Metadata() == tag.Version.Metadata() {
			continue
		}
		sameCore := version.Core(v) == version.Core(tag.Version)
		if sameCore && policy == PolicyCore && tag.Version.Prerelease() != "" && v.Prerelease() == "" {
			continue
		}
		fix := fmt.Sprintf("set version = %q there, or tag %s instead", tag.Version, tag.With(v.String()))
		if sameCore && tag.Version.Prerelease() != "" && v.Prerelease() == "" {
			fix += fmt.Sprintf("; to tag candidates of a manifest that already has the final version, set prerelease = %q in [workspace.metadata.gantry]", PolicyCore)
		}
		if len(p.component.Packages) > 1 {
			fix += fmt.Sprintf("; if %q is no part of this release, set release = false or a tag-prefix in its [package.metadata.gantry]", pkg.Name)
		}
		p.fail("tag %q says version %s, but %s (package %q) says %s: %s", tag.Name, tag.Version, manifestPath, pkg.Name, v, fix)
	}
}

// checkGit finds what is wrong with the state of the repository.
func (p *Plan) checkGit(tag version.Tag, git Git, project *Project) {
	switch {
	case git.Worktree:
		p.fail(".git is a file that points to a repository elsewhere (a git worktree or submodule): pass the main checkout as --source, or the URL of the repository as --git")
		return
	case !git.Present:
		p.fail("the source has no git history (no .git folder): pass the top of a git checkout with its full history and tags as --source, and a workspace below it with --manifest-path")
		return
	case git.Failed != "":
		p.fail("the state of the repository is unknown, since %s: run git status where the source comes from; if it needs a program such as git-crypt, pass --toolchain with a container that has it", strings.TrimSpace(git.Failed))
		return
	case git.Commit == "":
		p.fail("the repository has no commit yet: commit first")
		return
	}
	p.Commit, p.CommitDate = git.Commit, git.Time.UTC().Format(time.RFC3339)
	if git.Shallow {
		p.fail("the source is a shallow clone, which lacks the history and the tags that versions and changelog come from: run git fetch --unshallow --tags (on GitHub Actions: fetch-depth: 0), or pass the URL of a repository as --git")
	}
	if len(git.Tags) == 0 {
		// A clone may have left them behind.
		p.warn("the repository has no tags, so %q is taken for the first release: if it has, run git fetch --tags", tag.Name)
	}
	p.checkClean(git, project)
	if slices.Contains(git.Ignored, "Cargo.lock") {
		p.warn("Cargo.lock is ignored by git, so commit %s does not say which dependencies are built: take it out of .gitignore and commit it", short(git.Commit))
	}
	p.checkTags(tag, git, project.Scheme)
}

// checkClean reports what is in the source and not in the commit.
func (p *Plan) checkClean(git Git, project *Project) {
	const remedy = "run git config core.autocrlf false, then git rm -r -q --cached . and git reset --hard; or commit a .gitattributes with \"* text=auto eol=lf\", and check out again; or pass the URL of a repository as --git"
	if n := len(git.LineEndings); n > 0 {
		p.fail("%d files differ from commit %s in their line endings only, such as %q: git converted them when it checked them out (core.autocrlf): %s", n, short(git.Commit), git.LineEndings[0], remedy)
	}
	var rest []string
	modified := 0
	for _, line := range git.Dirty {
		kind, file := dirtyFile(line)
		if kind == "M" {
			modified++
		}
		if !slices.Contains(git.LineEndings, file) {
			rest = append(rest, line)
		}
	}
	n := len(rest)
	if n == 0 {
		return
	}
	shown := rest[:min(n, 10)]
	more := ""
	if n > len(shown) {
		more = fmt.Sprintf(" and %d more", n-len(shown))
	}
	// No commit changes nearly everything, and git's own conversion does.
	if len(git.LineEndings) == 0 && modified > 1 && 2*modified > len(project.files) {
		more += fmt.Sprintf("; most files are changed, as they are when git converts line endings on checkout (core.autocrlf): if git diff --ignore-cr-at-eol shows no change, %s", remedy)
	}
	for _, line := range rest {
		if kind, file := dirtyFile(line); kind == "??" && path.Base(file) == manifest.FileName {
			more += fmt.Sprintf("; %q is of an earlier dist, whose directory has other files or is the top of the source: move it away, or add the directory to .gitignore", file)
		}
	}
	p.fail("the source is dirty, so commit %s is not what would be built: commit, ignore or remove %s%s", short(git.Commit), strings.Join(shown, ", "), more)
}

// dirtyFile reads a line of [Git.Dirty].
func dirtyFile(line string) (kind, file string) {
	kind, file, _ = strings.Cut(line, " ")
	if unquoted, err := strconv.Unquote(file); err == nil {
		file = unquoted
	}
	return kind, file
}

// checkTags compares the tag with those of the repository, and finds what the
// release follows.
func (p *Plan) checkTags(tag version.Tag, git Git, scheme *version.Scheme) {
	commits := map[string]string{}
	for _, t := range git.Tags {
		commits[t.Name] = t.Commit
	}
	at, exists := commits[tag.Name]
	if exists && at != git.Commit {
		p.fail("tag %q is at commit %s, but the source is at %s: check the tag out", tag.Name, short(at), short(git.Commit))
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
			p.fail("version %s of %q is already tagged as %q at commit %s: release another version, or check that tag out and release it; if it is a mistake, remove it with git tag -d %s and git push --delete origin %s",
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
		tags, err := version.ImageTags(tag.Version, others, p.ImageSpec().TagOptions())
		if err != nil {
			p.fail("%v", err)
		}
		p.ImageTags = tags
	}
}

// sections of the changelog of a tag, which need not exist yet.
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

func short(commit string) string { return commit[:min(len(commit), 12)] }

// licenseName is what Cargo projects call the files that must be shipped.
var licenseName = regexp.MustCompile(`^(?i)(licen[sc]e|copying|notice|unlicense|copyright)([-._].*)?$`)

// checkFiles finds the files that go into archives and those that must exist.
func (p *Plan) checkFiles(project *Project) {
	c := p.component
	taken := map[string]string{}
	add := func(source, dest string) {
		if other, dup := taken[dest]; dup {
			if other != source {
				p.fail("%q and %q would both be %q in the archives; rename one", other, source, dest)
			}
			return
		}
		taken[dest] = source
		source = path.Join(project.Dir, source)
		if wrong := project.BadLinks[source]; wrong != "" {
			p.fail("%q %s", source, wrong)
		}
		p.Extra = append(p.Extra, Extra{source, dest})
	}
	// The package's own files win over the workspace's of the same name, in any
	// case. Two of one directory clash, which is found later.
	has := func(base, dir string) bool {
		for dest, source := range taken {
			if dest == base || strings.EqualFold(dest, base) && path.Dir(source) != dir {
				return true
			}
		}
		return false
	}
	dirs := []string{}
	for _, pkg := range c.Packages {
		dirs = append(dirs, pkg.Dir)
		for _, named := range []string{pkg.LicenseFile, pkg.Readme} {
			if named == "" {
				continue
			}
			if file := path.Join(pkg.Dir, named); project.files[file] {
				if base := path.Base(file); !has(base, path.Dir(file)) {
					add(file, base)
				}
			} else if named == pkg.LicenseFile {
				p.fail("license-file %q of package %q is missing (looked for %q)", named, pkg.Name, file)
			}
		}
	}
	files := make([]string, 0, len(project.files))
	for f := range project.files {
		files = append(files, f)
	}
	sort.Strings(files)
	for _, dir := range append(append(dirs, "."), project.above()...) {
		for _, f := range files {
			if base := path.Base(f); path.Dir(f) == dir && !has(base, dir) && (licenseName.MatchString(base) || strings.EqualFold(base, "README.md")) {
				add(f, base)
			}
		}
	}
	for _, inc := range c.include {
		p.include(inc, files, add)
	}
	p.ChangelogPaths = c.changelogPaths(project.Dir)
	if cfg := c.Config.Changelog.Config; cfg != "" {
		p.ChangelogConfig = path.Join(project.Dir, cfg)
		if !project.files[path.Clean(cfg)] {
			p.fail("changelog config %q is missing", cfg)
		}
	} else {
		for _, dir := range append([]string{"."}, project.above()...) {
			if own := path.Join(dir, "cliff.toml"); project.files[own] {
				p.ChangelogConfig = path.Join(project.Dir, own)
				break
			}
		}
	}
	sort.Slice(p.Extra, func(i, j int) bool { return p.Extra[i].Path < p.Extra[j].Path })
}

func (p *Plan) include(inc include, files []string, add func(source, dest string)) {
	clean := path.Clean(inc.glob)
	where := path.Join(inc.dir, "Cargo.toml")
	if path.IsAbs(inc.glob) || clean == ".." || strings.HasPrefix(clean, "../") || strings.ContainsAny(inc.glob, "\\\x00") {
		p.fail("include %q of %s would escape the archive: name files below the folder of that Cargo.toml", inc.glob, where)
		return
	}
	if !doublestar.ValidatePattern(clean) {
		p.fail("include %q of %s is no glob", inc.glob, where)
		return
	}
	found := false
	for _, f := range files {
		rel := f
		if inc.dir == "." {
			if strings.HasPrefix(f, "../") {
				continue // in the source, but not in the workspace
			}
		} else {
			var below bool
			if rel, below = strings.CutPrefix(f, inc.dir+"/"); !below {
				continue
			}
		}
		// A folder stands for everything in it.
		if doublestar.MatchUnvalidated(clean, rel) || doublestar.MatchUnvalidated(clean+"/**", rel) {
			found = true
			add(f, rel)
		}
	}
	if !found {
		hint := ""
		if inc.dir != "." && slices.ContainsFunc(files, func(f string) bool { return doublestar.MatchUnvalidated(clean, f) }) {
			hint = "; it is found from the workspace's root: move the key to [workspace.metadata.gantry]"
		}
		p.fail("include %q of %s matches no file below %q%s", inc.glob, where, inc.dir, hint)
	}
}

// above are the folders of the source that the workspace is in, by their paths
// from it, the nearest first.
func (p *Project) above() []string {
	var dirs []string
	up := ".."
	for d := p.Dir; d != "."; d = path.Dir(d) {
		dirs = append(dirs, up)
		up += "/.."
	}
	return dirs
}

// changelogPaths are the globs of what changes the component of a workspace in
// dir.
func (c *Component) changelogPaths(dir string) []string {
	globs := c.changelogGlobs()
	if globs == nil && dir != "." {
		globs = []string{"**"}
		for _, d := range c.outside {
			globs = append(globs, d+"/**")
		}
		globs = append(globs, c.Config.Changelog.Paths...)
	}
	for i, g := range globs {
		globs[i] = path.Join(dir, g)
	}
	return globs
}

func (c *Component) changelogGlobs() []string {
	if c.Dirs == nil {
		return nil
	}
	var globs []string
	for _, d := range c.Dirs {
		if d == "." {
			// The root package of a workspace: everything is below it, so its
			// own sources alone are told apart from its members'.
			globs = append(globs, "src/**", "build.rs", "Cargo.toml")
			continue
		}
		globs = append(globs, d+"/**")
	}
	return append(globs, c.Config.Changelog.Paths...)
}

// addTargets adds targets and assets.
func (p *Plan) addTargets(c *Component, only []string) error {
	triples := c.Targets()
	if len(only) > 0 {
		for _, t := range only {
			if _, err := target.Lookup(t); err != nil {
				return err
			}
		}
		triples = only
	}
	for _, triple := range triples {
		t, err := p.planTarget(triple)
		if err != nil {
			return err
		}
		p.Targets = append(p.Targets, t)
		p.Assets = append(p.Assets, t.Archive)
		if t.SBOM != "" {
			p.Assets = append(p.Assets, t.SBOM)
		}
	}
	p.Assets = append(p.Assets, manifest.ChangelogName, manifest.SumsName, manifest.FileName)
	sort.Strings(p.Assets)
	return nil
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
			p.failOnce("packages %q and %q both have a binary %q, and tag %q would put both into one archive: choose with bins in each [package.metadata.gantry], or give one package a tag-prefix or release = false", other.Package, bin.Package, bin.Name, p.Tag)
			b.Bins = slices.Delete(b.Bins, i, i+1)
		}
	}
	t := TargetPlan{
		Target: triple, Platform: b.Target.Platform, Libc: b.Target.Libc, Profile: b.Config.Profile,
		Features: b.Config.Features, Archive: stem + b.Target.Archive, Binaries: b.Bins,
	}
	if b.SBOM {
		t.SBOM = stem + sbom.Suffix
	}
	return t, nil
}

func (c *Component) archiveTemplate() string { return or(c.Config.Archive, DefaultArchive) }

// archiveStem is the name of a target's archive, without suffix, and of the
// folder inside it.
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

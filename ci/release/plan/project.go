package plan

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"sort"
	"strings"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/target"
	"dagger/gantry/ci/version"
)

// Defaults of the configuration.
const (
	DefaultArchive      = "{name}-{version}-{target}"
	DefaultProfile      = "release"
	DefaultCargoCommand = "build"
)

// Project is a Cargo workspace as a release sees it.
type Project struct {
	// Dir of the workspace in the source, "." for its top.
	Dir string
	// BadLinks are files that are symbolic links and that no archive can have,
	// and what is wrong with each.
	BadLinks map[string]string
	// Lock is the text of Cargo.lock.
	Lock string
	// CustomToolchain says that the caller brings the toolchain.
	CustomToolchain bool

	// Components that can be released, sorted by name.
	Components []*Component
	// Scheme of the tags.
	Scheme *version.Scheme
	// Licenses of the packages, by the paths of their manifests.
	Licenses map[string]string

	// packages of the workspace, sorted by name.
	packages []*cargo.Package
	// absorbed are the packages that have no component of their own, since the
	// workspace's has their name, by the prefix that they would have.
	absorbed map[string]*Component
	// files of the source, by their paths from the workspace.
	files map[string]bool
}

// Component is something that is released under its own tags.
type Component struct {
	Name     string
	Prefixes []string
	// Packages that are released, sorted by name.
	Packages []*cargo.Package
	// Config that holds for all of its packages. What each may have of its own
	// (bins, features, prerelease) is in settings.
	Config Config
	// Whole says that its packages have components of their own too.
	Whole bool
	// LeftOut are the packages of the workspace that have binaries, but that a
	// tag without a prefix does not release.
	LeftOut []LeftOut
	// Dirs whose changes are changes of the component; nil for everything.
	Dirs []string
	// OwnsLatest says that its releases may be GitHub's "Latest".
	OwnsLatest bool

	// settings of the packages, in their order.
	settings []settings
	// conflicts are the keys that its packages set, and that one release can't
	// follow for each of them.
	conflicts []string
	// former are the prefixes that are set, but not for new tags.
	former []string
	// helper says why only tags with its name release it, if that is so.
	helper string
	// outside are those of its folders that are not in the workspace's.
	outside []string
	include []include
}

// settings of one package: what it sets, and what holds for it.
type settings struct{ own, merged Config }

// LeftOut is a package that is not part of a release, and why.
type LeftOut struct {
	Package string `json:"package"`
	Why     string `json:"why"`
}

// include is a glob and the folder it starts from.
type include struct{ dir, glob string }

// Load reads a workspace from the output of `cargo metadata --no-deps` and the
// paths of the files of the source, which was at root when Cargo read it. Its
// errors are the mistakes of the configuration, all of them.
func Load(cargoMetadata []byte, root string, files []string) (*Project, error) {
	m, err := cargo.ReadMetadata(cargoMetadata)
	if err != nil {
		return nil, err
	}
	p := &Project{packages: m.Packages, absorbed: map[string]*Component{}, files: map[string]bool{}, Licenses: map[string]string{}}
	for _, pkg := range m.Packages {
		p.Licenses[pkg.ManifestPath] = pkg.License
	}
	if p.Dir, err = m.DirIn(root); err != nil {
		return nil, err
	}
	for _, f := range files {
		p.files[m.Relative(path.Join(root, f))] = true
	}
	var errs []error
	workspace, err := readConfig(m.Metadata, "Cargo.toml [workspace.metadata.gantry]")
	errs = append(errs, err)
	components, err := p.components(m, workspace)
	errs = append(errs, err)
	p.Components = components
	for _, c := range p.Components {
		errs = append(errs, c.check())
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var names []version.Component
	for _, c := range p.Components {
		names = append(names, version.Component{Name: c.Name, Prefixes: c.Prefixes})
	}
	if p.Scheme, err = version.NewScheme(names); err != nil {
		return nil, err
	}
	return p, p.chooseLatest()
}

// chooseLatest finds the component whose releases may be GitHub's "Latest".
func (p *Project) chooseLatest() error {
	var owners []string
	for _, c := range p.Components {
		c.OwnsLatest = isTrue(c.Config.Latest)
		if c.OwnsLatest {
			owners = append(owners, c.Name)
		}
	}
	if len(owners) > 1 {
		return fmt.Errorf("components %s all have latest = true, but a repository has one Latest release: keep it at one", strings.Join(owners, ", "))
	}
	if len(owners) == 1 {
		return nil
	}
	released := 0
	for _, c := range p.Components {
		if c.helper == "" {
			released++
		}
	}
	for _, c := range p.Components {
		declined := c.Config.Latest != nil
		c.OwnsLatest = !declined && c.helper == "" && (released == 1 || slices.Contains(c.Prefixes, ""))
	}
	return nil
}

// components finds what can be released. Each package with binaries is a
// component. Where it has no tag-prefix, its tags start with its name; a tag
// without a prefix releases the only package, or all of those that have no
// tag-prefix at one version.
func (p *Project) components(m *cargo.Workspace, workspace Config) ([]*Component, error) {
	errs := []error{checkShared(m, workspace)}
	var all []*Component
	var leftOut []LeftOut
	for _, pkg := range m.Packages {
		manifestPath := pkg.Manifest()
		own, err := readConfig(pkg.Metadata, manifestPath+" [package.metadata.gantry]")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		base := workspace
		base.Name, base.Include, base.TagPrefix = "", nil, nil
		set := settings{own: own, merged: merge(base, own)}
		if why := notReleased(pkg, set); why != "" {
			if len(pkg.AllBins()) > 0 {
				leftOut = append(leftOut, LeftOut{pkg.Name, why})
			}
			if own.TagPrefix != nil && set.merged.Release == nil {
				errs = append(errs, fmt.Errorf("%s: package %q has a tag-prefix, but no binary to release (%s)", manifestPath, pkg.Name, why))
			}
			continue
		}
		c := &Component{Name: pkg.Name, Packages: []*cargo.Package{pkg}, Config: set.merged, settings: []settings{set}}
		if own.Name != "" {
			c.Name = own.Name
		}
		c.include = append(globs(".", workspace.Include), globs(pkg.Dir, own.Include)...)
		c.Dirs = m.SourceDirs(c.Packages)
		c.outside = outside(c.Dirs)
		if slices.Equal(c.Dirs, []string{"."}) {
			c.Dirs = nil
		}
		if own.TagPrefix != nil {
			c.Prefixes, c.former = own.TagPrefix, own.TagPrefix[1:]
		} else {
			c.Prefixes = []string{c.Name + "-"}
		}
		if other := named(all, c.Name); other != nil {
			errs = append(errs, fmt.Errorf("packages %q and %q are both released as %q: give each a name of its own in its [package.metadata.gantry]", other.Packages[0].Name, pkg.Name, c.Name))
		}
		all = append(all, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		hint := "add src/main.rs or a [[bin]] to one"
		for _, l := range leftOut {
			hint += fmt.Sprintf("; package %q is left out: %s", l.Package, l.Why)
		}
		return nil, fmt.Errorf("no package of the workspace has a binary to release: %s", hint)
	}
	parts, helpers := together(all)
	common := []string{""}
	if workspace.TagPrefix != nil {
		common = workspace.TagPrefix
	}
	switch {
	case len(parts) == 1:
		c := parts[0]
		c.LeftOut = append(leftOut, whyHelpers(helpers)...)
		if workspace.TagPrefix != nil {
			c.Prefixes = nil
		}
		c.Prefixes, c.former = append(slices.Clone(common), c.Prefixes...), common[1:]
		if len(all)-len(helpers) == 1 {
			c.Dirs = nil
		}
	case len(parts) > 1:
		whole := wholeWorkspace(m, workspace, parts, common)
		if other := named(all, whole.Name); other != nil {
			if other.settings[0].own.TagPrefix != nil {
				return nil, fmt.Errorf("a tag such as %s would release packages %s together as %q, but that is what package %q with tag-prefix %q is released as: set name in [workspace.metadata.gantry]",
					whole.example(), quoted(whole.packageNames()), whole.Name, other.Packages[0].Name, other.Prefixes[0])
			}
			// The tag of the workspace and that of a package of the same name
			// would be told apart by the prefix alone, so the package gives way.
			p.absorbed[other.Prefixes[0]] = whole
			other.Prefixes = nil
			all = slices.DeleteFunc(all, func(c *Component) bool { return c == other })
		}
		whole.LeftOut = append(leftOut, whyHelpers(helpers)...)
		all = append(all, whole)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// together divides the components without a tag-prefix into those that a tag
// without a prefix releases, and helpers, which only a tag with their name
// releases: where one package may be published, those that may not be are tools,
// examples and test servers, unless they say otherwise.
func together(all []*Component) (parts, helpers []*Component) {
	var unprefixed []*Component
	published := false
	for _, c := range all {
		if c.settings[0].own.TagPrefix == nil {
			unprefixed = append(unprefixed, c)
			published = published || c.Packages[0].Publishable()
		}
	}
	for _, c := range unprefixed {
		if published && !c.Packages[0].Publishable() && !isTrue(c.Config.Release) {
			c.helper = "it has publish = false: set release = true in its [package.metadata.gantry] to include it"
			helpers = append(helpers, c)
			continue
		}
		parts = append(parts, c)
	}
	return parts, helpers
}

// whyHelpers returns why each helper is left out, and how to release it.
func whyHelpers(helpers []*Component) []LeftOut {
	var out []LeftOut
	for _, h := range helpers {
		why := h.helper
		if len(h.Prefixes) > 0 {
			why += fmt.Sprintf(", or tag %s to release it alone", h.newTag(h.Packages[0].Version))
		}
		out = append(out, LeftOut{h.Packages[0].Name, why})
	}
	return out
}

// named returns the component of a name, or nil.
func named(all []*Component, name string) *Component {
	if i := slices.IndexFunc(all, func(c *Component) bool { return c.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

func quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}

func (c *Component) packageNames() []string {
	var names []string
	for _, pkg := range c.Packages {
		names = append(names, pkg.Name)
	}
	return names
}

// example returns a tag of the component.
func (c *Component) example() string { return c.newTag("1.2.3") }

// newTag returns the tag of a version; without a prefix, it has a "v".
func (c *Component) newTag(version string) string {
	if c.Prefixes[0] == "" {
		return "v" + version
	}
	return c.Prefixes[0] + version
}

// notReleased says why a package is not one to release; it is empty for one that
// is. By convention, xtask is the workspace's own tool
// (https://github.com/matklad/cargo-xtask).
func notReleased(pkg *cargo.Package, set settings) string {
	switch {
	case set.merged.Release != nil && !*set.merged.Release:
		return "it has release = false"
	case set.merged.Release == nil && pkg.Name == "xtask" && set.own.TagPrefix == nil:
		return "xtask is the workspace's own tool; release = true in its [package.metadata.gantry] includes it"
	case len(pkg.AllBins()) == 0:
		return "it has no binary"
	case len(pkg.Bins(set.merged.cargo())) == 0:
		return "its features build none of its binaries, which have required-features; enable them with features"
	case len(set.own.Bins) == 0 && len(narrow(pkg.Bins(set.merged.cargo()), set.merged.Bins)) == 0:
		return "bins of [workspace.metadata.gantry] has none of its binaries"
	}
	return ""
}

// narrow returns those of the names that are wanted; none wanted means all.
func narrow(names, wanted []string) []string {
	if len(wanted) == 0 {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(wanted, n) })
}

// checkShared checks the names in the workspace's configuration that each
// package takes its part of: a name that no package has is a mistake.
func checkShared(m *cargo.Workspace, workspace Config) error {
	const where = "Cargo.toml [workspace.metadata.gantry]"
	var bins, features []string
	for _, pkg := range m.Packages {
		bins = append(bins, pkg.AllBins()...)
		features = append(features, slices.Sorted(maps.Keys(pkg.Features))...)
	}
	var errs []error
	check := func(cfg BuildConfig, where string) {
		for _, name := range cfg.Bins {
			if !slices.Contains(bins, name) {
				errs = append(errs, fmt.Errorf("%s: no package has the binary %q of bins%s (there are: %s)", where, name, nearest.Hint(name, bins), cargo.List(bins)))
			}
		}
		for _, f := range cfg.Features {
			if !slices.ContainsFunc(m.Packages, func(p *cargo.Package) bool { return p.HasFeature(f) }) {
				errs = append(errs, fmt.Errorf("%s: no package has the feature %q of features%s", where, f, nearest.Hint(f, features)))
			}
		}
	}
	check(workspace.BuildConfig, where)
	for _, triple := range slices.Sorted(maps.Keys(workspace.Target)) {
		check(workspace.Target[triple], where+" target "+triple)
	}
	return errors.Join(errs...)
}

// outside are those of the folders that are not in the workspace's.
func outside(dirs []string) []string {
	return slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return d != ".." && !strings.HasPrefix(d, "../") })
}

func globs(dir string, patterns []string) []include {
	var out []include
	for _, g := range patterns {
		out = append(out, include{dir, g})
	}
	return out
}

// wholeWorkspace is the component that a tag without a package's prefix
// releases: every package without a tag-prefix, together.
func wholeWorkspace(m *cargo.Workspace, workspace Config, parts []*Component, prefixes []string) *Component {
	c := &Component{Name: workspace.Name, Prefixes: prefixes, former: prefixes[1:], Whole: true, include: globs(".", workspace.Include)}
	for _, part := range parts {
		c.Packages = append(c.Packages, part.Packages...)
		c.settings = append(c.settings, part.settings...)
		c.include = append(c.include, part.include[len(workspace.Include):]...)
		c.outside = append(c.outside, part.outside...)
		if part.Packages[0].Dir == "." && c.Name == "" {
			c.Name = part.Packages[0].Name
		}
	}
	sort.Strings(c.outside)
	c.outside = slices.Compact(c.outside)
	for _, pkg := range c.Packages {
		if name := repositoryName(pkg.Repository); c.Name == "" {
			c.Name = name
		}
	}
	if c.Name == "" {
		c.Name = path.Base(m.Root)
		if c.Name == "src" || c.Name == "/" {
			c.Name = c.Packages[0].Name
		}
	}
	c.combine(workspace)
	for _, part := range parts {
		if isTrue(part.Config.Latest) {
			part.Config.Latest = new(bool) // it is the whole's, which has the package too
		}
	}
	return c
}

// Targets returns the targets of the component, by its configuration.
func (c *Component) Targets() []string { return c.Config.targets() }

// Bins of the component for a target, sorted by name.
func (c *Component) Bins(triple string) ([]cargo.Bin, error) {
	var out []cargo.Bin
	for i, pkg := range c.Packages {
		set := c.settings[i]
		cfg := set.merged.forTarget(triple)
		built := pkg.Bins(cfg.cargo())
		if own := set.own.forTarget(triple).Bins; slices.Equal(own, cfg.Bins) {
			for _, want := range own {
				if !slices.Contains(built, want) {
					return nil, fmt.Errorf("component %q has no binary %q for %s%s (it has: %s)", c.Name, want, triple, nearest.Hint(want, built), strings.Join(built, ", "))
				}
			}
		}
		for _, name := range narrow(built, cfg.Bins) {
			out = append(out, cargo.Bin{Name: name, Package: pkg.Name, Version: pkg.Version, ID: pkg.ID})
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	if len(out) == 0 {
		return nil, fmt.Errorf("component %q has no binary for %s", c.Name, triple)
	}
	return out, nil
}

// Build is what `cargo build` is to do for one target of one component.
type Build struct {
	Target target.Target
	Bins   []cargo.Bin
	Config BuildConfig
	// Command is the Cargo subcommand.
	Command string
	// GitDir says that the build sees .git.
	GitDir bool
	// MaxGlibc is the highest glibc version allowed, or empty.
	MaxGlibc string
	// SBOM says that it has to leave what a bill of materials is made of.
	SBOM bool
}

// Args of Cargo after the subcommand, less the targets and those that every
// build has.
func (b Build) Args() []string {
	args := []string{"--locked", "--profile", b.Config.Profile}
	var packages []string
	for _, bin := range b.Bins {
		// A dependency may have the package's name.
		if spec := bin.Package + "@" + bin.Version; !slices.Contains(packages, spec) {
			packages = append(packages, spec)
		}
	}
	sort.Strings(packages)
	for _, p := range packages {
		args = append(args, "--package", p)
	}
	for _, bin := range b.Bins {
		args = append(args, "--bin", bin.Name)
	}
	if isTrue(b.Config.AllFeatures) {
		args = append(args, "--all-features")
	}
	if isTrue(b.Config.NoDefaultFeatures) {
		args = append(args, "--no-default-features")
	}
	if len(b.Config.Features) > 0 {
		args = append(args, "--features", strings.Join(b.Config.Features, ","))
	}
	return args
}

// Group collects the builds that one call of Cargo can make: those that differ
// in their target alone. Proc macros, build scripts and what they depend on
// are then compiled once, and no core idles while one target is being linked.
// Builds with Debian packages of their own stay alone, since the packages of
// two architectures may exclude each other.
func Group(builds []Build) [][]Build {
	var groups [][]Build
	for _, b := range builds {
		i := slices.IndexFunc(groups, func(g []Build) bool { return g[0].together(b) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], b)
	}
	return groups
}

func (b Build) together(other Build) bool {
	return b.Command == DefaultCargoCommand && len(b.Config.Packages) == 0 &&
		b.Command == other.Command && b.GitDir == other.GitDir && b.SBOM == other.SBOM &&
		reflect.DeepEqual(b.Config, other.Config) && slices.Equal(b.Bins, other.Bins)
}

// OneFolder says whether the binaries of some builds can be in one folder.
func OneFolder(builds []Build) error {
	from := map[string]cargo.Bin{}
	for _, b := range builds {
		for _, bin := range b.Bins {
			if other, dup := from[bin.Name]; dup && other.ID != bin.ID {
				return fmt.Errorf("binary %q is built by package %q and by package %q, and a folder holds but one: name a component", bin.Name, other.Package, bin.Package)
			}
			from[bin.Name] = bin
		}
	}
	return nil
}

// Build of one target.
func (c *Component) Build(triple string) (Build, error) {
	if len(c.conflicts) > 0 {
		return Build{}, fmt.Errorf("component %q can't be built in one go: %s; set it in [workspace.metadata.gantry] instead, or build a component of one package", c.Name, strings.Join(c.conflicts, "; "))
	}
	return c.build(triple)
}

// build is Build for a plan, which reports conflicts itself.
func (c *Component) build(triple string) (Build, error) {
	t, err := target.Lookup(triple)
	if err != nil {
		return Build{}, err
	}
	bins, err := c.Bins(triple)
	if err != nil {
		return Build{}, err
	}
	for i, pkg := range c.Packages {
		for _, f := range c.settings[i].own.forTarget(triple).Features {
			if !pkg.HasFeature(f) {
				return Build{}, fmt.Errorf("package %q has no feature %q%s", pkg.Name, f, nearest.Hint(f, slices.Sorted(maps.Keys(pkg.Features))))
			}
		}
	}
	b := Build{Target: t, Bins: bins, Config: c.buildConfig(triple), Command: c.Config.CargoCommand, GitDir: isTrue(c.Config.GitDir), MaxGlibc: c.Config.MaxGlibc, SBOM: isTrue(c.Config.SBOM)}
	if b.Config.Profile == "" {
		b.Config.Profile = DefaultProfile
	}
	if b.Command == "" {
		b.Command = DefaultCargoCommand
	}
	return b, nil
}

// Separate returns components that have each package once: it skips the one of
// several packages if all of them have their own.
func (p *Project) Separate() []*Component {
	if len(p.absorbed) > 0 {
		return p.Components
	}
	return slices.DeleteFunc(slices.Clone(p.Components), func(c *Component) bool { return c.Whole })
}

// Component by name; the empty name is the only one there is.
func (p *Project) Component(name string) (*Component, error) {
	var names []string
	for _, c := range p.Components {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if name == "" && len(p.Components) == 1 {
		return p.Components[0], nil
	}
	if name == "" {
		return nil, fmt.Errorf("the workspace has several components; name one of %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("unknown component %q%s (known: %s)", name, nearest.Hint(name, names), strings.Join(names, ", "))
}

// check finds the mistakes of the component's configuration that do not
// depend on a tag.
func (c *Component) check() error {
	var errs []error
	fail := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("component %q: "+format, append([]any{c.Name}, args...)...))
	}
	if policy := c.Config.Prerelease; policy != "" && policy != PolicyExact && policy != PolicyCore {
		fail("unknown prerelease policy %q; it is %q or %q", policy, PolicyExact, PolicyCore)
	}
	if max := c.Config.MaxGlibc; max != "" {
		if err := binary.ParseGlibc(max); err != nil {
			fail("max-glibc %q: %w", max, err)
		}
	}
	if cmd := c.Config.CargoCommand; cmd != "" && !cargoCommand.MatchString(cmd) {
		fail("cargo-command %q is no Cargo subcommand; write one word, like \"zigbuild\"", cmd)
	}
	for triple := range c.Config.Target {
		if _, err := target.Lookup(triple); err != nil {
			fail("target table: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, triple := range c.Targets() {
		if seen[triple] {
			fail("target %q is listed twice", triple)
		}
		seen[triple] = true
		if _, err := c.build(triple); err != nil {
			errs = append(errs, err)
		}
	}
	checkEnv := func(env map[string]string) {
		for name, value := range env {
			if !envName.MatchString(name) {
				fail("%q is no name of an environment variable: use letters, digits and _, and in the target of a name like CC_<target> also - and .", name)
			}
			if strings.ContainsRune(value, 0) {
				fail("the value of env %q has a NUL character", name)
			}
		}
	}
	checkEnv(c.Config.Env)
	for _, t := range c.Config.Target {
		checkEnv(t.Env)
	}
	if c.Config.Image != nil {
		if err := checkImage(c.Config.Image); err != nil {
			fail("%w", err)
		}
	}
	return errors.Join(errs...)
}

func checkImage(i *manifest.Image) error {
	for from, to := range i.Include {
		if _, err := notation.CleanPath(from); err != nil {
			return fmt.Errorf("image include %q: %w", from, err)
		}
		if !path.IsAbs(to) {
			return fmt.Errorf("image include %q goes to %q, which is not an absolute path in the image", from, to)
		}
	}
	return nil
}

// nextTag would release the component as the version that its manifest has. Of
// tags that have that version already, it is the one at the commit of git, which
// here says; released is one elsewhere.
func (p *Project) nextTag(c *Component, git Git) (tag string, here bool, released string) {
	tag = c.newTag(c.Packages[0].Version)
	for _, t := range p.Scheme.Tags(c.Name, git.Tags) {
		if t.Version.Original() != c.Packages[0].Version {
			continue
		}
		if !slices.Contains(git.Tags, version.GitTag{Name: t.Name, Commit: git.Commit}) {
			return tag, false, t.Name
		}
		if !here || t.Name == c.newTag(c.Packages[0].Version) {
			tag, here = t.Name, true
		}
	}
	return tag, here, ""
}

// Ready plans the release of each component as the version that its manifest
// has, and returns what it would be, or everything that stands in its way. A
// version that is tagged elsewhere is released, and nothing is in its way any
// more.
func (p *Project) Ready(git Git) (string, error) {
	var lines []string
	var errs []error
	say := func(c *Component, format string, args ...any) {
		lines = append(lines, c.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, c := range p.Components {
		if c.helper != "" {
			say(c, "left out: %s", c.helper)
			continue
		}
		tag, here, released := p.nextTag(c, git)
		if released != "" {
			say(c, "released as %s; the next release needs another version", released)
			continue
		}
		next, err := p.Plan(tag, git, nil)
		if err == nil {
			err = next.Err()
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("component %q can't be released as %q: %w", c.Name, tag, err))
		case here:
			say(c, "tagged as %s at this commit, which can be released", tag)
		default:
			say(c, "ready to be released as %s", tag)
		}
	}
	return strings.Join(lines, "\n") + "\n", errors.Join(errs...)
}

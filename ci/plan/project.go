package plan

import (
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"sort"
	"strings"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
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

	// Components that can be released, sorted by name.
	Components []*Component
	// Scheme of the tags.
	Scheme *version.Scheme
	// Licenses of the packages, by the paths of their manifests.
	Licenses map[string]string

	// packages of the workspace, sorted by name.
	packages []*Package
	// files of the source, by their paths from the workspace.
	files map[string]bool
}

// Component is something that is released under its own tags.
type Component struct {
	Name     string
	Prefixes []string
	// Packages that are released, sorted by name.
	Packages []*Package
	// Config that holds for all of its packages.
	Config Config
	// Dirs whose changes are changes of the component; nil for everything.
	Dirs []string
	// OwnsLatest says that its releases may be GitHub's "Latest".
	OwnsLatest bool

	// outside are those of its folders that are not in the workspace's.
	outside   []string
	configDir string
	include   []include
}

// include is a glob and the folder it starts from.
type include struct{ dir, glob string }

// Bin is a binary and the package that builds it.
type Bin struct {
	Name    string `json:"name"`
	Package string `json:"package"`
	// ID of the package in Cargo's messages.
	ID string `json:"-"`
}

// Load reads a workspace from the output of `cargo metadata --no-deps` and the
// paths of the files of the source, which was at root when Cargo read it. Its
// errors are the mistakes of the configuration, all of them.
func Load(cargoMetadata []byte, root string, files []string) (*Project, error) {
	m, err := readMetadata(cargoMetadata)
	if err != nil {
		return nil, err
	}
	p := &Project{packages: m.Packages, files: map[string]bool{}, Licenses: map[string]string{}}
	for _, pkg := range m.Packages {
		p.Licenses[pkg.ManifestPath] = pkg.License
	}
	if p.Dir, err = m.dir(root); err != nil {
		return nil, err
	}
	for _, f := range files {
		p.files[m.relative(path.Join(root, f))] = true
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
	for _, c := range p.Components {
		declined := c.Config.Latest != nil
		c.OwnsLatest = !declined && (len(p.Components) == 1 || slices.Contains(c.Prefixes, ""))
	}
	return nil
}

// components finds what can be released. Each package with binaries is a
// component. Where it has no tag-prefix, its tags start with its name; a tag
// without a prefix releases the only package, or all of those that have no
// tag-prefix at one version.
func (p *Project) components(m *metadata, workspace Config) ([]*Component, error) {
	var errs []error
	var all, unprefixed []*Component
	for _, pkg := range m.Packages {
		manifestPath := path.Join(pkg.Dir, "Cargo.toml")
		own, err := readConfig(pkg.RawMetadata, manifestPath+" [package.metadata.gantry]")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		base := workspace
		base.Name, base.Include = "", nil
		cfg := merge(base, own)
		if !released(pkg, cfg, own) || len(pkg.bins(cfg)) == 0 {
			if own.TagPrefix != nil && cfg.Release == nil {
				errs = append(errs, fmt.Errorf("%s: package %q has a tag-prefix, but no binary that its features build", manifestPath, pkg.Name))
			}
			continue
		}
		c := &Component{Name: pkg.Name, Packages: []*Package{pkg}, Config: cfg, configDir: pkg.Dir}
		if cfg.Name != "" {
			c.Name = cfg.Name
		}
		c.include = append(globs(".", workspace.Include), globs(pkg.Dir, own.Include)...)
		c.Dirs = m.dirs(c.Packages)
		c.outside = outside(c.Dirs)
		if slices.Equal(c.Dirs, []string{"."}) {
			c.Dirs = nil
		}
		if own.TagPrefix != nil {
			c.Prefixes = []string{*own.TagPrefix}
		} else {
			c.Prefixes = []string{c.Name + "-"}
			unprefixed = append(unprefixed, c)
		}
		all = append(all, c)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no package of the workspace has a binary to release: add src/main.rs or a [[bin]] to one, or take release = false and unmet required-features away")
	}
	common := ""
	if workspace.TagPrefix != nil {
		common = *workspace.TagPrefix
	}
	switch {
	case len(unprefixed) == 1:
		c := unprefixed[0]
		if workspace.TagPrefix != nil {
			c.Prefixes = nil
		}
		c.Prefixes = append([]string{common}, c.Prefixes...)
		if len(all) == 1 {
			c.Dirs = nil
		}
	case len(unprefixed) > 1:
		whole, err := wholeWorkspace(m, workspace, unprefixed, common)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(c *Component) bool { return c.Name == whole.Name }) {
			// The tag of the workspace and that of a package of the same name
			// would be told apart by the prefix alone, so the package gives way.
			all = slices.DeleteFunc(all, func(c *Component) bool { return c.Name == whole.Name })
		}
		all = append(all, whole)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all, nil
}

// released says whether a package is one to release, by what holds for it and
// what it sets itself. By convention, xtask is the
// workspace's own tool (https://github.com/matklad/cargo-xtask).
func released(pkg *Package, cfg, own Config) bool {
	if cfg.Release != nil {
		return *cfg.Release
	}
	return pkg.Name != "xtask" || own.TagPrefix != nil
}

// outside are those of the folders that are not in the workspace's.
func outside(dirs []string) []string {
	return slices.DeleteFunc(slices.Clone(dirs), func(d string) bool { return !strings.HasPrefix(d, "../") })
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
func wholeWorkspace(m *metadata, workspace Config, parts []*Component, prefix string) (*Component, error) {
	c := &Component{Name: workspace.Name, Prefixes: []string{prefix}, Config: workspace, configDir: ".", include: globs(".", workspace.Include)}
	var names []string
	for _, part := range parts {
		c.Packages = append(c.Packages, part.Packages...)
		c.include = append(c.include, part.include[len(workspace.Include):]...)
		c.outside = append(c.outside, part.outside...)
		names = append(names, part.Packages[0].Name)
		if part.Packages[0].Dir == "." && c.Name == "" {
			c.Name = part.Packages[0].Name
		}
	}
	sort.Strings(c.outside)
	c.outside = slices.Compact(c.outside)
	if c.Name == "" {
		for _, pkg := range c.Packages {
			if base := path.Base(strings.TrimSuffix(strings.TrimSuffix(pkg.Repository, "/"), ".git")); pkg.Repository != "" {
				c.Name = base
				break
			}
		}
	}
	if c.Name == "" {
		c.Name = path.Base(m.WorkspaceRoot)
		if c.Name == "src" || c.Name == "/" {
			c.Name = names[0]
		}
	}
	c.Config.Name = c.Name
	return c, nil
}

// Targets of a component, by its configuration.
func (c *Component) Targets() []string {
	if len(c.Config.Targets) > 0 {
		return c.Config.Targets
	}
	return target.Default
}

// Bins of the component for a target, sorted by name.
func (c *Component) Bins(triple string) ([]Bin, error) {
	cfg := c.Config
	cfg.BuildConfig = cfg.forTarget(triple)
	var out []Bin
	var known []string
	for _, pkg := range c.Packages {
		for _, name := range pkg.bins(cfg) {
			known = append(known, name)
			if len(cfg.Bins) == 0 || slices.Contains(cfg.Bins, name) {
				out = append(out, Bin{Name: name, Package: pkg.Name, ID: pkg.ID})
			}
		}
	}
	for _, want := range cfg.Bins {
		if !slices.Contains(known, want) {
			sort.Strings(known)
			return nil, fmt.Errorf("component %q has no binary %q for %s%s (it has: %s)", c.Name, want, triple, nearest.Hint(want, known), strings.Join(known, ", "))
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	for i := 1; i < len(out); i++ {
		if out[i].Name == out[i-1].Name {
			return nil, fmt.Errorf("component %q would release binary %q twice, from packages %q and %q; name the wanted ones in bins, or give each a tag-prefix of its own",
				c.Name, out[i].Name, out[i-1].Package, out[i].Package)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("component %q has no binary for %s", c.Name, triple)
	}
	return out, nil
}

// Build is what `cargo build` is to do for one target of one component.
type Build struct {
	Target target.Target
	Bins   []Bin
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
		if !slices.Contains(packages, bin.Package) {
			packages = append(packages, bin.Package)
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
	from := map[string]Bin{}
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
	t, err := target.Lookup(triple)
	if err != nil {
		return Build{}, err
	}
	bins, err := c.Bins(triple)
	if err != nil {
		return Build{}, err
	}
	b := Build{Target: t, Bins: bins, Config: c.Config.forTarget(triple), Command: c.Config.CargoCommand, GitDir: isTrue(c.Config.GitDir), MaxGlibc: c.Config.MaxGlibc, SBOM: isTrue(c.Config.SBOM)}
	if b.Config.Profile == "" {
		b.Config.Profile = DefaultProfile
	}
	if b.Command == "" {
		b.Command = DefaultCargoCommand
	}
	return b, nil
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
		if _, err := c.Build(triple); err != nil {
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
		if _, err := archive.CleanPath(from); err != nil {
			return fmt.Errorf("image include %q: %w", from, err)
		}
		if !path.IsAbs(to) {
			return fmt.Errorf("image include %q goes to %q, which is not an absolute path in the image", from, to)
		}
	}
	return nil
}

// nextTag would release the component as the version that its manifest has. Of
// tags that say that version already, it is the one at the commit of git;
// released is one elsewhere.
func (p *Project) nextTag(c *Component, git Git) (tag, released string) {
	tag = c.Prefixes[0] + c.Packages[0].Version
	if c.Prefixes[0] == "" {
		tag = "v" + tag
	}
	for _, t := range p.Scheme.Tags(c.Name, git.Tags) {
		if t.Version.Original() != c.Packages[0].Version {
			continue
		}
		if !slices.Contains(git.Tags, version.GitTag{Name: t.Name, Commit: git.Commit}) {
			return tag, t.Name
		}
		tag = t.Name
	}
	return tag, ""
}

// Ready plans the release of each component as the version that its manifest
// has, and says what it would be, or all that stands in its way. A version that
// is tagged elsewhere is released, and nothing is in its way any more.
func (p *Project) Ready(git Git) (string, error) {
	var lines []string
	var errs []error
	for _, c := range p.Components {
		tag, released := p.nextTag(c, git)
		if released != "" {
			lines = append(lines, fmt.Sprintf("%s: released as %s; the next release needs another version", c.Name, released))
			continue
		}
		next, err := p.Plan(tag, git, nil)
		if err == nil {
			err = next.Err()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("component %q can't be released as %q: %w", c.Name, tag, err))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: ready to be released as %s", c.Name, tag))
	}
	return strings.Join(lines, "\n") + "\n", errors.Join(errs...)
}

package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/release/cargo"
)

// Component is a part of the project that has release tags.
type Component struct {
	Name     string
	Prefixes []string
	// Packages that are released, sorted by name.
	Packages []*cargo.Package
	// Config that holds for all packages. What each may set separately (bins,
	// features, prerelease) is in settings.
	Config Config
	// Whole is true if it has several packages, each of which has a component too.
	Whole bool
	// LeftOut are the packages with binaries that a tag without a prefix doesn't
	// release.
	LeftOut []LeftOut
	// OwnsLatest is true if its releases may become GitHub's "Latest".
	OwnsLatest bool

	// settings of the packages, in their order.
	settings []settings
	// conflicts describe the keys on which its packages differ, although one release
	// can only have one value.
	conflicts []string
	// former are the prefixes that new tags don't get.
	former []string
	// helper is the reason why only tags with its name release it, if so.
	helper string
	// workspace of the packages. With everything, any change in it is a change of the
	// component too.
	workspace  *cargo.Workspace
	everything bool
	include    []include
}

// settings of one package: its own table, and that merged with the workspace's.
type settings struct{ own, merged Config }

// LeftOut is a package that is not part of a release, and why.
type LeftOut struct {
	Package string `json:"package"`
	Why     string `json:"why"`
}

// include is a glob and the directory it starts from.
type include struct{ dir, glob string }

// components finds the components. Each package with binaries is one. If it has no
// tag-prefix, its tags start with its name. A tag without a prefix releases the only
// package, or all packages without a tag-prefix at one version.
func (p *Project) components(w *cargo.Workspace, workspace Config) ([]*Component, error) {
	all, leftOut, err := packageComponents(w, workspace)
	if err != nil {
		return nil, err
	}
	parts, helpers := splitHelpers(all)
	prefixes := []string{""}
	if workspace.TagPrefix != nil {
		prefixes = workspace.TagPrefix
	}
	var main *Component
	switch {
	case len(parts) == 1:
		main = parts[0]
		if workspace.TagPrefix != nil {
			main.Prefixes = nil
		}
		main.Prefixes, main.former = append(slices.Clone(prefixes), main.Prefixes...), prefixes[1:]
		if len(all)-len(helpers) == 1 {
			main.everything = true
		}
	case len(parts) > 1:
		main = wholeWorkspace(w, workspace, parts, prefixes)
		if all, err = p.absorb(all, main); err != nil {
			return nil, err
		}
		all = append(all, main)
	}
	if main != nil {
		main.LeftOut = append(leftOut, whyHelpers(helpers)...)
	}
	slices.SortFunc(all, func(a, b *Component) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// packageComponents returns a component for each package to release, and the other
// packages that have binaries.
func packageComponents(w *cargo.Workspace, workspace Config) (all []*Component, leftOut []LeftOut, err error) {
	errs := []error{checkShared(w, workspace)}
	base := workspace
	base.Name, base.Include, base.TagPrefix = "", nil, nil
	for _, pkg := range w.Packages {
		own, err := readConfig(pkg.Metadata, pkg.Manifest()+" [package.metadata.gantry]")
		if err != nil {
			errs = append(errs, err)
			continue
		}
		set := settings{own: own, merged: merge(base, own)}
		if why := notReleased(pkg, set); why != "" {
			if len(pkg.AllBins()) > 0 {
				leftOut = append(leftOut, LeftOut{pkg.Name, why})
			}
			if own.TagPrefix != nil && set.merged.Release == nil {
				errs = append(errs, fmt.Errorf("%s: package %q has a tag-prefix, but no binary to release (%s)", pkg.Manifest(), pkg.Name, why))
			}
			continue
		}
		c := packageComponent(w, pkg, set)
		c.include = append(globs(".", workspace.Include), c.include...)
		if other := named(all, c.Name); other != nil {
			errs = append(errs, fmt.Errorf("packages %q and %q are both released as %q: set a different name in the [package.metadata.gantry] of one", other.Packages[0].Name, pkg.Name, c.Name))
		}
		all = append(all, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		hint := "add src/main.rs or a [[bin]] to one"
		for _, l := range leftOut {
			hint += fmt.Sprintf("; package %q is excluded: %s", l.Package, l.Why)
		}
		return nil, nil, fmt.Errorf("no package of the workspace has a binary to release: %s", hint)
	}
	return all, leftOut, nil
}

// packageComponent returns the component of one package.
func packageComponent(w *cargo.Workspace, pkg *cargo.Package, set settings) *Component {
	c := &Component{
		Name: cmp.Or(set.own.Name, pkg.Name), Packages: []*cargo.Package{pkg}, Config: set.merged, settings: []settings{set},
		include: globs(pkg.Dir, set.own.Include), workspace: w,
	}
	c.everything = pkg.Dir == "." && len(c.dirs()) == 1
	if set.own.TagPrefix != nil {
		c.Prefixes, c.former = set.own.TagPrefix, set.own.TagPrefix[1:]
	} else {
		c.Prefixes = []string{c.Name + "-"}
	}
	return c
}

// notReleased returns why a package is not released, or nothing. By convention,
// xtask is a build tool (https://github.com/matklad/cargo-xtask).
func notReleased(pkg *cargo.Package, set settings) string {
	built := pkg.Bins(set.merged.cargo())
	switch {
	case set.merged.Release != nil && !*set.merged.Release:
		return "it has release = false"
	case set.merged.Release == nil && pkg.Name == "xtask" && set.own.TagPrefix == nil:
		return "xtask is the workspace's build tool: set release = true in its [package.metadata.gantry] to include it"
	case len(pkg.AllBins()) == 0:
		return "it has no binary"
	case len(built) == 0:
		return "all its binaries have required-features that are off: enable them with features"
	case len(set.own.Bins) == 0 && len(narrow(built, set.merged.Bins)) == 0:
		return "bins in [workspace.metadata.gantry] names none of its binaries"
	}
	return ""
}

// splitHelpers divides the components without a tag-prefix into those that a tag
// without a prefix releases, and helpers, which only a tag with their name releases.
// Where one package may be published, those with publish = false are tools, examples
// and test servers, unless release = true.
func splitHelpers(all []*Component) (parts, helpers []*Component) {
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

// whyHelpers returns why each helper is excluded, and how to release it.
func whyHelpers(helpers []*Component) []LeftOut {
	var out []LeftOut
	for _, h := range helpers {
		why := h.helper
		if len(h.Prefixes) > 0 {
			why += fmt.Sprintf(", or tag %s to release only it", h.newTag(h.Packages[0].Version))
		}
		out = append(out, LeftOut{h.Packages[0].Name, why})
	}
	return out
}

// wholeWorkspace returns the component that a tag without a package's prefix
// releases: all packages without a tag-prefix.
func wholeWorkspace(w *cargo.Workspace, workspace Config, parts []*Component, prefixes []string) *Component {
	c := &Component{Name: workspace.Name, Prefixes: prefixes, former: prefixes[1:], Whole: true, everything: true, include: globs(".", workspace.Include), workspace: w}
	for _, part := range parts {
		c.Packages = append(c.Packages, part.Packages...)
		c.settings = append(c.settings, part.settings...)
		c.include = append(c.include, part.include[len(workspace.Include):]...)
	}
	if c.Name == "" {
		c.Name = workspaceName(w, c.Packages)
	}
	c.combine(workspace)
	for _, part := range parts {
		if isTrue(part.Config.Latest) {
			part.Config.Latest = new(bool) // the whole, which has the package too, owns it
		}
	}
	return c
}

// dirs returns the directories that the packages are built from. Only the component that
// is released needs them: those of all components together may be as many as the
// packages squared.
func (c *Component) dirs() []string { return c.workspace.SourceDirs(c.Packages) }

// workspaceName returns the name of several packages together: of the root package,
// else of the repository, else of the directory, else of the first package.
func workspaceName(w *cargo.Workspace, packages []*cargo.Package) string {
	for _, pkg := range packages {
		if pkg.Dir == "." {
			return pkg.Name
		}
	}
	for _, pkg := range packages {
		if name := repositoryName(pkg.Repository); name != "" {
			return name
		}
	}
	if name := path.Base(w.Root); name != "src" && name != "/" {
		return name
	}
	return packages[0].Name
}

// absorb removes the component that has the whole's name. Only the prefix would
// tell their tags apart, so the package gives way.
func (p *Project) absorb(all []*Component, whole *Component) ([]*Component, error) {
	other := named(all, whole.Name)
	if other == nil {
		return all, nil
	}
	if other.settings[0].own.TagPrefix != nil {
		return nil, fmt.Errorf("tags such as %s would release packages %s together as %q, but tags with prefix %q already release package %q under that name: set name in [workspace.metadata.gantry]",
			whole.newTag("1.2.3"), whole.quotedPackages(), whole.Name, other.Prefixes[0], other.Packages[0].Name)
	}
	p.absorbed[other.Prefixes[0]] = whole
	other.Prefixes = nil
	return slices.DeleteFunc(all, func(c *Component) bool { return c == other }), nil
}

// named returns the component with a name, or nil.
func named(all []*Component, name string) *Component {
	if i := slices.IndexFunc(all, func(c *Component) bool { return c.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// quotedPackages quotes the names of the packages.
func (c *Component) quotedPackages() string {
	var names []string
	for _, pkg := range c.Packages {
		names = append(names, strconv.Quote(pkg.Name))
	}
	return strings.Join(names, ", ")
}

// newTag returns the tag of a version; without a prefix, it has a "v".
func (c *Component) newTag(version string) string { return cmp.Or(c.Prefixes[0], "v") + version }

func globs(dir string, patterns []string) []include {
	var out []include
	for _, g := range patterns {
		out = append(out, include{dir, g})
	}
	return out
}

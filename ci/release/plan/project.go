package plan

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/version"
)

// Project is a Cargo workspace with its components.
type Project struct {
	// Dir of the workspace in the source, "." for its top.
	Dir string
	// BadLinks are the symlinks in the source that archives can't contain, and why.
	BadLinks map[string]string
	// Lock is the text of Cargo.lock.
	Lock string
	// Rustc is what `rustc --version` prints in the toolchain.
	Rustc string
	// CustomToolchain is true if the caller passed a toolchain.
	CustomToolchain bool

	// Components that can be released, sorted by name.
	Components []*Component
	// Scheme of the tags.
	Scheme *version.Scheme

	// packages of the workspace, sorted by name.
	packages []*cargo.Package
	// absorbed maps the prefixes of packages without a component to the workspace's
	// component, which has their name.
	absorbed map[string]*Component
	// files of the source, by their paths from the workspace, sorted.
	files []string
}

// Load reads a workspace from the output of `cargo metadata --no-deps` and the
// paths of the files of the source, which Cargo read at root. Its error lists every
// mistake in the configuration.
func Load(cargoMetadata []byte, root string, files []string) (*Project, error) {
	w, err := cargo.ReadMetadata(cargoMetadata)
	if err != nil {
		return nil, err
	}
	p := &Project{packages: w.Packages, absorbed: map[string]*Component{}, files: make([]string, 0, len(files))}
	if p.Dir, err = w.DirIn(root); err != nil {
		return nil, err
	}
	for _, f := range files {
		if f = path.Clean(f); p.Dir != "." {
			f = w.Relative(path.Join(root, f))
		}
		p.files = append(p.files, f)
	}
	slices.Sort(p.files)
	p.files = slices.Compact(p.files)
	workspace, configErr := readConfig(w.Metadata, "Cargo.toml [workspace.metadata.gantry]")
	p.Components, err = p.components(w, workspace)
	errs := []error{configErr, err}
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

// chooseLatest finds the component whose releases may become GitHub's "Latest".
func (p *Project) chooseLatest() error {
	var owners []string
	released := 0
	for _, c := range p.Components {
		if c.OwnsLatest = isTrue(c.Config.Latest); c.OwnsLatest {
			owners = append(owners, c.Name)
		}
		if c.helper == "" {
			released++
		}
	}
	if len(owners) > 1 {
		return fmt.Errorf("components %s all have latest = true, but a repository has one Latest release: keep it in one", strings.Join(owners, ", "))
	}
	if len(owners) == 1 {
		return nil
	}
	for _, c := range p.Components {
		declined := c.Config.Latest != nil
		c.OwnsLatest = !declined && c.helper == "" && (released == 1 || slices.Contains(c.Prefixes, ""))
	}
	return nil
}

// hasFile reports whether the source has a file, by its path from the workspace.
func (p *Project) hasFile(file string) bool {
	_, found := slices.BinarySearch(p.files, file)
	return found
}

// Separate returns components that have each package once: without the one of
// several packages if all of them have a component.
func (p *Project) Separate() []*Component {
	if len(p.absorbed) > 0 {
		return p.Components
	}
	return slices.DeleteFunc(slices.Clone(p.Components), func(c *Component) bool { return c.Whole })
}

// Component returns a component by name; an empty name means the only one.
func (p *Project) Component(name string) (*Component, error) {
	if name == "" && len(p.Components) == 1 {
		return p.Components[0], nil
	}
	var names []string
	for _, c := range p.Components {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	if name == "" {
		return nil, fmt.Errorf("the workspace has several components: pass --component with one of %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("unknown component %q%s (known: %s)", name, nearest.Hint(name, names), strings.Join(names, ", "))
}

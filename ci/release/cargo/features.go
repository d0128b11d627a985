package cargo

import (
	"slices"
	"strings"
)

// Features selects features of packages, as the flags of cargo build do.
type Features struct {
	Names          []string
	All, NoDefault bool
}

// Bins returns the names of the binaries that the features build, sorted. Cargo
// skips a binary whose required-features are off without a message, and so does
// this.
func (p *Package) Bins(f Features) []string {
	on := p.enabled(f)
	return slices.DeleteFunc(p.AllBins(), func(name string) bool {
		return slices.ContainsFunc(p.Targets, func(t Target) bool {
			return t.Name == name && slices.Contains(t.Kind, "bin") && slices.ContainsFunc(t.RequiredFeatures, func(f string) bool { return !on[f] })
		})
	})
}

// HasFeature reports whether `cargo build --features` accepts a feature for this
// package: one that it declares, or one of a dependency, "dependency/feature".
func (p *Package) HasFeature(feature string) bool {
	name, rest, qualified := strings.Cut(feature, "/")
	if qualified && name == p.Name {
		feature = rest
	} else if qualified {
		return slices.ContainsFunc(p.Dependencies, func(d Dependency) bool { return d.key() == name })
	}
	_, found := p.Features[feature]
	return found || feature == "default"
}

// optional reports whether the dependency of a key needs a feature to be enabled.
func (p *Package) optional(key string) bool {
	return slices.ContainsFunc(p.Dependencies, func(d Dependency) bool { return d.key() == key && d.Optional })
}

// enabled returns the selected features and those that they imply. Features of
// dependencies are "dependency/feature", as required-features may name them
// ("Features", The Cargo Book).
func (p *Package) enabled(selected Features) map[string]bool {
	on := map[string]bool{}
	active := map[string]bool{} // optional dependencies
	var enable func(string)
	enable = func(f string) {
		if on[f] {
			return
		}
		on[f] = true
		key, _, qualified := strings.Cut(f, "/")
		switch dep, named := strings.CutPrefix(f, "dep:"); {
		case named:
			active[dep] = true
		case qualified && p.optional(key):
			// This activates the dependency, and the feature with its name if there
			// is one.
			active[key] = true
			if _, found := p.Features[key]; found {
				enable(key)
			}
		}
		for _, implied := range p.Features[f] {
			enable(implied)
		}
	}
	if selected.All {
		for f := range p.Features {
			enable(f)
		}
	}
	if !selected.NoDefault {
		enable("default")
	}
	for _, f := range selected.Names {
		if key, feature, _ := strings.Cut(f, "/"); key == p.Name && feature != "" {
			f = feature
		}
		if p.HasFeature(f) {
			enable(f)
		}
	}
	p.enableOfDependencies(on, active)
	return on
}

// enableOfDependencies adds the features that the package enables in its
// dependencies. active names the optional ones in use.
func (p *Package) enableOfDependencies(on, active map[string]bool) {
	for _, d := range p.Dependencies {
		if d.Kind != "" || d.Optional && !active[d.key()] {
			continue
		}
		for _, f := range d.Features {
			on[d.key()+"/"+f] = true
		}
		// "dependency?/feature" doesn't activate the dependency.
		for weak := range on {
			if feature, found := strings.CutPrefix(weak, d.key()+"?/"); found {
				on[d.key()+"/"+feature] = true
			}
		}
	}
}

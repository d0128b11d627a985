package plan

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// metadata is what Gantry reads of `cargo metadata --format-version 1`, see
// https://doc.rust-lang.org/cargo/commands/cargo-metadata.html.
type metadata struct {
	Packages         []*Package      `json:"packages"`
	WorkspaceMembers []string        `json:"workspace_members"`
	WorkspaceRoot    string          `json:"workspace_root"`
	Metadata         json.RawMessage `json:"metadata"`
}

// Package is a package of the workspace.
type Package struct {
	ID           string              `json:"id"`
	Name         string              `json:"name"`
	Version      string              `json:"version"`
	Description  string              `json:"description"`
	License      string              `json:"license"`
	LicenseFile  string              `json:"license_file"`
	Readme       string              `json:"readme"`
	Repository   string              `json:"repository"`
	Homepage     string              `json:"homepage"`
	ManifestPath string              `json:"manifest_path"`
	RustVersion  string              `json:"rust_version"`
	Features     map[string][]string `json:"features"`
	CargoTargets []cargoTarget       `json:"targets"`
	Dependencies []dependency        `json:"dependencies"`
	RawMetadata  json.RawMessage     `json:"metadata"`
	// Publish lists the registries that the package may be published to; nil is
	// any, empty is none.
	Publish       *[]string `json:"publish"`
	Dir           string    `json:"-"` // relative to the workspace root, "." for the root
	workspaceRoot string
}

type cargoTarget struct {
	Name             string   `json:"name"`
	Kind             []string `json:"kind"`
	RequiredFeatures []string `json:"required-features"`
}

type dependency struct {
	Name     string   `json:"name"`
	Rename   string   `json:"rename"`
	Kind     string   `json:"kind"` // "", "dev" or "build"
	Path     string   `json:"path"`
	Optional bool     `json:"optional"`
	Features []string `json:"features"`
	dir      string   // Path, from the workspace root
}

// key of the dependency in Cargo.toml.
func (d dependency) key() string {
	if d.Rename != "" {
		return d.Rename
	}
	return d.Name
}

// readMetadata keeps the members of the workspace alone, sorted by name.
func readMetadata(raw []byte) (*metadata, error) {
	var m metadata
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read the output of cargo metadata: %w", err)
	}
	m.Packages = slices.DeleteFunc(m.Packages, func(p *Package) bool { return !slices.Contains(m.WorkspaceMembers, p.ID) })
	if len(m.Packages) == 0 {
		return nil, fmt.Errorf("the workspace has no package; add a member with a binary to Cargo.toml")
	}
	for _, p := range m.Packages {
		p.workspaceRoot = m.WorkspaceRoot
		p.Dir = m.relative(path.Dir(p.ManifestPath))
		for i, d := range p.Dependencies {
			if d.Path != "" {
				p.Dependencies[i].dir = m.relative(d.Path)
			}
		}
	}
	sort.Slice(m.Packages, func(i, j int) bool { return m.Packages[i].Name < m.Packages[j].Name })
	return &m, nil
}

// dir of the workspace in the source that was at root.
func (m *metadata) dir(root string) (string, error) {
	if m.WorkspaceRoot == root {
		return ".", nil
	}
	dir, inside := strings.CutPrefix(m.WorkspaceRoot, root+"/")
	if !inside {
		return "", fmt.Errorf("the workspace is at %q, outside of the source at %q", m.WorkspaceRoot, root)
	}
	return dir, nil
}

// relative to the workspace root; "." for the root itself, and "../" for what is
// outside of it.
func (m *metadata) relative(abs string) string {
	rel, err := filepath.Rel(m.WorkspaceRoot, abs)
	if err != nil { // Cargo's paths are absolute
		return abs
	}
	return filepath.ToSlash(rel)
}

// publishable is false for publish = false.
func (p *Package) publishable() bool { return p.Publish == nil || len(*p.Publish) > 0 }

// allBins of the package, sorted, whatever features they need.
func (p *Package) allBins() []string {
	var names []string
	for _, t := range p.CargoTargets {
		if slices.Contains(t.Kind, "bin") {
			names = append(names, t.Name)
		}
	}
	sort.Strings(names)
	return names
}

// bins of the package that the features build, sorted. Cargo passes silently
// over a binary whose required-features are off, and so does this.
func (p *Package) bins(cfg BuildConfig) []string {
	on := p.enabled(cfg)
	return slices.DeleteFunc(p.allBins(), func(name string) bool {
		return slices.ContainsFunc(p.CargoTargets, func(t cargoTarget) bool {
			return t.Name == name && slices.Contains(t.Kind, "bin") && slices.ContainsFunc(t.RequiredFeatures, func(f string) bool { return !on[f] })
		})
	})
}

// dependsOn says whether the package has a dependency of that key.
func (p *Package) dependsOn(key string) bool {
	return slices.ContainsFunc(p.Dependencies, func(d dependency) bool { return d.key() == key })
}

// optional says whether a dependency of that key is only there with a feature.
func (p *Package) optional(key string) bool {
	return slices.ContainsFunc(p.Dependencies, func(d dependency) bool { return d.key() == key && d.Optional })
}

// hasFeature says whether `cargo build --features` takes a feature for this
// package: one of its own, or one of a dependency, "dependency/feature".
func (p *Package) hasFeature(feature string) bool {
	name, rest, qualified := strings.Cut(feature, "/")
	if qualified && name == p.Name {
		feature = rest
	} else if qualified {
		return p.dependsOn(name)
	}
	_, found := p.Features[feature]
	return found || feature == "default"
}

// enabled features of the package, with those they imply; features of
// dependencies are "dependency/feature", as required-features may name them
// ("Features", The Cargo Book).
func (p *Package) enabled(cfg BuildConfig) map[string]bool {
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
			// This activates the dependency, and the feature that is called
			// like it, if there is one.
			active[key] = true
			if _, found := p.Features[key]; found {
				enable(key)
			}
		}
		for _, implied := range p.Features[f] {
			enable(implied)
		}
	}
	if isTrue(cfg.AllFeatures) {
		for f := range p.Features {
			enable(f)
		}
	}
	if !isTrue(cfg.NoDefaultFeatures) {
		enable("default")
	}
	for _, f := range cfg.Features {
		if key, feature, _ := strings.Cut(f, "/"); key == p.Name && feature != "" {
			f = feature
		}
		if p.hasFeature(f) {
			enable(f)
		}
	}
	for _, d := range p.Dependencies {
		if d.Kind != "" || d.Optional && !active[d.key()] {
			continue
		}
		for _, f := range d.Features {
			on[d.key()+"/"+f] = true
		}
		// "dependency?/feature" activates nothing by itself.
		for weak := range on {
			if feature, found := strings.CutPrefix(weak, d.key()+"?/"); found {
				on[d.key()+"/"+feature] = true
			}
		}
	}
	return on
}

// dirs of the packages and of every package with a path that they are built
// from, sorted: what a change must touch to be a change of them.
func (m *metadata) dirs(packages []*Package) []string {
	seen := map[string]bool{}
	var visit func(p *Package)
	visit = func(p *Package) {
		if seen[p.Dir] {
			return
		}
		seen[p.Dir] = true
		for _, d := range p.Dependencies {
			if d.Path == "" || d.Kind == "dev" {
				continue
			}
			i := slices.IndexFunc(m.Packages, func(other *Package) bool { return path.Dir(other.ManifestPath) == d.Path })
			if i < 0 {
				seen[d.dir] = true // no member of the workspace
				continue
			}
			visit(m.Packages[i])
		}
	}
	for _, p := range packages {
		visit(p)
	}
	var dirs []string
	for d := range seen {
		dirs = append(dirs, d)
	}
	sort.Strings(dirs)
	return dirs
}

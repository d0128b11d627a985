// Package cargo reads Cargo as data: the output of `cargo metadata`, features,
// Cargo.lock, the messages of a build, the pinned toolchain, and what Cargo's
// errors mean.
//
// It is pure: it reads no file and runs nothing. It keeps one invariant: it reports
// what Cargo reports or would do, and never guesses.
package cargo

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Workspace has the fields that Gantry reads of `cargo metadata --format-version 1`,
// see https://doc.rust-lang.org/cargo/commands/cargo-metadata.html.
type Workspace struct {
	// Packages are the members of the workspace, sorted by name.
	Packages []*Package      `json:"packages"`
	Members  []string        `json:"workspace_members"`
	Root     string          `json:"workspace_root"`
	Metadata json.RawMessage `json:"metadata"`

	// byDir has the packages by their directories.
	byDir map[string]*Package
}

// Package is a package of the workspace.
type Package struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Version      string `json:"version"`
	Description  string `json:"description"`
	License      string `json:"license"`
	LicenseFile  string `json:"license_file"`
	Readme       string `json:"readme"`
	Repository   string `json:"repository"`
	Homepage     string `json:"homepage"`
	ManifestPath string `json:"manifest_path"`
	// RustVersion is the oldest Rust that compiles the package; empty if it names none.
	RustVersion  string              `json:"rust_version"`
	Features     map[string][]string `json:"features"`
	Targets      []Target            `json:"targets"`
	Dependencies []Dependency        `json:"dependencies"`
	Metadata     json.RawMessage     `json:"metadata"`
	// Publish lists the registries that accept the package: nil means any, an
	// empty list none.
	Publish *[]string `json:"publish"`
	// Dir is relative to the workspace root, "." for the root.
	Dir string `json:"-"`
}

// Target is a target of a package in Cargo's sense: a library, a binary, a test.
type Target struct {
	Name             string   `json:"name"`
	Kind             []string `json:"kind"`
	RequiredFeatures []string `json:"required-features"`
}

// Dependency is an entry of a package's dependencies.
type Dependency struct {
	Name     string   `json:"name"`
	Rename   string   `json:"rename"`
	Kind     string   `json:"kind"` // "", "dev" or "build"
	Path     string   `json:"path"`
	Optional bool     `json:"optional"`
	Features []string `json:"features"`
	// Dir is Path relative to the workspace root.
	Dir string `json:"-"`
}

// key returns the dependency's key in Cargo.toml.
func (d Dependency) key() string { return cmp.Or(d.Rename, d.Name) }

// ReadMetadata reads the output of cargo metadata and keeps only the members of
// the workspace.
func ReadMetadata(raw []byte) (*Workspace, error) {
	var w Workspace
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("read the output of cargo metadata: %w", err)
	}
	members := map[string]bool{}
	for _, id := range w.Members {
		members[id] = true
	}
	w.Packages = slices.DeleteFunc(w.Packages, func(p *Package) bool { return !members[p.ID] })
	if len(w.Packages) == 0 {
		return nil, fmt.Errorf("the workspace has no package: add a member with a binary to Cargo.toml")
	}
	w.byDir = map[string]*Package{}
	for _, p := range w.Packages {
		p.Dir = w.Relative(path.Dir(p.ManifestPath))
		w.byDir[p.Dir] = p
		for i, d := range p.Dependencies {
			if d.Path != "" {
				p.Dependencies[i].Dir = w.Relative(d.Path)
			}
		}
	}
	slices.SortFunc(w.Packages, func(a, b *Package) int { return strings.Compare(a.Name, b.Name) })
	return &w, nil
}

// DirIn returns the directory of the workspace, relative to the source at root.
func (w *Workspace) DirIn(root string) (string, error) {
	if w.Root == root {
		return ".", nil
	}
	dir, inside := strings.CutPrefix(w.Root, root+"/")
	if !inside {
		return "", fmt.Errorf("the workspace root %q is outside of the source %q: pass the repository that contains it as --source", w.Root, root)
	}
	return dir, nil
}

// Relative returns an absolute path relative to the workspace root: "." for the
// root, "../…" for anything outside of it.
func (w *Workspace) Relative(abs string) string {
	rel, err := filepath.Rel(w.Root, abs)
	if err != nil { // Cargo's paths are absolute
		return abs
	}
	return filepath.ToSlash(rel)
}

// SourceDirs returns the directories of the packages and of every package with a
// path that they depend on, sorted. A change elsewhere doesn't affect them.
func (w *Workspace) SourceDirs(packages []*Package) []string {
	seen := map[string]bool{}
	for _, p := range packages {
		seen[p.Dir] = true
	}
	for todo := slices.Clone(packages); len(todo) > 0; todo = todo[1:] {
		for _, d := range todo[0].Dependencies {
			if d.Path == "" || d.Kind == "dev" || seen[d.Dir] {
				continue
			}
			seen[d.Dir] = true
			if p := w.byDir[d.Dir]; p != nil {
				todo = append(todo, p)
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Manifest returns the path of the package's Cargo.toml, relative to the
// workspace root.
func (p *Package) Manifest() string { return path.Join(p.Dir, "Cargo.toml") }

// Publishable reports whether the package may be published: publish is not false.
func (p *Package) Publishable() bool { return p.Publish == nil || len(*p.Publish) > 0 }

// AllBins returns the names of the package's binaries, sorted, whatever features
// they require.
func (p *Package) AllBins() []string {
	var names []string
	for _, t := range p.Targets {
		if slices.Contains(t.Kind, "bin") {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names
}

package plan

import (
	"encoding/json"
	"fmt"
	"path"
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
	ID            string              `json:"id"`
	Name          string              `json:"name"`
	Version       string              `json:"version"`
	Description   string              `json:"description"`
	License       string              `json:"license"`
	LicenseFile   string              `json:"license_file"`
	Readme        string              `json:"readme"`
	Repository    string              `json:"repository"`
	Homepage      string              `json:"homepage"`
	ManifestPath  string              `json:"manifest_path"`
	RustVersion   string              `json:"rust_version"`
	Features      map[string][]string `json:"features"`
	CargoTargets  []cargoTarget       `json:"targets"`
	Dependencies  []dependency        `json:"dependencies"`
	RawMetadata   json.RawMessage     `json:"metadata"`
	Dir           string              `json:"-"` // relative to the workspace root, "." for the root
	workspaceRoot string
}

type cargoTarget struct {
	Name             string   `json:"name"`
	Kind             []string `json:"kind"`
	RequiredFeatures []string `json:"required-features"`
}

type dependency struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // "", "dev" or "build"
	Path string `json:"path"`
	dir  string // Path, from the workspace root
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

// relative to the workspace root; "." for the root itself. A member outside of
// it keeps its "../".
func (m *metadata) relative(abs string) string {
	if abs == m.WorkspaceRoot {
		return "."
	}
	if rest, inside := strings.CutPrefix(abs, m.WorkspaceRoot+"/"); inside {
		return rest
	}
	up := ""
	for root := m.WorkspaceRoot; root != "/" && root != "."; root = path.Dir(root) {
		if rest, inside := strings.CutPrefix(abs, root+"/"); inside {
			return up + rest
		}
		up += "../"
	}
	return up + strings.TrimPrefix(abs, "/")
}

// bins of the package that the features build, sorted. Cargo passes silently
// over a binary whose required-features are off, and so does this.
func (p *Package) bins(cfg Config) []string {
	on := p.enabled(cfg)
	var names []string
	for _, t := range p.CargoTargets {
		if !slices.Contains(t.Kind, "bin") {
			continue
		}
		if !slices.ContainsFunc(t.RequiredFeatures, func(f string) bool { return !on[f] }) {
			names = append(names, t.Name)
		}
	}
	sort.Strings(names)
	return names
}

// enabled features of the package, with those they imply.
func (p *Package) enabled(cfg Config) map[string]bool {
	on := map[string]bool{}
	var enable func(string)
	enable = func(f string) {
		if on[f] {
			return
		}
		on[f] = true
		for _, implied := range p.Features[f] {
			enable(implied)
		}
	}
	if isTrue(cfg.AllFeatures) {
		for f := range p.Features {
			enable(f)
		}
		return on
	}
	if !isTrue(cfg.NoDefaultFeatures) {
		enable("default")
	}
	for _, f := range cfg.Features {
		if pkg, feature, qualified := strings.Cut(f, "/"); qualified {
			if pkg != p.Name {
				continue
			}
			f = feature
		}
		enable(f)
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

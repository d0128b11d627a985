package cargo

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Record is what a build keeps about its crates (ci/release/toolchain/bill.sh).
type Record struct {
	// Messages of Cargo about what it compiled (compiler-artifact), one a line.
	Messages string
	// Tree is the output of `cargo tree` for the target and the features.
	Tree string
	// Lock is Cargo.lock.
	Lock string
}

// Where a crate comes from.
const (
	FromCratesIO = "crates.io"
	FromRegistry = "registry"
	FromGit      = "git"
	FromPath     = "path"
)

// Crate is a crate of a binary.
type Crate struct {
	Name, Version string
	// From is one of the constants above.
	From string
	// PURL is its package URL; empty for one that came from no registry and no
	// repository.
	PURL string
	// Git is the address of its repository and the commit, "git+https://host/name@commit";
	// empty for one that came from elsewhere.
	Git string
	// SHA256 of the .crate file, if Cargo.lock has it.
	SHA256 string
	// License is its SPDX expression, if its manifest has one, and Repository its
	// address there.
	License, Repository string
	// Manifest is the path of its Cargo.toml during the build; empty for one that Cargo
	// did not compile.
	Manifest string
	// Linked is true if it is compiled for the target. Others only run while building:
	// procedural macros, build scripts, and what these depend on.
	Linked bool
	// Root is true for a package whose binaries are built.
	Root bool
	// Dependencies are sorted indices in the list of crates.
	Dependencies []int
}

// Crates returns the crates that `cargo tree` lists, sorted by name and version. Those
// that Cargo compiled into dir, the directory of a target, are linked. Cargo compiles
// the standard library itself on request (build-std), and then its crates are there too,
// although no tree has them.
func Crates(r Record, dir string) ([]Crate, error) {
	lock, err := ReadLock(r.Lock)
	if err != nil {
		return nil, fmt.Errorf("read Cargo.lock: %w", err)
	}
	t, err := readTree(r.Tree)
	if err != nil {
		return nil, err
	}
	compiled, err := compiledPackages(r.Messages, dir)
	if err != nil {
		return nil, err
	}
	byName := map[string][]*compiledPackage{}
	for _, c := range compiled {
		byName[c.name] = append(byName[c.name], c)
	}
	crates := make([]Crate, len(t.packages))
	for i, p := range t.packages {
		locked := lock.find(p)
		crates[i] = Crate{
			Name: p.Name, Version: p.Version, SHA256: locked.Checksum, License: normalLicense(p.License), Repository: p.Repository,
			Root: slices.Contains(t.roots, i), Dependencies: t.dependencies[i],
		}
		crates[i].setOrigin(locked.Source)
		if c := find(byName[p.Name], p); c != nil {
			c.listed = true
			crates[i].Manifest, crates[i].Linked = c.manifest, c.linked
		}
	}
	for _, c := range compiled {
		if c.linked && !c.listed {
			crate := Crate{Name: c.name, Version: c.version, Manifest: c.manifest, Linked: true}
			crate.setOrigin(c.source)
			crates = append(crates, crate)
		}
	}
	return sorted(crates), nil
}

// sorted sorts crates, and keeps their dependencies.
func sorted(crates []Crate) []Crate {
	order := make([]int, len(crates))
	for i := range order {
		order[i] = i
	}
	key := func(c Crate) string { return c.Name + "\x00" + c.Version + "\x00" + c.PURL + "\x00" + c.Manifest }
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(key(crates[a]), key(crates[b])) })
	moved := make([]int, len(crates))
	for to, from := range order {
		moved[from] = to
	}
	out := make([]Crate, len(crates))
	for to, from := range order {
		out[to] = crates[from]
		out[to].Dependencies = nil
		for _, d := range crates[from].Dependencies {
			out[to].Dependencies = insert(out[to].Dependencies, moved[d])
		}
	}
	return out
}

// compiledPackage is a package in Cargo's messages.
type compiledPackage struct {
	name, version, source, manifest string
	linked, listed                  bool
}

// compiledPackages returns the packages that Cargo compiled, in the order of its
// messages. Those with a file in dir are linked.
func compiledPackages(messages, dir string) ([]*compiledPackage, error) {
	all, err := artifacts(messages)
	if err != nil {
		return nil, err
	}
	var packages []*compiledPackage
	byID := map[string]*compiledPackage{}
	for _, a := range all {
		p := byID[a.PackageID]
		if p == nil {
			if p, err = readID(a.PackageID); err != nil {
				return nil, err
			}
			p.manifest = a.ManifestPath
			byID[a.PackageID] = p
			packages = append(packages, p)
		}
		p.linked = p.linked || slices.ContainsFunc(a.Filenames, func(f string) bool { return strings.HasPrefix(f, dir+"/") })
	}
	return packages, nil
}

// find returns the compiled package of a tree, or nil.
func find(compiled []*compiledPackage, p treePackage) *compiledPackage {
	found := one(compiled, p, func(c *compiledPackage) (name, version, source string) { return c.name, c.version, c.source })
	if found == nil {
		return nil
	}
	return *found
}

var (
	slashes = regexp.MustCompile(`\s*/\s*`)
	// oldID is a package ID of Cargo before 1.77, "name 1.0.0 (source)".
	oldID = regexp.MustCompile(`^(\S+) (\S+) \((.+)\)$`)
)

// normalLicense returns an SPDX expression. Cargo accepted "/" for "OR" before SPDX.
func normalLicense(license string) string {
	return slashes.ReplaceAllString(strings.TrimSpace(license), " OR ")
}

// readID reads a package ID ("Package ID Specifications", The Cargo Book).
func readID(id string) (*compiledPackage, error) {
	source, fragment, found := strings.Cut(id, "#")
	if m := oldID.FindStringSubmatch(id); m != nil {
		source, _, _ = strings.Cut(m[3], "#")
		return &compiledPackage{name: m[1], version: m[2], source: source}, nil
	}
	if !found {
		return nil, fmt.Errorf("read cargo's messages: package %q has no version", id)
	}
	if name, version, named := strings.Cut(fragment, "@"); named {
		return &compiledPackage{name: name, version: version, source: source}, nil
	}
	// Cargo omits a name that is the end of the URL.
	address, _, _ := strings.Cut(source, "?")
	return &compiledPackage{name: strings.TrimSuffix(path.Base(address), ".git"), version: fragment, source: source}, nil
}

const (
	cratesIO       = "registry+https://github.com/rust-lang/crates.io-index"
	cratesIOSparse = "sparse+https://index.crates.io/"
)

func isCratesIO(source string) bool { return source == cratesIO || source == cratesIOSparse }

// setOrigin sets where a crate comes from, by its source in Cargo.lock.
func (c *Crate) setOrigin(source string) {
	kind, address, _ := strings.Cut(source, "+")
	purl := "pkg:cargo/" + url.PathEscape(c.Name) + "@" + url.PathEscape(c.Version)
	switch {
	case isCratesIO(source):
		c.From, c.PURL = FromCratesIO, purl
	case kind == "registry" || kind == "sparse":
		c.From, c.PURL = FromRegistry, purl+"?repository_url="+url.QueryEscape(address)
	case kind == "git":
		address, commit, _ := strings.Cut(address, "#")
		address, _, _ = strings.Cut(address, "?")
		c.Git = strings.TrimSuffix("git+"+address+"@"+commit, "@")
		c.From, c.PURL = FromGit, purl+"?vcs_url="+url.QueryEscape(c.Git)
	default:
		c.From = FromPath
	}
}

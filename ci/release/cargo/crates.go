package cargo

import (
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Record is what a build keeps for a bill of materials.
type Record struct {
	// Messages of Cargo about what it compiled (compiler-artifact), one a line.
	Messages string
	// Licenses has a line for each manifest with a license: its path, a tab, and the
	// license.
	Licenses string
	// Inherited are the licenses of manifests that inherit theirs from a workspace.
	Inherited map[string]string
	// Lock is Cargo.lock.
	Lock string
}

// Crate is a crate in a binary.
type Crate struct {
	Name, Version string
	// PURL is its package URL; empty for one that came from no registry and no
	// repository.
	PURL string
	// SHA256 of the .crate file, if Cargo.lock has it.
	SHA256 string
	// License is its SPDX expression, if its manifest has one.
	License string
}

// Crates returns the crates that Cargo compiled into dir, the directory of a target,
// sorted by name and version. It lists neither what only runs while building nor
// what Cargo.lock has for other platforms.
func Crates(r Record, dir string) ([]Crate, error) {
	lock, err := ReadLock(r.Lock)
	if err != nil {
		return nil, fmt.Errorf("read Cargo.lock: %w", err)
	}
	checksums := map[[2]string]string{}
	for _, p := range lock.Packages {
		checksums[[2]string{p.Name, p.Version}] = p.Checksum
	}
	licenses := map[string]string{}
	maps.Copy(licenses, r.Inherited)
	for line := range strings.Lines(r.Licenses) {
		manifest, license, _ := strings.Cut(strings.TrimSpace(line), "\t")
		licenses[manifest] = license
	}
	all, err := artifacts(r.Messages)
	if err != nil {
		return nil, err
	}
	crates := map[string]Crate{}
	for _, a := range all {
		if !slices.ContainsFunc(a.Filenames, func(f string) bool { return strings.HasPrefix(f, dir+"/") }) {
			continue
		}
		c, err := crate(a.PackageID)
		if err != nil {
			return nil, err
		}
		if c.PURL != "" {
			c.SHA256 = checksums[[2]string{c.Name, c.Version}]
		}
		// Cargo accepted "/" for "OR" before SPDX.
		c.License = slashes.ReplaceAllString(licenses[a.ManifestPath], " OR ")
		crates[a.PackageID] = c
	}
	return slices.SortedFunc(maps.Values(crates), func(a, b Crate) int {
		return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.PURL, b.Name+"\x00"+b.Version+"\x00"+b.PURL)
	}), nil
}

var (
	slashes = regexp.MustCompile(`\s*/\s*`)
	// oldID is a package ID of Cargo before 1.77, "name 1.0.0 (source)".
	oldID = regexp.MustCompile(`^(\S+) (\S+) \((.+)\)$`)
)

const cratesIO = "registry+https://github.com/rust-lang/crates.io-index"

// crate reads a package ID ("Package ID Specifications", The Cargo Book).
func crate(id string) (Crate, error) {
	var c Crate
	source, fragment, found := strings.Cut(id, "#")
	if m := oldID.FindStringSubmatch(id); m != nil {
		c.Name, c.Version = m[1], m[2]
		source, _, _ = strings.Cut(m[3], "#")
	} else if !found {
		return c, fmt.Errorf("read cargo's messages: package %q has no version", id)
	} else if c.Name, c.Version, found = strings.Cut(fragment, "@"); !found {
		// Cargo omits a name that is the end of the URL.
		address, _, _ := strings.Cut(source, "?")
		c.Name, c.Version = strings.TrimSuffix(path.Base(address), ".git"), fragment
	}
	kind, address, _ := strings.Cut(source, "+")
	purl := "pkg:cargo/" + url.PathEscape(c.Name) + "@" + url.PathEscape(c.Version)
	switch kind {
	case "registry", "sparse":
		c.PURL = purl
		if source != cratesIO && address != "https://index.crates.io/" {
			c.PURL += "?repository_url=" + url.QueryEscape(address)
		}
	case "git":
		c.PURL = purl + "?vcs_url=" + url.QueryEscape("git+"+address)
	}
	return c, nil
}

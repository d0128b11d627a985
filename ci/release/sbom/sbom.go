// Package sbom writes software bills of materials: which crates are in the
// binaries of an archive, as CycloneDX (https://cyclonedx.org/specification).
//
// It is pure. It keeps one invariant: a crate is listed if, and only if, Cargo
// said that it compiled it for the target, so neither what only runs while
// building nor what Cargo.lock has for other platforms is there.
package sbom

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	cdx "github.com/CycloneDX/cyclonedx-go"
)

// Suffix of the files' names, which tools find CycloneDX by.
const Suffix = ".cdx.json"

// Build is what a build left to read.
type Build struct {
	// Messages of Cargo about what it compiled (compiler-artifact), a line each.
	Messages []byte
	// Licenses has a line for each manifest that has one: its path, a tab, and its
	// license.
	Licenses []byte
	// Inherited are the licenses of manifests that take theirs from a workspace.
	Inherited map[string]string
	// Lock is Cargo.lock.
	Lock []byte
	// TargetDir is where Cargo compiled for the target, without a final slash.
	TargetDir string
}

// Crate that is in a binary.
type Crate struct {
	Name, Version string
	// PURL is its package URL; empty for one that came from no registry and no
	// repository.
	PURL string
	// SHA256 of the .crate file, where Cargo.lock has it.
	SHA256 string
	// License is its SPDX expression, where its manifest has one.
	License string
}

// Crates of a build, sorted by name and version.
func Crates(b Build) ([]Crate, error) {
	var lock struct {
		Package []struct{ Name, Version, Source, Checksum string }
	}
	if _, err := toml.Decode(string(b.Lock), &lock); err != nil {
		return nil, fmt.Errorf("read Cargo.lock: %w", err)
	}
	checksums := map[[2]string]string{}
	for _, p := range lock.Package {
		checksums[[2]string{p.Name, p.Version}] = p.Checksum
	}
	licenses := maps.Clone(b.Inherited)
	if licenses == nil {
		licenses = map[string]string{}
	}
	for line := range strings.Lines(string(b.Licenses)) {
		manifest, license, _ := strings.Cut(strings.TrimSpace(line), "\t")
		licenses[manifest] = license
	}
	crates := map[string]Crate{}
	lines := bufio.NewScanner(bytes.NewReader(b.Messages))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var m struct {
			PackageID    string   `json:"package_id"`
			ManifestPath string   `json:"manifest_path"`
			Filenames    []string `json:"filenames"`
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return nil, fmt.Errorf("read cargo's messages: %w", err)
		}
		if !slices.ContainsFunc(m.Filenames, func(f string) bool { return strings.HasPrefix(f, b.TargetDir+"/") }) {
			continue
		}
		c, err := crate(m.PackageID)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(c.PURL, "pkg:") {
			c.SHA256 = checksums[[2]string{c.Name, c.Version}]
		}
		// Cargo itself took "/" for "OR" before it took SPDX.
		c.License = slashes.ReplaceAllString(licenses[m.ManifestPath], " OR ")
		crates[m.PackageID] = c
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read cargo's messages: %w", err)
	}
	var out []Crate
	for _, c := range crates {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Crate) int {
		return strings.Compare(a.Name+"\x00"+a.Version+"\x00"+a.PURL, b.Name+"\x00"+b.Version+"\x00"+b.PURL)
	})
	return out, nil
}

var (
	slashes = regexp.MustCompile(`\s*/\s*`)
	// oldID is what Cargo wrote before 1.77, "name 1.0.0 (source)".
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
		return c, fmt.Errorf("package %q has no version: Cargo's messages are not as expected", id)
	} else if c.Name, c.Version, found = strings.Cut(fragment, "@"); !found {
		// The name is left out where it is the end of the URL.
		at, _, _ := strings.Cut(source, "?")
		c.Name, c.Version = strings.TrimSuffix(path.Base(at), ".git"), fragment
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

// Subject is what a bill of materials is of: the archive of one target.
type Subject struct {
	Component, Version, License, Description, Repository, Target, Archive, ArchiveSHA256 string
	// CommitDate is the time that it is dated with, as in RFC 3339.
	CommitDate string
	// Rustc and Cargo are what they say of themselves.
	Rustc, Cargo string
	// Binaries by their paths in the archive, and their SHA-256.
	Binaries [][2]string
}

// Write the bill of materials of a subject, the same bytes for the same input.
func Write(w io.Writer, s Subject, crates []Crate) error {
	bom := cdx.NewBOM()
	sum := sha256.Sum256([]byte(s.Archive + "\x00" + s.ArchiveSHA256))
	// A UUID made of a digest (version 8 of RFC 9562), since a random one would
	// be another for each build of the same bytes.
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
	subject := cdx.Component{
		BOMRef: s.Archive, Type: cdx.ComponentTypeApplication, Name: s.Component, Version: s.Version, Description: s.Description,
		Hashes: hashes(s.ArchiveSHA256), Licenses: licenses(s.License),
		Properties: &[]cdx.Property{{Name: "gantry:target", Value: s.Target}, {Name: "gantry:archive", Value: s.Archive}},
	}
	if s.Repository != "" {
		subject.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: s.Repository}}
	}
	var files []cdx.Component
	for _, b := range s.Binaries {
		files = append(files, cdx.Component{BOMRef: b[0], Type: cdx.ComponentTypeFile, Name: b[0], Hashes: hashes(b[1])})
	}
	subject.Components = &files
	bom.Metadata = &cdx.Metadata{
		Timestamp: s.CommitDate, Component: &subject,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{tool(s.Rustc), tool(s.Cargo)}},
	}
	components := []cdx.Component{}
	for _, c := range crates {
		ref := c.PURL
		if ref == "" {
			ref = c.Name + "@" + c.Version
		}
		components = append(components, cdx.Component{
			BOMRef: ref, Type: cdx.ComponentTypeLibrary, Name: c.Name, Version: c.Version, PackageURL: c.PURL,
			Hashes: hashes(c.SHA256), Licenses: licenses(c.License),
		})
	}
	bom.Components = &components
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

// tool out of a line such as "rustc 1.96.0 (abc 2026-01-01)".
func tool(line string) cdx.Component {
	name, rest, _ := strings.Cut(line, " ")
	version, _, _ := strings.Cut(rest, " ")
	return cdx.Component{Type: cdx.ComponentTypeApplication, Name: name, Version: version}
}

func hashes(sha256 string) *[]cdx.Hash {
	if sha256 == "" {
		return nil
	}
	return &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sha256}}
}

func licenses(expression string) *cdx.Licenses {
	if expression == "" {
		return nil
	}
	return &cdx.Licenses{{Expression: expression}}
}

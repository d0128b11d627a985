package dist

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/github/go-spdx/v2/spdxexp"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// withCrates returns targets with the crates of their builds, where something lists them.
func withCrates(targets []Target) ([]Target, error) {
	targets = slices.Clone(targets)
	for i, t := range targets {
		if t.SBOM == "" && !t.Notices && !t.Auditable {
			continue
		}
		crates, err := readCrates(t)
		if err != nil {
			return nil, fmt.Errorf("list the crates of target %q: %w", t.Want.Target, err)
		}
		targets[i].crates = crates
	}
	return targets, nil
}

// readCrates reads the crates of a target from what its build kept.
func readCrates(t Target) ([]cargo.Crate, error) {
	var record cargo.Record
	for name, text := range map[string]*string{"messages": &record.Messages, "tree/" + t.Want.Target: &record.Tree, "Cargo.lock": &record.Lock} {
		read, err := os.ReadFile(filepath.Join(t.CratesDir, filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		*text = string(read)
	}
	return cargo.Crates(record, cargo.TargetDir+"/"+t.Want.Target)
}

// writeSBOMs writes the bills of materials of an archive, in both formats.
func writeSBOMs(dir string, m *manifest.Manifest, t Target, archive manifest.Asset) ([]manifest.Asset, error) {
	fail := func(err error) ([]manifest.Asset, error) {
		return nil, fmt.Errorf("make the bill of materials of %q: %w", archive.Name, err)
	}
	var assets []manifest.Asset
	for _, bill := range []struct {
		name  string
		write func(io.Writer) error
	}{
		{t.SBOM, func(w io.Writer) error {
			out := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true)
			return out.EncodeVersion(billOfMaterials(m, archive, t.crates), cdx.SpecVersion1_6)
		}},
		{t.SPDX, func(w io.Writer) error { return writeSPDX(w, m, archive, t.crates) }},
	} {
		file := filepath.Join(dir, bill.name)
		f, err := os.Create(file)
		if err != nil {
			return fail(err)
		}
		if err := errors.Join(bill.write(f), f.Close()); err != nil {
			return fail(err)
		}
		asset, err := Measure(file)
		if err != nil {
			return fail(err)
		}
		asset.Kind, asset.Target = manifest.KindSBOM, archive.Target
		assets = append(assets, asset)
	}
	return assets, nil
}

// billOfMaterials lists the crates in the binaries of an archive, as CycloneDX
// (https://cyclonedx.org/specification). It is the same for the same input.
func billOfMaterials(m *manifest.Manifest, archive manifest.Asset, crates []cargo.Crate) *cdx.BOM {
	subject := cdx.Component{
		BOMRef: archive.Name, Type: cdx.ComponentTypeApplication, Name: m.Component, Version: m.Version, Description: m.Description,
		Hashes: hashes(archive.SHA256), Licenses: licensesOf(m.License), Components: &[]cdx.Component{},
		Properties: &[]cdx.Property{{Name: "gantry:target", Value: archive.Target}, {Name: "gantry:archive", Value: archive.Name}},
	}
	if m.Repository != "" {
		subject.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: m.Repository}}
	}
	for _, b := range archive.Binaries {
		*subject.Components = append(*subject.Components, cdx.Component{BOMRef: b.Path, Type: cdx.ComponentTypeFile, Name: b.Path, Hashes: hashes(b.SHA256)})
	}
	components := []cdx.Component{}
	for _, c := range crates {
		components = append(components, component(c))
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + identity(archive)
	bom.Metadata = &cdx.Metadata{
		Timestamp: m.CommitDate, Component: &subject,
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{tool(m.Toolchain.Rustc), tool(m.Toolchain.Cargo)}},
	}
	bom.Components, bom.Dependencies = &components, dependencies(archive, crates)
	return bom
}

// identity returns a UUID made of a digest (version 8 of RFC 9562): a random one would
// differ for each build of the same bytes.
func identity(archive manifest.Asset) string {
	sum := sha256.Sum256([]byte(archive.Name + "\x00" + archive.SHA256))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// component describes a crate. One that only runs while building is excluded from the
// program.
func component(c cargo.Crate) cdx.Component {
	out := cdx.Component{
		BOMRef: ref(c), Type: cdx.ComponentTypeLibrary, Name: c.Name, Version: c.Version, PackageURL: c.PURL,
		Scope: cdx.ScopeRequired, Hashes: hashes(c.SHA256), Licenses: licensesOf(c.License),
	}
	if !c.Linked {
		out.Scope = cdx.ScopeExcluded
	}
	if c.Repository != "" {
		out.ExternalReferences = &[]cdx.ExternalReference{{Type: cdx.ERTypeVCS, URL: c.Repository}}
	}
	return out
}

// ref identifies a crate in its bill.
func ref(c cargo.Crate) string { return cmp.Or(c.PURL, c.Name+"@"+c.Version) }

// dependencies returns the graph: the archive contains binaries, which depend on the
// crates of their packages, which depend on others.
func dependencies(archive manifest.Asset, crates []cargo.Crate) *[]cdx.Dependency {
	var roots []string
	all := []cdx.Dependency{}
	for _, c := range crates {
		if c.Root {
			roots = append(roots, ref(c))
		}
	}
	all = append(all, dependency(archive.Name, roots))
	for _, b := range archive.Binaries {
		var own []string
		for _, c := range crates {
			if c.Root && c.Name == b.Package {
				own = append(own, ref(c))
			}
		}
		all = append(all, dependency(b.Path, own))
	}
	for _, c := range crates {
		var refs []string
		for _, d := range c.Dependencies {
			refs = append(refs, ref(crates[d]))
		}
		all = append(all, dependency(ref(c), refs))
	}
	return &all
}

func dependency(ref string, on []string) cdx.Dependency {
	on = append([]string{}, on...)
	slices.Sort(on)
	return cdx.Dependency{Ref: ref, Dependencies: &on}
}

// tool reads a line such as "rustc 1.96.0 (abc 2026-01-01)".
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

// licensesOf returns a license as an expression, or as a name if it is none.
func licensesOf(expression string) *cdx.Licenses {
	if expression == "" {
		return nil
	}
	if valid, _ := spdxexp.ValidateLicenses([]string{expression}); !valid {
		return &cdx.Licenses{{License: &cdx.License{Name: expression}}}
	}
	return &cdx.Licenses{{Expression: expression}}
}

package dist

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/github/go-spdx/v2/spdxexp"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// unknown is what SPDX has for a value that nobody claims to know.
const unknown = "NOASSERTION"

// writeSPDX writes the bill of materials of an archive as SPDX 2.3
// (https://spdx.github.io/spdx-spec/v2.3). It has the content of [billOfMaterials], and
// is the same for the same input.
func writeSPDX(w io.Writer, m *manifest.Manifest, archive manifest.Asset, crates []cargo.Crate) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(spdxDocument(m, archive, crates))
}

func spdxDocument(m *manifest.Manifest, archive manifest.Asset, crates []cargo.Crate) *v2_3.Document {
	doc := &v2_3.Document{
		SPDXVersion: v2_3.Version, DataLicense: v2_3.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName: archive.Name, DocumentNamespace: "https://spdx.org/spdxdocs/" + archive.Name + "-" + identity(archive),
		CreationInfo: &v2_3.CreationInfo{Created: m.CommitDate, Creators: []common.Creator{creator(m.Toolchain.Cargo), creator(m.Toolchain.Rustc)}},
	}
	relate := func(a common.ElementID, kind string, b common.ElementID) {
		doc.Relationships = append(doc.Relationships, &v2_3.Relationship{
			RefA: common.DocElementID{ElementRefID: a}, RefB: common.DocElementID{ElementRefID: b}, Relationship: kind,
		})
	}
	subject := archivePackage(m, archive)
	doc.Packages = append(doc.Packages, subject)
	relate(doc.SPDXIdentifier, common.TypeRelationshipDescribe, subject.PackageSPDXIdentifier)
	for _, b := range archive.Binaries {
		p := binaryPackage(m, b)
		doc.Packages = append(doc.Packages, p)
		relate(subject.PackageSPDXIdentifier, common.TypeRelationshipContains, p.PackageSPDXIdentifier)
		for _, c := range crates {
			if c.Root && c.Name == b.Package {
				relate(p.PackageSPDXIdentifier, common.TypeRelationshipDependsOn, crateID(c))
			}
		}
	}
	for _, c := range crates {
		doc.Packages = append(doc.Packages, cratePackage(c))
		for _, i := range c.Dependencies {
			if d := crates[i]; c.Linked && !d.Linked {
				relate(crateID(d), common.TypeRelationshipBuildDependencyOf, crateID(c))
			} else {
				relate(crateID(c), common.TypeRelationshipDependsOn, crateID(d))
			}
		}
	}
	return doc
}

func archivePackage(m *manifest.Manifest, archive manifest.Asset) *v2_3.Package {
	p := newPackage("archive", archive.Name, m.Component, m.Version, m.License, archive.SHA256)
	p.PackageFileName, p.PackageSummary, p.PackageHomePage = archive.Name, m.Description, cmp.Or(m.Homepage, m.Repository)
	p.PrimaryPackagePurpose = "ARCHIVE"
	if m.Repository != "" {
		p.PackageDownloadLocation = m.Repository + "/releases/download/" + m.Tag + "/" + archive.Name
	}
	return p
}

func binaryPackage(m *manifest.Manifest, b manifest.Binary) *v2_3.Package {
	p := newPackage("binary", b.Path, b.Name, m.Version, m.License, b.SHA256)
	p.PackageFileName, p.PrimaryPackagePurpose = b.Path, "APPLICATION"
	return p
}

func cratePackage(c cargo.Crate) *v2_3.Package {
	p := newPackage("crate", ref(c), c.Name, c.Version, c.License, c.SHA256)
	p.PackageSPDXIdentifier, p.PackageHomePage, p.PrimaryPackagePurpose = crateID(c), c.Repository, "LIBRARY"
	switch {
	case c.From == cargo.FromCratesIO:
		p.PackageDownloadLocation = fmt.Sprintf("https://static.crates.io/crates/%s/%s-%s.crate", c.Name, c.Name, c.Version)
	case c.Git != "":
		p.PackageDownloadLocation = c.Git
	}
	if c.PURL != "" {
		p.PackageExternalReferences = []*v2_3.PackageExternalReference{
			{Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: c.PURL},
		}
	}
	return p
}

// newPackage describes what a kind and a key identify.
func newPackage(kind, key, name, version, license, sha256 string) *v2_3.Package {
	p := &v2_3.Package{
		PackageSPDXIdentifier: elementID(kind, key), PackageName: name, PackageVersion: version,
		PackageDownloadLocation: unknown, PackageLicenseConcluded: unknown, PackageLicenseDeclared: unknown, PackageCopyrightText: unknown,
	}
	// A LicenseRef would need the text of the license.
	valid, _ := spdxexp.ValidateLicenses([]string{license})
	switch {
	case license == "":
	case valid && !strings.Contains(license, "LicenseRef-"):
		p.PackageLicenseDeclared = license
	default:
		p.PackageLicenseComments = "The package declares the license " + license
	}
	if sha256 != "" {
		p.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: sha256}}
	}
	return p
}

func crateID(c cargo.Crate) common.ElementID { return elementID("crate", ref(c)) }

var notInID = regexp.MustCompile(`[^A-Za-z0-9.]+`)

// elementID returns the identifier of an element. The digest keeps those apart that
// differ only in characters that an identifier can't have.
func elementID(kind, key string) common.ElementID {
	sum := sha256.Sum256([]byte(key))
	readable := strings.Trim(notInID.ReplaceAllString(strings.TrimPrefix(key, "pkg:cargo/"), "-"), "-")
	return common.ElementID(kind + "-" + readable + "-" + hex.EncodeToString(sum[:4]))
}

func creator(line string) common.Creator {
	t := tool(line)
	return common.Creator{CreatorType: "Tool", Creator: strings.TrimSuffix(t.Name+"-"+t.Version, "-")}
}

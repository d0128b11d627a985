package dist

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/spdx/tools-golang/spdx/v2/common"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// spdxSchema is the official one, see its LICENSE beside it.
func spdxSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	const url = "http://spdx.org/rdf/terms/2.3"
	return compile(t, url, map[string]string{url: "testdata/spdx-2.3.schema.json"})
}

func writtenSPDX(t *testing.T, m *manifest.Manifest, archive manifest.Asset, crates []cargo.Crate) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, writeSPDX(&out, m, archive, crates))
	validate(t, spdxSchema(t), out.Bytes())
	return out.Bytes()
}

func TestSPDXHasTheOfficialForm(t *testing.T) {
	m, archive, crates := billed()
	text := writtenSPDX(t, m, archive, crates)
	assert.Equal(t, string(text), string(writtenSPDX(t, m, archive, crates)))
	var doc v2_3.Document
	require.NoError(t, json.Unmarshal(text, &doc))
	require.NotNil(t, doc.CreationInfo)
	assert.Equal(t, m.CommitDate, doc.CreationInfo.Created)
	assert.Equal(t, []common.Creator{{CreatorType: "Tool", Creator: "cargo-1.96.0"}, {CreatorType: "Tool", Creator: "rustc-1.96.0"}}, doc.CreationInfo.Creators)
	assert.Equal(t, billOfMaterials(m, archive, crates).SerialNumber, "urn:uuid:"+strings.TrimPrefix(doc.DocumentNamespace, "https://spdx.org/spdxdocs/"+archive.Name+"-"))

	packages := map[string]*v2_3.Package{}
	for _, p := range doc.Packages {
		packages[p.PackageName+" "+p.PrimaryPackagePurpose] = p
		assert.False(t, p.FilesAnalyzed)
	}
	require.Len(t, packages, 2+len(crates))
	assert.Equal(t, "https://github.com/example/app/releases/download/v0.1.0/"+archive.Name, packages["app ARCHIVE"].PackageDownloadLocation)
	assert.Equal(t, []common.Checksum{{Algorithm: common.SHA256, Value: archive.SHA256}}, packages["app ARCHIVE"].PackageChecksums)
	assert.Equal(t, []common.Checksum{{Algorithm: common.SHA256, Value: archive.Binaries[0].SHA256}}, packages["app APPLICATION"].PackageChecksums)
	assert.Equal(t, "MIT OR Apache-2.0", packages["app LIBRARY"].PackageLicenseDeclared)
	serde := packages["serde LIBRARY"]
	assert.Equal(t, "https://static.crates.io/crates/serde/serde-1.0.200.crate", serde.PackageDownloadLocation)
	assert.Equal(t, []common.Checksum{{Algorithm: common.SHA256, Value: strings.Repeat("ab", 32)}}, serde.PackageChecksums)
	assert.Equal(t, []*v2_3.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: "pkg:cargo/serde@1.0.200"}}, serde.PackageExternalReferences)
	assert.Equal(t, "git+https://example.org/tower@abc", packages["tower LIBRARY"].PackageDownloadLocation)
	assert.Equal(t, unknown, packages["inner LIBRARY"].PackageDownloadLocation)
	for _, odd := range []string{"odd LIBRARY", "tower LIBRARY"} {
		assert.Equal(t, unknown, packages[odd].PackageLicenseDeclared, odd)
		assert.Contains(t, packages[odd].PackageLicenseComments, "declares the license ", odd)
	}
}

// The graph is that of the other format, and both ends of each relationship exist.
func TestRelationshipsOfSPDX(t *testing.T) {
	m, archive, crates := billed()
	doc := spdxDocument(m, archive, crates)
	names := map[common.ElementID]string{"DOCUMENT": "document"}
	for _, p := range doc.Packages {
		assert.NotContains(t, names, p.PackageSPDXIdentifier)
		assert.Regexp(t, `^[A-Za-z0-9.-]+$`, p.PackageSPDXIdentifier)
		names[p.PackageSPDXIdentifier] = strings.ToLower(p.PrimaryPackagePurpose) + " " + p.PackageName
	}
	var got []string
	for _, r := range doc.Relationships {
		a, b := names[r.RefA.ElementRefID], names[r.RefB.ElementRefID]
		require.NotEmpty(t, a)
		require.NotEmpty(t, b)
		got = append(got, a+" "+r.Relationship+" "+b)
	}
	assert.Equal(t, []string{
		"document DESCRIBES archive app", "archive app CONTAINS application app", "application app DEPENDS_ON library app",
		"library inner BUILD_DEPENDENCY_OF library app", "library app DEPENDS_ON library serde", "library app DEPENDS_ON library tower",
		"library odd BUILD_DEPENDENCY_OF library tower",
	}, got)
	assert.NotEqual(t, elementID("crate", "a_b@1"), elementID("crate", "a-b@1"))
	assert.Equal(t, common.Creator{CreatorType: "Tool", Creator: "custom"}, creator("custom"))
}

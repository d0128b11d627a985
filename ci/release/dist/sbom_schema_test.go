package dist

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
)

// compile compiles a JSON schema of some files, by their addresses.
func compile(t *testing.T, main string, files map[string]string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	for url, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource(url, doc))
	}
	compiled, err := compiler.Compile(main)
	require.NoError(t, err)
	return compiled
}

// validate validates JSON text.
func validate(t *testing.T, schema *jsonschema.Schema, text []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	require.NoError(t, err)
	assert.NoError(t, schema.Validate(doc))
}

// The official schema comes with the library's sources.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	require.NoError(t, err)
	schemas := filepath.Join(strings.TrimSpace(string(out)), "schema")
	return compile(t, "http://cyclonedx.org/schema/bom-1.6.schema.json", map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  filepath.Join(schemas, "bom-1.6.schema.json"),
		"http://cyclonedx.org/schema/spdx.schema.json":     filepath.Join(schemas, "spdx.schema.json"),
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": filepath.Join(schemas, "jsf-0.82.schemax.json"),
	})
}

// billed is a release with crates of every kind.
func billed() (*manifest.Manifest, manifest.Asset, []cargo.Crate) {
	crates := []cargo.Crate{
		{Name: "app", Version: "0.1.0", License: "MIT OR Apache-2.0", Linked: true, Root: true, Dependencies: []int{1, 2, 4}},
		{Name: "inner", Version: "2.0.0", PURL: "pkg:cargo/inner@2.0.0?repository_url=https%3A%2F%2Fcrates.example.org%2Findex%2F"},
		{Name: "serde", Version: "1.0.200", From: cargo.FromCratesIO, PURL: "pkg:cargo/serde@1.0.200", Linked: true, SHA256: strings.Repeat("ab", 32), License: "MIT OR Apache-2.0", Repository: "https://github.com/serde-rs/serde"},
		{Name: "odd", Version: "1.0.0", PURL: "pkg:cargo/odd@1.0.0", License: "see LICENSE", From: cargo.FromCratesIO},
		{Name: "tower", Version: "0.4.0", PURL: "pkg:cargo/tower@0.4.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Ftower%40abc", Git: "git+https://example.org/tower@abc", License: "LicenseRef-ours", From: cargo.FromGit, Linked: true, Dependencies: []int{3}},
	}
	m := &manifest.Manifest{
		Component: "app", Tag: "v0.1.0", Version: "0.1.0", License: "MIT", Repository: "https://github.com/example/app", CommitDate: "2023-11-14T22:13:20Z",
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0 (abc 2026-01-01)", Cargo: "cargo 1.96.0"},
	}
	archive := manifest.Asset{
		Name: "app-0.1.0-x86_64-unknown-linux-gnu.tar.gz", Target: "x86_64-unknown-linux-gnu", SHA256: strings.Repeat("cd", 32),
		Binaries: []manifest.Binary{{Name: "app", Package: "app", Path: "app-0.1.0/app", SHA256: strings.Repeat("ef", 32)}},
	}
	return m, archive, crates
}

func TestBillOfMaterialsHasTheOfficialForm(t *testing.T) {
	m, archive, crates := billed()
	write := func(crates []cargo.Crate) []byte {
		var out bytes.Buffer
		require.NoError(t, cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(billOfMaterials(m, archive, crates), cdx.SpecVersion1_6))
		validate(t, schema(t), out.Bytes())
		return out.Bytes()
	}
	text := write(crates)
	assert.Equal(t, string(text), string(write(crates)))

	var bom cdx.BOM
	require.NoError(t, cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom))
	assert.Equal(t, "app", bom.Metadata.Component.Name)
	assert.Equal(t, "1.96.0", (*bom.Metadata.Tools.Components)[0].Version)
	assert.Len(t, *bom.Components, len(crates))
	assert.Equal(t, "pkg:cargo/serde@1.0.200", (*bom.Components)[2].PackageURL)

	archive.SHA256 = strings.Repeat("0", 64)
	assert.NotContains(t, string(write(nil)), bom.SerialNumber, "another archive has another number, also without dependencies")
}

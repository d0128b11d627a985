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

// The official schema comes with the library's sources.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	require.NoError(t, err)
	schemas := filepath.Join(strings.TrimSpace(string(out)), "schema")
	compiler := jsonschema.NewCompiler()
	for url, file := range map[string]string{
		"http://cyclonedx.org/schema/bom-1.6.schema.json":  "bom-1.6.schema.json",
		"http://cyclonedx.org/schema/spdx.schema.json":     "spdx.schema.json",
		"http://cyclonedx.org/schema/jsf-0.82.schema.json": "jsf-0.82.schemax.json",
	} {
		text, err := os.ReadFile(filepath.Join(schemas, file))
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource(url, doc))
	}
	compiled, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	require.NoError(t, err)
	return compiled
}

func TestBillOfMaterialsHasTheOfficialForm(t *testing.T) {
	crates := []cargo.Crate{
		{Name: "app", Version: "0.1.0", License: "MIT OR Apache-2.0", Linked: true, Root: true, Dependencies: []int{1, 2}},
		{Name: "inner", Version: "2.0.0", PURL: "pkg:cargo/inner@2.0.0?repository_url=https%3A%2F%2Fcrates.example.org%2Findex%2F"},
		{Name: "serde", Version: "1.0.200", PURL: "pkg:cargo/serde@1.0.200", SHA256: strings.Repeat("ab", 32), License: "MIT OR Apache-2.0", Repository: "https://github.com/serde-rs/serde"},
		{Name: "odd", Version: "1.0.0", PURL: "pkg:cargo/odd@1.0.0", License: "see LICENSE"},
	}
	m := &manifest.Manifest{
		Component: "app", Version: "0.1.0", License: "MIT", Repository: "https://github.com/example/app", CommitDate: "2023-11-14T22:13:20Z",
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0 (abc 2026-01-01)", Cargo: "cargo 1.96.0"},
	}
	archive := manifest.Asset{
		Name: "app-0.1.0-x86_64-unknown-linux-gnu.tar.gz", Target: "x86_64-unknown-linux-gnu", SHA256: strings.Repeat("cd", 32),
		Binaries: []manifest.Binary{{Path: "app-0.1.0/app", SHA256: strings.Repeat("ef", 32)}},
	}
	write := func(crates []cargo.Crate) []byte {
		var out bytes.Buffer
		require.NoError(t, cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(billOfMaterials(m, archive, crates), cdx.SpecVersion1_6))
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(out.Bytes()))
		require.NoError(t, err)
		assert.NoError(t, schema(t).Validate(doc))
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

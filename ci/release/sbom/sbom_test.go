package sbom

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dir = "/gantry/target/x86_64-unknown-linux-gnu"

func message(id, manifest string, files ...string) string {
	text, _ := json.Marshal(map[string]any{"reason": "compiler-artifact", "package_id": id, "manifest_path": manifest, "filenames": files})
	return string(text) + "\n"
}

func build() Build {
	const registry = "registry+https://github.com/rust-lang/crates.io-index#"
	return Build{
		TargetDir: dir,
		Messages: []byte(message(registry+"serde@1.0.200", "/r/serde/Cargo.toml", dir+"/release/deps/libserde.rlib") +
			message(registry+"serde@1.0.200", "/r/serde/Cargo.toml", "/gantry/target/release/deps/libserde.rlib") +
			message(registry+"serde_derive@1.0.200", "/r/serde_derive/Cargo.toml", "/gantry/target/release/deps/libserde_derive.so") +
			message(registry+"other-target@1.0.0", "/r/other/Cargo.toml", dir+"-musl/release/deps/libother.rlib") +
			message("git+https://example.org/forks/tower.git?rev=abc#0.4.0", "/g/tower/Cargo.toml", dir+"/release/deps/libtower.rlib") +
			message("sparse+https://crates.example.org/index/#inner@2.0.0", "/r/inner/Cargo.toml", dir+"/release/deps/libinner.rlib") +
			message("path+file:///gantry/src/crates/app#0.1.0", "/gantry/src/crates/app/Cargo.toml", dir+"/release/app") +
			message("old 0.3.0 (registry+https://github.com/rust-lang/crates.io-index)", "/r/old/Cargo.toml", dir+"/release/deps/libold.rlib")),
		Licenses:  []byte("/r/serde/Cargo.toml\tMIT/Apache-2.0\n"),
		Inherited: map[string]string{"/gantry/src/crates/app/Cargo.toml": "MIT OR Apache-2.0"},
		Lock: []byte("version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.200\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n" +
			"checksum = \"" + strings.Repeat("ab", 32) + "\"\n"),
	}
}

func TestCrates(t *testing.T) {
	crates, err := Crates(build())
	require.NoError(t, err)
	assert.Equal(t, []Crate{
		{Name: "app", Version: "0.1.0", License: "MIT OR Apache-2.0"},
		{Name: "inner", Version: "2.0.0", PURL: "pkg:cargo/inner@2.0.0?repository_url=https%3A%2F%2Fcrates.example.org%2Findex%2F"},
		{Name: "old", Version: "0.3.0", PURL: "pkg:cargo/old@0.3.0"},
		{Name: "serde", Version: "1.0.200", PURL: "pkg:cargo/serde@1.0.200", SHA256: strings.Repeat("ab", 32), License: "MIT OR Apache-2.0"},
		{Name: "tower", Version: "0.4.0", PURL: "pkg:cargo/tower@0.4.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fforks%2Ftower.git%3Frev%3Dabc"},
	}, crates, "what runs while building and what is of another target is not there")

	for says, b := range map[string]Build{
		"read Cargo.lock":       {Lock: []byte("= 1")},
		"read cargo's messages": {Messages: []byte("no json\n")},
		"has no version":        {TargetDir: dir, Messages: []byte(message("registry+x", "", dir+"/a"))},
	} {
		_, err := Crates(b)
		assert.ErrorContains(t, err, says)
	}
}

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

func TestWrite(t *testing.T) {
	crates, err := Crates(build())
	require.NoError(t, err)
	s := Subject{
		Component: "app", Version: "0.1.0", License: "MIT", Repository: "https://github.com/example/app", Target: "x86_64-unknown-linux-gnu",
		Archive: "app-0.1.0-x86_64-unknown-linux-gnu.tar.gz", ArchiveSHA256: strings.Repeat("cd", 32), CommitDate: "2023-11-14T22:13:20Z",
		Rustc: "rustc 1.96.0 (abc 2026-01-01)", Cargo: "cargo 1.96.0", Binaries: [][2]string{{"app-0.1.0/app", strings.Repeat("ef", 32)}},
	}
	var first, second bytes.Buffer
	require.NoError(t, Write(&first, s, crates))
	require.NoError(t, Write(&second, s, crates))
	assert.Equal(t, first.String(), second.String())

	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(first.Bytes()))
	require.NoError(t, err)
	assert.NoError(t, schema(t).Validate(doc))

	var bom cdx.BOM
	require.NoError(t, cdx.NewBOMDecoder(&first, cdx.BOMFileFormatJSON).Decode(&bom))
	assert.Equal(t, "app", bom.Metadata.Component.Name)
	assert.Equal(t, "1.96.0", (*bom.Metadata.Tools.Components)[0].Version)
	assert.Len(t, *bom.Components, len(crates))
	assert.Equal(t, "pkg:cargo/serde@1.0.200", (*bom.Components)[3].PackageURL)

	s.ArchiveSHA256 = strings.Repeat("0", 64)
	require.NoError(t, Write(&first, s, nil))
	assert.NotContains(t, first.String(), bom.SerialNumber, "another archive has another number")
	doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(first.Bytes()))
	require.NoError(t, err)
	assert.NoError(t, schema(t).Validate(doc), "a program without dependencies")
}

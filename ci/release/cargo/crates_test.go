package cargo

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const dir = "/gantry/target/x86_64-unknown-linux-gnu"

func compiled(id, manifest string, files ...string) string {
	text, _ := json.Marshal(map[string]any{"reason": "compiler-artifact", "package_id": id, "manifest_path": manifest, "filenames": files})
	return string(text) + "\n"
}

func record() Record {
	const registry = "registry+https://github.com/rust-lang/crates.io-index#"
	return Record{
		Messages: compiled(registry+"serde@1.0.200", "/r/serde/Cargo.toml", dir+"/release/deps/libserde.rlib") +
			compiled(registry+"serde@1.0.200", "/r/serde/Cargo.toml", "/gantry/target/release/deps/libserde.rlib") +
			compiled(registry+"serde_derive@1.0.200", "/r/serde_derive/Cargo.toml", "/gantry/target/release/deps/libserde_derive.so") +
			compiled(registry+"other-target@1.0.0", "/r/other/Cargo.toml", dir+"-musl/release/deps/libother.rlib") +
			compiled("git+https://example.org/forks/tower.git?rev=abc#0.4.0", "/g/tower/Cargo.toml", dir+"/release/deps/libtower.rlib") +
			compiled("sparse+https://crates.example.org/index/#inner@2.0.0", "/r/inner/Cargo.toml", dir+"/release/deps/libinner.rlib") +
			compiled("path+file:///gantry/src/crates/app#0.1.0", "/gantry/src/crates/app/Cargo.toml", dir+"/release/app") +
			compiled("old 0.3.0 (registry+https://github.com/rust-lang/crates.io-index)", "/r/old/Cargo.toml", dir+"/release/deps/libold.rlib"),
		Licenses:  "/r/serde/Cargo.toml\tMIT/Apache-2.0\n",
		Inherited: map[string]string{"/gantry/src/crates/app/Cargo.toml": "MIT OR Apache-2.0"},
		Lock: "version = 4\n[[package]]\nname = \"serde\"\nversion = \"1.0.200\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\n" +
			"checksum = \"" + strings.Repeat("ab", 32) + "\"\n",
	}
}

func TestCrates(t *testing.T) {
	crates, err := Crates(record(), dir)
	require.NoError(t, err)
	assert.Equal(t, []Crate{
		{Name: "app", Version: "0.1.0", License: "MIT OR Apache-2.0"},
		{Name: "inner", Version: "2.0.0", PURL: "pkg:cargo/inner@2.0.0?repository_url=https%3A%2F%2Fcrates.example.org%2Findex%2F"},
		{Name: "old", Version: "0.3.0", PURL: "pkg:cargo/old@0.3.0"},
		{Name: "serde", Version: "1.0.200", PURL: "pkg:cargo/serde@1.0.200", SHA256: strings.Repeat("ab", 32), License: "MIT OR Apache-2.0"},
		{Name: "tower", Version: "0.4.0", PURL: "pkg:cargo/tower@0.4.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fforks%2Ftower.git%3Frev%3Dabc"},
	}, crates, "what runs while building and what is of another target is not there")

	for says, b := range map[string]Record{
		"read Cargo.lock":       {Lock: "= 1"},
		"read cargo's messages": {Messages: "no json\n"},
		"has no version":        {Messages: compiled("registry+x", "", dir+"/a")},
	} {
		_, err := Crates(b, dir)
		assert.ErrorContains(t, err, says)
	}
}

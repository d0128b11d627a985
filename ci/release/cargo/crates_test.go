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

func locked(name, version, source, checksum string) string {
	text := "\n[[package]]\nname = \"" + name + "\"\nversion = \"" + version + "\"\n"
	if source != "" {
		text += "source = \"" + source + "\"\n"
	}
	if checksum != "" {
		text += "checksum = \"" + checksum + "\"\n"
	}
	return text
}

// record is what a build of a workspace keeps: packages of every origin, a renamed
// crate (which the tree does not show), two versions of one crate, a procedural macro,
// build dependencies, one that is linked too, and crates of another target.
func record() Record {
	const registry = cratesIO + "#"
	host := "/gantry/target/release/deps/"
	return Record{
		Tree: "0\tapp v0.1.0 (/gantry/src/crates/app)\tMIT\t\t\n" +
			"1\tinner v2.0.0 (registry `ours`)\t\t\t\n" +
			"1\tserde v1.0.200\tMIT/Apache-2.0\thttps://github.com/serde-rs/serde\t\n" +
			"2\tserde_derive v1.0.200 (proc-macro)\tMIT OR Apache-2.0\thttps://github.com/serde-rs/serde\t\n" +
			"3\tsyn v2.0.0\tMIT OR Apache-2.0\t\t\n" +
			"1\tsyn v1.0.0\tMIT OR Apache-2.0\t\t\n" +
			"1\ttower v0.4.0 (https://example.org/forks/tower.git?rev=abc#0123abcd)\tMIT\t\t\n" +
			"2\tserde v1.0.200\tMIT/Apache-2.0\thttps://github.com/serde-rs/serde\t (*)\n" +
			"1\tcc v1.0.0\tMIT\t\t\n" +
			"2\tserde v1.0.200\tMIT/Apache-2.0\thttps://github.com/serde-rs/serde\t\n" +
			"3\tmemchr v2.0.0\tUnlicense/MIT\t\t\n" +
			"\n0\tctl v0.1.0 (/gantry/src/crates/ctl)\tMIT\t\t\n" +
			"1\tmacros v0.1.0 (proc-macro) (/gantry/src/crates/macros)\t\t\t\n",
		Messages: compiled(registry+"serde@1.0.200", "/r/serde/Cargo.toml", host+"libserde.rlib") +
			compiled(registry+"serde@1.0.200", "/r/serde/Cargo.toml", dir+"/release/deps/libserde.rlib") +
			compiled(registry+"serde_derive@1.0.200", "/r/serde_derive/Cargo.toml", host+"libserde_derive.so") +
			compiled(registry+"syn@2.0.0", "/r/syn2/Cargo.toml", host+"libsyn.rlib") +
			compiled(registry+"syn@1.0.0", "/r/syn1/Cargo.toml", dir+"/release/deps/libsyn.rlib") +
			compiled(registry+"memchr@2.0.0", "/r/memchr/Cargo.toml", host+"libmemchr.rlib") +
			compiled(registry+"other-target@1.0.0", "/r/other/Cargo.toml", dir+"-musl/release/deps/libother.rlib") +
			compiled("git+https://example.org/forks/tower.git?rev=abc#0.4.0", "/g/tower/Cargo.toml", dir+"/release/deps/libtower.rlib") +
			compiled("sparse+https://crates.example.org/index/#inner@2.0.0", "/r/inner/Cargo.toml", dir+"/release/deps/libinner.rlib") +
			compiled("path+file:///gantry/src/crates/app#0.1.0", "/gantry/src/crates/app/Cargo.toml", dir+"/release/app") +
			compiled("path+file:///gantry/src/crates/ctl#0.1.0", "/gantry/src/crates/ctl/Cargo.toml", dir+"/release/ctl") +
			compiled("path+file:///gantry/src/crates/macros#0.1.0", "/gantry/src/crates/macros/Cargo.toml", host+"libmacros.so") +
			compiled("cc 1.0.0 ("+cratesIO+")", "/r/cc/Cargo.toml", host+"libcc.rlib"),
		Lock: "version = 4\n" + locked("serde", "1.0.200", cratesIO, strings.Repeat("ab", 32)) +
			locked("serde_derive", "1.0.200", cratesIO, "") + locked("syn", "1.0.0", cratesIO, "01") + locked("syn", "2.0.0", cratesIO, "02") +
			locked("cc", "1.0.0", cratesIO, "") + locked("memchr", "2.0.0", cratesIO, "") + locked("windows-sys", "0.59.0", cratesIO, "") +
			locked("tower", "0.4.0", "git+https://example.org/forks/tower.git?rev=abc#0123abcdef", "") +
			locked("inner", "2.0.0", "sparse+https://crates.example.org/index/", "03") +
			locked("app", "0.1.0", "", "") + locked("ctl", "0.1.0", "", "") + locked("macros", "0.1.0", "", ""),
	}
}

func TestCrates(t *testing.T) {
	crates, err := Crates(record(), dir)
	require.NoError(t, err)
	const both = "MIT OR Apache-2.0"
	assert.Equal(t, []Crate{
		{Name: "app", Version: "0.1.0", From: FromPath, License: "MIT", Manifest: "/gantry/src/crates/app/Cargo.toml", Linked: true, Root: true, Dependencies: []int{1, 3, 6, 8, 10}},
		{Name: "cc", Version: "1.0.0", From: FromCratesIO, PURL: "pkg:cargo/cc@1.0.0", License: "MIT", Manifest: "/r/cc/Cargo.toml", Dependencies: []int{6}},
		{Name: "ctl", Version: "0.1.0", From: FromPath, License: "MIT", Manifest: "/gantry/src/crates/ctl/Cargo.toml", Linked: true, Root: true, Dependencies: []int{4}},
		{Name: "inner", Version: "2.0.0", From: FromRegistry, PURL: "pkg:cargo/inner@2.0.0?repository_url=https%3A%2F%2Fcrates.example.org%2Findex%2F", SHA256: "03", Manifest: "/r/inner/Cargo.toml", Linked: true},
		{Name: "macros", Version: "0.1.0", From: FromPath, Manifest: "/gantry/src/crates/macros/Cargo.toml"},
		{Name: "memchr", Version: "2.0.0", From: FromCratesIO, PURL: "pkg:cargo/memchr@2.0.0", License: "Unlicense OR MIT", Manifest: "/r/memchr/Cargo.toml"},
		{Name: "serde", Version: "1.0.200", From: FromCratesIO, PURL: "pkg:cargo/serde@1.0.200", SHA256: strings.Repeat("ab", 32), License: both, Repository: "https://github.com/serde-rs/serde", Manifest: "/r/serde/Cargo.toml", Linked: true, Dependencies: []int{5, 7}},
		{Name: "serde_derive", Version: "1.0.200", From: FromCratesIO, PURL: "pkg:cargo/serde_derive@1.0.200", License: both, Repository: "https://github.com/serde-rs/serde", Manifest: "/r/serde_derive/Cargo.toml", Dependencies: []int{9}},
		{Name: "syn", Version: "1.0.0", From: FromCratesIO, PURL: "pkg:cargo/syn@1.0.0", SHA256: "01", License: both, Manifest: "/r/syn1/Cargo.toml", Linked: true},
		{Name: "syn", Version: "2.0.0", From: FromCratesIO, PURL: "pkg:cargo/syn@2.0.0", SHA256: "02", License: both, Manifest: "/r/syn2/Cargo.toml"},
		{Name: "tower", Version: "0.4.0", From: FromGit, PURL: "pkg:cargo/tower@0.4.0?vcs_url=git%2Bhttps%3A%2F%2Fexample.org%2Fforks%2Ftower.git%400123abcdef", Git: "git+https://example.org/forks/tower.git@0123abcdef", License: "MIT", Manifest: "/g/tower/Cargo.toml", Linked: true, Dependencies: []int{6}},
	}, crates)

	for says, change := range map[string]func(*Record){
		"read Cargo.lock":       func(r *Record) { r.Lock = "= 1" },
		"read cargo's messages": func(r *Record) { r.Messages = "no json\n" },
		"has no version":        func(r *Record) { r.Messages = compiled(cratesIO, "", dir+"/a") },
		`unknown line "serde"`:  func(r *Record) { r.Tree = "serde\n" },
		"has no parent":         func(r *Record) { r.Tree = "1\tserde v1.0.0\t\t\t\n" },
	} {
		r := record()
		change(&r)
		_, err := Crates(r, dir)
		assert.ErrorContains(t, err, says)
	}
}

// Packages of one name and version differ by where they come from.
func TestCratesOfOneNameAndVersion(t *testing.T) {
	const fork = "git+https://example.org/log?branch=main"
	r := Record{
		Tree: "0\tapp v0.1.0 (/src)\t\t\t\n1\tlog v1.0.0\tMIT\t\t\n1\tlog v1.0.0 (https://example.org/log?branch=main#01234567)\tISC\t\t\n" +
			"1\tlog v1.0.0 (registry `ours`)\t0BSD\t\t\n1\tlog v1.0.0 (/src/log)\tZlib\t\t\n",
		Messages: compiled(fork+"#log@1.0.0", "/git/Cargo.toml", dir+"/a") + compiled(cratesIO+"#log@1.0.0", "/io/Cargo.toml", "/host/b") +
			compiled("registry+https://ours.example.org#log@1.0.0", "/ours/Cargo.toml", dir+"/c") + compiled("path+file:///src/log#1.0.0", "/src/log/Cargo.toml", dir+"/d"),
		Lock: locked("log", "1.0.0", "", "") + locked("log", "1.0.0", "registry+https://ours.example.org", "02") + locked("log", "1.0.0", fork+"#0123456789", "") + locked("log", "1.0.0", cratesIO, "01"),
	}
	crates, err := Crates(r, dir)
	require.NoError(t, err)
	got := map[string][]any{}
	for _, c := range crates[1:] {
		got[c.License] = []any{c.From, c.SHA256, c.Manifest, c.Linked}
	}
	assert.Equal(t, map[string][]any{
		"MIT":  {FromCratesIO, "01", "/io/Cargo.toml", false},
		"ISC":  {FromGit, "", "/git/Cargo.toml", true},
		"0BSD": {FromRegistry, "02", "/ours/Cargo.toml", true},
		"Zlib": {FromPath, "", "/src/log/Cargo.toml", true},
	}, got)
}

// Crates of the standard library that Cargo compiled are in the program, but in no tree.
func TestCratesOfTheStandardLibrary(t *testing.T) {
	r := Record{
		Tree: "0\tapp v0.1.0 (/src)\t\t\t\n",
		Messages: compiled("path+file:///src#app@0.1.0", "/src/Cargo.toml", dir+"/app") + compiled("path+file:///rust/library/core#0.0.0", "/rust/library/core/Cargo.toml", dir+"/libcore.rlib") +
			compiled(cratesIO+"#build-only@1.0.0", "/r/Cargo.toml", "/host/x"),
		Lock: locked("app", "0.1.0", "", ""),
	}
	crates, err := Crates(r, dir)
	require.NoError(t, err)
	require.Len(t, crates, 2)
	assert.Equal(t, Crate{Name: "core", Version: "0.0.0", From: FromPath, Manifest: "/rust/library/core/Cargo.toml", Linked: true}, crates[1])
}

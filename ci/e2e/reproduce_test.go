package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compileC is a build script that compiles stamp.c, without the flags in CFLAGS.
const compileC = `use std::{env, process::Command};
fn main() {
    let source = format!("{}/stamp.c", env::var("CARGO_MANIFEST_DIR").unwrap());
    let object = format!("{}/stamp.o", env::var("OUT_DIR").unwrap());
    let done = Command::new("cc").args(["-O2", "-c", &source, "-o", &object])PREPARE.status().unwrap();
    assert!(done.success());
    println!("cargo:rustc-link-arg-bins={object}");
}
`

// printC is a program that prints what stamp.c has.
const printC = `use std::ffi::{c_char, CStr};
extern "C" { static stamp: [c_char; 1]; }
fn main() { println!("1.0.0 {}", unsafe { CStr::from_ptr(stamp.as_ptr()) }.to_string_lossy()); }
`

// unreproducible makes a workspace of programs, most of which differ in each build.
func unreproducible(t *testing.T, names ...string) string {
	t.Helper()
	c := func(code, prepare string) map[string]string {
		return map[string]string{"stamp.c": code, "build.rs": strings.Replace(compileC, "PREPARE", prepare, 1), "src/main.rs": printC}
	}
	generated := func(build string) map[string]string {
		return map[string]string{
			"build.rs":    "use std::{env, fs, path::Path};\nfn main() {\n" + build + "    fs::write(Path::new(&env::var(\"OUT_DIR\").unwrap()).join(\"names.rs\"), format!(\"&{names:?}\")).unwrap();\n}\n",
			"src/main.rs": "static NAMES: &[&str] = include!(concat!(env!(\"OUT_DIR\"), \"/names.rs\"));\nfn main() { for name in NAMES { println!(\"1.0.0 {name}\"); } }\n",
		}
	}
	all := map[string]map[string]string{
		"clean":  {"src/main.rs": "fn main() { println!(\"clean {} {}\", env!(\"CARGO_PKG_VERSION\"), file!()); }\n"},
		"c-path": c("const char stamp[] = __FILE__;\n", ""),
		"c-date": c("const char stamp[] = __DATE__ \" \" __TIME__;\n", ".env_remove(\"SOURCE_DATE_EPOCH\")"),
		"c-day":  c("const char stamp[] = __DATE__;\n", ""),
		"script-time": {
			"build.rs":    "fn main() { println!(\"cargo:rustc-env=BUILT={}\", std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()); }\n",
			"src/main.rs": "fn main() { println!(\"1.0.0 {}\", env!(\"BUILT\")); }\n",
		},
		"random-order": generated("    let set: std::collections::HashSet<String> = (0..60).map(|i| format!(\"harbour number {i}\")).collect();\n    let names: Vec<_> = set.iter().collect();\n"),
		"file-order":   generated("    let names: Vec<_> = fs::read_dir(\"data\").unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();\n"),
	}
	for i := range 20 {
		all["file-order"][fmt.Sprintf("data/reading-%02d", i)] = "0.0\n"
	}
	dir := filepath.Join(t.TempDir(), "unreproducible")
	lock := "version = 3\n"
	for _, name := range names {
		require.Contains(t, all, name)
		manifest := "[package]\nname = \"" + name + "\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"
		write(t, filepath.Join(dir, name), all[name])
		write(t, dir, map[string]string{name + "/Cargo.toml": manifest})
		lock += "\n[[package]]\nname = \"" + name + "\"\nversion = \"1.0.0\"\n"
	}
	write(t, dir, map[string]string{
		"Cargo.toml": "[workspace]\nresolver = \"2\"\nmembers = [\"" + strings.Join(names, "\", \"") + "\"]\n\n[workspace.metadata.gantry]\ntargets = [\"" + native + "\"]\n",
		"Cargo.lock": lock,
		".gitignore": "/target\n",
	})
	commit(t, dir, "v1.0.0")
	return dir
}

// TestReproducible makes sure that verify-reproducible is content with a clean program
// and with a date that only follows the commit, and names the causes in others.
func TestReproducible(t *testing.T) {
	t.Run("clean", func(t *testing.T) {
		got := call(t, "--source="+unreproducible(t, "c-day", "clean"), "release", "--tag=v1.0.0", "verify-reproducible")
		require.NoError(t, got.err)
		assert.Regexp(t, `(?m)^  clean: same, SHA-256 [0-9a-f]{64}$`, got.stdout)
		assert.Regexp(t, `c-day: same, SHA-256 [0-9a-f]{64}\n    note: section \.rodata.* has the commit's date as C's __DATE__`, got.stdout)
		for _, varied := range []string{
			`source directory +/gantry/src +/gantry/2/s`, `user +root +gantry-second`, `umask +0022 +0027`, `order of directories `, `time zone +UTC +GANTRY-11:37`,
		} {
			assert.Regexp(t, varied, got.stdout)
		}
		assert.NotRegexp(t, `not varied:.*date`, got.stdout, "the clock")
	})
	t.Run("causes", func(t *testing.T) {
		names := []string{"c-date", "c-path", "clean", "file-order", "random-order", "script-time"}
		got := call(t, "--source="+unreproducible(t, names...), "release", "--tag=v1.0.0", "verify-reproducible", "--targets="+native)
		require.Error(t, got.err)
		said := got.said()
		t.Log(said)
		require.Contains(t, said, `5 of 6 files differ between two builds of "v1.0.0"`)
		assert.Regexp(t, `(?m)^  clean: same`, said)
		sections := map[string]string{}
		for _, s := range regexp.MustCompile(`(?m)^  ([a-z-]+): differs\n((?:    .*\n)+)`).FindAllStringSubmatch(said, -1) {
			sections[s[1]] = s[2]
		}
		for name, finds := range map[string]string{
			"c-path":       `section \.rodata.*, stamp.*: path: the path of the source directory, in C or C\+\+ code \(__FILE__ or assert\)`,
			"c-date":       `section \.rodata.*, stamp.*: clock: the time of the build: C's __DATE__`,
			"script-time":  `section \.rodata.*: clock: the time of the build: seconds since 1970`,
			"random-order": `section \.rodata.*: order: the same bytes in another order`,
			"file-order":   `section \.rodata.*: order: the same bytes in another order`,
		} {
			assert.Regexp(t, finds, sections[name], name)
			assert.NotContains(t, sections[name], "cause unknown", name)
		}
		for _, origin := range []string{"package script-time: the output of its build script", "package random-order: names.rs, in OUT_DIR", "package file-order: names.rs, in OUT_DIR"} {
			assert.Contains(t, said, origin)
		}
	})
}

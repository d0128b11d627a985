package e2e

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a binary prints is in all archives, whoever packs them.
func TestGeneratedFiles(t *testing.T) {
	settings := "\n[package.metadata.gantry]\ntargets = [\"" + native + "\", \"" + foreign + "\"]\n" +
		"[package.metadata.gantry.generate]\n\"completions/tiny.bash\" = [\"completions\", \"a b\", \"$HOME\"]\n"
	dir := tiny(t, settings)
	write(t, dir, map[string]string{"src/main.rs": `fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("completions") => println!("complete {:?} {:?}", &args[1..], std::env::var("CARGO_HOME")),
        Some("silent") => (),
        Some("broken") => panic!("no such shell"),
        _ => println!("tiny {}", env!("CARGO_PKG_VERSION")),
    }
}
`})
	again := func() {
		run(t, dir, "git", "tag", "-d", "v1.0.0")
		commit(t, dir, "v1.0.0")
	}
	again()
	out := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, call(t, "--source="+dir, "release", "--tag=v1.0.0", "dist", "export", "--path="+out).err)
	unpacked := unpack(t, out)
	for _, target := range []string{native, foreign} {
		file := filepath.Join(unpacked, "tiny-1.0.0-"+target, "completions/tiny.bash")
		assert.Equal(t, "complete [\"a b\", \"$HOME\"] Err(NotPresent)\n", run(t, "", "cat", file), target)
		archive, found := readManifest(t, out).ArchiveFor(target)
		require.True(t, found)
		require.Len(t, archive.Files, 2)
		assert.Equal(t, "tiny-1.0.0-"+target+"/THIRD-PARTY-LICENSES", archive.Files[0].Path)
		assert.Equal(t, "tiny-1.0.0-"+target+"/completions/tiny.bash", archive.Files[1].Path)
	}

	// An engine that packs only the other target compiles this one for it.
	part := filepath.Join(t.TempDir(), "part")
	got := call(t, "--source="+dir, "release", "--tag=v1.0.0", "dist", "--targets="+foreign, "export", "--path="+part)
	require.NoError(t, got.err)
	name := "tiny-1.0.0-" + foreign + ".tar.gz"
	assert.Equal(t, run(t, out, "sha256sum", name), run(t, part, "sha256sum", name))

	// A binary from elsewhere prints them too.
	bin := filepath.Join(t.TempDir(), "bin")
	require.NoError(t, call(t, "--source="+dir, "build", "--target="+native, "export", "--path="+bin).err)
	got = call(t, "--source="+dir, "release", "--tag=v1.0.0", "with-binaries", "--target="+native, "--dir="+bin,
		"dist", "--targets="+native, "file", "--path=tiny-1.0.0-"+native+".tar.gz", "size")
	require.NoError(t, got.err)
	assert.Empty(t, got.compiled())

	for argument, said := range map[string]string{
		"silent": `"tiny silent a b $HOME" printed nothing: generate in [package.metadata.gantry] keeps what a binary prints to standard output`,
		"broken": "no such shell",
	} {
		write(t, dir, map[string]string{"Cargo.toml": replaceOnce(t, "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n"+settings, `["completions"`, `["`+argument+`"`)})
		again()
		_, got := dist(t, dir, "v1.0.0")
		require.Error(t, got.err)
		assert.Contains(t, got.said(), said)
	}
}

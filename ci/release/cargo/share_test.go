package cargo

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sharing is a build that runs crates.sh of the toolchain, on directories of this test.
type sharing struct {
	t    *testing.T
	root string
}

const registryDir = "index.crates.io-0"

func newSharing(t *testing.T, crates ...string) sharing {
	s := sharing{t, t.TempDir()}
	lock := "version = 4\n"
	for _, name := range crates {
		lock += fmt.Sprintf("\n[[package]]\nname = %q\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"%x\"\n",
			name, sha256.Sum256([]byte("content of "+name)))
	}
	s.write("Cargo.lock", lock)
	return s
}

func (s sharing) write(path, content string) {
	file := filepath.Join(s.root, path)
	require.NoError(s.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(s.t, os.WriteFile(file, []byte(content), 0o644))
}

// run takes crates, runs a command in place of cargo, shares, and returns what it printed.
func (s sharing) run(cargo string) string {
	script, err := os.ReadFile("../toolchain/crates.sh")
	require.NoError(s.t, err)
	text := strings.Replace(string(script), "crates=/gantry-crates", "crates="+s.root+"/shared", 1)
	require.NotEqual(s.t, string(script), text)
	cmd := exec.Command("sh", "-euc", "tmp=$(mktemp -d)\n"+text+"\ntake_crates\n"+cargo+"\nshare_crates\nrm -rf \"$tmp\"")
	cmd.Dir, cmd.Env = s.root, append(os.Environ(), "CARGO_HOME="+s.root+"/home", "TMPDIR="+s.t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	return string(out)
}

// files returns the contents of the crates in a directory by name.
func (s sharing) files(dir string) map[string]string {
	found := map[string]string{}
	all, err := filepath.Glob(filepath.Join(s.root, dir, "*"))
	require.NoError(s.t, err)
	for _, file := range all {
		text, err := os.ReadFile(file)
		require.NoError(s.t, err)
		found[filepath.Base(file)] = string(text)
	}
	return found
}

const (
	ownDir    = "home/registry/cache/" + registryDir
	sharedDir = "shared/" + registryDir
)

func download(name, content string) string {
	return "mkdir -p " + ownDir + "; printf %s '" + content + "' >" + ownDir + "/" + name + "-1.0.0.crate"
}

func TestCratesAreShared(t *testing.T) {
	first := newSharing(t, "a", "b")
	assert.Empty(t, first.run(download("a", "content of a")+"; "+download("b", "content of b")+"; "+download("c", "not in Cargo.lock")))
	shared := map[string]string{"a-1.0.0.crate": "content of a", "b-1.0.0.crate": "content of b"}
	assert.Equal(t, shared, first.files(sharedDir))

	t.Run("another build takes what it needs", func(t *testing.T) {
		s := newSharing(t, "b", "d")
		for name, content := range shared {
			s.write(sharedDir+"/"+name, content)
		}
		assert.Empty(t, s.run(download("d", "content of d")))
		assert.Equal(t, map[string]string{"b-1.0.0.crate": "content of b", "d-1.0.0.crate": "content of d"}, s.files(ownDir))
		assert.Contains(t, s.files(sharedDir), "d-1.0.0.crate")
	})
	t.Run("a broken copy is replaced", func(t *testing.T) {
		s := newSharing(t, "a", "b")
		s.write(sharedDir+"/a-1.0.0.crate", "evil")
		s.write(sharedDir+"/b-1.0.0.crate", "content of b")
		assert.Contains(t, s.run("test ! -e "+ownDir+"/a-1.0.0.crate; "+download("a", "content of a")),
			"a cached copy of a-1.0.0.crate does not match Cargo.lock; downloading it again")
		assert.Equal(t, shared, s.files(ownDir))
		assert.Equal(t, shared, s.files(sharedDir))
	})
	t.Run("a broken download is not shared", func(t *testing.T) {
		s := newSharing(t, "a", "b")
		assert.Empty(t, s.run(download("a", "evil")+"; "+download("b", "content of b")))
		assert.Equal(t, map[string]string{"b-1.0.0.crate": "content of b"}, s.files(sharedDir))
	})
	t.Run("nothing is written if nothing is new", func(t *testing.T) {
		s := newSharing(t, "a")
		s.write(sharedDir+"/a-1.0.0.crate", "content of a")
		s.write(ownDir+"/a-1.0.0.crate", "content of a")
		before, err := os.Stat(filepath.Join(s.root, sharedDir, "a-1.0.0.crate"))
		require.NoError(t, err)
		assert.Empty(t, s.run(":"))
		after, err := os.Stat(filepath.Join(s.root, sharedDir, "a-1.0.0.crate"))
		require.NoError(t, err)
		assert.True(t, os.SameFile(before, after), "the shared file was replaced")
	})
	t.Run("a project without Cargo.lock", func(t *testing.T) {
		s := newSharing(t)
		require.NoError(t, os.Remove(filepath.Join(s.root, "Cargo.lock")))
		assert.Empty(t, s.run(download("a", "content of a")))
		assert.Empty(t, s.files(sharedDir))
	})
}

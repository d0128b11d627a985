package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canary stands for a token; it may be in nothing that anybody can read. It is
// another one each time, so that no file of an earlier run or of this test's
// own source has it.
var canary = "ghp_canary" + rand.Text()

// noCanaryInEngine searches everything that the engine wrote since a moment:
// layers, cache volumes, compressed blobs, and the databases of its traces. It searches
// for more secrets than the token, if there are any.
func noCanaryInEngine(t *testing.T, since time.Time, secrets ...string) {
	t.Helper()
	state := os.Getenv("GANTRY_ENGINE_STATE")
	if state == "" {
		t.Log("not searched: the engine's state, since GANTRY_ENGINE_STATE does not name its directory")
		return
	}
	files, traces := 0, 0
	err := filepath.WalkDir(state, func(path string, d fs.DirEntry, err error) error {
		// The engine goes on meanwhile: what was just removed is no finding.
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		// Not the modification time, which layers carry over from elsewhere.
		if c := info.Sys().(*syscall.Stat_t).Ctim; time.Unix(c.Sec, c.Nsec).Before(since) {
			return nil
		}
		files++
		if filepath.Base(filepath.Dir(path)) == "clientdbs" {
			traces++
		}
		for i, secret := range append([]string{canary}, secrets...) {
			found, err := contains(path, secret)
			if err == nil && found {
				assert.Fail(t, fmt.Sprintf("secret %d is in the engine's state", i), path)
			}
		}
		return nil
	})
	require.NoError(t, err)
	assert.NotZero(t, traces, "no trace was searched: its databases are not in clientdbs any more")
	t.Logf("searched %d files of the engine's state, %d of them traces", files, traces)
}

// contains says whether a file, or what is compressed in it, has some text.
func contains(path, text string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var head [2]byte
	if n, _ := io.ReadFull(f, head[:]); n == 2 && head == [2]byte{0x1f, 0x8b} {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		if z, err := gzip.NewReader(f); err == nil {
			if found, err := search(z, text); found || err != nil {
				return found, err
			}
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	return search(f, text)
}

func search(r io.Reader, text string) (bool, error) {
	buf := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := r.Read(buf[kept:])
		if bytes.Contains(buf[:kept+n], []byte(text)) {
			return true, nil
		}
		if err == io.EOF {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		// The text may lie across two reads.
		tail := min(kept+n, len(text)-1)
		copy(buf, buf[kept+n-tail:kept+n])
		kept = tail
	}
}

// The search finds what it is for.
func TestCanarySearch(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GANTRY_ENGINE_STATE", dir)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write([]byte(canary))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	for name, text := range map[string][]byte{
		"plain": []byte("x" + canary + "y"), "packed": packed.Bytes(), "across": append(make([]byte, 1<<20-5), canary...),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		found, err := contains(filepath.Join(dir, name), canary)
		require.NoError(t, err)
		assert.True(t, found, name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "none"), []byte(canary[1:]), 0o600))
	found, err := contains(filepath.Join(dir, "none"), canary)
	require.NoError(t, err)
	assert.False(t, found)
}

// A CI's checkout leaves its token in the repository's configuration. No program that
// the build runs sees it, even one that may see the repository.
func TestCheckoutCredentials(t *testing.T) {
	dir := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\ngit-dir = true\n")
	write(t, dir, map[string]string{
		"build.rs":    "fn main() { println!(\"cargo:rustc-env=CONFIG={}\", std::fs::read_to_string(\".git/config\").unwrap().replace('\\n', \";\")); }\n",
		"src/main.rs": "fn main() { println!(\"tiny 1.0.0 {}\", env!(\"CONFIG\")); }\n",
	})
	run(t, dir, "git", "tag", "-d", "v1.0.0")
	commit(t, dir, "v1.0.0")
	run(t, dir, "git", "config", "http.https://github.com/.extraheader", "AUTHORIZATION: basic "+canary)
	run(t, dir, "git", "remote", "add", "origin", "https://x-access-token:"+canary+"@github.com/example/tiny")
	out, got := mustDist(t, dir, "v1.0.0")
	assert.NotContains(t, got.log, canary)
	files := unpack(t, out)
	said := run(t, files, filepath.Join(files, readManifest(t, out).Archives()[0].Binaries[0].Path))
	assert.NotContains(t, said, canary)
	assert.Contains(t, said, "url = https://github.com/example/tiny", "the build saw another configuration")
	assert.Equal(t, "https://github.com/example/tiny", readManifest(t, out).Repository)
}

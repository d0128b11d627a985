package e2e

import (
	"crypto/sha256"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// serve the repository in dir by git's own server, and give its URL.
func serve(t *testing.T, dir string) string {
	t.Helper()
	host := os.Getenv("GANTRY_HOST_IN_CONTAINERS")
	require.NotEmpty(t, host, "set by scripts/test: the address at which the engine reaches this machine")
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	port := strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	require.NoError(t, listener.Close())
	// Not by way of git, which would leave it behind when it is killed.
	program := filepath.Join(strings.TrimSpace(run(t, "", "git", "--exec-path")), "git-daemon")
	server := exec.Command(program, "--reuseaddr", "--export-all", "--port="+port, "--base-path="+filepath.Dir(dir))
	server.Stderr = os.Stderr
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 10*time.Second, 20*time.Millisecond, "git daemon does not listen")
	return fmt.Sprintf("git://%s/%s", net.JoinHostPort(host, port), filepath.Base(dir))
}

// A commit of a remote repository is released as its checkout would be.
func TestFromGit(t *testing.T) {
	dir := sample(t)
	bare := filepath.Join(t.TempDir(), "tally.git")
	run(t, dir, "git", "clone", "-q", "--bare", dir, bare)
	url := serve(t, bare)

	out := filepath.Join(t.TempDir(), "dist")
	got := call(t, "--git="+url+"#tally-cli-0.3.0", "release", "--tag=tally-cli-0.3.0", "dist", "--targets="+native, "export", "--path="+out)
	require.NoError(t, got.err)
	local, _ := mustDist(t, dir, "tally-cli-0.3.0")
	// The repository that it is from is not in the files, since Cargo.toml names it.
	assert.Equal(t, sums(t, local), sums(t, out))
	assert.Equal(t, "tally-cli-0.2.0", readManifest(t, out).PreviousTag)

	got = call(t, "--source="+url+"#tally-cli-0.3.0", "release", "--tag=tally-cli-0.3.0", "plan")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "shallow clone")
	assert.Contains(t, got.stdout, "pass the URL of a repository as --git")
}

// Submodules and files in Git LFS that are there are built as they are; those
// that are not are told of.
func TestSubmodulesAndLargeFiles(t *testing.T) {
	library := filepath.Join(t.TempDir(), "small")
	write(t, library, map[string]string{
		"Cargo.toml": "[package]\nname = \"small\"\nversion = \"0.1.0\"\n",
		"src/lib.rs": "pub const OF: &str = \"of a submodule\";\n",
	})
	commit(t, library, "v0.1.0")
	dir := filepath.Join(t.TempDir(), "tiny")
	const film = "a long film\n"
	pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%x\nsize %d\n", sha256.Sum256([]byte(film)), len(film))
	write(t, dir, map[string]string{
		"Cargo.toml":     "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n[dependencies]\nsmall = { path = \"vendor/small\" }\n",
		"Cargo.lock":     "version = 3\n\n[[package]]\nname = \"small\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"small\",\n]\n",
		"src/main.rs":    "fn main() { print!(\"{}: {}\", small::OF, include_str!(\"../the film.txt\")); }\n",
		".gitattributes": "*film.txt filter=lfs diff=lfs merge=lfs -text\n",
		"the film.txt":   pointer,
	})
	run(t, dir, "git", "init", "-q", "-b", "main")
	run(t, dir, "git", "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "vendor/small")
	commit(t, dir, "v1.0.0")
	plan := func() string {
		t.Helper()
		got := call(t, "--source="+dir, "release", "--tag=v1.0.0", "plan")
		require.NoError(t, got.err)
		return got.stdout
	}
	said := plan()
	assert.Contains(t, said, `Git LFS pointers instead of contents, such as "the film.txt" (1 in all)`)
	assert.Contains(t, said, "\nready to release")

	// As "git lfs install --local" and "git lfs pull" leave it; the program that
	// the filter names is in no toolchain.
	run(t, dir, "git", "config", "filter.lfs.process", "git-lfs filter-process")
	run(t, dir, "git", "config", "filter.lfs.clean", "git-lfs clean -- %f")
	run(t, dir, "git", "config", "filter.lfs.required", "true")
	write(t, dir, map[string]string{"the film.txt": film})
	out, _ := mustDist(t, dir, "v1.0.0")
	files := unpack(t, out)
	archive, found := readManifest(t, out).ArchiveFor(native)
	require.True(t, found)
	assert.Equal(t, "of a submodule: "+film, run(t, files, filepath.Join(files, archive.Binaries[0].Path)))

	write(t, dir, map[string]string{"the film.txt": "another\n"})
	assert.Contains(t, plan(), `commit or stash them: M "the film.txt"`)
}

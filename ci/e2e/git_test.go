package e2e

import (
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
	got := call(t, "--git="+url+"#tally-cli-0.3.0", "dist", "--tag=tally-cli-0.3.0", "--targets="+native, "export", "--path="+out)
	require.NoError(t, got.err)
	local, _ := mustDist(t, dir, "tally-cli-0.3.0")
	// The repository that it is from is not in the files, since Cargo.toml names it.
	assert.Equal(t, sums(t, local), sums(t, out))
	assert.Equal(t, "tally-cli-0.2.0", readManifest(t, out).PreviousTag)

	got = call(t, "--source="+url+"#tally-cli-0.3.0", "plan", "--tag=tally-cli-0.3.0")
	require.NoError(t, got.err)
	assert.Contains(t, got.stdout, "shallow clone")
	assert.Contains(t, got.stdout, "pass the URL of a repository as --git")
}

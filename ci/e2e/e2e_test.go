// Package e2e tests the module as its callers use it: through a real engine,
// with `dagger call` as it is typed, on real Rust programs. It fails where no
// engine can be reached; scripts/test brings one up.
package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"dagger.io/dagger"
	"github.com/stretchr/testify/require"
)

// root of the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	require.NoError(t, err)
	return dir
}

// result of a call.
type result struct {
	stdout string
	// log is what the call printed of its progress.
	log string
	err error
}

// engineFailures are errors of the engine itself, v0.19.10, in sessions at the same
// moment: two mount one cache, or one ends whose work another waits for. They pass.
var engineFailures = []string{"failed to mount /tmp/buildkit-mount", "failed to get requester session"}

// call types `dagger call` with the arguments given, and types it again after a failure
// of the engine itself.
func call(t *testing.T, args ...string) result {
	t.Helper()
	got := callOnce(t, args...)
	for range 2 {
		if got.err == nil || !slices.ContainsFunc(engineFailures, func(text string) bool { return strings.Contains(got.log, text) }) {
			break
		}
		t.Logf("the engine failed: %v", got.err)
		time.Sleep(time.Second)
		got = callOnce(t, args...)
	}
	return got
}

func callOnce(t *testing.T, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dagger", append([]string{"call", "--progress=plain"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("dagger call %s: %w\n%s", strings.Join(args, " "), err, tail(stderr.String()))
	}
	return result{stdout.String(), stderr.String(), err}
}

func tail(text string) string {
	lines := strings.Split(text, "\n")
	if len(lines) > 60 {
		lines = lines[len(lines)-60:]
	}
	return strings.Join(lines, "\n")
}

// said is the error that the call ended with.
func (r result) said() string {
	_, message, _ := strings.Cut(r.log, "\nError: ")
	return message
}

// started says whether Cargo compiled anything.
func (r result) started() bool { return strings.Contains(r.log, "   Compiling ") }

// compiled are the packages that Cargo compiled, by the log.
func (r result) compiled() []string {
	var names []string
	for _, line := range strings.Split(r.log, "\n") {
		_, id, found := strings.Cut(line, " gantry: compiled ")
		if found && strings.Contains(id, "#") {
			names = append(names, id)
		}
	}
	return names
}

// connect opens a session with the engine, for what can't be typed: a
// container that is made on the way.
func connect(t *testing.T) *dagger.Client {
	t.Helper()
	client, err := dagger.Connect(t.Context(), dagger.WithWorkdir(root(t)))
	require.NoError(t, err, "the engine can't be reached; run scripts/up")
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// run runs a command and returns what it printed.
func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

// printed runs a script of scripts/ and returns its standard output, without the
// messages that it writes while it makes what is missing.
func printed(t *testing.T, script string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "scripts/"+script)
	cmd.Dir = root(t)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	require.NoError(t, err, "%s: %s", script, messages.String())
	return strings.TrimSpace(string(out))
}

// sample makes the sample's repository in a new folder.
func sample(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sample")
	run(t, root(t), "scripts/sample/history", dir)
	return dir
}

// write files, by their paths below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// commit everything in dir, and tag it.
func commit(t *testing.T, dir, tag string) {
	t.Helper()
	git := func(args ...string) {
		run(t, dir, "git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
	}
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		git("init", "-q", "-b", "main")
	}
	git("add", "-A")
	git("commit", "-q", "--allow-empty", "-m", "feat: something")
	git("tag", tag)
}

// tiny makes a program without dependencies, which compiles in a second. more
// is added to its Cargo.toml.
func tiny(t *testing.T, more string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	write(t, dir, map[string]string{
		"Cargo.toml":  "[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n" + more,
		"Cargo.lock":  "version = 3\n\n[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\n",
		"src/main.rs": "fn main() { println!(\"tiny {}\", env!(\"CARGO_PKG_VERSION\")); }\n",
		".gitignore":  "/target\n",
	})
	commit(t, dir, "v1.0.0")
	return dir
}

const (
	native  = "x86_64-unknown-linux-gnu"
	foreign = "aarch64-unknown-linux-gnu"
)

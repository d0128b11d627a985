package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// watched is what a running call has printed, and the first appearance of a text.
type watched struct {
	mu     sync.Mutex
	text   bytes.Buffer
	marker string
	seen   chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.text.Write(p)
	if w.marker != "" && strings.Contains(w.text.String(), w.marker) {
		w.marker = ""
		close(w.seen)
	}
	return n, err
}

// interrupt types a call, and sends it a signal some time after it has printed the
// marker. It fails where the call ends before.
func interrupt(t *testing.T, signal syscall.Signal, marker string, after time.Duration, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dagger", append([]string{"call", "--progress=plain"}, args...)...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	log := &watched{marker: marker, seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = io.Discard, log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-log.seen:
	case err := <-ended:
		require.FailNow(t, "the call ended before it could be interrupted", "%q was not seen: %v\n%s", marker, err, tail(log.text.String()))
	}
	time.Sleep(after)
	require.NoError(t, cmd.Process.Signal(signal), "the call ended before it could be interrupted")
	select {
	case err := <-ended:
		require.Error(t, err, "the call went on as if nothing had happened")
	case <-time.After(time.Minute):
		_ = cmd.Process.Kill()
		require.FailNow(t, "a minute after the signal, the call had not ended")
	}
}

// slow makes a program of several crates, each of which takes seconds: their build
// scripts wait. unique tells its builds apart from those of all other tests.
func slow(t *testing.T, unique string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "slow")
	lock := "version = 3\n\n"
	members := []string{}
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("part%d", i)
		members = append(members, `"`+name+`"`)
		before, locked := "", ""
		if i > 1 {
			before = fmt.Sprintf("part%d = { path = \"../part%d\" }\n", i-1, i-1)
			locked = fmt.Sprintf("dependencies = [\n \"part%d\",\n]\n", i-1)
		}
		write(t, dir, map[string]string{
			name + "/Cargo.toml": "[package]\nname = \"" + name + "\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\n" + before,
			name + "/src/lib.rs": "pub fn id() -> u32 { " + fmt.Sprint(i) + " }\n",
			name + "/build.rs":   "fn main() { std::thread::sleep(std::time::Duration::from_millis(1500)); println!(\"cargo:rerun-if-changed=build.rs\"); }\n",
		})
		lock += "[[package]]\nname = \"" + name + "\"\nversion = \"1.0.0\"\n" + locked + "\n"
	}
	lock += "[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"part4\",\n]\n"
	write(t, dir, map[string]string{
		"Cargo.lock": lock,
		"Cargo.toml": "[workspace]\nmembers = [" + strings.Join(members, ", ") + "]\n\n[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\npart4 = { path = \"part4\" }\n\n[package.metadata.gantry]\ntargets = [\"" + native + "\"]\n\n[package.metadata.gantry.image]\n",
		// Its smoke test takes a moment, so that it can be interrupted on any machine.
		"src/main.rs": "fn main() { if std::env::args().count() > 1 { std::thread::sleep(std::time::Duration::from_secs(3)); } println!(\"tiny {} {}\", env!(\"CARGO_PKG_VERSION\"), part4::id()); }\n// " + unique + "\n",
		// The package itself takes a moment too.
		"build.rs":   "fn main() { std::thread::sleep(std::time::Duration::from_millis(1500)); println!(\"cargo:rerun-if-changed=build.rs\"); }\n",
		".gitignore": "/target\n",
	})
	commit(t, dir, "v1.0.0")
	return dir
}

// Whatever interrupts a call, the next one does the rest of the work: no lock is
// left behind, and nothing half-done is taken for done.
func TestInterrupted(t *testing.T) {
	t.Setenv("CANARY", canary)
	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	require.NotEmpty(t, inside, "set by scripts/test: the registry, as containers see it")
	unique := fmt.Sprint(time.Now().UnixNano())
	source := slow(t, unique)
	out := filepath.Join(t.TempDir(), "out")
	var dists []string
	// again runs the call to its end, and logs how long the rest took.
	again := func(name string, args ...string) result {
		start := time.Now()
		got := call(t, args...)
		require.NoError(t, got.err, name)
		assert.NotContains(t, got.log, "gantry: waiting for another build", "%s: the interrupted build still holds the cache", name)
		t.Logf("%s: the second run took %s and compiled %d crates", name, time.Since(start).Round(time.Second), len(got.compiled()))
		return got
	}

	for i, c := range []struct {
		command string
		signal  syscall.Signal
		marker  string
		after   time.Duration
	}{
		{"dist", syscall.SIGINT, "Compiling part1", 0},
		{"dist", syscall.SIGTERM, "Compiling part3", 500 * time.Millisecond},
		{"dist", syscall.SIGKILL, "Compiling part4", time.Second},
		{"dist", syscall.SIGINT, "Compiling tiny", 0},
		{"build", syscall.SIGINT, "Compiling part2", time.Second},
		{"build", syscall.SIGKILL, "Compiling part1", time.Second},
	} {
		name := fmt.Sprintf("%s %s after %q", c.command, c.signal, c.marker)
		// A namespace of its own has to compile everything.
		args := []string{"--source=" + source, "--cache-namespace=" + unique + fmt.Sprint(i)}
		if c.command == "dist" {
			args = append(args, "release", "--tag=v1.0.0", "dist")
		} else {
			args = append(args, "build", "--target="+native)
		}
		args = append(args, "export", "--path="+out)
		interrupt(t, c.signal, c.marker, c.after, args...)
		again(name, args...)
		if c.command == "dist" {
			dists = append(dists, sums(t, out))
		} else {
			assert.Equal(t, "tiny 1.0.0 4\n", run(t, out, "./tiny"), name)
		}
	}
	assert.Len(t, slices.Compact(dists), 1, "what the second runs built differs")

	for i, c := range []struct {
		signal syscall.Signal
		marker string
	}{{syscall.SIGINT, "Compiling part3"}, {syscall.SIGTERM, "gantry: compiled "}} {
		h := newHub(t, source)
		args := append([]string{"--cache-namespace=" + unique + "r" + fmt.Sprint(i)}, h.publish(source, "v1.0.0")...)
		interrupt(t, c.signal, c.marker, 0, args...)
		got := again(fmt.Sprintf("release %s after %q", c.signal, c.marker), args...)
		assert.Contains(t, got.stdout, "publish v1.0.0 (as latest)", "the release is complete")
		assert.Equal(t, "v1.0.0", h.repo.Latest())
	}

	h := newHub(t, source)
	require.NoError(t, call(t, h.publish(source, "v1.0.0")...).err)
	released := h.Dump()
	for i, c := range []struct {
		signal syscall.Signal
		marker string
	}{{syscall.SIGINT, "image 1.0.0: sha256:"}, {syscall.SIGKILL, "--version"}} {
		repository := fmt.Sprintf("%s/test/interrupted-%s-%d", inside, unique, i)
		args := h.images("image", "--tag=v1.0.0", "publish", "--addresses="+repository)
		interrupt(t, c.signal, c.marker, 0, args...)
		again(fmt.Sprintf("publish %s after %q", c.signal, c.marker), args...)
		verified := call(t, h.images("image", "--tag=v1.0.0", "verify", "--ref="+repository)...)
		assert.NoError(t, verified.err)
		assert.Equal(t, released, h.Dump(), "phase 2 changed the release")
	}
}

// The components of one commit share what they compile, though nothing else is shared.
func TestComponentsShareTheirCompile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "two")
	lock := "version = 3\n\n"
	for _, name := range []string{"one", "two"} {
		write(t, dir, map[string]string{
			name + "/Cargo.toml":  "[package]\nname = \"" + name + "\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\nshared = { path = \"../shared\" }\n\n[package.metadata.gantry]\ntag-prefix = \"" + name + "-\"\n",
			name + "/src/main.rs": "fn main() { println!(\"" + name + " 1.0.0 {}\", shared::WORD); }\n",
		})
		lock += "[[package]]\nname = \"" + name + "\"\nversion = \"1.0.0\"\ndependencies = [\n \"shared\",\n]\n\n"
	}
	write(t, dir, map[string]string{
		"Cargo.toml":        "[workspace]\nmembers = [\"one\", \"two\", \"shared\"]\nresolver = \"2\"\n",
		"Cargo.lock":        "version = 3\n\n[[package]]\nname = \"shared\"\nversion = \"1.0.0\"\n\n" + strings.TrimPrefix(lock, "version = 3\n\n"),
		"shared/Cargo.toml": "[package]\nname = \"shared\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
		"shared/src/lib.rs": "pub const WORD: &str = \"" + fmt.Sprint(time.Now().UnixNano()) + "\";\n",
		".gitignore":        "/target\n",
	})
	commit(t, dir, "one-1.0.0")
	run(t, dir, "git", "tag", "two-1.0.0")
	_, first := mustDist(t, dir, "one-1.0.0")
	assert.Len(t, first.compiled(), 2, "one, and what it shares")
	_, second := mustDist(t, dir, "two-1.0.0")
	require.Len(t, second.compiled(), 1, "what they share was compiled for the other component")
	assert.Contains(t, second.compiled()[0], "two#")
}

// A build of another source, a pull request's, writes wherever a build can write;
// the release of a tag has none of it.
func TestPoisonedCache(t *testing.T) {
	unique := fmt.Sprint(time.Now().UnixNano())
	make := func(dir, script string) string {
		path := filepath.Join(t.TempDir(), dir)
		files := map[string]string{
			"Cargo.toml":     "[workspace]\nmembers = [\"dep\"]\n\n[package]\nname = \"tiny\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\ndep = { path = \"dep\" }\n\n[package.metadata.gantry]\ntargets = [\"" + native + "\"]\n",
			"Cargo.lock":     "version = 3\n\n[[package]]\nname = \"dep\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"dep\",\n]\n",
			"dep/Cargo.toml": "[package]\nname = \"dep\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
			"dep/src/lib.rs": "#[inline(never)]\npub fn word() -> &'static str { \"GENUINE" + unique + "\" }\n",
			"src/main.rs":    "fn main() { println!(\"tiny 1.0.0 {}\", dep::word()); }\n",
			".gitignore":     "/target\n",
		}
		if script != "" {
			files["build.rs"] = script
		}
		write(t, path, files)
		commit(t, path, "v1.0.0")
		return path
	}
	victim := make("victim", "")
	// The dependency was compiled when this runs, beside it or in an earlier call.
	attacker := make("attacker", `use std::{fs, path::Path};

fn poison(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            poison(&path);
        } else if let Ok(mut text) = fs::read(&path) {
            let (from, to) = (b"GENUINE`+unique+`", b"POISON!`+unique+`");
            let mut found = false;
            for i in 0..text.len().saturating_sub(from.len() - 1) {
                if &text[i..i + from.len()] == from {
                    text[i..i + from.len()].copy_from_slice(to);
                    found = true;
                }
            }
            if found {
                let _ = fs::write(&path, text);
            }
        }
    }
}

fn main() {
    // Its own sources stay as they are, or Cargo would notice.
    for dir in ["/gantry/target", "/gantry-crates", "/usr/local/cargo/registry", "/usr/local/cargo/git"] {
        poison(Path::new(dir));
    }
    println!("cargo:rerun-if-changed=/does/not/exist");
}
`)
	clean, _ := mustDist(t, victim, "v1.0.0", "--cache-namespace="+unique+"-clean")
	said := func(dir string) string {
		files := unpack(t, dir)
		return run(t, files, filepath.Join(files, readManifest(t, dir).Archives()[0].Binaries[0].Path))
	}
	require.Equal(t, "tiny 1.0.0 GENUINE"+unique+"\n", said(clean))

	build := func(source string) string {
		out := filepath.Join(t.TempDir(), "bin")
		require.NoError(t, call(t, "--source="+source, "build", "--target="+native, "export", "--path="+out).err)
		return out
	}
	// The attack is one: what builds without a tag share is poisoned by it.
	build(victim)
	for range 2 {
		build(attacker)
		write(t, attacker, map[string]string{"src/main.rs": "fn main() { println!(\"tiny 1.0.0 again {}\", dep::word()); }\n"})
	}
	write(t, victim, map[string]string{"src/main.rs": "fn main() { println!(\"tiny 1.0.0 edited {}\", dep::word()); }\n"})
	require.Equal(t, "tiny 1.0.0 edited POISON!"+unique+"\n", run(t, "", filepath.Join(build(victim), "tiny")), "the attack does nothing, so this test proves nothing")
	run(t, victim, "git", "checkout", "-q", ".")
	run(t, attacker, "git", "checkout", "-q", ".")
	_, got := dist(t, attacker, "v1.0.0")
	require.NoError(t, got.err)

	released, second := mustDist(t, victim, "v1.0.0")
	assert.NotEmpty(t, second.compiled())
	assert.Equal(t, "tiny 1.0.0 GENUINE"+unique+"\n", said(released))
	assert.Equal(t, sums(t, clean), sums(t, released))
}

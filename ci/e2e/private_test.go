package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// private is a crate registry (a sparse index, which wants a token) and a git server
// (HTTP, which wants a login) on one port.
type private struct {
	address  string // HOST:PORT, as containers reach it
	checksum string // of guarded-1.0.0.crate

	mu   sync.Mutex
	seen map[string]bool // what was sent as Authorization, by server
}

const (
	indexLine = `{"name":"guarded","vers":"1.0.0","deps":[],"cksum":%q,"features":{},"yanked":false}` + "\n"
	gitUser   = "robot"
)

// newPrivate serves the crate guarded 1.0.0 below /index, and the repositories of a
// directory below /git, to those with the token and the login.
func newPrivate(t *testing.T, repositories, token, password string) *private {
	t.Helper()
	host := os.Getenv("GANTRY_HOST_IN_CONTAINERS")
	require.NotEmpty(t, host, "set by scripts/test: the address at which the engine reaches this machine")
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	p := &private{address: net.JoinHostPort(host, fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)), seen: map[string]bool{}}
	crate := packCrate(t, map[string]string{
		"guarded-1.0.0/Cargo.toml": "[package]\nname = \"guarded\"\nversion = \"1.0.0\"\nedition = \"2021\"\n",
		"guarded-1.0.0/src/lib.rs": "pub fn word() -> &'static str { \"guarded\" }\n",
	})
	sum := sha256.Sum256(crate)
	p.checksum = hex.EncodeToString(sum[:])
	files := map[string][]byte{
		"/index/config.json":             []byte(`{"dl":"http://` + p.address + `/index/dl/{crate}/{version}","auth-required":true}`),
		"/index/gu/ar/guarded":           []byte(fmt.Sprintf(indexLine, p.checksum)),
		"/index/dl/guarded/1.0.0":        crate,
		"/index/dl/guarded/1.0.0.crate/": crate,
	}
	git := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(run(t, "", "git", "--exec-path")), "git-http-backend"),
		Root: "/git", Env: []string{"GIT_PROJECT_ROOT=" + repositories, "GIT_HTTP_EXPORT_ALL=1"},
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind, challenge := "registry", `Cargo login_url="http://example.com/me"`
		_, given, _ := r.BasicAuth()
		allowed := r.Header.Get("Authorization") == token
		if strings.HasPrefix(r.URL.Path, "/git/") {
			kind, challenge, allowed = "git", `Basic realm="git"`, given == password
		}
		p.saw(kind, r.Header.Get("Authorization")+given)
		switch file, found := files[r.URL.Path]; {
		case !allowed:
			w.Header().Set("WWW-Authenticate", challenge)
			http.Error(w, "log in", http.StatusUnauthorized)
		case kind == "git":
			git.ServeHTTP(w, r)
		case !found:
			http.NotFound(w, r)
		default:
			_, _ = w.Write(file)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return p
}

func (p *private) saw(kind, authorization string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[kind+" "+authorization] = true
}

// sent reports whether a server was sent a text.
func (p *private) sent(kind, text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for seen := range p.seen {
		if strings.HasPrefix(seen, kind+" ") && strings.Contains(seen, text) {
			return true
		}
	}
	return false
}

func packCrate(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var packed bytes.Buffer
	compressor := gzip.NewWriter(&packed)
	archive := tar.NewWriter(compressor)
	for name, text := range files {
		require.NoError(t, archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}))
		_, err := archive.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, archive.Close())
	require.NoError(t, compressor.Close())
	return packed.Bytes()
}

// dependent makes a program that needs the crate, and a library in the repository
// /git/hidden.git. Its build script looks for what it should not see.
func (p *private) dependent(t *testing.T, commitID string) string {
	t.Helper()
	index, repository := "sparse+http://"+p.address+"/index/", "http://"+p.address+"/git/hidden.git"
	dir := tiny(t, "build = \"build.rs\"\n[dependencies]\nguarded = { version = \"1\", registry = \"internal\" }\nhidden = { git = \""+repository+"\" }\n")
	write(t, dir, map[string]string{
		".cargo/config.toml": "[registries.internal]\nindex = \"" + index + "\"\n",
		"Cargo.lock": "version = 3\n\n[[package]]\nname = \"guarded\"\nversion = \"1.0.0\"\nsource = \"" + index + "\"\nchecksum = \"" + p.checksum + "\"\n\n" +
			"[[package]]\nname = \"hidden\"\nversion = \"0.1.0\"\nsource = \"git+" + repository + "#" + commitID + "\"\n\n" +
			"[[package]]\nname = \"tiny\"\nversion = \"1.0.0\"\ndependencies = [\n \"guarded\",\n \"hidden\",\n]\n",
		"src/main.rs": "const SEEN: &str = include_str!(concat!(env!(\"OUT_DIR\"), \"/seen\"));\n" +
			"fn main() { println!(\"tiny {} {} {} {}\", env!(\"CARGO_PKG_VERSION\"), guarded::word(), hidden::word(), SEEN.len()); }\n",
		"build.rs": `use std::{env, fs, path::Path, process::Command};
fn main() {
    let mut seen = String::new();
    for (name, value) in env::vars() {
        assert!(!name.ends_with("_TOKEN") && !name.starts_with("GANTRY_GIT_"), "the build script sees {name}");
        seen += &format!("{name}={value}\n");
    }
    let home = env::var("CARGO_HOME").unwrap();
    for file in ["credentials.toml", "credentials", "config.toml"] {
        seen += &fs::read_to_string(Path::new(&home).join(file)).unwrap_or_default();
    }
    for file in ["/root/.git-credentials", "/root/.gitconfig"] {
        seen += &fs::read_to_string(file).unwrap_or_default();
    }
    assert!(!Path::new("/run/secrets").exists());
    let git = Command::new("git").args(["config", "--list"]).output().unwrap();
    seen += &String::from_utf8_lossy(&git.stdout);
    fs::write(Path::new(&env::var("OUT_DIR").unwrap()).join("seen"), seen).unwrap();
}
`,
	})
	run(t, dir, "git", "tag", "-d", "v1.0.0")
	commit(t, dir, "v1.0.0")
	return dir
}

// hiddenLibrary makes the bare repository hidden.git, and returns its directory and
// commit.
func hiddenLibrary(t *testing.T) (dir, commitID string) {
	t.Helper()
	source := filepath.Join(t.TempDir(), "hidden")
	write(t, source, map[string]string{
		"Cargo.toml": "[package]\nname = \"hidden\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
		"src/lib.rs": "pub fn word() -> &'static str { \"hidden\" }\n",
	})
	commit(t, source, "v0.1.0")
	dir = t.TempDir()
	run(t, source, "git", "clone", "-q", "--bare", source, filepath.Join(dir, "hidden.git"))
	return dir, strings.TrimSpace(run(t, source, "git", "rev-parse", "HEAD"))
}

// Private dependencies build with their logins, which reach Cargo's downloads and
// nothing else.
func TestPrivateDependencies(t *testing.T) {
	since := time.Now()
	repositories, commitID := hiddenLibrary(t)
	token, password := canary+"-cargo", canary+"-git"
	server := newPrivate(t, repositories, token, password)
	source := server.dependent(t, commitID)
	t.Setenv("CARGO_TOKEN", token)
	t.Setenv("GIT_TOKEN", password)
	withToken := []string{"with-cargo-token", "--registry=internal", "--token=env:CARGO_TOKEN"}
	withGit := []string{"with-git-auth", "--address=http://" + server.address, "--username=" + gitUser, "--secret=env:GIT_TOKEN"}
	dist := func(out string, logins ...string) result {
		args := append([]string{"--source=" + source}, logins...)
		return call(t, append(args, "release", "--tag=v1.0.0", "dist", "--targets="+native, "export", "--path="+out)...)
	}

	for name, c := range map[string]struct {
		logins []string
		said   string
	}{
		"no login":    {nil, "pass it with with-"},
		"no git auth": {withToken, "a git server wants a login: pass it with with-git-auth --address=http://" + server.address},
		"wrong token": {append([]string{"with-cargo-token", "--registry=internal", "--token=env:GIT_TOKEN"}, withGit...), "internal"},
	} {
		got := dist(filepath.Join(t.TempDir(), "dist"), c.logins...)
		require.Error(t, got.err, name)
		assert.Contains(t, got.said(), c.said, name)
		assert.Empty(t, got.compiled(), name)
		assert.NotContains(t, got.log, canary, name)
	}
	got := call(t, "--source="+source, "with-git-auth", "--address=http://"+server.address+"/git", "--secret=env:GIT_TOKEN", "module-version")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), "has a path, but git sends a login to a whole server")
	got = call(t, "--source="+source, "with-cargo-token", "--registry=a.b", "--token=env:CARGO_TOKEN", "module-version")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), `registry "a.b" must be a name`)

	both := append(withToken, withGit...)
	out := filepath.Join(t.TempDir(), "dist")
	got, trace := traced(t, append(append([]string{"--source=" + source}, both...), "release", "--tag=v1.0.0", "dist", "--targets="+native, "export", "--path="+out)...)
	require.NoError(t, got.err, got.log)
	assert.NotContains(t, got.log, canary)
	assert.NotEmpty(t, trace.containers())
	program := filepath.Join(unpack(t, out), "tiny-1.0.0-"+native, "tiny")
	assert.Contains(t, run(t, "", program), "tiny 1.0.0 guarded hidden ")
	found, err := contains(program, canary)
	require.NoError(t, err)
	assert.False(t, found, "the build script saw a login, which is in the binary")
	for _, name := range []string{"release-manifest.json", "CHANGELOG.md"} {
		found, err := contains(filepath.Join(out, name), canary)
		require.NoError(t, err)
		assert.False(t, found, name)
	}
	assert.True(t, server.sent("registry", token) && server.sent("git", password))
	assert.False(t, server.sent("git", token), "the registry's token was sent to the git server")

	// Again in another session, and for developers.
	again := filepath.Join(t.TempDir(), "dist")
	got = dist(again, both...)
	require.NoError(t, got.err)
	assert.Empty(t, got.compiled())
	assert.Equal(t, sums(t, out), sums(t, again))
	built := filepath.Join(t.TempDir(), "bin")
	got = call(t, append(append([]string{"--source=" + source}, both...), "build", "--target="+native, "export", "--path="+built)...)
	require.NoError(t, got.err)
	assert.Contains(t, run(t, "", filepath.Join(built, "tiny")), "tiny 1.0.0 guarded hidden ")

	noCanaryInEngine(t, since)
}

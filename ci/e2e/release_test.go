package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/manifest"
)

// hub serves a stand-in of GitHub that the engine's containers reach too.
type hub struct {
	*fakehub.Server
	repo *fakehub.Repo
	api  string
}

func newHub(t *testing.T, source string) *hub {
	t.Helper()
	return newHubOf(t, source, "v1.0.0", nil)
}

// newHubWith serves HTTPS, if a certificate is given.
func newHubWith(t *testing.T, source string, certificate *tls.Certificate) *hub {
	t.Helper()
	return newHubOf(t, source, "v1.0.0", certificate)
}

// newHubOf has a tag of the source.
func newHubOf(t *testing.T, source, tag string, certificate *tls.Certificate) *hub {
	t.Helper()
	server := fakehub.New(fakehub.Config{Tokens: map[string]fakehub.Access{canary: {User: "octocat", Push: true, Scopes: "repo"}}})
	t.Cleanup(server.Close)
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	http, scheme := fakehub.HTTPServer(server), "http"
	if certificate != nil {
		scheme = "https"
		http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		go func() { _ = http.ServeTLS(l, "", "") }()
	} else {
		go func() { _ = http.Serve(fakehub.Refusing(l)) }()
	}
	t.Cleanup(func() { _ = http.Close() })
	host := os.Getenv("GANTRY_HOST_IN_CONTAINERS")
	require.NotEmpty(t, host, "set by scripts/test: the address at which containers of the engine reach this machine")
	h := &hub{Server: server, repo: server.AddRepo("example", "tiny"), api: fmt.Sprintf("%s://%s:%d/api/v3/", scheme, host, l.Addr().(*net.TCPAddr).Port)}
	h.repo.Tag(tag, strings.TrimSpace(run(t, source, "git", "rev-parse", tag)))
	return h
}

// at returns the arguments of a call for the test's GitHub: settings, and what follows.
func (h *hub) at(args ...string) []string {
	return append([]string{"--repository=example/tiny", "--github=" + h.api}, args...)
}

// publish returns the arguments that publish the release of a tag.
func (h *hub) publish(source, tag string, args ...string) []string {
	return h.at(append([]string{"--source=" + source, "release", "--tag=" + tag, "publish", "--token=env:CANARY"}, args...)...)
}

// images returns the arguments of phase 2. Base images come from the test's registry.
func (h *hub) images(args ...string) []string {
	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	return h.at(append([]string{"images", "with-plain-http", "--host=" + inside, "with-mirror", "--host=gcr.io", "--url=http://" + inside}, args...)...)
}

// release publishes v1.0.0, and looks for the token in everything that is printed.
func (h *hub) release(t *testing.T, source string, args ...string) result {
	t.Helper()
	return h.releaseWith(t, h.publish(source, "v1.0.0", args...))
}

func (h *hub) releaseWith(t *testing.T, args []string) result {
	t.Helper()
	t.Setenv("CANARY", canary)
	got, trace := traced(t, append([]string{"--debug", "-vvv"}, args...)...)
	assert.NotContains(t, got.stdout+got.log, canary, "the token was printed")
	assert.False(t, strings.Contains(trace.raw.String(), canary), "the token is in the trace")
	return got
}

func TestRelease(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\", \""+foreign+"\"]\n")
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	h := newHub(t, source)
	start := time.Now()

	dry := h.release(t, source, "--dry-run")
	require.NoError(t, dry.err)
	assert.Contains(t, dry.stdout, "dry run: nothing was written")
	for _, c := range h.Calls() {
		assert.Equal(t, "GET", c.Method, "a dry run wrote: %s", c.Path)
	}

	first := h.release(t, source, "--dispatch")
	require.NoError(t, first.err)
	assert.Equal(t, "v1.0.0", h.repo.Latest())
	assert.Len(t, h.repo.Dispatches(), 1)
	planned := strings.SplitN(dry.stdout, "dry run:", 2)[0]
	compared := 0
	for _, step := range strings.Split(planned, "\n") {
		if strings.HasPrefix(step, "  ") && !strings.Contains(step, "dispatch") {
			assert.Contains(t, first.stdout, strings.TrimSpace(step), "planned by the dry run, but not done")
			compared++
		}
	}
	// A draft, five files and the publication, at the least.
	assert.GreaterOrEqual(t, compared, 7, "too few steps were compared:\n%s", planned)
	state := h.Dump()
	assert.NotContains(t, state, canary)

	again := h.release(t, source)
	require.NoError(t, again.err)
	assert.Contains(t, again.stdout, "sent 0 bytes")
	assert.Contains(t, again.stdout, " 0 writes")
	assert.Equal(t, state, h.Dump(), "a second run changed something")

	// What is published and differs is an error, whose text has no token either.
	require.NoError(t, os.WriteFile(filepath.Join(source, "src/main.rs"), []byte("fn main() { println!(\"tiny 1.0.0\"); }\n"), 0o644))
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	differs := h.release(t, source)
	require.Error(t, differs.err)
	assert.NotContains(t, differs.err.Error(), canary)
	noCanaryInEngine(t, start)
	run(t, source, "git", "reset", "-q", "--hard", "HEAD~1")
	run(t, source, "git", "tag", "-f", "v1.0.0")

	// What was published is what dist makes, and verifies from the outside.
	verified := call(t, h.at("verify-release", "--tag=v1.0.0")...)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "verified: every asset matches SHA256SUMS and release-manifest.json")
	out := filepath.Join(t.TempDir(), "dist")
	require.NoError(t, call(t, "--source="+source, "release", "--tag=v1.0.0", "dist", "export", "--path="+out).err)
	sums, published := h.repo.Asset("v1.0.0", manifest.SumsName)
	require.True(t, published)
	text, err := os.ReadFile(filepath.Join(out, manifest.SumsName))
	require.NoError(t, err)
	assert.Equal(t, string(text), string(sums))
}

// A GitHub of a company's own has another address and a certificate of its own.
func TestEnterprise(t *testing.T) {
	source := tiny(t, "")
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	certificate, ca := selfSigned(t, os.Getenv("GANTRY_HOST_IN_CONTAINERS"))
	h := newHubWith(t, source, &certificate)
	distrusted := h.release(t, source)
	require.Error(t, distrusted.err)
	assert.Contains(t, distrusted.said(), "pass --ca-certificates")
	assert.False(t, distrusted.started(), "something was compiled")

	got := h.releaseWith(t, append([]string{"--ca-certificates=" + ca}, h.publish(source, "v1.0.0")...))
	require.NoError(t, got.err)
	assert.Equal(t, "v1.0.0", h.repo.Latest())
	verified := call(t, append([]string{"--ca-certificates=" + ca}, h.at("verify-release", "--tag=v1.0.0")...)...)
	require.NoError(t, verified.err)
	assert.Contains(t, verified.stdout, "verified: every asset matches SHA256SUMS and release-manifest.json")
}

// selfSigned makes a certificate for an address, and a file of PEM to trust it.
func selfSigned(t *testing.T, address string) (certificate tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(address); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{address}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// A matrix builds each target on a runner of its own and fans in.
func TestReleaseOfPartsBuiltElsewhere(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\", \""+foreign+"\"]\n")
	run(t, source, "git", "tag", "-d", "v1.0.0")
	commit(t, source, "v1.0.0")
	h := newHub(t, source)
	parts := t.TempDir()
	for _, target := range []string{native, foreign} {
		require.NoError(t, call(t, "--source="+source, "release", "--tag=v1.0.0", "dist", "--targets="+target, "export", "--path="+filepath.Join(parts, target)).err)
		if target == native {
			got := h.releaseWith(t, h.at("--source="+source, "release", "--tag=v1.0.0", "with-dist", "--dist="+parts, "publish", "--token=env:CANARY"))
			require.Error(t, got.err)
			assert.Contains(t, got.said(), "the dist has no archive for "+foreign)
		}
	}
	whole := filepath.Join(t.TempDir(), "whole")
	require.NoError(t, call(t, "--source="+source, "release", "--tag=v1.0.0", "dist", "export", "--path="+whole).err)
	args := []string{"--source=" + source, "release", "--tag=v1.0.0"}
	for _, target := range []string{native, foreign} {
		args = append(args, "with-dist", "--dist="+filepath.Join(parts, target))
	}
	// Twice, since a later session can't reach what a function left on its own disk.
	for _, name := range []string{"merged", "again"} {
		merged := filepath.Join(t.TempDir(), name)
		require.NoError(t, call(t, append(slices.Clone(args), "dist", "export", "--path="+merged)...).err)
		run(t, merged, "diff", "-r", whole, merged)
		more := filepath.Join(t.TempDir(), name+"-more")
		require.NoError(t, call(t, append(slices.Clone(args), "with-file", "--file="+filepath.Join(source, "Cargo.toml"), "--name=extra.toml", "dist", "export", "--path="+more)...).err)
		assert.FileExists(t, filepath.Join(more, "extra.toml"))
		run(t, more, "sha256sum", "--check", "--strict", "SHA256SUMS")
	}
	require.NoError(t, h.releaseWith(t, h.at(append(args, "publish", "--token=env:CANARY")...)).err)
	sums, published := h.repo.Asset("v1.0.0", manifest.SumsName)
	require.True(t, published)
	text, err := os.ReadFile(filepath.Join(whole, manifest.SumsName))
	require.NoError(t, err)
	assert.Equal(t, string(text), string(sums), "targets built apart are the same bytes as built together")
}

// What GitHub would refuse is said before anything is compiled.
func TestReleaseRefuses(t *testing.T) {
	source := tiny(t, "")
	h := newHub(t, source)
	t.Setenv("WRONG", "ghp_wrong")
	got := call(t, h.at("--source="+source, "release", "--tag=v1.0.0", "publish", "--token=env:WRONG")...)
	require.Error(t, got.err)
	assert.False(t, got.started(), "something was compiled")
	got = call(t, "--repository=example", "--github="+h.api, "--source="+source, "release", "--tag=v1.0.0", "publish", "--token=env:WRONG")
	require.Error(t, got.err)
	assert.Contains(t, got.said(), `repository "example" is not owner/name`)
	assert.False(t, got.started(), "something was compiled")
	assert.Empty(t, h.Events(), "nothing was written")
}

// A backport, and a main that moved during the build, are released by a token that
// may not change workflows, as long as the tag is there; else nothing is compiled.
func TestBackportWithoutWorkflowPermission(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\ntargets = [\""+native+"\"]\n# "+time.Now().String()+"\n")
	h := newHub(t, source) // a classic token with the scope "repo" alone
	head := func() string { return strings.TrimSpace(run(t, source, "git", "rev-parse", "HEAD")) }
	main := h.repo.Commit("main moved")
	h.repo.Main(main)
	h.repo.Workflows(main, map[string]string{"ci.yml": "on: [push, pull_request]"})
	h.repo.Workflows(head(), map[string]string{"ci.yml": "on: push"})
	h.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: main, Latest: true})
	released := h.release(t, source)
	require.NoError(t, released.err)
	assert.Contains(t, released.stdout, "publish v1.0.0")
	assert.Equal(t, "v2.0.0", h.repo.Latest())
	for _, c := range h.Calls() {
		assert.False(t, c.Write && c.Status >= 400, "%s %s: %d", c.Method, c.Path, c.Status)
	}

	for _, name := range []string{"Cargo.toml", "Cargo.lock"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		require.NoError(t, err)
		write(t, source, map[string]string{name: strings.Replace(string(text), `version = "1.0.0"`, `version = "1.0.1"`, 1)})
	}
	commit(t, source, "v1.0.1")
	h.repo.Workflows(head(), map[string]string{"ci.yml": "on: push"})
	t.Setenv("CANARY", canary)
	args := h.publish(source, "v1.0.1")
	refused := call(t, args...)
	require.Error(t, refused.err)
	assert.Contains(t, refused.said(), "push the tag first (git push origin v1.0.1)")
	assert.False(t, refused.started(), "something was compiled:\n%s", tail(refused.log))
	assert.Empty(t, h.repo.Releases("v1.0.1"))

	h.repo.Tag("v1.0.1", head()) // as it says
	require.NoError(t, call(t, args...).err)
	assert.Len(t, h.repo.Releases("v1.0.1"), 1)
}

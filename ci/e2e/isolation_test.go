package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci/ocitest"
)

// flaky stands between the engine and the real registry. It fails as it is told
// to, and keeps a record of every tag that is written.
type flaky struct {
	address string
	mu      sync.Mutex
	// fault answers the n-th request, from 1, in place of the registry, if it
	// returns true.
	fault  func(n int, w http.ResponseWriter, r *http.Request) bool
	n      int
	writes []tagWrite
}

type tagWrite struct {
	repository, tag, digest string
	text                    []byte
}

// isList reports whether the tag lists what is attached to an image, and names none.
func (w tagWrite) isList() bool { return listTag.MatchString(w.tag) }

var listTag = regexp.MustCompile("^sha256-[0-9a-f]{64}$")

func newFlaky(t *testing.T) *flaky {
	t.Helper()
	return newFlakyWith(t, nil)
}

// newFlakyWith serves HTTPS, if a certificate is given.
func newFlakyWith(t *testing.T, certificate *tls.Certificate) *flaky {
	t.Helper()
	local, host := os.Getenv("GANTRY_REGISTRY"), os.Getenv("GANTRY_HOST_IN_CONTAINERS")
	require.NotEmpty(t, local, "set by scripts/test: the registry, as this machine sees it")
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	f := &flaky{address: fmt.Sprintf("%s:%d", host, l.Addr().(*net.TCPAddr).Port)}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: local})
		// The registry names itself in its answers, as the caller knows it.
		r.Out.Host = r.In.Host
		if certificate != nil {
			r.Out.Header.Set("X-Forwarded-Proto", "https")
		}
	}}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := r.Body
		if repository, tag, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/"); ok && r.Method == http.MethodPut {
			text, err := io.ReadAll(body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(text))
			if !strings.HasPrefix(tag, "sha256:") {
				sum := sha256.Sum256(text)
				defer func() {
					f.mu.Lock()
					f.writes = append(f.writes, tagWrite{repository, tag, "sha256:" + hex.EncodeToString(sum[:]), text})
					f.mu.Unlock()
				}()
			}
		}
		f.mu.Lock()
		f.n++
		n, fault := f.n, f.fault
		f.mu.Unlock()
		if fault != nil && fault(n, w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	if certificate != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		go func() { _ = server.ServeTLS(l, "", "") }()
	} else {
		go func() { _ = server.Serve(l) }()
	}
	t.Cleanup(func() { _ = server.Close() })
	return f
}

// arm a fault, nil for none, and count requests from here.
func (f *flaky) arm(fault func(int, http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault, f.n = fault, 0
}

// monotone asserts that no floating tag went down or named something untested,
// that no exact tag was written twice with different images, and that attachments only
// were added, to images whose exact tag was written before.
func (f *flaky) monotone(t *testing.T, versions map[string]string, tested ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	last, lists, images := map[string]string{}, map[string][]string{}, map[string]bool{}
	for _, w := range f.writes {
		key := w.repository + ":" + w.tag
		if w.isList() {
			list := entries(t, w.text)
			assert.True(t, images[w.repository+"@"+strings.Replace(w.tag, "-", ":", 1)], "%s: something was attached to what has no tag", key)
			assert.Subset(t, list, lists[key], "%s lost an attachment", key)
			lists[key] = list
			continue
		}
		version := versions[w.digest]
		if !assert.Contains(t, tested, version, "%s was given to %s, whose smoke test never passed", key, w.digest) {
			continue
		}
		if _, err := semver.StrictNewVersion(w.tag); err == nil {
			assert.Equal(t, w.tag, version, "the exact tag %s was given to another version", key)
			for _, image := range entries(t, w.text) {
				images[w.repository+"@"+image] = true
			}
		} else if before := last[key]; before != "" {
			assert.False(t, semver.MustParse(version).LessThan(semver.MustParse(before)), "%s went from %s to %s", key, before, version)
		}
		last[key] = version
	}
}

// entries are the digests in an index.
func entries(t *testing.T, index []byte) []string {
	t.Helper()
	all, err := ocitest.Digests(index)
	require.NoError(t, err)
	return all
}

// answer is a fault that answers with a status and a body of the registry API.
func answer(status int, code, message string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"errors":[{"code":%q,"message":%q}]}`, code, message)
	}
}

func always(f func(http.ResponseWriter)) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, _ *http.Request) bool { f(w); return true }
}

// Whatever happens to phase 2, the release is untouched, phase 2 alone run again
// completes, and no floating tag ever names something untested or lower. Here
// each kind of failure goes through the engine once; each request of each kind
// is in ci/published.
func TestIsolation(t *testing.T) {
	source := tiny(t, "\n[package.metadata.gantry]\nsbom = true\ntargets = [\""+native+"\", \"aarch64-unknown-linux-musl\"]\n\n[package.metadata.gantry.image]\n")
	h := newHub(t, source)
	t.Setenv("CANARY", canary)
	release := func(version, program string) {
		for _, name := range []string{"Cargo.toml", "Cargo.lock"} {
			text, err := os.ReadFile(filepath.Join(source, name))
			require.NoError(t, err)
			lines := strings.Split(string(text), "\n")
			for i, line := range lines {
				if strings.HasPrefix(line, "version = \"") {
					lines[i] = fmt.Sprintf("version = %q", version)
				}
			}
			write(t, source, map[string]string{name: strings.Join(lines, "\n")})
		}
		write(t, source, map[string]string{"src/main.rs": program})
		commit(t, source, "v"+version)
		h.repo.Tag("v"+version, strings.TrimSpace(run(t, source, "git", "rev-parse", "HEAD")))
		got := call(t, h.publish(source, "v"+version)...)
		require.NoError(t, got.err)
	}
	run(t, source, "git", "tag", "-d", "v1.0.0")
	good := "fn main() { println!(\"tiny {}\", env!(\"CARGO_PKG_VERSION\")); }\n"
	release("0.9.0", good)
	release("1.0.0", good)
	released := h.Dump()

	f := newFlaky(t)
	inside := os.Getenv("GANTRY_REGISTRY_IN_CONTAINERS")
	images := func(args ...string) result {
		return call(t, append(h.images("with-plain-http", "--host="+f.address), args...)...)
	}
	versions := map[string]string{}
	digest := func(v string) {
		got := images("image", "--tag=v"+v, "digest")
		require.NoError(t, got.err)
		versions[strings.TrimSpace(got.stdout)] = v
	}
	digest("0.9.0")
	digest("1.0.0")
	require.Len(t, versions, 2)

	cells, again := 0, 0
	cell := func(name string, fault func(int, http.ResponseWriter, *http.Request) bool, says string) {
		t.Helper()
		cells++
		repository := fmt.Sprintf("/test/isolation-%d", time.Now().UnixNano())
		address := "--addresses=" + f.address + repository
		f.arm(fault)
		got := images("image", "--tag=v1.0.0", "publish", address)
		f.arm(nil)
		if says != "" {
			assert.Error(t, got.err, name)
		}
		assert.Contains(t, got.said(), says, name)
		if got.err != nil {
			again++
			require.NoError(t, images("image", "--tag=v1.0.0", "publish", address).err, "%s: run again", name)
		}
		assert.Equal(t, released, h.Dump(), "%s changed the release", name)
		for _, tag := range []string{"1.0.0", "1.0", "1", "latest"} {
			have, err := remote.Head(must(t, os.Getenv("GANTRY_REGISTRY")+repository+":"+tag))
			require.NoError(t, err, name)
			assert.Equal(t, "1.0.0", versions[have.Digest.String()], "%s: it is not complete: %s", name, tag)
		}
		for _, attached := range attachedTo(t, os.Getenv("GANTRY_REGISTRY")+repository+":1.0.0") {
			assert.NotEmpty(t, attached, "%s: it has no bill of materials", name)
		}
	}
	// Where a cell succeeds, only a count shows that its fault was met.
	var slowed, lost, writes atomic.Int64
	cell("slow", func(int, http.ResponseWriter, *http.Request) bool {
		slowed.Add(1)
		time.Sleep(100 * time.Millisecond)
		return false
	}, "")
	assert.Greater(t, slowed.Load(), int64(10), "requests were slow")
	cell("refuses the credentials", always(answer(http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")), "UNAUTHORIZED")
	cell("refuses to be written", func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return false
		}
		answer(http.StatusForbidden, "DENIED", "requested access to the resource is denied")(w)
		return true
	}, "DENIED")
	cell("full disk", func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut && r.Method != http.MethodPatch {
			return false
		}
		if writes.Add(1) < 3 {
			return false
		}
		answer(http.StatusInsufficientStorage, "UNKNOWN", "no space left on device")(w)
		return true
	}, "no space left on device")
	for _, n := range []int{3, 30} {
		cell(fmt.Sprintf("request %d is lost", n), func(i int, w http.ResponseWriter, _ *http.Request) bool {
			if i != n {
				return false
			}
			lost.Add(1)
			panic(http.ErrAbortHandler)
		}, "")
	}
	assert.Equal(t, int64(2), lost.Load(), "requests were lost")
	f.monotone(t, versions, "1.0.0")

	// A base image that is not there; the mirror is on this side of the engine.
	cells++
	f.arm(always(answer(http.StatusNotFound, "MANIFEST_UNKNOWN", "manifest unknown")))
	baseless := "--addresses=" + inside + fmt.Sprintf("/test/isolation-%d", time.Now().UnixNano())
	bad := call(t, h.at("images", "with-plain-http", "--host="+inside, "with-mirror", "--host=gcr.io", "--url=http://"+f.address,
		"image", "--tag=v1.0.0", "publish", baseless)...)
	f.arm(nil)
	assert.Error(t, bad.err)
	assert.Contains(t, bad.said(), "MANIFEST_UNKNOWN")
	again++
	require.NoError(t, images("image", "--tag=v1.0.0", "publish", baseless).err, "a bad base image: run again")

	// Events: out of order, replayed, at the same moment, and one of an image
	// that does not pass its smoke test.
	repository := fmt.Sprintf("test/isolation-events-%d", time.Now().UnixNano())
	address := "--addresses=" + f.address + "/" + repository
	cells += 4
	require.NoError(t, images("image", "--tag=v1.0.0", "publish", address).err)
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")
	// A program that is right where it is built, and wrong in an image.
	release("1.1.0", "fn main() { if std::env::args().next().unwrap().contains(\"/gantry/\") { println!(\"tiny 1.1.0\"); } else { println!(\"tiny 0.0.0\"); } }\n")
	digest("1.1.0")
	released = h.Dump()
	failing := images("image", "--tag=v1.1.0", "publish", address)
	require.Error(t, failing.err)
	assert.Contains(t, failing.said(), `which does not name version 1.1.0`)
	require.NoError(t, images("image", "--tag=v0.9.0", "publish", address).err)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			assert.NoError(t, images("image", "--tag=v1.0.0", "publish", address).err)
		})
	}
	wg.Wait()
	f.monotone(t, versions, "0.9.0", "1.0.0")
	tags, lists := map[string]string{}, map[string]bool{}
	for _, w := range f.writes {
		switch {
		case w.repository != repository:
		case w.isList():
			lists[w.tag] = true
		default:
			tags[w.tag] = versions[w.digest]
		}
	}
	assert.Len(t, lists, 4, "two versions on two platforms")
	assert.Equal(t, map[string]string{"1.0.0": "1.0.0", "1.0": "1.0.0", "1": "1.0.0", "latest": "1.0.0", "0.9.0": "0.9.0", "0.9": "0.9.0"}, tags)
	assert.Equal(t, released, h.Dump(), "phase 2 changed the release")
	t.Logf("%d cells, %d of which needed a second run of phase 2; the release is untouched in all of them", cells, again)
}

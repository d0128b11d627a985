package oci_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares a text with that of a file in testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	file = "testdata/" + file
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "run the tests with -update to accept it")
}

// hub is a registry in memory, reached without a network, so that requests come
// one after the other and each can be met. It asks for a login, and gives one
// token to who may read and another to who may write.
type hub struct {
	t     testing.TB
	inner http.Handler
	mu    sync.Mutex
	calls []call
	// events happen before requests.
	events   []*event
	happened int
	// fault may answer a request.
	fault func(call) *http.Response
	// names are those of digests, for people.
	names map[string]string

	release *release
	image   *oci.Image
}

// made are a release, 1.2.3, and its image.
func (h *hub) made() (*release, *oci.Image) {
	if h.image == nil {
		h.release = newRelease(h.t, "1.2.3", both...)
		h.release.manifest.Image.Base = imagespec.Scratch
		h.image = h.release.assemble()
		h.name(h.image.Index, "1.2.3")
	}
	return h.release, h.image
}

// call is a request, as it is written down: "HEAD manifests/1.2.3".
type call struct {
	n    int
	what string
	// right is what the token allows that came with it.
	right string
	url   string
	// events is how many events there were before it.
	events int
}

// event happens before the n-th request like the one given, after the action has
// begun. What it returns, if anything, is the answer.
type event struct {
	before string
	n      int
	do     func(*hub) *http.Response
}

const hubAddress = "registry.test/acme/server"

func newHub(t testing.TB) *hub {
	return &hub{t: t, inner: registry.New(registry.Logger(log.New(io.Discard, "", 0))), names: map[string]string{}}
}

// upload is the part of an upload's address that is another one every time.
var upload = regexp.MustCompile(`(blobs/uploads/)\d+.*`)

// serve answers a request from memory.
func (h *hub) serve(req *http.Request) *http.Response {
	host := req.URL.Host
	switch {
	case req.URL.Path == "/token":
		return respond(http.StatusOK, fmt.Sprintf(`{"token":%q}`, req.URL.Query().Get("scope")))
	case req.Header.Get("Authorization") == "":
		res := respond(http.StatusUnauthorized, "")
		res.Header.Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="x"`, host))
		return res
	}
	rec := httptest.NewRecorder()
	req = req.Clone(req.Context())
	if req.Body == nil {
		req.Body = http.NoBody
	}
	h.inner.ServeHTTP(rec, req)
	return rec.Result()
}

func respond(code int, body string) *http.Response {
	rec := httptest.NewRecorder()
	rec.WriteHeader(code)
	_, _ = rec.WriteString(body)
	return rec.Result()
}

// quiet is a way to the registry that is not written down.
type quiet struct{ *hub }

func (q quiet) RoundTrip(req *http.Request) (*http.Response, error) {
	res := q.serve(req)
	res.Request = req
	return res, nil
}

// RoundTrip answers a request, and writes it down.
func (h *hub) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/token" || req.URL.Path == "/v2/" {
		return quiet{h}.RoundTrip(req)
	}
	h.mu.Lock()
	c := call{n: len(h.calls) + 1, url: req.Method + " " + req.URL.String()}
	c.events = h.happened
	c.what = req.Method + " " + upload.ReplaceAllString(strings.TrimPrefix(req.URL.RequestURI(), "/v2/acme/server/"), "$1…")
	_, c.right, _ = strings.Cut(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer repository:"), ":")
	h.calls = append(h.calls, c)
	fault := h.fault
	var now []*event
	for _, e := range h.events {
		if e.before == c.what {
			if e.n--; e.n == 0 {
				now, h.happened = append(now, e), h.happened+1
			}
		}
	}
	h.mu.Unlock()
	var res *http.Response
	if fault != nil {
		res = fault(c)
	}
	for _, e := range now {
		if res == nil {
			res = e.do(h)
		}
	}
	if res == nil {
		res = h.serve(req)
	}
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if req.Method == http.MethodHead {
		res.Body = http.NoBody
	}
	res.Request = req
	return res, nil
}

// serial are options that make one request at a time, and wait for nothing.
func serial(over http.RoundTripper) oci.RegistryOptions {
	login, err := oci.Login("registry.test", "me", "secret")
	if err != nil {
		panic(err)
	}
	return oci.RegistryOptions{
		Keychain: login, Transport: over, Tries: 3, Wait: time.Nanosecond, Jobs: 1,
		Sleep: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}
}

// open returns the repository; what it is asked for is written down.
func (h *hub) open() *oci.Repository { return must(oci.NewRepository(hubAddress, serial(h))) }

// other returns the repository as another run has it.
func (h *hub) other() *oci.Repository { return must(oci.NewRepository(hubAddress, serial(quiet{h}))) }

// name gives the digests of an index and its images names.
func (h *hub) name(index v1.ImageIndex, name string) v1.ImageIndex {
	h.names[must(index.Digest()).String()] = "<" + name + ">"
	for i, d := range must(index.IndexManifest()).Manifests {
		h.names[d.Digest.String()] = fmt.Sprintf("<image %d of %s>", i+1, name)
	}
	return index
}

// publish is another run, of a version.
func (h *hub) publish(numbers ...string) {
	for _, v := range numbers {
		must(oci.Publish(context.Background(), oci.Publication{Version: must(versionOf(v)), Index: h.name(double(h.t, v), v)}, h.other()))
	}
}

// do makes a request that is not written down.
func (h *hub) do(method, what, mediaType, body string) *http.Response {
	req := httptest.NewRequest(method, "https://registry.test/v2/acme/server/"+what, strings.NewReader(body))
	req.Header.Set("Content-Type", mediaType)
	rec := httptest.NewRecorder()
	h.inner.ServeHTTP(rec, req)
	return rec.Result()
}

// drop deletes a tag or a manifest.
func (h *hub) drop(reference string) { h.do(http.MethodDelete, "manifests/"+reference, "", "") }

// point makes a tag name an index, as somebody else does.
func (h *hub) point(tag string, index v1.ImageIndex) {
	h.do(http.MethodPut, "manifests/"+tag, string(must(index.MediaType())), string(must(index.RawManifest())))
}

// foreign makes a tag name an image that isn't Gantry's.
func (h *hub) foreign(tag string) {
	body := `{"schemaVersion":2,"x":"foreign"}`
	h.names["sha256:"+digestOf([]byte(body))] = "<foreign>"
	h.do(http.MethodPut, "manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", body)
}

// tags of the registry, and what they name, in a line each.
func (h *hub) tags() string {
	var text strings.Builder
	r := h.other()
	for _, tag := range must(r.Tags(context.Background())) {
		fmt.Fprintf(&text, "  %s = %s\n", tag, must(r.Digest(context.Background(), tag)))
	}
	return h.text(text.String())
}

var (
	anyDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	anyList   = regexp.MustCompile(`sha256-([0-9a-f]{64})`)
	anyTime   = regexp.MustCompile(`took [0-9a-zµ.]+`)
	anyUpload = regexp.MustCompile(`(blobs/uploads/)\d+[^":\s]*`)
)

// text is one that is the same every time.
func (h *hub) text(s string) string {
	s = anyList.ReplaceAllStringFunc(s, func(tag string) string {
		name, ok := h.names[strings.Replace(tag, "-", ":", 1)]
		require.True(h.t, ok, "%s lists what is attached to nothing known", tag)
		return "sha256-" + name
	})
	s = anyDigest.ReplaceAllStringFunc(s, func(d string) string {
		if name, ok := h.names[d]; ok {
			return name
		}
		return "<blob>"
	})
	return anyUpload.ReplaceAllString(anyTime.ReplaceAllString(s, "took …"), "$1…")
}

// transcript is what the registry was asked for, a line each, and with which
// right, where that is another than before.
func (h *hub) transcript() string {
	var text strings.Builder
	right := ""
	for _, c := range h.since(0) {
		if c.right != right {
			right = c.right
			fmt.Fprintf(&text, "asked, with the right to %s:\n", right)
		}
		fmt.Fprintf(&text, "  %s\n", h.text(c.what))
	}
	return text.String()
}

// writes says whether a request changes the registry.
func (c call) writes() bool {
	return !strings.HasPrefix(c.what, "GET ") && !strings.HasPrefix(c.what, "HEAD ")
}

// path is what the request is about.
func (c call) path() string { _, path, _ := strings.Cut(c.what, " "); return path }

// since are the requests after the n-th.
func (h *hub) since(n int) []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls[n:])
}

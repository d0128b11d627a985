package contract

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"google.golang.org/grpc/test/bufconn"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/version"
)

// soakRegistry is a registry in memory that watches its tags.
type soakRegistry struct {
	s       *soak
	handler http.Handler
	servers []*http.Server

	mu       sync.Mutex
	tags     map[string]map[string]string // digests, by repository and tag
	versions map[string]*semver.Version   // of assembled images, by digest
	tested   map[string]bool              // by digest
	signed   map[string]int               // bundles, by repository and digest
	lists    map[string][]string          // what is attached, by repository and tag
	faults   []*soakFault
	met      int
}

// soakFault spoils requests to the registry.
type soakFault struct {
	kind  string
	match func(*http.Request) bool
	// nth is the first request to spoil of those that match, times how many.
	nth, times int
	seen, met  int
}

func newSoakRegistry(s *soak) *soakRegistry {
	options := []registry.Option{registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(s.settings.referrers)}
	return &soakRegistry{
		s: s, handler: registry.New(options...), tags: map[string]map[string]string{}, versions: map[string]*semver.Version{},
		tested: map[string]bool{}, signed: map[string]int{}, lists: map[string][]string{},
	}
}

func (g *soakRegistry) close() {
	for _, server := range g.servers {
		_ = server.Close()
	}
	g.servers = nil
}

// settings reach the registry in a run's name.
func (g *soakRegistry) settings(r *soakRun) registries.Settings {
	l := bufconn.Listen(64 << 10)
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { g.serve(w, req, r) })}
	server.SetKeepAlivesEnabled(false) // whether a connection is used again is a matter of luck
	go func() { _ = server.Serve(l) }()
	g.servers = append(g.servers, server)
	settings := registries.Settings{
		PlainHTTP: []string{soakHost},
		Options:   oci.RegistryOptions{Tries: 5, Wait: time.Nanosecond, Jobs: 1},
		Dial:      func(ctx context.Context, _, _ string) (net.Conn, error) { return l.DialContext(ctx) },
	}
	if g.s.settings.login {
		settings.Logins = []registries.Login{{Address: soakHost, Username: "octocat", Password: soakPassword}}
	}
	return settings
}

// serve answers a request of a run, after a while, and spoils it if it is its turn.
func (g *soakRegistry) serve(w http.ResponseWriter, req *http.Request, r *soakRun) {
	name := req.Method + " " + req.URL.RequestURI()
	if strings.Contains(req.URL.Path, "/blobs/uploads/") {
		name = req.Method + " " + path.Dir(req.URL.Path) + "?" + req.URL.Query().Get("digest") // without the upload's random name
	}
	if r.wait(req.Context(), r.name, name) != nil {
		panic(http.ErrAbortHandler)
	}
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		r.pushed.Add(1)
	}
	before, after := r.call()
	if after {
		g.answered(req)
	}
	if before || after {
		r.cancel(errKilled)
		_, _ = io.Copy(io.Discard, req.Body) // else the server doesn't see that the caller is gone
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}
	if user, password, ok := req.BasicAuth(); g.s.settings.login && (!ok || user != "octocat" || password != soakPassword) {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if f := g.pick(req); f != nil {
		g.spoil(w, req, f)
	} else {
		g.answer(w, req)
	}
}

func (g *soakRegistry) pick(req *http.Request) *soakFault {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.faults {
		if !f.match(req) {
			continue
		}
		if f.seen++; f.seen >= f.nth && f.met < f.times {
			f.met++
			g.met++
			return f
		}
	}
	return nil
}

// The ways in which requests are spoiled. Those of the first list go away, those of
// the second stay until a person does something.
var (
	soakBlips   = []string{"500", "500 after", "503", "429", "reset", "reset after", "cut", "page", "stall", "echo"}
	soakRefuses = []string{"403", "507"}
)

func (g *soakRegistry) spoil(w http.ResponseWriter, req *http.Request, f *soakFault) {
	switch f.kind {
	case "500 after", "reset after", "cut":
		res, body := g.answered(req)
		if f.kind == "500 after" {
			http.Error(w, "after all", http.StatusInternalServerError)
			return
		}
		if f.kind == "cut" && len(body) > 0 && req.Method == http.MethodGet {
			maps.Copy(w.Header(), res.Header)
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.WriteHeader(res.StatusCode)
			_, _ = w.Write(body[:len(body)/2])
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	case "reset":
		panic(http.ErrAbortHandler)
	case "stall":
		_, _ = io.Copy(io.Discard, req.Body)
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	case "429":
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	case "page":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>Bad gateway</html>")
	case "echo":
		http.Error(w, "bad request: "+req.Header.Get("Authorization"), http.StatusInternalServerError)
	default:
		var code int
		_, _ = fmt.Sscan(f.kind, &code)
		w.WriteHeader(code)
	}
}

// answer does what is asked. Tags are checked in the order in which they take effect.
func (g *soakRegistry) answer(w http.ResponseWriter, req *http.Request) {
	res, body := g.answered(req)
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	_, _ = w.Write(body)
}

func (g *soakRegistry) answered(req *http.Request) (*http.Response, []byte) {
	repository, reference, isManifest := strings.Cut(strings.TrimPrefix(req.URL.Path, "/v2/"), "/manifests/")
	var text []byte
	if isManifest && req.Method == http.MethodPut {
		var err error
		if text, err = io.ReadAll(req.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		req.Body = io.NopCloser(bytes.NewReader(text))
	}
	rec := httptest.NewRecorder()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handler.ServeHTTP(rec, req)
	if isManifest && rec.Code < 300 && req.Method != http.MethodGet && req.Method != http.MethodHead {
		g.wrote(req.Method, repository, reference, text)
	}
	if strings.Contains(req.URL.Path, "/referrers/") && rec.Code == http.StatusOK {
		return rec.Result(), sorted(rec.Body.Bytes())
	}
	return rec.Result(), rec.Body.Bytes()
}

// sorted returns a list of referrers in the order of their digests: this registry's has
// none.
func sorted(list []byte) []byte {
	im, err := v1.ParseIndexManifest(bytes.NewReader(list))
	if err != nil {
		return list
	}
	slices.SortFunc(im.Manifests, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	if text, err := json.Marshal(im); err == nil {
		return text
	}
	return list
}

// wrote checks a manifest that was written.
func (g *soakRegistry) wrote(method, repository, reference string, text []byte) {
	if method == http.MethodDelete {
		g.s.breaks("Monotone: tags of images are never deleted", "%s:%s", repository, reference)
		return
	}
	if strings.HasPrefix(reference, "sha256:") {
		var m struct {
			ArtifactType string
			Subject      *struct{ Digest string }
		}
		if json.Unmarshal(text, &m) == nil && m.Subject != nil && m.ArtifactType == attest.BundleType {
			g.signed[repository+"@"+m.Subject.Digest]++
		}
		return
	}
	at := repository + ":" + reference
	if strings.HasPrefix(reference, "sha256-") {
		all, err := ocitest.Digests(text)
		if err != nil {
			g.s.breaks("Convergence: nothing attached to an image is lost", "%s: %v", at, err)
		}
		for _, was := range g.lists[at] {
			if g.s.alone && !slices.Contains(all, was) {
				g.s.breaks("Convergence: nothing attached to an image is lost", "%s: %s", at, was)
			}
		}
		g.lists[at] = all
		return
	}
	if g.tags[repository] == nil {
		g.tags[repository] = map[string]string{}
	}
	g.tagged(repository, reference, soakDigest(text))
}

// tagged checks a tag that was written.
func (g *soakRegistry) tagged(repository, tag, digest string) {
	tags, at := g.tags[repository], repository+":"+tag
	is, was := g.versions[digest], tags[tag]
	tags[tag] = digest
	switch {
	case is == nil:
		g.s.breaks("Same bytes", "%s names %s, which nobody assembled", at, digest)
		return
	case !g.tested[digest]:
		g.s.breaks("Complete or invisible: images by digest → smoke test → version tag", "%s names %s, which was not tested", at, digest)
	case g.s.signer.Author != nil && g.signed[repository+"@"+digest] < 2:
		g.s.breaks("Complete or invisible: signatures before tags", "%s names %s, which is not signed", at, digest)
	}
	if _, err := version.Parse(tag); err == nil {
		if is.String() != tag {
			g.s.breaks("Same bytes", "%s names an image of %s", at, is)
		}
		if was != "" && was != digest {
			g.s.breaks("Monotone: the exact tag is write-once", "%s moved from %s to %s", at, was, digest)
		}
		return
	}
	if tags[is.String()] != digest {
		g.s.breaks("Complete or invisible: version tag → floating tags", "%s names %s before the tag %s does", at, digest, is)
	}
	if before := g.versions[was]; was != "" && g.s.alone && before.GreaterThan(is) {
		g.s.breaks("Monotone: floating tags never move to a lower version", "%s moved from %s to %s", at, before, is)
	}
}

// assembled and passed tell of an image what the registry can't see.
func (g *soakRegistry) assembled(digest string, v *semver.Version) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if was := g.versions[digest]; was != nil && !was.Equal(v) {
		g.s.breaks("Same bytes", "%s is the image of %s and of %s", digest, was, v)
	}
	g.versions[digest] = v
}

func (g *soakRegistry) passed(digest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tested[digest] = true
}

// has returns what a tag names.
func (g *soakRegistry) has(repository, tag string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tags[repository][tag]
}

// inside is a repository as it is, whatever happens to requests.
func (g *soakRegistry) inside(c *soakComponent) (*oci.Repository, error) {
	return oci.NewRepository(c.address(), oci.RegistryOptions{Transport: ocitest.Within{Handler: g.handler}})
}

// basic is the password as requests carry it.
var soakBasic = base64.StdEncoding.EncodeToString([]byte("octocat:" + soakPassword))

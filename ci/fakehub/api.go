package fakehub

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/wire"
)

// request is a call in progress.
type request struct {
	r      *http.Request
	call   *Call
	owner  string // of the repository that the path names, "" if there is none
	slug   string // "owner/name" of that repository, in lower case
	repo   *Repo
	id     int64  // of the release or asset that the path names
	name   string // the tag, ref or sha that the path names
	access Access
	known  bool // the request carried a token

	asset       *asset // that an upload has begun
	corrupt     bool
	storedWrong bool
	body        []byte
	bodyErr     error
	wasRead     bool
}

// read reads at most n more bytes of the body.
func (q *request) read(n int64) {
	got, err := io.ReadAll(io.LimitReader(q.r.Body, n))
	q.body = append(q.body, got...)
	q.call.Sent += int64(len(got))
	q.bodyErr = err
}

// decode reads the body as JSON, or answers that it isn't.
func (q *request) decode(w http.ResponseWriter, into any) bool {
	err := json.Unmarshal(q.body, into)
	if err != nil {
		apiError(w, 400, "Problems parsing JSON", "")
	}
	return err == nil
}

// api returns the address of the repository in the API, web that of its page.
func (q *request) api() string {
	return fmt.Sprintf("%s/repos/%s/%s", base(q.r, "api"), q.repo.owner, q.repo.name)
}

func (q *request) web() string {
	return fmt.Sprintf("%s/%s/%s", base(q.r, "web"), q.repo.owner, q.repo.name)
}

func (q *request) drain() {
	if !q.wasRead {
		q.wasRead = true
		q.read(1 << 40)
	}
}

type endpoint struct {
	method string
	host   string
	path   *regexp.Regexp
	op     string
	write  bool
	handle handler
}

// handler answers a request that is allowed, with the lock held.
type handler func(*Server, http.ResponseWriter, *request)

const repoPath = `^/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)`

var routes = []endpoint{
	{"GET", "api", regexp.MustCompile(repoPath + `$`), "get repository", false, (*Server).getRepo},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases$`), "list releases", false, (*Server).listReleases},
	{"POST", "api", regexp.MustCompile(repoPath + `/releases$`), "create release", true, (*Server).createRelease},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases/latest$`), "get latest release", false, (*Server).getLatest},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases/tags/(?P<name>.+)$`), "get release by tag", false, (*Server).getByTag},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases/(?P<id>\d+)$`), "get release", false, (*Server).getRelease},
	{"PATCH", "api", regexp.MustCompile(repoPath + `/releases/(?P<id>\d+)$`), "update release", true, (*Server).updateRelease},
	{"DELETE", "api", regexp.MustCompile(repoPath + `/releases/(?P<id>\d+)$`), "delete release", true, (*Server).deleteRelease},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases/(?P<id>\d+)/assets$`), "list assets", false, (*Server).listAssets},
	{"POST", "uploads", regexp.MustCompile(repoPath + `/releases/(?P<id>\d+)/assets$`), "upload asset", true, (*Server).uploadAsset},
	{"GET", "api", regexp.MustCompile(repoPath + `/releases/assets/(?P<id>\d+)$`), "get asset", false, (*Server).getAsset},
	{"PATCH", "api", regexp.MustCompile(repoPath + `/releases/assets/(?P<id>\d+)$`), "update asset", true, (*Server).updateAsset},
	{"DELETE", "api", regexp.MustCompile(repoPath + `/releases/assets/(?P<id>\d+)$`), "delete asset", true, (*Server).deleteAsset},
	{"GET", "api", regexp.MustCompile(repoPath + `/git/ref/(?P<name>.+)$`), "get ref", false, (*Server).getRef},
	{"POST", "api", regexp.MustCompile(repoPath + `/git/refs$`), "create ref", true, (*Server).createRef},
	{"POST", "api", regexp.MustCompile(repoPath + `/git/tags$`), "create tag object", true, (*Server).createTagObject},
	{"GET", "api", regexp.MustCompile(repoPath + `/git/tags/(?P<name>[0-9a-f]+)$`), "get tag object", false, (*Server).getTagObject},
	{"GET", "api", regexp.MustCompile(repoPath + `/git/commits/(?P<name>[0-9a-f]+)$`), "get commit", false, (*Server).getCommit},
	{"GET", "api", regexp.MustCompile(repoPath + `/contents/(?P<name>.+)$`), "get contents", false, (*Server).getContents},
	{"GET", "api", regexp.MustCompile(repoPath + `/attestations/(?P<name>[^/]+)$`), "list attestations", false, (*Server).listAttestations},
	{"POST", "api", regexp.MustCompile(repoPath + `/releases/generate-notes$`), "generate notes", false, (*Server).generateNotes},
	{"POST", "api", regexp.MustCompile(repoPath + `/dispatches$`), "dispatch", true, (*Server).dispatch},
	{"GET", "api", regexp.MustCompile(`^/user$`), "get user", false, (*Server).getUser},
	{"GET", "api", regexp.MustCompile(`^/rate_limit$`), "get rate limit", false, (*Server).getRateLimit},
	{"GET", "api", regexp.MustCompile(`^/installation/repositories$`), "list installation repositories", false, (*Server).listInstallation},
	{"POST", "api", regexp.MustCompile(`^/graphql$`), "graphql", false, (*Server).graphql},
	{"GET", "web", regexp.MustCompile(`^/(?P<owner>[^/]+)/(?P<repo>[^/]+)/releases/download/(?P<name>.+)$`), "download", false, (*Server).download},
	{"GET", "web", regexp.MustCompile(`^/(?P<owner>[^/]+)/(?P<repo>[^/]+)/releases/latest/download/(?P<name>[^/]+)$`), "download latest", false, (*Server).downloadLatest},
	{"GET", "web", regexp.MustCompile(`^/login$`), "login", false, (*Server).loginPage},
	{"GET", "web", regexp.MustCompile(`^/_state$`), "dump the state", false, (*Server).stateText},
	{"GET", "web", regexp.MustCompile(`^/_calls$`), "list the calls", false, (*Server).callsText},
	{"GET", "web", regexp.MustCompile(`^/_events$`), "list the events", false, (*Server).eventsText},
	{"GET", "web", regexp.MustCompile(`^/_objects/(?P<id>\d+)/`), "get object", false, (*Server).object},
	{"GET", "web", regexp.MustCompile(`^/_attestations/(?P<id>\d+)/`), "get bundle", false, (*Server).getBundle},
}

// place returns the kind of host that a request addresses, and the path there.
func place(r *http.Request) (host, path string) {
	path = r.URL.Path
	name := r.Host
	switch {
	case strings.HasPrefix(name, "api."):
		return "api", path
	case strings.HasPrefix(name, "uploads."):
		return "uploads", path
	case path == "/api/graphql":
		return "api", "/graphql"
	}
	if rest, ok := strings.CutPrefix(path, "/api/v3"); ok {
		return "api", rest
	}
	if rest, ok := strings.CutPrefix(path, "/api/uploads"); ok {
		return "uploads", rest
	}
	return "web", path
}

// base returns the address of a kind of host, as the caller would reach it.
func base(r *http.Request, host string) string {
	scheme := "http://"
	if r.TLS != nil || secure(r) {
		scheme = "https://"
	}
	name := strings.TrimPrefix(strings.TrimPrefix(r.Host, "api."), "uploads.")
	switch {
	case host == "web":
		return scheme + name
	case name != r.Host, name == "github.localhost", name == "github.com":
		return scheme + host + "." + name
	case host == "api":
		return scheme + name + "/api/v3"
	}
	return scheme + name + "/api/uploads"
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, handle := route(r)
	s.delay(q)
	fault := s.begin(q)
	sw := &statusWriter{ResponseWriter: w}
	defer func() {
		s.mu.Lock()
		s.active--
		q.call.Status = sw.status
		s.mu.Unlock()
	}()
	sw.Header().Set("Date", s.cfg.Now().UTC().Format(http.TimeFormat))
	sw.Header().Set("X-GitHub-Request-Id", fmt.Sprintf("FAKE:%d", q.call.N))
	work := func(w http.ResponseWriter) { s.serve(w, q, handle) }
	if fault != nil {
		s.fail(sw, q, fault, work)
	} else {
		work(sw)
	}
}

// route finds what a request asks for.
func route(r *http.Request) (*request, handler) {
	host, path := place(r)
	q := &request{r: r}
	q.call = &Call{
		Method: r.Method, Path: path, Op: "unknown", Host: host, Token: r.Header.Get("Authorization") != "",
		Write: r.Method != http.MethodGet && r.Method != http.MethodHead,
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, rt := range routes {
		if rt.method != method || rt.host != host {
			continue
		}
		m := rt.path.FindStringSubmatch(path)
		if m == nil {
			continue
		}
		part := func(name string) string {
			if i := rt.path.SubexpIndex(name); i >= 0 {
				return m[i]
			}
			return ""
		}
		q.owner, q.slug, q.name = part("owner"), strings.ToLower(part("owner")+"/"+part("repo")), part("name")
		q.id, _ = strconv.ParseInt(part("id"), 10, 64)
		q.call.Op, q.call.Write = rt.op, rt.write
		return q, rt.handle
	}
	return q, nil
}

// delay lets a request take its time.
func (s *Server) delay(q *request) {
	if s.cfg.Latency != nil {
		_ = wire.Sleep(q.r.Context(), s.cfg.Latency(*q.call)) // a caller that went away needs no answer
	}
}

// begin logs a call, and returns the fault that it meets.
func (s *Server) begin(q *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	q.call.N = len(s.calls) + 1
	s.calls = append(s.calls, q.call)
	s.active++
	q.repo = s.repos[q.slug]
	fault := s.pick(q.call)
	if fault != nil {
		q.call.Fault = fault.Kind
	}
	return fault
}

// serve answers a request, unless it is refused.
func (s *Server) serve(w http.ResponseWriter, q *request, handle handler) {
	token, given := bearer(q.r)
	s.mu.Lock()
	q.access, q.known = Access{User: "octocat", Push: true, Scopes: "repo"}, true
	if s.cfg.Tokens != nil {
		q.access, q.known = s.cfg.Tokens[token]
	}
	admitted := q.call.Host == "web" || s.admit(w, token, q.call)
	s.mu.Unlock()
	if !admitted {
		return
	}
	if given && !q.known && q.call.Host != "web" {
		apiError(w, 401, "Bad credentials", "")
		return
	}
	if q.access.Scopes != "" || q.access.NoScopes {
		w.Header().Set("X-OAuth-Scopes", q.access.Scopes)
	}
	if handle == nil || q.owner != "" && (q.repo == nil || q.repo.private && !q.known) {
		notFound(w)
		return
	}
	if q.call.Write && s.refusesWrite(w, q) || q.call.Op == "upload asset" && s.refusesUpload(w, q) {
		return
	}
	q.drain()
	if q.bodyErr != nil { // the sender went away; an upload's starter stays
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	handle(s, w, q)
}

// refusesWrite answers a write that the token may not make.
func (s *Server) refusesWrite(w http.ResponseWriter, q *request) bool {
	switch {
	case !q.known:
		apiError(w, 401, "Requires authentication", "")
	case q.access.NoScopes:
		notFound(w)
	case !q.access.Push || q.access.ReadOnly:
		s.denied(w, q, "contents=write")
	case q.repo != nil && q.repo.archived:
		apiError(w, 403, "Repository was archived so is read-only.", "")
	default:
		return false
	}
	return true
}

// refusesUpload begins an upload, or answers one that GitHub refuses before it
// reads the body.
func (s *Server) refusesUpload(w http.ResponseWriter, q *request) bool {
	rec := httptest.NewRecorder()
	s.mu.Lock()
	q.asset = s.beginUpload(rec, q)
	s.mu.Unlock()
	if q.asset != nil {
		return false
	}
	q.drain() // senders don't look at answers before they have sent all
	maps.Copy(w.Header(), rec.Header())
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
	return true
}

// denied answers a call that a token may not make: with the permission it needs, or,
// for classic tokens, as if nothing existed.
func (s *Server) denied(w http.ResponseWriter, q *request, accepted string) {
	switch {
	case q.access.Installation:
		w.Header().Set("X-Accepted-GitHub-Permissions", accepted)
		apiError(w, 403, "Resource not accessible by integration", "")
	case q.access.ReadOnly:
		w.Header().Set("X-Accepted-GitHub-Permissions", accepted)
		apiError(w, 403, "Resource not accessible by personal access token", "")
	default:
		notFound(w)
	}
}

// mayTouchWorkflows reports whether the token may use a commit that changes workflow
// files.
func (a Access) mayTouchWorkflows() bool {
	return a.Workflows || slices.Contains(strings.Split(strings.ReplaceAll(a.Scopes, " ", ""), ","), "workflow")
}

// refusesTarget answers a create or an update that names a target commit which
// changes workflow files, if the token may not change them. GitHub checks this even
// if the tag exists and makes the target unused.
func (s *Server) refusesTarget(w http.ResponseWriter, q *request, in *releaseInput) bool {
	if in.Commitish == nil || q.access.mayTouchWorkflows() || !q.repo.changesWorkflows(*in.Commitish) {
		return false
	}
	s.denied(w, q, "contents=write; contents=write,workflows=write")
	return true
}

func bearer(r *http.Request) (string, bool) {
	h := r.Header.Get("Authorization")
	for _, p := range []string{"Bearer ", "token ", "bearer "} {
		if t, ok := strings.CutPrefix(h, p); ok {
			return t, true
		}
	}
	return "", h != ""
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(code int) {
	w.status = cmp.Or(w.status, code)
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.status = cmp.Or(w.status, 200)
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

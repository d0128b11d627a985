package fakehub

import (
	"bytes"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// request is a call on its way through the stand-in.
type request struct {
	r      *http.Request
	call   *Call
	op     string
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

func (q *request) drain() {
	if !q.wasRead {
		q.wasRead = true
		q.read(1 << 40)
	}
}

type route struct {
	method string
	host   string
	path   *regexp.Regexp
	op     string
	write  bool
	handle func(*Server, http.ResponseWriter, *request)
}

const repoPath = `^/repos/(?P<owner>[^/]+)/(?P<repo>[^/]+)`

var routes = []route{
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
	{"GET", "api", regexp.MustCompile(repoPath + `/git/tags/(?P<name>[0-9a-f]+)$`), "get tag object", false, (*Server).getTagObject},
	{"GET", "api", regexp.MustCompile(repoPath + `/git/commits/(?P<name>[0-9a-f]+)$`), "get commit", false, (*Server).getCommit},
	{"GET", "api", regexp.MustCompile(repoPath + `/contents/(?P<name>.+)$`), "get contents", false, (*Server).getContents},
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
}

// place splits a request's address into the kind of host and the path there.
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

// base is the address of one of the hosts, as the caller would reach it.
func base(r *http.Request, host string) string {
	name, scheme := r.Host, "http://"
	if r.TLS != nil || secure(r) {
		scheme = "https://"
	}
	for _, p := range []string{"api.", "uploads."} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			name = rest
			return sub(scheme, name, host)
		}
	}
	if name == "github.localhost" || name == "github.com" {
		return sub(scheme, name, host)
	}
	switch host {
	case "api":
		return scheme + name + "/api/v3"
	case "uploads":
		return scheme + name + "/api/uploads"
	default:
		return scheme + name
	}
}

func sub(scheme, name, host string) string {
	if host == "web" {
		return scheme + name
	}
	return scheme + host + "." + name
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, path := place(r)
	q := &request{r: r, op: "unknown"}
	var handle func(*Server, http.ResponseWriter, *request)
	var owner, repo string
	write := r.Method != http.MethodGet && r.Method != http.MethodHead
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
		for i, name := range rt.path.SubexpNames() {
			switch name {
			case "owner":
				owner = m[i]
			case "repo":
				repo = m[i]
			case "id":
				q.id, _ = strconv.ParseInt(m[i], 10, 64)
			case "name":
				q.name = m[i]
			}
		}
		q.op, write, handle = rt.op, rt.write, rt.handle
		break
	}

	call := &Call{Method: r.Method, Path: path, Op: q.op, Host: host, Write: write, Token: r.Header.Get("Authorization") != ""}
	q.call = call
	if s.cfg.Latency != nil {
		t := time.NewTimer(s.cfg.Latency(*call))
		select {
		case <-t.C:
		case <-r.Context().Done():
			t.Stop()
		}
	}
	s.mu.Lock()
	call.N = len(s.calls) + 1
	s.calls = append(s.calls, call)
	s.active++
	q.repo = s.repos[strings.ToLower(owner+"/"+repo)]
	fault := s.pick(call)
	if fault != nil {
		call.Fault = fault.Kind
	}
	s.mu.Unlock()
	sw := &statusWriter{ResponseWriter: w}
	defer func() {
		s.mu.Lock()
		s.active--
		call.Status = sw.status
		s.mu.Unlock()
	}()
	w = sw
	w.Header().Set("Date", s.cfg.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-GitHub-Request-Id", fmt.Sprintf("FAKE:%d", call.N))
	work := func(w http.ResponseWriter) { s.serve(w, q, handle, owner) }
	if fault != nil {
		s.fail(w, q, fault, work)
		return
	}
	work(w)
}

func (s *Server) serve(w http.ResponseWriter, q *request, handle func(*Server, http.ResponseWriter, *request), owner string) {
	token, given := bearer(q.r)
	s.mu.Lock()
	q.access, q.known = Access{User: "octocat", Push: true, Scopes: "repo"}, true
	if s.cfg.Tokens != nil {
		q.access, q.known = s.cfg.Tokens[token]
	}
	if q.call.Host != "web" {
		if !s.admit(w, token, q.call) {
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()

	if given && !q.known && q.call.Host != "web" {
		apiError(w, 401, "Bad credentials", "")
		return
	}
	if q.access.Scopes != "" || q.access.NoScopes {
		w.Header().Set("X-OAuth-Scopes", q.access.Scopes)
	}
	if owner != "" && (q.repo == nil || q.repo.private && !q.known) {
		notFound(w)
		return
	}
	if handle == nil {
		notFound(w)
		return
	}
	if q.call.Write {
		switch {
		case !q.known:
			apiError(w, 401, "Requires authentication", "")
			return
		case q.access.NoScopes:
			notFound(w)
			return
		case !q.access.Push || q.access.ReadOnly:
			s.denied(w, q, "contents=write")
			return
		case q.repo != nil && q.repo.archived:
			apiError(w, 403, "Repository was archived so is read-only.", "")
			return
		}
	}
	if q.op == "upload asset" {
		s.mu.Lock()
		var early bytes.Buffer
		rec := &statusWriter{ResponseWriter: discard{http.Header{}, &early}}
		q.asset = s.beginUpload(rec, q)
		s.mu.Unlock()
		if q.asset == nil {
			q.drain() // senders don't look at answers before they have sent all
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.status)
			_, _ = w.Write(early.Bytes())
			return
		}
	}
	q.drain()
	if q.bodyErr != nil { // the sender went away; an upload's starter stays
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	handle(s, w, q)
}

// denied answers a call that a token may not make: with what it takes, and, for
// tokens that are not a fine-grained one or an app's, as if nothing was there.
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

// mayTouchWorkflows says whether the token may make something of a commit that
// changes workflow files.
func (a Access) mayTouchWorkflows() bool {
	return a.Workflows || slices.Contains(strings.Split(strings.ReplaceAll(a.Scopes, " ", ""), ","), "workflow")
}

// refusesTarget answers a create or an update that names a target commit which
// changes workflow files, unless the token may change them. GitHub looks at it
// also where the tag is there, and the target therefore unused.
func (s *Server) refusesTarget(w http.ResponseWriter, q *request, in *releaseInput) bool {
	if in.Commitish == nil || q.access.mayTouchWorkflows() || !q.repo.changesWorkflows(*in.Commitish) {
		return false
	}
	s.denied(w, q, "contents=write; contents=write,workflows=write")
	return true
}

// discard is a ResponseWriter into a buffer.
type discard struct {
	header http.Header
	io.Writer
}

func (d discard) Header() http.Header { return d.header }
func (d discard) WriteHeader(int)     {}

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
	if w.status == 0 {
		w.status = code
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = 200
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Answers.

func answer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func apiError(w http.ResponseWriter, status int, message, doc string) {
	if doc == "" {
		doc = "rest"
	}
	answer(w, status, map[string]any{
		"message": message, "documentation_url": "https://docs.github.com/" + doc, "status": strconv.Itoa(status),
	})
}

func notFound(w http.ResponseWriter) { apiError(w, 404, "Not Found", "rest/releases/releases") }

func validationFailed(w http.ResponseWriter, resource, field, code, message string) {
	e := map[string]any{"resource": resource, "field": field, "code": code}
	if message != "" {
		e["message"] = message
	}
	answer(w, 422, map[string]any{
		"message": "Validation Failed", "errors": []any{e},
		"documentation_url": "https://docs.github.com/rest/releases", "status": "422",
	})
}

func htmlPage(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html><head><title>%s</title></head><body><h1>%[1]s</h1></body></html>\n", html.EscapeString(title))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *Server) userJSON(r *http.Request, login string, id int64) map[string]any {
	if login == "" {
		login = "octocat"
	}
	u := base(r, "api") + "/users/" + login
	return map[string]any{
		"login": login, "id": id, "node_id": fmt.Sprintf("U_%d", id), "gravatar_id": "", "type": "User", "site_admin": false,
		"avatar_url": base(r, "web") + "/avatars/" + login, "html_url": base(r, "web") + "/" + login, "url": u,
		"followers_url": u + "/followers", "following_url": u + "/following{/other_user}", "gists_url": u + "/gists{/gist_id}",
		"starred_url": u + "/starred{/owner}{/repo}", "subscriptions_url": u + "/subscriptions",
		"organizations_url": u + "/orgs", "repos_url": u + "/repos", "events_url": u + "/events{/privacy}",
		"received_events_url": u + "/received_events",
	}
}

func (s *Server) assetJSON(q *request, a *asset) map[string]any {
	r := q.repo
	tag := a.rel.tag
	if a.rel.draft {
		tag = untagged(a.rel)
	}
	var digest any
	if a.digest != "" {
		digest = a.digest
	}
	return map[string]any{
		"id": a.id, "node_id": fmt.Sprintf("RA_%d", a.id), "name": a.name, "label": a.label, "state": a.state,
		"url":                  fmt.Sprintf("%s/repos/%s/%s/releases/assets/%d", base(q.r, "api"), r.owner, r.name, a.id),
		"browser_download_url": fmt.Sprintf("%s/%s/%s/releases/download/%s/%s", base(q.r, "web"), r.owner, r.name, pathEscape(tag), url.PathEscape(a.name)),
		"content_type":         a.contentType, "size": a.size, "digest": digest, "download_count": a.downloads,
		"created_at": stamp(a.createdAt), "updated_at": stamp(a.updatedAt),
		"uploader": s.userJSON(q.r, "octocat", 1),
	}
}

func untagged(rel *release) string { return fmt.Sprintf("untagged-%020x", rel.id) }

func pathEscape(s string) string {
	parts := strings.Split(s, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}

func (s *Server) releaseJSON(q *request, rel *release) map[string]any {
	r := q.repo
	api := fmt.Sprintf("%s/repos/%s/%s", base(q.r, "api"), r.owner, r.name)
	page := rel.tag
	var published, tarball, zipball any
	if rel.draft {
		page = untagged(rel)
	} else {
		published = stamp(rel.published)
		tarball, zipball = api+"/tarball/"+pathEscape(rel.tag), api+"/zipball/"+pathEscape(rel.tag)
	}
	assets := []any{}
	for _, a := range rel.assets {
		assets = append(assets, s.assetJSON(q, a))
	}
	return map[string]any{
		"id": rel.id, "node_id": fmt.Sprintf("RE_%d", rel.id), "tag_name": rel.tag, "target_commitish": rel.commitish,
		"name": nullable(rel.name), "body": nullable(rel.body), "draft": rel.draft, "prerelease": rel.prerelease,
		"immutable": rel.immutable, "created_at": stamp(rel.createdAt), "published_at": published, "updated_at": stamp(rel.updatedAt),
		"author": s.userJSON(q.r, "octocat", 1), "assets": assets,
		"url": fmt.Sprintf("%s/releases/%d", api, rel.id), "assets_url": fmt.Sprintf("%s/releases/%d/assets", api, rel.id),
		"upload_url":  fmt.Sprintf("%s/repos/%s/%s/releases/%d/assets{?name,label}", base(q.r, "uploads"), r.owner, r.name, rel.id),
		"html_url":    fmt.Sprintf("%s/%s/%s/releases/tag/%s", base(q.r, "web"), r.owner, r.name, pathEscape(page)),
		"tarball_url": tarball, "zipball_url": zipball,
	}
}

// paginate cuts a page out of n items and sets the Link header.
func paginate(w http.ResponseWriter, r *http.Request, n int) (from, to int) {
	per, page := 30, 1
	if v, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && v > 0 {
		per = min(v, 100)
	}
	if v, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && v > 0 {
		page = v
	}
	last := max(1, (n+per-1)/per)
	link := func(p int, rel string) string {
		u := *r.URL
		u.Scheme, u.Host = "http", r.Host
		if r.TLS != nil || secure(r) {
			u.Scheme = "https"
		}
		v := u.Query()
		v.Set("page", strconv.Itoa(p))
		v.Set("per_page", strconv.Itoa(per))
		u.RawQuery = v.Encode()
		return fmt.Sprintf("<%s>; rel=%q", u.String(), rel)
	}
	var links []string
	if page > 1 {
		links = append(links, link(page-1, "prev"), link(1, "first"))
	}
	if page < last {
		links = append(links, link(page+1, "next"), link(last, "last"))
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, ", "))
	}
	return min((page-1)*per, n), min(page*per, n)
}

// tooLarge answers a page that holds too much.
func (s *Server) tooLarge(w http.ResponseWriter, n int) bool {
	if s.cfg.LargestList == 0 || n <= s.cfg.LargestList {
		return false
	}
	w.Header().Del("Link")
	htmlPage(w, 502, "502 Bad Gateway: the list took too long")
	return true
}

// Repositories, users, limits.

func (s *Server) getRepo(w http.ResponseWriter, q *request) { answer(w, 200, s.repoJSON(q, q.repo)) }

func (s *Server) repoJSON(q *request, r *Repo) map[string]any {
	api := fmt.Sprintf("%s/repos/%s/%s", base(q.r, "api"), r.owner, r.name)
	web := fmt.Sprintf("%s/%s/%s", base(q.r, "web"), r.owner, r.name)
	v := map[string]any{
		"id": r.id, "node_id": fmt.Sprintf("R_%d", r.id), "name": r.name, "full_name": r.owner + "/" + r.name,
		"owner": s.userJSON(q.r, r.owner, 2), "private": r.private, "html_url": web, "url": api, "description": nil, "fork": false,
		"clone_url": web + ".git", "git_url": web + ".git", "ssh_url": "git@" + q.r.Host + ":" + r.owner + "/" + r.name + ".git",
		"svn_url": web, "mirror_url": nil, "homepage": nil, "language": "Rust", "license": nil, "default_branch": "main",
		"forks": 0, "forks_count": 0, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "network_count": 0,
		"subscribers_count": 0, "open_issues": 0, "open_issues_count": 0, "size": 1, "has_issues": true, "has_projects": false,
		"has_wiki": false, "has_pages": false, "has_downloads": true, "has_discussions": false, "archived": r.archived, "disabled": false,
		"pushed_at": stamp(s.cfg.Now()), "created_at": stamp(s.cfg.Now()), "updated_at": stamp(s.cfg.Now()),
	}
	for _, k := range []string{"archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits", "compare",
		"contents", "contributors", "deployments", "downloads", "events", "forks", "git_commits", "git_refs", "git_tags", "hooks",
		"issue_comment", "issue_events", "issues", "keys", "labels", "languages", "merges", "milestones", "notifications", "pulls",
		"releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams", "trees"} {
		v[k+"_url"] = api + "/" + strings.ReplaceAll(k, "_", "/")
	}
	if q.known {
		push := q.access.Push && !q.access.Installation
		v["permissions"] = map[string]any{"admin": false, "maintain": false, "push": push, "triage": push, "pull": true}
	}
	return v
}

func (s *Server) getUser(w http.ResponseWriter, q *request) {
	if !q.known {
		apiError(w, 401, "Requires authentication", "")
		return
	}
	if q.access.Installation {
		apiError(w, 403, "Resource not accessible by integration", "")
		return
	}
	u := s.userJSON(q.r, q.access.User, 1)
	for k, v := range map[string]any{
		"bio": nil, "blog": nil, "company": nil, "email": nil, "followers": 0, "following": 0, "hireable": nil, "location": nil,
		"name": "Mona Lisa", "public_gists": 0, "public_repos": 1, "created_at": stamp(s.cfg.Now()), "updated_at": stamp(s.cfg.Now()),
	} {
		u[k] = v
	}
	answer(w, 200, u)
}

func (s *Server) listInstallation(w http.ResponseWriter, q *request) {
	if !q.access.Installation {
		apiError(w, 403, "You must authenticate with an installation access token in order to list repositories for an installation.", "")
		return
	}
	keys := sortedKeys(s.repos)
	from, to := paginate(w, q.r, len(keys))
	list := []any{}
	for _, k := range keys[from:to] {
		list = append(list, s.repoJSON(q, s.repos[k]))
	}
	answer(w, 200, map[string]any{"total_count": len(keys), "repositories": list})
}

func (s *Server) getRateLimit(w http.ResponseWriter, q *request) {
	h := w.Header()
	number := func(k string) int { n, _ := strconv.Atoi(h.Get(k)); return n }
	core := map[string]any{
		"limit": number("X-RateLimit-Limit"), "remaining": number("X-RateLimit-Remaining"),
		"reset": number("X-RateLimit-Reset"), "used": number("X-RateLimit-Used"),
	}
	answer(w, 200, map[string]any{"resources": map[string]any{"core": core, "search": core, "graphql": core}, "rate": core})
}

// Git.

func (s *Server) refJSON(q *request, name, sha string) map[string]any {
	kind := "commit"
	if _, ok := q.repo.tagObjects[sha]; ok {
		kind = "tag"
	}
	api := fmt.Sprintf("%s/repos/%s/%s/git", base(q.r, "api"), q.repo.owner, q.repo.name)
	return map[string]any{
		"ref": "refs/tags/" + name, "node_id": "REF_" + name, "url": api + "/refs/tags/" + pathEscape(name),
		"object": map[string]any{"type": kind, "sha": sha, "url": api + "/" + kind + "s/" + sha},
	}
}

func (s *Server) getRef(w http.ResponseWriter, q *request) {
	name, ok := strings.CutPrefix(q.name, "tags/")
	sha, found := q.repo.tags[name]
	if !ok || !found {
		notFound(w)
		return
	}
	answer(w, 200, s.refJSON(q, name, sha))
}

func (s *Server) createRef(w http.ResponseWriter, q *request) {
	var in struct{ Ref, SHA string }
	if json.Unmarshal(q.body, &in) != nil {
		apiError(w, 400, "Problems parsing JSON", "")
		return
	}
	name, ok := strings.CutPrefix(in.Ref, "refs/tags/")
	if !ok {
		apiError(w, 422, "Reference name must start with 'refs/tags/' here", "")
		return
	}
	if _, ok := q.repo.tags[name]; ok {
		apiError(w, 422, "Reference already exists", "")
		return
	}
	if _, ok := q.repo.commits[q.repo.peel(in.SHA)]; !ok {
		apiError(w, 422, "Object does not exist", "")
		return
	}
	q.repo.tags[name] = in.SHA
	answer(w, 201, s.refJSON(q, name, in.SHA))
}

func (s *Server) getTagObject(w http.ResponseWriter, q *request) {
	o, ok := q.repo.tagObjects[q.name]
	if !ok {
		notFound(w)
		return
	}
	api := fmt.Sprintf("%s/repos/%s/%s/git", base(q.r, "api"), q.repo.owner, q.repo.name)
	answer(w, 200, map[string]any{
		"node_id": "TAG_" + o.sha, "tag": o.tag, "sha": o.sha, "url": api + "/tags/" + o.sha, "message": o.tag,
		"tagger":       map[string]any{"date": stamp(o.date), "email": "octocat@example.com", "name": "octocat"},
		"object":       map[string]any{"sha": o.target, "type": o.targetType, "url": api + "/" + o.targetType + "s/" + o.target},
		"verification": verification(),
	})
}

func verification() map[string]any {
	return map[string]any{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
}

func (s *Server) getCommit(w http.ResponseWriter, q *request) {
	c, ok := q.repo.commits[q.name]
	if !ok {
		notFound(w)
		return
	}
	api := fmt.Sprintf("%s/repos/%s/%s/git", base(q.r, "api"), q.repo.owner, q.repo.name)
	who := map[string]any{"date": stamp(c.date), "email": "octocat@example.com", "name": "octocat"}
	answer(w, 200, map[string]any{
		"sha": c.sha, "node_id": "C_" + c.sha, "url": api + "/commits/" + c.sha,
		"html_url": fmt.Sprintf("%s/%s/%s/commit/%s", base(q.r, "web"), q.repo.owner, q.repo.name, c.sha),
		"author":   who, "committer": who, "message": "change", "parents": []any{},
		"tree": map[string]any{"sha": c.sha, "url": api + "/trees/" + c.sha}, "verification": verification(),
	})
}

// getContents lists .github/workflows of a commit, the only directory that the
// stand-in has.
func (s *Server) getContents(w http.ResponseWriter, q *request) {
	at := q.r.URL.Query().Get("ref")
	if at == "" {
		at = "main"
	}
	sha, ok := q.repo.resolve(at)
	files := q.repo.commits[sha].workflows
	if !ok || q.name != ".github/workflows" || len(files) == 0 {
		notFound(w)
		return
	}
	api := fmt.Sprintf("%s/repos/%s/%s", base(q.r, "api"), q.repo.owner, q.repo.name)
	list := []any{}
	for _, name := range sortedKeys(files) {
		blob := fmt.Sprintf("%x", sha1.Sum([]byte("blob "+files[name])))
		path := q.name + "/" + name
		self, git := api+"/contents/"+path+"?ref="+sha, api+"/git/blobs/"+blob
		list = append(list, map[string]any{
			"type": "file", "size": len(files[name]), "name": name, "path": path, "sha": blob,
			"url": self, "git_url": git, "html_url": nil, "download_url": nil,
			"_links": map[string]any{"self": self, "git": git, "html": nil},
		})
	}
	answer(w, 200, list)
}

// generateNotes makes notes and keeps nothing. GitHub asks for the permission to
// write all the same.
func (s *Server) generateNotes(w http.ResponseWriter, q *request) {
	var in releaseInput
	if !in.decode(w, q) {
		return
	}
	switch {
	case !q.known:
		apiError(w, 401, "Requires authentication", "")
	case !q.access.Push || q.access.ReadOnly || q.access.NoScopes:
		s.denied(w, q, "contents=write")
	case in.TagName == nil || *in.TagName == "":
		validationFailed(w, "Release", "tag_name", "missing_field", "")
	default:
		answer(w, 200, map[string]any{"name": *in.TagName, "body": "**Full Changelog**: " + *in.TagName})
	}
}

// Releases.

func (s *Server) listReleases(w http.ResponseWriter, q *request) {
	var rels []*release
	for _, rel := range q.repo.releases {
		seen := s.listed(rel)
		if seen == nil || seen.draft && !q.access.Push {
			continue
		}
		rels = append(rels, seen)
	}
	sort.SliceStable(rels, func(i, j int) bool {
		if rels[i].draft != rels[j].draft {
			return rels[i].draft
		}
		return rels[i].id > rels[j].id
	})
	from, to := paginate(w, q.r, len(rels))
	if s.tooLarge(w, to-from) {
		return
	}
	list := []any{}
	for _, rel := range rels[from:to] {
		list = append(list, s.releaseJSON(q, rel))
	}
	answer(w, 200, list)
}

func (s *Server) getByTag(w http.ResponseWriter, q *request) {
	for _, rel := range q.repo.releases {
		if seen := s.listed(rel); seen != nil && !seen.draft && seen.tag == q.name {
			answer(w, 200, s.releaseJSON(q, rel))
			return
		}
	}
	notFound(w)
}

func (s *Server) getLatest(w http.ResponseWriter, q *request) {
	rel := q.repo.latestRelease()
	if rel == nil {
		notFound(w)
		return
	}
	answer(w, 200, s.releaseJSON(q, rel))
}

// find answers 404 unless the release may be seen.
func (s *Server) find(w http.ResponseWriter, q *request) *release {
	rel := q.repo.byID(q.id)
	if rel == nil || rel.deleted || rel.draft && !q.access.Push {
		notFound(w)
		return nil
	}
	return rel
}

func (s *Server) getRelease(w http.ResponseWriter, q *request) {
	if rel := s.find(w, q); rel != nil {
		answer(w, 200, s.releaseJSON(q, rel))
	}
}

type releaseInput struct {
	TagName    *string `json:"tag_name"`
	Commitish  *string `json:"target_commitish"`
	Name       *string `json:"name"`
	Body       *string `json:"body"`
	Draft      *bool   `json:"draft"`
	Prerelease *bool   `json:"prerelease"`
	MakeLatest *string `json:"make_latest"`
}

// decode reads and checks what a create or an update has in common.
func (in *releaseInput) decode(w http.ResponseWriter, q *request) bool {
	d := json.NewDecoder(bytes.NewReader(q.body))
	if err := d.Decode(in); err != nil {
		apiError(w, 400, "Problems parsing JSON", "")
		return false
	}
	if in.Body != nil && utf8.RuneCountInString(*in.Body) > 125000 {
		validationFailed(w, "Release", "body", "custom", "body is too long (maximum is 125000 characters)")
		return false
	}
	if m := in.MakeLatest; m != nil && !slices.Contains([]string{"true", "false", "legacy"}, *m) {
		validationFailed(w, "Release", "make_latest", "invalid", "")
		return false
	}
	return true
}

func (in *releaseInput) apply(rel *release) {
	set := func(to *string, from *string) {
		if from != nil {
			*to = *from
		}
	}
	set(&rel.tag, in.TagName)
	set(&rel.commitish, in.Commitish)
	set(&rel.name, in.Name)
	set(&rel.body, in.Body)
	if in.Prerelease != nil {
		rel.prerelease = *in.Prerelease
	}
}

func (s *Server) createRelease(w http.ResponseWriter, q *request) {
	var in releaseInput
	if !in.decode(w, q) {
		return
	}
	if s.refusesTarget(w, q, &in) {
		return
	}
	if in.TagName == nil || *in.TagName == "" {
		validationFailed(w, "Release", "tag_name", "missing_field", "")
		return
	}
	rel := &release{id: s.nextID(), draft: true, commitish: "main", createdAt: s.cfg.Now().UTC()}
	in.apply(rel)
	draft := in.Draft != nil && *in.Draft
	if q.repo.burned[rel.tag] {
		validationFailed(w, "Release", "tag_name", "custom", "tag_name was used by an immutable release")
		return
	}
	if draft && in.MakeLatest != nil && *in.MakeLatest == "true" {
		validationFailed(w, "Release", "make_latest", "custom", "Drafts and prereleases cannot be set as latest")
		return
	}
	if !s.mayPublish(w, q, rel, !draft, in.MakeLatest) {
		return
	}
	if c, ok := q.repo.commits[rel.commitish]; ok {
		rel.createdAt = c.date
	}
	q.repo.releases = append(q.repo.releases, rel)
	s.event("create", rel, "")
	if !draft {
		s.publish(q.repo, rel)
	}
	s.mark(q.repo, rel, in.MakeLatest, !draft)
	s.touch(rel)
	answer(w, 201, s.releaseJSON(q, rel))
}

// mayPublish checks what GitHub checks of a release that is, or becomes,
// published.
func (s *Server) mayPublish(w http.ResponseWriter, q *request, rel *release, published bool, makeLatest *string) bool {
	if !published {
		return true
	}
	if other := q.repo.publishedByTag(rel.tag); !s.cfg.DuplicateTags && other != nil && other.id != rel.id {
		validationFailed(w, "Release", "tag_name", "already_exists", "")
		return false
	}
	if _, ok := q.repo.tags[rel.tag]; !ok {
		if _, ok := q.repo.resolve(rel.commitish); !ok {
			validationFailed(w, "Release", "target_commitish", "invalid", "")
			return false
		}
		if q.repo.noNewTags {
			answer(w, 422, map[string]any{
				"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest/releases", "status": "422",
				"errors": []any{
					map[string]any{"resource": "Release", "code": "custom", "field": "pre_receive",
						"message": "pre_receive Repository rule violations found\n\nCannot create ref due to creations being restricted.\n\n"},
					map[string]any{"resource": "Release", "code": "custom", "message": "Published releases must have a valid tag"},
				},
			})
			return false
		}
	}
	if rel.prerelease && makeLatest != nil && *makeLatest == "true" {
		validationFailed(w, "Release", "make_latest", "custom", "Drafts and prereleases cannot be set as latest")
		return false
	}
	return true
}

// resolve is the commit that a commit's id or the default branch's name means.
func (r *Repo) resolve(commitish string) (string, bool) {
	if commitish == "main" {
		commitish = r.head
	}
	_, ok := r.commits[commitish]
	return commitish, ok
}

func (s *Server) publish(r *Repo, rel *release) {
	rel.draft = false
	rel.published = s.cfg.Now().UTC()
	rel.immutable = r.immutable
	if _, ok := r.tags[rel.tag]; !ok {
		r.tags[rel.tag], _ = r.resolve(rel.commitish)
	}
	if c, ok := r.commits[r.peel(r.tags[rel.tag])]; ok {
		rel.createdAt = c.date
	}
	s.event("publish", rel, "")
}

// mark applies make_latest; fresh says that the release was just published,
// for which the default is true.
func (s *Server) mark(r *Repo, rel *release, makeLatest *string, fresh bool) {
	if rel.draft {
		return
	}
	how := ""
	if makeLatest != nil {
		how = *makeLatest
	} else if fresh {
		how = "true"
	}
	if rel.prerelease && how != "" {
		how = "false"
	}
	before := r.latest
	switch how {
	case "true":
		r.latest, rel.declined = rel.id, false
	case "false":
		rel.declined = true
		if r.latest == rel.id {
			r.latest = 0
		}
	case "legacy":
		if now := r.byID(r.latest); now == nil || !rel.createdAt.Before(now.createdAt) {
			r.latest = rel.id
		}
	}
	if r.latest != before {
		s.event("latest", rel, "")
	}
}

func (s *Server) updateRelease(w http.ResponseWriter, q *request) {
	rel := s.find(w, q)
	if rel == nil {
		return
	}
	var in releaseInput
	if !in.decode(w, q) || s.refusesTarget(w, q, &in) {
		return
	}
	next := *rel
	in.apply(&next)
	publish := rel.draft && in.Draft != nil && !*in.Draft
	unpublish := !rel.draft && in.Draft != nil && *in.Draft
	if rel.immutable && (unpublish || next.tag != rel.tag || next.commitish != rel.commitish) {
		apiError(w, 422, "Cannot change the tag or the state of an immutable release.", "")
		return
	}
	if next.draft && !publish && in.MakeLatest != nil && *in.MakeLatest == "true" {
		validationFailed(w, "Release", "make_latest", "custom", "Drafts and prereleases cannot be set as latest")
		return
	}
	if !s.mayPublish(w, q, &next, publish || !rel.draft && !unpublish, in.MakeLatest) {
		return
	}
	in.apply(rel)
	switch {
	case publish:
		s.publish(q.repo, rel)
	case unpublish:
		rel.draft = true
		s.event("edit", rel, "")
	default:
		s.event("edit", rel, "")
	}
	s.mark(q.repo, rel, in.MakeLatest, publish)
	s.touch(rel)
	answer(w, 200, s.releaseJSON(q, rel))
}

func (s *Server) deleteRelease(w http.ResponseWriter, q *request) {
	rel := s.find(w, q)
	if rel == nil {
		return
	}
	if rel.immutable {
		q.repo.burned[rel.tag] = true
	}
	rel.deleted = true
	s.touch(rel)
	if s.cfg.ListDelay == 0 {
		q.repo.releases = slices.DeleteFunc(q.repo.releases, func(x *release) bool { return x == rel })
	} else {
		rel.draft = true // gone for everything but the lists that lag
		rel.tag = "deleted-" + rel.tag
	}
	s.event("delete", rel, "")
	w.WriteHeader(204)
}

// Assets.

func (s *Server) listAssets(w http.ResponseWriter, q *request) {
	rel := s.find(w, q)
	if rel == nil {
		return
	}
	from, to := paginate(w, q.r, len(rel.assets))
	if s.tooLarge(w, to-from) {
		return
	}
	list := []any{}
	for _, a := range rel.assets[from:to] {
		list = append(list, s.assetJSON(q, a))
	}
	answer(w, 200, list)
}

var special = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)
var dots = regexp.MustCompile(`\.{2,}`)

// rewriteName does to an asset's name what GitHub does, as far as people have
// found out: special characters become a period, runs of periods one, and a
// name cannot begin or end with one.
func rewriteName(name string) string {
	name = dots.ReplaceAllString(special.ReplaceAllString(name, "."), ".")
	name = strings.TrimSuffix(name, ".")
	if strings.HasPrefix(name, ".") {
		name = "default" + name
	}
	return name
}

// beginUpload checks an upload before its body and makes the starter asset
// that the body will fill.
func (s *Server) beginUpload(w http.ResponseWriter, q *request) *asset {
	rel := s.find(w, q)
	if rel == nil {
		return nil
	}
	name := q.r.URL.Query().Get("name")
	if name == "" {
		validationFailed(w, "ReleaseAsset", "name", "missing_field", "")
		return nil
	}
	if rel.immutable && !rel.draft {
		apiError(w, 422, "Cannot upload assets to an immutable release.", "")
		return nil
	}
	switch n := q.r.ContentLength; {
	case n < 0:
		apiError(w, 411, "Length Required", "")
		return nil
	case n == 0:
		validationFailed(w, "ReleaseAsset", "size", "custom", "size must be greater than or equal to 1")
		return nil
	case n >= 2<<30:
		validationFailed(w, "ReleaseAsset", "size", "custom", "size must be less than 2147483648")
		return nil
	}
	name = rewriteName(name)
	for _, a := range rel.assets {
		if a.name == name {
			validationFailed(w, "ReleaseAsset", "name", "already_exists", "")
			return nil
		}
	}
	if len(rel.assets) >= 1000 {
		validationFailed(w, "ReleaseAsset", "name", "custom", "file_count limited to 1000 assets per release")
		return nil
	}
	a := s.newAsset(rel, name, q.r.URL.Query().Get("label"), q.r.Header.Get("Content-Type"))
	s.event("starter", rel, name)
	return a
}

func (s *Server) uploadAsset(w http.ResponseWriter, q *request) {
	a := q.asset
	if !slices.Contains(a.rel.assets, a) || a.rel.deleted {
		apiError(w, 500, "the asset was deleted while it was uploaded", "")
		return
	}
	data := bytes.Clone(q.body)
	if q.corrupt {
		data[len(data)/2] ^= 1
	}
	s.fill(a, data)
	said := s.assetJSON(q, a)
	if q.storedWrong {
		data = bytes.Clone(data)
		data[len(data)/2] ^= 1
		s.fill(a, data)
	}
	s.event("upload", a.rel, a.name)
	answer(w, 201, said)
}

func (s *Server) findAsset(w http.ResponseWriter, q *request) *asset {
	for _, rel := range q.repo.releases {
		if rel.deleted || rel.draft && !q.access.Push {
			continue
		}
		for _, a := range rel.assets {
			if a.id == q.id {
				return a
			}
		}
	}
	notFound(w)
	return nil
}

func (s *Server) getAsset(w http.ResponseWriter, q *request) {
	a := s.findAsset(w, q)
	if a == nil {
		return
	}
	if strings.Contains(q.r.Header.Get("Accept"), "application/octet-stream") && a.state == "uploaded" {
		http.Redirect(w, q.r, objectURL(q.r, a), http.StatusFound)
		return
	}
	answer(w, 200, s.assetJSON(q, a))
}

func (s *Server) updateAsset(w http.ResponseWriter, q *request) {
	a := s.findAsset(w, q)
	if a == nil {
		return
	}
	var in struct{ Name, Label *string }
	if json.Unmarshal(q.body, &in) != nil {
		apiError(w, 400, "Problems parsing JSON", "")
		return
	}
	if a.rel.immutable && !a.rel.draft {
		apiError(w, 422, "Cannot update assets of an immutable release.", "")
		return
	}
	if in.Name != nil {
		name := rewriteName(*in.Name)
		for _, other := range a.rel.assets {
			if other != a && other.name == name {
				validationFailed(w, "ReleaseAsset", "name", "already_exists", "")
				return
			}
		}
		a.name = name
	}
	if in.Label != nil {
		a.label = *in.Label
	}
	a.updatedAt = s.cfg.Now().UTC()
	s.event("edit-asset", a.rel, a.name)
	answer(w, 200, s.assetJSON(q, a))
}

func (s *Server) deleteAsset(w http.ResponseWriter, q *request) {
	a := s.findAsset(w, q)
	if a == nil {
		return
	}
	if a.rel.immutable && !a.rel.draft {
		apiError(w, 422, "Cannot delete assets from an immutable release.", "")
		return
	}
	a.rel.assets = slices.DeleteFunc(a.rel.assets, func(x *asset) bool { return x == a })
	s.event("delete-asset", a.rel, a.name)
	w.WriteHeader(204)
}

// Downloads.

func objectURL(r *http.Request, a *asset) string {
	return fmt.Sprintf("%s/_objects/%d/%s?signature=fake", base(r, "web"), a.id, url.PathEscape(a.name))
}

// login sends somebody without a session to log in.
func login(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, base(r, "web")+"/login?return_to="+url.QueryEscape(r.URL.String()), http.StatusFound)
}

func (s *Server) loginPage(w http.ResponseWriter, _ *request) { htmlPage(w, 200, "Sign in") }

func (s *Server) download(w http.ResponseWriter, q *request) {
	if s.cfg.LoginPages {
		login(w, q.r)
		return
	}
	i := strings.LastIndex(q.name, "/")
	if i < 0 {
		htmlPage(w, 404, "Not Found")
		return
	}
	s.redirect(w, q, q.repo.publishedByTag(q.name[:i]), q.name[i+1:])
}

func (s *Server) downloadLatest(w http.ResponseWriter, q *request) {
	s.redirect(w, q, q.repo.latestRelease(), q.name)
}

func (s *Server) redirect(w http.ResponseWriter, q *request, rel *release, name string) {
	if rel != nil {
		for _, a := range rel.assets {
			if a.name == name && a.state == "uploaded" {
				http.Redirect(w, q.r, objectURL(q.r, a), http.StatusFound)
				return
			}
		}
	}
	htmlPage(w, 404, "Not Found")
}

// object serves the bytes behind a signed address, ranges included.
func (s *Server) object(w http.ResponseWriter, q *request) {
	for _, r := range s.repos {
		for _, rel := range r.releases {
			for _, a := range rel.assets {
				if a.id != q.id {
					continue
				}
				a.downloads++
				w.Header().Set("Content-Type", "application/octet-stream")
				w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(a.name))
				w.Header().Set("ETag", fmt.Sprintf("%q", "0x"+strconv.FormatInt(a.id, 16)))
				http.ServeContent(w, q.r, "", a.createdAt, bytes.NewReader(a.data))
				return
			}
		}
	}
	htmlPage(w, 404, "The specified blob does not exist.")
}

// Events.

func (s *Server) dispatch(w http.ResponseWriter, q *request) {
	var in struct {
		EventType string          `json:"event_type"`
		Payload   json.RawMessage `json:"client_payload"`
	}
	if json.Unmarshal(q.body, &in) != nil {
		apiError(w, 400, "Problems parsing JSON", "")
		return
	}
	var top map[string]any
	if len(in.Payload) > 0 && json.Unmarshal(in.Payload, &top) != nil {
		apiError(w, 422, "Invalid request. For 'properties/client_payload', it is not an object.", "")
		return
	}
	switch {
	case in.EventType == "" || utf8.RuneCountInString(in.EventType) > 100:
		apiError(w, 422, "Invalid request. For 'properties/event_type', it must have 1 to 100 characters.", "")
		return
	case len(top) > 10:
		apiError(w, 422, fmt.Sprintf("Invalid request. No more than 10 properties are allowed; %d were supplied.", len(top)), "")
		return
	case len(in.Payload) >= 64<<10:
		apiError(w, 422, "client_payload is too large.", "")
		return
	}
	if top != nil {
		in.Payload, _ = json.Marshal(top) // canonical
	}
	q.repo.dispatches = append(q.repo.dispatches, Dispatch{EventType: in.EventType, Payload: in.Payload})
	s.event("dispatch", nil, "")
	w.WriteHeader(204)
}

// Looking inside, for those who run the stand-in as a program.

func plainText(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; charset=utf-8") }

func (s *Server) stateText(w http.ResponseWriter, _ *request) {
	plainText(w)
	_, _ = io.WriteString(w, s.dump())
}

func (s *Server) callsText(w http.ResponseWriter, _ *request) {
	plainText(w)
	for _, c := range s.calls {
		fmt.Fprintf(w, "%s: %d, %d bytes", c, c.Status, c.Sent)
		if c.Fault != "" {
			fmt.Fprintf(w, ", fault: %s", c.Fault)
		}
		fmt.Fprintln(w)
	}
}

func (s *Server) eventsText(w http.ResponseWriter, _ *request) {
	plainText(w)
	for _, e := range s.events {
		fmt.Fprintf(w, "%s %s %s (%d assets, draft: %t)\n", e.Kind, e.Tag, e.Asset, len(e.Assets), e.Draft)
	}
}

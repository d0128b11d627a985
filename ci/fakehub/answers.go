package fakehub

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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
	answer(w, status, map[string]any{
		"message": message, "documentation_url": "https://docs.github.com/" + cmp.Or(doc, "rest"), "status": strconv.Itoa(status),
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
	login = cmp.Or(login, "octocat")
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
	tag := a.rel.tag
	if a.rel.draft {
		tag = untagged(a.rel)
	}
	return map[string]any{
		"id": a.id, "node_id": fmt.Sprintf("RA_%d", a.id), "name": a.name, "label": a.label, "state": a.state,
		"url":                  fmt.Sprintf("%s/releases/assets/%d", q.api(), a.id),
		"browser_download_url": fmt.Sprintf("%s/releases/download/%s/%s", q.web(), pathEscape(tag), url.PathEscape(a.name)),
		"content_type":         a.contentType, "size": a.size, "digest": nullable(a.digest), "download_count": a.downloads,
		"created_at": stamp(a.createdAt), "updated_at": stamp(a.updatedAt),
		"uploader": s.userJSON(q.r, "octocat", 1),
	}
}

func untagged(rel *release) string { return fmt.Sprintf("untagged-%020x", rel.id) }

func pathEscape(s string) string { return strings.ReplaceAll(url.PathEscape(s), "%2F", "/") }

func (s *Server) releaseJSON(q *request, rel *release) map[string]any {
	r, api := q.repo, q.api()
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
		"html_url":    q.web() + "/releases/tag/" + pathEscape(page),
		"tarball_url": tarball, "zipball_url": zipball,
	}
}

// paginate returns the bounds of the requested page of n items, and sets the Link
// header.
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

// answerPage answers with one page of a list.
func answerPage[T any](s *Server, w http.ResponseWriter, q *request, all []T, show func(*request, T) map[string]any) {
	from, to := paginate(w, q.r, len(all))
	if s.cfg.LargestList > 0 && to-from > s.cfg.LargestList {
		w.Header().Del("Link")
		htmlPage(w, 502, "502 Bad Gateway: the list took too long")
		return
	}
	list := []any{}
	for _, x := range all[from:to] {
		list = append(list, show(q, x))
	}
	answer(w, 200, list)
}

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

package fakehub

import (
	"cmp"
	"crypto/sha1"
	"fmt"
	"net/http"
	"strings"
)

func (s *Server) refJSON(q *request, name, sha string) map[string]any {
	kind := "commit"
	if _, ok := q.repo.tagObjects[sha]; ok {
		kind = "tag"
	}
	api := q.api() + "/git"
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

func (s *Server) getTagObject(w http.ResponseWriter, q *request) {
	o, ok := q.repo.tagObjects[q.name]
	if !ok {
		notFound(w)
		return
	}
	answer(w, 200, tagJSON(q, o))
}

func tagJSON(q *request, o tagObject) map[string]any {
	api := q.api() + "/git"
	return map[string]any{
		"node_id": "TAG_" + o.sha, "tag": o.tag, "sha": o.sha, "url": api + "/tags/" + o.sha, "message": o.tag,
		"tagger":       map[string]any{"date": stamp(o.date), "email": "octocat@example.com", "name": "octocat"},
		"object":       map[string]any{"sha": o.target, "type": o.targetType, "url": api + "/" + o.targetType + "s/" + o.target},
		"verification": verification(),
	}
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
	api := q.api() + "/git"
	who := map[string]any{"date": stamp(c.date), "email": "octocat@example.com", "name": "octocat"}
	answer(w, 200, map[string]any{
		"sha": c.sha, "node_id": "C_" + c.sha, "url": api + "/commits/" + c.sha,
		"html_url": q.web() + "/commit/" + c.sha,
		"author":   who, "committer": who, "message": "change", "parents": []any{},
		"tree": map[string]any{"sha": c.sha, "url": api + "/trees/" + c.sha}, "verification": verification(),
	})
}

// getContents lists .github/workflows of a commit, the only directory there is.
func (s *Server) getContents(w http.ResponseWriter, q *request) {
	sha, ok := q.repo.resolve(cmp.Or(q.r.URL.Query().Get("ref"), "main"))
	files := q.repo.commits[sha].workflows
	if !ok || q.name != ".github/workflows" || len(files) == 0 {
		notFound(w)
		return
	}
	api := q.api()
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

// generateNotes generates notes and stores nothing. GitHub still requires write
// permission.
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

package fakehub

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// The operations in this file are for clients other than Gantry: gh, install scripts,
// and tools that it is compared with.

func (s *Server) updateAsset(w http.ResponseWriter, q *request) {
	a := s.findAsset(w, q)
	if a == nil {
		return
	}
	var in struct{ Name, Label *string }
	if !q.decode(w, &in) {
		return
	}
	if a.rel.immutable && !a.rel.draft {
		apiError(w, 422, "Cannot update assets of an immutable release.", "")
		return
	}
	if in.Name != nil {
		name := rewriteName(*in.Name)
		if other := a.rel.asset(name); other != nil && other != a {
			validationFailed(w, "ReleaseAsset", "name", "already_exists", "")
			return
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

// createTagObject makes a tag object, to which no ref points yet.
func (s *Server) createTagObject(w http.ResponseWriter, q *request) {
	var in struct{ Tag, Message, Object, Type string }
	if !q.decode(w, &in) {
		return
	}
	if _, known := q.repo.commits[in.Object]; !known || in.Type != "commit" {
		apiError(w, 422, "Object does not exist", "")
		return
	}
	o := tagObject{sha: fmt.Sprintf("%x", sha1.Sum([]byte("tag "+in.Tag+in.Object))), tag: in.Tag, target: in.Object, targetType: in.Type, date: s.cfg.Now().UTC()}
	q.repo.tagObjects[o.sha] = o
	answer(w, 201, tagJSON(q, o))
}

func (s *Server) createRef(w http.ResponseWriter, q *request) {
	var in struct{ Ref, SHA string }
	if !q.decode(w, &in) {
		return
	}
	name, isTag := strings.CutPrefix(in.Ref, "refs/tags/")
	_, taken := q.repo.tags[name]
	_, known := q.repo.commits[q.repo.peel(in.SHA)]
	switch {
	case !isTag:
		apiError(w, 422, "Reference name must start with 'refs/tags/' here", "")
	case taken:
		apiError(w, 422, "Reference already exists", "")
	case !known:
		apiError(w, 422, "Object does not exist", "")
	default:
		q.repo.tags[name] = in.SHA
		answer(w, 201, s.refJSON(q, name, in.SHA))
	}
}

func (s *Server) getUser(w http.ResponseWriter, q *request) {
	switch {
	case !q.known:
		apiError(w, 401, "Requires authentication", "")
		return
	case q.access.Installation:
		apiError(w, 403, "Resource not accessible by integration", "")
		return
	}
	u := s.userJSON(q.r, q.access.User, 1)
	maps.Copy(u, map[string]any{
		"bio": nil, "blog": nil, "company": nil, "email": nil, "followers": 0, "following": 0, "hireable": nil, "location": nil,
		"name": "Mona Lisa", "public_gists": 0, "public_repos": 1, "created_at": stamp(s.cfg.Now()), "updated_at": stamp(s.cfg.Now()),
	})
	answer(w, 200, u)
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

func (s *Server) downloadLatest(w http.ResponseWriter, q *request) {
	toObject(w, q, q.repo.latestRelease().asset(q.name))
}

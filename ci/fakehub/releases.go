package fakehub

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"
)

func (s *Server) listReleases(w http.ResponseWriter, q *request) {
	rels := s.visible(q.repo, q)
	slices.SortStableFunc(rels, func(a, b *release) int {
		switch {
		case a.draft == b.draft:
			return cmp.Compare(b.id, a.id)
		case a.draft:
			return -1
		}
		return 1
	})
	answerPage(s, w, q, rels, s.releaseJSON)
}

// visible returns the releases that lists show to the caller.
func (s *Server) visible(r *Repo, q *request) (seen []*release) {
	for _, rel := range r.releases {
		if l := s.listed(rel); l != nil && (!l.draft || q.access.Push) {
			seen = append(seen, l)
		}
	}
	return seen
}

func (s *Server) getByTag(w http.ResponseWriter, q *request) {
	s.answerRelease(w, q, first(q.repo.releases, func(rel *release) bool {
		seen := s.listed(rel)
		return seen != nil && !seen.draft && seen.tag == q.name
	}))
}

func (s *Server) getLatest(w http.ResponseWriter, q *request) {
	s.answerRelease(w, q, q.repo.latestRelease())
}

// answerRelease answers with a release, or that there is none.
func (s *Server) answerRelease(w http.ResponseWriter, q *request, rel *release) {
	if rel == nil {
		notFound(w)
		return
	}
	answer(w, 200, s.releaseJSON(q, rel))
}

// find returns a release, or answers 404 if the caller may not see it.
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

// decode reads and checks the fields that creates and updates share.
func (in *releaseInput) decode(w http.ResponseWriter, q *request) bool {
	if !q.decode(w, in) {
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
	if !in.decode(w, q) || s.refusesTarget(w, q, &in) {
		return
	}
	rel := &release{draft: true, commitish: "main", createdAt: s.cfg.Now().UTC()}
	in.apply(rel)
	draft := in.Draft != nil && *in.Draft
	switch {
	case rel.tag == "":
		validationFailed(w, "Release", "tag_name", "missing_field", "")
		return
	case q.repo.burned[rel.tag]:
		validationFailed(w, "Release", "tag_name", "custom", "tag_name was used by an immutable release")
		return
	case draft && in.latest():
		notLatest(w)
		return
	}
	if !s.mayPublish(w, q, rel, !draft, &in) {
		return
	}
	rel.id = s.nextID()
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

// latest reports whether a release is asked to become the latest.
func (in *releaseInput) latest() bool { return in.MakeLatest != nil && *in.MakeLatest == "true" }

func notLatest(w http.ResponseWriter) {
	validationFailed(w, "Release", "make_latest", "custom", "Drafts and prereleases cannot be set as latest")
}

// mayPublish checks a release that is or becomes public, as GitHub does.
func (s *Server) mayPublish(w http.ResponseWriter, q *request, rel *release, published bool, in *releaseInput) bool {
	other := q.repo.publishedByTag(rel.tag)
	_, tagged := q.repo.tags[rel.tag]
	_, known := q.repo.resolve(rel.commitish)
	switch {
	case !published:
		return true
	case !s.cfg.DuplicateTags && other != nil && other.id != rel.id:
		validationFailed(w, "Release", "tag_name", "already_exists", "")
	case !tagged && !known:
		validationFailed(w, "Release", "target_commitish", "invalid", "")
	case !tagged && q.repo.noNewTags:
		answer(w, 422, map[string]any{
			"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest/releases", "status": "422",
			"errors": []any{
				map[string]any{"resource": "Release", "code": "custom", "field": "pre_receive",
					"message": "pre_receive Repository rule violations found\n\nCannot create ref due to creations being restricted.\n\n"},
				map[string]any{"resource": "Release", "code": "custom", "message": "Published releases must have a valid tag"},
			},
		})
	case rel.prerelease && in.latest():
		notLatest(w)
	default:
		return true
	}
	return false
}

// resolve returns the commit of an id or of the default branch's name.
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
	if rel.immutable {
		r.attest(rel)
	}
	s.event("publish", rel, "")
}

// mark applies make_latest. fresh means that the release was just published, for
// which the default is true.
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
	if next.draft && !publish && in.latest() {
		notLatest(w)
		return
	}
	if !s.mayPublish(w, q, &next, publish || !rel.draft && !unpublish, &in) {
		return
	}
	in.apply(rel)
	switch {
	case publish:
		s.publish(q.repo, rel)
	default:
		rel.draft = rel.draft || unpublish
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

func (s *Server) dispatch(w http.ResponseWriter, q *request) {
	var in Dispatch
	if !q.decode(w, &in) {
		return
	}
	var top map[string]any
	switch {
	case len(in.Payload) > 0 && json.Unmarshal(in.Payload, &top) != nil:
		apiError(w, 422, "Invalid request. For 'properties/client_payload', it is not an object.", "")
	case in.EventType == "" || utf8.RuneCountInString(in.EventType) > 100:
		apiError(w, 422, "Invalid request. For 'properties/event_type', it must have 1 to 100 characters.", "")
	case len(top) > 10:
		apiError(w, 422, fmt.Sprintf("Invalid request. No more than 10 properties are allowed; %d were supplied.", len(top)), "")
	case len(in.Payload) >= 64<<10:
		apiError(w, 422, "client_payload is too large.", "")
	default:
		if top != nil {
			in.Payload, _ = json.Marshal(top) // canonical
		}
		q.repo.dispatches = append(q.repo.dispatches, in)
		s.event("dispatch", nil, "")
		w.WriteHeader(204)
	}
}

package fakehub

import (
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

// graphql answers the two queries that the gh command makes about releases:
// RepositoryReleaseByTag and RepositoryReleaseList.
func (s *Server) graphql(w http.ResponseWriter, q *request) {
	var in struct {
		Query     string
		Variables struct {
			Owner, Name, TagName string
			PerPage              int
			EndCursor            *string
		}
	}
	if json.Unmarshal(q.body, &in) != nil {
		apiError(w, 400, "Problems parsing JSON", "")
		return
	}
	v := in.Variables
	data := func(x any) { answer(w, 200, map[string]any{"data": map[string]any{"repository": x}}) }
	r := s.repos[strings.ToLower(v.Owner+"/"+v.Name)]
	if r == nil {
		answer(w, 200, map[string]any{
			"data": map[string]any{"repository": nil},
			"errors": []any{map[string]any{
				"type": "NOT_FOUND", "path": []any{"repository"},
				"message": "Could not resolve to a Repository with the name '" + v.Owner + "/" + v.Name + "'.",
			}},
		})
		return
	}
	var seen []*release
	for _, rel := range r.releases {
		if l := s.listed(rel); l != nil && (!l.draft || q.access.Push) {
			seen = append(seen, l)
		}
	}
	switch {
	case strings.Contains(in.Query, "RepositoryReleaseByTag"):
		for _, rel := range seen {
			if rel.tag == v.TagName {
				data(map[string]any{"release": map[string]any{"databaseId": rel.id, "isDraft": rel.draft}})
				return
			}
		}
		data(map[string]any{"release": nil})
	case strings.Contains(in.Query, "RepositoryReleaseList"):
		sort.SliceStable(seen, func(i, j int) bool { return seen[i].createdAt.After(seen[j].createdAt) })
		from := 0
		if v.EndCursor != nil {
			from, _ = strconv.Atoi(*v.EndCursor)
		}
		from = min(from, len(seen))
		to := min(from+max(1, v.PerPage), len(seen))
		latest := r.latestRelease()
		nodes := []any{}
		for _, rel := range seen[from:to] {
			var published any
			if !rel.draft {
				published = stamp(rel.published)
			}
			nodes = append(nodes, map[string]any{
				"name": rel.name, "tagName": rel.tag, "isDraft": rel.draft, "isPrerelease": rel.prerelease,
				"isLatest": latest != nil && latest.id == rel.id, "createdAt": stamp(rel.createdAt), "publishedAt": published,
			})
		}
		data(map[string]any{"releases": map[string]any{
			"nodes": nodes, "pageInfo": map[string]any{"hasNextPage": to < len(seen), "endCursor": strconv.Itoa(to)},
		}})
	default:
		answer(w, 200, map[string]any{"errors": []any{map[string]any{"message": "this stand-in does not know the query"}}})
	}
}

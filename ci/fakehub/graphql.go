package fakehub

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// query is what the gh command asks of GraphQL.
type query struct {
	Query     string
	Variables struct {
		Owner, Name, TagName string
		PerPage              int
		EndCursor            *string
	}
}

// graphql answers the two queries that the gh command makes about releases:
// RepositoryReleaseByTag and RepositoryReleaseList.
func (s *Server) graphql(w http.ResponseWriter, q *request) {
	var in query
	if !q.decode(w, &in) {
		return
	}
	v := in.Variables
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
	data := func(key string, x any) {
		answer(w, 200, map[string]any{"data": map[string]any{"repository": map[string]any{key: x}}})
	}
	seen := s.visible(r, q)
	switch {
	case strings.Contains(in.Query, "RepositoryReleaseByTag"):
		var found any
		if rel := first(seen, func(rel *release) bool { return rel.tag == v.TagName }); rel != nil {
			found = map[string]any{"databaseId": rel.id, "isDraft": rel.draft}
		}
		data("release", found)
	case strings.Contains(in.Query, "RepositoryReleaseList"):
		data("releases", in.page(r, seen))
	default:
		answer(w, 200, map[string]any{"errors": []any{map[string]any{"message": "this fake server does not know the query"}}})
	}
}

// page returns a page of releases, newest first.
func (in *query) page(r *Repo, seen []*release) map[string]any {
	slices.SortStableFunc(seen, func(a, b *release) int { return b.createdAt.Compare(a.createdAt) })
	from := 0
	if in.Variables.EndCursor != nil {
		from, _ = strconv.Atoi(*in.Variables.EndCursor)
	}
	from = min(from, len(seen))
	to := min(from+max(1, in.Variables.PerPage), len(seen))
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
	return map[string]any{"nodes": nodes, "pageInfo": map[string]any{"hasNextPage": to < len(seen), "endCursor": strconv.Itoa(to)}}
}

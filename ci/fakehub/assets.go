package fakehub

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) listAssets(w http.ResponseWriter, q *request) {
	if rel := s.find(w, q); rel != nil {
		answerPage(s, w, q, rel.assets, s.assetJSON)
	}
}

var special = regexp.MustCompile(`[^A-Za-z0-9._+-]+`)
var dots = regexp.MustCompile(`\.{2,}`)

// rewriteName changes an asset's name as GitHub does, as far as known: special
// characters become a period, runs of periods one, and a name cannot begin or end
// with one.
func rewriteName(name string) string {
	name = dots.ReplaceAllString(special.ReplaceAllString(name, "."), ".")
	name = strings.TrimSuffix(name, ".")
	if strings.HasPrefix(name, ".") {
		name = "default" + name
	}
	return name
}

// beginUpload checks an upload before its body, and creates the starter asset to
// fill.
func (s *Server) beginUpload(w http.ResponseWriter, q *request) *asset {
	rel := s.find(w, q)
	if rel == nil {
		return nil
	}
	given := q.r.URL.Query().Get("name")
	name := rewriteName(given)
	switch n := q.r.ContentLength; {
	case given == "":
		validationFailed(w, "ReleaseAsset", "name", "missing_field", "")
	case rel.immutable && !rel.draft:
		apiError(w, 422, "Cannot upload assets to an immutable release.", "")
	case n < 0:
		apiError(w, 411, "Length Required", "")
	case n == 0:
		validationFailed(w, "ReleaseAsset", "size", "custom", "size must be greater than or equal to 1")
	case n >= 2<<30:
		validationFailed(w, "ReleaseAsset", "size", "custom", "size must be less than 2147483648")
	case rel.asset(name) != nil:
		validationFailed(w, "ReleaseAsset", "name", "already_exists", "")
	case len(rel.assets) >= 1000:
		validationFailed(w, "ReleaseAsset", "name", "custom", "file_count limited to 1000 assets per release")
	default:
		a := s.newAsset(rel, name, q.r.URL.Query().Get("label"), q.r.Header.Get("Content-Type"))
		s.event("starter", rel, name)
		return a
	}
	return nil
}

func (s *Server) uploadAsset(w http.ResponseWriter, q *request) {
	a := q.asset
	if !slices.Contains(a.rel.assets, a) || a.rel.deleted {
		apiError(w, 500, "the asset was deleted while it was uploaded", "")
		return
	}
	data := q.body
	if q.corrupt {
		data = flipped(data)
	}
	s.fill(a, data)
	reported := s.assetJSON(q, a)
	if q.storedWrong {
		s.fill(a, flipped(data))
	}
	s.event("upload", a.rel, a.name)
	answer(w, 201, reported)
}

func (s *Server) findAsset(w http.ResponseWriter, q *request) *asset {
	for _, rel := range q.repo.releases {
		if rel.deleted || rel.draft && !q.access.Push {
			continue
		}
		if a := first(rel.assets, func(a *asset) bool { return a.id == q.id }); a != nil {
			return a
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
		toObject(w, q, a)
		return
	}
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

func objectURL(r *http.Request, a *asset) string {
	return fmt.Sprintf("%s/_objects/%d/%s?signature=fake", base(r, "web"), a.id, url.PathEscape(a.name))
}

// login redirects to the login page.
func login(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, base(r, "web")+"/login?return_to="+url.QueryEscape(r.URL.String()), http.StatusFound)
}

func (s *Server) loginPage(w http.ResponseWriter, _ *request) { htmlPage(w, 200, "Sign in") }

func (s *Server) download(w http.ResponseWriter, q *request) {
	if s.cfg.LoginPages {
		login(w, q.r)
		return
	}
	tag, name := path.Split(q.name)
	toObject(w, q, q.repo.publishedByTag(strings.TrimSuffix(tag, "/")).asset(name))
}

// toObject redirects to the bytes of an asset, if it is complete.
func toObject(w http.ResponseWriter, q *request, a *asset) {
	if a == nil || a.state != "uploaded" {
		htmlPage(w, 404, "Not Found")
		return
	}
	http.Redirect(w, q.r, objectURL(q.r, a), http.StatusFound)
}

// object serves an asset's bytes at a signed address, with ranges.
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

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/published"
	"dagger/gantry/scripts/scale/curve"
)

// registry starts a registry in memory, and returns its host.
func (w *world) registry() (string, error) {
	return w.serve(paged{registry.New(registry.Logger(log.New(io.Discard, "", 0)))})
}

// paged is a registry that lists tags in pages, with a link to the next one. The one of
// go-containerregistry cuts the list without a link.
type paged struct{ http.Handler }

// mostTags is how many tags a page has at most.
const mostTags = 1000

func (p paged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/tags/list") {
		p.Handler.ServeHTTP(w, r)
		return
	}
	query := r.URL.Query()
	whole := r.Clone(r.Context())
	whole.URL.RawQuery = ""
	rec := httptest.NewRecorder()
	p.Handler.ServeHTTP(rec, whole)
	var list struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}
	if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &list) != nil {
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
		return
	}
	if last := query.Get("last"); last != "" {
		i, found := slices.BinarySearch(list.Tags, last)
		if found {
			i++
		}
		list.Tags = list.Tags[i:]
	}
	n := mostTags
	if asked, err := strconv.Atoi(query.Get("n")); err == nil {
		n = min(n, asked)
	}
	if len(list.Tags) > n {
		list.Tags = list.Tags[:n]
		next := url.Values{"n": {strconv.Itoa(n)}, "last": {list.Tags[n-1]}}
		w.Header().Set("Link", fmt.Sprintf(`<%s?%s>; rel="next"`, r.URL.Path, next.Encode()))
	}
	_ = json.NewEncoder(w).Encode(list)
}

// indexOf returns an index of a version, with one image without layers.
func indexOf(number string) (v1.ImageIndex, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{Labels: map[string]string{"version": number}}})
	if err != nil {
		return nil, err
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	return mutate.Annotations(index, map[string]string{imagespec.KeyVersion: number}).(v1.ImageIndex), nil
}

// openTags makes a registry with n tags: those of versions, and three floating ones,
// which name the highest.
func openTags(_ context.Context, w *world) error {
	handler := paged{registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	put := func(tag string, number int) error {
		// An empty index stands for each image but the new one.
		text := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{%q:"1.0.%d"}}`, imagespec.KeyVersion, number)
		req := httptest.NewRequest(http.MethodPut, "/v2/app/manifests/"+tag, bytes.NewReader(text))
		req.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		if rec.Code != http.StatusCreated {
			return fmt.Errorf("put the tag %q: %d %s", tag, rec.Code, rec.Body)
		}
		return nil
	}
	versions := w.N - 3
	for i := range versions {
		if err := put(fmt.Sprintf("1.0.%d", i), i); err != nil {
			return err
		}
	}
	for _, tag := range []string{"1", "1.0", "latest"} {
		if err := put(tag, versions-1); err != nil {
			return err
		}
	}
	var err error
	w.Registry, err = w.serve(handler)
	return err
}

// repository returns the repository of a job, and what counts its requests.
func (j job) repository() (*oci.Repository, *counter, error) {
	c := &counter{}
	r, err := oci.NewRepository(j.Registry+"/app", oci.RegistryOptions{PlainHTTP: true, Transport: c})
	return r, c, err
}

// known returns the versions of the releases, as many as there are tags of versions.
func (j job) known() []*semver.Version {
	var all []*semver.Version
	for i := range j.N - 3 {
		all = append(all, semver.MustParse(fmt.Sprintf("1.0.%d", i)))
	}
	return all
}

// newest is the version that is published, above all others.
const newest = "1.1.0"

// publishImage publishes the image of the next version. again expects that nothing is
// sent.
func publishImage(again bool) func(context.Context, job) (done, error) {
	return func(ctx context.Context, j job) (done, error) {
		r, c, err := j.repository()
		if err != nil {
			return done{}, err
		}
		index, err := indexOf(newest)
		if err != nil {
			return done{}, err
		}
		report, err := oci.Publish(ctx, oci.Publication{Version: semver.MustParse(newest), Index: index, Known: j.known()}, r)
		if err != nil {
			return done{}, err
		}
		if pushed := report.Repositories[0].BytesPushed; again != (pushed == 0) {
			return done{}, fmt.Errorf("it sent %d bytes", pushed)
		}
		return c.done(), nil
	}
}

// candidate returns the release of a version that has an image in a repository.
func (j job) candidate(r *oci.Repository, number string) oci.Candidate {
	return oci.Candidate{Release: &published.Release{Manifest: manifestOf(number), Known: j.known()}, Repositories: []*oci.Repository{r}, WithoutBills: true}
}

func explainTags(ctx context.Context, j job) (done, error) {
	r, c, err := j.repository()
	if err != nil {
		return done{}, err
	}
	_, err = oci.Explain(ctx, j.candidate(r, newest))
	return c.done(), err
}

// surveyTags looks for what is missing of the last ten versions.
func surveyTags(ctx context.Context, j job) (done, error) {
	r, c, err := j.repository()
	if err != nil {
		return done{}, err
	}
	candidates := []oci.Candidate{j.candidate(r, newest)}
	known := j.known()
	for i := range min(9, len(known)) {
		candidates = append(candidates, j.candidate(r, known[len(known)-1-i].String()))
	}
	for i, missing := range oci.MissingFrom(ctx, candidates...) {
		if len(missing) > 0 {
			return done{}, fmt.Errorf("the image of %s lacks: %v", candidates[i].Manifest.Version, missing)
		}
	}
	return c.done(), nil
}

var registryTags = group{
	Group: curve.Group{
		Name: "tags", Title: "Tags in the registry", Unit: "tags",
		About: "A repository of go-containerregistry's registry in memory, which lists a thousand tags per page. All but three tags are those of versions, which also have releases.",
	},
	base: 5, sizes: []int{10, 100, 1000, 3000, 5000}, quick: []int{10, 1200}, repeats: 5,
	open: openTags,
	steps: []step{
		{name: "publish", what: "`publish` of the image of a new version, which gets every floating tag", requests: &curve.Bound{Fixed: 40, PerHundred: 1}, memory: 64, once: true, pure: publishImage(false)},
		{name: "publish again", what: "The same again", requests: &curve.Bound{Fixed: 15, PerHundred: 1}, memory: 64, pure: publishImage(true)},
		{name: "explain", what: "`explain`", requests: &curve.Bound{Fixed: 5, PerHundred: 1}, memory: 64, pure: explainTags},
		{name: "reconcile", what: "What `reconcile --last=10` reads of the repository", requests: &curve.Bound{Fixed: 40, PerHundred: 1}, memory: 64, pure: surveyTags},
	},
}

package oci_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// pages answers lists of tags: the page at an address, and where the next is.
func pages(page func(r *http.Request) (tags []string, next string)) func(int, http.ResponseWriter, *http.Request) bool {
	return func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		tags, next := page(r)
		if next != "" {
			w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, next))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"name": "acme/server", "tags": tags})
		return true
	}
}

// The address of the tests' registry is a private one, for which the library
// guesses plain HTTP. The second page is had all the same.
func TestTagsOverTLSAtAPrivateAddress(t *testing.T) {
	for name, next := range map[string]string{
		"a path":               "/v2/acme/server/tags/list?n=1&last=1.0.0",
		"relative":             "?n=1&last=1.0.0",
		"absolute":             "https://HOST/v2/acme/server/tags/list?n=1&last=1.0.0",
		"behind a proxy's TLS": "http://HOST/v2/acme/server/tags/list?n=1&last=1.0.0",
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				pages(func(r *http.Request) ([]string, string) {
					if r.URL.Query().Get("last") != "" {
						return []string{"1.1.0"}, ""
					}
					return []string{"1.0.0"}, strings.Replace(next, "HOST", r.Host, 1)
				})(0, w, r)
			}))
			defer s.Close()
			o := fast
			o.RootCAs = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
			r, err := oci.NewRepository(strings.TrimPrefix(s.URL, "https://")+"/acme/server", o)
			require.NoError(t, err)
			tags, err := r.Tags(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []string{"1.0.0", "1.1.0"}, tags)
		})
	}
}

// Pages that never end, end with an error.
func TestEndlessPages(t *testing.T) {
	const list = "/v2/acme/server/tags/list?last="
	for name, c := range map[string]struct {
		next func(last string) string
		says string
	}{
		"a page that links to itself": {func(string) string { return list + "a" }, "which would never end"},
		"two that link to each other": {func(last string) string {
			if last == "a" {
				return list + "b"
			}
			return list + "a"
		}, "which would never end"},
		"always another one": {func(last string) string { return list + last + "a" }, "more than 2000 pages"},
		"another host":       {func(string) string { return "http://127.0.0.2" + list }, "leads to another host"},
		"no URL":             {func(string) string { return "http://%zz" }, "the registry's link to more tags"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.set(pages(func(r *http.Request) ([]string, string) { return []string{"1.0.0"}, c.next(r.URL.Query().Get("last")) }))
			_, err := p.repository(t, fast).Tags(t.Context())
			require.ErrorContains(t, err, c.says)
		})
	}
}

// A registry that refuses large pages is asked again without a size.
func TestPagesOfItsOwnSize(t *testing.T) {
	p := newPeer(t)
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/tags/list") && r.URL.Query().Has("n") {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"errors":[{"code":"PAGINATION_NUMBER_INVALID"}]}`)
			return true
		}
		return pages(func(*http.Request) ([]string, string) { return []string{"1.0.0"}, "" })(0, w, r)
	})
	tags, err := p.repository(t, fast).Tags(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"1.0.0"}, tags)

	// The size of a later page is the registry's own.
	p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/tags/list") && r.URL.Query().Has("last") {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		return pages(func(*http.Request) ([]string, string) { return []string{"1.0.0"}, "?last=1.0.0" })(n, w, r)
	})
	_, err = p.repository(t, fast).Tags(t.Context())
	require.ErrorContains(t, err, "400")
}

// bounded notes whether requests have a deadline.
type bounded struct{ with, without int }

func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, ok := r.Context().Deadline(); ok {
		b.with++
	} else {
		b.without++
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Nothing that people wait for is without a deadline.
func TestDeadlines(t *testing.T) {
	p := newPeer(t)
	rel := newRelease(t, "1.2.3", both...)
	image := rel.assemble()
	_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
	require.NoError(t, err)
	for name, do := range map[string]func(*oci.Repository) error{
		"explain": func(r *oci.Repository) error {
			text, err := oci.Explain(context.Background(), oci.Candidate{Release: &published.Release{Manifest: rel.manifest}, Repositories: []*oci.Repository{r}})
			assert.Contains(t, text, "latest")
			return err
		},
		"reconcile": func(r *oci.Repository) error {
			assert.Empty(t, oci.MissingFrom(context.Background(), oci.Candidate{Release: &published.Release{Manifest: rel.manifest}, Repositories: []*oci.Repository{r}})[0])
			return nil
		},
		"verify": func(r *oci.Repository) error {
			verified, err := oci.VerifyImage(context.Background(), rel.manifest, r, oci.VerifyOptions{})
			assert.Empty(t, verified.Findings)
			return err
		},
		"publish": func(r *oci.Repository) error {
			_, err := oci.Publish(context.Background(), publication(image, "1.2.3"), r)
			return err
		},
	} {
		b := &bounded{}
		o := fast
		o.Transport = b
		require.NoError(t, do(p.repository(t, o)), name)
		assert.Positive(t, b.with, name)
		assert.Zero(t, b.without, name)
	}
	// And what is said when it has passed.
	p.set(func(int, http.ResponseWriter, *http.Request) bool { time.Sleep(20 * time.Millisecond); return false })
	_, err = oci.VerifyImage(t.Context(), rel.manifest, p.repository(t, fast), oci.VerifyOptions{Deadline: 50 * time.Millisecond})
	require.ErrorContains(t, err, "the deadline of 50ms passed")
}

// Not every registry answers a HEAD as it should; then the manifest is read.
func TestHeadsOfAllKinds(t *testing.T) {
	for name, head := range map[string]func(w http.ResponseWriter){
		"without a digest": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			w.Header().Set("Content-Length", "2")
		},
		"not allowed":    status(http.StatusMethodNotAllowed),
		"denied":         status(http.StatusForbidden),
		"not there":      status(http.StatusNotFound),
		"a proxy's page": func(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/html") },
		"of a page": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "2")
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.0"))
			before := p.tags(t)
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodHead || !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				head(w)
				return true
			})
			r := p.repository(t, fast)
			require.NoError(t, publishTiny(t, r, "1.0.0"), "nothing to do")
			assert.Equal(t, before, p.tags(t))
			assert.Empty(t, oci.MissingFrom(t.Context(), candidates(r, "1.0.0")...)[0])
			if name == "without a digest" || name == "a proxy's page" || name == "of a page" || name == "not allowed" {
				return // the library itself can't push to such a registry
			}
			require.NoError(t, publishTiny(t, r, "1.1.0"))
			assert.Equal(t, must(tiny(t, "1.1.0").Digest()).String(), p.tags(t)["latest"])
		})
	}
}

// What registries answer, and what people are told.
func TestAnswersAreExplained(t *testing.T) {
	immutable := "set floating = false in [package.metadata.gantry.image.tags]"
	for _, c := range []struct {
		name   string
		status int
		body   string
		says   string
	}{
		{"Amazon", 400, `{"errors":[{"code":"TAG_INVALID","message":"The image tag 'latest' already exists in the 'acme/server' repository and cannot be overwritten because the repository is immutable."}]}`, immutable},
		{"Harbor", 412, `{"errors":[{"code":"PRECONDITION","message":"Failed to process request due to 'server:latest' configured as immutable."}]}`, immutable},
		{"Google", 400, `{"errors":[{"code":"MANIFEST_INVALID","message":"cannot update tag latest. The repository has enabled tag immutability"}]}`, immutable},
		{"plain words", 409, `tag is immutable`, immutable},
		{"another refusal", 400, `{"errors":[{"code":"MANIFEST_INVALID","message":"no"}]}`, "no"},
		{"denied", 403, ``, "may write to the repository"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.0"))
			p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
				return puts("latest")(r) && answer("/manifests/", c.status, c.body)(n, w, r)
			})
			err := publishTiny(t, p.repository(t, fast), "1.1.0")
			require.ErrorContains(t, err, c.says)
			if c.says != immutable {
				assert.NotContains(t, err.Error(), "floating")
			}
			assert.Equal(t, must(tiny(t, "1.0.0").Digest()).String(), p.tags(t)["latest"])
		})
	}

	// Artifactory's for a manifest that isn't there: nobody knows.
	p := newPeer(t)
	p.set(answer("/manifests/1.0.0", 403, `{"errors":[{"code":"DENIED"}]}`))
	err := publishTiny(t, p.repository(t, fast), "1.0.0")
	require.ErrorContains(t, err, "some registries answer so for a tag that does not exist")
	assert.Empty(t, p.tags(t))
	// A repository whose name has the word is not one of immutable tags.
	r, err := oci.NewRepository(p.address("immutable/server"), fast)
	require.NoError(t, err)
	p.set(func(n int, w http.ResponseWriter, r *http.Request) bool {
		return r.Method == http.MethodPut && answer("/manifests/", 403, ``)(n, w, r)
	})
	assert.NotContains(t, publishTiny(t, r, "1.0.0").Error(), "floating")
	// Quay's for a tag that had a date.
	p.set(answer("/manifests/1.0.0", 404, `{"errors":[{"code":"TAG_EXPIRED"}]}`))
	_, err = p.repository(t, fast).Digest(t.Context(), "1.0.0")
	require.ErrorIs(t, err, oci.ErrNotFound)
}

// A registry may ask for a pause with every answer that is not the last word, to
// writes as well.
func TestRetriesOfWrites(t *testing.T) {
	for _, c := range []struct {
		method, part string
		status       int
		after        string
		fails        bool
		waits        time.Duration
	}{
		{http.MethodPost, "/blobs/uploads/", 429, "7", false, 7 * time.Second},
		{http.MethodPatch, "/blobs/uploads/", 429, "7", false, 7 * time.Second},
		{http.MethodPatch, "/blobs/uploads/", 503, "7", false, 7 * time.Second},
		{http.MethodPut, "/blobs/uploads/", 503, "7", false, 7 * time.Second},
		{http.MethodPut, "/blobs/uploads/", 429, "", false, 0},
		{http.MethodPut, "/manifests/sha256:", 429, "7", false, 7 * time.Second},
		{http.MethodPut, "/manifests/sha256:", 502, "", false, 0},
		{http.MethodPut, "/manifests/1.0.0", 503, "7", false, 7 * time.Second},
		{http.MethodPut, "/manifests/1.0.0", 429, "7", false, 7 * time.Second},
		{http.MethodPut, "/manifests/latest", 429, "", false, 0},
		{http.MethodPut, "/manifests/latest", 500, "", false, 0},
		{http.MethodPut, "/manifests/latest", 400, "7", true, 0},
		{http.MethodPut, "/manifests/latest", 503, "3600", false, 0},
	} {
		t.Run(fmt.Sprint(c.method, " ", c.part, " ", c.status, " ", c.after), func(t *testing.T) {
			p := newPeer(t)
			met := 0
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Method != c.method || !strings.Contains(r.URL.Path, c.part) || met > 0 {
					return false
				}
				met++
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.WriteHeader(c.status)
				return true
			})
			longest := time.Duration(0)
			o := fast
			o.Jobs = 1
			o.Sleep = func(ctx context.Context, d time.Duration) error {
				longest = max(longest, d)
				return context.Cause(ctx)
			}
			err := publishTiny(t, p.repository(t, o), "1.0.0")
			assert.Equal(t, 1, met)
			assert.Equal(t, c.fails, err != nil, "%v", err)
			if c.waits > 0 {
				assert.Equal(t, c.waits, longest)
			} else {
				assert.Less(t, longest, time.Second)
			}
		})
	}
}

// Tags as the manifest wants them, over two releases and a backport.
func TestTagsAsConfigured(t *testing.T) {
	no := false
	for _, c := range []struct {
		name string
		tags *manifest.ImageTags
		want map[string]string
	}{
		{"as they are", nil, map[string]string{"1.0.0": "1.0.0", "1.0": "1.0.1", "1.0.1": "1.0.1", "1.1.0": "1.1.0", "1.1": "1.1.0", "1": "1.1.0", "latest": "1.1.0"}},
		{"exact only", &manifest.ImageTags{Floating: &no}, map[string]string{"1.0.0": "1.0.0", "1.0.1": "1.0.1", "1.1.0": "1.1.0"}},
		{"prefix", &manifest.ImageTags{Prefix: "v"}, map[string]string{"v1.0.0": "1.0.0", "v1.0": "1.0.1", "v1.0.1": "1.0.1", "v1.1.0": "1.1.0", "v1.1": "1.1.0", "v1": "1.1.0", "latest": "1.1.0"}},
		{"suffix", &manifest.ImageTags{Suffix: "-alpine"}, map[string]string{"1.0.0-alpine": "1.0.0", "1.0-alpine": "1.0.1", "1.0.1-alpine": "1.0.1", "1.1.0-alpine": "1.1.0", "1.1-alpine": "1.1.0", "1-alpine": "1.1.0", "latest-alpine": "1.1.0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPeer(t)
			seen := map[string]bool{}
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				tag := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") || strings.Contains(tag, ":") {
					return false
				}
				// Where no tag ever moves, immutable ones are no trouble.
				if c.name == "exact only" && seen[tag] {
					w.WriteHeader(http.StatusBadRequest)
					return true
				}
				seen[tag] = true
				return false
			})
			r := p.repository(t, fast)
			var all []oci.Candidate
			for _, v := range []string{"1.0.0", "1.1.0", "1.0.1"} {
				m := &manifest.Manifest{Version: v, Image: &manifest.Image{Tags: c.tags}}
				job := oci.Publication{Version: must(versionOf(v)), Index: tiny(t, v), Manifest: m}
				_, err := oci.Publish(t.Context(), job, r)
				require.NoError(t, err)
				again, err := oci.Publish(t.Context(), job, p.repository(t, fast))
				require.NoError(t, err)
				assert.Empty(t, again.Repositories[0].Done)
				all = append(all, oci.Candidate{Release: &published.Release{Manifest: m, Known: versions("1.0.0", "1.1.0", "1.0.1")}, Repositories: []*oci.Repository{r}})
			}
			want := map[string]string{}
			for tag, v := range c.want {
				want[tag] = must(tiny(t, v).Digest()).String()
			}
			assert.Equal(t, want, p.tags(t))
			for i, missing := range oci.MissingFrom(t.Context(), all...) {
				assert.Empty(t, missing, all[i].Manifest.Version)
			}
			text, err := oci.Explain(t.Context(), all[2])
			require.NoError(t, err)
			for tag, v := range c.want {
				if v == "1.0.1" {
					assert.Contains(t, text, "  "+tag+" ")
				}
			}
			assert.Equal(t, c.name == "exact only", strings.Contains(text, "no floating tags"))
		})
	}
}

package fakehub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// hub is a fake GitHub under test, asked over HTTP.
type hub struct {
	t testing.TB
	*Local
	repo   *Repo
	commit string
	http   *http.Client
	check  func(method, path string, status int, body []byte)
}

func newHub(t testing.TB, cfg Config) *hub {
	h := &hub{t: t, Local: Start(New(cfg))}
	h.http = &http.Client{Transport: h.Transport(false, false)}
	h.repo = h.AddRepo("octo", "hello")
	h.commit = h.repo.Commit("one")
	t.Cleanup(h.Close)
	return h
}

// do makes a call and returns the answer's status and body. A path with
// "uploads:" before it goes to uploads.
func (h *hub) do(method, path, body string, header ...string) (int, string) {
	h.t.Helper()
	at := h.URL + "api/v3" + path
	if p, ok := strings.CutPrefix(path, "uploads:"); ok {
		at, path = h.URL+"api/uploads"+p, p
	}
	req, err := http.NewRequest(method, at, strings.NewReader(body))
	require.NoError(h.t, err)
	req.Header.Set("Authorization", "Bearer any")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := h.http.Do(req)
	require.NoError(h.t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(h.t, err)
	_ = resp.Body.Close()
	if h.check != nil {
		h.check(method, strings.SplitN(path, "?", 2)[0], resp.StatusCode, got)
	}
	return resp.StatusCode, string(got)
}

func (h *hub) must(status int, method, path, body string, header ...string) map[string]any {
	h.t.Helper()
	code, got := h.do(method, path, body, header...)
	require.Equal(h.t, status, code, "%s %s: %s", method, path, got)
	var v map[string]any
	_ = json.Unmarshal([]byte(got), &v)
	return v
}

func id(v map[string]any) int64 { return int64(v["id"].(float64)) }

// Every answer is valid under GitHub's OpenAPI description.
func TestAnswersFollowOpenAPI(t *testing.T) {
	raw, err := os.ReadFile("testdata/openapi.json")
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	require.NoError(t, err)
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("openapi.json", doc))
	type answer struct {
		path   *regexp.Regexp
		key    string
		schema *jsonschema.Schema
	}
	var known []answer
	missing := map[string]bool{}
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for op, v := range doc.(map[string]any)["operations"].(map[string]any) {
		method, path, _ := strings.Cut(op, " ")
		re := regexp.MustCompile("^" + method + " " + regexp.MustCompile(`\\\{(ref|tag)\\\}$`).ReplaceAllString(
			regexp.MustCompile(`\\\{(owner|repo|release_id|asset_id|tag_sha|commit_sha|subject_digest)\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/]+`), `.+`) + "$")
		for status, s := range v.(map[string]any) {
			a := answer{path: re, key: op + " " + status}
			if s != nil {
				a.schema, err = c.Compile("openapi.json#/operations/" + strings.ReplaceAll(escape.Replace(op), " ", "%20") + "/" + status)
				require.NoError(t, err, a.key)
			}
			known, missing[a.key] = append(known, a), true
		}
	}
	total, answers := len(missing), 0
	check := func(method, path string, status int, body []byte) {
		best := answer{}
		for _, a := range known { // the longest pattern is the most specific
			if a.path.MatchString(method+" "+path) && strings.HasSuffix(a.key, fmt.Sprintf(" %d", status)) && len(a.key) > len(best.key) &&
				(!strings.Contains(a.key, "{release_id}") || regexp.MustCompile(`/releases/\d+`).MatchString(path)) {
				best = a
			}
		}
		if best.key == "" {
			return // not described
		}
		delete(missing, best.key)
		answers++
		if best.schema == nil {
			require.Empty(t, body, best.key)
			return
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		require.NoError(t, err, best.key)
		require.NoError(t, best.schema.Validate(v), "%s: %s", best.key, body)
	}

	h := newHub(t, Config{})
	h.check = check
	r := "/repos/octo/hello"
	h.must(200, "GET", r, "")
	h.must(404, "GET", "/repos/octo/none", "")
	h.must(404, "GET", "/repos/octo/none/releases", "")
	h.do("GET", r+"/releases", "")
	h.must(404, "GET", r+"/releases/latest", "")
	h.must(404, "GET", r+"/releases/tags/v1.0.0", "")
	h.must(404, "POST", "/repos/octo/none/releases", `{"tag_name":"v1.0.0"}`)
	h.must(422, "POST", r+"/releases", `{}`)
	rel := id(h.must(201, "POST", r+"/releases", `{"tag_name":"v1.0.0","target_commitish":"`+h.commit+`","draft":true}`))
	one := fmt.Sprintf("%s/releases/%d", r, rel)
	h.must(200, "GET", one, "")
	h.must(404, "GET", r+"/releases/tags/v1.0.0", "") // a draft has no tag
	a := id(h.must(201, "POST", "uploads:"+one+"/assets?name=a.txt", "hello", "Content-Type", "text/plain"))
	b := id(h.must(201, "POST", "uploads:"+one+"/assets?name=b.txt", "hello", "Content-Type", "text/plain"))
	h.must(422, "POST", "uploads:"+one+"/assets?name=a.txt", "hello")
	h.do("GET", one+"/assets", "")
	h.must(200, "GET", fmt.Sprintf("%s/releases/assets/%d", r, a), "")
	h.must(404, "GET", r+"/releases/assets/1", "")
	h.must(200, "PATCH", fmt.Sprintf("%s/releases/assets/%d", r, a), `{"name":"c.txt"}`)
	h.must(204, "DELETE", fmt.Sprintf("%s/releases/assets/%d", r, b), "")
	h.must(404, "PATCH", r+"/releases/1", `{}`)
	h.must(200, "PATCH", one, `{"draft":false,"make_latest":"true"}`)
	h.must(200, "GET", r+"/releases/latest", "")
	h.must(200, "GET", r+"/releases/tags/v1.0.0", "")
	h.do("GET", r+"/releases", "")
	h.repo.AnnotatedTag("v1.1.0", h.commit)
	h.must(200, "GET", r+"/git/ref/tags/v1.1.0", "")
	h.must(404, "GET", r+"/git/ref/tags/none", "")
	tag := h.must(200, "GET", r+"/git/ref/tags/v1.1.0", "")["object"].(map[string]any)["sha"].(string)
	h.must(200, "GET", r+"/git/tags/"+tag, "")
	h.must(404, "GET", r+"/git/tags/"+h.commit, "")
	h.must(200, "GET", r+"/git/commits/"+h.commit, "")
	h.must(404, "GET", r+"/git/commits/"+tag, "")
	h.must(201, "POST", r+"/git/refs", `{"ref":"refs/tags/v1.2.0","sha":"`+h.commit+`"}`)
	h.must(422, "POST", r+"/git/refs", `{"ref":"refs/tags/v1.2.0","sha":"`+h.commit+`"}`)
	object := h.must(201, "POST", r+"/git/tags", `{"tag":"v1.3.0","message":"m","object":"`+h.commit+`","type":"commit"}`)["sha"].(string)
	h.must(422, "POST", r+"/git/tags", `{"tag":"v1.3.0","message":"m","object":"`+object+`","type":"commit"}`)
	h.must(201, "POST", r+"/git/refs", `{"ref":"refs/tags/v1.3.0","sha":"`+object+`"}`)
	h.must(204, "POST", r+"/dispatches", `{"event_type":"x","client_payload":{"a":1}}`)
	h.must(422, "POST", r+"/dispatches", `{"event_type":""}`)
	h.must(200, "GET", "/user", "")
	h.must(200, "GET", "/rate_limit", "")
	h.must(403, "GET", "/installation/repositories", "")
	h.must(204, "DELETE", one, "")
	sealed := h.AddRepo("octo", "sealed").Immutable()
	at := sealed.Commit("one")
	sealed.Seed(Seed{Tag: "v1", Commit: at})
	h.must(200, "GET", "/repos/octo/sealed/attestations/sha1:"+at+"?predicate_type=release", "")

	w := newHub(t, Config{Tokens: map[string]Access{"any": {Push: true, Installation: true}}})
	w.check = check
	w.must(200, "GET", "/installation/repositories", "")
	w.must(403, "GET", "/user", "")
	n := newHub(t, Config{Tokens: map[string]Access{}})
	n.check = check
	n.must(401, "GET", "/user", "")

	require.Empty(t, missing, "described answers that were not seen")
	t.Logf("%d answers, of %d described kinds, are valid under GitHub's OpenAPI description", answers, total)
}

// What is known of GitHub's rules beyond the description.
func TestRules(t *testing.T) {
	h := newHub(t, Config{})
	r := "/repos/octo/hello"
	long := func(n int) string {
		b, _ := json.Marshal(map[string]any{"tag_name": "v9", "draft": true, "body": strings.Repeat("ü", n)})
		return string(b)
	}
	h.must(201, "POST", r+"/releases", long(125000))
	h.must(422, "POST", r+"/releases", long(125001))

	older := h.repo.Commit("two")
	first := id(h.must(201, "POST", r+"/releases", `{"tag_name":"v1.0.0","target_commitish":"`+older+`"}`))
	require.Equal(t, "v1.0.0", h.repo.Latest(), "a published release is the latest by default")
	h.must(422, "POST", r+"/releases", `{"tag_name":"v1.0.0"}`)
	h.must(201, "POST", r+"/releases", `{"tag_name":"v1.1.0-rc.1","prerelease":true,"target_commitish":"`+older+`"}`)
	require.Equal(t, "v1.0.0", h.repo.Latest())
	h.must(422, "POST", r+"/releases", `{"tag_name":"v1.1.0-rc.2","prerelease":true,"make_latest":"true","target_commitish":"`+older+`"}`)
	h.must(201, "POST", r+"/releases", `{"tag_name":"v0.9.0","make_latest":"false","target_commitish":"`+h.repo.Commit("newest")+`"}`)
	require.Equal(t, "v1.0.0", h.repo.Latest(), "declined")
	h.must(200, "PATCH", fmt.Sprintf("%s/releases/%d", r, first), `{"make_latest":"false"}`)
	require.Equal(t, "v0.9.0", h.repo.Latest(), "declining by the last one leaves the newest commit")
	h.must(422, "POST", r+"/releases", `{"tag_name":"v3","target_commitish":"unknown"}`)

	for name, want := range map[string]string{
		"my app (1).zip": "my.app.1.zip", "a~b": "a.b", ".hidden": "default.hidden", "end.": "end", "a+b_c-d.tar.gz": "a+b_c-d.tar.gz", "ü..x": "default.x",
	} {
		require.Equal(t, want, rewriteName(name), name)
	}

	im := h.AddRepo("octo", "sealed").Immutable()
	c := im.Commit("one")
	s := "/repos/octo/sealed"
	x := id(h.must(201, "POST", s+"/releases", `{"tag_name":"v1","draft":true,"target_commitish":"`+c+`"}`))
	a := id(h.must(201, "POST", fmt.Sprintf("uploads:%s/releases/%d/assets?name=a", s, x), "hello"))
	require.Equal(t, true, h.must(200, "PATCH", fmt.Sprintf("%s/releases/%d", s, x), `{"draft":false}`)["immutable"])
	require.Equal(t, "Cannot upload assets to an immutable release.",
		h.must(422, "POST", fmt.Sprintf("uploads:%s/releases/%d/assets?name=b", s, x), "hello")["message"])
	h.must(422, "DELETE", fmt.Sprintf("%s/releases/assets/%d", s, a), "")
	h.must(422, "PATCH", fmt.Sprintf("%s/releases/%d", s, x), `{"tag_name":"v2"}`)
	h.must(204, "DELETE", fmt.Sprintf("%s/releases/%d", s, x), "")
	h.must(422, "POST", s+"/releases", `{"tag_name":"v1"}`)
}

// Every fault does what it says, to the caller and to the state.
func TestFaults(t *testing.T) {
	const broken = -1
	for kind, want := range map[FaultKind]struct {
		status int
		asset  string // what is left of the upload
	}{
		ServerError:      {500, ""},
		ServerErrorAfter: {500, "uploaded"},
		BadGateway:       {502, "starter"},
		BadGatewayAfter:  {502, "uploaded"},
		Reset:            {broken, "starter"},
		ResetAfter:       {broken, "uploaded"},
		Refused:          {broken, ""}, // on HTTP/1
		RefusedAfter:     {broken, "uploaded"},
		NotFound:         {404, ""},
		NotFoundPage:     {404, ""},
		Secondary:        {403, ""},
		SecondaryBare:    {403, ""},
		TooMany:          {429, ""},
		Primary:          {403, ""},
		Hang:             {broken, ""},
		HangAfter:        {broken, "uploaded"},
		Exists:           {422, "uploaded"},
		LostBody:         {201, "uploaded"},
		Page:             {200, "uploaded"},
		Corrupt:          {201, "uploaded"},
		Echo:             {500, ""},
		Denied:           {403, ""},
		RequestTimeout:   {408, ""},
		GoAway:           {broken, ""}, // on HTTP/1
		GoAwayAfter:      {broken, "uploaded"},
		StoredWrong:      {201, "uploaded"},
		Login:            {200, ""}, // where the redirect leads
		Nothing:          {201, "uploaded"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHub(t, Config{})
			rel := h.repo.Seed(Seed{Tag: "v1", Draft: true})
			h.Arm(Fault{Kind: kind, N: 1})
			h.http.Timeout = time.Minute
			resp, err := h.http.Post(fmt.Sprintf("%sapi/uploads/repos/octo/hello/releases/%d/assets?name=a", h.URL, rel), "text/plain", strings.NewReader("hello"))
			status := broken
			if err == nil {
				status = resp.StatusCode
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err, kind)
				_ = resp.Body.Close()
				require.Equal(t, kind == LostBody, len(body) == 0, kind)
			}
			require.Equal(t, want.status, status, "%s: %v", kind, err)
			require.Equal(t, 1, h.FaultsMet())
			_, list := h.do("GET", fmt.Sprintf("/repos/octo/hello/releases/%d/assets", rel), "")
			var assets []struct{ State string }
			require.NoError(t, json.Unmarshal([]byte(list), &assets))
			left := ""
			if len(assets) > 0 {
				left = assets[0].State
			}
			require.Equal(t, want.asset, left, kind)
		})
	}
}

// Pages have Link headers, lists lag, limits bite: under a virtual clock.
func TestListsAndLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{ListDelay: 10 * time.Second})
		r := "/repos/octo/hello"
		h.must(201, "POST", r+"/releases", `{"tag_name":"v1","draft":true}`)
		_, list := h.do("GET", r+"/releases", "")
		require.Equal(t, "[]", list)
		time.Sleep(10 * time.Second)
		_, list = h.do("GET", r+"/releases", "")
		require.Contains(t, list, `"v1"`)
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{Limits: Documented})
		r := "/repos/octo/hello"
		for i := range 80 {
			h.must(201, "POST", r+"/releases", fmt.Sprintf(`{"tag_name":"v%d","draft":true}`, i))
		}
		got := h.must(403, "POST", r+"/releases", `{"tag_name":"v80","draft":true}`)
		require.Contains(t, got["message"], "secondary rate limit")
		require.Equal(t, LimitHits{Content: 1}, h.LimitHits())
		time.Sleep(time.Minute)
		h.must(201, "POST", r+"/releases", `{"tag_name":"v80","draft":true}`)
		resp, err := h.http.Get(h.URL + "api/v3" + r + "/releases?per_page=30&page=2")
		require.NoError(t, err)
		_ = resp.Body.Close()
		link := resp.Header.Get("Link")
		for _, part := range []string{`page=3&per_page=30>; rel="next"`, `page=1&per_page=30>; rel="prev"`, `rel="last"`, `rel="first"`} {
			require.Contains(t, link, part)
		}
	})
}

// REFUSED_STREAM really is one, on the wire.
func TestRefusedStream(t *testing.T) {
	h := newHub(t, Config{})
	h.Arm(Fault{Kind: Refused, N: 1})
	client := &http.Client{Transport: h.Transport(true, false)}
	// A body that cannot be sent twice keeps the transport from trying again.
	_, err := client.Post(h.URL+"api/v3/repos/octo/hello/releases", "application/json", io.MultiReader(strings.NewReader(`{"tag_name":"v1"}`)))
	require.ErrorContains(t, err, "REFUSED_STREAM")
	require.Len(t, h.Calls(), 1)
	// One that can be is sent again, since nothing was done.
	h.Forget()
	h.Arm(Fault{Kind: Refused, N: 1})
	resp, err := client.Post(h.URL+"api/v3/repos/octo/hello/releases", "application/json", strings.NewReader(`{"tag_name":"v1","draft":true}`))
	require.NoError(t, err)
	_ = resp.Body.Close()
	require.Equal(t, 201, resp.StatusCode)
	require.Len(t, h.Calls(), 2)
}

// The gh command, where it is installed, sees what is there.
func TestGhCommand(t *testing.T) {
	gh, err := exec.LookPath("gh")
	if err != nil {
		t.Skip("gh is not installed")
	}
	s := New(Config{})
	repo := s.AddRepo("octo", "hello")
	repo.Seed(Seed{Tag: "v1.0.0", Commit: repo.Commit("one"), Title: "One", Body: "The notes.", Latest: true,
		Files: []File{{Name: "a.txt", Data: []byte("hello")}, {Name: "b.txt", Data: []byte("world")}}})
	repo.Seed(Seed{Tag: "v2.0.0", Title: "Two", Draft: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := HTTPServer(s)
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	dir := t.TempDir()
	run := func(args ...string) string {
		cmd := exec.Command(gh, append(args, "-R", "github.localhost/octo/hello")...)
		cmd.Env = append(os.Environ(), "HTTP_PROXY=http://"+l.Addr().String(), "GH_TOKEN=any", "GH_CONFIG_DIR="+dir, "NO_PROXY=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "gh %v: %s", args, out)
		return string(out)
	}
	require.Contains(t, run("release", "view", "v1.0.0"), "asset:\ta.txt")
	require.Contains(t, run("release", "view", "v2.0.0"), "draft:\ttrue")
	require.Contains(t, run("release", "view"), "title:\tOne")
	list := run("release", "list")
	require.Regexp(t, `One\s+Latest\s+v1.0.0`, list)
	require.Regexp(t, `Two\s+Draft\s+v2.0.0`, list)
	run("release", "download", "v1.0.0", "-D", filepath.Join(dir, "got"))
	for name, want := range map[string]string{"a.txt": "hello", "b.txt": "world"} {
		got, err := os.ReadFile(filepath.Join(dir, "got", name))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

// What a token may not do is answered as GitHub answers it, with what it would
// take: the target commit counts where it changes workflows, whether the tag is
// there or not.
func TestPermissions(t *testing.T) {
	for _, x := range []struct {
		name     string
		access   Access
		status   int
		accepted string
	}{
		{"classic", Access{Push: true, Scopes: "repo"}, 404, ""},
		{"classic, workflow", Access{Push: true, Scopes: "repo, workflow"}, 201, ""},
		{"a workflow's", Access{Push: true, Installation: true}, 403, "contents=write; contents=write,workflows=write"},
		{"an app's, workflows", Access{Push: true, Installation: true, Workflows: true}, 201, ""},
	} {
		h := newHub(t, Config{Tokens: map[string]Access{"any": x.access}})
		h.repo.Workflows(h.commit, map[string]string{"ci.yml": "on: push"})
		h.repo.Tag("v1", h.commit)
		r := "/repos/octo/hello/releases"
		with := `{"tag_name":"v1","draft":true,"target_commitish":"` + h.commit + `"}`
		h.must(x.status, "POST", r, with)
		one := fmt.Sprintf("%s/%d", r, id(h.must(201, "POST", r, `{"tag_name":"v1","draft":true}`)))
		h.must(map[int]int{201: 200, 403: 403, 404: 404}[x.status], "PATCH", one, with)
		h.must(200, "PATCH", one, `{"draft":false}`)
		req, err := http.NewRequestWithContext(t.Context(), "POST", h.URL+"api/v3"+r, strings.NewReader(with))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer any")
		resp, err := h.http.Do(req)
		require.NoError(t, err)
		_ = resp.Body.Close()
		require.Equal(t, x.accepted, resp.Header.Get("X-Accepted-GitHub-Permissions"), x.name)
		h.must(200, "GET", "/repos/octo/hello/contents/.github/workflows?ref="+h.commit, "")
		h.must(404, "GET", "/repos/octo/hello/contents/.github/workflows", "")
		h.repo.Main(h.commit)
		h.must(201, "POST", r, strings.Replace(with, "v1", "v2", 1)) // nothing differs now
	}
	h := newHub(t, Config{Tokens: map[string]Access{"any": {Push: true, ReadOnly: true}}})
	h.must(403, "POST", "/repos/octo/hello/releases/generate-notes", `{"tag_name":"v1"}`)
	h.must(403, "POST", "/repos/octo/hello/releases", `{"tag_name":"v1"}`)
	h = newHub(t, Config{})
	require.Contains(t, h.must(200, "POST", "/repos/octo/hello/releases/generate-notes", `{"tag_name":"v1"}`), "body")
}

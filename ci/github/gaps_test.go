package github

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// answers is a transport that answers without a server.
type answers func(*http.Request) (status int, kind, body string)

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	status, kind, body := a(req)
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: req,
		Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

func TestNewRefusesAddresses(t *testing.T) {
	for says, o := range map[string]Options{
		"read the API's address":                 {APIURL: "ftp://github.example/"},
		`"https:///api/v3" is not an http`:       {APIURL: "https:///api/v3"},
		"an address must not contain credential": {APIURL: "https://a:b@github.example/"},
	} {
		_, err := New(o)
		assert.ErrorContains(t, err, says)
	}
	c, err := New(Options{APIURL: "https://github.example/api/v3"})
	require.NoError(t, err)
	assert.Equal(t, "https://github.example/api/v3/", c.o.APIURL)
}

func TestStepsInWords(t *testing.T) {
	for action, want := range map[Action]string{
		CreateDraft: "create draft v1", AdoptDraft: "adopt draft 7", CorrectDraft: "correct the draft", SetNotes: "set title and notes",
		DeleteStarter: "delete starter a", Replace: "replace a (9 bytes)", Upload: "upload a (9 bytes)", Keep: "keep a", Publish: "publish v1",
		Promote: "promote v1 to latest", SendEvent: "dispatch v1", DeleteDraft: "delete draft 7", "other": "other",
	} {
		s := Step{Action: action, Tag: "v1", Asset: "a", Size: 9, Release: 7}
		assert.Equal(t, want, s.String())
		s.Why = "because"
		assert.Equal(t, want+" (because)", s.String())
		assert.Equal(t, action != AdoptDraft && action != Keep, s.Write(), want)
	}
}

func TestLostAnswerInWords(t *testing.T) {
	assert.EqualError(t, &lostAnswer{0, "why"}, "lost the answer: why")
	assert.EqualError(t, &lostAnswer{502, "why"}, "lost the answer (502 Bad Gateway): why")
}

func TestReportNamesItsPage(t *testing.T) {
	r := &Report{Plan: &Plan{Tag: "v1.0.0"}}
	assert.NotContains(t, r.Text(), "at: ")
	r.Release = &Release{URL: "https://github.com/o/r/releases/tag/v1.0.0"}
	assert.Contains(t, r.Text(), "\nat: https://github.com/o/r/releases/tag/v1.0.0\n")
}

// An answer that is no success and not JSON is what it is; only what claims to be
// GitHub's must be JSON.
func TestAnswersThatAreLost(t *testing.T) {
	for _, c := range []struct {
		status int
		kind   string
		body   string
		lost   bool
	}{
		{200, "application/json", "{}", false}, {200, "text/html", "<html>", true}, {200, "application/json", "{", true},
		{299, "text/html", "<html>", true}, {300, "text/html", "<html>", false}, {204, "", "", false},
		{404, "application/json", "{}", false}, {404, "text/html", "<html>", true}, {500, "text/html", "<html>", false}, {403, "text/html", "", false},
	} {
		client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) { return c.status, c.kind, c.body })})
		require.NoError(t, err)
		ctx, _ := client.begin(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/repos/o/r", nil)
		require.NoError(t, err)
		resp, err := (&transport{client}).RoundTrip(req)
		if c.lost {
			var lost *lostAnswer
			require.ErrorAs(t, err, &lost, "%+v", c)
			assert.Equal(t, c.status, lost.status)
			continue
		}
		require.NoError(t, err, "%+v", c)
		assert.Equal(t, c.status, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	}
}

// Two pages of a list that changes meanwhile may have an asset twice.
func TestAssetsAreListedOnce(t *testing.T) {
	client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) {
		return 200, "application/json", `[{"id": 2, "name": "b"}, {"id": 1, "name": "a"}, {"id": 2, "name": "b"}]`
	})})
	require.NoError(t, err)
	all, err := client.ListAssets(t.Context(), "o", "r", 7)
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, "a", all[0].Name)
	assert.Equal(t, "b", all[1].Name)
}

// A plan that could not be read is an error, not a plan.
func TestPlanThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		client := w.client(func(o *Options) {
			o.Tries = 1
			o.Transport = answers(func(*http.Request) (int, string, string) { return 500, "application/json", `{"message": "oops"}` })
		})
		p, err := client.Plan(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "500")
		assert.Nil(t, p)
	})
}

// Several drafts are looked at again for a while, but not beyond the deadline.
func TestDeadlineWhileDraftsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		s := w.spec("v1.0.0")
		w.repo.Tag("v1.0.0", w.commit)
		for range 2 {
			w.repo.Seed(seeded(&s, true, nil))
		}
		_, err := w.client(func(o *Options) { o.deadline = 10 * time.Millisecond }).Plan(t.Context(), s)
		require.ErrorContains(t, err, "one of several drafts to go")
		p, err := w.client().Plan(t.Context(), s)
		require.NoError(t, err)
		assert.Equal(t, StateDrafts, p.State)
	})
}

package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/wire"
)

// script is a transport that answers in turn; the last answer stays.
type script struct {
	answers []any // a status, an error, or a *http.Response
	bodies  []string
	left    []*leftover
}

// leftover is the body of an answer, of which something may be left.
type leftover struct {
	io.Reader
	closed bool
}

func (l *leftover) Close() error { l.closed = true; return nil }

func (s *script) RoundTrip(req *http.Request) (*http.Response, error) {
	text := ""
	if req.Body != nil {
		sent, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		text = string(sent)
	}
	s.bodies = append(s.bodies, text)
	answer := s.answers[min(len(s.bodies), len(s.answers))-1]
	var res *http.Response
	switch answer := answer.(type) {
	case error:
		return nil, answer
	case int:
		res = &http.Response{StatusCode: answer, Body: io.NopCloser(strings.NewReader("answer"))}
	case *http.Response:
		copied := *answer
		res = &copied
	}
	if res.Header == nil {
		res.Header = http.Header{}
	}
	l := &leftover{Reader: res.Body}
	s.left = append(s.left, l)
	res.Body = l
	return res, nil
}

func asking(status int, after string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}, Body: io.NopCloser(strings.NewReader("wait"))}
}

// What is tried again, how often, and after which pause.
func TestRetriesOfRequests(t *testing.T) {
	reset := errors.New("connection reset by peer")
	const read, token, write = "GET /v2/a/manifests/1", "POST /token", "PUT /v2/a/manifests/1"
	for _, c := range []struct {
		name    string
		request string
		answers []any
		status  int // of the answer; 0 is an error
		sent    int
		pauses  []time.Duration // at least, of a first pause of a second
	}{
		{"at once", read, []any{200}, 200, 1, nil},
		{"refused", read, []any{403}, 403, 1, nil},
		{"a failure", read, []any{503, 200}, 200, 2, []time.Duration{time.Second}},
		{"failures", read, []any{500, 429, 408, 200}, 200, 4, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		{"too many failures", read, []any{503}, 503, 4, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		{"a failure for good", read, []any{501, 200}, 501, 1, nil},
		{"a broken connection", read, []any{reset, 200}, 200, 2, []time.Duration{time.Second}},
		{"connections that break", read, []any{reset}, 0, 4, []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
		{"an untrusted server", read, []any{http.ErrSchemeMismatch, 200}, 0, 1, nil},
		{"a short pause that is asked for", read, []any{asking(429, "0"), 200}, 200, 2, []time.Duration{time.Second}},
		{"a pause that is asked for", read, []any{asking(429, "100"), 200}, 200, 2, []time.Duration{100 * time.Second}},
		{"the longest pause that may be asked for", read, []any{asking(429, "120"), 200}, 200, 2, []time.Duration{120 * time.Second}},
		{"too long a pause", read, []any{asking(429, "121"), 200}, 429, 1, nil},
		{"a pause that is asked for with success", read, []any{asking(200, "100")}, 200, 1, nil},
		{"a pause that is asked for with a refusal", read, []any{asking(403, "100")}, 403, 1, nil},
		{"a HEAD", "HEAD /v2/a/manifests/1", []any{503, 200}, 200, 2, []time.Duration{time.Second}},
		{"a token", token, []any{503, 200}, 200, 2, []time.Duration{time.Second}},
		{"a write", write, []any{503, 200}, 503, 1, nil},
		{"a write on a broken connection", write, []any{reset, 200}, 0, 1, nil},
		{"a write, and a pause that is asked for", write, []any{asking(503, "7"), 200}, 503, 1, []time.Duration{7 * time.Second}},
		{"a write, and no pause that is asked for", write, []any{asking(503, "0"), 200}, 503, 1, nil},
		{"a write, and too long a pause", write, []any{asking(503, "121"), 200}, 503, 1, nil},
		{"an upload", "POST /v2/a/blobs/uploads/", []any{503, 200}, 503, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &script{answers: c.answers}
			var pauses []time.Duration
			tr := &retrying{s, RegistryOptions{Tries: 4, Wait: time.Second, Timeout: time.Hour, Sleep: func(_ context.Context, d time.Duration) error {
				pauses = append(pauses, d)
				return nil
			}}, &stats{}}
			method, path, _ := strings.Cut(c.request, " ")
			var body io.Reader
			if method == http.MethodPost || method == http.MethodPut {
				body = strings.NewReader("body")
			}
			req, err := http.NewRequestWithContext(t.Context(), method, "https://registry.example"+path, body)
			require.NoError(t, err)
			res, err := tr.RoundTrip(req)
			if c.status == 0 {
				require.Error(t, err)
				assert.Nil(t, res)
			} else {
				require.NoError(t, err)
				assert.Equal(t, c.status, res.StatusCode)
				assert.False(t, s.left[len(s.left)-1].closed, "whoever asked reads it")
				for _, l := range s.left[:len(s.left)-1] {
					rest, _ := io.ReadAll(l)
					assert.Empty(t, rest, "it was read, so that the connection can be used again")
					assert.True(t, l.closed)
				}
			}
			assert.Len(t, s.bodies, c.sent)
			for _, text := range s.bodies {
				if body != nil {
					assert.Equal(t, "body", text)
				}
			}
			require.Len(t, pauses, len(c.pauses), "%v", pauses)
			for i, d := range pauses {
				if c.pauses[i] < 7*time.Second {
					assert.GreaterOrEqual(t, d, c.pauses[i]/2, "pause %d", i+1)
					assert.Less(t, d, c.pauses[i]*3/2, "pause %d", i+1)
				} else {
					assert.Equal(t, c.pauses[i], d, "pause %d", i+1)
				}
			}
			got := tr.stats.read()
			assert.EqualValues(t, c.sent, got.Requests)
			assert.EqualValues(t, c.sent-1, got.Retries)
			pushed := 0
			if body != nil && c.request != token {
				pushed = len("body") * c.sent
			}
			assert.EqualValues(t, pushed, got.BytesPushed)
		})
	}
}

// A pause that ends early ends the request, and its answer.
func TestPausesThatEnd(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		s := &script{answers: []any{asking(503, "7")}}
		tr := &retrying{s, RegistryOptions{Tries: 4, Wait: time.Second, Timeout: time.Hour, Sleep: func(context.Context, time.Duration) error { return errBroken }}, &stats{}}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://registry.example/v2/a/manifests/1", nil)
		require.NoError(t, err)
		res, err := tr.RoundTrip(req)
		require.ErrorIs(t, err, errBroken, method)
		assert.Nil(t, res)
		assert.Len(t, s.bodies, 1)
		assert.True(t, s.left[0].closed)
		assert.Zero(t, tr.stats.read().Retries)
	}
}

// A request whose caller ended it is not made again.
func TestRequestThatIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &script{answers: []any{503}}
	tr := &retrying{ended{s, cancel}, RegistryOptions{Tries: 4, Wait: time.Second, Timeout: time.Hour, Sleep: func(context.Context, time.Duration) error { return nil }}, &stats{}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://registry.example/v2/a/manifests/1", nil)
	require.NoError(t, err)
	_, _ = tr.RoundTrip(req)
	assert.Len(t, s.bodies, 1)
}

// ended is a transport whose caller ends a request after the answer.
type ended struct {
	http.RoundTripper
	end func()
}

func (e ended) RoundTrip(req *http.Request) (*http.Response, error) {
	defer e.end()
	return e.RoundTripper.RoundTrip(req)
}

// A body that can't be had again ends the request.
func TestBodyThatIsGone(t *testing.T) {
	s := &script{answers: []any{503, 200}}
	tr := &retrying{s, RegistryOptions{Tries: 4, Wait: time.Second, Timeout: time.Hour, Sleep: func(context.Context, time.Duration) error { return nil }}, &stats{}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://registry.example/token", strings.NewReader("body"))
	require.NoError(t, err)
	req.GetBody = func() (io.ReadCloser, error) { return nil, errBroken }
	_, err = tr.RoundTrip(req)
	require.ErrorIs(t, err, errBroken)
	assert.Len(t, s.bodies, 1)
	req.GetBody = nil
	req.Body = io.NopCloser(strings.NewReader("body"))
	s.bodies = nil
	res, err := tr.RoundTrip(req)
	require.NoError(t, err)
	assert.Equal(t, 503, res.StatusCode)
	assert.Len(t, s.bodies, 1, "it can't be sent again")
}

// Answers are read before they are passed on, as far as they are small; those that
// break off are asked for again.
func TestAnswersThatBreakOff(t *testing.T) {
	large := bytes.Repeat([]byte("x"), smallAnswer+10)
	broken := func(text []byte) *http.Response {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(bytes.NewReader(text), errorReader{io.ErrUnexpectedEOF}))}
	}
	get := func(method string, answers ...any) (*script, *http.Response, error) {
		s := &script{answers: answers}
		tr := &retrying{s, RegistryOptions{Tries: 2, Wait: time.Second, Timeout: time.Hour, Sleep: func(context.Context, time.Duration) error { return nil }}, &stats{}}
		req, err := http.NewRequestWithContext(t.Context(), method, "https://registry.example/v2/a/blobs/1", nil)
		require.NoError(t, err)
		res, err := tr.RoundTrip(req)
		return s, res, err
	}
	s, res, err := get(http.MethodGet, broken([]byte("half")), 200)
	require.NoError(t, err)
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	assert.Equal(t, "answer", string(text))
	assert.True(t, s.left[0].closed)
	require.NoError(t, res.Body.Close())
	assert.True(t, s.left[1].closed)

	s, _, err = get(http.MethodGet, broken([]byte("half")))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.Len(t, s.bodies, 2)

	// The end of a large one is its reader's.
	s, res, err = get(http.MethodGet, broken(large))
	require.NoError(t, err)
	assert.Len(t, s.bodies, 1)
	text, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	assert.True(t, transient(err))
	assert.Len(t, text, len(large))

	// Nor is the answer to a write read.
	s, res, err = get(http.MethodPut, broken([]byte("half")))
	require.NoError(t, err)
	assert.Len(t, s.bodies, 1)
	_, err = io.ReadAll(res.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// Time without progress ends a request, at any stage of it; progress doesn't.
func TestRequestsThatStall(t *testing.T) {
	for _, stage := range []string{"before the answer", "nothing is sent", "in the answer", "never, while it is sent", "never, while it is read", "in a large answer"} {
		t.Run(stage, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := &retrying{stalling{stage}, RegistryOptions{Tries: 1, Timeout: time.Minute}, &stats{}}
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://registry.example/v2/a/manifests/1", &slowly{n: 10})
				require.NoError(t, err)
				switch {
				case strings.Contains(stage, "answer"):
					req.Method = http.MethodGet
				case stage == "nothing is sent":
					req.Body = io.NopCloser(&slowly{n: 10, nothing: true})
				}
				start := time.Now()
				res, err := tr.RoundTrip(req)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					require.NoError(t, res.Body.Close())
				}
				if strings.HasPrefix(stage, "never") {
					require.NoError(t, err)
					assert.Greater(t, time.Since(start), 5*time.Minute)
					return
				}
				require.ErrorIs(t, err, wire.ErrStalled)
				require.ErrorContains(t, err, "no progress in 1m0s")
				assert.True(t, transient(err))
			})
		})
	}
}

// slowly is a body that comes a byte every 40 seconds, and then no more if it
// hangs.
type slowly struct {
	n       int
	nothing bool // comes instead
	hangs   <-chan struct{}
	err     func() error
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.n == 0 {
		if s.hangs != nil {
			<-s.hangs
			return 0, s.err()
		}
		return 0, io.EOF
	}
	s.n--
	time.Sleep(40 * time.Second)
	if s.nothing {
		return 0, nil
	}
	return copy(p, "x"), nil
}

// stalling is a transport that stands still at a stage.
type stalling struct{ stage string }

func (s stalling) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	cause := func() error { return ctx.Err() }
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(""))}
	switch s.stage {
	case "before the answer":
		<-ctx.Done()
		return nil, cause()
	case "in the answer":
		res.Body = io.NopCloser(&slowly{n: 3, hangs: ctx.Done(), err: cause})
	case "in a large answer":
		res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(make([]byte, smallAnswer)), &slowly{n: 3, hangs: ctx.Done(), err: cause}))
	case "never, while it is sent", "nothing is sent":
		if _, err := io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	case "never, while it is read":
		time.Sleep(40 * time.Second) // and the time starts anew with the answer
		res.Body = io.NopCloser(&slowly{n: 10})
	}
	return res, ctx.Err()
}

// Which failures may go away by themselves.
func TestTransientFailures(t *testing.T) {
	for status, again := range map[int]bool{400: false, 401: false, 403: false, 404: false, 408: true, 409: false, 429: true, 499: true, 500: true, 501: false, 502: true, 503: true, 504: true, 505: false, 507: false} {
		assert.Equal(t, again, transientStatus(status), status)
		assert.Equal(t, again, transient(fmt.Errorf("push: %w", &transport.Error{StatusCode: status})), status)
	}
	broken := wire.Broken(t.Context(), errors.New("reset"))
	assert.True(t, transient(broken))
	assert.True(t, transient(io.ErrUnexpectedEOF))
	assert.False(t, transient(nil))
	assert.False(t, transient(io.EOF))
	assert.False(t, transient(context.Canceled))
	assert.False(t, transient(wire.Broken(t.Context(), http.ErrSchemeMismatch)))
}

// An untrusted server is told with what to do.
func TestUntrustedServer(t *testing.T) {
	tr := &retrying{failing{http.ErrSchemeMismatch}, RegistryOptions{Tries: 1, Timeout: time.Hour}, &stats{}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example/v2/", nil)
	require.NoError(t, err)
	_, err = tr.RoundTrip(req)
	require.ErrorIs(t, err, http.ErrSchemeMismatch)
	assert.ErrorContains(t, err, wire.UntrustedHint)
	tr.inner = failing{errBroken}
	_, err = tr.RoundTrip(req)
	require.ErrorIs(t, err, errBroken)
	assert.NotContains(t, err.Error(), wire.UntrustedHint)
}

func TestStatsMinus(t *testing.T) {
	a, b := Stats{Requests: 5, Retries: 3, BytesPushed: 100}, Stats{Requests: 1, Retries: 2, BytesPushed: 40}
	assert.Equal(t, Stats{4, 1, 60}, a.minus(b))
}

// Every kind of refusal, and what is said about it.
func TestHints(t *testing.T) {
	const immutable, credentials, mayWrite, unclear = "tags are immutable", "check the credentials", "check that the credentials may write to the repository", "some registries answer so for a tag that does not exist"
	for _, c := range []struct {
		method, path string
		status       int
		message      string
		says         string
	}{
		{http.MethodPut, "/v2/a/manifests/1", 400, "tag is immutable", immutable},
		{http.MethodPut, "/v2/a/manifests/1", 403, "tag is immutable", immutable},
		{http.MethodPut, "/v2/a/manifests/1", 401, "no", credentials},
		{http.MethodGet, "/v2/a/manifests/1", 401, "no", credentials},
		{http.MethodGet, "/v2/a/manifests/1", 403, "no", unclear},
		{http.MethodHead, "/v2/a/manifests/1", 403, "no", unclear},
		{http.MethodPut, "/v2/a/manifests/1", 403, "no", mayWrite},
		{http.MethodGet, "/v2/a/tags/list", 403, "no", mayWrite},
		{"", "", 403, "no", mayWrite},
		{"", "", 400, "immutable", immutable},
		{http.MethodPut, "/v2/a/manifests/1", 404, "no", ""},
		{http.MethodGet, "/v2/a/manifests/1", 500, "no", ""},
	} {
		refused := &transport.Error{StatusCode: c.status, Errors: []transport.Diagnostic{{Code: "X", Message: c.message}}}
		if c.method != "" {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "https://registry.example"+c.path, nil)
			require.NoError(t, err)
			refused.Request = req
		}
		err := hint(fmt.Errorf("push: %w", refused))
		require.ErrorAs(t, err, new(*transport.Error))
		for _, says := range []string{immutable, credentials, mayWrite, unclear} {
			assert.Equal(t, says == c.says, strings.Contains(err.Error(), says), "%+v: %v", c, err)
		}
	}
	assert.Equal(t, errBroken, hint(errBroken))
	assert.NoError(t, hint(nil))
}

// A registry's own word for what isn't there.
func TestConfirmedAbsence(t *testing.T) {
	for code, absent := range map[transport.ErrorCode]bool{"MANIFEST_UNKNOWN": true, "NAME_UNKNOWN": true, "NOT_FOUND": true, "TAG_EXPIRED": true, "BLOB_UNKNOWN": false, "": false} {
		for _, status := range []int{404, 400, 410, 403} {
			err := fmt.Errorf("read: %w", &transport.Error{StatusCode: status, Errors: []transport.Diagnostic{{Code: "OTHER"}, {Code: code}}})
			assert.Equal(t, absent && status == 404, confirmedAbsent(err), "%s %d", code, status)
		}
	}
	assert.False(t, confirmedAbsent(&transport.Error{StatusCode: 404}))
	assert.False(t, confirmedAbsent(errBroken))
	assert.False(t, confirmedAbsent(nil))
}

// linked is a registry with a number of pages of tags.
type linked struct{ pages int }

func (l linked) RoundTrip(req *http.Request) (*http.Response, error) {
	page := 0
	_, _ = fmt.Sscanf(req.URL.Query().Get("page"), "%d", &page)
	res := &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: io.NopCloser(strings.NewReader(fmt.Sprintf(`{"tags":["%d"]}`, page)))}
	if page+1 < l.pages {
		res.Header.Set("Link", fmt.Sprintf("<?page=%d>", page+1))
	}
	return res, nil
}

// A list of tags may have so many pages, and no more.
func TestMostPagesOfTags(t *testing.T) {
	for pages, says := range map[int]string{1: "", 2: "", maxTagPages: "", maxTagPages + 1: "the list of tags has more than 2000 pages"} {
		r, err := NewRepository("registry.example/acme/server", RegistryOptions{Transport: linked{pages}})
		require.NoError(t, err)
		tags, err := r.Tags(t.Context())
		if says != "" {
			require.ErrorContains(t, err, says)
			continue
		}
		require.NoError(t, err)
		assert.Len(t, tags, pages)
		assert.IsIncreasing(t, append(tags, "~"))
	}
}

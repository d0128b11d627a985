package github

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	gh "github.com/google/go-github/v84/github"

	"dagger/gantry/ci/wire"
)

// ErrNotFound means a confirmed "404 Not Found".
var ErrNotFound = errors.New("not found")

// errConflict means that the remote state changed after the plan was made. A new
// plan continues.
var errConflict = errors.New("the release changed meanwhile")

// lostAnswer is an unusable answer: GitHub may or may not have done what was asked.
type lostAnswer struct {
	status int
	why    string
}

func (e *lostAnswer) Error() string {
	if e.status == 0 {
		return "lost the answer: " + e.why
	}
	return fmt.Sprintf("lost the answer (%d %s): %s", e.status, http.StatusText(e.status), e.why)
}

// transport adds the token to calls of the API, counts them, reads whole answers,
// and removes the token from everything that comes back.
type transport struct{ c *Client }

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	c, s := t.c, sessionOf(req.Context())
	req, err := c.authorized(req)
	if err != nil {
		return nil, err
	}
	if req.Method == http.MethodPost && strings.HasPrefix(req.URL.String(), c.o.APIURL) {
		// net/http must not repeat this itself, as it does for a refused stream:
		// first, the state must be read.
		req.GetBody = nil
	}
	s.counted(req)
	resp, err := c.o.Transport.RoundTrip(req)
	if err != nil {
		return nil, c.redactErr(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	_ = resp.Body.Close()
	s.answered(resp)
	if err != nil {
		return nil, &lostAnswer{resp.StatusCode, c.redact(err.Error())}
	}
	for _, vs := range resp.Header {
		for i := range vs {
			vs[i] = c.redact(vs[i])
		}
	}
	body = []byte(c.redact(string(body)))
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	if why := unusable(resp, body); why != "" {
		return nil, &lostAnswer{resp.StatusCode, why}
	}
	return resp, nil
}

// unusable returns why an answer is not one of the API's, "" if it may be.
func unusable(resp *http.Response, body []byte) string {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind == "application/json" && json.Valid(body) {
		return ""
	}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300 && code != http.StatusNoContent:
		return "the body is not JSON"
	case code == http.StatusNotFound:
		return "the body is not GitHub's" // but perhaps a proxy's
	}
	return ""
}

// authorized returns a copy of a request, with the token if it goes to the API.
// A redirect to storage must not get the token.
func (c *Client) authorized(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	if to := req.URL.String(); strings.HasPrefix(to, c.o.APIURL) || strings.HasPrefix(to, c.uploads) {
		token, err := c.token(req.Context())
		if err != nil {
			return nil, err
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	return req, nil
}

// session is one use of a client: a release, or a read. It counts.
type session struct {
	c        *Client
	started  time.Time
	deadline time.Time

	mu     sync.Mutex
	counts Counts
	skew   time.Duration // how far the server's clock is ahead
	scopes *string       // X-OAuth-Scopes; nil if it was not sent
	pages  map[string]int
}

type sessionKey struct{}

// begin starts a use of the client. Its calls carry the context.
func (c *Client) begin(ctx context.Context) (context.Context, *session) {
	now := c.o.Clock.Now()
	s := &session{c: c, started: now, deadline: now.Add(c.o.deadline), counts: Counts{Calls: map[string]int{}}, pages: map[string]int{}}
	return context.WithValue(ctx, sessionKey{}, s), s
}

// on starts a use of the client for one repository.
func (c *Client) on(ctx context.Context, owner, name string) (context.Context, *repo) {
	ctx, s := c.begin(ctx)
	return ctx, &repo{session: s, owner: owner, name: name}
}

// sessionOf returns the session that begin put into the context of a call.
func sessionOf(ctx context.Context) *session { return ctx.Value(sessionKey{}).(*session) }

func (s *session) counted(req *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.Method == http.MethodGet || strings.HasSuffix(req.URL.Path, "/generate-notes") {
		s.counts.Reads++ // GitHub keeps no generated notes
	} else {
		s.counts.Writes++
	}
	s.counts.Calls[req.Method]++
}

// answered reads the headers of an answer.
func (s *session) answered(resp *http.Response) {
	h := resp.Header
	now := s.c.o.Clock.Now()
	s.mu.Lock()
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		s.skew = t.Sub(now)
	}
	if v, ok := h["X-Oauth-Scopes"]; ok {
		all := strings.Join(v, ",")
		s.scopes = &all
	}
	s.mu.Unlock()
	if resp.StatusCode < 300 && h.Get("X-RateLimit-Remaining") == "0" {
		s.c.pace.hold(untilReset(h, now.Add(s.skew)), "the rate limit's reset")
	}
}

// wait sleeps, unless that would pass the deadline.
func (s *session) wait(ctx context.Context, why string, d time.Duration) error {
	if err := s.noteWait(ctx, why, d); err != nil {
		return err
	}
	return s.c.o.Clock.Sleep(ctx, d)
}

func (s *session) noteWait(ctx context.Context, why string, d time.Duration) error {
	if s.c.o.Clock.Now().Add(d).After(s.deadline) {
		return fmt.Errorf("wait %s for %s: that is past the deadline of this run; run it again later", d.Round(time.Second), why)
	}
	s.mu.Lock()
	s.counts.Waited += d
	s.mu.Unlock()
	if d >= time.Second {
		s.c.o.Observer.Waiting(ctx, why, d)
	}
	return nil
}

// op describes a call for [session.call].
type op struct {
	name string // such as "create the draft"
	kind kind
	// unbounded lifts the time limit of a call.
	unbounded bool
	// fresh: what is addressed was just created, so a 404 may only mean that it
	// isn't visible yet.
	fresh bool
	// there: what is changed was read before. A 404 may be stale, but one that lasts
	// means that the token may not change it.
	there bool
	// target: the call names a target commit.
	target bool
	// tries limits the tries. By default, Options.Tries does.
	tries int
	// settle runs before another try, and reports whether the last one took effect
	// after all.
	settle func(context.Context) (bool, error)
}

// call makes a call, and retries it while its failures are transient.
func (s *session) call(ctx context.Context, o op, try func(context.Context) error) error {
	for n := 1; ; n++ {
		err := s.once(ctx, o, try)
		if err == nil {
			return nil
		}
		wait, again := s.verdict(ctx, o, n, err)
		if !again {
			return s.explain(o, err)
		}
		if err := s.retry(ctx, o, n, err, wait); err != nil {
			return err
		}
		if o.settle != nil {
			if done, err := o.settle(ctx); done || err != nil {
				return err
			}
		}
	}
}

// retry counts a retry and waits for it, or gives up.
func (s *session) retry(ctx context.Context, o op, n int, err error, wait time.Duration) error {
	if n >= cmp.Or(o.tries, s.c.o.Tries) {
		return fmt.Errorf("%s: gave up after %d tries: %w", o.name, n, err)
	}
	s.mu.Lock()
	s.counts.Retries++
	s.mu.Unlock()
	if werr := s.wait(ctx, "another try to "+o.name, wait); werr != nil {
		return fmt.Errorf("%w (%s failed before: %w)", werr, o.name, err)
	}
	return nil
}

// once makes a call as soon as the pace allows.
func (s *session) once(ctx context.Context, o op, try func(context.Context) error) error {
	end, err := s.c.pace.acquire(ctx, o.kind, func(why string, d time.Duration) error { return s.noteWait(ctx, why, d) })
	if err != nil {
		return err
	}
	defer end()
	cctx, cancel := ctx, context.CancelFunc(func() {})
	if !o.unbounded {
		cctx, cancel = context.WithTimeout(ctx, s.c.o.callTimeout)
	}
	defer cancel()
	return try(cctx)
}

// verdict reports whether a failure is transient, and how long to wait then.
func (s *session) verdict(ctx context.Context, o op, n int, err error) (time.Duration, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	resp := responseOf(err)
	if resp == nil {
		var p *permanent
		// The network, a time-out, a lost answer.
		return s.backoff(n), !errors.As(err, &p) && !wire.IsUntrusted(err)
	}
	switch code := resp.StatusCode; {
	case code == http.StatusForbidden || code == http.StatusTooManyRequests:
		wait, limited := s.limit(resp, n)
		if limited {
			wait += time.Duration(s.c.o.rand() * float64(time.Second))
			s.c.pace.hold(wait, "GitHub's limit")
		}
		return wait, limited
	case wire.IsTransientStatus(code):
		return s.backoff(n), true
	case code == http.StatusNotFound && o.fresh:
		return s.backoff(n), !o.there || n < triesOfThere
	}
	return 0, false
}

// limit reports whether an answer refuses a call because of a rate limit, and how
// long to wait then.
func (s *session) limit(resp *http.Response, n int) (time.Duration, bool) {
	now := s.now()
	after, asked := wire.RetryAfter(resp.Header, now)
	switch {
	case asked:
		return after, true
	case resp.Header.Get("X-RateLimit-Remaining") == "0":
		return untilReset(resp.Header, now), true
	case resp.StatusCode == http.StatusTooManyRequests || isLimit(errorMessage(resp)):
		return time.Minute << min(n-1, 4), true
	}
	return 0, false
}

// triesOfThere is how often a call is tried that gets a 404 for something that
// exists.
const triesOfThere = 5

func isLimit(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "rate limit") || strings.Contains(m, "abuse")
}

// backoff returns the pause after the n-th try: about a second, doubling up to 30.
func (s *session) backoff(n int) time.Duration {
	return wire.Backoff(n, time.Second, 30*time.Second, s.c.o.rand())
}

// until calls try until it is done, with growing pauses; see [wire.Until].
func (s *session) until(ctx context.Context, tries int, why string, try func() (bool, error)) (bool, error) {
	return wire.Until(tries, try, func(n int) error { return s.wait(ctx, why, s.backoff(n)) })
}

// now returns the server's time, estimated from its answers.
func (s *session) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.o.Clock.Now().Add(s.skew)
}

func untilReset(h http.Header, now time.Time) time.Duration {
	at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil {
		return time.Minute
	}
	return max(time.Unix(at, 0).Sub(now), 0) + time.Second
}

// permanent is an error that no retry fixes.
type permanent struct{ err error }

func (e *permanent) Error() string { return e.err.Error() }
func (e *permanent) Unwrap() error { return e.err }

// responseOf returns the answer behind an error of the API, or nil.
func responseOf(err error) *http.Response {
	var (
		plain   *gh.ErrorResponse
		primary *gh.RateLimitError
		second  *gh.AbuseRateLimitError
		two     *gh.TwoFactorAuthError
		moved   *gh.RedirectionError
	)
	switch {
	case errors.As(err, &plain):
		return plain.Response
	case errors.As(err, &primary):
		return primary.Response
	case errors.As(err, &second):
		return second.Response
	case errors.As(err, &two):
		return two.Response
	case errors.As(err, &moved):
		return moved.Response
	}
	return nil
}

func statusOf(err error) int {
	if r := responseOf(err); r != nil {
		return r.StatusCode
	}
	return 0
}

// errorMessage reads the message in an error's body, and leaves the body readable.
func errorMessage(r *http.Response) string {
	body, _ := io.ReadAll(r.Body) // which is in memory
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct{ Message string }
	_ = json.Unmarshal(body, &m) // a page has no message
	return m.Message
}

// alreadyExists reports whether GitHub refused something because it exists.
func alreadyExists(err error) bool {
	var e *gh.ErrorResponse
	return errors.As(err, &e) && e.Response.StatusCode == http.StatusUnprocessableEntity &&
		slices.ContainsFunc(e.Errors, func(d gh.Error) bool { return d.Code == "already_exists" })
}

// onImmutable reports whether GitHub refused something because the release is
// immutable.
func onImmutable(err error) bool {
	r := responseOf(err)
	return r != nil && r.StatusCode == http.StatusUnprocessableEntity && strings.Contains(errorMessage(r), "immutable release")
}

// explain adds a fix to a failure that no retry fixes.
func (s *session) explain(o op, err error) error {
	var hints []string
	hint := func(format string, args ...any) { hints = append(hints, fmt.Sprintf(format, args...)) }
	if wire.IsUntrusted(err) {
		hint(wire.UntrustedHint)
	}
	resp := responseOf(err)
	switch statusOf(err) {
	case http.StatusUnauthorized:
		hint("the token is not accepted; check that it is the right one and has not expired")
	case http.StatusForbidden, http.StatusNotFound:
		if o.kind == read && resp.StatusCode == http.StatusNotFound {
			return fmt.Errorf("%s: %w", o.name, errors.Join(ErrNotFound, err))
		}
		if resp.StatusCode == http.StatusNotFound {
			hint("GitHub also answers so if the token may not write")
		}
		hint("the token needs write access to the contents of the repository (in a workflow: permissions: contents: write)")
		if accepted := resp.Header.Get("X-Accepted-GitHub-Permissions"); accepted != "" {
			hint("GitHub accepts the permissions %q", accepted)
		}
		if o.target {
			hint("for a commit that changes files in .github/workflows it needs the permission workflows too, unless the tag is on GitHub: push the tag first")
		}
	case http.StatusUnprocessableEntity:
		hint("%s", unprocessable(err))
	}
	if len(hints) > 0 {
		return fmt.Errorf("%s: %w: %s", o.name, err, strings.Join(hints, "; "))
	}
	return fmt.Errorf("%s: %w", o.name, err)
}

// unprocessable explains a 422.
func unprocessable(err error) string {
	text := err.Error()
	for _, x := range [][2]string{
		{"used by an immutable release", "GitHub never gives the tag of an immutable release away again, even if the release was deleted: release another version"},
		{"Repository rule violations", "a ruleset of the repository forbids it: push the tag as a user whom the ruleset allows, then release it, or let the token's owner bypass the ruleset"},
		{"must have a valid tag", "the tag could not be created: push it first, then release it"},
	} {
		if strings.Contains(text, x[0]) {
			return x[1]
		}
	}
	return "GitHub does not accept the values"
}

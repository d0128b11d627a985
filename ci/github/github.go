// Package github brings a release on GitHub into the desired state, whatever
// state it is in.
//
// A release is a plan and an apply. The plan reads what exists and lists what is
// missing; the apply does exactly that. A re-run, after a crash or next to another
// run, ends in the same state.
//
// The package keeps these invariants:
//   - A release stays a draft until every asset is there with the right size and
//     digest; only then is it published.
//   - Nothing that is already right is sent again: a second run writes nothing.
//   - Only a confirmed "404 Not Found" means absent. Every other failure means
//     unknown, and ends in a retry or in an error.
//   - Nothing is overwritten unless asked for. A published release that differs is
//     an error that lists the differences.
//   - A target commit is named only if the tag does not exist: GitHub refuses one
//     that changes workflow files to a token without that permission, even if the
//     tag exists.
//   - GitHub's "Latest" never moves to a prerelease or to a lower version.
//   - The token goes to the API only, and appears in no error, report or address.
//
// One step happens at least once rather than exactly once: a repository_dispatch
// event leaves no trace that a later run could read; see [Dispatch].
package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	gh "github.com/google/go-github/v84/github"

	"dagger/gantry/ci/wire"
)

// Options are the durable settings of a client. The zero value reads what is public
// on github.com.
type Options struct {
	// Token returns the token. It is called before every call to the API.
	Token func(context.Context) (string, error)

	// APIURL is the base of the API. By default, https://api.github.com/; for
	// GitHub Enterprise, https://HOST/api/v3/.
	APIURL string
	// Transport carries the requests. By default, a new transport that uses the
	// environment's proxy.
	Transport http.RoundTripper
	// RootCAs are certificates, in PEM, to trust in addition to the system's. They
	// cannot be combined with Transport.
	RootCAs []byte

	// Tries is how often a call is tried while its failures are transient. By
	// default, 8.
	Tries int
	// Clock tells the time and waits. By default, the system's.
	Clock wire.Clock
	// Observer follows a release. By default, nobody does.
	Observer Observer
	// UserAgent is sent with every call. By default, "gantry".
	UserAgent string

	// deadline bounds a release or a read: 3 hours are enough for 1000 assets at 500
	// an hour.
	deadline     time.Duration
	concurrency  int            // how many assets are sent at once
	pace         limits         // what GitHub allows
	callTimeout  time.Duration  // of one call that carries no asset
	stallTimeout time.Duration  // of an upload or a download without progress
	starterGrace time.Duration  // until an unfinished asset counts as abandoned
	rand         func() float64 // the jitter, in [0, 1)
}

// Client makes and reads releases. It is safe for concurrent use.
type Client struct {
	o   Options
	api *gh.Client
	// Both stream downloads. Only private sends the token.
	public, private *http.Client
	pace            *pacer
	// uploads is the base of uploads, web that of pages and downloads.
	uploads string
	web     *url.URL

	requests atomic.Int64

	mu     sync.Mutex
	tokens map[string]bool // seen so far, to keep them out of errors
}

// New checks the options and returns a client. It makes no call.
func New(o Options) (*Client, error) {
	api, err := parseBase(cmp.Or(o.APIURL, "https://api.github.com/"))
	if err != nil {
		return nil, fmt.Errorf("read the API's address: %w", err)
	}
	o.APIURL = api.String()
	if o.Transport, err = wire.TransportOr(o.Transport, o.RootCAs); err != nil {
		return nil, err
	}
	o.setDefaults()
	uploads, web := deriveBases(api)
	c := &Client{tokens: map[string]bool{}, pace: newPacer(o.pace, o.Clock), uploads: uploads.String(), web: web}
	inner := o.Transport
	o.Transport = roundTrip(func(req *http.Request) (*http.Response, error) {
		c.requests.Add(1)
		return inner.RoundTrip(req)
	})
	c.o = o
	c.public = &http.Client{Transport: o.Transport}
	c.private = &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		req, err := c.authorized(req)
		if err != nil {
			return nil, err
		}
		return o.Transport.RoundTrip(req)
	})}
	c.api = gh.NewClient(&http.Client{Transport: &transport{c}})
	c.api.BaseURL, c.api.UploadURL = api, uploads
	c.api.UserAgent = o.UserAgent
	c.api.DisableRateLimitCheck = true // the pacer does it, on the client's clock
	return c, nil
}

// setDefaults sets the options that the caller omitted.
func (o *Options) setDefaults() {
	o.Tries = cmp.Or(o.Tries, 8)
	o.deadline = cmp.Or(o.deadline, 3*time.Hour)
	o.UserAgent = cmp.Or(o.UserAgent, "gantry")
	o.concurrency = cmp.Or(o.concurrency, 4)
	o.callTimeout = cmp.Or(o.callTimeout, 30*time.Second)
	o.stallTimeout = cmp.Or(o.stallTimeout, time.Minute)
	o.starterGrace = cmp.Or(o.starterGrace, 30*time.Second)
	o.Clock = cmp.Or[wire.Clock](o.Clock, wire.SystemClock{})
	o.Observer = cmp.Or[Observer](o.Observer, NopObserver{})
	if o.rand == nil {
		o.rand = rand.Float64
	}
}

// String names the client. It shows no secret.
func (c *Client) String() string { return "client of " + c.o.APIURL }

// GoString is like String.
func (c *Client) GoString() string { return c.String() }

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not an address") // without its text, which may hold credentials
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https address", u.Redacted())
	}
	if u.User != nil {
		return nil, errors.New("an address must not contain credentials")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u, nil
}

// deriveBases derives the bases of uploads and of pages from that of the API.
func deriveBases(api *url.URL) (uploads, web *url.URL) {
	up, wb := *api, *api
	if host, ok := strings.CutPrefix(api.Host, "api."); ok {
		up.Host, wb.Host = "uploads."+host, host
		return &up, &wb
	}
	if root, ok := strings.CutSuffix(api.Path, "api/v3/"); ok {
		up.Path, wb.Path = root+"api/uploads/", root
	}
	return &up, &wb
}

// Host returns the host of GitHub's pages, such as github.com.
func (c *Client) Host() string { return c.web.Host }

// token returns the token and remembers it for redaction.
func (c *Client) token(ctx context.Context) (string, error) {
	if c.o.Token == nil {
		return "", nil
	}
	t, err := c.o.Token(ctx)
	if err != nil {
		return "", &permanent{fmt.Errorf("get the token: %w", err)}
	}
	t = strings.TrimSpace(t)
	if t != "" {
		c.mu.Lock()
		c.tokens[t] = true
		c.mu.Unlock()
	}
	return t, nil
}

// redact removes every token from a text.
func (c *Client) redact(s string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.tokens {
		s = strings.ReplaceAll(s, t, "***")
	}
	return s
}

// redactErr removes every token from an error. If there was one, the error's chain
// goes too.
func (c *Client) redactErr(err error) error {
	if err == nil {
		return nil
	}
	if s := err.Error(); c.redact(s) != s {
		return errors.New(c.redact(s))
	}
	return err
}

// Package github brings a release on GitHub into the state that it should
// have, whatever state it is in.
//
// A release is a plan and an apply. The plan reads what is there and says what
// is missing; the apply does that and nothing else. Run it again, after a
// crash or next to another run, and it ends in the same state.
//
// What the package keeps, always:
//   - A release is a draft until every asset is there and equal, by size and
//     digest, to what it should be; only then is it published.
//   - What is already right is not sent again: a second run writes nothing.
//   - Only a confirmed "404 Not Found" means that something is absent. Every
//     other failure means that nobody knows, and ends in another try or in an
//     error.
//   - Nothing that differs is overwritten without being asked; a published
//     release that differs is an error that lists the differences.
//   - A target commit is named only where the tag is absent: GitHub refuses one
//     that changes workflow files, tag or not, to a token that may not.
//   - GitHub's "Latest" never moves to a prerelease or to a lower version.
//   - The token is sent to the API and to nothing else, and is in no error,
//     report or address.
//
// One thing is done at least once rather than exactly once: a
// repository_dispatch event leaves no trace that a later run could read, so it
// is sent by every run that is asked to (see [Dispatch]).
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

// Options are the durable settings of a client. The zero value is a client of
// github.com without a token, which can read what is public.
type Options struct {
	// Token returns the token. It is asked before every call to the API.
	Token func(context.Context) (string, error)

	// APIURL is the base of the API. By default, https://api.github.com/; for
	// GitHub Enterprise, https://HOST/api/v3/.
	APIURL string
	// Transport carries the requests. By default, a transport of its own, with
	// the proxy of the environment.
	Transport http.RoundTripper
	// RootCAs are certificates, in PEM, that are trusted besides the system's.
	// They cannot be combined with Transport.
	RootCAs []byte

	// Tries is how often a call is made before a transient failure is given up
	// on. By default, 8.
	Tries int
	// Clock tells the time and waits. By default, the real one.
	Clock wire.Clock
	// Observer is told what happens. By default, nobody is.
	Observer Observer
	// UserAgent is sent with every call. By default, "gantry".
	UserAgent string

	// deadline bounds a whole release, or one read: 3 hours are enough for 1000
	// assets under the limit of 500 an hour.
	deadline     time.Duration
	concurrency  int            // how many assets are sent at once
	pace         limits         // what GitHub allows
	callTimeout  time.Duration  // of one call that carries no asset
	stallTimeout time.Duration  // of an upload or a download without progress
	starterGrace time.Duration  // until an unfinished asset is no other run's upload
	rand         func() float64 // the jitter, in [0, 1)
}

// Client makes releases and reads them. It may be used by several goroutines.
type Client struct {
	o   Options
	api *gh.Client
	// Both stream, for downloads; only private sends the token.
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
	o.Transport = &counting{o.Transport, &c.requests}
	c.o = o
	c.public = &http.Client{Transport: o.Transport}
	c.private = &http.Client{Transport: withToken{c}}
	c.api = gh.NewClient(&http.Client{Transport: &transport{c}})
	c.api.BaseURL, c.api.UploadURL = api, uploads
	c.api.UserAgent = o.UserAgent
	c.api.DisableRateLimitCheck = true // the pacer does it, on the client's clock
	return c, nil
}

// setDefaults sets the options that the caller left out.
func (o *Options) setDefaults() {
	setDefault(&o.Tries, 8)
	setDefault(&o.deadline, 3*time.Hour)
	setDefault(&o.UserAgent, "gantry")
	setDefault(&o.concurrency, 4)
	setDefault(&o.callTimeout, 30*time.Second)
	setDefault(&o.stallTimeout, time.Minute)
	setDefault(&o.starterGrace, 30*time.Second)
	if o.Clock == nil {
		o.Clock = wire.SystemClock{}
	}
	if o.rand == nil {
		o.rand = rand.Float64
	}
	if o.Observer == nil {
		o.Observer = NopObserver{}
	}
}

// String names the client without what it knows.
func (c *Client) String() string { return "client of " + c.o.APIURL }

// GoString does, too.
func (c *Client) GoString() string { return c.String() }

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func parseBase(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, errors.New("not an address") // without what it contained
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

// deriveBases guesses the other two addresses from that of the API.
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

// Host is the host of GitHub's pages, such as github.com.
func (c *Client) Host() string { return c.web.Host }

// token asks for the token and remembers it for redaction.
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

// redact takes every token out of a text.
func (c *Client) redact(s string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.tokens {
		s = strings.ReplaceAll(s, t, "***")
	}
	return s
}

// redactErr takes every token out of an error, and the error's chain with it
// if one was in it.
func (c *Client) redactErr(err error) error {
	if err == nil {
		return nil
	}
	if s := err.Error(); c.redact(s) != s {
		return errors.New(c.redact(s))
	}
	return err
}

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
	"context"
	"crypto/tls"
	"crypto/x509"
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
)

// Options are the durable settings of a client. The zero value is a client of
// github.com without a token, which can read what is public.
type Options struct {
	// Token returns the token. It is asked before every call to the API.
	Token func(context.Context) (string, error)

	// APIURL is the base of the API. By default, https://api.github.com/; for
	// GitHub Enterprise, https://HOST/api/v3/.
	APIURL string
	// UploadURL is the base of uploads. By default, it follows from APIURL.
	UploadURL string
	// WebURL is the base of pages and downloads. By default, it follows from
	// APIURL.
	WebURL string
	// Transport carries the requests. By default, a transport of its own, with
	// the proxy of the environment.
	Transport http.RoundTripper
	// RootCAs are certificates, in PEM, that are trusted besides the system's.
	// They cannot be combined with Transport.
	RootCAs []byte

	// Concurrency is how many assets are sent at once. By default, 4.
	Concurrency int
	// Pace keeps the client under GitHub's limits.
	Pace Pace
	// Tries is how often a call is made before a transient failure is given up
	// on. By default, 8.
	Tries int
	// Deadline bounds a whole release. By default, 3 hours: enough for 1000
	// assets under the limit of 500 an hour.
	Deadline time.Duration
	// CallTimeout bounds one call that carries no asset. By default, 30 seconds.
	CallTimeout time.Duration
	// StallTimeout bounds the time in which an upload or a download makes no
	// progress. By default, a minute.
	StallTimeout time.Duration
	// StarterGrace is how old an unfinished asset must be before it counts as
	// left behind rather than as another run's upload under way. By default,
	// 30 seconds.
	StarterGrace time.Duration

	// Clock tells the time and waits. By default, the real one.
	Clock Clock
	// Rand returns numbers in [0, 1) for the jitter. By default, random ones.
	Rand func() float64
	// Observer is told what happens. By default, nobody is.
	Observer Observer
	// UserAgent is sent with every call. By default, "gantry".
	UserAgent string
}

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	// Sleep returns early, with the context's error, when the context ends.
	Sleep(ctx context.Context, d time.Duration) error
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Client makes releases and reads them. It may be used by several goroutines.
type Client struct {
	o     Options
	api   *gh.Client
	plain *http.Client // no token, streams; for downloads
	pace  *pacer
	host  string

	requests atomic.Int64

	mu     sync.Mutex
	tokens map[string]bool // seen so far, to keep them out of errors
}

// New checks the options and returns a client. It makes no call.
func New(o Options) (*Client, error) {
	if o.APIURL == "" {
		o.APIURL = "https://api.github.com/"
	}
	api, err := parseBase(o.APIURL)
	if err != nil {
		return nil, fmt.Errorf("read the API's address: %w", err)
	}
	uploads, web := deriveBases(api)
	if o.UploadURL != "" {
		if uploads, err = parseBase(o.UploadURL); err != nil {
			return nil, fmt.Errorf("read the address for uploads: %w", err)
		}
	}
	if o.WebURL != "" {
		if web, err = parseBase(o.WebURL); err != nil {
			return nil, fmt.Errorf("read the address for downloads: %w", err)
		}
	}
	o.APIURL, o.UploadURL, o.WebURL = api.String(), uploads.String(), web.String()

	if o.Transport != nil && o.RootCAs != nil {
		return nil, errors.New("set either a transport or root certificates, not both")
	}
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		if o.RootCAs != nil {
			pool, err := x509.SystemCertPool()
			if err != nil {
				pool = x509.NewCertPool()
			}
			if !pool.AppendCertsFromPEM(o.RootCAs) {
				return nil, errors.New("read the root certificates: no certificate in PEM found")
			}
			t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
		}
		o.Transport = t
	}
	setDefault(&o.Concurrency, 4)
	setDefault(&o.Tries, 8)
	setDefault(&o.Deadline, 3*time.Hour)
	setDefault(&o.CallTimeout, 30*time.Second)
	setDefault(&o.StallTimeout, time.Minute)
	setDefault(&o.StarterGrace, 30*time.Second)
	setDefault(&o.UserAgent, "gantry")
	if o.Clock == nil {
		o.Clock = realClock{}
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	if o.Observer == nil {
		o.Observer = NopObserver{}
	}

	c := &Client{tokens: map[string]bool{}, pace: newPacer(o.Pace, o.Clock), host: web.Host}
	o.Transport = &counting{o.Transport, &c.requests}
	c.o = o
	c.plain = &http.Client{Transport: o.Transport}
	c.api = gh.NewClient(&http.Client{Transport: &transport{c}})
	c.api.BaseURL, c.api.UploadURL = api, uploads
	c.api.UserAgent = o.UserAgent
	c.api.DisableRateLimitCheck = true // the pacer does it, on the client's clock
	return c, nil
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
func (c *Client) Host() string {
	return c.host
}

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

package github

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"dagger/gantry/ci/wire"
)

// ErrDiffers says that a download is not what the asset should be: its size or
// its SHA-256 is another. What could not be downloaded is another error.
var ErrDiffers = errors.New("not what it should be")

// Download returns the content of an asset of a published release, verified:
// its last Read fails unless size and SHA-256 are those of the asset. An asset
// without a known SHA-256 is verified by size only; set it from a manifest.
//
// The public address is read first, without the token; only if that is
// refused, as for a private repository, the API is asked with it. A broken
// transfer is resumed where it broke.
func (c *Client) Download(ctx context.Context, owner, name string, a RemoteAsset) (io.ReadCloser, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	r := &repo{session: s, owner: owner, name: name}
	ctx, cancel := context.WithCancelCause(ctx)
	d := &download{repo: r, ctx: ctx, cancel: cancel, asset: a, sum: sha256.New(), public: a.URL != ""}
	if err := d.open(); err != nil {
		cancel(nil)
		return nil, c.redactErr(fmt.Errorf("download %q: %w", a.Name, err))
	}
	return d, nil
}

// digest downloads an asset to hash it, through the API, since drafts have no
// public address.
func (r *repo) digest(ctx context.Context, a *RemoteAsset) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	d := &download{repo: r, ctx: ctx, cancel: cancel, asset: *a, sum: sha256.New()}
	if err := d.open(); err != nil {
		return "", fmt.Errorf("download %q to compare it: %w", a.Name, err)
	}
	defer d.Close()
	if _, err := io.Copy(io.Discard, d); err != nil {
		return "", fmt.Errorf("download %q to compare it: %w", a.Name, err)
	}
	return hex.EncodeToString(d.sum.Sum(nil)), nil
}

// download reads an asset, across connections.
type download struct {
	*repo
	ctx    context.Context
	cancel context.CancelCauseFunc
	asset  RemoteAsset
	public bool // read the public address, without the token

	body  io.ReadCloser
	stall *time.Timer
	tries int
	n     int64
	sum   hash.Hash
	err   error
}

// open connects, and connects again as long as failures are transient.
func (d *download) open() error {
	for {
		err := d.connect()
		if err == nil {
			return nil
		}
		if d.public && isRefused(err) && d.c.o.Token != nil {
			d.public = false
			continue
		}
		if err := d.again(err); err != nil {
			return err
		}
	}
}

type statusError struct {
	code int
	resp *http.Response
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// errLogin says that a page came instead of the asset: the server may want a
// session, as GitHub Enterprise in private mode does.
var errLogin = errors.New("the server answered with a page of HTML instead of the asset")

func isRefused(err error) bool {
	var s *statusError
	return errors.Is(err, errLogin) || errors.As(err, &s) && (s.code == 401 || s.code == 403 || s.code == 404)
}

// again waits before another try, or returns why there is none.
func (d *download) again(err error) error {
	if d.ctx.Err() != nil {
		return err
	}
	if wire.IsUntrusted(err) {
		return fmt.Errorf("%w: %s", err, wire.UntrustedHint)
	}
	wait := d.backoff(d.tries + 1)
	var s *statusError
	if errors.As(err, &s) && s.code < 500 {
		after, aerr := strconv.Atoi(s.resp.Header.Get("Retry-After"))
		switch {
		case (s.code == 403 || s.code == 429) && aerr == nil:
			wait = time.Duration(after) * time.Second
		case s.code == 429:
			wait = time.Minute
		case s.code == 408:
		default:
			return err
		}
	}
	d.tries++
	err = d.retry(d.ctx, op{name: "download " + d.asset.Name}, d.tries, err, wait)
	if errors.Is(err, errLogin) && d.c.o.Token == nil {
		err = fmt.Errorf("%w: if it asks for a login, pass --token", err)
	}
	return err
}

// connect asks for the rest of the asset.
func (d *download) connect() error {
	ctx, cancel := context.WithCancelCause(d.ctx)
	at, client := d.asset.URL, d.c.plain
	if !d.public {
		at = fmt.Sprintf("%srepos/%s/%s/releases/assets/%d", d.c.o.APIURL, d.owner, d.name, d.asset.ID)
		client = &http.Client{Transport: &withToken{d.c}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		cancel(nil)
		return &permanent{errors.New("read the asset's address")}
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", d.c.o.UserAgent)
	if d.n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.n))
	}
	d.counted(req)
	stall := time.AfterFunc(d.c.o.StallTimeout, func() { cancel(errors.New("nothing came for too long")) })
	resp, err := client.Do(req)
	if err != nil {
		stall.Stop()
		cancel(nil)
		return errors.Unwrap(err) // without the address: that of storage is signed
	}
	fail := func(err error) error {
		_, _ = io.CopyN(io.Discard, resp.Body, 4096)
		_ = resp.Body.Close()
		stall.Stop() // not before: what is left of the body may never come
		cancel(nil)
		return err
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusOK && d.n > 0:
		// No range: skip what we have.
		if _, err := io.CopyN(io.Discard, resp.Body, d.n); err != nil {
			return fail(err)
		}
	case resp.StatusCode == http.StatusPartialContent && d.n > 0:
		if want := fmt.Sprintf("bytes %d-", d.n); !strings.HasPrefix(resp.Header.Get("Content-Range"), want) {
			return fail(&permanent{errors.New("the server sent another range than asked for")})
		}
	case resp.StatusCode != http.StatusOK:
		return fail(&statusError{resp.StatusCode, resp})
	}
	page := kind == "text/html" && !strings.HasSuffix(d.asset.Name, ".html") && !strings.HasSuffix(d.asset.Name, ".htm")
	if at := resp.Request.URL; page || kind == "text/html" && strings.HasSuffix(at.Path, "/login") {
		return fail(errLogin)
	}
	if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 && resp.ContentLength != d.asset.Size {
		return fail(fmt.Errorf("%w: the server offers %d bytes, not %d", ErrDiffers, resp.ContentLength, d.asset.Size))
	}
	d.body, d.stall = &cancelBody{resp.Body, func() { stall.Stop(); cancel(nil) }}, stall
	return nil
}

type cancelBody struct {
	io.ReadCloser
	stop func()
}

func (b *cancelBody) Close() error {
	err := b.ReadCloser.Close()
	b.stop()
	return err
}

// Read returns verified bytes in the end: the last one comes with io.EOF only
// if everything matched.
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.body.Read(p)
		if n > 0 {
			d.stall.Reset(d.c.o.StallTimeout)
			d.n += int64(n)
			d.sum.Write(p[:n])
			d.mu.Lock()
			d.fetched += int64(n)
			d.mu.Unlock()
		}
		switch {
		case d.n > d.asset.Size:
			d.err = fmt.Errorf("download %q: %w: more than %d bytes came", d.asset.Name, ErrDiffers, d.asset.Size)
			return 0, d.err
		case err == io.EOF && d.n == d.asset.Size:
			d.err = io.EOF
			if got := hex.EncodeToString(d.sum.Sum(nil)); d.asset.SHA256 != "" && got != d.asset.SHA256 {
				d.err = fmt.Errorf("download %q: %w: its SHA-256 is %s, not %s", d.asset.Name, ErrDiffers, got, d.asset.SHA256)
			}
			return n, d.err
		case err != nil:
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			_ = d.body.Close()
			if err := d.again(err); err != nil {
				d.err = d.c.redactErr(fmt.Errorf("download %q: %w", d.asset.Name, err))
			} else if err := d.open(); err != nil {
				d.err = d.c.redactErr(fmt.Errorf("download %q: %w", d.asset.Name, err))
			}
			if n > 0 {
				return n, nil
			}
		default:
			return n, nil
		}
	}
}

func (d *download) Close() error {
	d.cancel(nil)
	return d.body.Close()
}

// withToken adds the token to calls of the API only: a redirect to storage
// must not get it.
type withToken struct{ c *Client }

func (t *withToken) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.String(), t.c.o.APIURL) {
		token, err := t.c.token(req.Context())
		if err != nil {
			return nil, err
		}
		if token != "" {
			req = req.Clone(req.Context())
			req.Header.Set("Authorization", "Bearer "+token)
		}
	}
	return t.c.o.Transport.RoundTrip(req)
}

// Published reads the published release of a tag, with its assets. It returns
// ErrNotFound, wrapped, only if GitHub confirmed that there is none. It needs
// no token where the repository is public.
func (c *Client) Published(ctx context.Context, owner, name, tag string) (*Release, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	r := &repo{session: s, owner: owner, name: name}
	rel, err := r.byTag(ctx, tag, true)
	if err == nil && rel == nil {
		err = fmt.Errorf("read the release of %q: %w", tag, ErrNotFound)
		if hint := c.apiHint(); hint != "" {
			err = fmt.Errorf("%w: %s", err, hint)
		}
	}
	if err == nil {
		rel.Assets, err = r.assets(ctx, rel.ID)
	}
	if err != nil {
		return nil, c.redactErr(err)
	}
	return rel, nil
}

// TagCommit reads which commit a tag is at. It returns ErrNotFound, wrapped, only
// if GitHub confirmed that there is no such tag.
func (c *Client) TagCommit(ctx context.Context, owner, name, tag string) (string, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	commit, err := (&repo{session: s, owner: owner, name: name}).tagCommit(ctx, tag)
	if err == nil && commit == "" {
		err = fmt.Errorf("read the tag %q: %w", tag, ErrNotFound)
	}
	return commit, c.redactErr(err)
}

// Latest reads which release is GitHub's latest, without its assets. It
// returns ErrNotFound, wrapped, if none is.
func (c *Client) Latest(ctx context.Context, owner, name string) (*Release, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	rel, err := (&repo{session: s, owner: owner, name: name}).latest(ctx, true)
	if err == nil && rel == nil {
		err = fmt.Errorf("read the latest release: %w", ErrNotFound)
	}
	return rel, c.redactErr(err)
}

// LatestReleases lists the n releases published last, newest first, without
// their assets. match picks by tag; by default, all. It needs no token where
// the repository is public.
func (c *Client) LatestReleases(ctx context.Context, owner, name string, n int, match func(tag string) bool) ([]*Release, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	all, err := (&repo{session: s, owner: owner, name: name}).allReleases(ctx)
	if err != nil {
		return nil, c.redactErr(err)
	}
	var out []*Release
	for _, r := range all {
		if !r.Draft && (match == nil || match(r.Tag)) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b *Release) int { return b.PublishedAt.Compare(a.PublishedAt) })
	return out[:min(n, len(out))], nil
}

package github

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"dagger/gantry/ci/wire"
)

// ErrDiffers means that a download has the wrong size or SHA-256. A download that
// fails has another error.
var ErrDiffers = errors.New("not what it should be")

// Download returns the content of an asset of a published release, verified: its
// last Read fails unless size and SHA-256 match. An asset without a known SHA-256 is
// verified by size only; set it from a manifest.
//
// It first reads the public address, without the token. Only if that is refused, as
// for a private repository, it asks the API with the token. It resumes a broken
// transfer.
func (c *Client) Download(ctx context.Context, owner, name string, a RemoteAsset) (io.ReadCloser, error) {
	ctx, r := c.on(ctx, owner, name)
	d, err := r.download(ctx, a, a.URL != "")
	if err != nil {
		return nil, c.redactErr(fmt.Errorf("download %q: %w", a.Name, err))
	}
	return d, nil
}

// download opens an asset.
func (r *repo) download(ctx context.Context, a RemoteAsset, public bool) (*download, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	d := &download{repo: r, ctx: ctx, cancel: cancel, asset: a, sum: sha256.New(), public: public}
	if err := d.open(); err != nil {
		cancel(nil)
		return nil, err
	}
	return d, nil
}

// digest downloads an asset to hash it.
func (r *repo) digest(ctx context.Context, a *RemoteAsset) (string, error) {
	sum := sha256.New()
	if err := r.read(ctx, a, sum); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// content downloads a small asset to compare it.
func (r *repo) content(ctx context.Context, a *RemoteAsset) ([]byte, error) {
	var b bytes.Buffer
	err := r.read(ctx, a, &b)
	return b.Bytes(), err
}

// isGone reports whether a download failed because there is no such asset.
func isGone(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.code == http.StatusNotFound
}

// read downloads an asset. It uses the API, as drafts have no public address.
// A list had the asset, so a 404 is asked about again.
func (r *repo) read(ctx context.Context, a *RemoteAsset, to io.Writer) error {
	var d *download
	var missing error
	_, err := r.until(ctx, 2, "asking again about a 404", func() (found bool, err error) {
		d, err = r.download(ctx, *a, false)
		if isGone(err) {
			missing, err = err, nil
		}
		return d != nil, err
	})
	if err == nil && d == nil {
		err = missing
	}
	if err == nil {
		defer d.Close()
		_, err = io.Copy(to, d)
	}
	if err != nil {
		return fmt.Errorf("download %q to compare it: %w", a.Name, err)
	}
	return nil
}

// download reads an asset, across connections.
type download struct {
	*repo
	ctx    context.Context
	cancel context.CancelCauseFunc
	asset  RemoteAsset
	public bool // read the public address, without the token

	body  io.ReadCloser
	tries int
	n     int64
	sum   hash.Hash
	err   error
}

// open connects, and retries while failures are transient.
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
	// wait is how long a rate limit asks to wait, or zero.
	wait time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.code, http.StatusText(e.code))
}

// errLogin means that a page came instead of the asset: the server may require a
// login, as GitHub Enterprise does in private mode.
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
		switch {
		case s.wait > 0:
			wait = s.wait
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
	ctx, stall := wire.NewStall(d.ctx, d.c.o.stallTimeout)
	resp, err := d.request(ctx)
	if err != nil {
		err = stall.Explain(err)
		stall.End()
		return err
	}
	body := stall.Body(resp.Body)
	if err := d.check(resp); err != nil {
		_, _ = io.CopyN(io.Discard, body, 4096) // so that the connection can be reused
		_ = body.Close()
		return err
	}
	if resp.StatusCode == http.StatusOK && d.n > 0 { // the whole asset
		if _, err := io.CopyN(io.Discard, body, d.n); err != nil {
			_ = body.Close()
			return err
		}
	}
	d.body = body
	return nil
}

// request sends the request for the rest of the asset.
func (d *download) request(ctx context.Context) (*http.Response, error) {
	address, client := d.asset.URL, d.c.public
	if !d.public {
		address = fmt.Sprintf("%srepos/%s/%s/releases/assets/%d", d.c.o.APIURL, d.owner, d.name, d.asset.ID)
		client = d.c.private
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, &permanent{errors.New("read the asset's address")}
	}
	req.Header.Set("Accept", "application/octet-stream")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", d.c.o.UserAgent)
	if d.n > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.n))
	}
	d.counted(req)
	resp, err := client.Do(req)
	if err != nil {
		return nil, errors.Unwrap(err) // without the address: storage signs its addresses
	}
	return resp, nil
}

// check returns why an answer is not the asset or the rest of it.
func (d *download) check(resp *http.Response) error {
	switch partial := resp.StatusCode == http.StatusPartialContent && d.n > 0; {
	case partial && !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.n)):
		return &permanent{errors.New("the server sent a different range from the requested one")}
	case !partial && resp.StatusCode != http.StatusOK:
		return d.refused(resp)
	}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "text/html" {
		asset := strings.HasSuffix(d.asset.Name, ".html") || strings.HasSuffix(d.asset.Name, ".htm")
		if !asset || strings.HasSuffix(resp.Request.URL.Path, "/login") {
			return errLogin
		}
	}
	if resp.StatusCode == http.StatusOK && resp.ContentLength >= 0 && resp.ContentLength != d.asset.Size {
		return fmt.Errorf("%w: the server offers %d bytes, not %d", ErrDiffers, resp.ContentLength, d.asset.Size)
	}
	return nil
}

// refused returns the error of an answer without the asset.
func (d *download) refused(resp *http.Response) error {
	s := &statusError{code: resp.StatusCode}
	if s.code == http.StatusForbidden || s.code == http.StatusTooManyRequests {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return err
		}
		resp.Body = io.NopCloser(bytes.NewReader(text))
		if wait, limited := d.limit(resp, d.tries+1); limited {
			s.wait = max(wait, time.Second)
		}
	}
	return s
}

// Read reads the content. The end, io.EOF, comes only if everything matched.
func (d *download) Read(p []byte) (int, error) {
	for {
		if d.err != nil {
			return 0, d.err
		}
		n, err := d.body.Read(p)
		if n > 0 {
			d.n += int64(n)
			d.sum.Write(p[:n])
			d.mu.Lock()
			d.counts.BytesRead += int64(n)
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

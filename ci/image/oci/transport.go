package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/gantry/ci/wire"
)

// Stats count what was exchanged with a registry.
type Stats struct {
	// Requests, those made again too.
	Requests int64 `json:"requests"`
	// Retries among them, as far as they were made by the transport.
	Retries int64 `json:"retries"`
	// BytesPushed are the bytes of blobs and manifests that were sent.
	BytesPushed int64 `json:"bytesPushed"`
}

func (s Stats) minus(o Stats) Stats {
	return Stats{Requests: s.Requests - o.Requests, Retries: s.Retries - o.Retries, BytesPushed: s.BytesPushed - o.BytesPushed}
}

func (s Stats) plus(o Stats) Stats { return s.minus(Stats{}.minus(o)) }

type stats struct{ requests, retries, pushed atomic.Int64 }

func (s *stats) read() Stats {
	return Stats{Requests: s.requests.Load(), Retries: s.retries.Load(), BytesPushed: s.pushed.Load()}
}

// errStalled says that a request made no progress for too long.
var errStalled = errors.New("the registry made no progress")

// brokenError marks an error of a connection, in the middle of a request or of an
// answer. There are many kinds, of which those of HTTP/2 (a stream that was reset,
// GOAWAY) have no exported type, so that they are told by where they come from.
type brokenError struct{ error }

// Unwrap is the connection's own error.
func (e *brokenError) Unwrap() error { return e.error }

// broken marks an error of a connection, unless the caller ended it.
func broken(ctx context.Context, err error) error {
	if err == nil || err == io.EOF || ctx.Err() != nil {
		return err
	}
	return &brokenError{err}
}

// mostWait is the longest that a registry may ask to wait for.
const mostWait = 2 * time.Minute

// retrying is a transport that bounds the time without progress, and makes
// requests again that only read. What writes is made again by the pusher, as a
// whole, or by what writes tags, which has to look first.
type retrying struct {
	inner http.RoundTripper
	o     RegistryOptions
	stats *stats
}

// RoundTrip carries out a request.
func (t *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead || isToken(req)
	for try := 1; ; try++ {
		res, err := t.once(req)
		if err == nil && reads {
			err = whole(res)
		}
		if try >= t.o.Tries || ctx.Err() != nil {
			if err != nil {
				return nil, err
			}
			return res, nil
		}
		wait := t.o.backoff(try)
		switch {
		case err != nil:
			if !reads || !transient(err) || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
				return nil, err
			}
		case transientStatus(res.StatusCode):
			asked := retryAfter(res)
			if asked > mostWait {
				return res, nil
			}
			if !reads {
				// Whoever writes makes the whole upload again, or looks first; only the
				// pause is what it doesn't know of.
				if asked > 0 {
					if err := t.o.Sleep(ctx, asked); err != nil {
						_ = res.Body.Close()
						return nil, err
					}
				}
				return res, nil
			}
			wait = max(wait, asked)
			// The connection can be used again once the body is read.
			_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
			_ = res.Body.Close()
		default:
			return res, nil
		}
		if err := t.o.Sleep(ctx, wait); err != nil {
			return nil, err
		}
		t.stats.retries.Add(1)
		if req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(ctx)
			req.Body = body
		}
	}
}

// isToken says whether a request is one for a token: a registry's own are below
// /v2/.
func isToken(req *http.Request) bool {
	return req.Method == http.MethodPost && !strings.HasPrefix(req.URL.Path, "/v2/")
}

// smallAnswer is how much of an answer is read before it is handed on. It is the
// size up to which the distribution specification asks registries to take
// manifests.
const smallAnswer = 4 << 20

// whole reads a small answer, so that one that is cut off in its middle counts
// as not given. The rest of a larger one, a blob, is left to whoever reads it.
func whole(res *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(res.Body, smallAnswer))
	if err != nil {
		_ = res.Body.Close()
		return err
	}
	rest := res.Body
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), rest), rest}
	return nil
}

// once makes a request that ends when nothing moves for too long.
func (t *retrying) once(req *http.Request) (*http.Response, error) {
	t.stats.requests.Add(1)
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(t.o.Timeout, func() {
		cancel(fmt.Errorf("%w in %s: try again later", errStalled, t.o.Timeout))
	})
	moved := func() { timer.Reset(t.o.Timeout) }
	caller := req.Context()
	explain := func(err error) error {
		if cause := context.Cause(ctx); cause != nil && errors.Is(cause, errStalled) && err != nil && err != io.EOF {
			return cause
		}
		return broken(caller, err)
	}
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{ReadCloser: req.Body, moved: func(n int) {
			moved()
			if !isToken(req) {
				t.stats.pushed.Add(int64(n))
			}
		}}
	}
	res, err := t.inner.RoundTrip(req)
	if err != nil {
		timer.Stop()
		err = explain(err)
		cancel(nil)
		if wire.IsUntrusted(err) {
			err = fmt.Errorf("%w: %s", err, wire.UntrustedHint)
		}
		return nil, err
	}
	moved()
	res.Body = &watched{ReadCloser: res.Body, moved: func(int) { moved() }, explain: explain, closed: func() {
		timer.Stop()
		cancel(nil)
	}}
	return res, nil
}

// watched is a body whose progress is noticed.
type watched struct {
	io.ReadCloser
	moved   func(int)
	explain func(error) error
	closed  func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.moved(n)
	}
	if w.explain != nil {
		err = w.explain(err)
	}
	return n, err
}

// Close closes the body.
func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	if w.closed != nil {
		w.closed()
	}
	return err
}

func retryAfter(res *http.Response) time.Duration {
	value := res.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return time.Until(at)
	}
	return 0
}

func (o RegistryOptions) backoff(try int) time.Duration {
	d := o.Wait << min(try-1, 6)
	return d + time.Duration(rand.Float64()*0.2*float64(d))
}

// transientStatus says whether a status may be another one the next time.
func transientStatus(code int) bool {
	switch code {
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return false
	case http.StatusRequestTimeout, http.StatusTooManyRequests, 499: // nginx: client closed request
		return true
	}
	return code >= 500
}

// transient says whether an error may go away by itself: of the network, of an
// overloaded or restarting registry, of an upload that was lost. What a
// registry refuses, it refuses again.
func transient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) && !errors.Is(err, errStalled) {
		return false
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		if e == context.DeadlineExceeded { // of the caller; a dialer's own is another
			return false
		}
	}
	var refused *transport.Error
	if errors.As(err, &refused) {
		for _, d := range refused.Errors {
			if d.Code == transport.BlobUploadInvalidErrorCode || d.Code == transport.BlobUploadUnknownErrorCode {
				return true
			}
		}
		return transientStatus(refused.StatusCode)
	}
	// A server that is not trusted now is not trusted the next time; nor does one
	// without TLS learn it.
	if wire.IsUntrusted(err) || errors.Is(err, http.ErrSchemeMismatch) {
		return false
	}
	if errors.As(err, new(*brokenError)) {
		return true
	}
	var network net.Error
	return errors.Is(err, errStalled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, net.ErrClosed) ||
		errors.As(err, &network) && network.Timeout() || isOpError(err)
}

func isOpError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

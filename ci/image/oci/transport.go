package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"dagger/gantry/ci/wire"
)

// Stats counts what was exchanged with a registry.
type Stats struct {
	// Requests includes retries.
	Requests int64 `json:"requests"`
	// Retries counts those of the transport.
	Retries int64 `json:"retries"`
	// BytesPushed counts the bytes of blobs and manifests that were sent.
	BytesPushed int64 `json:"bytesPushed"`
}

func (s Stats) minus(o Stats) Stats {
	return Stats{Requests: s.Requests - o.Requests, Retries: s.Retries - o.Retries, BytesPushed: s.BytesPushed - o.BytesPushed}
}

type stats struct{ requests, retries, pushed atomic.Int64 }

func (s *stats) read() Stats {
	return Stats{Requests: s.requests.Load(), Retries: s.retries.Load(), BytesPushed: s.pushed.Load()}
}

// longestWait is the longest pause that a registry may ask for.
const longestWait = 2 * time.Minute

// retrying is a transport that ends requests without progress and retries those
// that only read. The pusher repeats writes, as a whole; what writes tags looks
// before it tries again.
type retrying struct {
	inner http.RoundTripper
	o     RegistryOptions
	stats *stats
}

func (t *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for try := 1; ; try++ {
		res, err := t.once(req)
		asked, again := verdict(res, err)
		if try >= t.o.Tries || ctx.Err() != nil || !again {
			return res, err
		}
		if !repeatable(req) {
			// Its caller tries again, but doesn't know of the pause.
			if asked > 0 {
				if err := t.o.Sleep(ctx, asked); err != nil {
					_ = res.Body.Close()
					return nil, err
				}
			}
			return res, err
		}
		if res != nil {
			_ = res.Body.Close()
		}
		if err := t.o.Sleep(ctx, max(asked, t.o.backoff(try))); err != nil {
			return nil, err
		}
		t.stats.retries.Add(1)
		if req.GetBody != nil {
			req = req.Clone(ctx)
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// verdict reports whether another try may succeed, and how long the registry asks
// to wait before it.
func verdict(res *http.Response, err error) (asked time.Duration, again bool) {
	if err != nil {
		return 0, transient(err)
	}
	if !transientStatus(res.StatusCode) {
		return 0, false
	}
	asked, _ = wire.RetryAfter(res.Header, time.Now())
	return asked, asked <= longestWait
}

// repeatable reports whether a request only reads and can be sent again.
func repeatable(req *http.Request) bool {
	return req.Method == http.MethodGet || req.Method == http.MethodHead || isToken(req) && req.GetBody != nil
}

// isToken reports whether a request asks for a token: a registry's other requests
// go to paths below /v2/.
func isToken(req *http.Request) bool {
	return req.Method == http.MethodPost && !strings.HasPrefix(req.URL.Path, "/v2/")
}

// smallAnswer is how much of an answer is read before it is passed on. The
// distribution specification asks registries to accept manifests up to this size.
const smallAnswer = 4 << 20

// whole reads a small answer, so that one that breaks off counts as failed. The
// rest of a larger one, a blob, is left to its reader.
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

// once makes a request, which ends when nothing moves for too long.
func (t *retrying) once(req *http.Request) (*http.Response, error) {
	t.stats.requests.Add(1)
	ctx, stall := wire.NewStall(req.Context(), t.o.Timeout)
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = wire.Counted(req.Body, func(n int) {
			stall.Moved()
			if !isToken(req) {
				t.stats.pushed.Add(int64(n))
			}
		})
	}
	res, err := t.inner.RoundTrip(req)
	if err != nil {
		err = stall.Explain(err)
		stall.End()
		if wire.IsUntrusted(err) {
			err = fmt.Errorf("%w: %s", err, wire.UntrustedHint)
		}
		return nil, err
	}
	stall.Moved()
	res.Body = stall.Body(res.Body)
	if err := redact(req, res); err != nil {
		return nil, err
	}
	if repeatable(req) {
		if err := whole(res); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// pause waits after a try that failed.
func (o RegistryOptions) pause(ctx context.Context, try int) error {
	return o.Sleep(ctx, o.backoff(try))
}

func (o RegistryOptions) backoff(try int) time.Duration {
	return wire.Backoff(try, o.Wait, o.Wait<<6, rand.Float64())
}

// transientStatus reports whether a status may be another one the next time.
func transientStatus(code int) bool {
	return wire.IsTransientStatus(code) || code == 499 // nginx: client closed request
}

// transient reports whether an error may go away by itself: one of a connection,
// of an overloaded or restarting registry, or of an upload that the registry
// lost. What a registry refuses once, it refuses again.
func transient(err error) bool {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return wire.IsBroken(err) && !wire.IsUntrusted(err)
	}
	return transientStatus(refused.StatusCode) || slices.ContainsFunc(refused.Errors, func(d transport.Diagnostic) bool {
		return d.Code == transport.BlobUploadInvalidErrorCode || d.Code == transport.BlobUploadUnknownErrorCode
	})
}

package wire

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	// Sleep returns early, with the context's cause, when the context ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the real clock.
type SystemClock struct{}

// Now returns the time.
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep waits.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error { return Sleep(ctx, d) }

// Sleep waits. It returns early, with the context's cause, when the context ends.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Until calls try until it is done, fails, or was called the given number of
// times. Between two calls it waits; wait gets the number of calls so far.
func Until(tries int, try func() (done bool, err error), wait func(n int) error) (done bool, err error) {
	for n := 1; ; n++ {
		if done, err = try(); done || err != nil || n >= tries {
			return done, err
		}
		if err = wait(n); err != nil {
			return false, err
		}
	}
}

// Backoff returns the pause after the n-th try, counted from 1. It doubles with
// each try, from first to most. The jitter, a random number in [0, 1), spreads it
// from half to one and a half of that.
func Backoff(n int, first, most time.Duration, jitter float64) time.Duration {
	d := min(first<<min(n-1, 10), most)
	return d/2 + time.Duration(jitter*float64(d))
}

// RetryAfter returns how long an answer asks to wait, given the server's time. It
// returns false if the answer doesn't say.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil {
		return max(time.Duration(seconds)*time.Second, 0), true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// IsTransientStatus reports whether the same request may get another status
// later.
func IsTransientStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	case http.StatusNotImplemented, http.StatusHTTPVersionNotSupported, http.StatusInsufficientStorage:
		return false
	}
	return code >= 500
}

// brokenError marks an error of a connection, in the middle of a request or of an
// answer. There are many kinds. Those of HTTP/2 (a stream reset, GOAWAY) have no
// exported type, so only the place where they occur identifies them.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// Broken marks an error of a connection as transient, unless the caller ended the
// connection through the context.
func Broken(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	return &brokenError{err}
}

// IsBroken reports whether a connection failed, so that a new one may not: the
// error is one that [Broken] marked, or the data ends early.
func IsBroken(err error) bool {
	return errors.As(err, new(*brokenError)) || errors.Is(err, io.ErrUnexpectedEOF)
}

package wire

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server is trusted with its certificate only, and an untrusted one is told from
// one that doesn't answer.
func TestTrust(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	defer secure.Close()
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	overTLS := func(s *httptest.Server) string { return "https" + strings.TrimPrefix(s.URL, "http") }

	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	other := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)
	for _, x := range []struct {
		url              string
		roots            []byte
		fails, untrusted bool
	}{
		{secure.URL, certificate, false, false},
		{secure.URL, nil, true, true},
		{other, certificate, true, true}, // it is for another name
		{overTLS(plain), certificate, true, true},
		{overTLS(gone), certificate, true, false},
		{plain.URL, certificate, false, false},
	} {
		transport, err := TransportOr(nil, x.roots)
		require.NoError(t, err)
		res, err := (&http.Client{Transport: transport}).Get(x.url)
		require.Equal(t, x.fails, err != nil, "%s: %v", x.url, err)
		assert.Equal(t, x.untrusted, IsUntrusted(err), "%s: %v", x.url, err)
		if err == nil {
			_ = res.Body.Close()
		}
		transport.(*http.Transport).CloseIdleConnections()
	}
	assert.True(t, IsUntrusted(fmt.Errorf("read: %w", tls.RecordHeaderError{})))

	_, err := NewTransport([]byte("none"))
	require.EqualError(t, err, "read the root certificates: no certificate in PEM found")
	_, err = TransportOr(http.DefaultTransport, certificate)
	require.EqualError(t, err, "set either a transport or root certificates, not both")
	given, err := TransportOr(http.DefaultTransport, nil)
	require.NoError(t, err)
	assert.Same(t, http.DefaultTransport, given)
	mine, err := NewTransport(certificate)
	require.NoError(t, err)
	assert.EqualValues(t, tls.VersionTLS12, mine.TLSClientConfig.MinVersion)
	assert.NotNil(t, mine.Proxy)
	assert.True(t, mine.ForceAttemptHTTP2)
	assert.Equal(t, 16, mine.MaxIdleConnsPerHost)
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock Clock = SystemClock{}
		start := clock.Now()
		require.NoError(t, clock.Sleep(t.Context(), time.Hour))
		assert.Equal(t, time.Hour, clock.Now().Sub(start))
		stopped := errors.New("stopped")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(stopped) })
		require.ErrorIs(t, clock.Sleep(ctx, time.Hour), stopped)
		assert.Equal(t, time.Hour+time.Minute, clock.Now().Sub(start))
	})
}

func TestUntil(t *testing.T) {
	failed, stopped := errors.New("failed"), errors.New("stopped")
	never := 100
	for _, x := range []struct {
		tries, doneAt, failAt, stopAt int
		done                          bool
		err                           error
		tried                         int
		waits                         []int
	}{
		{3, 1, never, never, true, nil, 1, nil},
		{3, 3, never, never, true, nil, 3, []int{1, 2}},
		{3, 4, never, never, false, nil, 3, []int{1, 2}},
		{1, 2, never, never, false, nil, 1, nil},
		{0, 2, never, never, false, nil, 1, nil},
		{3, never, 2, never, false, failed, 2, []int{1}},
		{3, never, never, 2, false, stopped, 2, []int{1, 2}},
	} {
		tried := 0
		var waits []int
		done, err := Until(x.tries, func() (bool, error) {
			tried++
			if tried == x.failAt {
				return false, failed
			}
			return tried >= x.doneAt, nil
		}, func(n int) error {
			waits = append(waits, n)
			if n == x.stopAt {
				return stopped
			}
			return nil
		})
		assert.Equal(t, x.done, done, "%+v", x)
		assert.Equal(t, x.err, err, "%+v", x)
		assert.Equal(t, x.tried, tried, "%+v", x)
		assert.Equal(t, x.waits, waits, "%+v", x)
	}
}

func TestBackoff(t *testing.T) {
	for _, x := range []struct {
		n           int
		first, most time.Duration
		jitter      float64
		want        time.Duration
	}{
		{1, time.Second, 30 * time.Second, 0, 500 * time.Millisecond},
		{1, time.Second, 30 * time.Second, 0.5, time.Second},
		{2, time.Second, 30 * time.Second, 0.5, 2 * time.Second},
		{5, time.Second, 30 * time.Second, 0.5, 16 * time.Second},
		{6, time.Second, 30 * time.Second, 0.5, 30 * time.Second},
		{1000, time.Second, 30 * time.Second, 0.75, 37500 * time.Millisecond},
		{1000, time.Second, time.Hour * 10000, 0.5, 1024 * time.Second},
		{3, time.Millisecond, 64 * time.Millisecond, 0.25, 3 * time.Millisecond},
	} {
		assert.Equal(t, x.want, Backoff(x.n, x.first, x.most, x.jitter), "%+v", x)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "3600": time.Hour, "-7": 0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute, "Fri, 02 Jan 2026 03:04:05 GMT": 0, "Thu, 01 Jan 2026 03:04:05 GMT": 0,
		"": -1, "soon": -1, "1.5": -1, "7 s": -1,
	} {
		got, ok := RetryAfter(http.Header{"Retry-After": {value}}, now)
		assert.Equal(t, want >= 0, ok, value)
		assert.Equal(t, max(want, 0), got, value)
	}
	_, ok := RetryAfter(http.Header{}, now)
	assert.False(t, ok)
}

func TestTransientStatus(t *testing.T) {
	for _, code := range []int{408, 429, 500, 502, 503, 504, 506, 508, 520, 599} {
		assert.True(t, IsTransientStatus(code), code)
	}
	for _, code := range []int{0, 200, 201, 204, 206, 301, 400, 401, 403, 404, 409, 412, 422, 499, 501, 505, 507} {
		assert.False(t, IsTransientStatus(code), code)
	}
}

func TestBroken(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: errors.New("reset")}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Broken(t.Context(), nil))
	err := fmt.Errorf("get: %w", Broken(t.Context(), reset))
	assert.EqualError(t, err, "get: read: reset")
	assert.ErrorIs(t, err, reset)
	for _, x := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {err, true}, {reset, false}, {Broken(ended, reset), false},
		{io.ErrUnexpectedEOF, true}, {io.EOF, false}, {Broken(t.Context(), io.EOF), true}, {context.Canceled, false},
	} {
		assert.Equal(t, x.want, IsBroken(x.err), "%v", x.err)
	}
}

// A transfer goes on as long as something moves, and ends when nothing does.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stall := NewStall(t.Context(), time.Minute)
		server, client := net.Pipe()
		context.AfterFunc(ctx, func() { _ = client.Close() })
		body := stall.Body(client)
		go func() {
			for range 5 {
				time.Sleep(59 * time.Second)
				_, _ = server.Write([]byte("x"))
			}
		}()
		start := time.Now()
		text, err := io.ReadAll(body)
		assert.Equal(t, "xxxxx", string(text))
		require.ErrorIs(t, err, ErrStalled)
		require.EqualError(t, err, "no progress in 1m0s: try again later")
		assert.True(t, IsBroken(err))
		assert.Equal(t, 5*59*time.Second+time.Minute, time.Since(start))
		require.NoError(t, body.Close())
	})
}

// Each read of a counted body is reported, unless it gives nothing.
func TestCounted(t *testing.T) {
	var moved []int
	body := Counted(io.NopCloser(iotest.OneByteReader(strings.NewReader("all"))), func(n int) { moved = append(moved, n) })
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	assert.Equal(t, "all", string(text))
	assert.Equal(t, []int{1, 1, 1}, moved)
	require.NoError(t, body.Close())

	reset := errors.New("reset")
	_, err = Counted(io.NopCloser(iotest.ErrReader(reset)), func(int) { t.Error("nothing came") }).Read(make([]byte, 1))
	require.ErrorIs(t, err, reset)
}

func TestStallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stall := NewStall(t.Context(), time.Minute)
		body := stall.Body(io.NopCloser(strings.NewReader("all")))
		text, err := io.ReadAll(body)
		require.NoError(t, err)
		assert.Equal(t, "all", string(text))
		require.NoError(t, ctx.Err())
		require.NoError(t, body.Close())
		require.ErrorIs(t, context.Cause(ctx), context.Canceled, "closing ends it")

		reset := errors.New("reset")
		for _, cancelled := range []bool{false, true} {
			caller, cancel := context.WithCancel(t.Context())
			_, stall := NewStall(caller, time.Minute)
			if cancelled {
				cancel()
			}
			_, err := io.ReadAll(stall.Body(io.NopCloser(iotest.ErrReader(reset))))
			require.ErrorIs(t, err, reset)
			assert.Equal(t, !cancelled, IsBroken(err), "what the caller ends is not broken")
			require.NoError(t, stall.Explain(nil))
			stall.End()
			cancel()
		}
	})
}

// idle is a body that gives nothing a few times, a minute apart.
type idle struct {
	context.Context
	left int
}

func (i *idle) Read([]byte) (int, error) {
	time.Sleep(time.Minute)
	if i.left--; i.left == 0 {
		return 0, io.EOF
	}
	return 0, i.Err()
}

func (*idle) Close() error { return io.ErrClosedPipe }

// Reading nothing is no progress.
func TestStallOfIdleBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stall := NewStall(t.Context(), 90*time.Second)
		body := stall.Body(&idle{ctx, 5})
		_, err := io.ReadAll(body)
		require.ErrorIs(t, err, ErrStalled)
		require.ErrorIs(t, body.Close(), io.ErrClosedPipe)
	})
}

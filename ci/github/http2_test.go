package github

import (
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// The ways in which HTTP/2 breaks a call: RST_STREAM with INTERNAL_ERROR and
// with REFUSED_STREAM, and GOAWAY, each before and after the call was carried
// out.
var resets = []fakehub.FaultKind{
	fakehub.Reset, fakehub.ResetAfter, fakehub.Refused, fakehub.RefusedAfter, fakehub.GoAway, fakehub.GoAwayAfter,
}

// overTLS speaks HTTP/2 over TLS, as api.github.com does.
func overTLS(w *world) func(*Options) {
	return func(o *Options) {
		o.APIURL = w.hub.TLSURL() + "api/v3/"
		o.Transport = w.hub.Transport(true, true)
	}
}

// HTTP/2 over TLS, reset at every call of a release in every way: none needs a
// second run, and each ends in the same state.
func TestHTTP2ResetsOverTLS(t *testing.T) {
	calls, want := clean(t)
	cells, retries := 0, map[fakehub.FaultKind]int{}
	for _, kind := range resets {
		for _, at := range calls {
			cells++
			cell := fmt.Sprintf("call %d (%s), %s", at.N, at.Op, kind)
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: kind, N: at.N})
				rep, err := w.client(serial, overTLS(w)).Release(t.Context(), spec)
				require.NoError(t, err, cell)
				require.Equal(t, 1, w.hub.FaultsMet(), cell)
				require.Equal(t, want, w.hub.Dump(), cell)
				w.neverIncomplete(spec)
				retries[kind] += rep.Retries
			})
		}
	}
	t.Logf("%d calls of a release, %d kinds of reset, %d cells over TLS with HTTP/2: 0 needed a second run; retries: %v", len(calls), len(resets), cells, retries)
	require.Equal(t, len(calls)*len(resets), cells)
}

// It really is HTTP/2 over TLS, and the resets are what they are called.
func TestHTTP2OverTLSIsReal(t *testing.T) {
	for kind, says := range map[fakehub.FaultKind]string{
		fakehub.Reset: "INTERNAL_ERROR", fakehub.ResetAfter: "INTERNAL_ERROR", fakehub.Refused: "REFUSED_STREAM", fakehub.RefusedAfter: "REFUSED_STREAM",
		fakehub.GoAway: "GOAWAY", fakehub.GoAwayAfter: "GOAWAY", "": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			if kind != "" {
				w.hub.Arm(fakehub.Fault{Kind: kind, N: 1})
			}
			client := &http.Client{Transport: w.hub.Transport(true, true)}
			// A body that can't be sent twice, so that the transport itself doesn't.
			pr, pw := io.Pipe()
			body := `{"tag_name":"v1","draft":true}`
			go func() { _, _ = io.WriteString(pw, body); _ = pw.Close() }()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.hub.TLSURL()+"api/v3/repos/octo/hello/releases", pr)
			require.NoError(t, err)
			req.ContentLength = int64(len(body))
			req.Header.Set("Authorization", "Bearer "+canary)
			resp, err := client.Do(req)
			if kind == "" {
				require.NoError(t, err)
				require.Equal(t, "HTTP/2.0", resp.Proto)
				require.NotNil(t, resp.TLS)
				_ = resp.Body.Close()
				return
			}
			if err == nil { // reset in the body of the answer
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			require.ErrorContains(t, err, says, kind)
			left := 0
			if kind == fakehub.ResetAfter || kind == fakehub.RefusedAfter || kind == fakehub.GoAwayAfter {
				left = 1
			}
			require.Len(t, w.repo.Releases("v1"), left, kind)
		})
	}
}

// A certificate that nobody vouches for is not asked about again, and says which
// argument helps: for calls of the API and for downloads.
func TestUntrustedCertificateIsTriedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Files: []fakehub.File{{Name: "a", Data: []byte("x")}}})
		start := time.Now()
		rel, err := w.client(overTLS(w)).Published(t.Context(), "octo", "hello", "v1.0.0")
		require.NoError(t, err)
		stranger := w.client(overTLS(w), func(o *Options) {
			transport := w.hub.Transport(true, true)
			transport.TLSClientConfig.RootCAs = x509.NewCertPool()
			o.Transport = transport
		})
		_, err = stranger.Published(t.Context(), "octo", "hello", "v1.0.0")
		require.ErrorContains(t, err, "pass --ca-certificates")
		_, err = stranger.Download(t.Context(), "octo", "hello", rel.Assets[0])
		require.ErrorContains(t, err, "pass --ca-certificates")
		_, err = stranger.Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "pass --ca-certificates")
		require.Zero(t, time.Since(start), "no other try")
	})
}

package github

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
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// A published asset is read without the token, and verified; every fault on
// the way is survived, and the transfer goes on where it broke.
func TestDownload(t *testing.T) {
	data := bytesOf("archive", 100000)
	for _, private := range []bool{false, true} {
		for _, kind := range []fakehub.FaultKind{"", fakehub.ServerError, fakehub.Reset, fakehub.Hang, fakehub.Page, fakehub.TooMany, fakehub.BadGateway} {
			for _, op := range []string{"download", "get asset", "get object"} {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t, fakehub.Config{})
					if private {
						w.repo.Private()
					}
					w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Latest: true, Files: []fakehub.File{{Name: "a.tar.gz", Data: data}}})
					c := w.client()
					rel, err := c.Published(t.Context(), "octo", "hello", "v1.0.0")
					require.NoError(t, err)
					require.Len(t, rel.Assets, 1)
					if kind != "" {
						w.hub.Arm(fakehub.Fault{Kind: kind, N: 1, Times: 2, Match: func(c fakehub.Call) bool { return c.Op == op }})
					}
					name := fmt.Sprintf("private=%t, %q on %q", private, kind, op)
					r, err := c.Download(t.Context(), "octo", "hello", rel.Assets[0])
					require.NoError(t, err, name)
					got, err := io.ReadAll(r)
					require.NoError(t, err, name)
					require.NoError(t, r.Close())
					require.Equal(t, data, got, name)
					for _, call := range w.hub.Calls() {
						if call.Host == "web" {
							require.False(t, call.Token, "%s: the token went to %s", name, call)
						}
					}
				})
			}
		}
	}
}

func TestDownloadRefuses(t *testing.T) {
	for _, x := range []struct {
		name string
		edit func(*RemoteAsset)
		err  string
		page bool
	}{
		{name: "another digest", edit: func(a *RemoteAsset) { a.SHA256 = strings.Repeat("0", 64) }, err: "its SHA-256 is"},
		{name: "another size", edit: func(a *RemoteAsset) { a.Size++ }, err: "the server offers"},
		{name: "a page", page: true, err: "a page of HTML"},
		{name: "nothing there", edit: func(a *RemoteAsset) { a.URL += "x"; a.ID = 1 }, err: "404"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{})
				w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Files: []fakehub.File{{Name: "a", Data: bytesOf("a", 5000)}}})
				c := w.client()
				rel, err := c.Published(t.Context(), "octo", "hello", "v1.0.0")
				require.NoError(t, err)
				a := rel.Assets[0]
				if x.edit != nil {
					x.edit(&a)
				}
				if x.page {
					w.hub.Arm(fakehub.Fault{Kind: fakehub.Page, Match: func(c fakehub.Call) bool { return c.Op == "get object" }})
				}
				r, err := c.Download(t.Context(), "octo", "hello", a)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
					_ = r.Close()
				}
				require.ErrorContains(t, err, x.err)
				require.NotContains(t, err.Error(), "signature", "the address of storage is signed")
				quiet(t, err.Error())
			})
		})
	}
}

// Only a confirmed 404 means that there is no release.
func TestUnknownIsNotAbsent(t *testing.T) {
	for _, kind := range []fakehub.FaultKind{fakehub.ServerError, fakehub.Denied, fakehub.Secondary, fakehub.Hang, fakehub.NotFoundPage, fakehub.LostBody} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			w.hub.Arm(fakehub.Fault{Kind: kind})
			_, err := w.client().Published(t.Context(), "octo", "hello", "v1.0.0")
			require.Error(t, err, kind)
			require.NotErrorIs(t, err, ErrNotFound, kind)
			quiet(t, err.Error())
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		_, err := w.client().Published(t.Context(), "octo", "hello", "v1.0.0")
		require.ErrorIs(t, err, ErrNotFound)
		require.Len(t, w.hub.Calls(), 2, "asked twice")

		// One 404 is not enough.
		w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Latest: true})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1})
		_, err = w.client().Published(t.Context(), "octo", "hello", "v1.0.0")
		require.NoError(t, err)
	})
}

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		for i := range 250 {
			w.repo.Seed(fakehub.Seed{Tag: fmt.Sprintf("v1.0.%d", i), Commit: w.commit, Draft: i%10 == 9})
			time.Sleep(time.Minute)
		}
		c := w.client(func(o *Options) { o.Token = nil }) // as everybody
		got, err := c.History(t.Context(), "octo", "hello")
		require.NoError(t, err)
		require.Len(t, got, 225)
		require.Equal(t, []string{"v1.0.248", "v1.0.247", "v1.0.246"}, []string{got[0].Tag, got[1].Tag, got[2].Tag})
		require.Len(t, w.hub.Calls(), 3, "a call for every hundred")
	})
}

// Addresses of GitHub Enterprise, certificates of one's own, and options that
// contradict each other.
func TestOptions(t *testing.T) {
	for api, want := range map[string][2]string{
		"":                             {"https://uploads.github.com/", "https://github.com/"},
		"https://api.github.com":       {"https://uploads.github.com/", "https://github.com/"},
		"https://ghe.example/api/v3":   {"https://ghe.example/api/uploads/", "https://ghe.example/"},
		"https://api.octo.ghe.com/":    {"https://uploads.octo.ghe.com/", "https://octo.ghe.com/"},
		"http://127.0.0.1:8080/api/v3": {"http://127.0.0.1:8080/api/uploads/", "http://127.0.0.1:8080/"},
	} {
		c, err := New(Options{APIURL: api})
		require.NoError(t, err)
		require.Equal(t, want, [2]string{c.uploads, c.web.String()}, api)
	}
	for _, o := range []Options{
		{APIURL: "api.github.com"}, {APIURL: "ftp://x/"}, {APIURL: "https://user:pass@x/"},
		{RootCAs: []byte("x")}, {RootCAs: []byte("x"), Transport: http.DefaultTransport},
	} {
		_, err := New(o)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "pass@")
	}

	hub := fakehub.New(fakehub.Config{})
	hub.AddRepo("octo", "hello").Seed(fakehub.Seed{Tag: "v1.0.0"})
	srv := httptest.NewUnstartedServer(hub)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	var connections atomic.Int32
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.StartTLS()
	defer srv.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	c, err := New(Options{APIURL: srv.URL + "/api/v3", RootCAs: ca})
	require.NoError(t, err)
	_, err = c.Published(t.Context(), "octo", "hello", "v1.0.0")
	require.NoError(t, err)
	stranger, err := New(Options{APIURL: srv.URL + "/api/v3"})
	require.NoError(t, err)
	connections.Store(0)
	_, err = stranger.Published(t.Context(), "octo", "hello", "v1.0.0")
	require.ErrorContains(t, err, "pass --ca-certificates")
	require.EqualValues(t, 1, connections.Load(), "there is no other try")
}

// The token is in no text, whatever fails and whoever repeats it.
func TestTheTokenIsNeverSeen(t *testing.T) {
	var all []string
	for _, kind := range []fakehub.FaultKind{fakehub.Echo, fakehub.Denied, fakehub.Hang, fakehub.Reset, fakehub.ServerError, fakehub.NotFound,
		fakehub.NotFoundPage, fakehub.LostBody, fakehub.Page, fakehub.Secondary, fakehub.Primary, fakehub.Refused} {
		for _, op := range []string{"", "get repository", "create release", "upload asset", "update release", "dispatch"} {
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: kind, N: 0, Match: func(c fakehub.Call) bool { return op == "" || c.Op == op }})
				log := &logger{}
				c := w.client(func(o *Options) { o.Observer = log; o.deadline = 20 * time.Minute })
				rep, err := c.Release(t.Context(), spec)
				all = append(all, texts(t, rep, err)...)
				all = append(all, log.lines...)
				all = append(all, fmt.Sprintf("%v %+v %#v %s", c, c, c, c))
				for e := err; e != nil; e = errors.Unwrap(e) {
					all = append(all, fmt.Sprintf("%+v %#v", e, e))
				}
				time.Sleep(time.Hour)
			})
		}
	}
	quiet(t, all...)
	failing, err := New(Options{Token: func(context.Context) (string, error) { return "", errors.New("no vault") }})
	require.NoError(t, err)
	_, err = failing.Published(t.Context(), "o", "r", "v1")
	require.ErrorContains(t, err, "get the token: no vault")
	t.Logf("%d texts without the token", len(all))
}

// logger keeps everything that an observer is told.
type logger struct {
	NopObserver
	mu    sync.Mutex
	lines []string
}

func (l *logger) add(v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintln(v...))
}

func (l *logger) Planned(_ context.Context, p *Plan)                     { l.add(p.Text()) }
func (l *logger) StepEnd(_ context.Context, s Step, err error)           { l.add(s, err) }
func (l *logger) Waiting(_ context.Context, why string, d time.Duration) { l.add(why, d) }

package oci_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
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
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// peer2 is a registry that speaks HTTP/2 over TLS, as public ones do.
type peer2 struct {
	*peer
	roots []byte
	// others are requests in an older HTTP.
	others atomic.Int32
	away   *awayListener
}

func newPeer2(t testing.TB) *peer2 {
	p := &peer2{peer: &peer{}}
	inner := p.wrap(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			p.others.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.away = &awayListener{Listener: p.Listener}
	p.Listener = p.away
	p.EnableHTTP2 = true
	p.StartTLS()
	p.away.mu.Lock()
	p.away.config = p.TLS.Clone()
	p.away.mu.Unlock()
	p.roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw})
	t.Cleanup(p.Close)
	return p
}

func (p *peer2) open(t testing.TB) *oci.Repository {
	o := fast
	o.RootCAs = p.roots
	o.Sleep = func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	r, err := oci.NewRepository(strings.TrimPrefix(p.URL, "https://")+"/acme/server", o)
	require.NoError(t, err)
	return r
}

// clean takes faults away, and returns the tags.
func (p *peer2) clean(t testing.TB) map[string]string {
	p.set(nil)
	r, all := p.open(t), map[string]string{}
	tags, err := r.Tags(t.Context())
	require.NoError(t, err)
	for _, tag := range tags {
		all[tag] = must(r.Digest(t.Context(), tag)).String()
	}
	p.set(nil)
	return all
}

// awayListener answers the next connections with GOAWAY and the end, once they
// have made a request.
type awayListener struct {
	net.Listener
	mu     sync.Mutex
	config *tls.Config
	left   int
}

// next answers that many connections so.
func (l *awayListener) next(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = n
}

func (l *awayListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.mu.Lock()
		config, away := l.config, l.left > 0
		if away {
			l.left--
		}
		l.mu.Unlock()
		if !away {
			return conn, nil
		}
		go func() {
			defer conn.Close()
			config := config.Clone()
			config.NextProtos = []string{"h2"}
			goAway(tls.Server(conn, config))
		}()
	}
}

// goAway is a server that takes one request and goes away without an answer.
func goAway(conn net.Conn) {
	frame := func(kind byte, payload []byte) {
		head := make([]byte, 9)
		binary.BigEndian.PutUint32(head, uint32(len(payload))<<8)
		head[3] = kind
		_, _ = conn.Write(append(head, payload...))
	}
	const preface, headers, settings, away = 24, 1, 4, 7
	if _, err := io.CopyN(io.Discard, conn, preface); err != nil {
		return
	}
	frame(settings, nil)
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head)>>8)); err != nil {
			return
		}
		if head[3] == headers {
			payload := make([]byte, 8)
			binary.BigEndian.PutUint32(payload, 1<<31-1) // it may have been carried out
			binary.BigEndian.PutUint32(payload[4:], 11)  // ENHANCE_YOUR_CALM
			frame(away, payload)
			_ = conn.Close()
			return
		}
	}
}

// reset2 ends a stream of HTTP/2 with RST_STREAM: before the answer, after the
// request was carried out, or in the middle of the answer.
var resets2 = map[string]func(http.Handler, http.ResponseWriter, *http.Request){
	"before": func(_ http.Handler, w http.ResponseWriter, _ *http.Request) { hangUp(w) },
	"after": func(serve http.Handler, w http.ResponseWriter, r *http.Request) {
		serve.ServeHTTP(httptest.NewRecorder(), r)
		hangUp(w)
	},
	"in the answer": func(serve http.Handler, w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		serve.ServeHTTP(rec, r)
		for key, values := range rec.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()/2])
		w.(http.Flusher).Flush()
		hangUp(w)
	},
}

// A stream of HTTP/2 is reset at every request of a publication, of what finds
// out what is missing, and of verifying: none needs a second run.
func TestResetsOverHTTP2(t *testing.T) {
	release := newRelease(t, "1.2.3", both...)
	release.manifest.Image.Base = imagespec.Scratch
	image := release.assemble()
	job := publication(image, "1.2.3")
	job.Manifest = release.manifest
	before := tiny(t, "1.2.2")
	actions := map[string]func(*oci.Repository) error{
		"publish": func(r *oci.Repository) error {
			_, err := oci.Publish(t.Context(), job, r)
			return err
		},
		"reconcile": func(r *oci.Repository) error {
			survey := oci.MissingFrom(t.Context(), oci.Candidate{Release: &published.Release{Manifest: release.manifest, Known: versions("1.2.2")}, Repositories: []*oci.Repository{r}},
				oci.Candidate{Release: &published.Release{Manifest: &manifest.Manifest{Version: "1.2.2"}, Known: versions("1.2.3")}, Repositories: []*oci.Repository{r}})
			if len(survey[0])+len(survey[1]) > 0 {
				return fmt.Errorf("%v", survey)
			}
			return nil
		},
		"verify": func(r *oci.Repository) error {
			verified, err := oci.VerifyImage(t.Context(), release.manifest, r, oci.VerifyOptions{Digest: image.Digest})
			if err == nil && len(verified.Findings) > 0 {
				err = fmt.Errorf("%v", verified.Findings)
			}
			return err
		},
	}
	// A published repository, which what reads is tried on.
	full := newPeer2(t)
	r := full.open(t)
	_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.2")), Index: before}, r)
	require.NoError(t, err)
	require.NoError(t, actions["publish"](r))
	want := full.clean(t)

	for name, action := range actions {
		t.Run(name, func(t *testing.T) {
			start := func() *peer2 {
				if name != "publish" {
					full.set(nil)
					return full
				}
				p := newPeer2(t)
				_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.2")), Index: before}, p.open(t))
				require.NoError(t, err)
				p.set(nil)
				return p
			}
			p := start()
			require.NoError(t, action(p.open(t)))
			total, runs, second := p.count(), 0, 0
			p.set(nil)
			for kind, reset := range resets2 {
				for n := 1; n <= total; n++ {
					p := start()
					inner := p.inner
					met := false
					p.set(func(i int, w http.ResponseWriter, r *http.Request) bool {
						if i == n {
							met = true
							reset(inner, w, r)
						}
						return i == n
					})
					runs++
					if err := action(p.open(t)); !assert.NoError(t, err, "%s, at request %d of %d", kind, n, total) {
						second++
					}
					require.True(t, met, "%s, at request %d of %d", kind, n, total)
					require.Equal(t, want, p.clean(t))
					require.Zero(t, p.others.Load(), "an older HTTP was spoken")
				}
			}
			// GOAWAY ends every connection that is made, of which there are few.
			for n := 1; n <= 2; n++ {
				p := start()
				p.away.next(n)
				runs++
				if err := action(p.open(t)); !assert.NoError(t, err, "GOAWAY, %d times", n) {
					second++
				}
				p.away.mu.Lock()
				require.Zero(t, p.away.left)
				p.away.mu.Unlock()
			}
			t.Logf("%d runs, each with one reset (%d requests, %d kinds) or GOAWAY: %d need a second run", runs, total, len(resets2), second)
			assert.Zero(t, second)
		})
	}
}

package fakehub

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/test/bufconn"
)

// Local serves a fake GitHub to the same process over in-memory connections: real
// HTTP/1.1 or HTTP/2, without sockets and timers, so that it runs under a virtual
// clock.
type Local struct {
	// Server is the fake GitHub.
	*Server
	// URL is the base address, as of GitHub Enterprise: the API is at URL +
	// "api/v3/", uploads at URL + "api/uploads/".
	URL string

	http          *http.Server
	plain, secure *bufconn.Listener
	pem           []byte
}

// Start serves a fake GitHub in memory.
func Start(s *Server) *Local {
	const buffer = 64 << 10
	cert, pem := selfSigned("github.test")
	l := &Local{
		Server: s, URL: "http://github.test/", http: HTTPServer(s), pem: pem,
		plain: bufconn.Listen(buffer), secure: bufconn.Listen(buffer),
	}
	// TLS is below the connection that the server sees, where frames can still be
	// changed.
	overTLS := tls.NewListener(l.secure, &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
	})
	go func() { _ = l.http.Serve(Refusing(l.plain)) }()
	go func() { _ = l.http.Serve(refusingListener{overTLS, true}) }()
	return l
}

// Clock is a clock on which waiting takes no time: sleeping moves it forward. With
// it, an hour of limits takes a moment.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the given time.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now returns the time on the clock.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep moves the clock forward.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return nil
}

// HTTPServer returns an HTTP server that speaks HTTP/1.1 and HTTP/2 without TLS, and
// can refuse streams.
func HTTPServer(s *Server) *http.Server {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   s,
		Protocols: p,
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
}

// Transport returns a new client transport for HTTP/1.1 or HTTP/2, without TLS or over
// TLS (secure), where it trusts only this server.
func (l *Local) Transport(http2, secure bool) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	if !secure {
		p.SetUnencryptedHTTP2(http2)
		return &http.Transport{Protocols: p, DialContext: dialer(l.plain)}
	}
	p.SetHTTP2(http2)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(l.pem)
	return &http.Transport{
		Protocols:       p,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext:     dialer(l.secure),
	}
}

// dialer returns a function that connects to a listener, whatever the address.
func dialer(l *bufconn.Listener) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) { return l.DialContext(ctx) }
}

// TLSURL is the base address over TLS.
func (l *Local) TLSURL() string { return strings.Replace(l.URL, "http:", "https:", 1) }

// Close ends every connection.
func (l *Local) Close() {
	l.Server.Close()
	_ = l.http.Close()
}

// selfSigned makes a certificate for a name, valid at any time of a virtual clock.
func selfSigned(name string) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2190, 1, 1, 0, 0, 0, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// Refusing wraps a listener so that the Refused fault works on it.
func Refusing(l net.Listener) net.Listener { return refusingListener{l, false} }

type refusingListener struct {
	net.Listener
	secure bool // it speaks TLS
}

func (l refusingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &refusingConn{Conn: c, secure: l.secure}, nil
}

type connKey struct{}

func connOf(r *http.Request) *refusingConn {
	c, _ := r.Context().Value(connKey{}).(*refusingConn)
	return c
}

// secure reports whether a call came over TLS that its server does not see.
func secure(r *http.Request) bool {
	c := connOf(r)
	return c != nil && c.secure
}

// refuse turns the reset after an aborted handler into REFUSED_STREAM.
func refuse(r *http.Request) {
	if c := connOf(r); c != nil && r.ProtoMajor == 2 {
		c.refuse.Add(1)
	}
}

// sendAway turns the reset after an aborted handler into GOAWAY, and ends the
// connection. Streams after last were not handled.
func sendAway(r *http.Request, last uint32) {
	if c := connOf(r); c != nil && r.ProtoMajor == 2 {
		c.last.Store(last)
		c.away.Store(true)
	}
}

// refusingConn is a server's connection that follows the HTTP/2 frames written to
// it. Go's server can send neither RST_STREAM with REFUSED_STREAM nor GOAWAY on
// demand, so refusingConn changes its RST_STREAM.
type refusingConn struct {
	net.Conn
	secure bool
	refuse atomic.Int32
	away   atomic.Bool
	last   atomic.Uint32

	head []byte // of the frame under way, as far as written
	left int    // bytes of its payload still to come
}

const (
	frameHeaderLen  = 9
	frameRSTStream  = 3
	frameGoAway     = 7
	codeInternal    = 2
	codeRefused     = 7
	framePayloadRST = 4
)

func (c *refusingConn) Write(p []byte) (int, error) {
	if c.refuse.Load() == 0 && c.head == nil && c.left == 0 && len(p) > 4 && string(p[:4]) == "HTTP" {
		return c.Conn.Write(p) // HTTP/1
	}
	out := make([]byte, len(p))
	copy(out, p)
	for rest := out; len(rest) > 0; {
		if c.left > 0 {
			n := min(c.left, len(rest))
			c.left -= n
			rest = rest[n:]
			continue
		}
		n := min(frameHeaderLen-len(c.head), len(rest))
		c.head = append(c.head, rest[:n]...)
		rest = rest[n:]
		if len(c.head) < frameHeaderLen {
			break
		}
		c.left = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		if c.head[3] == frameRSTStream && c.left == framePayloadRST && len(rest) >= framePayloadRST &&
			binary.BigEndian.Uint32(rest) == codeInternal {
			if c.away.Load() {
				return c.goAway(out[:len(out)-len(rest)-frameHeaderLen])
			}
			if c.refuse.Load() > 0 {
				binary.BigEndian.PutUint32(rest, codeRefused)
				c.refuse.Add(-1)
			}
		}
		c.head = nil
	}
	return c.Conn.Write(out)
}

// goAway sends what was written before the reset, then GOAWAY, and ends the
// connection.
func (c *refusingConn) goAway(before []byte) (int, error) {
	frame := []byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0}
	frame = binary.BigEndian.AppendUint32(frame, c.last.Load())
	frame = binary.BigEndian.AppendUint32(frame, 0) // NO_ERROR
	_, _ = c.Conn.Write(append(before, frame...))
	_ = c.Close()
	return 0, net.ErrClosed
}

// Close ends the connection. Over TLS, a client that was sent away may finish what it
// is writing, so that it reads that instead of failing to write.
func (c *refusingConn) Close() error {
	over, ok := c.Conn.(*tls.Conn)
	if !ok || !c.away.Load() {
		return c.Conn.Close()
	}
	go func() {
		_, _ = io.Copy(io.Discard, over)
		_ = over.Close()
	}()
	return over.CloseWrite()
}

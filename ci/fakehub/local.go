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
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
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

	http *http.Server
	l    *memoryListener
	cert tls.Certificate
	pem  []byte

	mu         sync.Mutex
	transports []*http.Transport
}

// Start serves a fake GitHub in memory.
func Start(s *Server) *Local {
	l := &Local{
		Server: s,
		URL:    "http://github.test/",
		l:      &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})},
	}
	l.cert, l.pem = selfSigned("github.test")
	l.http = HTTPServer(s)
	go func() { _ = l.http.Serve(l.l) }()
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

// Transport returns a new client transport for HTTP/1.1 or for HTTP/2.
func (l *Local) Transport(http2 bool) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	t := &http.Transport{
		Protocols: p,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.l.dial(ctx, nil)
		},
	}
	return l.keep(t)
}

// TLSURL is the base address over TLS.
func (l *Local) TLSURL() string { return strings.Replace(l.URL, "http:", "https:", 1) }

// Certificate returns the self-signed certificate of the TLS server, in PEM.
func (l *Local) Certificate() []byte { return l.pem }

// TLSTransport returns a new client transport for HTTP/2 over TLS, which trusts only
// the given certificates.
func (l *Local) TLSTransport(trusted []byte) *http.Transport {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	p := new(http.Protocols)
	p.SetHTTP2(true)
	t := &http.Transport{
		Protocols:       p,
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.l.dial(ctx, &tls.Config{
				Certificates: []tls.Certificate{l.cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12,
			})
		},
	}
	return l.keep(t)
}

func (l *Local) keep(t *http.Transport) *http.Transport {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.transports = append(l.transports, t)
	return t
}

// Close ends every connection.
func (l *Local) Close() {
	l.Server.Close()
	l.mu.Lock()
	for _, t := range l.transports {
		t.CloseIdleConnections()
	}
	l.mu.Unlock()
	l.l.close()
	_ = l.http.Close()
}

// memoryListener hands out the server's ends of pipes.
type memoryListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
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

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.close(); return nil }
func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }
func (l *memoryListener) close()         { l.once.Do(func() { close(l.done) }) }

// dial connects. With TLS, the server's end speaks it below the connection that the
// server sees, where frames can still be changed.
func (l *memoryListener) dial(ctx context.Context, over *tls.Config) (net.Conn, error) {
	client, server := net.Pipe()
	c := &refusingConn{Conn: server}
	if over != nil {
		c.Conn, c.secure = tls.Server(newSpool(server), over), true
	}
	select {
	case l.conns <- c:
		return client, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spool is a connection whose writes don't wait for the reader, like those of a
// socket: in a TLS handshake both ends may write at once.
type spool struct {
	net.Conn

	mu     sync.Mutex
	more   *sync.Cond
	buf    []byte
	closed bool
	err    error
}

func newSpool(c net.Conn) *spool {
	s := &spool{Conn: c}
	s.more = sync.NewCond(&s.mu)
	go s.pump()
	return s
}

func (s *spool) pump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil {
		switch {
		case len(s.buf) > 0:
			out := s.buf
			s.buf = nil
			s.mu.Unlock()
			_, err := s.Conn.Write(out)
			s.mu.Lock()
			s.err = err
		case s.closed:
			s.err = net.ErrClosed
		default:
			s.more.Wait()
		}
	}
	_ = s.Conn.Close()
}

func (s *spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.closed {
		return 0, net.ErrClosed
	}
	s.buf = append(s.buf, p...)
	s.more.Signal()
	return len(p), nil
}

// Writes never wait, so their deadline means nothing. TLS sets one when it closes,
// which must not lose earlier writes.
func (s *spool) SetWriteDeadline(time.Time) error { return nil }
func (s *spool) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }

// Close ends the connection once everything was read.
func (s *spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.more.Signal()
	return nil
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }

// Refusing wraps a listener so that the Refused fault works on it.
func Refusing(l net.Listener) net.Listener { return refusingListener{l} }

type refusingListener struct{ net.Listener }

func (l refusingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &refusingConn{Conn: c}, nil
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

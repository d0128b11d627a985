package fakehub

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Local serves a stand-in to the same process, over connections that are made
// of memory: real HTTP/1.1 or HTTP/2, without a socket, and with no timer of
// its own, so that it can run under a virtual clock.
type Local struct {
	// Server is the stand-in.
	*Server
	// URL is the base of everything, in the manner of GitHub Enterprise: the
	// API is at URL + "api/v3/", uploads at URL + "api/uploads/".
	URL string

	http *http.Server
	l    *memoryListener

	mu         sync.Mutex
	transports []*http.Transport
}

// Start serves a stand-in in memory.
func Start(s *Server) *Local {
	l := &Local{
		Server: s,
		URL:    "http://github.test/",
		l:      &memoryListener{conns: make(chan net.Conn), done: make(chan struct{})},
	}
	l.http = HTTPServer(s)
	go func() { _ = l.http.Serve(l.l) }()
	return l
}

// Clock is a clock on which waiting takes no time: sleeping moves it on. With
// it as the clock of a stand-in and of a client, a rehearsal of an hour of
// limits takes a moment.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows a time.
func NewClock(now time.Time) *Clock { return &Clock{now: now} }

// Now is the time that the clock shows.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep moves the clock on.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return nil
}

// HTTPServer is an HTTP server for a stand-in that speaks HTTP/1.1 and
// HTTP/2 without TLS, and that is able to refuse streams.
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

// Transport returns a new client transport to the stand-in, for HTTP/1.1 or
// for HTTP/2.
func (l *Local) Transport(http2 bool) *http.Transport {
	p := new(http.Protocols)
	p.SetHTTP1(!http2)
	p.SetUnencryptedHTTP2(http2)
	t := &http.Transport{
		Protocols: p,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return l.l.dial(ctx)
		},
	}
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

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- &refusingConn{Conn: server}:
		return client, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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

// refuse turns the reset that aborting a handler sends into REFUSED_STREAM.
func refuse(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*refusingConn); ok && r.ProtoMajor == 2 {
		c.refuse.Add(1)
	}
}

// refusingConn is a server's connection that follows the HTTP/2 frames written
// to it. Go's server has no way to send RST_STREAM with REFUSED_STREAM, so the
// code of its RST_STREAM is changed on the way out.
type refusingConn struct {
	net.Conn
	refuse atomic.Int32

	head []byte // of the frame under way, as far as written
	left int    // bytes of its payload still to come
}

const (
	frameHeaderLen  = 9
	frameRSTStream  = 3
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
			binary.BigEndian.Uint32(rest) == codeInternal && c.refuse.Load() > 0 {
			binary.BigEndian.PutUint32(rest, codeRefused)
			c.refuse.Add(-1)
		}
		c.head = nil
	}
	return c.Conn.Write(out)
}

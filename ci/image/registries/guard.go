package registries

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/notation"
)

// guard checks every request of a repository's client before it is sent, including
// those that follow a redirect or ask for a token.
type guard struct {
	next http.RoundTripper
	r    *Registries
	host string // of the repository
}

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	g.r.requests.Add(1)
	host := strings.ToLower(req.URL.Host)
	if err := g.r.permitted(oci.Host(host)); err != nil {
		return nil, fmt.Errorf("%s redirects to it: %w", g.host, err)
	}
	if req.URL.Scheme != "http" || g.r.plain[host] {
		return g.next.RoundTrip(req)
	}
	if req.URL.Host == g.host {
		// The library assumes that private addresses have no TLS.
		req = req.Clone(req.Context())
		req.URL.Scheme = "https"
		return g.next.RoundTrip(req)
	}
	// The storage of a registry without TLS may have no TLS either.
	reads := req.Method == http.MethodGet || req.Method == http.MethodHead
	if g.r.plain[strings.ToLower(g.host)] && reads && req.Header.Get("Authorization") == "" {
		return g.next.RoundTrip(req)
	}
	return nil, fmt.Errorf("registry %q asks for a plain HTTP request to %q: if both are yours, pass with-plain-http --host=%s", g.host, host, host)
}

// dialer refuses hosts that only a release names if their names lead to this
// machine or its link. Proxies may be anywhere.
type dialer struct {
	named   map[string]bool
	proxies sync.Map // addresses, "host:port"
}

// proxy returns the environment's proxy, and remembers it.
func (d *dialer) proxy(req *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(req)
	if u != nil {
		port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme])
		d.proxies.Store(net.JoinHostPort(u.Hostname(), port), true)
	}
	return u, err
}

func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	_, proxy := d.proxies.Load(address)
	if !proxy && !d.named[oci.Host(address)] && !d.named[strings.TrimSuffix(address, ":80")] {
		to.Control = distant
	}
	return to.DialContext(ctx, network, address)
}

// distant refuses to connect to addresses of this machine and its link.
func distant(_, address string, _ syscall.RawConn) error {
	if notation.IsLocalHost(address) {
		return fmt.Errorf("its address %s is on this machine or its link, and only the release names the host: to use it, pass it with --addresses or with-plain-http", address)
	}
	return nil
}

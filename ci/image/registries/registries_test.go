package registries

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/notation"
)

// authority signs certificates of test servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	draft := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, draft, draft, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) issue(t *testing.T, host string) tls.Certificate {
	draft := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{host, "auth." + host},
	}
	if ip := net.ParseIP(host); ip != nil {
		draft.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, draft, a.cert, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// network has registries by name, and a log of all that they were sent.
type network struct {
	t  *testing.T
	mu sync.Mutex
	at map[string]string // "host:port" to the address of a listener
	// seen are the users that a host was told the passwords of, and "" for
	// requests without. clear are the requests without TLS, by host.
	seen, clear map[string][]string
	paths       map[string][]string
}

func newNetwork(t *testing.T) *network {
	return &network{t: t, at: map[string]string{}, seen: map[string][]string{}, clear: map[string][]string{}, paths: map[string][]string{}}
}

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	n.mu.Lock()
	to, ok := n.at[address]
	n.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("no such host: %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, kind, to)
}

// user that a request proves to be: the password is the user's name, backwards.
func user(r *http.Request) string {
	name, password, basic := r.BasicAuth()
	if token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); bearer {
		name, password, _ = strings.Cut(token, ":")
		basic = true
	}
	switch {
	case !basic || name == "":
		return ""
	case password != secret(name):
		return "wrong password " + password
	}
	return name
}

func secret(name string) string {
	b := []byte(name)
	slices.Reverse(b)
	return string(b)
}

// serve adds a registry. Its bearer tokens come from auth.HOST.
func (n *network) serve(host string, ca *authority, bearer bool) {
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.seen[host] = append(n.seen[host], user(r))
		n.paths[host] = append(n.paths[host], r.URL.Path)
		if r.TLS == nil {
			n.clear[host] = append(n.clear[host], r.Method+" "+r.URL.Path)
		}
		n.mu.Unlock()
		if r.URL.Path == "/token" {
			name, password, _ := r.BasicAuth()
			_ = json.NewEncoder(w).Encode(map[string]string{"token": name + ":" + password})
			return
		}
		if r.URL.Path == "/v2/" && user(r) == "" {
			challenge := `Basic realm="test"`
			if bearer {
				scheme := "https"
				if r.TLS == nil {
					scheme = "http"
				}
				challenge = fmt.Sprintf(`Bearer realm="%s://auth.%s/token",service=%q`, scheme, r.Host, host)
			}
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		// The registry of the tests knows no paths above two elements.
		store.ServeHTTP(w, r)
	})
	quiet := log.New(io.Discard, "", 0)
	secure := httptest.NewUnstartedServer(handler)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(n.t, host)}}
	secure.Config.ErrorLog = quiet
	secure.StartTLS()
	open := httptest.NewUnstartedServer(handler)
	open.Config.ErrorLog = quiet
	open.Start()
	n.t.Cleanup(secure.Close)
	n.t.Cleanup(open.Close)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range []string{host, "auth." + host} {
		n.at[name+":443"], n.at[name+":80"] = secure.Listener.Addr().String(), open.Listener.Addr().String()
	}
}

// plainOnly takes the TLS of a host away.
func (n *network) plainOnly(host string) {
	for _, name := range []string{host, "auth." + host} {
		delete(n.at, name+":443")
	}
}

// users that a host was told the passwords of.
func (n *network) users(host string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	users := slices.DeleteFunc(slices.Clone(n.seen[host]), func(u string) bool { return u == "" })
	slices.Sort(users)
	return slices.Compact(users)
}

func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.seen)
	clear(n.clear)
	clear(n.paths)
}

func (n *network) requests() map[string][]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := map[string][]string{}
	for host, paths := range n.paths {
		all[host] = slices.Clone(paths)
	}
	return all
}

// options fail at once.
var options = oci.RegistryOptions{Tries: 1, Wait: time.Millisecond, Timeout: 5 * time.Second}

// seed puts a base image at a path of every registry in which one is looked for.
func (n *network) seed(r *Registries, address string) {
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: must(mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64"})), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	repository, err := r.open(address)
	require.NoError(n.t, err)
	_, err = oci.Publish(n.t.Context(), oci.Publication{Version: semver.MustParse("1.0.0"), Index: index}, repository)
	require.NoError(n.t, err)
}

const (
	target = "registry.example"
	second = "second.example"
	other  = "base.example"
	mirror = "mirror.example"
	hub    = "index.docker.io"
)

// Which host got which login, told by the hosts themselves: for addresses given
// or from the manifest, with one login, several, none, or a helper, with mirrors
// and without, for bases on the same host and on others.
func TestWhoIsTold(t *testing.T) {
	ca, own := newAuthority(t), newAuthority(t)
	n := newNetwork(t)
	for i, host := range []string{target, second, other, hub} {
		n.serve(host, ca, i%2 == 0)
	}
	n.serve(mirror, own, true)
	roots := slices.Concat(ca.pem(), own.pem())
	anyone, err := New(Settings{RootCAs: roots, Options: options, Dial: n.dial})
	require.NoError(t, err)
	for _, address := range []string{target + "/team/base", other + "/team/base", hub + "/team/base", mirror + "/team/base", mirror + "/a/cache/team/base"} {
		n.seed(anyone, address)
	}

	auths := func(users map[string]string) string {
		list := map[string]any{}
		for key, user := range users {
			list[key] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + secret(user)))}
		}
		text, err := json.Marshal(list)
		require.NoError(t, err)
		return string(text)
	}
	by := func(pairs ...string) (logins []Login) {
		for i := 0; i < len(pairs); i += 2 {
			logins = append(logins, Login{pairs[i], pairs[i+1], secret(pairs[i+1]) + "\r\n"})
		}
		return logins
	}
	logins := []struct {
		name string
		set  func(*Settings)
		// users by host.
		users map[string]string
		// given and named say why nothing is sent, by where addresses come from.
		given, named string
		// base says why a base on that host is not read.
		base map[string]string
	}{
		{name: "none", set: func(*Settings) {}},
		{
			name: "two, by name", set: func(s *Settings) { s.Logins = by(target, "robot", second, "robot") },
			users: map[string]string{target: "robot", second: "robot"},
		},
		{name: "one, by name", set: func(s *Settings) { s.Logins = by(target, "robot") }, users: map[string]string{target: "robot"}},
		{
			name: "one, of a path", set: func(s *Settings) { s.Logins = by(target+"/team", "robot", target+"/elsewhere", "nobody") },
			users: map[string]string{target: "robot"},
		},
		{
			name: "several", set: func(s *Settings) {
				s.Logins = by(target, "robot", mirror, "cache", other, "reader", "docker.io", "dock")
			},
			users: map[string]string{target: "robot", mirror: "cache", other: "reader", hub: "dock"},
		},
		{
			name: "several, one by another name of Docker Hub", set: func(s *Settings) {
				s.Logins = by(target, "robot", second, "two", "registry-1.docker.io", "dock")
			},
			users: map[string]string{target: "robot", second: "two", hub: "dock"},
		},
		{
			name: "Docker's", set: func(s *Settings) {
				s.DockerConfig = fmt.Appendf(nil, `{"auths":%s}`, auths(map[string]string{target: "robot", "https://index.docker.io/v1/": "dock", mirror: "cache"}))
			},
			users: map[string]string{target: "robot", hub: "dock", mirror: "cache"},
		},
		{
			name: "Docker's, by another name of Docker Hub", set: func(s *Settings) {
				s.DockerConfig = fmt.Appendf(nil, `{"auths":%s}`, auths(map[string]string{"https://" + target + "/v2/": "robot", "docker.io": "dock"}))
			},
			users: map[string]string{target: "robot", hub: "dock"},
		},
		{
			name: "a helper for the registry", set: func(s *Settings) {
				s.DockerConfig = fmt.Appendf(nil, `{"auths":%s,"credHelpers":{%q:"ecr-login"}}`, auths(map[string]string{mirror: "cache"}), target)
			},
			users: map[string]string{mirror: "cache"}, given: `"registry.example" in the credential helper "ecr-login"`, named: `"registry.example" in the credential helper "ecr-login"`,
		},
		{
			name: "a store for all", set: func(s *Settings) { s.DockerConfig = []byte(`{"auths":{"base.example":{}},"credsStore":"desktop"}`) },
			given: `"registry.example" in the credential helper "desktop"`, named: `"registry.example" in the credential helper "desktop"`,
			base: map[string]string{other: `"base.example" in the credential helper "desktop"`},
		},
		{
			name: "a store for all, and a login by name", set: func(s *Settings) {
				s.DockerConfig, s.Logins = []byte(`{"auths":{},"credsStore":"desktop"}`), by(target, "robot", second, "two")
			},
			users: map[string]string{target: "robot", second: "two"},
		},
	}
	mirrors := map[string]string{"": "", "with a mirror": "https://" + mirror, "with a mirror at a path": "https://" + mirror + "/a/cache/"}
	cells := 0
	for _, login := range logins {
		for _, given := range []bool{true, false} {
			for mirrored, at := range mirrors {
				for _, base := range []string{target, other, "docker.io", "index.docker.io", "registry-1.docker.io"} {
					cells++
					t.Run(fmt.Sprint(login.name, "/given=", given, "/", mirrored, "/base at ", base), func(t *testing.T) {
						n.forget()
						s := Settings{RootCAs: roots, Options: options, Dial: n.dial}
						addresses := []string{target + "/team/app", second + "/team/app"}
						why := login.named
						if given {
							s.Addresses, why = addresses, login.given
						}
						login.set(&s)
						if at != "" {
							// By another name than the base image uses.
							s.Mirrors = []string{map[bool]string{true: "docker.io", false: base}[strings.Contains(base, "docker.io")] + "=" + at}
						}
						r, err := New(s)
						require.NoError(t, err)

						// What is written.
						all, err := r.Repositories(addresses)
						for _, repository := range all {
							if _, e := repository.Tags(t.Context()); e != nil && err == nil {
								err = e
							}
						}
						if why != "" {
							require.ErrorContains(t, err, why)
							assert.Contains(t, err.Error(), "pass ", "what to do")
							for host := range n.requests() {
								assert.Empty(t, n.users(host))
							}
						} else {
							require.NoError(t, err)
							for _, host := range []string{target, second} {
								assert.Equal(t, only(login.users[host]), n.users(host), host)
							}
							assert.Len(t, n.requests(), 2, "nobody else was asked")
						}

						// What is read.
						n.forget()
						host := base
						if strings.Contains(base, "docker.io") {
							host = hub
							n.at["registry-1.docker.io:443"] = n.at[hub+":443"]
						}
						if at != "" {
							host = mirror
						}
						if strings.Contains(base, "registry-1") && at == "" {
							return // it has a certificate of its own, which is not what is tested
						}
						found, err := r.Bases().Base(t.Context(), base+"/team/base:1.0.0", "linux/amd64")
						if said := login.base[host]; said != "" {
							require.ErrorContains(t, err, said)
							assert.Empty(t, n.requests())
							return
						}
						if said := login.given; host == target && said != "" && strings.Contains(said, "ecr-login") {
							require.ErrorContains(t, err, said)
							return
						}
						require.NoError(t, err)
						assert.Equal(t, base+"/team/base:1.0.0", found.Name, "a mirror doesn't rename what it serves")
						want := login.users[host]
						if host == target && !given && strings.Contains(login.name, "for the addresses") || host == target && !given && login.name == "user name and password" {
							want = "" // it is of no address that was given
						}
						assert.Equal(t, only(want), n.users(host), host)
						require.Len(t, n.requests(), 1, "nobody else was asked")
						if strings.HasSuffix(at, "/a/cache/") {
							assert.Contains(t, n.requests()[host], "/v2/a/cache/team/base/manifests/1.0.0")
						}
						assert.Empty(t, n.clear)
					})
				}
			}
		}
	}
	t.Logf("%d cells", cells)
}

func only(user string) []string {
	if user == "" {
		return []string{}
	}
	return []string{user}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Nothing is sent in clear to a host that was not named for it, whatever the
// registry answers and whatever the library takes an address for.
func TestInClear(t *testing.T) {
	ca := newAuthority(t)
	const private = "10.20.30.40"
	for _, c := range []struct {
		name, host string
		bearer     bool
		plainOnly  bool
		plain      []string
		mirrors    []string
		fails      string
		inClear    bool
	}{
		{name: "TLS", host: target, bearer: true},
		{name: "no TLS, not named", host: target, plainOnly: true, fails: "no such host"},
		{name: "no TLS, another named", host: target, plainOnly: true, plain: []string{second}, fails: "no such host"},
		{name: "no TLS, named", host: target, plainOnly: true, plain: []string{"Registry.Example"}, inClear: true},
		{name: "no TLS, named, and its tokens come from another host", host: target, bearer: true, plainOnly: true, plain: []string{target}, fails: "with-plain-http --host=auth.registry.example", inClear: true},
		{name: "no TLS, both named", host: target, bearer: true, plainOnly: true, plain: []string{target, "auth.registry.example"}, inClear: true},
		{name: "private address, TLS", host: private},
		{name: "private address, not named", host: private, plainOnly: true, fails: "no such host"},
		{name: "private address, named", host: private, plainOnly: true, plain: []string{private}, inClear: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t)
			n.serve(c.host, ca, c.bearer)
			if c.plainOnly {
				n.plainOnly(c.host)
			}
			r, err := New(Settings{
				Addresses: []string{c.host + "/team/app"}, Logins: []Login{{c.host, "robot", secret("robot")}},
				PlainHTTP: c.plain, RootCAs: ca.pem(), Options: options, Dial: n.dial,
			})
			require.NoError(t, err)
			all, err := r.Repositories([]string{c.host + "/team/app"})
			require.NoError(t, err)
			_, err = all[0].Tags(t.Context())
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
			} else {
				require.NoError(t, err)
				assert.Equal(t, []string{"robot"}, n.users(c.host))
			}
			assert.Equal(t, c.inClear, len(n.clear[c.host]) > 0, n.clear)
			if c.fails != "" {
				assert.Empty(t, n.users(c.host))
			}

			// A base on the same terms, and by a mirror that is not named so.
			_, err = r.Bases().Base(t.Context(), c.host+"/team/app:1", "linux/amd64")
			require.Error(t, err)
			assert.Equal(t, c.inClear, len(n.clear[c.host]) > 0)
		})
	}
}

// A mirror without TLS is named by its own URL, and gets no login but its own.
func TestMirrorInClear(t *testing.T) {
	ca := newAuthority(t)
	n := newNetwork(t)
	n.serve(mirror, ca, false)
	n.serve(other, ca, false)
	n.plainOnly(mirror)
	r, err := New(Settings{
		Logins: []Login{{other, "reader", secret("reader")}}, Mirrors: []string{other + "=http://" + mirror},
		RootCAs: ca.pem(), Options: options, Dial: n.dial,
	})
	require.NoError(t, err)
	n.seed(r, mirror+"/team/base")
	n.forget()
	_, err = r.Bases().Base(t.Context(), other+"/team/base:1.0.0", "linux/amd64")
	require.NoError(t, err)
	assert.NotEmpty(t, n.clear[mirror])
	assert.Empty(t, n.users(mirror), "it is told nothing of the origin's login")
	assert.Empty(t, n.requests()[other])
}

// A registry that a release names leads nobody to this machine.
func TestLocalHosts(t *testing.T) {
	for _, host := range []string{
		"localhost", "localhost:5000", "app.localhost", "localhost.localdomain", "127.0.0.1", "127.1", "127.9.9.9:80", "2130706433", "0x7f000001", "0.0.0.0:5000",
		"[::1]", "[::1]:5000", "[::ffff:127.0.0.1]", "[fe80::1]", "169.254.169.254", "metadata.google.internal", "metadata.google.internal.:80", "metadata",
		"100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "LOCALHOST", "ip6-localhost", "224.0.0.1",
	} {
		assert.True(t, notation.IsLocalHost(host), host)
	}
	for _, host := range []string{"ghcr.io", "registry.example:5000", "10.0.0.1:5000", "192.168.1.1", "localhosts.example", "metadata.example", "[2001:db8::1]:5000", "8.8.8.8"} {
		assert.False(t, notation.IsLocalHost(host), host)
	}
	require.Error(t, distant("tcp", "127.0.0.1:443", nil))
	require.Error(t, distant("tcp", "[fe80::1]:443", nil))
	require.NoError(t, distant("tcp", "93.184.215.14:443", nil))

	const evil = "localhost:5000"
	r, err := New(Settings{Options: options})
	require.NoError(t, err)
	_, err = r.Repositories([]string{evil + "/team/app"})
	require.ErrorContains(t, err, `host "localhost:5000" is on this machine or its link, and only the release names it`)
	_, err = r.Bases().Base(t.Context(), "169.254.169.254/team/base", "linux/amd64")
	require.ErrorContains(t, err, `host "169.254.169.254" is on this machine`)
	for name, s := range map[string]Settings{
		"given": {Addresses: []string{evil + "/team/app"}}, "plain": {PlainHTTP: []string{evil}},
		"a login": {Logins: []Login{{evil, "robot", "x"}}}, "a mirror": {Mirrors: []string{"gcr.io=http://" + evil}},
	} {
		r, err := New(s)
		require.NoError(t, err, name)
		_, err = r.Repositories([]string{evil + "/team/app"})
		assert.NoError(t, err, name)
	}

	// Nor does what it answers.
	ca := newAuthority(t)
	n := newNetwork(t)
	n.serve("localhost", ca, false)
	trap := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://localhost/token",service="x"`)
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	trap.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, target)}}
	trap.StartTLS()
	defer trap.Close()
	n.at[target+":443"] = trap.Listener.Addr().String()
	r, err = New(Settings{RootCAs: ca.pem(), Options: options, Dial: n.dial})
	require.NoError(t, err)
	all, err := r.Repositories([]string{target + "/team/app"})
	require.NoError(t, err)
	_, err = all[0].Tags(t.Context())
	require.ErrorContains(t, err, "registry.example redirects to it")
	assert.Empty(t, n.requests()["localhost"])
}

func TestSettingsThatAreWrong(t *testing.T) {
	for says, s := range map[string]Settings{
		"with-plain-http --host=http://x: not a": {PlainHTTP: []string{"http://x"}},
		"with-plain-http --host=: not a host":    {PlainHTTP: []string{""}},
		`login of registry "ghcr.io" lacks`:      {Logins: []Login{{"ghcr.io", "", "x"}}},
		`read registry "https://ghcr.io"`:        {Logins: []Login{{"https://ghcr.io", "a", "b"}}},
		`mirror "gcr.io" is not HOST=URL`:        {Mirrors: []string{"gcr.io"}},
		`mirror "gcr.io=mirror.example" is not`:  {Mirrors: []string{"gcr.io=mirror.example"}},
		`mirror "gcr.io/a=https://x" is not`:     {Mirrors: []string{"gcr.io/a=https://x"}},
		`its URL has a login`:                    {Mirrors: []string{"gcr.io=https://a:b@mirror.example"}},
		`registry "index.docker.io" has two`:     {Mirrors: []string{"docker.io=https://a", "index.docker.io=https://b"}},
		`no certificate in PEM`:                  {RootCAs: []byte("x")},
		`read Docker's config.json`:              {DockerConfig: []byte(`{"auths":`)},
	} {
		_, err := New(s)
		assert.ErrorContains(t, err, says, says)
		if err != nil {
			assert.NotContains(t, err.Error(), "a:b")
		}
	}
}

func TestAddresses(t *testing.T) {
	addresses, notes, err := Addresses([]string{"ghcr.io/Acme/Server", "ghcr.io/acme/server", "quay.io/a"}, []string{"x/y"})
	require.NoError(t, err)
	assert.Equal(t, []string{"ghcr.io/acme/server", "quay.io/a"}, addresses)
	assert.Equal(t, []string{`repository "ghcr.io/Acme/Server" is written "ghcr.io/acme/server": registries take lower case only`}, notes)
	addresses, notes, err = Addresses(nil, []string{"ghcr.io/acme/server"})
	require.NoError(t, err)
	assert.Equal(t, []string{"ghcr.io/acme/server"}, addresses)
	assert.Empty(t, notes)
	_, _, err = Addresses(nil, nil)
	assert.ErrorContains(t, err, "pass --addresses")
}

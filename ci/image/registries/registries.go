// Package registries decides how each container registry is reached: with which
// login, over TLS or plain HTTP, and through which mirror.
//
// It is pure, except for the connections of the clients that it returns. It keeps
// these invariants:
//   - A login goes only to the host that it was given for, and to the token server
//     that this host names.
//   - Plain HTTP is only for hosts that the caller named for it.
//   - A host that only a release names is never on this machine or its link.
package registries

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/wire"
)

// Login is a user's name and password for a registry, "ghcr.io", or for a path
// in it, "ghcr.io/owner".
type Login struct{ Address, Username, Password string }

// Settings are the caller's settings of registries.
type Settings struct {
	// Addresses of image repositories that the caller gave. Those of a release's
	// manifest are not among them.
	Addresses []string
	// Logins, each for the host that it names.
	Logins []Login
	// DockerConfig is Docker's config.json, or nil.
	DockerConfig []byte
	// PlainHTTP lists the hosts without TLS, "registry.example.com:5000".
	PlainHTTP []string
	// Mirrors serve base images in place of a registry, each as HOST=URL:
	// "gcr.io=https://mirror.example.com/gcr".
	Mirrors []string
	// RootCAs are certificates, in PEM, to trust in addition to the system's, for
	// every host.
	RootCAs []byte
	// Options apply to all registries, except for credentials, TLS and transport,
	// which follow from the other settings.
	Options oci.RegistryOptions
	// Dial connects to an address, "host:port". By default, the system does.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Registries opens repositories and base images.
type Registries struct {
	options   oci.RegistryOptions
	transport *http.Transport
	keys      authn.Keychain
	docker    *oci.Docker
	plain     map[string]bool
	mirrors   map[string]*url.URL
	named     map[string]bool // hosts that the caller named in any way
	logins    map[string]bool // hosts of Logins
	requests  atomic.Int64
}

// Requests returns how many requests were sent to registries, their token servers
// and storage, retries included.
func (r *Registries) Requests() int64 { return r.requests.Load() }

// New checks the settings. It makes no request.
func New(s Settings) (*Registries, error) {
	r := &Registries{
		options: s.Options, plain: map[string]bool{}, mirrors: map[string]*url.URL{},
		named: map[string]bool{}, logins: map[string]bool{},
	}
	var err error
	if r.transport, err = wire.NewTransport(s.RootCAs); err != nil {
		return nil, err
	}
	d := &dialer{named: r.named}
	r.transport.Proxy, r.transport.DialContext = d.proxy, d.dial
	if s.Dial != nil {
		r.transport.DialContext = s.Dial
	}
	for _, host := range s.PlainHTTP {
		if strings.ContainsAny(host, "/@ ") || host == "" {
			return nil, fmt.Errorf("with-plain-http --host=%s: not a host: pass HOST or HOST:PORT, such as registry.example.com:5000", host)
		}
		r.plain[strings.ToLower(host)], r.named[oci.Host(host)] = true, true
	}
	for _, text := range s.Mirrors {
		if err := r.mirror(text); err != nil {
			return nil, err
		}
	}
	for _, a := range s.Addresses {
		r.named[hostOf(a)] = true
	}
	return r, r.login(s)
}

// login makes the keychain: the logins, then Docker's.
func (r *Registries) login(s Settings) error {
	// The longest address wins.
	logins := slices.SortedStableFunc(slices.Values(s.Logins), func(a, b Login) int { return len(b.Address) - len(a.Address) })
	var chains []authn.Keychain
	for _, l := range logins {
		if l.Username == "" || l.Password == "" {
			return fmt.Errorf("the login of registry %q lacks the user name or the password: pass both", l.Address)
		}
		// A password from a file often ends in a newline.
		chain, err := oci.Login(l.Address, l.Username, strings.TrimRight(l.Password, "\r\n"))
		if err != nil {
			return err
		}
		chains = append(chains, chain)
		host := hostOf(l.Address)
		r.named[host], r.logins[host] = true, true
	}
	if s.DockerConfig != nil {
		var err error
		if r.docker, err = oci.DockerConfig(s.DockerConfig); err != nil {
			return err
		}
		chains = append(chains, r.docker)
	}
	r.keys = authn.NewMultiKeychain(chains...) // the first with credentials wins
	return nil
}

func (r *Registries) mirror(text string) error {
	host, address, ok := strings.Cut(text, "=")
	u, err := url.Parse(address)
	if !ok || host == "" || strings.Contains(host, "/") || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("mirror %q is not HOST=URL: write it like gcr.io=https://mirror.example.com", text)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("mirror of %q: its URL has a login, a query or a fragment: remove it, and pass the login with with-registry-auth --address=%s", host, u.Host)
	}
	if other := r.mirrors[oci.Host(host)]; other != nil {
		return fmt.Errorf("registry %q has two mirrors, %s and %s: pass one", host, other, u)
	}
	u.Path = strings.Trim(u.Path, "/")
	r.mirrors[oci.Host(host)] = u
	r.named[oci.Host(u.Host)] = true
	if u.Scheme == "http" {
		r.plain[strings.ToLower(u.Host)] = true
	}
	return nil
}

// hostOf returns the registry of an address.
func hostOf(address string) string {
	host, _, _ := strings.Cut(address, "/")
	return oci.Host(host)
}

// ErrNowhere means that neither the caller nor the release names an image
// repository.
var ErrNowhere = errors.New("no image repository is known: pass --addresses, or set repositories in [package.metadata.gantry.image]")

// Addresses returns the repositories of a release's image, in lower case: those
// that the caller gave, or else those of its manifest.
func Addresses(given, manifest []string) (addresses, notes []string, err error) {
	if len(given) == 0 {
		given = manifest
	}
	for _, a := range given {
		lower := strings.ToLower(a)
		if lower != a {
			notes = append(notes, fmt.Sprintf("repository %q is written %q: registries take lower case only", a, lower))
		}
		if slices.Contains(addresses, lower) {
			continue
		}
		addresses = append(addresses, lower)
	}
	if len(addresses) == 0 {
		return nil, nil, ErrNowhere
	}
	return addresses, notes, nil
}

// Repositories opens image repositories, which the caller or a release named.
func (r *Registries) Repositories(addresses []string) ([]*oci.Repository, error) {
	var all []*oci.Repository
	for _, a := range addresses {
		host := hostOf(a)
		if err := r.permitted(host); err != nil {
			return nil, fmt.Errorf("open repository %q: %w", a, err)
		}
		// A config.json with a store of all logins may have one for this host as
		// well, which cannot be read.
		if r.docker != nil && r.docker.Store() != "" && !r.logins[host] && !r.docker.Has(host) {
			return nil, fmt.Errorf("open repository %q: %w", a, &oci.HelperError{Registry: host, Helper: r.docker.Store()})
		}
		repository, err := r.open(a)
		if err != nil {
			return nil, err
		}
		all = append(all, repository)
	}
	return all, nil
}

// Bases returns a reader of base images, which uses the mirrors.
func (r *Registries) Bases() oci.Bases {
	return oci.BasesFrom(func(registry, repository string) (*oci.Repository, error) {
		if u := r.mirrors[oci.Host(registry)]; u != nil {
			return r.open(strings.TrimSuffix(u.Host+"/"+u.Path, "/") + "/" + repository)
		}
		if err := r.permitted(oci.Host(registry)); err != nil {
			return nil, err
		}
		return r.open(registry + "/" + repository)
	})
}

// permitted refuses hosts on this machine or its link, unless the caller named
// them.
func (r *Registries) permitted(host string) error {
	if !r.named[host] && notation.IsLocalHost(host) {
		return fmt.Errorf("host %q is on this machine or its link, and only the release names it: to use it, pass it with --addresses or with-plain-http", host)
	}
	return nil
}

func (r *Registries) open(address string) (*oci.Repository, error) {
	host, _, _ := strings.Cut(address, "/")
	o := r.options
	o.Keychain, o.RootCAs = r.keys, nil
	o.PlainHTTP = r.plain[strings.ToLower(host)]
	reg, err := name.NewRegistry(host)
	if err != nil {
		return nil, fmt.Errorf("read repository %q: %w", address, err)
	}
	o.Transport = &guard{next: r.transport, r: r, host: reg.RegistryStr()}
	return oci.NewRepository(address, o)
}

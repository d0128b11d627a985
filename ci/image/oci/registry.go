package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/wire"
)

// RegistryOptions are the durable settings of a registry. The zero value reads and
// writes over HTTPS, without a login.
type RegistryOptions struct {
	// Keychain finds credentials; see [Login] and [DockerConfig]. By default, there
	// are none.
	Keychain authn.Keychain
	// PlainHTTP allows a registry without TLS, which gets credentials all the same.
	PlainHTTP bool
	// RootCAs are certificates, in PEM, to trust in addition to the system's. They
	// cannot be combined with Transport.
	RootCAs []byte
	// Transport carries the requests. By default, a new transport that uses the
	// environment's proxy.
	Transport http.RoundTripper
	// Tries is how often a request is tried while its failures are transient. By
	// default, 5.
	Tries int
	// Wait is the pause before the second try. It doubles with each further one. By
	// default, a second.
	Wait time.Duration
	// Timeout bounds the time without progress. By default, a minute.
	Timeout time.Duration
	// Jobs is how many blobs are sent at once. By default, 4.
	Jobs int
	// Sleep waits. By default, [wire.Sleep] does.
	Sleep func(context.Context, time.Duration) error
}

func (o RegistryOptions) withDefaults() (RegistryOptions, error) {
	o.Keychain = cmp.Or(o.Keychain, authn.NewMultiKeychain())
	o.Tries = cmp.Or(max(o.Tries, 0), 5)
	o.Wait = cmp.Or(max(o.Wait, 0), time.Second)
	o.Timeout = cmp.Or(max(o.Timeout, 0), time.Minute)
	o.Jobs = cmp.Or(max(o.Jobs, 0), 4)
	if o.Sleep == nil {
		o.Sleep = wire.Sleep
	}
	var err error
	o.Transport, err = wire.TransportOr(o.Transport, o.RootCAs)
	return o, err
}

// Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	repo  name.Repository
	o     RegistryOptions
	stats *stats

	mu       sync.Mutex
	sessions map[bool]http.RoundTripper // by whether they may write
	seen     map[v1.Hash]*found         // manifests that were read
}

// NewRepository checks the address, "ghcr.io/owner/name", and the options. It
// makes no request.
func NewRepository(address string, o RegistryOptions) (*Repository, error) {
	var options []name.Option
	if o.PlainHTTP {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(address, append(options, name.StrictValidation)...)
	if err == nil && strings.Contains(address, "://") {
		err = errors.New("it is a URL")
	}
	if err != nil {
		return nil, fmt.Errorf("read repository %q: %w: write it like ghcr.io/owner/name, without a tag", address, err)
	}
	if o, err = o.withDefaults(); err != nil {
		return nil, fmt.Errorf("open repository %q: %w", address, err)
	}
	return &Repository{repo: repo, o: o, stats: &stats{}, sessions: map[bool]http.RoundTripper{}, seen: map[v1.Hash]*found{}}, nil
}

// String returns the address of the repository.
func (r *Repository) String() string { return r.repo.Name() }

// Stats returns what was exchanged so far.
func (r *Repository) Stats() Stats { return r.stats.read() }

// options logs in, once, and returns what go-containerregistry needs.
func (r *Repository) options(ctx context.Context, write bool) ([]remote.Option, error) {
	session, err := r.session(ctx, write)
	if err != nil {
		return nil, err
	}
	return []remote.Option{
		remote.WithTransport(session), remote.WithContext(ctx), remote.WithJobs(r.o.Jobs),
		remote.WithRetryPredicate(transient),
		remote.WithRetryBackoff(remote.Backoff{Duration: r.o.Wait, Factor: 2, Jitter: 0.2, Steps: r.o.Tries}),
	}, nil
}

// session logs in, once.
//
// A repository to be written is also read with the right to write: some registries
// refuse to read one that doesn't exist yet.
func (r *Repository) session(ctx context.Context, write bool) (http.RoundTripper, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if session := r.sessions[write]; session != nil {
		return session, nil
	}
	auth, err := authn.Resolve(ctx, r.o.Keychain, r.repo)
	if err != nil {
		return nil, fmt.Errorf("find credentials for %q: %w", r.repo, err)
	}
	scope := transport.PullScope
	if write && auth != authn.Anonymous { // without a login, reading may be allowed
		scope = transport.PushScope
	}
	session, err := transport.NewWithContext(ctx, r.repo.Registry, auth, &retrying{r.o.Transport, r.o, r.stats}, []string{r.repo.Scope(scope)})
	if err != nil {
		return nil, hint(err)
	}
	r.sessions[write] = session
	return session, nil
}

// isManifest refuses what a proxy may answer in the registry's place.
func isManifest(d *remote.Descriptor) error {
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() && !d.MediaType.IsSchema1() {
		return fmt.Errorf("the answer is a %q, not a manifest: is there a proxy in between?", d.MediaType)
	}
	return nil
}

func (r *Repository) reference(s string) name.Reference {
	if _, err := v1.NewHash(s); err == nil {
		return r.repo.Digest(s)
	}
	return r.repo.Tag(s)
}

// Digest returns the digest of a tag, or a digest itself if it exists. Its error
// wraps [ErrNotFound] only if the registry confirmed that there is none.
func (r *Repository) Digest(ctx context.Context, reference string) (v1.Hash, error) {
	f, err := r.manifest(ctx, false, reference)
	if err != nil {
		return v1.Hash{}, err
	}
	return f.digest, nil
}

var errNoIndex = errors.New("not an index of platforms")

// Index reads the index of a tag or a digest. Its images and layers are read on
// demand, within the same context.
func (r *Repository) Index(ctx context.Context, reference string) (v1.ImageIndex, error) {
	return r.index(ctx, false, reference)
}

func (r *Repository) index(ctx context.Context, write bool, reference string) (v1.ImageIndex, error) {
	d, err := r.descriptor(ctx, write, reference)
	if err != nil {
		return nil, err
	}
	if !d.MediaType.IsIndex() {
		return nil, fmt.Errorf("read %s of %q: %w, but a %q", reference, r, errNoIndex, d.MediaType)
	}
	index, err := d.ImageIndex()
	if err != nil {
		return nil, fmt.Errorf("read %s of %q: %w", reference, r, err)
	}
	return index, nil
}

func (r *Repository) descriptor(ctx context.Context, write bool, reference string) (*remote.Descriptor, error) {
	options, err := r.options(ctx, write)
	if err != nil {
		return nil, fmt.Errorf("read %s of %q: %w", reference, r, err)
	}
	d, err := remote.Get(r.reference(reference), options...)
	switch {
	case confirmedAbsent(err):
		return nil, fmt.Errorf("read %s of %q: %w: %w", reference, r, ErrNotFound, err)
	case err != nil:
		return nil, fmt.Errorf("read %s of %q: %w", reference, r, hint(err))
	}
	if err := isManifest(d); err != nil {
		return nil, fmt.Errorf("read %s of %q: %w", reference, r, err)
	}
	return d, nil
}

// push sends an index by digest, after the blobs and manifests of its images. It
// skips what exists.
func (r *Repository) push(ctx context.Context, index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	im, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range im.Manifests {
		if !d.MediaType.IsImage() {
			return fmt.Errorf("the index contains a %q instead of an image", d.MediaType)
		}
	}
	options, err := r.options(ctx, true)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return err
	}
	// A registry that lost an image may still have the index, so images come first.
	// One that fails does not stop the others, which then need not be sent again.
	var g errgroup.Group
	g.SetLimit(r.o.Jobs)
	for _, d := range im.Manifests {
		g.Go(func() error {
			img, err := index.Image(d.Digest)
			if err != nil {
				return err
			}
			return pusher.Push(ctx, r.repo.Digest(d.Digest.String()), img)
		})
	}
	if err := g.Wait(); err != nil {
		return hint(err)
	}
	return hint(pusher.Push(ctx, r.repo.Digest(digest.String()), index))
}

// tag makes a tag name the index, which must exist. It tries once: the caller must
// look before it tries again.
func (r *Repository) tag(ctx context.Context, tag string, index partial.WithRawManifest) error {
	options, err := r.options(ctx, true)
	if err != nil {
		return err
	}
	return hint(remote.Put(r.repo.Tag(tag), index, append(options, remote.WithRetryBackoff(remote.Backoff{Steps: 1}))...))
}

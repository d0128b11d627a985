// Package image runs the stages of phase 2: assemble, smoke test, publish,
// verify, reconcile.
//
// It ties ci/published and ci/oci together and adds what needs an engine: the
// smoke test. It keeps one invariant: it only reads the release, so that no
// failure here can change one.
package image

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"dagger/gantry/ci/cargo"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/oci"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// Registries are the settings of the registries that are written and read.
type Registries struct {
	// Username and Password are sent to the registries of the addresses.
	Username string
	Password string
	// DockerConfig is a config.json of Docker's, with credentials.
	DockerConfig []byte
	// PlainHTTP allows registries without TLS.
	PlainHTTP bool
	// RootCAs are trusted besides the system's, in PEM.
	RootCAs []byte
	// Mirrors serve base images instead of the registry they are named after,
	// "gcr.io=http://mirror:5000".
	Mirrors []string
}

// options for the repositories of addresses, and for base images.
func (r Registries) options(addresses []string) (oci.RegistryOptions, error) {
	o := oci.RegistryOptions{PlainHTTP: r.PlainHTTP, RootCAs: r.RootCAs}
	var chains []authn.Keychain
	if r.Username != "" || r.Password != "" {
		if r.Username == "" || r.Password == "" {
			return o, fmt.Errorf("a user name and a password belong together: pass both --username and --password")
		}
		for _, a := range addresses {
			host, _, _ := strings.Cut(a, "/")
			login, err := oci.Login(host, r.Username, r.Password)
			if err != nil {
				return o, err
			}
			chains = append(chains, login)
		}
	}
	if r.DockerConfig != nil {
		config, err := oci.DockerConfig(r.DockerConfig)
		if err != nil {
			return o, err
		}
		chains = append(chains, config)
	}
	if len(chains) > 0 {
		o.Keychain = oci.Keychains(chains...)
	}
	return o, nil
}

// Bases reads base images, from mirrors where there are.
func (r Registries) Bases() (oci.Bases, error) {
	o, err := r.options(nil)
	if err != nil {
		return nil, err
	}
	return r.bases(o)
}

// bases reads base images, from mirrors where there are.
func (r Registries) bases(o oci.RegistryOptions) (oci.Bases, error) {
	if len(r.Mirrors) == 0 {
		return oci.RegistryBases(o), nil
	}
	m := mirrors{next: http.DefaultTransport, at: map[string]*url.URL{}}
	for _, text := range r.Mirrors {
		host, address, ok := strings.Cut(text, "=")
		u, err := url.Parse(address)
		if !ok || err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("mirror %q is not HOST=URL, such as gcr.io=https://mirror.example.com", text)
		}
		m.at[host] = u
	}
	o.Transport, o.RootCAs = m, nil
	return oci.RegistryBases(o), nil
}

// mirrors sends the requests for some registries elsewhere.
type mirrors struct {
	next http.RoundTripper
	at   map[string]*url.URL
}

// RoundTrip implements http.RoundTripper.
func (m mirrors) RoundTrip(req *http.Request) (*http.Response, error) {
	if u := m.at[req.URL.Host]; u != nil {
		req = req.Clone(req.Context())
		req.URL.Scheme, req.URL.Host, req.Host = u.Scheme, u.Host, u.Host
	}
	return m.next.RoundTrip(req)
}

// Repositories opens the addresses.
func (r Registries) Repositories(addresses []string) ([]*oci.Repository, error) {
	if len(addresses) == 0 {
		return nil, fmt.Errorf("no image repository is known: pass --addresses, or set repositories in [package.metadata.gantry.image]")
	}
	o, err := r.options(addresses)
	if err != nil {
		return nil, err
	}
	var all []*oci.Repository
	for _, a := range addresses {
		repository, err := oci.NewRepository(a, o)
		if err != nil {
			return nil, err
		}
		all = append(all, repository)
	}
	return all, nil
}

// Addresses of a release's images: those given, or those of its manifest.
func Addresses(given []string, m *manifest.Manifest) []string {
	if len(given) == 0 && m.Image != nil {
		return m.Image.Repositories
	}
	return given
}

// Assembled is an image in a file.
type Assembled struct {
	// Path of an OCI archive.
	Path string
	// Digest of the index, "sha256:…".
	Digest string
	// Platforms of the index, "linux/amd64".
	Platforms []string
}

// Assemble makes the image of a release and leaves it in the function's own
// file system. Where one of the repositories has the version's image already,
// the base images are those that it was made from.
func Assemble(ctx context.Context, r *published.Release, registries Registries, repositories []*oci.Repository) (*Assembled, error) {
	bases, err := registries.Bases()
	if err != nil {
		return nil, err
	}
	if len(repositories) > 0 {
		// One registry that can't be read must not hold up the others; publishing
		// to it will say what is wrong.
		pins, err := oci.PublishedPins(ctx, r.ExactTag(), repositories...)
		if err != nil {
			fmt.Fprintf(os.Stderr, "base images of a published image are unknown: %v\n", err)
		}
		bases = pins.With(bases)
	}
	image, err := oci.Assemble(ctx, r.Release, oci.AssembleOptions{Bases: bases})
	if err != nil {
		return nil, err
	}
	defer func() { _ = image.Close() }()
	dir, err := os.MkdirTemp("", "layout-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := oci.WriteLayout(dir, image.Index, r.Manifest.Version); err != nil {
		return nil, err
	}
	out := &Assembled{Path: "image-" + image.Digest.Hex[:12] + ".tar", Digest: image.Digest.String()}
	for _, p := range image.Platforms {
		out.Platforms = append(out.Platforms, p.Platform)
	}
	f, err := os.Create(out.Path)
	if err != nil {
		return nil, err
	}
	return out, errors.Join(oci.WriteTarball(f, dir), f.Close())
}

// Smoke starts the image on each platform, foreign ones under emulation, with
// --version: it must say the version. What is tested is the archive that is
// published, and it runs as the user that the image names.
func Smoke(ctx context.Context, client *dagger.Client, archive *dagger.File, platforms []string, version string) (string, error) {
	var report strings.Builder
	for _, p := range platforms {
		ctr := client.Container(dagger.ContainerOpts{Platform: dagger.Platform(p)}).Import(archive)
		said, err := ctr.WithExec([]string{"--version"}, dagger.ContainerWithExecOpts{UseEntrypoint: true}).Stdout(ctx)
		if err != nil {
			return report.String(), cargo.Explain(fmt.Sprintf("start the image on %s", p), err)
		}
		if !strings.Contains(said, version) {
			return report.String(), fmt.Errorf("start the image on %s: it says %q, which does not name version %q", p, strings.TrimSpace(said), version)
		}
		fmt.Fprintf(&report, "%s: %s\n", p, strings.TrimSpace(said))
	}
	return report.String(), nil
}

// Publication is what to publish, and where.
type Publication struct {
	Release      *published.Release
	Repositories []*oci.Repository
	// Archive is the image, as Assemble left it.
	Archive   *dagger.File
	Platforms []string
	// SkipSmoke leaves the smoke test out.
	SkipSmoke, DryRun bool
}

// Publish publishes an assembled image.
func Publish(ctx context.Context, client *dagger.Client, p Publication) (*oci.Report, error) {
	dir, err := os.MkdirTemp("", "publish-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "image.tar")
	if _, err := p.Archive.Export(ctx, path); err != nil {
		return nil, fmt.Errorf("take the image: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	index, err := oci.ReadTarball(f, filepath.Join(dir, "layout"))
	if err != nil {
		return nil, err
	}
	publication := oci.Publication{Version: p.Release.Version(), Manifest: p.Release.Manifest, Index: index, Known: p.Release.Known, DryRun: p.DryRun}
	if !p.SkipSmoke {
		publication.Smoke = func(ctx context.Context) error {
			said, err := Smoke(ctx, client, p.Archive, p.Platforms, p.Release.Manifest.Version)
			fmt.Fprint(os.Stderr, said)
			return err
		}
	}
	return oci.Publish(ctx, publication, p.Repositories...)
}

// Candidates are the tags of the last releases of a repository, newest first.
func Candidates(ctx context.Context, client *github.Client, owner, name string, last int) ([]string, error) {
	releases, err := client.LatestReleases(ctx, owner, name, last, nil)
	if err != nil {
		return nil, err
	}
	var tags []string
	for _, r := range releases {
		tags = append(tags, r.Tag)
	}
	return tags, nil
}

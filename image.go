package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/reconcile"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// Images is phase 2: it makes container images of published releases. It only
// ever reads a release.
type Images struct {
	// +private
	Repository string
	// +private
	Token *dagger.Secret
	// +private
	APIURL string
	// +private
	DownloadURL string
	// +private
	RootCAs *dagger.File
	// +private
	Username string
	// +private
	Password *dagger.Secret
	// +private
	DockerConfig *dagger.Secret
	// +private
	Logins []*RegistryLogin
	// +private
	Settings string
	// +private
	PlainHTTP []string
	// +private
	Mirrors []string
	// +private
	Wait int
}

// RegistryLogin is a user name and a password for one registry.
type RegistryLogin struct {
	// +private
	Address string
	// +private
	Username string
	// +private
	Secret *dagger.Secret
}

// Images makes container images of published releases, without a source.
//
// They are made of the release's own binaries.
func (g *Gantry) Images(
	// GitHub repository of the releases, as owner/name.
	repository string,
	// Token that may read the repository, if it is private.
	// +optional
	token *dagger.Secret,
	// Base of GitHub's API. By default, https://api.github.com/.
	// +optional
	apiURL string,
	// Base of pages and downloads. By default, it follows from the API's.
	// +optional
	downloadURL string,
	// Certificates in PEM to trust in addition to the system's, for GitHub,
	// registries and mirrors.
	// +optional
	rootCAs *dagger.File,
	// User name for the registries of --addresses, and for no other. See
	// with-registry-auth for logins of registries by name.
	// +optional
	username string,
	// Password or token for the registries of --addresses.
	// +optional
	password *dagger.Secret,
	// Docker's config.json with logins for registries. Credential helpers are
	// not run.
	// +optional
	dockerConfig *dagger.Secret,
	// Registries to reach over plain HTTP, each as HOST or HOST:PORT. All others
	// are reached over TLS.
	// +optional
	plainHTTP []string,
	// Mirrors of the registries of base images, each as HOST=URL:
	// "gcr.io=https://mirror.example.com/gcr". Each has its own login.
	// +optional
	mirrors []string,
	// Seconds to wait for the release of an event to be complete. The release of
	// a tag is not waited for.
	// +default=300
	wait int,
) *Images {
	return &Images{
		Repository: repository, Token: token, APIURL: apiURL, DownloadURL: downloadURL, RootCAs: rootCAs,
		Username: username, Password: password, DockerConfig: dockerConfig, PlainHTTP: plainHTTP, Mirrors: mirrors, Wait: wait,
	}
}

// WithRegistryAuth adds the login of a registry, of images or base images.
//
// The login is sent to that registry only, and to the token server that it
// names. May be used several times.
func (m *Images) WithRegistryAuth(
	// Registry, such as "ghcr.io", or a path in it, such as "ghcr.io/owner".
	address string,
	// User name.
	username string,
	// Password or token.
	secret *dagger.Secret,
) *Images {
	with := *m
	with.Logins = append(slices.Clone(m.Logins), &RegistryLogin{Address: address, Username: username, Secret: secret})
	return &with
}

// WithImageSettings replaces image settings of a published release.
//
// For a release whose image can't be made as its manifest asks for, or should be
// made otherwise. Only what is passed is replaced; labels, variables and files
// are added. The image's annotations name the settings that were replaced.
func (m *Images) WithImageSettings(
	// Base image, for all platforms.
	// +optional
	base string,
	// Entrypoint, one element each.
	// +optional
	entrypoint []string,
	// Default arguments, one element each.
	// +optional
	cmd []string,
	// User, as UID[:GID] or a name of the base image.
	// +optional
	user string,
	// Working directory.
	// +optional
	workdir string,
	// Ports, such as "8080/tcp".
	// +optional
	expose []string,
	// Labels, each as KEY=VALUE.
	// +optional
	labels []string,
	// Environment variables, each as KEY=VALUE.
	// +optional
	env []string,
	// Files or directories of the archives, each as PATH=/PATH/IN/IMAGE.
	// +optional
	include []string,
	// Platforms, such as "linux/amd64".
	// +optional
	platforms []string,
	// Arguments to start the image with in the smoke test. By default, --version.
	// +optional
	smokeArgs []string,
	// Text that the output of the smoke test must contain. By default, the version.
	// +optional
	smokeExpect string,
) (*Images, error) {
	settings, err := published.Settings{
		Base: base, Entrypoint: entrypoint, Cmd: cmd, User: user, Workdir: workdir, Expose: expose,
		Labels: labels, Env: env, Include: include, Platforms: platforms, SmokeArgs: smokeArgs, SmokeExpect: smokeExpect,
	}.Text(m.Settings)
	if err != nil {
		return nil, err
	}
	with := *m
	with.Settings = settings
	return &with, nil
}

// Image is the multi-arch container image of one release. Its digest is fixed
// before anything is pushed.
type Image struct {
	// Digest of the image index, "sha256:…".
	Digest string
	// Version of the release.
	Version string
	// Platforms of the index, "linux/amd64".
	Platforms []string

	// +private
	Archive *dagger.File
	// +private
	Of *Images
	// +private
	Tag string
	// +private
	Addresses []string
	// +private
	Manifest string
}

// Image assembles the multi-arch image of a release.
//
// For each platform it has the base image and one layer with the binaries of
// the release's archives, verified.
//
// +cache="session"
func (m *Images) Image(
	ctx context.Context,
	// Tag of the release.
	// +optional
	tag string,
	// GitHub's event that asks for the image, a file such as $GITHUB_EVENT_PATH:
	// release, repository_dispatch, workflow_dispatch or workflow_run.
	// +optional
	event *dagger.File,
	// Image repositories that the image is for: where one has the version's image
	// already, the same base images are used. By default, those of the release's
	// manifest.
	// +optional
	addresses []string,
) (*Image, error) {
	r, err := m.release(ctx, tag, event)
	if err != nil {
		return nil, err
	}
	return m.assemble(ctx, r, addresses)
}

// Publish publishes the image of a release: push, smoke test, tags.
//
// It is pushed by digest, smoke tested on every platform, tagged with the exact
// version, once and for all, and then with the floating tags for which it is the
// highest. Run again, it sends nothing that is there.
//
// +cache="session"
func (m *Images) Publish(
	ctx context.Context,
	// Tag of the release.
	// +optional
	tag string,
	// GitHub's event that asks for the image, a file such as $GITHUB_EVENT_PATH:
	// release, repository_dispatch, workflow_dispatch or workflow_run.
	// +optional
	event *dagger.File,
	// Image repositories, such as "ghcr.io/owner/name". By default, those of
	// the release's manifest.
	// +optional
	addresses []string,
	// Skip the smoke test.
	// +optional
	skipSmoke bool,
	// Report what would be done, and write nothing.
	// +optional
	dryRun bool,
	// Print the report as JSON, for programs.
	// +optional
	asJSON bool,
) (string, error) {
	r, err := m.release(ctx, tag, event)
	if err != nil {
		return image.Skipped(err, asJSON)
	}
	report, err := m.publish(ctx, r, addresses, skipSmoke, dryRun)
	return tell(report, err, asJSON)
}

// Reconcile publishes images missing from recent releases.
//
// It makes up for lost events and failures, and is intended to run on a
// schedule. It waits for no release, and skips those that Gantry didn't make.
//
// +cache="session"
func (m *Images) Reconcile(
	ctx context.Context,
	// How many of the newest releases that have an image to look at.
	// +default=10
	last int,
	// Image repositories. By default, those of each release's manifest.
	// +optional
	addresses []string,
	// Component whose releases count. By default, every one that has an image.
	// +optional
	component string,
	// Skip the smoke test.
	// +optional
	skipSmoke bool,
	// Report what would be published, and write nothing.
	// +optional
	dryRun bool,
) (string, error) {
	client, err := m.client(ctx)
	if err != nil {
		return "", err
	}
	settings, err := m.settings(ctx)
	if err != nil {
		return "", err
	}
	settings.Addresses = addresses
	if m.Settings != "" {
		return "", errors.New("image settings are for one release, and reconcile looks at several: publish that release with them (publish --tag)")
	}
	report, err := reconcile.Run(ctx, reconcile.Options{
		Client: client, Repository: m.Repository, Last: last, Component: component, Settings: settings, DryRun: dryRun,
		Publish: func(ctx context.Context, r *published.Release, from *registries.Registries, to []*oci.Repository) error {
			report, err := m.publishTo(ctx, r, from, to, skipSmoke, false)
			if report != nil {
				fmt.Fprint(os.Stderr, report.Text())
			}
			return err
		},
	})
	return tell(report, err, false)
}

// Verify compares a published image with its release, byte for byte.
//
// On every platform each binary's bytes are those of the release's archive, the
// digest is that of the image assembled anew, and the annotations agree.
//
// +cache="session"
func (m *Images) Verify(
	ctx context.Context,
	// Image to verify, "ghcr.io/owner/name"; with a tag or a digest, that one.
	// By default, the version's own tag.
	ref string,
	// Tag of the release.
	tag string,
) (string, error) {
	r, err := m.release(ctx, tag, nil)
	if err != nil {
		return "", err
	}
	address, reference := oci.SplitReference(ref)
	repositories, from, err := m.repositories(ctx, r, []string{address})
	if err != nil {
		return "", err
	}
	assembled, err := image.Assemble(ctx, r, from, repositories)
	if err != nil {
		return "", err
	}
	digest, err := v1.NewHash(assembled.Digest)
	if err != nil {
		return "", err
	}
	verified, err := oci.VerifyImage(ctx, r.Manifest, repositories[0], oci.VerifyOptions{Reference: reference, Digest: digest, Bases: from.Bases()})
	if err != nil {
		return "", err
	}
	if len(verified.Findings) == 0 {
		return fmt.Sprintf("verified: %s is release %s of %s, byte for byte, on %s\ndigest: %s\n%s",
			ref, tag, m.Repository, strings.Join(assembled.Platforms, ", "), assembled.Digest, verified.Text()), nil
	}
	return "", fmt.Errorf("image %q is not release %q of %s:\n%s", ref, tag, m.Repository, strings.TrimSpace(verified.Text()))
}

// Explain says which tags the image of a release gets or keeps, and why.
//
// It goes by the releases and by the tags that the repositories have.
//
// +cache="session"
func (m *Images) Explain(
	ctx context.Context,
	// Tag of the release.
	tag string,
	// Image repositories. By default, those of the release's manifest.
	// +optional
	addresses []string,
) (string, error) {
	r, err := m.release(ctx, tag, nil)
	if err != nil {
		return "", err
	}
	repositories, _, err := m.repositories(ctx, r, addresses)
	if err != nil {
		return "", err
	}
	return oci.Explain(ctx, oci.Candidate{Manifest: r.Manifest, Known: r.Known, Flagged: r.Flagged, Repositories: repositories})
}

// Container is the image on one platform, to run or to build upon.
func (i *Image) Container(
	// Platform, such as "linux/arm64"; a foreign one runs under emulation. By
	// default, the engine's own.
	// +optional
	platform dagger.Platform,
) *dagger.Container {
	return dag.Container(dagger.ContainerOpts{Platform: platform}).Import(i.Archive)
}

// Tarball is the image of all platforms as an OCI archive.
func (i *Image) Tarball() *dagger.File { return i.Archive }

// Smoke starts the image on every platform, and compares what it prints.
//
// By default, it is started with --version and must print its version. Foreign
// platforms are emulated.
func (i *Image) Smoke(ctx context.Context) (string, error) {
	return image.SmokeOf(ctx, dag, i.Archive, i.Platforms, i.Manifest)
}

// WithRegistryAuth adds the login of a registry to publish to.
//
// The login is sent to that registry only, and to the token server that it
// names. May be used several times.
func (i *Image) WithRegistryAuth(
	// Registry, such as "ghcr.io", or a path in it, such as "ghcr.io/owner".
	address string,
	// User name.
	username string,
	// Password or token.
	secret *dagger.Secret,
) *Image {
	with := *i
	with.Of = i.Of.WithRegistryAuth(address, username, secret)
	return &with
}

// Publish publishes this very image, as the function publish of images does.
//
// +cache="session"
func (i *Image) Publish(
	ctx context.Context,
	// Image repositories, such as "ghcr.io/owner/name". By default, those that
	// the image was assembled for.
	// +optional
	addresses []string,
	// Skip the smoke test.
	// +optional
	skipSmoke bool,
	// Report what would be done, and write nothing.
	// +optional
	dryRun bool,
) (string, error) {
	r, err := i.Of.release(ctx, i.Tag, nil)
	if err != nil {
		return "", err
	}
	if len(addresses) == 0 {
		addresses = i.Addresses
	}
	repositories, _, err := i.Of.repositories(ctx, r, addresses)
	if err != nil {
		return "", err
	}
	report, err := image.Publish(ctx, dag, image.Publication{
		Release: r, Repositories: repositories, Archive: i.Archive, Platforms: i.Platforms, SkipSmoke: skipSmoke, DryRun: dryRun, Compare: true,
	})
	return tell(report, err, false)
}

func (m *Images) client(ctx context.Context) (*github.Client, error) {
	return githubClient(ctx, m.Token, endpoint{m.APIURL, "", m.DownloadURL, m.RootCAs})
}

// release that a tag or an event is about.
func (m *Images) release(ctx context.Context, tag string, file *dagger.File) (*published.Release, error) {
	client, err := m.client(ctx)
	if err != nil {
		return nil, err
	}
	q := published.Request{Repository: m.Repository, Tag: tag}
	if file != nil {
		text, err := file.Contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the event: %v", err)
		}
		q.Event = []byte(text)
	}
	return published.Find(ctx, client, q, published.Options{
		Wait: time.Duration(m.Wait) * time.Second, Settings: m.Settings,
		Progress: func(why string) { fmt.Fprintf(os.Stderr, "waiting for the release: %s\n", why) },
	})
}

// repositories of a release's images, and how registries are reached.
func (m *Images) repositories(ctx context.Context, r *published.Release, given []string) ([]*oci.Repository, *registries.Registries, error) {
	settings, err := m.settings(ctx)
	if err != nil {
		return nil, nil, err
	}
	return image.Repositories(settings, given, r.Manifest)
}

// settings of registries, with the secrets and files read.
func (m *Images) settings(ctx context.Context) (registries.Settings, error) {
	s := registries.Settings{Username: m.Username, PlainHTTP: m.PlainHTTP, Mirrors: m.Mirrors}
	var errs []error
	read := func(what string, from interface {
		Plaintext(context.Context) (string, error)
	},
	) string {
		text, err := from.Plaintext(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("read %s: %v", what, err))
		}
		return text
	}
	if m.Password != nil {
		s.Password = read("the password", m.Password)
	}
	if m.DockerConfig != nil {
		s.DockerConfig = []byte(read("Docker's config.json", m.DockerConfig))
	}
	for _, l := range m.Logins {
		s.Logins = append(s.Logins, registries.Login{Address: l.Address, Username: l.Username, Password: read("the password of "+l.Address, l.Secret)})
	}
	if m.RootCAs != nil {
		pem, err := m.RootCAs.Contents(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("read --root-cas: %v", err))
		}
		s.RootCAs = []byte(pem)
	}
	return s, errors.Join(errs...)
}

// assemble the image of a release for repositories, of which none need be known.
func (m *Images) assemble(ctx context.Context, r *published.Release, addresses []string) (*Image, error) {
	settings, err := m.settings(ctx)
	if err != nil {
		return nil, err
	}
	assembled, err := image.Preview(ctx, r, settings, addresses)
	if err != nil {
		return nil, err
	}
	return m.of(r, assembled, addresses), nil
}

func (m *Images) of(r *published.Release, assembled *image.Assembled, addresses []string) *Image {
	return &Image{
		Digest: assembled.Digest, Version: r.Manifest.Version, Platforms: assembled.Platforms,
		Archive: dag.CurrentModule().WorkdirFile(assembled.Path), Of: m, Tag: r.Manifest.Tag, Addresses: addresses, Manifest: assembled.Manifest,
	}
}

func (m *Images) publish(ctx context.Context, r *published.Release, addresses []string, skipSmoke, dryRun bool) (*oci.Report, error) {
	repositories, from, err := m.repositories(ctx, r, addresses)
	if err != nil {
		return nil, err
	}
	return m.publishTo(ctx, r, from, repositories, skipSmoke, dryRun)
}

func (m *Images) publishTo(ctx context.Context, r *published.Release, from *registries.Registries, repositories []*oci.Repository, skipSmoke, dryRun bool) (*oci.Report, error) {
	assembled, err := image.Assemble(ctx, r, from, repositories)
	if err != nil {
		return nil, err
	}
	img := m.of(r, assembled, nil)
	fmt.Fprintf(os.Stderr, "image %s: %s\n", img.Version, img.Digest)
	return image.Publish(ctx, dag, image.Publication{
		Release: r, Repositories: repositories, Archive: img.Archive, Platforms: img.Platforms, SkipSmoke: skipSmoke, DryRun: dryRun,
	})
}

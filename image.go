package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image"
	"dagger/gantry/ci/oci"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/workspace"
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
	PlainHTTP bool
	// +private
	Mirrors []string
	// +private
	Wait int
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
	// Certificates in PEM to trust besides the system's, for GitHub and for
	// registries.
	// +optional
	rootCAs *dagger.File,
	// User name for the image registries.
	// +optional
	username string,
	// Password or token for the image registries.
	// +optional
	password *dagger.Secret,
	// Docker's config.json with credentials for registries, besides or instead
	// of user name and password.
	// +optional
	dockerConfig *dagger.Secret,
	// Speak plain HTTP to the image registries.
	// +optional
	plainHTTP bool,
	// Mirrors of the registries of base images, each as HOST=URL:
	// "gcr.io=https://mirror.example.com".
	// +optional
	mirrors []string,
	// Seconds to wait for a release that is not complete yet.
	// +default=300
	wait int,
) *Images {
	return &Images{
		Repository: repository, Token: token, APIURL: apiURL, DownloadURL: downloadURL, RootCAs: rootCAs,
		Username: username, Password: password, DockerConfig: dockerConfig, PlainHTTP: plainHTTP, Mirrors: mirrors, Wait: wait,
	}
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
	// GitHub's event that asks for the image, a file such as
	// $GITHUB_EVENT_PATH: release, repository_dispatch or workflow_dispatch.
	// +optional
	event *dagger.File,
) (*Image, error) {
	r, err := m.release(ctx, tag, event)
	if err != nil {
		return nil, err
	}
	return m.assemble(ctx, r, nil)
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
	// GitHub's event that asks for the image, a file such as
	// $GITHUB_EVENT_PATH: release, repository_dispatch or workflow_dispatch.
	// +optional
	event *dagger.File,
	// Image repositories, such as "ghcr.io/owner/name". By default, those of
	// the release's manifest.
	// +optional
	addresses []string,
	// Leave the smoke test out.
	// +optional
	skipSmoke bool,
	// Say what would be done, and write nothing.
	// +optional
	dryRun bool,
	// Print the report as JSON, for programs.
	// +optional
	asJSON bool,
) (string, error) {
	r, err := m.release(ctx, tag, event)
	if err != nil {
		return "", err
	}
	report, err := m.publish(ctx, r, addresses, skipSmoke, dryRun)
	return tell(report, err, asJSON)
}

// Reconcile publishes what the last releases lack in the image repositories.
//
// It makes up for lost events and for failures, and is made for a schedule.
//
// +cache="session"
func (m *Images) Reconcile(
	ctx context.Context,
	// How many of the last published releases to look at.
	// +default=10
	last int,
	// Image repositories. By default, those of each release's manifest.
	// +optional
	addresses []string,
	// Component whose releases count. By default, every one that has an image.
	// +optional
	component string,
	// Leave the smoke test out.
	// +optional
	skipSmoke bool,
	// Say what would be published, and write nothing.
	// +optional
	dryRun bool,
) (string, error) {
	client, err := m.client(ctx)
	if err != nil {
		return "", err
	}
	owner, name, err := workspace.Repository(m.Repository)
	if err != nil {
		return "", err
	}
	tags, err := image.Candidates(ctx, client, owner, name, last)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	var errs []error
	// Oldest first, so that no floating tag waits for a lower version.
	for _, tag := range slices.Backward(tags) {
		line, err := m.reconcile(ctx, tag, addresses, component, skipSmoke, dryRun)
		if err != nil {
			errs = append(errs, fmt.Errorf("release %q: %w", tag, err))
			line = "failed: " + err.Error()
		}
		fmt.Fprintf(&out, "%s: %s\n", tag, line)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprint(os.Stderr, out.String())
		return "", err
	}
	return out.String(), nil
}

func (m *Images) reconcile(ctx context.Context, tag string, addresses []string, component string, skipSmoke, dryRun bool) (string, error) {
	r, err := m.release(ctx, tag, nil)
	if err != nil {
		return "", err
	}
	if component != "" && r.Manifest.Component != component {
		return "passed over: it is of component " + r.Manifest.Component, nil
	}
	if r.Manifest.Image == nil {
		return "passed over: it has no image", nil
	}
	repositories, _, err := m.repositories(ctx, r, addresses)
	if err != nil {
		return "", err
	}
	survey := oci.MissingFrom(ctx, oci.Candidate{Manifest: r.Manifest, Known: r.Known, Repositories: repositories})
	if len(survey.Missing[0]) == 0 {
		return "all as it should be", nil
	}
	var lacks []string
	for _, l := range survey.Missing[0] {
		lacks = append(lacks, l.String())
	}
	why := strings.Join(lacks, "; ")
	if dryRun {
		return "would be published: " + why, nil
	}
	report, err := m.publish(ctx, r, addresses, skipSmoke, false)
	if report != nil {
		fmt.Fprint(os.Stderr, report.Text())
	}
	return "published: " + why, err
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
	repositories, registries, err := m.repositories(ctx, r, []string{address})
	if err != nil {
		return "", err
	}
	assembled, err := image.Assemble(ctx, r, registries, repositories)
	if err != nil {
		return "", err
	}
	digest, err := v1.NewHash(assembled.Digest)
	if err != nil {
		return "", err
	}
	bases, err := registries.Bases()
	if err != nil {
		return "", err
	}
	verified, err := oci.VerifyImage(ctx, r.Manifest, repositories[0], oci.VerifyOptions{Reference: reference, Digest: digest, Bases: bases})
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
	return oci.Explain(ctx, oci.Candidate{Manifest: r.Manifest, Known: r.Known, Repositories: repositories})
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

// Smoke starts the image on every platform, which must say its version.
//
// It is started with --version, on foreign platforms under emulation.
func (i *Image) Smoke(ctx context.Context) (string, error) {
	return image.Smoke(ctx, dag, i.Archive, i.Platforms, i.Version)
}

// Publish publishes this very image, as the function publish of images does.
//
// +cache="session"
func (i *Image) Publish(
	ctx context.Context,
	// Image repositories, such as "ghcr.io/owner/name". By default, those of
	// the release's manifest.
	// +optional
	addresses []string,
	// Leave the smoke test out.
	// +optional
	skipSmoke bool,
	// Say what would be done, and write nothing.
	// +optional
	dryRun bool,
) (string, error) {
	r, err := i.Of.release(ctx, i.Tag, nil)
	if err != nil {
		return "", err
	}
	repositories, _, err := i.Of.repositories(ctx, r, addresses)
	if err != nil {
		return "", err
	}
	report, err := image.Publish(ctx, dag, image.Publication{
		Release: r, Repositories: repositories, Archive: i.Archive, Platforms: i.Platforms, SkipSmoke: skipSmoke, DryRun: dryRun,
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
	var e event.Event
	switch {
	case tag != "" && file != nil:
		return nil, errors.New("both a tag and an event say which release is meant: pass one of --tag and --event")
	case tag == "" && file == nil:
		return nil, errors.New("nothing says which release is meant: pass --tag or --event")
	case file != nil:
		text, err := file.Contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the event: %w", err)
		}
		if e, err = event.Parse([]byte(text), event.Expect{Repository: m.Repository}); err != nil {
			return nil, err
		}
	default:
		if e, err = event.FromTag(m.Repository, tag); err != nil {
			return nil, err
		}
	}
	return published.Open(ctx, client, e, published.Options{
		Wait:     time.Duration(m.Wait) * time.Second,
		Progress: func(why string) { fmt.Fprintf(os.Stderr, "waiting for release %q: %s\n", e.Tag, why) },
	})
}

// repositories of a release's images, and the settings they are reached with.
func (m *Images) repositories(ctx context.Context, r *published.Release, addresses []string) ([]*oci.Repository, image.Registries, error) {
	registries, err := m.registries(ctx)
	if err != nil {
		return nil, registries, err
	}
	repositories, err := registries.Repositories(image.Addresses(addresses, r.Manifest))
	return repositories, registries, err
}

func (m *Images) registries(ctx context.Context) (image.Registries, error) {
	r := image.Registries{Username: m.Username, PlainHTTP: m.PlainHTTP, Mirrors: m.Mirrors}
	if m.Password != nil {
		password, err := m.Password.Plaintext(ctx)
		if err != nil {
			return r, fmt.Errorf("read the password: %w", err)
		}
		r.Password = password
	}
	if m.DockerConfig != nil {
		config, err := m.DockerConfig.Plaintext(ctx)
		if err != nil {
			return r, fmt.Errorf("read Docker's configuration: %w", err)
		}
		if !json.Valid([]byte(config)) {
			return r, errors.New("docker's configuration is not JSON: pass its config.json")
		}
		r.DockerConfig = []byte(config)
	}
	if m.RootCAs != nil {
		pem, err := m.RootCAs.Contents(ctx)
		if err != nil {
			return r, fmt.Errorf("read the root certificates: %w", err)
		}
		r.RootCAs = []byte(pem)
	}
	return r, nil
}

func (m *Images) assemble(ctx context.Context, r *published.Release, repositories []*oci.Repository) (*Image, error) {
	registries, err := m.registries(ctx)
	if err != nil {
		return nil, err
	}
	assembled, err := image.Assemble(ctx, r, registries, repositories)
	if err != nil {
		return nil, err
	}
	return &Image{
		Digest: assembled.Digest, Version: r.Manifest.Version, Platforms: assembled.Platforms,
		Archive: dag.CurrentModule().WorkdirFile(assembled.Path), Of: m, Tag: r.Manifest.Tag,
	}, nil
}

func (m *Images) publish(ctx context.Context, r *published.Release, addresses []string, skipSmoke, dryRun bool) (*oci.Report, error) {
	repositories, _, err := m.repositories(ctx, r, addresses)
	if err != nil {
		return nil, err
	}
	img, err := m.assemble(ctx, r, repositories)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "image %s: %s\n", img.Version, img.Digest)
	return image.Publish(ctx, dag, image.Publication{
		Release: r, Repositories: repositories, Archive: img.Archive, Platforms: img.Platforms, SkipSmoke: skipSmoke, DryRun: dryRun,
	})
}

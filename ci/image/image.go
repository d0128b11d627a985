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
	"os"
	"path/filepath"
	"strings"

	"dagger/gantry/ci/cargo"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/oci"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/registries"
	"dagger/gantry/internal/dagger"
)

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
// the base images are those that it was made from; one that can't be read may
// have it, so that nothing is assembled without the others' answer.
func Assemble(ctx context.Context, r *published.Release, from *registries.Registries, repositories []*oci.Repository) (*Assembled, error) {
	before, err := oci.ReadPublished(ctx, r.Version().String(), repositories...)
	if err != nil {
		return nil, err
	}
	if before.Unread != nil {
		fmt.Fprintf(os.Stderr, "%s has the image; others can't be read: %v\n", before.Repository, before.Unread)
	}
	return assemble(ctx, r, before.Pins.With(from.Bases()))
}

// AssembleUnpublished is [Assemble] for an image to look at: repositories that
// can't be read don't matter until it is published, when they are read again.
func AssembleUnpublished(ctx context.Context, r *published.Release, from *registries.Registries, repositories []*oci.Repository) (*Assembled, error) {
	before, err := oci.ReadPublished(ctx, r.Version().String(), repositories...)
	if err != nil {
		fmt.Fprintf(os.Stderr, "on today's base images: %v\n", err)
		before = &oci.Published{}
	}
	return assemble(ctx, r, before.Pins.With(from.Bases()))
}

func assemble(ctx context.Context, r *published.Release, bases oci.Bases) (*Assembled, error) {
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
	// Compare makes sure that the base images are those of an image that one of
	// the repositories has already; needed where others than those to publish to
	// were asked when it was assembled.
	Compare bool
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
		return nil, fmt.Errorf("take the image: %v", err)
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
	if p.Compare {
		if err := oci.ComparePins(ctx, p.Release.Version().String(), index, p.Repositories...); err != nil {
			return nil, err
		}
	}
	publication := oci.Publication{Version: p.Release.Version(), Index: index, Known: p.Release.Known, DryRun: p.DryRun}
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

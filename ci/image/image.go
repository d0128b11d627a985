// Package image runs the stages of phase 2: assemble, smoke test, publish,
// verify, reconcile.
//
// It ties ci/published and ci/image/oci together and adds what needs an engine: the
// smoke test. It keeps one invariant: it only reads the release, so that no
// failure here can change one.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
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
	// Manifest of the release, as text.
	Manifest string
}

// Assemble makes the image of a release and leaves it in the function's own
// file system. Where one of the repositories has the version's image already,
// the base images are those that it was made from; one that can't be read may
// have it, so that nothing is assembled without the others' answer.
func Assemble(ctx context.Context, r *published.Release, from *registries.Registries, repositories []*oci.Repository) (*Assembled, error) {
	before, err := oci.ReadPublished(ctx, r.ExactTag(), repositories...)
	if err != nil {
		return nil, err
	}
	if err := before.Agrees(r); err != nil {
		return nil, err
	}
	if before.Unread != nil {
		fmt.Fprintf(os.Stderr, "%s has the image; others can't be read: %v\n", before.Repository, before.Unread)
	}
	return assemble(ctx, r, before.Pins.With(from.Bases()))
}

// Repositories opens the repositories of a release's images: those that the
// caller gave, or those of its manifest.
func Repositories(s registries.Settings, given []string, m *manifest.Manifest) ([]*oci.Repository, *registries.Registries, error) {
	var named []string
	if m.Image != nil {
		named = m.Image.Repositories
	}
	addresses, notes, err := registries.Addresses(given, named)
	if err != nil {
		return nil, nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(os.Stderr, note)
	}
	if len(given) > 0 {
		s.Addresses = addresses
	}
	from, err := registries.New(s)
	if err != nil {
		return nil, nil, err
	}
	repositories, err := from.Repositories(addresses)
	return repositories, from, err
}

// Preview is [Assemble] for an image to look at: repositories that aren't known
// or can't be read don't matter until it is published, when they are read again.
func Preview(ctx context.Context, r *published.Release, s registries.Settings, given []string) (*Assembled, error) {
	before := &oci.Published{}
	repositories, from, err := Repositories(s, given, r.Manifest)
	if err == nil {
		if before, err = oci.ReadPublished(ctx, r.ExactTag(), repositories...); err != nil {
			before = &oci.Published{}
		} else if err := before.Agrees(r); err != nil {
			return nil, err
		}
	}
	if err != nil {
		if len(given) > 0 {
			return nil, err
		}
		fmt.Fprintf(os.Stderr, "assembled on the base images of today: %v\n", err)
	}
	if from == nil {
		if from, err = registries.New(s); err != nil {
			return nil, err
		}
	}
	return assemble(ctx, r, before.Pins.With(from.Bases()))
}

// Skipped makes a report of an event that leaves nothing to do, for people or
// programs. Every other error stays one.
func Skipped(err error, asJSON bool) (string, error) {
	if !event.Skipped(err) {
		return "", err
	}
	if !asJSON {
		return fmt.Sprintf("skipped: %v\n", err), nil
	}
	text, err := json.Marshal(map[string]string{"skipped": err.Error()})
	return string(text) + "\n", err
}

func assemble(ctx context.Context, r *published.Release, bases oci.Bases) (*Assembled, error) {
	image, err := oci.Assemble(ctx, r, oci.AssembleOptions{Bases: bases})
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
	text, err := r.Manifest.Marshal()
	if err != nil {
		return nil, err
	}
	out := &Assembled{Manifest: string(text), Path: "image-" + image.Digest.Hex[:12] + ".tar", Digest: image.Digest.String()}
	for _, p := range image.Platforms {
		out.Platforms = append(out.Platforms, p.Platform)
	}
	f, err := os.Create(out.Path)
	if err != nil {
		return nil, err
	}
	return out, errors.Join(oci.WriteTarball(f, dir), f.Close())
}

// Smoke starts the image on each platform, foreign ones under emulation, as the
// manifest asks for it: by default, with --version, and it must print the
// version. What is tested is the archive that is published, and it runs as the
// user that the image names.
func Smoke(ctx context.Context, client *dagger.Client, archive *dagger.File, platforms []string, m *manifest.Manifest) (string, error) {
	test, err := oci.SmokeTestOf(m)
	if err != nil {
		return "", err
	}
	if test.Skip {
		return "not started: smoke.skip is set in the image's configuration\n", nil
	}
	var report strings.Builder
	for _, p := range platforms {
		ctr := client.Container(dagger.ContainerOpts{Platform: dagger.Platform(p)}).Import(archive).
			WithExec(test.Args, dagger.ContainerWithExecOpts{UseEntrypoint: true})
		said, err := ctr.Stdout(ctx)
		if err == nil {
			var errs string
			errs, err = ctr.Stderr(ctx)
			said += errs
		}
		if err != nil {
			return report.String(), engine.Explain(fmt.Sprintf("start the image on %s", p), err)
		}
		if err := test.Check(said); err != nil {
			return report.String(), fmt.Errorf("start the image on %s: %w", p, err)
		}
		fmt.Fprintf(&report, "%s: %s\n", p, strings.TrimSpace(said))
	}
	return report.String(), nil
}

// SmokeOf is [Smoke] with the manifest's text.
func SmokeOf(ctx context.Context, client *dagger.Client, archive *dagger.File, platforms []string, text string) (string, error) {
	m, err := manifest.Parse([]byte(text))
	if err != nil {
		return "", err
	}
	return Smoke(ctx, client, archive, platforms, m)
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
		if err := oci.ComparePins(ctx, p.Release.ExactTag(), index, p.Repositories...); err != nil {
			return nil, err
		}
	}
	publication := oci.Publication{Version: p.Release.Version(), Manifest: p.Release.Manifest, Index: index, Known: p.Release.Known, Flagged: p.Release.Flagged, DryRun: p.DryRun}
	if !p.SkipSmoke {
		publication.Smoke = func(ctx context.Context) error {
			said, err := Smoke(ctx, client, p.Archive, p.Platforms, p.Release.Manifest)
			fmt.Fprint(os.Stderr, said)
			return err
		}
	}
	return oci.Publish(ctx, publication, p.Repositories...)
}

// Package image is phase 2: it assembles, smoke tests, publishes, verifies and
// reconciles container images of published releases.
//
// It is a container graph: it reads the caller's secrets and files, writes archives to
// the function's file system, and starts containers for the smoke test. Decisions are
// made in ci/published and in the packages below. It keeps one invariant: it only reads
// releases, so that no failure here can change one.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/reconcile"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// Image is the image of a release as an OCI archive, or only the reason why an
// event asks for none.
type Image struct {
	// Tag and Version of the release.
	Tag, Version string
	// Digest of the index, "sha256:…".
	Digest string
	// Platforms of the index, such as "linux/amd64".
	Platforms []string
	// Archive holds the image of all platforms.
	Archive *dagger.File
	// Manifest of the release, as text.
	Manifest string
	// Pins are the base images, as JSON of [oci.Pins].
	Pins string
	// Skipped is the reason why an event asks for no image.
	Skipped string
}

// Phase runs the stages of phase 2 with the settings of a caller.
type Phase struct {
	Settings
	Client *dagger.Client
}

// OfEvent assembles the image of the release that an event is about, from a file
// such as $GITHUB_EVENT_PATH.
func (p Phase) OfEvent(ctx context.Context, file *dagger.File) (Image, error) {
	content, err := Event(ctx, file)
	if err != nil {
		return Image{}, err
	}
	i, err := p.assemble(ctx, "", content)
	if event.Skipped(err) {
		return Image{Skipped: err.Error()}, nil
	}
	return i, err
}

// Of assembles the image of the release of a tag.
func (p Phase) Of(ctx context.Context, tag string) (Image, error) { return p.assemble(ctx, tag, nil) }

// assemble uses the base images of the published image of the version if the
// repositories of the release's manifest have one. Repositories that are unknown or
// can't be read don't matter before the image is published, when they are read
// again.
func (p Phase) assemble(ctx context.Context, tag string, content []byte) (Image, error) {
	r, err := p.find(ctx, tag, content)
	if err != nil {
		return Image{}, err
	}
	s, err := p.registries(ctx)
	if err != nil {
		return Image{}, err
	}
	from, err := registries.New(s)
	if err != nil {
		return Image{}, err
	}
	before := &oci.Published{}
	if len(r.Manifest.ImageSpec().Repositories) > 0 {
		if before, err = glance(ctx, r, s); err != nil {
			fmt.Fprintf(os.Stderr, "assembled on the current base images: %v\n", err)
			before = &oci.Published{}
		}
	}
	if err := before.Agrees(r); err != nil {
		return Image{}, err
	}
	return build(ctx, p.Client, r, before.Pins.With(from.Bases()))
}

// glance reads the published image of a release from the repositories of its manifest,
// in one try: a registry that is down must not delay an image that may go elsewhere.
func glance(ctx context.Context, r *published.Release, s registries.Settings) (*oci.Published, error) {
	s.Options.Tries, s.Options.Timeout = 1, 10*time.Second
	from, err := registries.New(s)
	if err != nil {
		return nil, err
	}
	repositories, err := open(r, from, nil)
	if err != nil {
		return nil, err
	}
	return oci.ReadPublished(ctx, r.ExactTag(), repositories...)
}

// open opens the repositories of a release's images: the addresses that the caller
// passed, or those of the release's manifest.
func open(r *published.Release, from *registries.Registries, addresses []string) ([]*oci.Repository, error) {
	addresses, notes, err := registries.Addresses(addresses, r.Manifest.ImageSpec().Repositories)
	if err != nil {
		return nil, err
	}
	for _, note := range notes {
		fmt.Fprintln(os.Stderr, note)
	}
	return from.Repositories(addresses)
}

// Assemble makes the image of a release for repositories. If one of them has the
// version's image already, the new one uses the same base images.
func Assemble(ctx context.Context, client *dagger.Client, r *published.Release, from *registries.Registries, repositories []*oci.Repository) (Image, error) {
	before, err := oci.ReadPublished(ctx, r.ExactTag(), repositories...)
	if err != nil {
		return Image{}, err
	}
	if err := before.Agrees(r); err != nil {
		return Image{}, err
	}
	if before.Unread != nil {
		fmt.Fprintf(os.Stderr, "%s has the image; others can't be read: %v\n", before.Repository, before.Unread)
	}
	return build(ctx, client, r, before.Pins.With(from.Bases()))
}

// build assembles an image and leaves it as an OCI archive in the function's file
// system.
func build(ctx context.Context, client *dagger.Client, r *published.Release, bases oci.Bases) (Image, error) {
	image, err := oci.Assemble(ctx, r, oci.AssembleOptions{Bases: bases})
	if err != nil {
		return Image{}, err
	}
	defer func() { _ = image.Close() }()
	dir, err := os.MkdirTemp("", "layout-")
	if err != nil {
		return Image{}, err
	}
	defer os.RemoveAll(dir)
	if err := oci.WriteLayout(dir, image.Index, r.Manifest.Version); err != nil {
		return Image{}, err
	}
	text, err := r.Manifest.Marshal()
	if err != nil {
		return Image{}, err
	}
	pins, err := oci.PinsOf(image.Index)
	if err != nil {
		return Image{}, err
	}
	pinned, err := json.Marshal(pins)
	if err != nil {
		return Image{}, err
	}
	path := "image-" + image.Digest.Hex[:12] + ".tar"
	out := Image{
		Tag: r.Manifest.Tag, Version: r.Manifest.Version, Digest: image.Digest.String(),
		Archive: client.CurrentModule().WorkdirFile(path), Manifest: string(text), Pins: string(pinned),
	}
	for _, built := range image.Platforms {
		out.Platforms = append(out.Platforms, built.Platform)
	}
	f, err := os.Create(path)
	if err != nil {
		return Image{}, err
	}
	fmt.Fprintf(os.Stderr, "image %s: %s\n", out.Version, out.Digest)
	return out, errors.Join(oci.WriteTarball(f, dir), f.Close())
}

// target is a release with the repositories of its image.
type target struct {
	release      *published.Release
	from         *registries.Registries
	repositories []*oci.Repository
}

// target finds the release of an image again, and opens the repositories.
func (p Phase) target(ctx context.Context, i Image, addresses []string) (*target, error) {
	r, err := p.find(ctx, i.Tag, nil)
	if err != nil {
		return nil, err
	}
	s, err := p.registries(ctx)
	if err != nil {
		return nil, err
	}
	s.Addresses = addresses
	from, err := registries.New(s)
	if err != nil {
		return nil, err
	}
	repositories, err := open(r, from, addresses)
	return &target{r, from, repositories}, err
}

// onPublishedBases returns the image on the base images of the one that a repository
// has published: the image itself, unless they differ.
func (p Phase) onPublishedBases(ctx context.Context, i Image, t *target) (Image, error) {
	before, err := oci.ReadPublished(ctx, t.release.ExactTag(), t.repositories...)
	if err != nil || before.Repository == "" {
		return i, err
	}
	if err := before.Agrees(t.release); err != nil {
		return Image{}, err
	}
	var pins oci.Pins
	if err := json.Unmarshal([]byte(i.Pins), &pins); err != nil {
		return Image{}, fmt.Errorf("read the base images of the image: %w", err)
	}
	if before.SameBases(pins) {
		return i, nil
	}
	fmt.Fprintf(os.Stderr, "%s has %s on other base images: assembling it on those\n", before.Repository, t.release.ExactTag())
	return build(ctx, p.Client, t.release, before.Pins.With(t.from.Bases()))
}

// export writes the image to a directory as an OCI layout, and returns its index.
func export(ctx context.Context, i Image, dir string) (v1.ImageIndex, error) {
	path := filepath.Join(dir, "image.tar")
	if _, err := i.Archive.Export(ctx, path); err != nil {
		return nil, fmt.Errorf("export the image: %v", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return oci.ReadTarball(f, filepath.Join(dir, "layout"))
}

// PublishOptions configure the publication of an image.
type PublishOptions struct {
	// Addresses are the repositories; by default, those in the release's manifest.
	Addresses []string
	// DryRun writes nothing.
	DryRun bool
	// Markdown returns the report as Markdown.
	Markdown bool
	// Signing signs the image, if the caller asks for it.
	Signing engine.Signing
}

// signer reads the signing key or an identity token.
func (p Phase) signer(ctx context.Context, o PublishOptions) (attest.Signer, error) {
	if o.Signing.Asked() && p.SkipAttachments {
		return attest.Signer{}, errors.New("a signature with without-attachments: signatures are attached to images: drop one of them")
	}
	return o.Signing.Signer(ctx)
}

// Publish publishes an image and returns a report.
func (p Phase) Publish(ctx context.Context, i Image, o PublishOptions) (string, error) {
	format := engine.Format{Markdown: o.Markdown, Title: "Image of " + i.Tag}
	if i.Skipped != "" {
		format.Title = "No image"
		return format.Render(fmt.Sprintf("skipped: %s\n", i.Skipped)), nil
	}
	by, err := p.signer(ctx, o)
	if err != nil {
		return "", err
	}
	t, err := p.target(ctx, i, o.Addresses)
	if err != nil {
		return "", err
	}
	if i, err = p.onPublishedBases(ctx, i, t); err != nil {
		return "", err
	}
	report, err := Publish(ctx, p.Client, Publication{
		Image: i, Release: t.release, Repositories: t.repositories, SkipSmoke: p.SkipSmoke, SkipAttachments: p.SkipAttachments, DryRun: o.DryRun, Signer: by,
	})
	return engine.Report(report, err, format)
}

// Publication is an image and where to publish it.
type Publication struct {
	Image        Image
	Release      *published.Release
	Repositories []*oci.Repository

	SkipSmoke, SkipAttachments, DryRun bool

	// Signer signs the image, unless it has no author.
	Signer attest.Signer
}

// Publish pushes an image, tests it, signs it, tags it and attaches the release's bills of
// materials.
func Publish(ctx context.Context, client *dagger.Client, p Publication) (*oci.Report, error) {
	dir, err := os.MkdirTemp("", "publish-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	index, err := export(ctx, p.Image, dir)
	if err != nil {
		return nil, err
	}
	publication := oci.Publication{Version: p.Release.Version(), Manifest: p.Release.Manifest, Index: index, Known: p.Release.Known, Flagged: p.Release.Flagged, DryRun: p.DryRun}
	if !p.SkipAttachments {
		if publication.Attachments, err = oci.Bills(p.Release); err != nil {
			return nil, err
		}
	}
	if p.Signer.Author != nil {
		publication.Sign = oci.Signatures(p.Release, p.Signer)
	}
	if !p.SkipSmoke {
		publication.Smoke = func(ctx context.Context) error {
			output, err := Smoke(ctx, client, p.Image)
			fmt.Fprint(os.Stderr, output)
			return err
		}
	}
	return oci.Publish(ctx, publication, p.Repositories...)
}

// VerifyOptions configure the verification of a published image.
type VerifyOptions struct {
	// Reference is the image's repository, with a tag or digest or without.
	Reference string
	// CurrentBase and SBOMs are those of [oci.VerifyOptions].
	CurrentBase, SBOMs bool
	// By tells who must have signed the image, if anyone.
	By engine.Verification
}

// Verify compares a published image with its release.
func (p Phase) Verify(ctx context.Context, i Image, o VerifyOptions) (string, error) {
	if i.Skipped != "" {
		return "", fmt.Errorf("the event asks for no image, so there is nothing to compare: %s", i.Skipped)
	}
	by, err := o.By.Verifier(ctx)
	if err != nil {
		return "", err
	}
	address, reference := notation.SplitReference(o.Reference)
	t, err := p.target(ctx, i, []string{address})
	if err != nil {
		return "", err
	}
	if i, err = p.onPublishedBases(ctx, i, t); err != nil {
		return "", err
	}
	digest, err := v1.NewHash(i.Digest)
	if err != nil {
		return "", err
	}
	verified, err := oci.VerifyImage(ctx, t.release.Manifest, t.repositories[0], oci.VerifyOptions{
		Reference: reference, Digest: digest, Bases: t.from.Bases(), CurrentBase: o.CurrentBase, Attached: true, SBOMs: o.SBOMs,
		By: by, ManifestSHA256: t.release.ManifestSHA256,
	})
	if err != nil {
		return "", err
	}
	if len(verified.Findings) > 0 {
		return "", fmt.Errorf("image %q is not release %q of %s:\n%s", o.Reference, i.Tag, p.Repository, strings.TrimSpace(verified.Text()))
	}
	return fmt.Sprintf("verified: %s is release %s of %s, byte for byte, on %s\ndigest: %s\n%s",
		o.Reference, i.Tag, p.Repository, strings.Join(i.Platforms, ", "), i.Digest, verified.Text()), nil
}

// Explain reports which tags the image gets or keeps in each repository, and why.
func (p Phase) Explain(ctx context.Context, i Image, addresses []string) (string, error) {
	if i.Skipped != "" {
		return fmt.Sprintf("skipped: %s\n", i.Skipped), nil
	}
	t, err := p.target(ctx, i, addresses)
	if err != nil {
		return "", err
	}
	return oci.Explain(ctx, oci.Candidate{Release: t.release, Repositories: t.repositories})
}

// ReconcileOptions configure what to look at.
type ReconcileOptions struct {
	// Last is how many of the newest releases to look at.
	Last int
	// Component to look at; by default, every one.
	Component string
	PublishOptions
}

// Reconcile publishes images missing from the last releases and returns a report.
func (p Phase) Reconcile(ctx context.Context, o ReconcileOptions) (string, error) {
	if p.Override != "" {
		return "", errors.New("image settings are for one release, and reconcile looks at several: publish that release with them (image --tag=… publish)")
	}
	by, err := p.signer(ctx, o.PublishOptions)
	if err != nil {
		return "", err
	}
	var signed attest.Verifier
	if by.Author != nil {
		signed = by.Author.Verifier()
	}
	client, err := p.client(ctx)
	if err != nil {
		return "", err
	}
	settings, err := p.registries(ctx)
	if err != nil {
		return "", err
	}
	settings.Addresses = o.Addresses
	report, err := reconcile.Run(ctx, reconcile.Options{
		Client: client, Repository: p.Repository, Last: o.Last, Component: o.Component, Settings: settings, DryRun: o.DryRun, WithoutBills: p.SkipAttachments, By: signed,
		Publish: func(ctx context.Context, r *published.Release, from *registries.Registries, to []*oci.Repository) error {
			i, err := Assemble(ctx, p.Client, r, from, to)
			if err != nil {
				return err
			}
			report, err := Publish(ctx, p.Client, Publication{Image: i, Release: r, Repositories: to, SkipSmoke: p.SkipSmoke, SkipAttachments: p.SkipAttachments, Signer: by})
			if report != nil {
				fmt.Fprint(os.Stderr, report.Text())
			}
			return err
		},
	})
	return engine.Report(report, err, engine.Format{Markdown: o.Markdown, Title: "Images of recent releases"})
}

// Smoke starts the image on each platform, foreign ones under emulation, as the
// manifest asks: by default with --version, and it must print no other version. It tests
// the archive that is published, as the image's user.
func Smoke(ctx context.Context, client *dagger.Client, i Image) (string, error) {
	if i.Skipped != "" {
		return fmt.Sprintf("skipped: %s\n", i.Skipped), nil
	}
	m, err := manifest.Parse([]byte(i.Manifest))
	if err != nil {
		return "", err
	}
	test, err := imagespec.SmokeTestOf(m)
	if err != nil {
		return "", err
	}
	if test.Skip {
		return "not started: smoke.skip is set in the image's configuration\n", nil
	}
	var report strings.Builder
	for _, platform := range i.Platforms {
		output, err := start(ctx, client, i.Archive, platform, test.Args)
		if err != nil {
			return report.String(), engine.Explain(fmt.Sprintf("start the image on %s", platform), err)
		}
		if err := test.Check(output); err != nil {
			return report.String(), fmt.Errorf("start the image on %s: %w", platform, err)
		}
		fmt.Fprintf(&report, "%s: %s\n", platform, strings.TrimSpace(output))
	}
	return report.String(), nil
}

// start runs the image on a platform and returns what it prints.
func start(ctx context.Context, client *dagger.Client, archive *dagger.File, platform string, args []string) (string, error) {
	ctr := client.Container(dagger.ContainerOpts{Platform: dagger.Platform(platform)}).Import(archive).
		WithExec(args, dagger.ContainerWithExecOpts{UseEntrypoint: true})
	out, err := ctr.Stdout(ctx)
	if err != nil {
		return "", err
	}
	errs, err := ctr.Stderr(ctx)
	return out + errs, err
}

package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/published"
)

// Base is the base image of a platform.
type Base struct {
	// Name is the reference without a digest; "scratch" for the empty base.
	Name string
	// Digest of the image's manifest; zero for the empty base.
	Digest v1.Hash
	// Image is nil for the empty base.
	Image v1.Image
}

// Bases finds base images.
type Bases interface {
	// Base returns the image of a platform, such as "linux/arm64". The reference may
	// have the digest of an index or of the image.
	Base(ctx context.Context, ref, platform string) (Base, error)
}

// Pins has the base images of an earlier image, by platform. Tags of base images move;
// only pins make the same image again.
type Pins map[string]Pin

// Pin is the base image of a platform by its digest.
type Pin struct {
	// Name is the reference without a digest.
	Name string `json:"name"`
	// Digest of the platform's manifest, "sha256:…".
	Digest string `json:"digest"`
}

// PinsOf reads the base images of an assembled index from its annotations.
func PinsOf(index v1.ImageIndex) (Pins, error) {
	im, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("read the base images of an index: %w", err)
	}
	pins := Pins{}
	for _, d := range im.Manifests {
		if d.Platform == nil || d.Platform.OS == "unknown" {
			continue
		}
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("read the base image of %q: %w", d.Platform, err)
		}
		m, err := img.Manifest()
		if err != nil {
			return nil, fmt.Errorf("read the base image of %q: %w", d.Platform, err)
		}
		if name, digest := m.Annotations[imagespec.KeyBaseName], m.Annotations[imagespec.KeyBaseDigest]; name != "" && digest != "" {
			pins[d.Platform.String()] = Pin{Name: name, Digest: digest}
		}
	}
	return pins, nil
}

// Published describes the published image of a version.
type Published struct {
	// Pins has the base images, if any.
	Pins Pins
	// Override has the settings that replaced the release's; see [published.Release].
	Override string
	// Repository with the image; empty if it is not published.
	Repository string
	// Unread joins the errors of repositories that could not be read, although another
	// one has the image.
	Unread error
}

// ReadPublished reads the base images of the published image of a version, by its
// exact tag, from the first repository that has it. With them, the image is the same
// again after the tag of a base image has moved.
//
// If no repository has the image, every one must be readable: an unreadable one may
// have it, and an image on other base images would give the version two digests.
func ReadPublished(ctx context.Context, tag string, repositories ...*Repository) (*Published, error) {
	var errs []error
	for _, r := range repositories {
		index, err := r.Index(ctx, tag)
		if errors.Is(err, ErrNotFound) || errors.Is(err, errNoIndex) {
			continue
		}
		var pins Pins
		var im *v1.IndexManifest
		if err == nil {
			pins, err = PinsOf(index)
		}
		if err == nil {
			im, err = index.IndexManifest()
		}
		if err == nil {
			return &Published{Pins: pins, Override: im.Annotations[keyOverride], Repository: r.String(), Unread: errors.Join(errs...)}, nil
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("find image tag %q and its base images: %w: retry when every repository can be read", tag, err)
	}
	return &Published{}, nil
}

// keyOverride is the annotation with [published.Release.Override].
const keyOverride = "dev.gantry.image.override"

// Agrees returns an error if the published image has other image settings than the
// release: the tag of a version is never rewritten.
func (p *Published) Agrees(r *published.Release) error {
	if p.Repository == "" || p.Override == r.Override {
		return nil
	}
	if p.Override == "" {
		return fmt.Errorf("tag %q of %q was published with the release's own image settings, and is never rewritten: drop the settings %s, or release a new version", r.ExactTag(), p.Repository, r.Override)
	}
	return fmt.Errorf("tag %q of %q was published with image settings that replace the release's, %s, and is never rewritten: pass the same with with-image-settings (given: %s), if they are yours", r.ExactTag(), p.Repository, p.Override, cmp.Or(r.Override, "none"))
}

// SameBases reports whether an image on the pins has the base images of the published
// image, on all platforms of the latter.
func (p *Published) SameBases(pins Pins) bool {
	for platform, was := range p.Pins {
		if pins[platform] != was {
			return false
		}
	}
	return true
}

// With returns bases that prefer the pins.
func (p Pins) With(bases Bases) Bases { return pinned{bases, maps.Clone(p)} }

type pinned struct {
	Bases
	pins Pins
}

// Base returns the pinned image if the pin has the name of the reference.
func (p pinned) Base(ctx context.Context, ref, platform string) (Base, error) {
	name, digest, _ := strings.Cut(ref, "@")
	if pin, ok := p.pins[platform]; ok && digest == "" && pin.Name == name {
		return p.Bases.Base(ctx, name+"@"+pin.Digest, platform)
	}
	return p.Bases.Base(ctx, ref, platform)
}

// BasesFrom finds base images in the repositories that open returns for a registry
// such as "gcr.io" and a repository such as "distroless/static": the repository or a
// mirror. It resolves each reference once, so that all platforms are from one index.
func BasesFrom(open func(registry, repository string) (*Repository, error)) Bases {
	return &registryBases{open: open, seen: map[string]*remote.Descriptor{}}
}

type registryBases struct {
	open func(registry, repository string) (*Repository, error)
	mu   sync.Mutex
	seen map[string]*remote.Descriptor
}

func (b *registryBases) Base(ctx context.Context, ref, platform string) (Base, error) {
	base, err := b.base(ctx, ref, platform)
	if err != nil {
		return Base{}, fmt.Errorf("find base image %q: %w", ref, err)
	}
	return base, nil
}

func (b *registryBases) base(ctx context.Context, ref, platform string) (Base, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return Base{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.seen[ref]
	if d == nil {
		r, err := b.open(parsed.Context().RegistryStr(), parsed.Context().RepositoryStr())
		if err != nil {
			return Base{}, err
		}
		if d, err = r.descriptor(ctx, false, parsed.Identifier()); err != nil {
			return Base{}, err
		}
		b.seen[ref] = d
	}
	base := Base{}
	base.Name, _, _ = strings.Cut(ref, "@")
	if d.MediaType.IsIndex() {
		index, err := d.ImageIndex()
		if err != nil {
			return Base{}, err
		}
		if base.Image, err = SelectPlatform(index, platform); err != nil {
			return Base{}, err
		}
	} else if base.Image, err = d.Image(); err != nil {
		return Base{}, err
	}
	base.Digest, err = base.Image.Digest()
	return base, err
}

// SelectPlatform returns the image of a platform from an index. The error is
// [imagespec.ErrBase] if there is none.
func SelectPlatform(index v1.ImageIndex, platform string) (v1.Image, error) {
	want, err := v1.ParsePlatform(platform)
	if err != nil {
		return nil, err
	}
	im, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var found *v1.Descriptor
	var have []string
	for i, d := range im.Manifests {
		if d.Platform == nil || d.Platform.OS == "unknown" {
			continue // attestations have unknown/unknown
		}
		have = append(have, d.Platform.String())
		if d.MediaType.IsImage() && fits(*want, *d.Platform) && (found == nil || d.Platform.Variant == want.Variant) {
			found = &im.Manifests[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: it has no platform %q, only %s: set base to an image that has it, or remove the platform", imagespec.ErrBase, platform, strings.Join(have, ", "))
	}
	return index.Image(found.Digest)
}

// fits reports whether an image for the platform have runs on want. arm64 is always
// v8, so that its variant is often missing.
func fits(want, have v1.Platform) bool {
	if want.OS != have.OS || want.Architecture != have.Architecture {
		return false
	}
	variant := func(p v1.Platform) string {
		if p.Architecture == "arm64" && p.Variant == "v8" {
			return ""
		}
		return p.Variant
	}
	return variant(want) == variant(have)
}

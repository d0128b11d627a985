package oci

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dagger/gantry/ci/published"
)

// Base is the base image of one platform.
type Base struct {
	// Name is the reference without a digest; "scratch" for the empty one.
	Name string
	// Digest of the image's manifest; zero for the empty one.
	Digest v1.Hash
	// Image itself; nil for the empty one.
	Image v1.Image
}

// Bases finds base images.
type Bases interface {
	// Base returns the image of a platform. The reference may have a digest, of
	// an index or of the image. The platform is OCI's, "linux/arm64".
	Base(ctx context.Context, ref, platform string) (Base, error)
}

// Pins are base images that were chosen before, by platform. A tag of a base
// image moves; only pins make the same image a second time.
type Pins map[string]Pin

// Pin is the base image of one platform, fixed.
type Pin struct {
	// Name is the reference without a digest.
	Name string `json:"name"`
	// Digest of the platform's manifest, "sha256:…".
	Digest string `json:"digest"`
}

// PinsOf reads which base images an assembled index was made from, out of its
// annotations.
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
		if name, digest := m.Annotations[keyBaseName], m.Annotations[keyBaseDigest]; name != "" && digest != "" {
			pins[d.Platform.String()] = Pin{Name: name, Digest: digest}
		}
	}
	return pins, nil
}

// Published is what the published image of a version was made from.
type Published struct {
	// Pins are its base images; none when it isn't published, or has none.
	Pins Pins
	// Override are the settings that replaced those of the release; see
	// [published.Release].
	Override string
	// Repository that has it; empty when none has.
	Repository string
	// Unread joins the errors of repositories that could not be read. Another
	// one has the image, so that it is known all the same.
	Unread error
}

// ReadPublished reads which base images the published image of a version was
// made from, by the version's exact tag, out of the first repository that has it.
// With them, the image comes out the same although a base image's tag has moved
// since.
//
// Where no repository has the image, each must have said so: if one can't be
// read, it may be the one that has it, and an image made on other base images
// would give the version two digests. That is an error.
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
		switch {
		case err != nil:
			errs = append(errs, err)
		default:
			return &Published{Pins: pins, Override: im.Annotations[keyOverride], Repository: r.String(), Unread: errors.Join(errs...)}, nil
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("find out whether image tag %q exists already, and which base images it was made on: %w: retry when every repository can be read", tag, err)
	}
	return &Published{}, nil
}

// keyOverride is the annotation of [published.Release.Override].
const keyOverride = "dev.gantry.image.override"

// Agrees makes sure that the published image, if there is one, was made with the
// same override as the release has now: the tag of a version is never rewritten.
func (p *Published) Agrees(r *published.Release) error {
	if p.Repository == "" || p.Override == r.Override {
		return nil
	}
	if p.Override == "" {
		return fmt.Errorf("tag %q of %q was published with the release's own image settings, and is never rewritten: drop the settings %s, or release a new version", r.ExactTag(), p.Repository, r.Override)
	}
	given := "none"
	if r.Override != "" {
		given = r.Override
	}
	return fmt.Errorf("tag %q of %q was published with image settings that replace the release's, %s, and is never rewritten: pass the same with with-image-settings (given: %s), if they are yours", r.ExactTag(), p.Repository, p.Override, given)
}

// SameBases reports whether an index is made from the base images of the published
// image, on every platform of that.
func (p *Published) SameBases(index v1.ImageIndex) (bool, error) {
	pins, err := PinsOf(index)
	if err != nil {
		return false, err
	}
	for platform, was := range p.Pins {
		if pins[platform] != was {
			return false, nil
		}
	}
	return true, nil
}

// With returns bases that use the pins where they name the image asked for.
func (p Pins) With(bases Bases) Bases { return pinned{bases, maps.Clone(p)} }

type pinned struct {
	Bases
	pins Pins
}

// Base replaces a moving reference by the pin's digest.
func (p pinned) Base(ctx context.Context, ref, platform string) (Base, error) {
	name, digest, _ := strings.Cut(ref, "@")
	if pin, ok := p.pins[platform]; ok && digest == "" && pin.Name == name {
		return p.Bases.Base(ctx, name+"@"+pin.Digest, platform)
	}
	return p.Bases.Base(ctx, ref, platform)
}

// RegistryBases finds base images in registries, all with the same options.
func RegistryBases(o RegistryOptions) Bases {
	return BasesFrom(func(registry, repository string) (*Repository, error) {
		return NewRepository(registry+"/"+repository, o)
	})
}

// BasesFrom finds base images in the repositories that open returns for a
// registry, "gcr.io", and a repository in it, "distroless/static": that one, or
// a mirror of it. A reference is resolved once, so that all platforms come from
// one index.
func BasesFrom(open func(registry, repository string) (*Repository, error)) Bases {
	return &registryBases{open: open, seen: map[string]*remote.Descriptor{}}
}

type registryBases struct {
	open func(registry, repository string) (*Repository, error)
	mu   sync.Mutex
	seen map[string]*remote.Descriptor
}

// Base reads an index or an image.
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
		if base.Image, err = selectPlatform(index, platform); err != nil {
			return Base{}, err
		}
	} else if base.Image, err = d.Image(); err != nil {
		return Base{}, err
	}
	base.Digest, err = base.Image.Digest()
	return base, err
}

// BaseIndexes are bases in memory, or in a layout, by reference.
type BaseIndexes map[string]v1.ImageIndex

// Base finds the platform in the index of that reference; a digest has to be
// the index's or the image's.
func (b BaseIndexes) Base(_ context.Context, ref, platform string) (Base, error) {
	name, digest, _ := strings.Cut(ref, "@")
	index, ok := b[name]
	if !ok {
		return Base{}, fmt.Errorf("find base image %q: %w: known are %q", ref, ErrNotFound, slices.Sorted(maps.Keys(b)))
	}
	img, err := selectPlatform(index, platform)
	if err != nil {
		return Base{}, fmt.Errorf("find base image %q: %w", ref, err)
	}
	found, err := img.Digest()
	if err != nil {
		return Base{}, fmt.Errorf("find base image %q: %w", ref, err)
	}
	if digest != "" && digest != found.String() {
		if whole, err := index.Digest(); err != nil || whole.String() != digest {
			return Base{}, fmt.Errorf("find base image %q: %w: it is %q", ref, ErrNotFound, found)
		}
	}
	return Base{Name: name, Digest: found, Image: img}, nil
}

// selectPlatform returns the image of a platform from an index.
func selectPlatform(index v1.ImageIndex, platform string) (v1.Image, error) {
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
			continue // attestations say unknown/unknown
		}
		have = append(have, d.Platform.String())
		if d.MediaType.IsImage() && fits(*want, *d.Platform) && (found == nil || d.Platform.Variant == want.Variant) {
			found = &im.Manifests[i]
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: it has no platform %q, only %s: set base to an image that has it, or leave the platform out", ErrBase, platform, strings.Join(have, ", "))
	}
	return index.Image(found.Digest)
}

// fits says whether an image of the platform have runs where want is asked
// for. arm64 is v8 alone, so that its variant is often left out.
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

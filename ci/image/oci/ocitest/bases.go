// Package ocitest has base images and registries for tests. Nothing in it reaches a real
// registry.
package ocitest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/image/oci"
)

// Bases has base images in memory, by reference.
type Bases map[string]v1.ImageIndex

// Base finds a platform in the index of a reference, whose digest, if any, must be
// that of the index or of the image.
func (b Bases) Base(_ context.Context, ref, platform string) (oci.Base, error) {
	name, digest, _ := strings.Cut(ref, "@")
	index, ok := b[name]
	if !ok {
		return oci.Base{}, fmt.Errorf("find base image %q: %w: known are %q", ref, oci.ErrNotFound, slices.Sorted(maps.Keys(b)))
	}
	img, err := oci.SelectPlatform(index, platform)
	if err != nil {
		return oci.Base{}, fmt.Errorf("find base image %q: %w", ref, err)
	}
	found, err := img.Digest()
	if err != nil {
		return oci.Base{}, fmt.Errorf("find base image %q: %w", ref, err)
	}
	if digest != "" && digest != found.String() {
		if whole, err := index.Digest(); err != nil || whole.String() != digest {
			return oci.Base{}, fmt.Errorf("find base image %q: %w: it is %q", ref, oci.ErrNotFound, found)
		}
	}
	return oci.Base{Name: name, Digest: found, Image: img}, nil
}

// Moved is a base image, by any name, whose tag is at the first of the indexes, and which
// still has the others by digest.
type Moved []v1.ImageIndex

// Base looks in the newest first.
func (m Moved) Base(ctx context.Context, ref, platform string) (found oci.Base, err error) {
	name, _, _ := strings.Cut(ref, "@")
	for _, index := range m {
		if found, err = (Bases{name: index}).Base(ctx, ref, platform); err == nil {
			return found, nil
		}
	}
	return found, err
}

package oci

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// VerifyIndex compares an index with a release, as VerifyImage does with one of a
// registry.
func VerifyIndex(ctx context.Context, m *manifest.Manifest, index v1.ImageIndex, o VerifyOptions) (*Verification, error) {
	choices, err := imagespec.Choose(m)
	if err != nil {
		return nil, err
	}
	v := &verifier{m: m, options: o, result: &Verification{}}
	err = v.index(ctx, index, choices)
	return v.result, err
}

// RegistryBases finds base images in registries.
func RegistryBases(o RegistryOptions) Bases {
	return BasesFrom(func(registry, repository string) (*Repository, error) {
		return NewRepository(registry+"/"+repository, o)
	})
}

// ReadLayout is openLayout.
func ReadLayout(dir string) (v1.ImageIndex, error) { return openLayout(dir) }

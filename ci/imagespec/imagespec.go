// Package imagespec derives the container image of a release from its manifest: the
// archive and the base image of each platform, the places of files, the entrypoint
// and the annotations.
//
// It belongs to the contract between the phases: the plan and the packer check a
// release by the rules of phase 2, so that a release that phase 2 would refuse is
// never published. The package is pure.
package imagespec

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
)

var (
	// ErrBase reports a base image that can't run the binaries.
	ErrBase = errors.New("unsuitable base image")
	// ErrSpec reports an image specification that can't be met.
	ErrSpec = errors.New("impossible image specification")
)

// Annotations and labels of the OCI image specification.
const (
	KeyPrefix      = "org.opencontainers.image."
	KeyTitle       = KeyPrefix + "title"
	KeyDescription = KeyPrefix + "description"
	KeyVersion     = KeyPrefix + "version"
	KeyRevision    = KeyPrefix + "revision"
	KeySource      = KeyPrefix + "source"
	KeyURL         = KeyPrefix + "url"
	KeyLicenses    = KeyPrefix + "licenses"
	KeyCreated     = KeyPrefix + "created"
	KeyBaseName    = KeyPrefix + "base.name"
	KeyBaseDigest  = KeyPrefix + "base.digest"
	KeyRefName     = KeyPrefix + "ref.name"
)

// Annotations returns the annotations of the index and of every image. Labels of the
// specification may replace those that describe the project, but not those that
// identify the release.
func Annotations(m *manifest.Manifest) (map[string]string, error) {
	meta := map[string]string{
		KeyTitle: m.Component, KeyDescription: m.Description, KeyVersion: m.Version, KeyRevision: m.Commit,
		KeySource: m.Repository, KeyURL: cmp.Or(m.Homepage, m.Repository), KeyLicenses: m.License, KeyCreated: m.CommitDate,
	}
	var errs []error
	labels := m.ImageSpec().Labels
	for _, key := range sortedKeys(labels) {
		switch key {
		case KeyVersion, KeyRevision, KeyCreated, KeyBaseName, KeyBaseDigest, KeyRefName:
			errs = append(errs, fmt.Errorf("%w: Gantry sets label %q from the release, so it can't be set: remove it", ErrSpec, key))
			continue
		}
		if strings.HasPrefix(key, KeyPrefix) {
			meta[key] = labels[key]
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	maps.DeleteFunc(meta, func(_, value string) bool { return value == "" })
	return meta, nil
}

// Entrypoint returns the entrypoint of an image with the binaries of an archive: that
// of the specification, the only binary, or the binary with the component's name.
func Entrypoint(m *manifest.Manifest, spec manifest.Image, a manifest.Asset) ([]string, error) {
	if len(spec.Entrypoint) > 0 {
		return spec.Entrypoint, nil
	}
	var names []string
	for _, b := range a.Binaries {
		names = append(names, b.Name)
	}
	switch {
	case len(names) == 1:
		return []string{BinDir + "/" + names[0]}, nil
	case slices.Contains(names, m.Component):
		return []string{BinDir + "/" + m.Component}, nil
	}
	return nil, fmt.Errorf("%w: any of %s may be the entrypoint: set entrypoint = [%q], or another, in the image configuration", ErrSpec, strings.Join(names, ", "), BinDir+"/"+names[0])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

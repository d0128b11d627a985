// Package imagespec holds the rules of the container image of a release as far as
// they follow from its manifest: which archive and which base image a platform
// gets, where files go, the entrypoint, and the annotations.
//
// It belongs to the contract between the phases: the plan and the packer check a
// release by the rules that phase 2 assembles its image by, so that whatever
// phase 2 would refuse is known before the release is published. The package is
// pure: it reads no file, no registry and no network.
package imagespec

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
)

var (
	// ErrBase says that a base image can't run what is put on it.
	ErrBase = errors.New("unsuitable base image")
	// ErrSpec says that the manifest's image specification can't be met.
	ErrSpec = errors.New("impossible image specification")
)

// The annotations and labels of images, of the OCI image specification.
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

// Annotations returns the annotations of the index and of every manifest, which
// follow from the release. Labels of the specification may replace those that
// describe the project, not those that identify the release.
func Annotations(m *manifest.Manifest) (map[string]string, error) {
	home := m.Homepage
	if home == "" {
		home = m.Repository
	}
	meta := map[string]string{
		KeyTitle: m.Component, KeyDescription: m.Description, KeyVersion: m.Version, KeyRevision: m.Commit,
		KeySource: m.Repository, KeyURL: home, KeyLicenses: m.License, KeyCreated: m.CommitDate,
	}
	var errs []error
	if m.Image != nil {
		for _, key := range sortedKeys(m.Image.Labels) {
			switch key {
			case KeyVersion, KeyRevision, KeyCreated, KeyBaseName, KeyBaseDigest, KeyRefName:
				errs = append(errs, fmt.Errorf("%w: label %q follows from the release and can't be set: remove it", ErrSpec, key))
				continue
			}
			if strings.HasPrefix(key, KeyPrefix) {
				meta[key] = m.Image.Labels[key]
			}
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	maps.DeleteFunc(meta, func(_, value string) bool { return value == "" })
	return meta, nil
}

// Entrypoint returns the entrypoint of an image with the binaries of an archive:
// the specification's, the only binary, or the one with the component's name.
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
	return nil, fmt.Errorf("%w: which of %s is the entrypoint? set entrypoint = [%q] in the image configuration, or another", ErrSpec, strings.Join(names, ", "), BinDir+"/"+names[0])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

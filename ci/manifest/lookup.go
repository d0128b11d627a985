package manifest

import (
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/version"
)

// AssetByName returns the asset called name.
func (m *Manifest) AssetByName(name string) (Asset, bool) {
	for _, a := range m.Assets {
		if a.Name == name {
			return a, true
		}
	}
	return Asset{}, false
}

// Archives returns the assets that are archives, in the manifest's order.
func (m *Manifest) Archives() []Asset {
	var archives []Asset
	for _, a := range m.Assets {
		if a.Kind == KindArchive {
			archives = append(archives, a)
		}
	}
	return archives
}

// ArchiveFor returns the archive of a Rust target triple; there is at most
// one.
func (m *Manifest) ArchiveFor(target string) (Asset, bool) {
	for _, a := range m.Assets {
		if a.Kind == KindArchive && a.Target == target {
			return a, true
		}
	}
	return Asset{}, false
}

// VersionOf returns the version in a tag of the manifest's component: the tag has
// the same prefix and only a version after it.
func (m *Manifest) VersionOf(tag string) (*semver.Version, bool) {
	prefix := strings.TrimSuffix(strings.TrimSuffix(m.Tag, m.Version), "v")
	rest, ok := strings.CutPrefix(tag, prefix)
	if !ok {
		return nil, false
	}
	v, err := version.Parse(rest)
	return v, err == nil
}

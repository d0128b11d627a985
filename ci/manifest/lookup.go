package manifest

import (
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/version"
)

// AssetByName returns the asset called name.
func (m *Manifest) AssetByName(name string) (Asset, bool) {
	return m.find(func(a *Asset) bool { return a.Name == name })
}

func (m *Manifest) find(fits func(*Asset) bool) (Asset, bool) {
	for i := range m.Assets { // without a copy of each
		if fits(&m.Assets[i]) {
			return m.Assets[i], true
		}
	}
	return Asset{}, false
}

// Archives returns the assets that are archives, in the manifest's order.
func (m *Manifest) Archives() []Asset {
	return slices.DeleteFunc(slices.Clone(m.Assets), func(a Asset) bool { return a.Kind != KindArchive })
}

// ArchiveFor returns the archive of a Rust target triple; there is at most
// one.
func (m *Manifest) ArchiveFor(target string) (Asset, bool) {
	return m.find(func(a *Asset) bool { return a.Kind == KindArchive && a.Target == target })
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

package dist

import (
	"fmt"
	"path/filepath"

	"dagger/gantry/ci/manifest"
)

// AddFiles adds files of the directory from to the release files in dir, and to their
// manifest and SHA256SUMS.
func AddFiles(dir string, m *manifest.Manifest, from string, names []string) error {
	for _, name := range names {
		if taken, found := m.AssetByName(name); found {
			return fmt.Errorf("add the file %q: the release has an asset of this name already (%s): pass another --name", name, taken.Kind)
		}
		asset, err := copyFile(filepath.Join(from, name), filepath.Join(dir, name), manifest.KindFile)
		if err != nil {
			return fmt.Errorf("add the file %q: %w", name, err)
		}
		m.Assets = append(m.Assets, asset)
	}
	return seal(dir, m)
}

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
		to := filepath.Join(dir, name)
		if err := copyFile(filepath.Join(from, name), to); err != nil {
			return fmt.Errorf("add the file %q: %w", name, err)
		}
		asset, err := Measure(to)
		if err != nil {
			return err
		}
		asset.Kind = manifest.KindFile
		m.Assets = append(m.Assets, asset)
	}
	return seal(dir, m)
}

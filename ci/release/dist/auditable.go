package dist

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"dagger/gantry/ci/release/auditable"
)

// addLists returns targets whose binaries have the list of their crates, where it is
// wanted. It writes them to a directory.
func addLists(dir string, targets []Target) ([]Target, error) {
	targets = slices.Clone(targets)
	for i, t := range targets {
		if !t.Auditable {
			continue
		}
		t.Binaries = slices.Clone(t.Binaries)
		for j, bin := range t.Binaries {
			fail := func(err error) ([]Target, error) {
				return nil, fmt.Errorf("add the list of crates to binary %q of target %q: %w", bin.Name, t.Want.Target, err)
			}
			data, err := auditable.Data(t.crates, bin.Package)
			if err != nil {
				return fail(err)
			}
			program, err := os.ReadFile(bin.File)
			if err != nil {
				return fail(err)
			}
			if program, err = auditable.AddSection(program, data); err != nil {
				return fail(err)
			}
			t.Binaries[j].File = filepath.Join(dir, fmt.Sprintf("%d-%d", i, j))
			if err := os.WriteFile(t.Binaries[j].File, program, 0o755); err != nil {
				return fail(err)
			}
		}
		targets[i] = t
	}
	return targets, nil
}

package plan

import (
	"fmt"
	"slices"
	"strings"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/notation"
)

// AddFile adds the name of a file to the names of a release's assets, in their order.
// It fails if GitHub would rename the file, or if another asset has the name.
func AddFile(assets []string, name string) ([]string, error) {
	if err := notation.Asset.Check(name); err != nil {
		return nil, fmt.Errorf("add the file %q to the release: %w: pass another --name", name, err)
	}
	if i := slices.IndexFunc(assets, func(other string) bool { return strings.EqualFold(other, name) }); i >= 0 {
		return nil, fmt.Errorf("add the file %q to the release: it has the asset %q already: pass another --name", name, assets[i])
	}
	if strings.EqualFold(name, attest.SignatureName) {
		return nil, fmt.Errorf("add the file %q to the release: that is the name of its signature, which publish makes with --signing-key: pass another --name", name)
	}
	all := append(slices.Clone(assets), name)
	slices.Sort(all)
	return all, nil
}

// AddIf returns names with one more, on a condition.
func AddIf(condition bool, names []string, name string) []string {
	if !condition {
		return names
	}
	return append(slices.Clone(names), name)
}

// CheckTarget returns an error unless the plan has a target whose binaries the caller
// adds, and has none of it so far.
func CheckTarget(targets, added []string, triple string) error {
	switch {
	case slices.Contains(added, triple):
		return fmt.Errorf("with-binaries --target=%s appears twice: pass all binaries of a target in one directory", triple)
	case slices.Contains(targets, triple):
		return nil
	}
	return fmt.Errorf("the release has no target %q: add it to targets in [workspace.metadata.gantry], or pass one of %s", triple, strings.Join(targets, ", "))
}

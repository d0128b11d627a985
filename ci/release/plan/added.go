package plan

import (
	"encoding/json"
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

// AddBinaries removes the bills of materials of a target whose binaries were built
// elsewhere from the names of a release's assets. matrix is that of the plan
// ([Plan.Matrix]).
func AddBinaries(assets []string, matrix, triple string) ([]string, error) {
	var planned struct{ Include []TargetPlan }
	if err := json.Unmarshal([]byte(matrix), &planned); err != nil {
		return nil, fmt.Errorf("read the targets of the release: %w", err)
	}
	for i := range planned.Include {
		if t := &planned.Include[i]; t.Target == triple {
			assets = t.dropBills(assets)
		}
	}
	return assets, nil
}

// AddBinaries plans targets whose binaries were built elsewhere: since what was compiled
// is unknown, they have no bills of materials and no list or licenses of crates. It
// returns an error if the configuration demands these.
func (p *Plan) AddBinaries(triples []string) error {
	for i := range p.Targets {
		t := &p.Targets[i]
		if !slices.Contains(triples, t.Target) {
			continue
		}
		for _, key := range []struct {
			name, what string
			set        *bool
		}{
			{"sbom", "a bill of materials lists", p.component.Config.SBOM},
			{"notices", NoticesName + " lists", p.component.Config.Notices},
		} {
			if isTrue(key.set) {
				return fmt.Errorf("target %q: %s what was compiled, which is unknown for binaries that were built elsewhere: remove %s = true, and only the other targets get it", t.Target, key.what, key.name)
			}
		}
		p.Assets = t.dropBills(p.Assets)
	}
	return nil
}

// dropBills makes a target one without bills and licenses, and returns the names of
// assets without its bills.
func (t *TargetPlan) dropBills(assets []string) []string {
	sbom, spdx := t.SBOM, t.SPDX
	t.SBOM, t.SPDX, t.Notices, t.Auditable = "", "", false, false
	return slices.DeleteFunc(slices.Clone(assets), func(name string) bool { return name == sbom || name == spdx })
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

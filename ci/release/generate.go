package release

import (
	"context"
	"slices"

	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// generator returns a function that makes the files which binaries of the release print,
// for the packer. It fails at once if no target runs here.
func (w *workspace) generator(ctx context.Context, p *plan.Plan, r Request, pk *packer, groups [][]plan.Build) (func(context.Context) error, error) {
	platform, err := w.toolchain.Platform(ctx)
	if err != nil {
		return nil, err
	}
	native, err := p.Native(platform)
	if err != nil {
		return nil, err
	}
	native = w.withCommand([]plan.Build{native})[0]
	return func(ctx context.Context) error {
		binaries, err := w.nativeBinaries(ctx, native, r, groups)
		if err == nil {
			pk.generated, err = w.toolchain.Generate(ctx, binaries, p.Generated, w.git.Time.Unix())
		}
		return err
	}, nil
}

// nativeBinaries returns the binaries of a target, by name: those that were built
// elsewhere, or those of a group. If another engine packs the target, it is compiled for
// this only.
func (w *workspace) nativeBinaries(ctx context.Context, native plan.Build, r Request, groups [][]plan.Build) (map[string]*dagger.File, error) {
	binaries := map[string]*dagger.File{}
	if i := slices.Index(r.BinaryTargets, native.Target.Triple); i >= 0 {
		for _, bin := range native.Bins {
			binaries[bin.Name] = r.BinaryDirs[i].File(bin.Name)
		}
		return binaries, nil
	}
	isNative := func(b plan.Build) bool { return b.Target.Triple == native.Target.Triple }
	group := []plan.Build{native}
	for _, g := range groups {
		if slices.ContainsFunc(g, isNative) {
			group = g
		}
	}
	output, err := w.compile(ctx, group, true)
	if err != nil {
		return nil, err
	}
	for i, bin := range native.Bins {
		binaries[bin.Name] = output.Dir.File(output.Targets[slices.IndexFunc(group, isNative)].Files[i])
	}
	return binaries, nil
}

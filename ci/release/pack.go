package release

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/internal/dagger"
)

// packCommand is the argument by which the module's own program packs, instead
// of serving functions.
const packCommand = "gantry-pack"

// Places in the packer's container.
const (
	packDir = "/gantry-pack"
	jobFile = packDir + "/job.json"
	packOut = "/gantry-out"
)

// packMain runs [packCommand].
func packMain() error {
	return dist.Main(jobFile, packOut)
}

// packer checks and packs binaries in a container. A later session can't reach the
// files that a function writes to its own disk, but it can make those of a container
// again, so the engine can cache them.
type packer struct {
	w *workspace
	// outputs of the builds of each group.
	outputs []*dagger.Directory
	// given are directories of binaries that were built elsewhere.
	given []*dagger.Directory
	// runs are directories of the output of given binaries; nil for those that don't run
	// here.
	runs      []*dagger.Directory
	changelog *dagger.File
	// generated has the files that binaries print, or is nil.
	generated *dagger.Directory
}

// program returns a container that has the module's program, and the command that
// runs it, to which a caller adds an argument. The source without generated files is
// the one that the engine built this program from, so its cache has most of it.
func (w *workspace) program(ctx context.Context) (*dagger.Container, []string, error) {
	ctr := w.client.CurrentModule().Source().
		WithoutFile("dagger.gen.go").
		WithoutDirectory("internal").
		AsModule().Runtime()
	var entrypoint []string
	err := engine.Retry(ctx, func() (err error) {
		entrypoint, err = ctr.Entrypoint(ctx)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("find the module's own program: %v", err)
	}
	// The generated client requires a session at start, but is never called.
	return ctr, append([]string{"env", "DAGGER_SESSION_PORT=0", "DAGGER_SESSION_TOKEN=none"}, entrypoint...), nil
}

// load makes the program while targets compile.
func (p *packer) load(ctx context.Context) error {
	ctr, _, err := p.w.program(ctx)
	if err == nil {
		_, err = ctr.Sync(ctx)
	}
	return err
}

// add adds the output of the builds of group i.
func (p *packer) add(i int, group []plan.Build, output *toolchain.Output) []dist.Target {
	p.outputs[i] = output.Dir
	var targets []dist.Target
	for k, b := range group {
		targets = append(targets, newTarget(outputDir(i), b, output.Targets[k]))
	}
	return targets
}

// give adds the binaries of a target that were built elsewhere. Those that run natively
// start here, which is how their version is known best.
func (p *packer) give(ctx context.Context, b plan.Build, dir *dagger.Directory, anyVersion bool) (dist.Target, error) {
	have, err := dir.Entries(ctx)
	if err != nil {
		return dist.Target{}, fmt.Errorf("read the binaries of target %q: %v", b.Target.Triple, err)
	}
	var names, files []string
	at := givenDir(len(p.given))
	for _, bin := range b.Bins {
		name := bin.Name + b.Target.ExeSuffix
		if !slices.Contains(have, name) {
			return dist.Target{}, fmt.Errorf("the directory of with-binaries --target=%s has no %q: it has %q", b.Target.Triple, name, have)
		}
		names, files = append(names, name), append(files, path.Join(at, name))
	}
	p.given = append(p.given, dir)
	t := dist.NewTarget(b, files)
	t.Elsewhere = true
	if anyVersion {
		return t, nil
	}
	runs, err := p.w.toolchain.Start(ctx, b.Target, dir, names)
	if err != nil {
		return dist.Target{}, err
	}
	p.runs = append(p.runs, runs)
	for i, bin := range b.Bins {
		t.Binaries[i].Version = bin.Version
		if runs != nil {
			t.Binaries[i].Run = path.Join(runDir(len(p.runs)-1), names[i])
		}
	}
	return t, nil
}

func givenDir(i int) string { return fmt.Sprintf("%s/given/%d", packDir, i) }

func runDir(i int) string { return fmt.Sprintf("%s/run/%d", packDir, i) }

func outputDir(i int) string { return fmt.Sprintf("%s/built/%d", packDir, i) }

// pack packs a release and returns the directory of its files.
func (p *packer) pack(ctx context.Context, in dist.Input) (*dagger.Directory, error) {
	ctr, command, err := p.w.program(ctx)
	if err != nil {
		return nil, err
	}
	for i, out := range p.outputs {
		ctr = ctr.WithMountedDirectory(outputDir(i), out)
	}
	for i, dir := range p.given {
		ctr = ctr.WithMountedDirectory(givenDir(i), dir)
	}
	for i, dir := range p.runs {
		if dir != nil {
			ctr = ctr.WithMountedDirectory(runDir(i), dir)
		}
	}
	if p.changelog != nil {
		in.Changelog = path.Join(packDir, manifest.ChangelogName)
		ctr = ctr.WithMountedFile(in.Changelog, p.changelog)
	}
	if len(in.Extra) > 0 {
		in.ExtraDir = path.Join(packDir, "source")
		ctr = ctr.WithMountedDirectory(in.ExtraDir, p.w.source)
		if p.generated != nil {
			ctr = ctr.WithMountedDirectory(path.Join(in.ExtraDir, plan.GeneratedDir), p.generated)
		}
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	out, err := ctr.
		WithNewFile(jobFile, string(text)).
		WithExec(append(command, packCommand)).
		Directory(packOut).
		Sync(ctx)
	if err != nil {
		return nil, engine.Explain("pack", err)
	}
	return out, nil
}

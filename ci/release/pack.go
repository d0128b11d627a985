package release

import (
	"context"
	"encoding/json"
	"fmt"
	"path"

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

// packMain is what the program does for [packCommand].
func packMain() error {
	return dist.Main(jobFile, packOut)
}

// packer checks and packs what was built, in a container of its own: what a
// function writes to its own disk is out of reach for every later session, but
// what a container writes can be made again, and so be cached.
type packer struct {
	w *workspace
	// outputs of the builds of each group.
	outputs   []*dagger.Directory
	changelog *dagger.File
}

func (w *workspace) packer(groups int) *packer {
	return &packer{w: w, outputs: make([]*dagger.Directory, groups)}
}

// program returns a container that has the module's program, and how to run it
// there: what is added to the command says what to do. Without what is generated, it is
// the source that the engine made this very program from, so that much of it
// is in its cache.
func (w *workspace) program(ctx context.Context) (*dagger.Container, []string, error) {
	ctr := w.client.CurrentModule().Source().
		WithoutFile("dagger.gen.go").
		WithoutDirectory("internal").
		AsModule().Runtime()
	entrypoint, err := ctr.Entrypoint(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("find the module's own program: %v", err)
	}
	// The generated client wants to know a session before anything else runs; it
	// is never called.
	return ctr, append([]string{"env", "DAGGER_SESSION_PORT=0", "DAGGER_SESSION_TOKEN=none"}, entrypoint...), nil
}

// load makes the program, while there is something else to wait for.
func (p *packer) load(ctx context.Context) error {
	ctr, _, err := p.w.program(ctx)
	if err == nil {
		_, err = ctr.Sync(ctx)
	}
	return err
}

// add what group i was built into.
func (p *packer) add(i int, group []plan.Build, output *toolchain.Output) []dist.Target {
	dir := outputDir(i)
	p.outputs[i] = output.Dir
	var targets []dist.Target
	for k, b := range group {
		out := output.Targets[k]
		files := make([]string, len(out.Files))
		for j, file := range out.Files {
			files[j] = path.Join(dir, file)
		}
		t := dist.NewTarget(b, files)
		t.SBOMDir = path.Join(dir, "sbom")
		for j, run := range out.Run {
			t.Binaries[j].Run = path.Join(dir, run)
		}
		targets = append(targets, t)
	}
	return targets
}

func outputDir(i int) string { return fmt.Sprintf("%s/built/%d", packDir, i) }

// pack does the job, and gives the folder of its result.
func (p *packer) pack(ctx context.Context, job dist.Job) (*dagger.Directory, error) {
	ctr, command, err := p.w.program(ctx)
	if err != nil {
		return nil, err
	}
	for i, out := range p.outputs {
		ctr = ctr.WithMountedDirectory(outputDir(i), out)
	}
	if p.changelog != nil {
		job.Input.Changelog = path.Join(packDir, manifest.ChangelogName)
		ctr = ctr.WithMountedFile(job.Input.Changelog, p.changelog)
	}
	if len(job.Input.Extra) > 0 {
		job.Input.ExtraDir = path.Join(packDir, "source")
		ctr = ctr.WithMountedDirectory(job.Input.ExtraDir, p.w.source)
	}
	text, err := json.Marshal(job)
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

package release

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// plan plans the release of a tag, or of the default tag for an empty one.
func (w *workspace) plan(tag string, targets []string) (*plan.Plan, error) {
	if tag == "" {
		var err error
		if tag, err = w.project.DefaultTag(w.git); err != nil {
			return nil, err
		}
	}
	p, err := w.project.Plan(tag, w.git, targets)
	if err != nil {
		return nil, err
	}
	p.Toolchain = w.toolchain.Name()
	return p, nil
}

// build compiles one target of a component, or of all for the empty name, into a
// directory of binaries.
func (w *workspace) build(ctx context.Context, triple, component string) (*dagger.Directory, error) {
	builds, err := w.builds(triple, component)
	if err != nil {
		return nil, err
	}
	if err := plan.CheckNameClashes(builds); err != nil {
		return nil, err
	}
	if err := w.prepare(ctx, builds, false); err != nil {
		return nil, err
	}
	all := w.client.Directory()
	for i, b := range builds {
		output, err := w.compile(ctx, []plan.Build{b}, false)
		if err != nil {
			return nil, err
		}
		// The binaries are checked here, which is faster than in a container.
		dir := fmt.Sprintf("built/%d", i)
		if _, err := output.Dir.Export(ctx, dir); err != nil {
			return nil, fmt.Errorf("export the binaries: %v", err)
		}
		t := newTarget(dir, b, output.Targets[0])
		if _, err := dist.Inspect(t); err != nil {
			return nil, err
		}
		for j, bin := range t.Binaries {
			all = all.WithFile(bin.Name, output.Dir.File(output.Targets[0].Files[j]))
		}
	}
	return all, nil
}

// newTarget describes the output of a build that is in a directory.
func newTarget(dir string, b plan.Build, output toolchain.TargetOutput) dist.Target {
	files := make([]string, len(output.Files))
	for i, file := range output.Files {
		files[i] = path.Join(dir, file)
	}
	t := dist.NewTarget(b, files)
	t.CratesDir = path.Join(dir, "crates")
	for i, run := range output.Run {
		t.Binaries[i].Run = path.Join(dir, run)
	}
	return t
}

func (w *workspace) builds(triple, component string) ([]plan.Build, error) {
	if _, err := target.Lookup(triple); err != nil {
		return nil, err
	}
	components := w.project.Separate()
	if component != "" {
		c, err := w.project.Component(component)
		if err != nil {
			return nil, err
		}
		components = []*plan.Component{c}
	}
	var builds []plan.Build
	for _, c := range components {
		b, err := c.Build(triple)
		if err != nil {
			return nil, err
		}
		b.SBOM, b.Notices, b.Auditable = false, false, false // they are a release's
		builds = append(builds, b)
	}
	return w.withCommand(builds), nil
}

// withCommand applies the caller's Cargo subcommand.
func (w *workspace) withCommand(builds []plan.Build) []plan.Build {
	if w.settings.CargoCommand != "" {
		for i := range builds {
			builds[i].Command = w.settings.CargoCommand
		}
	}
	return builds
}

// prepare prepares the toolchain for all targets, so that one that can't be built
// is reported before any other compiles, and fetches the dependencies that need a login.
func (w *workspace) prepare(ctx context.Context, builds []plan.Build, hermetic bool) error {
	groups := plan.Group(builds)
	errs := make([]error, len(groups))
	var g errgroup.Group
	for i, group := range groups {
		g.Go(func() error {
			ctr, err := w.toolchain.For(ctx, group)
			if err == nil {
				_, err = ctr.Sync(ctx)
			}
			if err != nil {
				errs[i] = engine.Explain("prepare the toolchain", err)
			}
			return nil
		})
	}
	var fetched error
	g.Go(func() error {
		_, fetched = w.toolchain.Fetch(ctx, w.source, w.options(hermetic))
		return nil
	})
	_ = g.Wait() // errs has all errors
	return errors.Join(append(errs, fetched)...)
}

// compile compiles the targets of a group.
func (w *workspace) compile(ctx context.Context, group []plan.Build, hermetic bool) (*toolchain.Output, error) {
	return w.toolchain.Build(ctx, w.source, group, w.options(hermetic))
}

func (w *workspace) options(hermetic bool) toolchain.Options {
	opts := toolchain.Options{Dir: w.project.Dir, Cache: w.cache, Hermetic: hermetic}
	if w.git.Commit != "" {
		opts.Epoch = w.git.Time.Unix()
	}
	return opts
}

// dist builds the files of a release.
func (w *workspace) dist(ctx context.Context, p *plan.Plan, r Request) (*dagger.Directory, error) {
	builds, err := p.Builds()
	if err != nil {
		return nil, err
	}
	pk := &packer{w: w}
	builds, given, err := w.take(ctx, p, pk, r, builds)
	if err != nil {
		return nil, err
	}
	builds = w.withCommand(builds)
	generate := func(context.Context) error { return nil }
	if len(p.Generated) > 0 {
		if generate, err = w.generator(ctx, p, r, pk, plan.Group(builds)); err != nil {
			return nil, err
		}
	}
	if err := w.prepare(ctx, builds, true); err != nil {
		return nil, err
	}
	g, gctx := errgroup.WithContext(ctx)
	built := w.compileAll(gctx, g, pk, plan.Group(builds))
	var image string
	g.Go(func() (err error) {
		pk.changelog, err = w.changelogFile(gctx, p)
		return err
	})
	g.Go(func() (err error) {
		image, err = w.toolchain.Digest(gctx)
		return err
	})
	g.Go(func() error { return generate(gctx) })
	g.Go(func() error { return pk.load(gctx) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	in, err := dist.NewInput(p, manifest.Toolchain{Image: image, Rustc: w.facts.Rustc, Cargo: w.facts.Cargo}, append(slices.Concat(built...), given...))
	if err != nil {
		return nil, err
	}
	return pk.pack(ctx, in)
}

// compileAll compiles groups of targets at the same time, in functions of g. What it
// returns is complete when they have ended.
func (w *workspace) compileAll(ctx context.Context, g *errgroup.Group, pk *packer, groups [][]plan.Build) [][]dist.Target {
	pk.outputs = make([]*dagger.Directory, len(groups))
	results := make([][]dist.Target, len(groups))
	for i, group := range groups {
		g.Go(func() error {
			output, err := w.compile(ctx, group, true)
			if err == nil {
				results[i] = pk.add(i, group, output)
			}
			return err
		})
	}
	return results
}

// take hands the binaries that were built elsewhere to the packer, and returns the
// builds that are left.
func (w *workspace) take(ctx context.Context, p *plan.Plan, pk *packer, r Request, builds []plan.Build) (left []plan.Build, given []dist.Target, _ error) {
	for _, b := range builds {
		i := slices.Index(r.BinaryTargets, b.Target.Triple)
		if i < 0 {
			left = append(left, b)
			continue
		}
		target, err := pk.give(ctx, b, r.BinaryDirs[i], slices.Contains(r.AnyVersion, b.Target.Triple))
		if err != nil {
			return nil, nil, err
		}
		given = append(given, target)
	}
	return left, given, nil
}

// changelogOf makes the changelog of a tag.
func (w *workspace) changelogOf(ctx context.Context, tag string, opts changelog.Options) (*dagger.File, error) {
	p, err := w.plan(tag, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case w.git.Shallow:
		return nil, fmt.Errorf("the changelog of %q needs the full history, but the source is a shallow clone: run git fetch --unshallow --tags (on GitHub Actions: fetch-depth: 0), or pass the URL of a repository as --git", tag)
	case w.git.Commit == "":
		return nil, p.Err()
	}
	for _, t := range w.git.Tags {
		if t.Name == tag && t.Commit != w.git.Commit {
			return nil, fmt.Errorf("tag %q is at commit %s, but the source is at %s, so its changelog would have changes that are not in the tag: check out the tag", tag, t.Commit, w.git.Commit)
		}
	}
	return w.changelog(ctx, p, opts)
}

// changelogFile makes the changelog of a plan.
func (w *workspace) changelogFile(ctx context.Context, p *plan.Plan) (*dagger.File, error) {
	file, err := w.changelog(ctx, p, changelog.Options{})
	if err != nil {
		return nil, err
	}
	if file, err = file.Sync(ctx); err != nil {
		return nil, engine.Explain("make the changelog", err)
	}
	return file, nil
}

func (w *workspace) changelog(ctx context.Context, p *plan.Plan, opts changelog.Options) (*dagger.File, error) {
	program, command, err := w.program(ctx)
	if err != nil {
		return nil, err
	}
	tools := changelog.Tools{Git: w.toolchain.Git(w.facts), Program: program, Command: command}
	return changelog.Make(w.client, w.source, w.history, p, tools, opts)
}

// Package workspace runs the stages of phase 1 over a source: read, plan,
// prepare, build, pack.
//
// It is a container graph that ties ci/plan, ci/cargo, ci/changelog and ci/dist
// together. It keeps one invariant: nothing is compiled before everything that
// can be checked without compiling has been checked.
package workspace

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/cargo"
	"dagger/gantry/ci/changelog"
	"dagger/gantry/ci/dist"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/plan"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// Settings of the caller's.
type Settings struct {
	// Toolchain container of the caller's, or nil.
	Toolchain *dagger.Container
	// CargoCommand builds instead of the configured subcommand, if not empty.
	CargoCommand string
	// Cache tells build caches apart, beyond projects and targets.
	Cache string
}

// Workspace is a source that was read.
type Workspace struct {
	Project *plan.Project
	Git     plan.Git

	client    *dagger.Client
	source    *dagger.Directory
	toolchain cargo.Toolchain
	settings  Settings
	facts     *cargo.Facts
	cache     string
}

// Open reads a source.
func Open(ctx context.Context, client *dagger.Client, source *dagger.Directory, settings Settings) (*Workspace, error) {
	entries, err := source.Entries(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the source: %w", err)
	}
	for i, e := range entries {
		entries[i] = strings.TrimSuffix(e, "/")
	}
	if !slices.Contains(entries, "Cargo.toml") {
		return nil, fmt.Errorf("the source is not a Cargo workspace: it has no Cargo.toml at its top (it has %s); pass --source with the folder that has", list(entries))
	}
	w := &Workspace{client: client, source: source, settings: settings, toolchain: cargo.Toolchain{Client: client, Custom: settings.Toolchain}}
	if settings.Toolchain == nil {
		if w.toolchain.Channel, err = channel(ctx, source, entries); err != nil {
			return nil, err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		var err error
		w.facts, err = w.toolchain.Inspect(gctx, source.WithoutDirectory(".git"))
		return err
	})
	g.Go(func() error {
		var err error
		w.Git, err = w.toolchain.Git(gctx, source)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if w.Project, err = plan.Load(w.facts.Metadata, w.facts.Files); err != nil {
		return nil, err
	}
	w.cache = cacheName(w.Project, w.facts.System, settings.Cache)
	return w, nil
}

func list(entries []string) string {
	if len(entries) == 0 {
		return "nothing"
	}
	if len(entries) > 10 {
		return strings.Join(entries[:10], ", ") + ", …"
	}
	return strings.Join(entries, ", ")
}

// channel of Rust that the source asks for.
func channel(ctx context.Context, source *dagger.Directory, entries []string) (string, error) {
	read := func(name string) (string, error) {
		if !slices.Contains(entries, name) {
			return "", nil
		}
		return source.File(name).Contents(ctx)
	}
	var text [2]string
	// rustup prefers the file without suffix ("Overrides", The rustup book).
	for i, names := range [][]string{{"rust-toolchain", "rust-toolchain.toml"}, {"Cargo.toml"}} {
		for _, name := range names {
			var err error
			if text[i], err = read(name); err != nil {
				return "", fmt.Errorf("read %q: %w", name, err)
			}
			if text[i] != "" {
				break
			}
		}
	}
	return plan.Channel(text[0], text[1])
}

// cacheName tells build caches apart: by the packages of the project, the
// system that the toolchain runs on, and the caller's namespace.
func cacheName(p *plan.Project, system, namespace string) string {
	names := []string{system, namespace}
	for _, c := range p.Components {
		for _, pkg := range c.Packages {
			names = append(names, pkg.Name)
		}
	}
	sort.Strings(names[2:])
	sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
	return hex.EncodeToString(sum[:6])
}

// Plan the release of a tag.
func (w *Workspace) Plan(tag string, targets []string) (*plan.Plan, error) {
	p, err := w.Project.Plan(tag, w.Git, targets)
	if err != nil {
		return nil, err
	}
	p.Toolchain = w.toolchain.Name()
	return p, nil
}

// Toolchain container of a target of a component.
func (w *Workspace) Toolchain(ctx context.Context, triple, component string) (*dagger.Container, error) {
	builds, err := w.builds(triple, component)
	if err != nil {
		return nil, err
	}
	return w.toolchain.For(ctx, builds[:1])
}

// Build one target of a component, or of all for the empty name, into a
// folder of binaries.
func (w *Workspace) Build(ctx context.Context, triple, component string) (*dagger.Directory, error) {
	builds, err := w.builds(triple, component)
	if err != nil {
		return nil, err
	}
	if err := w.prepare(ctx, builds); err != nil {
		return nil, err
	}
	out := w.client.Directory()
	for i, b := range builds {
		// The folder on disk that the check leaves behind is not used here.
		built, err := w.compile(ctx, builds[i:i+1])
		if err != nil {
			return nil, err
		}
		for j, bin := range b.Bins {
			out = out.WithFile(bin.Name+b.Target.ExeSuffix, built[0].output.Files[j])
		}
	}
	return out, nil
}

func (w *Workspace) builds(triple, component string) ([]plan.Build, error) {
	if _, err := target.Lookup(triple); err != nil {
		return nil, err
	}
	components := w.Project.Components
	if component != "" {
		c, err := w.Project.Component(component)
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
		builds = append(builds, b)
	}
	return w.withCommand(builds), nil
}

// withCommand lets the caller's Cargo subcommand win.
func (w *Workspace) withCommand(builds []plan.Build) []plan.Build {
	if w.settings.CargoCommand != "" {
		for i := range builds {
			builds[i].Command = w.settings.CargoCommand
		}
	}
	return builds
}

// prepare makes every check of the toolchain, for all targets, so that a target
// which can't be built is known before another is. That Cargo.lock fits is
// checked by Cargo itself, before it compiles anything.
func (w *Workspace) prepare(ctx context.Context, builds []plan.Build) error {
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
				errs[i] = cargo.Explain("prepare the toolchain", err)
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are collected, to be seen all at once
	return errors.Join(errs...)
}

// compiled binaries of a target, in the engine and on disk.
type compiled struct {
	output cargo.Output
	disk   dist.Built
}

// compile the targets of a group and check what came out.
func (w *Workspace) compile(ctx context.Context, group []plan.Build) ([]compiled, error) {
	opts := cargo.Options{Cache: w.cache}
	if w.Git.Commit != "" {
		opts.Epoch = w.Git.Time.Unix()
	}
	outputs, err := w.toolchain.Build(ctx, w.source, group, opts)
	if err != nil {
		return nil, err
	}
	all := make([]compiled, len(group))
	for i, b := range group {
		all[i] = compiled{outputs[i], dist.Built{Build: b}}
		if err := all[i].check(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// check brings the binaries to disk and looks into them.
func (c *compiled) check(ctx context.Context) error {
	b := c.disk.Build
	dir := filepath.Join("build", b.Target.Triple)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, bin := range b.Bins {
		path := filepath.Join(dir, bin.Name+b.Target.ExeSuffix)
		if _, err := c.output.Files[i].Export(ctx, path); err != nil {
			return fmt.Errorf("take binary %q of target %q: %w", bin.Name, b.Target.Triple, err)
		}
		c.disk.Files = append(c.disk.Files, path)
	}
	if _, err := dist.Inspect(c.disk); err != nil {
		return err
	}
	for i, run := range c.output.Run {
		if err := dist.CheckRun(b.Bins[i].Name, b.Target.Triple, run); err != nil {
			return err
		}
	}
	return nil
}

// Dist builds the files of a release. They are left in a folder of the
// function's own file system, whose path is returned.
func (w *Workspace) Dist(ctx context.Context, tag string, targets []string) (string, error) {
	p, err := w.Plan(tag, targets)
	if err != nil {
		return "", err
	}
	if err := p.Err(); err != nil {
		return "", err
	}
	builds, err := p.Builds()
	if err != nil {
		return "", err
	}
	builds = w.withCommand(builds)
	if err := w.prepare(ctx, builds); err != nil {
		return "", err
	}
	in := dist.Input{Plan: p, ExtraDir: "extra"}
	groups := plan.Group(builds)
	results := make([][]compiled, len(groups))
	g, gctx := errgroup.WithContext(ctx)
	for i, group := range groups {
		g.Go(func() error {
			var err error
			results[i], err = w.compile(gctx, group)
			return err
		})
	}
	g.Go(func() error {
		file, err := changelog.Make(gctx, w.client, w.source, p, changelog.Options{})
		if err != nil {
			return err
		}
		text, err := file.Contents(gctx)
		in.Changelog = []byte(text)
		if err != nil {
			return cargo.Explain("make the changelog", err)
		}
		return nil
	})
	g.Go(func() error {
		var paths []string
		for _, e := range p.Extra {
			paths = append(paths, e.Source)
		}
		if _, err := w.toolchain.Collect(w.source, paths, w.facts).Export(gctx, in.ExtraDir); err != nil {
			return cargo.Explain("collect the files for the archives", err)
		}
		return nil
	})
	g.Go(func() error {
		image, err := w.toolchain.Digest(gctx)
		if err != nil {
			return err
		}
		rustc, cargoVersion, err := w.toolchain.Versions(gctx)
		in.Toolchain = manifest.Toolchain{Image: image, Rustc: rustc, Cargo: cargoVersion}
		return err
	})
	if err := g.Wait(); err != nil {
		return "", err
	}
	for _, group := range results {
		for _, c := range group {
			in.Built = append(in.Built, c.disk)
		}
	}
	const dir = "dist"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	_, err = dist.Assemble(dir, in)
	return dir, err
}

// Changelog of a tag.
func (w *Workspace) Changelog(ctx context.Context, tag string, opts changelog.Options) (*dagger.File, error) {
	p, err := w.Plan(tag, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Git.Shallow:
		return nil, fmt.Errorf("the changelog of %q needs the whole history, but the source is a shallow clone: run git fetch --unshallow --tags (on GitHub Actions: fetch-depth: 0)", tag)
	case w.Git.Commit == "":
		return nil, p.Err()
	}
	return changelog.Make(ctx, w.client, w.source, p, opts)
}

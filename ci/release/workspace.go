// Package release runs the stages of phase 1 over a source: read, plan,
// prepare, build, pack.
//
// It is a container graph that ties ci/release/plan, ci/release/toolchain, ci/release/changelog and ci/release/dist
// together. It keeps one invariant: nothing is compiled before everything that
// can be checked without compiling has been checked.
package release

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/ci/target"
	"dagger/gantry/internal/dagger"
)

// Settings of the caller's.
type Settings struct {
	// Git is a commit of a remote repository, opened instead of the source; or nil.
	Git *dagger.GitRef
	// ManifestPath is that of the workspace's Cargo.toml in the source; empty for
	// the one at its top.
	ManifestPath string
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
	toolchain toolchain.Toolchain
	settings  Settings
	facts     *toolchain.Facts
	cache     string
}

// Open reads a source.
func Open(ctx context.Context, client *dagger.Client, source *dagger.Directory, settings Settings) (*Workspace, error) {
	dir, err := cargo.ManifestDir(settings.ManifestPath)
	if err != nil {
		return nil, err
	}
	if settings.Git != nil {
		if source, err = GitTree(ctx, client, settings.Git); err != nil {
			return nil, err
		}
	}
	if err := find(ctx, source, dir); err != nil {
		return nil, err
	}
	if source, err = withoutCredentials(ctx, source); err != nil {
		return nil, err
	}
	if dir != "." {
		// At the top, it was left out of the upload.
		source = source.Filter(dagger.DirectoryFilterOpts{Exclude: []string{path.Join(dir, "target")}})
	}
	w := &Workspace{client: client, source: source, settings: settings, toolchain: toolchain.Toolchain{Client: client, Custom: settings.Toolchain}}
	if settings.Toolchain == nil {
		if w.toolchain.Channel, err = channel(ctx, source, dir); err != nil {
			return nil, err
		}
	}
	if w.facts, err = w.toolchain.Inspect(ctx, source, dir); err != nil {
		return nil, err
	}
	w.Git = w.facts.Git
	if exports := w.Git.TakeExports(w.facts.Files); len(exports) > 0 {
		w.source = w.source.WithoutFiles(exports)
		w.facts.Files = slices.DeleteFunc(w.facts.Files, func(f string) bool { return slices.Contains(exports, f) })
	}
	if w.Project, err = plan.Load(w.facts.Metadata, toolchain.SrcDir, w.facts.Files); err != nil {
		return nil, err
	}
	w.Project.BadLinks, w.Project.Lock = w.facts.BadLinks, w.facts.Lock
	w.Project.CustomToolchain = settings.Toolchain != nil
	w.cache = cacheName(w.Project, w.facts.System, settings.Cache)
	return w, nil
}

// find the Cargo.toml of a folder of the source.
func find(ctx context.Context, source *dagger.Directory, dir string) error {
	entries, err := entriesOf(ctx, source, ".")
	if err != nil {
		return fmt.Errorf("read the source: %v", err)
	}
	if dir == "." && slices.Contains(entries, "Cargo.toml") {
		return nil
	}
	manifest := path.Join(dir, "Cargo.toml")
	found, err := source.Glob(ctx, "**/Cargo.toml")
	if err != nil {
		return fmt.Errorf("look for Cargo.toml: %v", err)
	}
	if slices.Contains(found, manifest) {
		return nil
	}
	return cargo.NoManifest(manifest, found, entries)
}

// withoutCredentials is the source with the configuration of its repository as
// [plan.StripCredentials] leaves it: nothing that runs in a container sees a token
// that a CI system wrote there.
func withoutCredentials(ctx context.Context, source *dagger.Directory) (*dagger.Directory, error) {
	top, err := source.Entries(ctx)
	if err != nil || !slices.Contains(top, ".git/") {
		return source, err
	}
	git, err := entriesOf(ctx, source, ".git")
	if err != nil {
		return nil, fmt.Errorf("read .git: %v", err)
	}
	var configs []string
	for _, name := range []string{"config", "config.worktree"} {
		if slices.Contains(git, name) {
			configs = append(configs, ".git/"+name)
		}
	}
	if slices.Contains(git, "modules") {
		found, err := source.Directory(".git/modules").Glob(ctx, "**/config")
		if err != nil {
			return nil, fmt.Errorf("look for the configuration of submodules: %v", err)
		}
		for _, f := range found {
			configs = append(configs, path.Join(".git/modules", f))
		}
	}
	for _, f := range configs {
		config, err := source.File(f).Contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %v", f, err)
		}
		if stripped := plan.StripCredentials(config); stripped != config {
			source = source.WithNewFile(f, stripped)
		}
	}
	return source, nil
}

// entriesOf a folder of the source, without what marks folders.
func entriesOf(ctx context.Context, source *dagger.Directory, dir string) ([]string, error) {
	if dir != "." {
		source = source.Directory(dir)
	}
	entries, err := source.Entries(ctx)
	for i, e := range entries {
		entries[i] = strings.TrimSuffix(e, "/")
	}
	return entries, err
}

// channel of Rust that the workspace in a folder of the source asks for.
func channel(ctx context.Context, source *dagger.Directory, dir string) (string, error) {
	var toolchain string
	// rustup looks in the folders above too, and prefers the file without suffix
	// ("Overrides", The rustup book).
	for d := dir; toolchain == ""; d = path.Dir(d) {
		entries, err := entriesOf(ctx, source, d)
		if err != nil {
			return "", fmt.Errorf("read folder %q of the source: %v", d, err)
		}
		for _, name := range []string{"rust-toolchain", "rust-toolchain.toml"} {
			if toolchain != "" || !slices.Contains(entries, name) {
				continue
			}
			if toolchain, err = source.File(path.Join(d, name)).Contents(ctx); err != nil {
				return "", fmt.Errorf("read %q: %v", name, err)
			}
		}
		if d == "." {
			break
		}
	}
	manifest, err := source.File(path.Join(dir, "Cargo.toml")).Contents(ctx)
	if err != nil {
		return "", fmt.Errorf("read Cargo.toml: %v", err)
	}
	return cargo.Channel(toolchain, manifest)
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
	if err := plan.OneFolder(builds); err != nil {
		return nil, err
	}
	if err := w.prepare(ctx, builds); err != nil {
		return nil, err
	}
	p := w.packer(len(builds))
	var targets []dist.Target
	for i := range builds {
		built, err := w.compile(ctx, p, i, builds[i:i+1], false)
		if err != nil {
			return nil, err
		}
		targets = append(targets, built...)
	}
	return p.pack(ctx, dist.Job{Input: dist.Input{Targets: targets}, BinariesOnly: true})
}

func (w *Workspace) builds(triple, component string) ([]plan.Build, error) {
	if _, err := target.Lookup(triple); err != nil {
		return nil, err
	}
	components := w.Project.Separate()
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
// which can't be built is known before another is.
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
				errs[i] = engine.Explain("prepare the toolchain", err)
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are collected, to be seen all at once
	return errors.Join(errs...)
}

// compile the targets of group i, and hand what came out to the packer.
func (w *Workspace) compile(ctx context.Context, p *packer, i int, group []plan.Build, hermetic bool) ([]dist.Target, error) {
	opts := toolchain.Options{Dir: w.Project.Dir, Cache: w.cache, Hermetic: hermetic}
	if w.Git.Commit != "" {
		opts.Epoch = w.Git.Time.Unix()
	}
	output, err := w.toolchain.Build(ctx, w.source, group, opts)
	if err != nil {
		return nil, err
	}
	return p.add(i, group, output), nil
}

// Dist builds the files of a release.
func (w *Workspace) Dist(ctx context.Context, tag string, targets []string) (*dagger.Directory, error) {
	p, err := w.Plan(tag, targets)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	builds, err := p.Builds()
	if err != nil {
		return nil, err
	}
	builds = w.withCommand(builds)
	if err := w.prepare(ctx, builds); err != nil {
		return nil, err
	}
	groups := plan.Group(builds)
	pk := w.packer(len(groups))
	results := make([][]dist.Target, len(groups))
	var image string
	g, gctx := errgroup.WithContext(ctx)
	for i, group := range groups {
		g.Go(func() error {
			var err error
			results[i], err = w.compile(gctx, pk, i, group, true)
			return err
		})
	}
	g.Go(func() error {
		log, err := w.changelog(gctx, p, changelog.Options{})
		if err != nil {
			return err
		}
		if pk.changelog, err = log.Sync(gctx); err != nil {
			return engine.Explain("make the changelog", err)
		}
		return nil
	})
	g.Go(func() error {
		var err error
		image, err = w.toolchain.Digest(gctx)
		return err
	})
	g.Go(func() error { return pk.load(gctx) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	in, err := dist.NewInput(p, manifest.Toolchain{Image: image, Rustc: w.facts.Rustc, Cargo: w.facts.Cargo}, slices.Concat(results...))
	if err != nil {
		return nil, err
	}
	in.Licenses = w.Project.Licenses
	return pk.pack(ctx, dist.Job{Input: in})
}

// Changelog of a tag.
func (w *Workspace) Changelog(ctx context.Context, tag string, opts changelog.Options) (*dagger.File, error) {
	p, err := w.Plan(tag, nil)
	if err != nil {
		return nil, err
	}
	switch {
	case w.Git.Shallow:
		return nil, fmt.Errorf("the changelog of %q needs the whole history, but the source is a shallow clone: run git fetch --unshallow --tags (on GitHub Actions: fetch-depth: 0), or pass the URL of a repository as --git", tag)
	case w.Git.Commit == "":
		return nil, p.Err()
	}
	for _, t := range w.Git.Tags {
		if t.Name == tag && t.Commit != w.Git.Commit {
			return nil, fmt.Errorf("tag %q is at commit %s, but the source is at %s, so its changelog would have changes that are not in it: check the tag out", tag, t.Commit, w.Git.Commit)
		}
	}
	return w.changelog(ctx, p, opts)
}

func (w *Workspace) changelog(ctx context.Context, p *plan.Plan, opts changelog.Options) (*dagger.File, error) {
	program, command, err := w.program(ctx)
	if err != nil {
		return nil, err
	}
	tools := changelog.Tools{Git: w.toolchain.Git(w.facts), Program: program, Command: command}
	return changelog.Make(w.client, w.source, p, tools, opts)
}

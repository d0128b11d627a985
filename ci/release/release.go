// Package release is phase 1, in the order of its stages: open, plan, prepare, build,
// pack, publish.
//
// It is a container graph: it reads the caller's source and files, runs containers, and
// writes the files of a release to the function's file system. Decisions are made in the
// packages below. It keeps one invariant: nothing compiles before everything that can be
// checked without compiling has been checked.
package release

import (
	"context"
	"fmt"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/internal/dagger"
)

// Settings of the caller.
type Settings struct {
	Client *dagger.Client
	// Source holds the workspace and its .git.
	Source *dagger.Directory
	// Git is a commit of a remote repository, opened instead of the source; or nil.
	Git *dagger.GitRef
	// ManifestPath is the path of the workspace's Cargo.toml in the source; empty
	// for the one at its top.
	ManifestPath string
	// Repository is "owner/name" on GitHub; empty takes that of Cargo.toml or of
	// the remote called origin.
	Repository string
	GitHub     engine.GitHub
	// Toolchain is the caller's container, or nil.
	Toolchain *dagger.Container
	// CargoCommand builds instead of the configured subcommand, if not empty.
	CargoCommand string
	Logins       toolchain.Logins
	// Cache tells build caches apart, beyond projects and targets.
	Cache string
}

// opened opens the source of the settings, and calls a function with it.
func opened[T any](ctx context.Context, s Settings, use func(*workspace) (T, error)) (T, error) {
	w, err := open(ctx, s)
	if err != nil {
		return *new(T), err
	}
	return use(w)
}

// Plan plans the release of a tag; an empty one means the default tag of the source.
func Plan(ctx context.Context, s Settings, tag string) (*plan.Plan, error) {
	return opened(ctx, s, func(w *workspace) (*plan.Plan, error) { return w.plan(tag, nil) })
}

// Ready plans the release of each component as the version in its Cargo.toml. It
// reports the plans, or everything that stands in their way.
func Ready(ctx context.Context, s Settings) (string, error) {
	return opened(ctx, s, func(w *workspace) (string, error) { return w.project.Ready(w.git) })
}

// Toolchain returns the container that builds a target of a component.
func Toolchain(ctx context.Context, s Settings, triple, component string) (*dagger.Container, error) {
	w, err := open(ctx, s)
	if err != nil {
		return nil, err
	}
	builds, err := w.builds(triple, component)
	if err != nil {
		return nil, err
	}
	return w.toolchain.For(ctx, builds[:1])
}

// Build compiles a target of a component, or of all for an empty name, into a
// directory of binaries.
func Build(ctx context.Context, s Settings, triple, component string) (*dagger.Directory, error) {
	return opened(ctx, s, func(w *workspace) (*dagger.Directory, error) { return w.build(ctx, triple, component) })
}

// Request asks for a stage of the release of a tag.
type Request struct {
	Settings
	Tag string
	// Parts are directories of release files that were built elsewhere. Without any,
	// the files are built.
	Parts []*dagger.Directory
	// BinaryDirs hold the binaries of BinaryTargets, in the same order, which are
	// packed instead of compiled. Those of AnyVersion need not contain their version.
	BinaryTargets []string
	BinaryDirs    []*dagger.Directory
	AnyVersion    []string
	// Files are added to the release under FileNames, in the same order.
	FileNames []string
	Files     []*dagger.File
}

// WithFile returns the name of a file that is added to a release, and the names of
// all assets with it. The name is that of the file unless one is given.
func WithFile(ctx context.Context, assets []string, file *dagger.File, name string) (string, []string, error) {
	if name == "" {
		var err error
		if name, err = file.Name(ctx); err != nil {
			return "", nil, fmt.Errorf("read the name of the file: %v", err)
		}
	}
	all, err := plan.AddFile(assets, name)
	return name, all, err
}

// Dist returns the files of the release for some targets; none means all.
func (r Request) Dist(ctx context.Context, targets []string) (*dagger.Directory, error) {
	w, err := open(ctx, r.Settings)
	if err != nil {
		return nil, err
	}
	p, err := w.releasable(r, targets)
	if err != nil {
		return nil, err
	}
	return w.all(ctx, p, r)
}

// Changelog returns the changelog of the component up to the tag.
func (r Request) Changelog(ctx context.Context, opts changelog.Options) (*dagger.File, error) {
	return opened(ctx, r.Settings, func(w *workspace) (*dagger.File, error) { return w.changelogOf(ctx, r.Tag, opts) })
}

// PublishOptions configure a publication.
type PublishOptions struct {
	// Existing selects what to do about a release that exists and differs.
	Existing github.Existing
	// Draft and DryRun are as in [github.Spec].
	Draft, DryRun bool
	// Dispatch sends a repository_dispatch event once the release is published.
	Dispatch bool
	// Markdown returns the report as Markdown.
	Markdown bool
	// Signer signs the release, unless it has no author.
	attest.Signer
}

// Publish creates or completes the release on the GitHub of the settings, and
// returns a report.
func (r Request) Publish(ctx context.Context, token *dagger.Secret, signing engine.Signing, opts PublishOptions) (string, error) {
	by, err := signing.Signer(ctx)
	if err != nil {
		return "", err
	}
	opts.Signer = by
	client, err := r.GitHub.Client(ctx, token)
	if err != nil {
		return "", err
	}
	report, err := r.PublishTo(ctx, client, opts)
	return engine.Report(report, err, engine.Format{Markdown: opts.Markdown, Title: "Release of " + r.Tag})
}

// PublishTo is Publish to the GitHub of a client. The report is there with an error
// too, unless nothing could be planned.
func (r Request) PublishTo(ctx context.Context, client *github.Client, opts PublishOptions) (*github.Report, error) {
	return opened(ctx, r.Settings, func(w *workspace) (*github.Report, error) { return w.publish(ctx, r, client, opts) })
}

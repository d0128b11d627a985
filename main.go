// Gantry releases Rust projects: it lifts a Cargo workspace into a GitHub
// Release (cross-built archives, changelog, checksums), and the release into
// multi-arch container images made from exactly those binaries.
//
// Everything has a default that comes from `cargo metadata` and git; what a
// project wants otherwise is in its Cargo.toml, in
// [workspace.metadata.gantry] and [package.metadata.gantry]. Begin with
// `plan`, which writes nothing and says what a release would be.
package main

import (
	"context"

	"dagger/gantry/ci/release"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// Gantry releases one Cargo workspace.
type Gantry struct {
	// +private
	Source *dagger.Directory
	// +private
	Git *dagger.GitRef
	// +private
	ManifestPath string
	// +private
	CustomToolchain *dagger.Container
	// +private
	CargoCommand string
	// +private
	CacheNamespace string
}

// New takes the workspace to release.
func New(
	// Folder of the Cargo workspace, with Cargo.toml at its top, and with its
	// .git folder where a tag is to be planned or released. By default, the
	// folder of the module.
	// +defaultPath="/"
	// +ignore=["target"]
	source *dagger.Directory,
	// Commit of a remote repository: its URL, # and a tag, branch or commit, such as
	// "https://github.com/owner/name#v1.2.3". --source is ignored then. The whole
	// history is fetched, which it would not be for a URL as --source, and the tags
	// of that history only: for a backport, the planned image tags may ignore newer
	// releases.
	// +optional
	git *dagger.GitRef,
	// Path of the workspace's Cargo.toml in the source, such as
	// "rust/Cargo.toml", where it is not at the top: --source is then the whole
	// repository.
	// +optional
	manifestPath string,
	// Container with cargo and rustc to build in, instead of the official Rust
	// image for what rust-toolchain.toml asks for. A target that the official
	// image can't serve needs one.
	// +optional
	toolchain *dagger.Container,
	// Cargo subcommand that builds, such as "zigbuild". By default, what
	// cargo-command in Cargo.toml says, or "build".
	// +optional
	cargoCommand string,
	// Any name, to keep build caches apart from those of other names; a new one
	// begins with empty caches. By default, they are told apart by project,
	// target and toolchain.
	// +optional
	cacheNamespace string,
) *Gantry {
	return &Gantry{Source: source, Git: git, ManifestPath: manifestPath, CustomToolchain: toolchain, CargoCommand: cargoCommand, CacheNamespace: cacheNamespace}
}

func (g *Gantry) open(ctx context.Context) (*release.Workspace, error) {
	return release.Open(ctx, dag, g.Source, release.Settings{
		Git: g.Git, ManifestPath: g.ManifestPath, Toolchain: g.CustomToolchain, CargoCommand: g.CargoCommand, Cache: g.CacheNamespace,
	})
}

// plan of a tag, for all of its targets.
func (g *Gantry) plan(ctx context.Context, tag string) (*plan.Plan, error) {
	w, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	return w.Plan(tag, nil)
}

// Plan says what a release of the tag would be, and all that is wrong with it.
//
// It names component, version, previous tag, targets, assets and image tags. It
// compiles and writes nothing.
func (g *Gantry) Plan(
	ctx context.Context,
	// Git tag of the release, such as "v1.2.3" or "server-1.2.3". It need not
	// exist yet.
	tag string,
	// Print JSON, for programs.
	// +optional
	asJSON bool,
) (string, error) {
	p, err := g.plan(ctx, tag)
	if err != nil {
		return "", err
	}
	if asJSON {
		return p.JSON()
	}
	return p.Text(), nil
}

// Check fails if the tag can't be released as the source is, with every reason.
//
// It prints the plan otherwise. It compiles and writes nothing.
func (g *Gantry) Check(
	ctx context.Context,
	// Git tag of the release, such as "v1.2.3" or "server-1.2.3". It need not
	// exist yet.
	tag string,
) (string, error) {
	p, err := g.plan(ctx, tag)
	if err != nil {
		return "", err
	}
	return p.Text(), p.Err()
}

// ReleaseReady checks that each component could be released now.
//
// Each is planned as the version that its Cargo.toml has; one that is tagged
// already is passed over. It compiles and writes nothing.
//
// +check
func (g *Gantry) ReleaseReady(ctx context.Context) (string, error) {
	w, err := g.open(ctx)
	if err != nil {
		return "", err
	}
	return w.Project.Ready(w.Git)
}

// Matrix gives the targets as the JSON of a CI's build matrix.
//
// It is {"include": [{"target": …, "archive": …, "binaries": …}, …]} on one
// line, so that each can be built on a runner of its own.
func (g *Gantry) Matrix(
	ctx context.Context,
	// Git tag of the release; its component decides the targets.
	tag string,
) (string, error) {
	p, err := g.plan(ctx, tag)
	if err != nil {
		return "", err
	}
	return plan.Matrix(p.Targets)
}

// Toolchain is the container that builds a target, to look into or build upon.
//
// It has the standard library, linker and packages that the target needs.
func (g *Gantry) Toolchain(
	ctx context.Context,
	// Rust target triple, such as "aarch64-unknown-linux-musl".
	target string,
	// Component whose configuration counts. By default, the first.
	// +optional
	component string,
) (*dagger.Container, error) {
	w, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	return w.Toolchain(ctx, target, component)
}

// Build compiles one target and gives a folder of its binaries, checked.
//
// Architecture, linkage and glibc floor are checked, and native binaries are
// started. It needs no git history.
func (g *Gantry) Build(
	ctx context.Context,
	// Rust target triple, such as "aarch64-unknown-linux-musl".
	target string,
	// Component to build. By default, all of the workspace.
	// +optional
	component string,
) (*dagger.Directory, error) {
	w, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	return w.Build(ctx, target, component)
}

// Dist builds every file of a release, the same bytes for the same commit.
//
// There is an archive for each target, SHA256SUMS, CHANGELOG.md and
// release-manifest.json.
//
// Called again with nothing changed, it is the engine's cache that answers.
func (g *Gantry) Dist(
	ctx context.Context,
	// Git tag of the release. The source must be clean, with full history, and
	// at the tag's commit if the tag exists.
	tag string,
	// Rust target triples to build. By default, those of the configuration.
	// +optional
	targets []string,
) (*dagger.Directory, error) {
	w, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	return w.Dist(ctx, tag, targets)
}

// Changelog is the history of the tag's component as Markdown.
//
// It is made by git-cliff, with the project's cliff.toml or a good default.
func (g *Gantry) Changelog(
	ctx context.Context,
	// Git tag that the changelog ends at.
	tag string,
	// Only the section of this release, without headers, as for the notes of
	// a GitHub Release.
	// +optional
	notes bool,
) (*dagger.File, error) {
	w, err := g.open(ctx)
	if err != nil {
		return nil, err
	}
	return w.Changelog(ctx, tag, changelog.Options{NotesOnly: notes})
}

// ModuleVersion is the version of Gantry itself.
func (g *Gantry) ModuleVersion() string { return version }

package main

import (
	"context"
	"slices"
	"strings"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/rehearse"
	"dagger/gantry/ci/rehearse/play"
	"dagger/gantry/ci/release"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// Release is the planned release of a tag.
type Release struct {
	// Git tag, such as "v1.2.3".
	Tag string
	// Version of the tag, such as "1.2.3-rc.1".
	Version string
	// Channel of the version:
	// "stable", or its prerelease identifier such as "rc".
	Channel string
	// Name of the component that the tag releases.
	Component string
	// Tag of the release before this one.
	// Empty for the first.
	PreviousTag string
	// Commit that is released.
	Commit string
	// Whether the version is a prerelease.
	Prerelease bool
	// Whether GitHub's Latest moves to this release, as far as the source's tags show.
	Latest bool
	// Names of the release's assets.
	Assets []string
	// Tags that the container image gets.
	ImageTags []string
	// Rust target triples.
	Targets []string
	// Problems that stop the release, each with a fix.
	Problems []string
	// Warnings don't stop the release.
	Warnings []string

	// +private
	Of *Gantry
	// +private
	Text string
	// +private
	Summary string
	// +private
	JSON string
	// +private
	TargetMatrix string
	// +private
	Parts []*dagger.Directory
	// +private
	BinaryTargets []string
	// +private
	BinaryDirs []*dagger.Directory
	// +private
	AnyVersionTargets []string
	// +private
	FileNames []string
	// +private
	Files []*dagger.File
}

// Release plans the release of a tag.
//
// It reads the source, and compiles and writes nothing.
// Problems don't make it fail:
// `plan` shows them, and `dist` and `publish` refuse them.
func (g *Gantry) Release(
	ctx context.Context,
	// Git tag, such as "v1.2.3" or "server-1.2.3".
	// It need not exist yet.
	// By default, the tag at the source's commit, or else the tag for the version in Cargo.toml.
	// +optional
	tag string,
) (*Release, error) {
	p, err := release.Plan(ctx, g.settings(), tag)
	if err != nil {
		return nil, err
	}
	return &Release{
		Of: g, Tag: p.Tag, Version: p.Version, Channel: p.Channel, Component: p.Component, PreviousTag: p.PreviousTag, Commit: p.Commit,
		Prerelease: p.Channel != "stable", Latest: p.Latest && p.OwnsLatest, Assets: p.Assets, ImageTags: p.MovedTags(), Targets: p.Triples(),
		Problems: p.Messages(plan.SeverityError), Warnings: p.Messages(plan.SeverityWarning), Text: p.Text(), Summary: p.Markdown(), JSON: p.JSON(), TargetMatrix: p.Matrix(),
	}, nil
}

func (r *Release) request() release.Request {
	return release.Request{
		Settings: r.Of.settings(), Tag: r.Tag, Parts: r.Parts, BinaryTargets: r.BinaryTargets, BinaryDirs: r.BinaryDirs, AnyVersion: r.AnyVersionTargets, FileNames: r.FileNames, Files: r.Files,
	}
}

// Plan shows what releasing the tag would do, and every problem.
func (r *Release) Plan() string { return r.Text }

// Check returns the plan, or fails with every problem.
//
// A CI runs it before anything else.
func (r *Release) Check() (string, error) { return r.Text, plan.Refusal(r.Tag, r.Problems) }

// Markdown returns the plan as GitHub-flavoured Markdown, such as for $GITHUB_STEP_SUMMARY.
//
// Problems come first.
func (r *Release) Markdown() string { return r.Summary }

// AsJSON returns the plan as JSON.
func (r *Release) AsJSON() dagger.JSON { return dagger.JSON(r.JSON) }

// Matrix returns the targets as the matrix of a CI job, in JSON.
//
// It is {"include": [{"target": …, "archive": …, "binaries": …}, …]} on one line, to build each target on its own runner.
func (r *Release) Matrix() dagger.JSON { return dagger.JSON(r.TargetMatrix) }

// Dist builds every file of the release, with the same bytes for the same commit.
//
// It returns an archive for each target and its SBOMs, SHA256SUMS, CHANGELOG.md and release-manifest.json.
// Unchanged input is served from the engine's cache.
func (r *Release) Dist(
	ctx context.Context,
	// Rust target triples to build.
	// By default, all of the plan.
	// +optional
	targets []string,
) (*dagger.Directory, error) {
	return r.request().Dist(ctx, targets)
}

// Changelog returns the history of the component up to the tag, as Markdown.
//
// git-cliff makes it, with the project's cliff.toml or a good default.
func (r *Release) Changelog(ctx context.Context) (*dagger.File, error) {
	return r.request().Changelog(ctx, changelog.Options{})
}

// Notes returns the changelog's section of this release, as Markdown.
func (r *Release) Notes(ctx context.Context) (*dagger.File, error) {
	return r.request().Changelog(ctx, changelog.Options{NotesOnly: true})
}

// WithDist adds files of this release that `dist` built elsewhere.
//
// `publish` then builds nothing.
// Use it once for each runner that built some of the targets.
func (r *Release) WithDist(
	// Output of `dist`; partial outputs may be in subdirectories.
	dist *dagger.Directory,
) *Release {
	with := *r
	with.Parts = append(slices.Clone(r.Parts), dist)
	return &with
}

// WithBinaries packs binaries of a target that were built elsewhere.
//
// `dist` and `publish` then don't compile the target.
// They check the binaries like their own: format, architecture, linkage and glibc floor.
// A binary must also have the version in Cargo.toml: if it runs natively, it is started with --version; otherwise its data must contain the version.
// Their archives get no SBOMs and no THIRD-PARTY-LICENSES, since what was compiled is unknown.
// May be used once for each target.
func (r *Release) WithBinaries(
	// Rust target triple of the plan, such as "aarch64-apple-darwin".
	target string,
	// Directory with the binaries at its top, named as Cargo names them.
	dir *dagger.Directory,
	// Accept binaries that don't contain their version, and don't start any.
	// +optional
	anyVersion bool,
) (*Release, error) {
	if err := plan.CheckTarget(r.Targets, r.BinaryTargets, target); err != nil {
		return nil, err
	}
	assets, err := plan.AddBinaries(r.Assets, r.TargetMatrix, target)
	with := *r
	with.Assets = assets
	with.AnyVersionTargets = plan.AddIf(anyVersion, r.AnyVersionTargets, target)
	with.BinaryTargets = append(slices.Clone(r.BinaryTargets), target)
	with.BinaryDirs = append(slices.Clone(r.BinaryDirs), dir)
	return &with, err
}

// WithFile adds a file to the assets of the release.
//
// release-manifest.json and SHA256SUMS list it.
// A re-run needs the same file.
// May be used several times.
func (r *Release) WithFile(
	ctx context.Context,
	// File to add.
	file *dagger.File,
	// Name of the asset.
	// By default, the name of the file.
	// +optional
	name string,
) (*Release, error) {
	name, assets, err := release.WithFile(ctx, r.Assets, file, name)
	with := *r
	with.Assets, with.FileNames, with.Files = assets, append(slices.Clone(r.FileNames), name), append(slices.Clone(r.Files), file)
	return &with, err
}

// Existing is what to do about a release that exists and differs from the files that were built.
type Existing string

const (
	// Strict reports every difference as an error.
	Strict Existing = "STRICT"
	// Fill uploads missing assets to a published release, and leaves everything else of it untouched.
	Fill Existing = "FILL"
	// Replace also overwrites assets that differ.
	Replace Existing = "REPLACE"
)

// Publish creates or completes the GitHub Release of the tag.
//
// It is safe to re-run: it uploads only missing assets, into a draft, and publishes last.
// GitHub's Latest moves to the highest stable version and never down.
// It returns a report.
//
// +cache="never"
func (r *Release) Publish(
	ctx context.Context,
	// Token that can write the contents of the repository.
	token *dagger.Secret,
	// What to do about a release that exists and differs:
	// STRICT reports every difference as an error;
	// FILL uploads missing assets to a published release, such as one that another tool made;
	// REPLACE also overwrites assets that differ.
	// An immutable release is never changed.
	// +default="STRICT"
	existing Existing,
	// Stop before publishing, and leave a complete draft.
	// +optional
	draft bool,
	// Send the repository_dispatch event "gantry-release-published" at the end.
	// Needed with GITHUB_TOKEN, whose events don't trigger other workflows.
	// +optional
	dispatch bool,
	// Report what would be done, and write nothing.
	// +optional
	dryRun bool,
	// Return the report as Markdown, such as for $GITHUB_STEP_SUMMARY.
	// +optional
	markdown bool,
	// Private key to sign SHA256SUMS and the provenance with, as `cosign generate-key-pair` writes it.
	// Without it, the release is not signed.
	// +optional
	signingKey *dagger.Secret,
	// Password of --signing-key.
	// +optional
	signingKeyPassword *dagger.Secret,
	// URL that requests an identity token, to sign with the workflow's identity instead of a key: on GitHub Actions, env:ACTIONS_ID_TOKEN_REQUEST_URL, with the permission id-token: write.
	// +optional
	oidcRequestURL *dagger.Secret,
	// Token for --oidc-request-url: on GitHub Actions, env:ACTIONS_ID_TOKEN_REQUEST_TOKEN.
	// +optional
	oidcRequestToken *dagger.Secret,
	// Identity token with the audience "sigstore", for a CI that gives it to the job, such as GitLab.
	// +optional
	identityToken *dagger.Secret,
	// URI of what runs this build, for the provenance: on GitHub Actions, "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF".
	// By default, the identity that signs without a key, or else a local build.
	// +optional
	builder string,
) (string, error) {
	return r.request().Publish(ctx, token, r.Of.signing(signingKey, signingKeyPassword, oidcRequestURL, oidcRequestToken, identityToken, builder), release.PublishOptions{
		Existing: github.Existing(strings.ToLower(string(existing))), Draft: draft, Dispatch: dispatch, DryRun: dryRun, Markdown: markdown,
	})
}

// VerifyReproducible builds the programs of the release twice under different conditions, and compares every byte.
//
// The builds differ in directory, home, user, umask, clock, time zone, locale, processors and order of files, and both start with empty caches.
// It returns a report, and fails if anything differs: with the file, the section, the likely cause and a fix.
// It takes longer than two builds without a cache, and writes nothing outside.
//
// +cache="session"
func (r *Release) VerifyReproducible(
	ctx context.Context,
	// Rust target triples to build.
	// By default, all of the plan.
	// +optional
	targets []string,
) (string, error) {
	return r.request().VerifyReproducible(ctx, targets)
}

// Faults selects the faults that a rehearsal injects.
type Faults string

const (
	// None injects no fault.
	None Faults = "NONE"
	// Light injects faults that a release meets every few weeks.
	Light Faults = "LIGHT"
	// Heavy injects many faults at once.
	Heavy Faults = "HEAVY"
)

// Rehearse dry-runs both phases against fake servers that inject realistic faults.
//
// It builds what `dist` builds.
// The fake GitHub and registry run in the function's container and fail as the real ones do: lost answers, broken uploads, rate limits, broken connections.
// Base images are read from their registries.
// It signs with a key that it makes and throws away.
// It needs no token and writes nothing outside.
// It returns the reports of both phases, and fails if a re-run of either would change anything.
//
// +cache="session"
func (r *Release) Rehearse(
	ctx context.Context,
	// Faults to inject:
	// NONE, LIGHT or HEAVY.
	// +default="LIGHT"
	faults Faults,
	// Skip the smoke test of the image.
	// +optional
	skipSmoke bool,
	// Mirrors of the registries of base images, each as HOST=URL, such as "gcr.io=https://mirror.example.com".
	// +optional
	mirrors []string,
	// Return the report as Markdown, such as for $GITHUB_STEP_SUMMARY.
	// +optional
	markdown bool,
) (string, error) {
	return play.Both(ctx, r.request(), play.Options{
		Faults: rehearse.Faults(strings.ToLower(string(faults))), SkipSmoke: skipSmoke, Mirrors: mirrors, Markdown: markdown,
	})
}

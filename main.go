// Gantry releases Rust projects.
//
// It turns a Cargo workspace into a GitHub Release with cross-built archives, checksums and a changelog, and makes multi-arch container images from exactly those binaries.
// Start with `release --tag=v1.2.3 plan`: it writes nothing and reports what a release would contain and what stands in its way.
package main

import (
	"context"
	"slices"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/release"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/ci/scaffold"
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
	Repository string
	// +private
	GitHubURL string
	// +private
	Certificates *dagger.File
	// +private
	CustomToolchain *dagger.Container
	// +private
	CargoCommand string
	// +private
	CacheNamespace string
	// +private
	RegistryVariables []string
	// +private
	RegistryTokens []*dagger.Secret
	// +private
	GitAddresses []string
	// +private
	GitUsers []string
	// +private
	GitSecrets []*dagger.Secret
	// +private
	SigningConfig *dagger.File
	// +private
	TrustedRoot *dagger.File
	// +private
	Cosign *dagger.Container
}

// New holds what all functions share.
// It reads nothing.
func New(
	// Directory of the Cargo workspace, with Cargo.toml at its top and its .git directory.
	// By default, the directory of the module.
	// +defaultPath="/"
	// +ignore=["target"]
	source *dagger.Directory,
	// Commit of a remote repository to use instead of --source: a URL, # and a tag, branch or commit, such as "https://github.com/owner/name#v1.2.3".
	// The whole history is fetched.
	// For a backport, the planned image tags may ignore newer releases.
	// +optional
	git *dagger.GitRef,
	// Path of the workspace's Cargo.toml, such as "rust/Cargo.toml".
	// The source is then the whole repository.
	// By default, "Cargo.toml".
	// +optional
	manifestPath string,
	// GitHub repository of the releases, as owner/name.
	// By default, the one in Cargo.toml's repository key or the remote "origin".
	// Functions that read no source need it.
	// +optional
	repository string,
	// Address of GitHub, such as "https://github.example.com", or of its API. By default, github.com.
	// +optional
	github string,
	// Certificates in PEM to trust in addition to the system's, for GitHub, registries, mirrors and the service that gives identity tokens.
	// +optional
	caCertificates *dagger.File,
	// Container with cargo and rustc to build in.
	// By default, the official Rust image of the channel that rust-toolchain.toml names.
	// +optional
	toolchain *dagger.Container,
	// Cargo subcommand that builds, such as "zigbuild".
	// By default, cargo-command in Cargo.toml or "build".
	// +optional
	cargoCommand string,
	// Namespace for build caches; a new name starts empty.
	// By default, caches differ by project, target and toolchain only.
	// +optional
	cacheNamespace string,
) *Gantry {
	return &Gantry{
		Source: source, Git: git, ManifestPath: manifestPath, Repository: repository, GitHubURL: github, Certificates: caCertificates,
		CustomToolchain: toolchain, CargoCommand: cargoCommand, CacheNamespace: cacheNamespace,
	}
}

func (g *Gantry) settings() release.Settings {
	return release.Settings{
		Client: dag, Source: g.Source, Git: g.Git, ManifestPath: g.ManifestPath, Repository: g.Repository, GitHub: g.gitHub(),
		Toolchain: g.CustomToolchain, CargoCommand: g.CargoCommand, Cache: g.CacheNamespace,
		Logins: toolchain.Logins{
			RegistryVariables: g.RegistryVariables, RegistryTokens: g.RegistryTokens,
			GitAddresses: g.GitAddresses, GitUsers: g.GitUsers, GitSecrets: g.GitSecrets, Certificates: g.Certificates,
		},
	}
}

// WithCargoToken adds the token of a private crate registry.
//
// Only `cargo fetch` gets it, in a container that compiles nothing; no build script does.
// May be used several times.
func (g *Gantry) WithCargoToken(
	// Name of the registry in the workspace's .cargo/config.toml, such as "internal".
	registry string,
	// Token, as `cargo login` takes it.
	token *dagger.Secret,
) (*Gantry, error) {
	variable, err := cargo.TokenVariable(registry)
	with := *g
	with.RegistryVariables = append(slices.Clone(g.RegistryVariables), variable)
	with.RegistryTokens = append(slices.Clone(g.RegistryTokens), token)
	return &with, err
}

// WithGitAuth adds the login of a git server, for dependencies in private repositories.
//
// Only `cargo fetch` gets it, in a container that compiles nothing; no build script does.
// It also serves dependencies whose URL is for SSH on the same server.
// May be used several times.
func (g *Gantry) WithGitAuth(
	// Address of the server, such as "https://github.com".
	address string,
	// Password or token.
	secret *dagger.Secret,
	// User name.
	// GitHub takes any with a token, GitLab "oauth2".
	// +default="x-access-token"
	username string,
) (*Gantry, error) {
	with := *g
	with.GitAddresses = append(slices.Clone(g.GitAddresses), address)
	with.GitUsers = append(slices.Clone(g.GitUsers), username)
	with.GitSecrets = append(slices.Clone(g.GitSecrets), secret)
	return &with, cargo.CheckGitAddress(address)
}

func (g *Gantry) gitHub() engine.GitHub {
	return engine.GitHub{URL: g.GitHubURL, Certificates: g.Certificates, UserAgent: "gantry/" + version}
}

func (g *Gantry) sigstore() engine.Sigstore {
	return engine.Sigstore{Client: dag, SigningConfig: g.SigningConfig, TrustedRoot: g.TrustedRoot, Cosign: g.Cosign}
}

// signing is what the caller passes to sign.
func (g *Gantry) signing(key, password, requestURL, requestToken, identityToken *dagger.Secret, builder string) engine.Signing {
	return engine.Signing{
		Key: key, Password: password, RequestURL: requestURL, RequestToken: requestToken, IdentityToken: identityToken,
		Certificates: g.Certificates, Sigstore: g.sigstore(), Builder: builder, Version: version,
	}
}

// verification is what the caller passes to verify signatures.
func (g *Gantry) verification(key *dagger.File, identity, issuer string) engine.Verification {
	return engine.Verification{Key: key, Identity: identity, Issuer: issuer, Sigstore: g.sigstore()}
}

// ReleaseReady fails if a component can't be released now, with every reason.
//
// It plans each component as the version in its Cargo.toml.
// Already tagged versions are skipped.
// It compiles and writes nothing.
//
// +check
func (g *Gantry) ReleaseReady(ctx context.Context) (string, error) {
	return release.Ready(ctx, g.settings())
}

// Toolchain returns the container that builds a target, to inspect or extend.
//
// It has the standard library, linker and packages that the target needs.
func (g *Gantry) Toolchain(
	ctx context.Context,
	// Rust target triple, such as "aarch64-unknown-linux-musl".
	target string,
	// Component whose configuration to use.
	// By default, the first.
	// +optional
	component string,
) (*dagger.Container, error) {
	return release.Toolchain(ctx, g.settings(), target, component)
}

// Build compiles one target and returns a directory of its binaries, checked.
//
// It checks architecture, linkage and glibc floor, and starts native binaries.
// It needs no git history, and recompiles only what changed.
func (g *Gantry) Build(
	ctx context.Context,
	// Rust target triple, such as "aarch64-unknown-linux-musl".
	target string,
	// Component to build.
	// By default, the whole workspace.
	// +optional
	component string,
) (*dagger.Directory, error) {
	return release.Build(ctx, g.settings(), target, component)
}

// VerifyRelease checks a published release from the outside.
//
// It downloads every asset and compares digests, SHA256SUMS, release-manifest.json and the contents of each archive.
// With --verification-key or --certificate-identity, the release must also be signed by that key or identity, and have its provenance.
// If the release is immutable, it waits for GitHub's attestation of it and compares that, too.
// It needs --repository and no source.
//
// +cache="session"
func (g *Gantry) VerifyRelease(
	ctx context.Context,
	// Git tag of the release.
	tag string,
	// Token that can read the repository.
	// Public repositories need none.
	// +optional
	token *dagger.Secret,
	// Public key of the release's signature, in PEM, such as cosign.pub.
	// Without a key or an identity, the report only shows whether there is a signature.
	// +optional
	verificationKey *dagger.File,
	// Identity in the certificate of a signature without a key, such as "https://github.com/owner/name/.github/workflows/release.yml@refs/tags/v1.2.3".
	// +optional
	certificateIdentity string,
	// Issuer of the identity: for GitHub Actions, "https://token.actions.githubusercontent.com".
	// +optional
	certificateOidcIssuer string,
) (string, error) {
	return g.gitHub().Verify(ctx, token, g.Repository, tag, g.verification(verificationKey, certificateIdentity, certificateOidcIssuer))
}

// WithSigstore sets what signs and verifies without a key: another Sigstore than the public one, or another container of cosign.
func (g *Gantry) WithSigstore(
	// Addresses of the services, as `cosign signing-config create` writes them.
	// +optional
	signingConfig *dagger.File,
	// Keys and certificates of the services, as `cosign trusted-root create` writes them.
	// +optional
	trustedRoot *dagger.File,
	// Container with cosign 3.
	// By default, Sigstore's image of it.
	// +optional
	cosign *dagger.Container,
) *Gantry {
	with := *g
	with.SigningConfig, with.TrustedRoot, with.Cosign = signingConfig, trustedRoot, cosign
	return &with
}

// Images makes container images of published releases.
// It needs --repository and no source.
//
// It only reads releases: nothing here can change one.
func (g *Gantry) Images(
	// Token that can read the repository.
	// Public repositories need none.
	// +optional
	token *dagger.Secret,
	// Seconds to wait for the release of an event to be complete.
	// A tag without a release fails at once.
	// +default=300
	wait int,
) *Images {
	return &Images{Of: g, Token: token, Wait: wait}
}

// CI is a provider of continuous integration.
type CI string

const (
	// Github is GitHub Actions.
	Github CI = "GITHUB"
	// Gitlab is GitLab CI.
	Gitlab CI = "GITLAB"
	// Forgejo is Forgejo Actions.
	Forgejo CI = "FORGEJO"
	// Circleci is CircleCI.
	Circleci CI = "CIRCLECI"
	// Buildkite is Buildkite.
	Buildkite CI = "BUILDKITE"
	// Jenkins is a multibranch pipeline of Jenkins.
	Jenkins CI = "JENKINS"
	// Script is a shell script for any other.
	Script CI = "SCRIPT"
)

// Init adds the files by which a CI releases the project, for you to review and commit.
//
// They run both phases: the release when a tag is pushed, and its image.
// Where the CI can, they also rehearse pull requests, build each target on its own runner, and publish missing images on a schedule.
// Unchanged files stay as they are; the changes show what differs in the others.
// The changes are applied to the current directory.
func (g *Gantry) Init(
	ctx context.Context,
	// Provider of the CI:
	// GITHUB, GITLAB, FORGEJO, CIRCLECI, BUILDKITE, JENKINS, or SCRIPT for any other.
	ci CI,
	// Address of Gantry for the CI, such as "github.com/owner/gantry".
	// By default, its version is the one of this module.
	module string,
	// Repository to publish images to.
	// By default, those in Cargo.toml, or else ghcr.io/owner/name.
	// +optional
	image string,
	// Omit what makes images.
	// +optional
	withoutImages bool,
	// Sign releases and images with the identity of the CI instead of a key.
	// For GITHUB and GITLAB.
	// +optional
	keyless bool,
) (*dagger.Changeset, error) {
	return release.Init(ctx, g.settings(), scaffold.Options{
		CI: scaffold.CI(ci), Module: module, Version: version, Image: image, WithoutImages: withoutImages, Keyless: keyless,
	})
}

// ModuleVersion returns the version of Gantry.
func (g *Gantry) ModuleVersion() string { return version }

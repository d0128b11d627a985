package main

import (
	"context"
	"slices"

	"dagger/gantry/ci/image"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// Images makes container images of published releases.
type Images struct {
	// +private
	Of *Gantry
	// +private
	Token *dagger.Secret
	// +private
	Wait int
	// +private
	LoginAddresses []string
	// +private
	LoginUsers []string
	// +private
	LoginSecrets []*dagger.Secret
	// +private
	DockerConfig *dagger.Secret
	// +private
	Mirrors []string
	// +private
	PlainHTTP []string
	// +private
	Override string
	// +private
	SkipSmoke bool
	// +private
	SkipAttachments bool
}

func (m *Images) phase() image.Phase {
	return image.Phase{Client: dag, Settings: image.Settings{
		GitHub: m.Of.gitHub(), Repository: m.Of.Repository, Token: m.Token, Wait: m.Wait,
		LoginAddresses: m.LoginAddresses, LoginUsers: m.LoginUsers, LoginSecrets: m.LoginSecrets, DockerConfig: m.DockerConfig,
		Mirrors: m.Mirrors, PlainHTTP: m.PlainHTTP, Override: m.Override, SkipSmoke: m.SkipSmoke, SkipAttachments: m.SkipAttachments,
	}}
}

// WithRegistryAuth adds the login of a registry, of images or base images.
//
// The login is sent to that registry only, and to the token server that it names.
// May be used several times.
func (m *Images) WithRegistryAuth(
	// Registry, such as "ghcr.io", or a path in it, such as "ghcr.io/owner".
	address string,
	// User name.
	username string,
	// Password or token.
	secret *dagger.Secret,
) *Images {
	with := *m
	with.LoginAddresses = append(slices.Clone(m.LoginAddresses), address)
	with.LoginUsers = append(slices.Clone(m.LoginUsers), username)
	with.LoginSecrets = append(slices.Clone(m.LoginSecrets), secret)
	return &with
}

// WithDockerConfig adds the logins of Docker's config.json.
//
// Credential helpers are not run: pass their logins with with-registry-auth.
func (m *Images) WithDockerConfig(
	// The file, such as file:$HOME/.docker/config.json.
	config *dagger.Secret,
) *Images {
	with := *m
	with.DockerConfig = config
	return &with
}

// WithMirror reads base images of a registry from a mirror.
//
// May be used several times.
// A mirror has its own login.
func (m *Images) WithMirror(
	// Registry, such as "gcr.io".
	host string,
	// Address of the mirror, such as "https://mirror.example.com/gcr".
	url string,
) *Images {
	with := *m
	with.Mirrors = append(slices.Clone(m.Mirrors), host+"="+url)
	return &with
}

// WithPlainHTTP reaches a registry over plain HTTP. All others are reached over TLS.
//
// May be used several times.
func (m *Images) WithPlainHTTP(
	// Registry, as HOST or HOST:PORT.
	host string,
) *Images {
	with := *m
	with.PlainHTTP = append(slices.Clone(m.PlainHTTP), host)
	return &with
}

// WithoutSmokeTest publishes images without starting them first.
func (m *Images) WithoutSmokeTest() *Images {
	with := *m
	with.SkipSmoke = true
	return &with
}

// WithoutAttachments attaches nothing to images, such as the release's bills of materials.
//
// Use it for a registry that refuses artifacts.
func (m *Images) WithoutAttachments() *Images {
	with := *m
	with.SkipAttachments = true
	return &with
}

// WithImageSettings replaces image settings of a published release.
//
// Use it if the image can't be made with the settings in the release's manifest.
// Only the settings that you pass are replaced; labels, variables and files are added.
// The image's annotations name the replaced settings.
// Image tags are never rewritten, so pass the same settings again on a re-run.
func (m *Images) WithImageSettings(
	// Base image, for all platforms.
	// +optional
	base string,
	// Entrypoint, one element each.
	// +optional
	entrypoint []string,
	// Default arguments, one element each.
	// +optional
	cmd []string,
	// User, as UID[:GID] or a name of the base image.
	// +optional
	user string,
	// Working directory.
	// +optional
	workingDir string,
	// Ports, such as "8080/tcp".
	// +optional
	expose []string,
	// Labels, each as KEY=VALUE.
	// +optional
	labels []string,
	// Environment variables, each as KEY=VALUE.
	// +optional
	env []string,
	// Files or directories of the archives, each as PATH=/PATH/IN/IMAGE.
	// +optional
	include []string,
	// Platforms, such as "linux/amd64".
	// +optional
	platforms []string,
	// Arguments to start the image with in the smoke test.
	// By default, --version.
	// +optional
	smokeArgs []string,
	// Text that the output of the smoke test must contain.
	// By default, the version.
	// +optional
	smokeExpect string,
) (*Images, error) {
	settings, err := published.Settings{
		Base: base, Entrypoint: entrypoint, Cmd: cmd, User: user, Workdir: workingDir, Expose: expose,
		Labels: labels, Env: env, Include: include, Platforms: platforms, SmokeArgs: smokeArgs, SmokeExpect: smokeExpect,
	}.Text(m.Override)
	with := *m
	with.Override = settings
	return &with, err
}

// Reconcile publishes images missing from recent releases.
//
// It makes up for lost events and failures, and is intended to run on a schedule.
// It doesn't wait for releases, and skips those that Gantry didn't make.
// It returns a report.
//
// +cache="never"
func (m *Images) Reconcile(
	ctx context.Context,
	// How many of the newest releases with an image to look at.
	// +default=10
	last int,
	// Component whose releases to look at.
	// By default, every one that has an image.
	// +optional
	component string,
	// Image repositories, such as "ghcr.io/owner/name".
	// By default, those in each release's manifest.
	// +optional
	addresses []string,
	// Report what would be published, and write nothing.
	// +optional
	dryRun bool,
	// Return the report as Markdown, such as for $GITHUB_STEP_SUMMARY.
	// +optional
	markdown bool,
	// Private key to sign images with, as `cosign generate-key-pair` writes it.
	// Without it, images are not signed.
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
	// URI of what runs this call, for the provenance: on GitHub Actions, "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF".
	// By default, the identity that signs without a key, or else a local build.
	// +optional
	builder string,
) (string, error) {
	return m.phase().Reconcile(ctx, image.ReconcileOptions{
		Last: last, Component: component, PublishOptions: image.PublishOptions{Addresses: addresses, DryRun: dryRun, Markdown: markdown,
			Signing: m.Of.signing(signingKey, signingKeyPassword, oidcRequestURL, oidcRequestToken, identityToken, builder),
		},
	})
}

// Image is the multi-arch container image of one release.
type Image struct {
	// Digest of the image index, "sha256:…".
	Digest string
	// Version of the release.
	Version string
	// Platforms of the index, such as "linux/amd64".
	Platforms []string
	// Tag of the release.
	Tag string
	// Why the event asks for no image.
	// Empty for an image.
	Skipped string

	// +private
	Of *Images
	// +private
	Archive *dagger.File
	// +private
	Manifest string
	// +private
	Pins string
}

// Image assembles the multi-arch image of a release.
//
// Each platform is its base image and one layer with the binaries of the release's archives, verified.
// Nothing is pushed, and the digest is fixed.
//
// +cache="session"
func (m *Images) Image(
	ctx context.Context,
	// Tag of the release.
	tag string,
) (*Image, error) {
	i, err := m.phase().Of(ctx, tag)
	return m.image(i), err
}

// FromEvent assembles the image that an event on GitHub asks for.
//
// The events are release, repository_dispatch, workflow_dispatch and workflow_run.
// It waits until the release is complete.
// For an event that asks for no image, such as a deleted release, the result has no digest, and `publish` reports why.
//
// +cache="session"
func (m *Images) FromEvent(
	ctx context.Context,
	// File of the event, such as $GITHUB_EVENT_PATH.
	event *dagger.File,
) (*Image, error) {
	i, err := m.phase().OfEvent(ctx, event)
	return m.image(i), err
}

func (m *Images) image(i image.Image) *Image {
	return &Image{Of: m, Digest: i.Digest, Version: i.Version, Platforms: i.Platforms, Tag: i.Tag, Skipped: i.Skipped, Archive: i.Archive, Manifest: i.Manifest, Pins: i.Pins}
}

func (i *Image) inner() image.Image {
	return image.Image{Tag: i.Tag, Version: i.Version, Digest: i.Digest, Platforms: i.Platforms, Archive: i.Archive, Manifest: i.Manifest, Pins: i.Pins, Skipped: i.Skipped}
}

// Container returns the image on one platform, to run or extend.
func (i *Image) Container(
	// Platform, such as "linux/arm64"; a foreign one runs under emulation.
	// By default, the engine's.
	// +optional
	platform dagger.Platform,
) *dagger.Container {
	return dag.Container(dagger.ContainerOpts{Platform: platform}).Import(i.Archive)
}

// Tarball returns the image of all platforms as an OCI archive.
func (i *Image) Tarball() *dagger.File { return i.Archive }

// Smoke starts the image on every platform and checks what it prints.
//
// By default, it starts the image with --version, which must end well, and print no other version.
// Foreign platforms are emulated.
func (i *Image) Smoke(ctx context.Context) (string, error) {
	return image.Smoke(ctx, dag, i.inner())
}

// Explain reports which tags the image gets or keeps, and why.
//
// It looks at the releases and at the tags in the repositories.
//
// +cache="session"
func (i *Image) Explain(
	ctx context.Context,
	// Image repositories.
	// By default, those in the release's manifest.
	// +optional
	addresses []string,
) (string, error) {
	return i.Of.phase().Explain(ctx, i.inner(), addresses)
}

// WithRegistryAuth adds the login of a registry to publish to.
//
// The login is sent to that registry only, and to the token server that it names.
// May be used several times.
func (i *Image) WithRegistryAuth(
	// Registry, such as "ghcr.io", or a path in it, such as "ghcr.io/owner".
	address string,
	// User name.
	username string,
	// Password or token.
	secret *dagger.Secret,
) *Image {
	with := *i
	with.Of = i.Of.WithRegistryAuth(address, username, secret)
	return &with
}

// Publish pushes the image, tests it, and tags it.
//
// It pushes by digest, starts the image on every platform, and tags it with the exact version (never rewritten), then with each floating tag for which it is the highest.
// With --signing-key or --oidc-request-url, it attaches a signature and provenance before it writes a tag.
// Then it attaches the release's bills of materials, each to its platform.
// Re-running uploads nothing twice.
// It returns a report.
//
// +cache="never"
func (i *Image) Publish(
	ctx context.Context,
	// Image repositories, such as "ghcr.io/owner/name".
	// By default, those in the release's manifest.
	// If one has the version on older base images, the image is assembled on those again.
	// +optional
	addresses []string,
	// Report what would be done, and write nothing.
	// +optional
	dryRun bool,
	// Return the report as Markdown, such as for $GITHUB_STEP_SUMMARY.
	// +optional
	markdown bool,
	// Private key to sign the image with, as `cosign generate-key-pair` writes it.
	// Without it, the image is not signed.
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
	// URI of what runs this call, for the provenance: on GitHub Actions, "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF".
	// By default, the identity that signs without a key, or else a local build.
	// +optional
	builder string,
) (string, error) {
	return i.Of.phase().Publish(ctx, i.inner(), image.PublishOptions{
		Addresses: addresses, DryRun: dryRun, Markdown: markdown,
		Signing: i.Of.Of.signing(signingKey, signingKeyPassword, oidcRequestURL, oidcRequestToken, identityToken, builder),
	})
}

// Verify compares a published image with its release, byte for byte.
//
// On every platform, each binary must have the bytes of the release's archive.
// The digest must be that of the image assembled anew, and the annotations must agree.
// It lists what is attached.
// With --verification-key or --certificate-identity, the image must also be signed by that key or identity, and have its provenance.
//
// +cache="session"
func (i *Image) Verify(
	ctx context.Context,
	// Image to verify, such as "ghcr.io/owner/name", optionally with a tag or digest.
	// By default, the version's tag.
	ref string,
	// Fail if the tag of a base image has moved since, as after a security fix.
	// +optional
	currentBase bool,
	// Fail unless the release's bills of materials are attached to the image of every platform, byte for byte.
	// +optional
	sboms bool,
	// Public key, such as cosign.pub, by which the image must be signed, and its provenance too.
	// +optional
	verificationKey *dagger.File,
	// Identity in the certificate of a signature without a key, such as "https://github.com/owner/name/.github/workflows/images.yml@refs/heads/main".
	// +optional
	certificateIdentity string,
	// Issuer of the identity: for GitHub Actions, "https://token.actions.githubusercontent.com".
	// +optional
	certificateOidcIssuer string,
) (string, error) {
	return i.Of.phase().Verify(ctx, i.inner(), image.VerifyOptions{
		Reference: ref, CurrentBase: currentBase, SBOMs: sboms, By: i.Of.Of.verification(verificationKey, certificateIdentity, certificateOidcIssuer),
	})
}

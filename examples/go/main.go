// A release job that uses Gantry, in Go.
package main

import (
	"context"
	"fmt"
	"strings"

	"dagger/release-job/internal/dagger"
)

// ReleaseJob releases one repository on GitHub, with its image in two registries.
type ReleaseJob struct{}

// Release publishes the release of a tag and its image, and returns the digest.
//
// +cache="never"
func (*ReleaseJob) Release(
	ctx context.Context,
	source *dagger.Directory,
	repository, tag string,
	token *dagger.Secret,
	// Image repositories in two registries, and their logins.
	addresses []string, user string, password, otherPassword *dagger.Secret,
	// Address of a mirror of gcr.io, for base images.
	mirror string,
	// +optional
	github string,
	// +optional
	caCertificates *dagger.File,
) (string, error) {
	toolchain := dag.Container().From("rust:1.96-bookworm").WithEnvVariable("CARGO_NET_RETRY", "10")
	gantry := dag.Gantry(dagger.GantryOpts{
		Source: source, Repository: repository, Toolchain: toolchain, Github: github, CaCertificates: caCertificates,
	})
	release := gantry.Release(dagger.GantryReleaseOpts{Tag: tag})
	problems, err := release.Problems(ctx)
	if err != nil {
		return "", err
	}
	if len(problems) > 0 {
		return "", fmt.Errorf("%s is not ready:\n%s", tag, strings.Join(problems, "\n"))
	}
	if _, err := release.WithFile(source.File("install.sh")).Publish(ctx, token); err != nil {
		return "", err
	}
	image := gantry.Images().WithMirror("gcr.io", mirror).
		WithRegistryAuth(addresses[0], user, password).WithRegistryAuth(addresses[1], user, otherPassword).
		Image(tag)
	digest, err := image.Digest(ctx)
	if err != nil {
		return "", err
	}
	if _, err := image.Publish(ctx, dagger.GantryImagePublishOpts{Addresses: addresses}); err != nil {
		return "", err
	}
	_, err = image.Verify(ctx, addresses[1]+"@"+digest)
	return digest, err
}

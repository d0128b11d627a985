// Package oci makes container images out of a published release, and publishes
// them.
//
// An image is assembled, not built: the binaries of the release's archives
// become one layer on a base image, for every platform, in an index whose
// digest is known before anything is pushed. Publishing is a plan and an apply;
// run it again, after a crash or next to another run, and it ends in the same
// state.
//
// What the package keeps, always:
//   - The bytes in an image are those of the release: an archive or a binary
//     that isn't what the manifest and the checksums say is never used.
//   - The same release on the same base images is the same digest, on any
//     machine and at any time.
//   - A tag is written after everything that it names, the exact version's tag
//     once and for all, and floating tags after it, from narrow to wide.
//   - A floating tag never moves to a lower version.
//   - What is already right is not sent again.
//   - Only a registry's own "404" with its code means that something is absent.
//     Every other failure means that nobody knows.
//
// It never touches the release, which it only reads through [published.Release].
package oci

import (
	"errors"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/published"
)

// What the functions of the package refuse, for errors.Is.
var (
	// ErrMismatch is [published.ErrMismatch]: an archive or an image differs from
	// the manifest.
	ErrMismatch = published.ErrMismatch
	// ErrBase says that a base image can't run what is put on it.
	ErrBase = imagespec.ErrBase
	// ErrSpec says that the manifest's image specification can't be met.
	ErrSpec = imagespec.ErrSpec
	// ErrNotFound says that a registry confirmed that something isn't there.
	ErrNotFound = errors.New("not in the registry")
	// ErrSmoke says that the smoke test failed, so that no tag was written.
	ErrSmoke = errors.New("smoke test failed")
	// ErrLayout says that an OCI layout is damaged or holds something else.
	ErrLayout = errors.New("not a valid OCI layout")
)

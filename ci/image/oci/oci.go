// Package oci assembles the container image of a published release, and publishes and
// verifies it.
//
// For every platform, the binaries of the release's archives become one layer on a
// base image. The digest of the index is known before anything is pushed. Publishing
// plans and applies: re-runs, after a crash or in parallel, end in the same state.
//
// The package keeps these invariants:
//   - An image has the bytes of the release: an archive or a binary that differs from
//     the manifest or the checksums is never used.
//   - The same release on the same base images has the same digest, on any machine, at
//     any time.
//   - A tag is written after everything that it names; the tag of the exact version is
//     never rewritten; floating tags follow it, from narrow to wide.
//   - A floating tag never moves to a lower version.
//   - Nothing is sent twice.
//   - Only a registry's "404" with its code means absent. After any other failure,
//     the state is unknown.
//
// The package only reads the release, through [published.Release].
package oci

import (
	"errors"
)

// Errors of the package, for errors.Is.
var (
	// ErrNotFound reports something absent, as the registry confirmed.
	ErrNotFound = errors.New("not in the registry")
	// ErrSmoke reports a failed smoke test. No tag was written.
	ErrSmoke = errors.New("smoke test failed")
	// ErrLayout reports a damaged OCI layout, or one with other content.
	ErrLayout = errors.New("not a valid OCI layout")
)

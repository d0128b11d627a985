package oci

import (
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// Choice is what goes into the image of one platform. The rules that follow from
// the manifest alone are those of ci/imagespec, by which the first phase checks a
// release before it publishes it.
type Choice = imagespec.Choice

// SmokeTest is how the image of a release is tested before it gets a tag.
type SmokeTest = imagespec.SmokeTest

// SmokeTestOf returns the test that the manifest asks for.
func SmokeTestOf(m *manifest.Manifest) (SmokeTest, error) { return imagespec.SmokeTestOf(m) }

// See ci/imagespec.
const (
	// DefaultUser of an image.
	DefaultUser = imagespec.DefaultUser

	BinDir     = imagespec.BinDir
	Scratch    = imagespec.Scratch
	StaticBase = imagespec.StaticBase
	GlibcBase  = imagespec.GlibcBase

	keyPrefix     = imagespec.KeyPrefix
	keyVersion    = imagespec.KeyVersion
	keyRevision   = imagespec.KeyRevision
	keySource     = imagespec.KeySource
	keyCreated    = imagespec.KeyCreated
	keyBaseName   = imagespec.KeyBaseName
	keyBaseDigest = imagespec.KeyBaseDigest
	keyRefName    = imagespec.KeyRefName
)

// choose decides, for every platform, which archive goes onto which base image.
func choose(m *manifest.Manifest) ([]Choice, error) { return imagespec.Choose(m) }

package oci

import (
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

// Choice is [imagespec.Choice].
type Choice = imagespec.Choice

// SmokeTest is [imagespec.SmokeTest].
type SmokeTest = imagespec.SmokeTest

// SmokeTestOf is [imagespec.SmokeTestOf].
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

// choose is [imagespec.Choose].
func choose(m *manifest.Manifest) ([]Choice, error) { return imagespec.Choose(m) }

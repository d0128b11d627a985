// Package attest signs the checksums and the provenance of a release with a key, and
// verifies both. What it writes are Sigstore bundles, which cosign and other tools read.
// Package keyless below it signs with certificates instead.
//
// The package is pure. It keeps two invariants: the same key and the same content give
// the same bytes, and no error contains a part of a key or a password.
package attest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/manifest"
)

// SignatureName is the name of the asset that signs [manifest.SumsName].
const SignatureName = manifest.SumsName + ".sigstore.json"

// ProvenanceName returns the name of the asset with the provenance of a release.
func ProvenanceName(component, version string) string {
	return component + "-" + version + ".intoto.jsonl"
}

// MaxSize bounds both assets: provenance of the 1000 assets that a release may have
// fits.
const MaxSize = 4 << 20

// Release is what a signature and provenance are about.
type Release struct {
	Manifest *manifest.Manifest
	// SumsText is the content of SHA256SUMS.
	SumsText []byte
}

// ProvenanceName is the name of the release's provenance.
func (r Release) ProvenanceName() string {
	return ProvenanceName(r.Manifest.Component, r.Manifest.Version)
}

// CheckSignature verifies a bundle with a signature of SHA256SUMS.
func (r Release) CheckSignature(ctx context.Context, by Verifier, bundle []byte) error {
	return by.VerifyFile(ctx, bundle, r.SumsText)
}

// CheckProvenance verifies a bundle with the provenance of the release: it is signed,
// its subjects are exactly the files of SHA256SUMS, and it names the release's tag and
// commit. It returns the ID of the builder.
func (r Release) CheckProvenance(ctx context.Context, by Verifier, bundle []byte) (builder string, err error) {
	if err := by.VerifyStatement(ctx, bundle); err != nil {
		return "", err
	}
	var s Statement
	if err := readInto(bundle, &s); err != nil {
		return "", err
	}
	sums, err := archive.ParseSums(r.SumsText)
	if err != nil {
		return "", err
	}
	return s.Predicate.RunDetails.Builder.ID, errors.Join(s.check(r.Manifest, sums)...)
}

// check returns the differences between the statement and a release.
func (s *Statement) check(m *manifest.Manifest, sums archive.Sums) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Type != statementType || s.PredicateType != predicateType {
		fail("it is a statement %q with the predicate %q, not %q with %q", s.Type, s.PredicateType, statementType, predicateType)
		return errs
	}
	rest := maps.Clone(sums)
	for _, subject := range s.Subject {
		switch want, listed := rest[subject.Name]; {
		case !listed:
			fail("its subject %q is not listed in %s, or it has it twice", subject.Name, manifest.SumsName)
		case subject.Digest["sha256"] != want:
			fail("its subject %q has SHA-256 %s, but %s lists %s", subject.Name, subject.Digest["sha256"], manifest.SumsName, want)
		}
		delete(rest, subject.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		fail("it lacks the subject %q", name)
	}
	definition := s.Predicate.BuildDefinition
	if definition.BuildType != buildType {
		fail("its build type is %q, not %q", definition.BuildType, buildType)
	}
	if got := definition.ExternalParameters; got.Component != m.Component || got.Tag != m.Tag {
		fail("it is about the tag %q of %q, not %q of %q", got.Tag, got.Component, m.Tag, m.Component)
	}
	if got := definition.commit(); got != m.Commit {
		fail("it is about commit %q, not %q", got, m.Commit)
	}
	if s.Predicate.RunDetails.Builder.ID == "" {
		fail("it names no builder")
	}
	return errs
}

func sum(content []byte) []byte {
	digest := sha256.Sum256(content)
	return digest[:]
}

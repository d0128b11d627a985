package attest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
)

// BundleType is the media type of bundles, as which they are attached to images.
const BundleType = mediaType

// Types of statements about images. docs/signatures.md describes the build type.
const (
	SignPredicateType       = "https://sigstore.dev/cosign/sign/v1"
	ProvenancePredicateType = predicateType

	imageBuildType = "urn:gantry:build:image:v1"
)

// Signer signs, and names what runs the build in the provenance.
type Signer struct {
	// Author signs; nil for no signature.
	Author Author
	// Builder and Version are as in [Build].
	Builder, Version string
}

// Image is what the signatures and the provenance of a container image are about.
type Image struct {
	// Repository of the image.
	Repository string
	// Digests has the SHA-256 of the image of each platform, in hexadecimal; that of
	// the index has the key "".
	Digests map[string]string
	// Bases has the base image of each platform, as NAME@sha256:DIGEST, unless it has
	// none.
	Bases map[string]string
	// Archives has the archive of each platform.
	Archives map[string]manifest.Asset
	// Manifest of the release, and ManifestSHA256 of its file.
	Manifest       *manifest.Manifest
	ManifestSHA256 string
	// Settings that replaced those of the manifest, as JSON; empty for none.
	Settings string
}

// head is a statement without its predicate.
type head struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
}

// signStatement is what cosign signs for an image. Its predicate is empty.
type signStatement struct {
	head
	Predicate struct{} `json:"predicate"`
}

// imageStatement is the provenance of an image.
type imageStatement struct {
	head
	Predicate imagePredicate `json:"predicate"`
}

type imagePredicate struct {
	BuildDefinition imageDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// imageDefinition has what went into the image.
type imageDefinition struct {
	BuildType            string        `json:"buildType"`
	ExternalParameters   imageExternal `json:"externalParameters"`
	InternalParameters   imageInternal `json:"internalParameters"`
	ResolvedDependencies []Resource    `json:"resolvedDependencies"`
}

type imageExternal struct {
	Source    string          `json:"source"`
	Tag       string          `json:"tag"`
	Component string          `json:"component"`
	Platforms []string        `json:"platforms"`
	Settings  json.RawMessage `json:"settings,omitempty"`
}

type imageInternal struct {
	CommitDate string `json:"commitDate"`
}

// SignDigest returns a bundle with the signature of the manifest of an image or an
// index, as cosign makes it.
func (s Signer) SignDigest(ctx context.Context, digest string) ([]byte, error) {
	return s.Author.SignStatement(ctx, signStatement{head: head{statementType, []Resource{{Digest: sha256Of(digest)}}, SignPredicateType}})
}

// SignProvenance returns a bundle with the provenance of an image. It is the same for
// the same image and signer.
func (s Signer) SignProvenance(ctx context.Context, i Image) ([]byte, error) {
	return s.Author.SignStatement(ctx, i.statement(s))
}

// statement returns the provenance of the image.
func (i Image) statement(by Signer) *imageStatement {
	m := i.Manifest
	s := &imageStatement{head: head{Type: statementType, PredicateType: predicateType}}
	for _, platform := range slices.Sorted(maps.Keys(i.Digests)) {
		s.Subject = append(s.Subject, Resource{Name: i.Repository, Digest: sha256Of(i.Digests[platform])})
	}
	source := "git+" + m.Repository + "@refs/tags/" + m.Tag
	s.Predicate.BuildDefinition = imageDefinition{
		BuildType: imageBuildType,
		ExternalParameters: imageExternal{
			Source: source, Tag: m.Tag, Component: m.Component, Platforms: slices.Sorted(maps.Keys(i.Archives)), Settings: json.RawMessage(i.Settings),
		},
		InternalParameters:   imageInternal{CommitDate: m.CommitDate},
		ResolvedDependencies: append([]Resource{{URI: source, Digest: map[string]string{"gitCommit": m.Commit}}}, i.inputs()...),
	}
	s.Predicate.RunDetails.Builder = Builder{ID: cmp.Or(by.Builder, LocalBuilder), Version: map[string]string{"gantry": by.Version}}
	return s
}

// inputs returns the files and images that the image was made from, each once.
func (i Image) inputs() []Resource {
	all := []Resource{{Name: manifest.FileName, Digest: sha256Of(i.ManifestSHA256)}}
	add := func(r Resource) {
		if !slices.ContainsFunc(all, r.same) {
			all = append(all, r)
		}
	}
	for _, platform := range slices.Sorted(maps.Keys(i.Archives)) {
		a := i.Archives[platform]
		add(Resource{Name: a.Name, Digest: sha256Of(a.SHA256)})
	}
	for _, platform := range slices.Sorted(maps.Keys(i.Bases)) {
		if image, digest, found := strings.Cut(i.Bases[platform], "@sha256:"); found {
			add(Resource{Name: "base image of " + platform, URI: "oci://" + image, Digest: sha256Of(digest)})
		}
	}
	return all
}

// same reports whether a resource has the same name, address and digests.
func (r Resource) same(other Resource) bool {
	return r.Name == other.Name && r.URI == other.URI && maps.Equal(r.Digest, other.Digest)
}

// CheckProvenance verifies a bundle with the provenance of the image: it is signed, its
// subjects are exactly the index and the images of the platforms, and it names the
// release, its archives and the base images. It returns the ID of the builder.
func (i Image) CheckProvenance(ctx context.Context, by Verifier, bundle []byte) (builder string, err error) {
	if err := CheckType(ctx, by, bundle, i.Digests[""], predicateType); err != nil {
		return "", err
	}
	return i.CompareProvenance(bundle)
}

// CompareProvenance is [Image.CheckProvenance] for a bundle that was verified.
func (i Image) CompareProvenance(bundle []byte) (builder string, err error) {
	var s imageStatement
	if err := readInto(bundle, &s); err != nil {
		return "", err
	}
	return s.Predicate.RunDetails.Builder.ID, errors.Join(i.differences(&s)...)
}

// differences returns how a statement differs from the image. The repository's name is
// free, since images are copied.
func (i Image) differences(s *imageStatement) (errs []error) {
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	have := map[string]bool{}
	for _, subject := range s.Subject {
		have[subject.Digest["sha256"]] = true
	}
	for _, platform := range slices.Sorted(maps.Keys(i.Digests)) {
		if !have[i.Digests[platform]] {
			fail("it lacks the subject sha256:%s, the image of %s", i.Digests[platform], cmp.Or(platform, "the index"))
		}
		delete(have, i.Digests[platform])
	}
	for _, digest := range slices.Sorted(maps.Keys(have)) {
		fail("its subject sha256:%s is not of this image", digest)
	}
	want, got := i.statement(Signer{}).Predicate.BuildDefinition, s.Predicate.BuildDefinition
	if got.BuildType != want.BuildType {
		fail("its build type is %q, not %q", got.BuildType, want.BuildType)
	}
	if g, w := got.ExternalParameters, want.ExternalParameters; g.Component != w.Component || g.Tag != w.Tag {
		fail("it is about the tag %q of %q, not %q of %q", g.Tag, g.Component, w.Tag, w.Component)
	}
	for _, r := range want.ResolvedDependencies {
		if !slices.ContainsFunc(got.ResolvedDependencies, r.same) {
			fail("it does not name %s", r)
		}
	}
	if s.Predicate.RunDetails.Builder.ID == "" {
		fail("it names no builder")
	}
	return errs
}

// String renders a resource for people.
func (r Resource) String() string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(r.Digest)) {
		all = append(all, kind+":"+r.Digest[kind])
	}
	return strings.TrimSpace(r.Name+" "+r.URI) + " (" + strings.Join(all, ", ") + ")"
}

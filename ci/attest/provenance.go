package attest

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"dagger/gantry/ci/archive"
)

// Types of a statement. docs/signatures.md describes the build type and the local
// builder.
const (
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://slsa.dev/provenance/v1"
	buildType     = "urn:gantry:build:cargo-workspace:v1"
	LocalBuilder  = "urn:gantry:builder:local"
)

// Statement is an in-toto statement with SLSA provenance.
type Statement struct {
	Type          string     `json:"_type"`
	Subject       []Resource `json:"subject"`
	PredicateType string     `json:"predicateType"`
	Predicate     Predicate  `json:"predicate"`
}

// Resource is a file, a commit or an image.
type Resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// Predicate is SLSA provenance.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition has what went into the build.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   External   `json:"externalParameters"`
	InternalParameters   Internal   `json:"internalParameters"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// External has what the caller chose.
type External struct {
	// Source is the repository and the tag.
	Source    string   `json:"source"`
	Tag       string   `json:"tag"`
	Component string   `json:"component"`
	Targets   []string `json:"targets"`
	Given
}

// Given has what was built elsewhere and only packed or published by this build.
type Given struct {
	// Dist is true if all files of the release were.
	Dist bool `json:"dist,omitempty"`
	// Binaries has the targets whose binaries were.
	Binaries []string `json:"binaries,omitempty"`
	// Files has the names of the files that were added.
	Files []string `json:"files,omitempty"`
}

// Internal has what the build derived from the commit.
type Internal struct {
	CommitDate string `json:"commitDate"`
	Rustc      string `json:"rustc"`
	Cargo      string `json:"cargo"`
}

// RunDetails has who ran the build.
type RunDetails struct {
	Builder Builder `json:"builder"`
}

// Builder ran the build.
type Builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// Names of resolved dependencies.
const (
	toolchainName = "toolchain"
	lockName      = "Cargo.lock"
)

// commit returns the commit that was built, or "".
func (d BuildDefinition) commit() string {
	for _, r := range d.ResolvedDependencies {
		if commit := r.Digest["gitCommit"]; commit != "" {
			return commit
		}
	}
	return ""
}

// Build has the facts of the provenance that are not in the manifest.
type Build struct {
	// Repository is the page of the repository that has the tag.
	Repository string
	// Lock is the content of Cargo.lock.
	Lock string
	// Builder is the ID of the builder; by default, [LocalBuilder].
	Builder string
	// Version of Gantry.
	Version string
	Given   Given
}

// CheckBuilder checks the ID of a builder, a URI.
func CheckBuilder(id string) error {
	if u, err := url.Parse(id); id != "" && (err != nil || !u.IsAbs() || u.Opaque == "" && u.Host == "" || u.User != nil) {
		return fmt.Errorf("--builder: %q is not the URI of a builder: pass one such as %q", id,
			"https://github.com/owner/name/.github/workflows/release.yml@refs/tags/v1.2.3")
	}
	return nil
}

// Statement returns the provenance of the release. It is the same for the same
// release and build: it has no time but the commit's.
func (r Release) Statement(b Build) (*Statement, error) {
	sums, err := archive.ParseSums(r.SumsText)
	if err != nil {
		return nil, err
	}
	m := r.Manifest
	s := &Statement{Type: statementType, PredicateType: predicateType}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s.Subject = append(s.Subject, Resource{Name: name, Digest: sha256Of(sums[name])})
	}
	source := "git+" + b.Repository + "@refs/tags/" + m.Tag
	targets := []string{}
	for _, a := range m.Archives() {
		targets = append(targets, a.Target)
	}
	s.Predicate.BuildDefinition = BuildDefinition{
		BuildType:            buildType,
		ExternalParameters:   External{Source: source, Tag: m.Tag, Component: m.Component, Targets: targets, Given: b.Given},
		InternalParameters:   Internal{CommitDate: m.CommitDate, Rustc: m.Toolchain.Rustc, Cargo: m.Toolchain.Cargo},
		ResolvedDependencies: []Resource{{URI: source, Digest: map[string]string{"gitCommit": m.Commit}}},
	}
	d := &s.Predicate.BuildDefinition.ResolvedDependencies
	if image, digest, found := strings.Cut(m.Toolchain.Image, "@sha256:"); found {
		*d = append(*d, Resource{Name: toolchainName, URI: "oci://" + image, Digest: sha256Of(digest)})
	}
	if b.Lock != "" {
		*d = append(*d, Resource{Name: lockName, Digest: sha256Of(fmt.Sprintf("%x", sum([]byte(b.Lock))))})
	}
	s.Predicate.RunDetails.Builder.ID = cmp.Or(b.Builder, LocalBuilder)
	if b.Version != "" {
		s.Predicate.RunDetails.Builder.Version = map[string]string{"gantry": b.Version}
	}
	return s, nil
}

func sha256Of(digest string) map[string]string { return map[string]string{"sha256": digest} }

package event

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"dagger/gantry/ci/manifest"
)

// EventType is the type of the repository_dispatch event that the first phase
// sends when a release is published. GitHub takes up to 100 characters.
const EventType = "gantry-release-published"

// SchemaVersion is the version of [Payload], MAJOR.MINOR. A reader accepts
// every minor version of a major version that it knows, and nothing else.
const SchemaVersion = "1.0"

// Payload is the client_payload of the event: what the second phase needs to
// know, and what proves that it found the same release. GitHub takes up to 10
// fields; one is left.
type Payload struct {
	// SchemaVersion is [SchemaVersion].
	SchemaVersion string `json:"schema_version"`
	// Repository is "owner/name".
	Repository string `json:"repository"`
	// Tag of the release.
	Tag string `json:"tag"`
	// Component, Version, Channel and Commit are the manifest's.
	Component string `json:"component"`
	Version   string `json:"version"`
	Channel   string `json:"channel"`
	Commit    string `json:"commit"`
	// ReleaseID is GitHub's number of the release; 0 when the sender has none.
	ReleaseID int64 `json:"release_id,omitempty"`
	// ManifestSHA256 is the digest of release-manifest.json, in hexadecimal.
	ManifestSHA256 string `json:"manifest_sha256"`
}

// NewPayload makes the payload of a release from its manifest and the digest of
// the manifest's file. releaseID may be 0.
func NewPayload(repository string, m *manifest.Manifest, manifestSHA256 string, releaseID int64) (Payload, error) {
	p := Payload{
		SchemaVersion: SchemaVersion, Repository: repository, Tag: m.Tag, Component: m.Component,
		Version: m.Version, Channel: m.Channel, Commit: m.Commit, ReleaseID: releaseID, ManifestSHA256: manifestSHA256,
	}
	if err := p.check(); err != nil {
		return Payload{}, fmt.Errorf("make the payload of event %q: %w", EventType, err)
	}
	return p, nil
}

// Payload is the payload that the event came with, or would have come with.
func (e Event) Payload() Payload {
	return Payload{
		SchemaVersion: SchemaVersion, Repository: e.Repository, Tag: e.Tag, Component: e.Component,
		Version: e.Version, Channel: e.Channel, Commit: e.Commit, ReleaseID: e.ReleaseID, ManifestSHA256: e.ManifestSHA256,
	}
}

// VersionError says that a payload has a major version of the schema which this
// package doesn't know.
type VersionError struct {
	// Got is the payload's schema version.
	Got string
}

// Error names both versions and what to do.
func (e *VersionError) Error() string {
	major, _, _ := strings.Cut(SchemaVersion, ".")
	return fmt.Sprintf("the payload has schema version %q, and this version of Gantry reads %s.x: use the version of Gantry that made the release, or a newer one", e.Got, major)
}

var schemaPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)

// readPayload reads a payload. Fields that it doesn't know are passed over:
// they are those of a newer minor version.
func readPayload(data []byte) (Payload, error) {
	var p Payload
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%w: client_payload: %w", ErrFormat, err)
	}
	if err := p.check(); err != nil {
		return p, fmt.Errorf("client_payload: %w", err)
	}
	return p, nil
}

func (p Payload) check() error {
	major, _, _ := strings.Cut(SchemaVersion, ".")
	got := schemaPattern.FindStringSubmatch(p.SchemaVersion)
	switch {
	case got == nil:
		return fmt.Errorf("%w: schema version %q is not MAJOR.MINOR", ErrFormat, p.SchemaVersion)
	case got[1] != major:
		return &VersionError{Got: p.SchemaVersion}
	}
	if err := (Event{Repository: p.Repository}).checkRepository(Expect{}); err != nil {
		return err
	}
	if err := checkTag(p.Tag); err != nil {
		return err
	}
	for _, f := range []struct {
		name, value, want string
		pattern           *regexp.Regexp
	}{
		{"component", p.Component, "a component's name", componentPattern},
		{"commit", p.Commit, "a full commit hash in lower case", commitPattern},
		{"manifest_sha256", p.ManifestSHA256, "64 lower-case hexadecimal digits", digestPattern},
	} {
		if !f.pattern.MatchString(f.value) {
			return fmt.Errorf("%w: field %q: %q is not %s", ErrFormat, f.name, f.value, f.want)
		}
	}
	if p.ReleaseID < 0 {
		return fmt.Errorf("%w: field %q: %d is less than 0", ErrFormat, "release_id", p.ReleaseID)
	}
	return checkVersion(p.Tag, p.Version, p.Channel)
}

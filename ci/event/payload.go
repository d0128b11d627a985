package event

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
)

// EventType is the type of the repository_dispatch event that the first phase sends
// after publishing a release. GitHub allows 100 characters.
const EventType = "gantry-release-published"

// SchemaVersion is the version of [Payload], MAJOR.MINOR. A reader accepts every
// minor version of the major versions that it knows.
const SchemaVersion = "1.0"

// Payload is the client_payload of the event: it identifies the release, and proves
// that the second phase found the same one. GitHub allows 10 fields.
type Payload struct {
	SchemaVersion string `json:"schema_version"`
	// Repository is "owner/name".
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Component, Version, Channel and Commit are the manifest's.
	Component string `json:"component"`
	Version   string `json:"version"`
	Channel   string `json:"channel"`
	Commit    string `json:"commit"`
	// ReleaseID is GitHub's ID of the release; 0 if unknown.
	ReleaseID int64 `json:"release_id,omitempty"`
	// ManifestSHA256 is the digest of release-manifest.json, in hexadecimal.
	ManifestSHA256 string `json:"manifest_sha256"`
}

// NewPayload makes the payload of a release from its manifest and the digest of the
// manifest's file.
func NewPayload(repository string, m *manifest.Manifest, manifestSHA256 string) (Payload, error) {
	p := Payload{
		SchemaVersion: SchemaVersion, Repository: repository, Tag: m.Tag, Component: m.Component,
		Version: m.Version, Channel: m.Channel, Commit: m.Commit, ManifestSHA256: manifestSHA256,
	}
	if err := p.check(); err != nil {
		return Payload{}, fmt.Errorf("make the payload of event %q: %w", EventType, err)
	}
	return p, nil
}

// VersionError reports a payload with an unknown major version of the schema.
type VersionError struct {
	// Got is the payload's schema version.
	Got string
}

// Error names both versions and the fix.
func (e *VersionError) Error() string {
	major, _, _ := strings.Cut(SchemaVersion, ".")
	return fmt.Sprintf("the payload has schema version %q, but this version of Gantry reads %s.x: use the version of Gantry that made the release, or a newer one", e.Got, major)
}

var schemaPattern = regexp.MustCompile(`^(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})$`)

// readPayload reads a payload. It skips unknown fields, which belong to a newer
// minor version.
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
	if err := (Event{Repository: p.Repository}).checkRepository(""); err != nil {
		return err
	}
	if err := checkTag(p.Tag); err != nil {
		return err
	}
	for _, f := range []struct {
		name, value string
		notation    notation.Notation
	}{
		{"component", p.Component, notation.Name},
		{"commit", p.Commit, notation.Commit},
		{"manifest_sha256", p.ManifestSHA256, notation.SHA256},
	} {
		if err := f.notation.Check(f.value); err != nil {
			return fmt.Errorf("%w: field %q: %w", ErrFormat, f.name, err)
		}
	}
	if p.ReleaseID < 0 {
		return fmt.Errorf("%w: field %q: %d is less than 0", ErrFormat, "release_id", p.ReleaseID)
	}
	return checkVersion(p.Tag, p.Version, p.Channel)
}

package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/version"
)

// Expected is a release whose image should be in a repository.
type Expected struct {
	Version *semver.Version
	// Digest of the assembled index, "sha256:…"; empty when it isn't known.
	Digest string
}

// State is what a repository has.
type State struct {
	Repository string `json:"repository"`
	// Tags are all tags of the repository.
	Tags []string `json:"tags"`
	// Named says what those tags name that matter.
	Named map[string]Named `json:"named"`
}

// Named is what a tag names.
type Named struct {
	Digest string `json:"digest"`
	// Version that the image says it is of, if it does.
	Version string `json:"version,omitempty"`
	// Missing names a manifest of the index that isn't there, by digest.
	Missing string `json:"missing,omitempty"`
}

// State reads what the tags of the versions, exact and floating, name.
func (r *Repository) State(ctx context.Context, versions []*semver.Version) (*State, error) {
	tags, err := r.Tags(ctx)
	if err != nil {
		return nil, err
	}
	s := &State{Repository: r.String(), Tags: tags, Named: map[string]Named{}}
	for _, v := range versions {
		candidates, err := version.ImageTags(v, nil)
		if err != nil {
			return nil, err
		}
		for _, t := range candidates {
			if _, done := s.Named[t.Tag]; done || !slices.Contains(tags, t.Tag) {
				continue
			}
			f, err := r.get(ctx, false, t.Tag)
			if errors.Is(err, ErrNotFound) {
				continue // it was there a moment ago
			}
			if err != nil {
				return nil, err
			}
			n := Named{Digest: f.digest.String(), Version: f.annotations[keyVersion]}
			if t.Exact {
				if n.Missing, err = r.missingImage(ctx, n.Digest); err != nil {
					return nil, err
				}
			}
			s.Named[t.Tag] = n
		}
	}
	return s, nil
}

// missingImage names the first manifest of an index that isn't there: the index
// itself, or an image's.
func (r *Repository) missingImage(ctx context.Context, digest string) (string, error) {
	index, err := r.Index(ctx, digest)
	switch {
	case errors.Is(err, ErrNotFound):
		return digest, nil
	case errors.Is(err, errNoIndex):
		return "", nil // whoever made it, nothing is missing
	case err != nil:
		return "", err
	}
	im, err := index.IndexManifest()
	if err != nil {
		return "", err
	}
	for _, d := range im.Manifests {
		_, err := r.get(ctx, false, d.Digest.String())
		if errors.Is(err, ErrNotFound) {
			return d.Digest.String(), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// Verdict says what is to be done about one release.
type Verdict string

// The verdicts. Of a conflict people have to make something: the tag of a
// version is never rewritten.
const (
	VerdictOK       Verdict = "ok"
	VerdictPublish  Verdict = "publish"
	VerdictConflict Verdict = "conflict"
)

// Decision is the verdict on one release in one repository.
type Decision struct {
	Repository string  `json:"repository"`
	Version    string  `json:"version"`
	Verdict    Verdict `json:"verdict"`
	// Why, for people.
	Why string `json:"why"`
}

// String is the decision in a line.
func (d Decision) String() string {
	return fmt.Sprintf("%s %s: %s: %s", d.Repository, d.Version, d.Verdict, d.Why)
}

// Reconcile compares releases with what a repository has, and says which of
// them to publish: those whose tag is missing, or names an index of which an
// image is missing, and those that a floating tag should name. The decisions
// are in the order of versions, lowest first, which is a good one to publish in.
func Reconcile(releases []Expected, s *State) []Decision {
	known := Versions(s.Tags)
	for _, r := range releases {
		known = append(known, r.Version)
	}
	sorted := slices.Clone(releases)
	slices.SortStableFunc(sorted, func(a, b Expected) int { return a.Version.Compare(b.Version) })
	var decisions []Decision
	for _, r := range sorted {
		d := Decision{Repository: s.Repository, Version: r.Version.String(), Verdict: VerdictPublish}
		named, there := s.Named[d.Version]
		switch {
		case !there:
			d.Why = "the tag is not there"
		case r.Digest != "" && r.Digest != named.Digest:
			d.Verdict, d.Why = VerdictConflict, fmt.Sprintf("the tag names %s, and the release is %s", named.Digest, r.Digest)
		case r.Digest == "" && named.Version != d.Version:
			d.Verdict, d.Why = VerdictConflict, fmt.Sprintf("the tag names %s, which does not say that it is of this version", named.Digest)
		case named.Missing != "":
			d.Why = "the manifest " + named.Missing + " is not there"
		default:
			if stale := staleTags(r.Version, named.Digest, known, s); len(stale) > 0 {
				d.Why = "it should have the tags " + strings.Join(stale, ", ")
			} else {
				d.Verdict, d.Why = VerdictOK, "all as it should be"
			}
		}
		decisions = append(decisions, d)
	}
	return decisions
}

// Wanting says why the image of a version should be published, a line for each
// repository that lacks something; known are the other released versions. One
// repository that can't be read hides nothing of the others.
func Wanting(ctx context.Context, v *semver.Version, known []*semver.Version, repositories ...*Repository) []string {
	var lines []string
	for _, repository := range repositories {
		versions := append([]*semver.Version{v}, known...)
		state, err := repository.State(ctx, versions)
		if err != nil {
			lines = append(lines, fmt.Sprintf("%s: it can't be read: %v", repository, err))
			continue
		}
		var expected []Expected
		for _, v := range versions {
			expected = append(expected, Expected{Version: v})
		}
		for _, d := range Reconcile(expected, state) {
			if d.Version == v.String() && d.Verdict != VerdictOK {
				lines = append(lines, d.Repository+": "+d.Why)
			}
		}
	}
	return lines
}

// staleTags are the floating tags that should name a version and don't.
func staleTags(v *semver.Version, digest string, known []*semver.Version, s *State) []string {
	tags, err := version.ImageTags(v, known)
	if err != nil {
		return nil
	}
	var stale []string
	for _, t := range tags {
		n := s.Named[t.Tag]
		if t.Exact || !t.Move || n.Digest == digest {
			continue
		}
		// It names a higher version, whose own tag is gone.
		if other, err := version.Parse(n.Version); err == nil && other.GreaterThan(v) && floats(other, t.Tag) {
			continue
		}
		stale = append(stale, t.Tag)
	}
	return stale
}

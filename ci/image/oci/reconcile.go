package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
)

// Candidate is a release with an image for repositories.
type Candidate struct {
	// Release needs a manifest and the component's other versions only.
	*published.Release
	// Repositories of the image. Candidates should share the [Repository] of an
	// address.
	Repositories []*Repository
	// WithoutBills doesn't look for bills of materials.
	WithoutBills bool
	// By, if set, must have signed the image.
	By attest.Verifier
}

// tags returns the version and the tags of the image.
func (c Candidate) tags(listed []string) (*semver.Version, []version.ImageTag, error) {
	v, err := version.Parse(c.Manifest.Version)
	if err != nil {
		return nil, nil, err
	}
	o := c.TagOptions()
	tags, err := version.ImageTags(v, append(o.Versions(listed), c.Known...), o)
	return v, tags, err
}

// Lack is a reason to publish the image of a release again.
type Lack struct {
	Repository string `json:"repository"`
	// Why, for people.
	Why string `json:"why"`
}

// String renders the lack in one line.
func (l Lack) String() string { return l.Repository + ": " + l.Why }

// surveyDeadline bounds [MissingFrom] and [Explain].
const surveyDeadline = 10 * time.Minute

// MissingFrom returns what the repositories lack of each candidate: an exact tag, an
// image of its index, or a floating tag. It only reads: the list of tags, once per
// repository; the index of each candidate and the presence of its images; and what
// the candidates' floating tags name.
//
// An unreadable repository counts as lacking everything, without effect on others.
func MissingFrom(ctx context.Context, candidates ...Candidate) [][]Lack {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyDeadline, fmt.Errorf("the deadline of %s passed", surveyDeadline))
	defer cancel()
	var repositories []*Repository
	for _, c := range candidates {
		for _, r := range c.Repositories {
			if !slices.ContainsFunc(repositories, r.same) {
				repositories = append(repositories, r)
			}
		}
	}
	found := make([]map[int]string, len(repositories))
	var g errgroup.Group
	g.SetLimit(4)
	for i, r := range repositories {
		g.Go(func() error {
			found[i] = r.lacks(ctx, candidates)
			return nil
		})
	}
	_ = g.Wait() // failures are lacks
	missing := make([][]Lack, len(candidates))
	for i, r := range repositories {
		for n, why := range found[i] {
			missing[n] = append(missing[n], Lack{Repository: r.String(), Why: why})
		}
	}
	return missing
}

// same reports whether two repositories have the same address.
func (r *Repository) same(other *Repository) bool { return r.String() == other.String() }

// lacks returns what is missing, by the index of the candidate.
func (r *Repository) lacks(ctx context.Context, candidates []Candidate) map[int]string {
	missing := map[int]string{}
	listed, err := r.Tags(ctx)
	for i, c := range candidates {
		if !slices.ContainsFunc(c.Repositories, r.same) {
			continue
		}
		why := ""
		err := err
		if err == nil {
			why, err = r.lack(ctx, c, listed)
		}
		if err != nil {
			why = fmt.Sprintf("it can't be read: %v", err)
		}
		if why != "" {
			missing[i] = why
		}
	}
	return missing
}

// lack returns what the repository lacks of a candidate, or "".
func (r *Repository) lack(ctx context.Context, c Candidate, listed []string) (string, error) {
	v, tags, err := c.tags(listed)
	if err != nil {
		return "", err
	}
	exact := tags[0].Tag
	if !slices.Contains(listed, exact) {
		return "the tag " + exact + " is missing", nil
	}
	index, err := r.manifest(ctx, false, exact)
	switch {
	case errors.Is(err, ErrNotFound): // deleted a moment ago
		return "the tag " + exact + " is missing", nil
	case err != nil:
		return "", err
	case index.annotations[imagespec.KeyVersion] != v.String():
		return fmt.Sprintf("the tag %s names %s, which is not of version %s by its annotations", exact, index.digest, v), nil
	}
	for _, digest := range index.images {
		if has, err := r.has(ctx, false, digest); err != nil {
			return "", err
		} else if !has {
			return "the image " + digest.String() + " is missing", nil
		}
	}
	var stale []string
	for _, t := range tags[1:] {
		if !t.Move {
			continue
		}
		ok, err := r.hasFloating(ctx, t.Tag, v, index.digest, listed, c.TagOptions())
		if err != nil {
			return "", err
		}
		if !ok {
			stale = append(stale, t.Tag)
		}
	}
	if len(stale) > 0 {
		return "it should have the tags " + strings.Join(stale, ", "), nil
	}
	if why, err := r.lackOfSignature(ctx, c.By, index.digest); why != "" || err != nil {
		return why, err
	}
	return r.lackOfBills(ctx, c, index.digest)
}

// lackOfBills returns which of the release's bills of materials is not attached to the
// published image, or "".
func (r *Repository) lackOfBills(ctx context.Context, c Candidate, digest v1.Hash) (string, error) {
	if c.WithoutBills || !slices.ContainsFunc(c.Manifest.Assets, func(a manifest.Asset) bool { return a.Kind == manifest.KindSBOM }) {
		return "", nil
	}
	bills, err := Bills(c.Release)
	if err != nil {
		return "", err
	}
	index, err := r.index(ctx, false, digest.String())
	if err != nil {
		return "", err
	}
	subjects, err := subjectsOf(index, bills)
	if err != nil {
		return "", err
	}
	for _, s := range subjects {
		if err := r.missingOf(ctx, false, s); err != nil {
			return "", err
		}
		for _, a := range s.artifacts {
			if a.missing {
				return fmt.Sprintf("the image of %s lacks %s", s.name(), a.Name), nil
			}
		}
	}
	return "", nil
}

// hasFloating reports whether a floating tag names a version as it should, or a higher one
// whose exact tag was deleted.
func (r *Repository) hasFloating(ctx context.Context, tag string, v *semver.Version, want v1.Hash, listed []string, o version.TagOptions) (bool, error) {
	if !slices.Contains(listed, tag) {
		return false, nil
	}
	f, err := r.resolve(ctx, false, tag)
	if err != nil || f == nil || f.digest == want {
		return f != nil, err
	}
	if err := r.describe(ctx, false, f); err != nil {
		return false, err
	}
	other, err := version.Parse(f.annotations[imagespec.KeyVersion])
	return err == nil && other.GreaterThan(v) && floats(other, tag, o), nil
}

// Explain reports, for each repository of a candidate, which tags its image gets or
// keeps, and why.
func Explain(ctx context.Context, c Candidate) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyDeadline, fmt.Errorf("the deadline of %s passed", surveyDeadline))
	defer cancel()
	var out strings.Builder
	for _, r := range c.Repositories {
		listed, err := r.Tags(ctx)
		if err != nil {
			return "", err
		}
		_, tags, err := c.tags(listed)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s\n", r)
		for _, t := range tags {
			action := "moves here"
			if t.Exact {
				action = "is never rewritten"
			} else if !t.Move {
				action = "stays"
			}
			fmt.Fprintf(&out, "  %-20s %-16s %s\n", t.Tag, action, t.Why)
		}
		if c.TagOptions().ExactOnly {
			out.WriteString("  no floating tags: tags.floating is false in the image's configuration\n")
		}
	}
	return out.String(), nil
}

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

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// Candidate is a release whose image should be in repositories.
type Candidate struct {
	// Manifest of the release.
	Manifest *manifest.Manifest
	// Known are the component's released versions.
	Known []*semver.Version
	// Flagged are stable versions whose releases are flagged as prereleases; see
	// [version.TagOptions].
	Flagged []*semver.Version
	// Repositories of the image. One [Repository] may, and should, be shared by
	// all candidates that have its address.
	Repositories []*Repository
}

// options say how the tags of the candidate's image are written.
func (c Candidate) options() version.TagOptions {
	o := c.Manifest.Image.TagOptions()
	o.Flagged = c.Flagged
	return o
}

// tags of the candidate's image; an error means that it can have none.
func (c Candidate) tags(listed []string) (*semver.Version, []version.ImageTag, error) {
	v, err := version.Parse(c.Manifest.Version)
	if err != nil {
		return nil, nil, err
	}
	o := c.options()
	tags, err := version.ImageTags(v, append(o.Versions(listed), c.Known...), o)
	return v, tags, err
}

// Lack is a reason to publish the image of a release once more.
type Lack struct {
	Repository string `json:"repository"`
	// Why, for people.
	Why string `json:"why"`
}

// String is the lack in a line.
func (l Lack) String() string { return l.Repository + ": " + l.Why }

// Survey is what repositories lack, of all candidates.
type Survey struct {
	// Missing says, for each candidate in its place, what the repositories lack.
	Missing [][]Lack `json:"missing"`
	// Stats count what finding out took.
	Stats
}

// surveyDeadline bounds a survey, and an explanation.
const surveyDeadline = 10 * time.Minute

// MissingFrom finds out what the repositories lack of the candidates: an exact
// tag, an image of its index, or a floating tag that should name it. It only
// reads: of each repository the list of tags, once; of each candidate its index,
// and whether the index's images are there; and what each floating tag names
// that should name a candidate.
//
// A repository that can't be read lacks everything, for all that is known, and
// hides nothing of the others.
func MissingFrom(ctx context.Context, candidates ...Candidate) *Survey {
	ctx, cancel := context.WithTimeoutCause(ctx, surveyDeadline, fmt.Errorf("the deadline of %s passed", surveyDeadline))
	defer cancel()
	var surveys []*survey
	for _, c := range candidates {
		for _, r := range c.Repositories {
			if !slices.ContainsFunc(surveys, func(s *survey) bool { return s.r.String() == r.String() }) {
				surveys = append(surveys, &survey{r: r, before: r.Stats()})
			}
		}
	}
	found := make([]map[int]string, len(surveys))
	var g errgroup.Group
	g.SetLimit(4)
	for i, s := range surveys {
		g.Go(func() error {
			found[i] = s.run(ctx, candidates)
			return nil
		})
	}
	_ = g.Wait() // what can't be read is a lack
	out := &Survey{Missing: make([][]Lack, len(candidates))}
	for i, s := range surveys {
		for n, why := range found[i] {
			out.Missing[n] = append(out.Missing[n], Lack{Repository: s.r.String(), Why: why})
		}
		out.Stats = out.Stats.plus(s.r.Stats().minus(s.before))
	}
	return out
}

// survey is what is read of one repository.
type survey struct {
	r      *Repository
	before Stats
}

// run says what is missing, by the number of the candidate.
func (s *survey) run(ctx context.Context, candidates []Candidate) map[int]string {
	missing := map[int]string{}
	listed, err := s.r.Tags(ctx)
	for i, c := range candidates {
		if !slices.ContainsFunc(c.Repositories, func(r *Repository) bool { return r.String() == s.r.String() }) {
			continue
		}
		why := ""
		err := err
		if err == nil {
			why, err = s.lack(ctx, c, listed)
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

// lack says what the repository lacks of a candidate, or nothing.
func (s *survey) lack(ctx context.Context, c Candidate, listed []string) (string, error) {
	v, tags, err := c.tags(listed)
	if err != nil {
		return "", err
	}
	exact := tags[0].Tag
	if !slices.Contains(listed, exact) {
		return "the tag " + exact + " is not there", nil
	}
	index, err := s.r.look(ctx, false, exact)
	switch {
	case errors.Is(err, ErrNotFound): // it was there a moment ago
		return "the tag " + exact + " is not there", nil
	case err != nil:
		return "", err
	case index.annotations[keyVersion] != v.String():
		return fmt.Sprintf("the tag %s names %s, which does not say that it is of version %s", exact, index.digest, v), nil
	}
	for _, digest := range index.images {
		if there, err := s.r.has(ctx, false, digest); err != nil {
			return "", err
		} else if !there {
			return "the image " + digest.String() + " is not there", nil
		}
	}
	var stale []string
	for _, t := range tags[1:] {
		if !t.Move {
			continue
		}
		ok, err := s.floats(ctx, t.Tag, v, index.digest, listed, c.options())
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
	return "", nil
}

// floats says whether a floating tag that should name a version does, or names
// a higher one, whose own tag is gone.
func (s *survey) floats(ctx context.Context, tag string, v *semver.Version, want v1.Hash, listed []string, o version.TagOptions) (bool, error) {
	if !slices.Contains(listed, tag) {
		return false, nil
	}
	f, err := s.r.at(ctx, false, tag)
	if err != nil || f == nil || f.digest == want {
		return f != nil, err
	}
	if err := s.r.describe(ctx, false, f); err != nil {
		return false, err
	}
	other, err := version.Parse(f.annotations[keyVersion])
	return err == nil && other.GreaterThan(v) && floats(other, tag, o), nil
}

// Explain says, for each repository of a candidate, which tags its image gets or
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
			does := "moves here"
			if t.Exact {
				does = "is written once"
			} else if !t.Move {
				does = "stays"
			}
			fmt.Fprintf(&out, "  %-20s %-16s %s\n", t.Tag, does, t.Why)
		}
		if c.Manifest.Image.TagOptions().ExactOnly {
			out.WriteString("  no floating tags: tags.floating is false in the image's configuration\n")
		}
	}
	return out.String(), nil
}

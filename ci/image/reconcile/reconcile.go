// Package reconcile publishes the images that repositories lack of recent releases,
// after lost events and failures.
//
// It is pure: the caller provides the clients and publishes images. It keeps these
// invariants: it only reads releases, and waits for none; it skips releases that Gantry
// did not make; and a failure does not stop the other releases.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
)

// Options of [Run].
type Options struct {
	Client *github.Client
	// Repository of the releases, "owner/name".
	Repository string
	// Last is how many releases with an image to check, and Component their component;
	// by default, any.
	Last      int
	Component string
	// Settings of registries. Their addresses, if any, replace those of each release's
	// manifest.
	Settings registries.Settings
	// DryRun publishes nothing.
	DryRun bool
	// WithoutBills doesn't look for missing bills of materials.
	WithoutBills bool
	// By, if set, must have signed the images.
	By attest.Verifier
	// Publish publishes the image of a release.
	Publish func(context.Context, *published.Release, *registries.Registries, []*oci.Repository) error
}

// Report describes a run.
type Report struct {
	// Lines has a line for each release, newest first.
	Lines []Line
	// Notes are for people.
	Notes []string
	// Checking and Publishing count the requests.
	Checking   Requests
	Publishing Requests
}

// Line is the outcome for a release.
type Line struct {
	Tag string
	// Outcome is "ok", "published", "would publish", "skipped" or "failed".
	Outcome string
	// Why, for people.
	Why string
}

// The outcomes.
const (
	OK        = "ok"
	Published = "published"
	Would     = "would publish"
	Skipped   = "skipped"
	Failed    = "failed"
)

// Requests counts requests by their destination.
type Requests struct {
	GitHub     int64
	Registries int64
}

func (r Requests) minus(o Requests) Requests {
	return Requests{r.GitHub - o.GitHub, r.Registries - o.Registries}
}

// Total counts all requests.
func (r Requests) Total() int64 { return r.GitHub + r.Registries }

// Text renders the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "%s: %s: %s\n", l.Tag, l.Outcome, l.Why)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "requests: %d to find what is missing (%d to GitHub, %d to registries)", r.Checking.Total(), r.Checking.GitHub, r.Checking.Registries)
	if r.Publishing.Total() > 0 {
		fmt.Fprintf(&b, ", %d to publish it (%d to GitHub, %d to registries)", r.Publishing.Total(), r.Publishing.GitHub, r.Publishing.Registries)
	}
	b.WriteByte('\n')
	return b.String()
}

// Run publishes the missing images of recent releases. It returns the report also with
// an error, which joins those of the failed releases.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Last <= 0 {
		return nil, fmt.Errorf("--last=%d: pass at least 1", o.Last)
	}
	given, notes := o.Settings.Addresses, []string(nil)
	if len(given) > 0 {
		var err error
		if given, notes, err = registries.Addresses(given, nil); err != nil {
			return nil, err
		}
		o.Settings.Addresses = given
	}
	from, err := registries.New(o.Settings)
	if err != nil {
		return nil, err
	}
	count := func() Requests { return Requests{o.Client.Requests(), from.Requests()} }
	before := count()
	entries, err := published.Recent(ctx, o.Client, published.Choice{
		Repository: o.Repository, Last: o.Last, Component: o.Component, AnyImage: len(given) > 0,
	})
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, registries: from, opened: map[string]*oci.Repository{}, report: &Report{Lines: make([]Line, len(entries)), Notes: notes}}
	for i, e := range entries {
		switch {
		case e.Err != nil:
			r.fail(i, e.Tag, e.Err)
		case e.Skipped != "":
			r.set(i, e.Tag, Skipped, e.Skipped)
		default:
			r.releases = append(r.releases, &release{line: i, candidate: e.Candidate})
		}
	}
	r.check(ctx, r.releases)
	// An assumed manifest may be wrong about what is missing.
	var changed []*release
	for _, t := range r.releases {
		if !t.candidate.Assumed || len(t.missing) == 0 && t.err == nil {
			continue
		}
		differs, err := t.candidate.Read(ctx)
		if err != nil {
			t.err = err
		} else if differs {
			changed = append(changed, t)
		}
	}
	r.check(ctx, changed)
	r.report.Checking = count().minus(before)
	checked := count()
	// The oldest first, so that floating tags move up.
	for _, t := range slices.Backward(r.releases) {
		r.publishMissing(ctx, t)
	}
	r.report.Publishing = count().minus(checked)
	return r.report, errors.Join(r.errs...)
}

// release is a candidate and what the repositories lack of it.
type release struct {
	line         int // in the report
	candidate    *published.Candidate
	repositories []*oci.Repository
	missing      []oci.Lack
	err          error
}

// check finds what the repositories lack of the releases.
func (r *run) check(ctx context.Context, all []*release) {
	var checked []*release
	var candidates []oci.Candidate
	for _, t := range all {
		t.missing = nil
		if t.repositories, t.err = r.repositories(t.candidate.Manifest.ImageSpec().Repositories); t.err == nil {
			checked = append(checked, t)
			candidates = append(candidates, oci.Candidate{Release: t.candidate.Release, Repositories: t.repositories, WithoutBills: r.WithoutBills, By: r.By})
		}
	}
	if len(candidates) == 0 {
		return
	}
	missing := oci.MissingFrom(ctx, candidates...)
	for i, t := range checked {
		t.missing = missing[i]
	}
}

type run struct {
	Options
	registries *registries.Registries
	opened     map[string]*oci.Repository
	report     *Report
	releases   []*release
	errs       []error
}

func (r *run) set(i int, tag, outcome, why string) { r.report.Lines[i] = Line{tag, outcome, why} }

func (r *run) fail(i int, tag string, err error) {
	r.errs = append(r.errs, fmt.Errorf("release %q: %w", tag, err))
	r.set(i, tag, Failed, err.Error())
}

// repositories returns the repositories of a release, opened once for all releases.
func (r *run) repositories(named []string) ([]*oci.Repository, error) {
	addresses, _, err := registries.Addresses(r.Settings.Addresses, named)
	if err != nil {
		return nil, err
	}
	var all []*oci.Repository
	for _, a := range addresses {
		if r.opened[a] == nil {
			one, err := r.registries.Repositories([]string{a})
			if err != nil {
				return nil, err
			}
			r.opened[a] = one[0]
		}
		all = append(all, r.opened[a])
	}
	return all, nil
}

// publishMissing publishes the image of a release if the repositories lack it.
func (r *run) publishMissing(ctx context.Context, t *release) {
	i, tag := t.line, t.candidate.Manifest.Tag
	switch {
	case errors.Is(t.err, registries.ErrNowhere):
		r.set(i, tag, Skipped, "its image has no repository: pass --addresses")
		return
	case t.err != nil:
		r.fail(i, tag, t.err)
		return
	case len(t.missing) == 0:
		r.set(i, tag, OK, "nothing is missing")
		return
	}
	var texts []string
	for _, lack := range t.missing {
		texts = append(texts, lack.String())
	}
	why := strings.Join(texts, "; ")
	if r.DryRun {
		r.set(i, tag, Would, why)
		return
	}
	opened, err := t.candidate.Open(ctx)
	if err == nil {
		err = r.Publish(ctx, opened, r.registries, t.repositories)
	}
	if err != nil {
		r.fail(i, tag, fmt.Errorf("%s: %w", why, err))
		return
	}
	r.set(i, tag, Published, why)
}

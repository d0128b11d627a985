// Package reconcile publishes what image repositories lack of the last releases:
// it makes up for events that were lost and for failures.
//
// It is pure but for the clients that it is handed; what publishes an image is
// the caller's. It keeps these invariants: it only reads releases and waits for
// none; a release that is not Gantry's is skipped; and one that fails does not
// stop the others.
package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

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
	// Last is how many releases with an image are looked at, and Component the
	// one that they are of; by default, all.
	Last      int
	Component string
	// Settings of registries. Their addresses, if any, take the place of those of
	// each release's manifest.
	Settings registries.Settings
	// DryRun publishes nothing.
	DryRun bool
	// Publish publishes the image of a release.
	Publish func(context.Context, *published.Release, *registries.Registries, []*oci.Repository) error
}

// Report says what was found and done.
type Report struct {
	// Lines are one for each release, newest first.
	Lines []Line `json:"releases"`
	// Notes are what people should know in addition.
	Notes []string `json:"notes,omitempty"`
	// Looking took so many requests; Publishing what was missing, so many more.
	Looking    Requests `json:"looking"`
	Publishing Requests `json:"publishing"`
}

// Line is what became of one release.
type Line struct {
	Tag string `json:"tag"`
	// Outcome is "ok", "published", "would publish", "skipped" or "failed".
	Outcome string `json:"outcome"`
	// Why, for people.
	Why string `json:"why"`
}

// The outcomes.
const (
	OK        = "ok"
	Published = "published"
	Would     = "would publish"
	Skipped   = "skipped"
	Failed    = "failed"
)

// Requests are counted by whom they were sent to.
type Requests struct {
	GitHub     int64 `json:"github"`
	Registries int64 `json:"registries"`
}

func (r Requests) minus(o Requests) Requests {
	return Requests{r.GitHub - o.GitHub, r.Registries - o.Registries}
}

// Total of all requests.
func (r Requests) Total() int64 { return r.GitHub + r.Registries }

// Text is the report for people.
func (r *Report) Text() string {
	var b strings.Builder
	for _, l := range r.Lines {
		fmt.Fprintf(&b, "%s: %s: %s\n", l.Tag, l.Outcome, l.Why)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	fmt.Fprintf(&b, "requests: %d to find out what is missing (%d to GitHub, %d to registries)", r.Looking.Total(), r.Looking.GitHub, r.Looking.Registries)
	if r.Publishing.Total() > 0 {
		fmt.Fprintf(&b, ", %d to publish it (%d to GitHub, %d to registries)", r.Publishing.Total(), r.Publishing.GitHub, r.Publishing.Registries)
	}
	b.WriteByte('\n')
	return b.String()
}

// JSON is the report for programs.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// Run publishes what is missing of the last releases. The report is there with
// an error too, which joins those of the releases that failed.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Last <= 0 {
		return nil, fmt.Errorf("--last=%d: look at one release at least", o.Last)
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
	r := &run{Options: o, from: from, opened: map[string]*oci.Repository{}, report: &Report{Lines: make([]Line, len(entries)), Notes: notes}}
	for i, e := range entries {
		switch {
		case e.Err != nil:
			r.fail(i, e.Tag, e.Err)
		case e.Skipped != "":
			r.set(i, e.Tag, Skipped, e.Skipped)
		default:
			r.todo = append(r.todo, &todo{place: i, candidate: e.Candidate})
		}
	}
	r.look(ctx, r.todo)
	// What is missing by the image of a newer release may not be by its own.
	var changed []*todo
	for _, t := range r.todo {
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
	r.look(ctx, changed)
	r.report.Looking = count().minus(before)
	looked := count()
	// Oldest first, so that no floating tag waits for a lower version.
	for _, t := range slices.Backward(r.todo) {
		r.settle(ctx, t)
	}
	r.report.Publishing = count().minus(looked)
	return r.report, errors.Join(r.errs...)
}

// todo is a candidate and what is missing of it.
type todo struct {
	place        int
	candidate    *published.Candidate
	repositories []*oci.Repository
	missing      []oci.Lack
	err          error
}

// look finds out what is missing of candidates, all at once.
func (r *run) look(ctx context.Context, all []*todo) {
	var looked []*todo
	var looks []oci.Candidate
	for _, t := range all {
		c := t.candidate
		var named []string
		if c.Manifest.Image != nil {
			named = c.Manifest.Image.Repositories
		}
		t.missing = nil
		if t.repositories, t.err = r.repositories(named); t.err == nil {
			looked = append(looked, t)
			looks = append(looks, oci.Candidate{Manifest: c.Manifest, Known: c.Known, Flagged: c.Flagged, Repositories: t.repositories})
		}
	}
	if len(looks) == 0 {
		return
	}
	survey := oci.MissingFrom(ctx, looks...)
	for i, t := range looked {
		t.missing = survey.Missing[i]
	}
}

type run struct {
	Options
	from   *registries.Registries
	opened map[string]*oci.Repository
	report *Report
	todo   []*todo
	errs   []error
}

func (r *run) set(i int, tag, outcome, why string) { r.report.Lines[i] = Line{tag, outcome, why} }

func (r *run) fail(i int, tag string, err error) {
	r.errs = append(r.errs, fmt.Errorf("release %q: %w", tag, err))
	r.set(i, tag, Failed, err.Error())
}

// repositories of a release, each opened once for all releases.
func (r *run) repositories(named []string) ([]*oci.Repository, error) {
	addresses, _, err := registries.Addresses(r.Settings.Addresses, named)
	if err != nil {
		return nil, err
	}
	var all []*oci.Repository
	for _, a := range addresses {
		if r.opened[a] == nil {
			one, err := r.from.Repositories([]string{a})
			if err != nil {
				return nil, err
			}
			r.opened[a] = one[0]
		}
		all = append(all, r.opened[a])
	}
	return all, nil
}

// settle publishes what is missing of one release.
func (r *run) settle(ctx context.Context, t *todo) {
	i, tag := t.place, t.candidate.Manifest.Tag
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
	release, err := t.candidate.Open(ctx)
	if err == nil {
		err = r.Publish(ctx, release, r.from, t.repositories)
	}
	if err != nil {
		r.fail(i, tag, fmt.Errorf("%s: %w", why, err))
		return
	}
	r.set(i, tag, Published, why)
}

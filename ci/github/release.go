package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	gh "github.com/google/go-github/v84/github"
)

// rounds is how often a release is planned, when something else keeps changing it.
const rounds = 5

// Release brings a release into the state of the spec. It returns a report also with
// an error, unless nothing could be planned.
//
// Concurrent runs for one tag end in one release: a run that finds a draft with a
// lower id next to its own deletes its own, which is empty, and continues with the
// other. If GitHub's list hides each draft from the other run until both are filled,
// GitHub refuses to publish the second; that run then compares the published release
// with its assets, and deletes its draft. If GitHub carries out a call of a killed
// run only after the next run looked for drafts, an empty draft may stay; the plan
// of each later run notes it.
func (c *Client) Release(ctx context.Context, spec Spec) (*Report, error) {
	ctx, r := c.on(ctx, spec.Owner, spec.Repo)
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.deadline, fmt.Errorf("the deadline of %s passed; run it again to go on", c.o.deadline))
	defer cancel()
	w := &work{repo: r, spec: &spec, made: map[int64]bool{}, deleted: map[int64]bool{}}
	rep, err := w.run(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return rep, c.redactErr(err)
}

func (w *work) run(ctx context.Context) (*Report, error) {
	plan, err := w.plan(ctx)
	if err != nil {
		return nil, err
	}
	rep := &Report{Plan: plan, DryRun: w.spec.DryRun}
	defer func() { rep.finish(w.session) }()
	w.c.o.Observer.Planned(ctx, plan)
	if len(plan.Problems) > 0 {
		return rep, &problemsError{Tag: w.spec.Tag, Problems: plan.Problems}
	}
	if w.spec.DryRun {
		return rep, nil
	}
	now := plan
	for n := 1; ; n++ {
		err := w.apply(ctx, now, rep)
		if err == nil {
			break
		}
		if !errors.Is(err, errConflict) || n == rounds || ctx.Err() != nil {
			return rep, err
		}
		rep.note("planned again: " + err.Error())
		if err := w.wait(ctx, "the other run", w.backoff(n)); err != nil {
			return rep, err
		}
		if now, err = w.plan(ctx); err != nil {
			return rep, err
		}
		if len(now.Problems) > 0 {
			return rep, &problemsError{Tag: w.spec.Tag, Problems: now.Problems}
		}
	}
	return rep, w.dropOwnDrafts(ctx, rep)
}

// step runs one step and records it.
func (w *work) step(ctx context.Context, rep *Report, s Step, do func(context.Context) error) error {
	ctx = w.c.o.Observer.StepStart(ctx, s)
	err := do(ctx)
	w.c.o.Observer.StepEnd(ctx, s, w.c.redactErr(err))
	if err == nil {
		rep.did(s)
	}
	return err
}

// apply carries out a plan. errConflict means that the plan is out of date.
func (w *work) apply(ctx context.Context, p *Plan, rep *Report) error {
	rel, err := w.prepare(ctx, p, rep)
	if err != nil {
		return err
	}
	if err := w.fill(ctx, p, rep, rel); err != nil {
		return err
	}
	changed := slices.ContainsFunc(p.Steps, func(s Step) bool {
		return s.Action == DeleteStarter || s.Action == Replace || s.Action == Upload
	})
	if changed || rel.Draft {
		if err := w.verify(ctx, rel); err != nil {
			return err
		}
	}
	rep.Release, err = w.finish(ctx, p, rep, rel)
	return err
}

// prepare carries out the steps about the release itself, and returns the release to
// fill.
func (w *work) prepare(ctx context.Context, p *Plan, rep *Report) (*Release, error) {
	rel := cmp.Or(p.seen.published, p.seen.draft)
	for _, s := range p.Steps {
		var err error
		switch s.Action {
		case CreateDraft:
			err = w.step(ctx, rep, s, func(ctx context.Context) (err error) {
				rel, err = w.createDraft(ctx, rep)
				return err
			})
		case DeleteDraft:
			err = w.deleteDraft(ctx, rep, s)
		case AdoptDraft, Keep:
			rep.did(s)
		case CorrectDraft:
			err = w.step(ctx, rep, s, func(ctx context.Context) error {
				return w.edit(ctx, "correct the draft", rel.ID, &gh.RepositoryRelease{TargetCommitish: w.target(), Prerelease: &w.spec.Prerelease})
			})
		case SetNotes:
			err = w.step(ctx, rep, s, func(ctx context.Context) error { return w.setNotes(ctx, rel) })
		}
		if err != nil {
			return nil, err
		}
	}
	return rel, nil
}

// finish carries out the steps that follow the assets, and returns the final
// release.
func (w *work) finish(ctx context.Context, p *Plan, rep *Report, rel *Release) (*Release, error) {
	published := p.seen.published != nil
	var promote *Step
	if i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Action == Promote }); i >= 0 {
		promote = &p.Steps[i]
	}
	for _, s := range p.Steps {
		var err error
		switch {
		case s.Action == Publish:
			published = true
			err = w.step(ctx, rep, s, func(ctx context.Context) (err error) {
				rel, err = w.publish(ctx, rep, rel, s)
				return err
			})
			if err == nil && w.spec.OwnsLatest {
				err = w.settleLatest(ctx, rep, promote)
			}
		case s.Action == Promote && p.seen.published != nil: // otherwise, publishing did it
			err = w.settleLatest(ctx, rep, promote)
		case s.Action == SendEvent:
			err = w.step(ctx, rep, s, w.dispatch)
		}
		if err != nil {
			return nil, err
		}
	}
	rel.Draft = !published
	return rel, nil
}

// unlessPublished lists the releases. A published one of the tag, other than ours,
// is errConflict.
func (w *work) unlessPublished(ctx context.Context, ours *Release) ([]*Release, error) {
	all, err := w.releasesUntil(ctx, w.keep, w.other(ours))
	if err == nil && slices.ContainsFunc(all, w.other(ours)) {
		return nil, fmt.Errorf("%w: it was published", errConflict)
	}
	return all, err
}

// keep drops the texts and the assets of a release of another tag, which only matters for
// what is the latest.
func (w *work) keep(rel *Release) {
	if rel.Tag != w.spec.Tag {
		rel.Title, rel.Notes, rel.Assets = "", "", nil
	}
}

// other returns a condition for published releases of the tag, other than ours.
func (w *work) other(ours *Release) func(*Release) bool {
	return func(x *Release) bool { return x.Tag == w.spec.Tag && !x.Draft && (ours == nil || x.ID != ours.ID) }
}

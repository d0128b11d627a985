package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v84/github"
	"golang.org/x/sync/errgroup"
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

// fill deletes, replaces and uploads assets, several at once.
func (w *work) fill(ctx context.Context, p *Plan, rep *Report, rel *Release) error {
	starters := map[string]Step{}
	for _, s := range p.Steps {
		if s.Action == DeleteStarter {
			starters[s.Asset] = s
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.c.o.concurrency)
	start := func(f func() error) {
		g.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return f()
		})
	}
	for _, s := range p.Steps {
		if s.Action != Replace && s.Action != Upload {
			continue
		}
		starter, has := starters[s.Asset]
		delete(starters, s.Asset)
		start(func() error {
			if has {
				finished, err := w.dropStarter(ctx, rep, rel, starter)
				if err != nil {
					return err
				}
				if finished { // by another run
					rep.did(s)
					return nil
				}
			}
			return w.send(ctx, rep, rel, s)
		})
	}
	for _, s := range starters { // of no asset of ours
		start(func() error {
			_, err := w.dropStarter(ctx, rep, rel, s)
			return err
		})
	}
	return g.Wait()
}

// send uploads an asset, or replaces one.
func (w *work) send(ctx context.Context, rep *Report, rel *Release, s Step) error {
	return w.step(ctx, rep, s, func(ctx context.Context) error {
		if s.Action == Replace {
			if err := w.deleteAsset(ctx, s.id); err != nil {
				return err
			}
		}
		return w.upload(ctx, rel.ID, w.asset(s.Asset), s)
	})
}

func (w *work) asset(name string) Asset {
	i := slices.IndexFunc(w.spec.Assets, func(a Asset) bool { return a.Name == name })
	return w.spec.Assets[i]
}

// dropStarter deletes an unfinished asset, once it is too old to be another run's
// upload. It returns whether that run finished it instead.
func (w *work) dropStarter(ctx context.Context, rep *Report, rel *Release, s Step) (there bool, err error) {
	var young time.Duration
	for i := range rel.Assets {
		if rel.Assets[i].ID == s.id {
			young = w.tooYoung(&rel.Assets[i])
		}
	}
	if young > 0 {
		if err := w.wait(ctx, "an upload that another run may be making of "+s.Asset, young); err != nil {
			return false, err
		}
		now, err := w.assets(ctx, rel.ID)
		if err != nil {
			return false, err
		}
		if i := slices.IndexFunc(now, func(a RemoteAsset) bool { return a.Name == s.Asset }); i < 0 {
			return false, nil
		} else if now[i].whole() {
			return true, nil // verify compares it
		} else if now[i].ID != s.id {
			return false, nil // the upload sees it
		}
	}
	return false, w.step(ctx, rep, s, func(ctx context.Context) error { return w.deleteAsset(ctx, s.id) })
}

func (w *work) deleteAsset(ctx context.Context, id int64) error {
	err := w.call(ctx, op{name: "delete an asset", kind: remove}, func(ctx context.Context) error {
		_, err := w.releases().DeleteReleaseAsset(ctx, w.owner, w.name, id)
		return err
	})
	if statusOf(err) == 404 {
		return nil // gone, by an earlier try or by another run
	}
	if onImmutable(err) {
		return fmt.Errorf("%w: it was published", errConflict)
	}
	return err
}

// createDraft creates the draft, or adopts one that a lost answer or another run
// created.
func (w *work) createDraft(ctx context.Context, rep *Report) (*Release, error) {
	rel, err := w.newDraft(ctx)
	switch {
	case alreadyExists(err):
		return nil, fmt.Errorf("%w: GitHub has a release of the tag", errConflict)
	case err != nil:
		return nil, err
	case !w.made[rel.ID]:
		return rel, w.refresh(ctx, rel)
	}
	return w.firstDraft(ctx, rep, rel)
}

func (w *work) newDraft(ctx context.Context) (rel *Release, err error) {
	spec := w.spec
	body, _ := w.body()
	settle := func(ctx context.Context) (bool, error) {
		drafts, err := w.drafts(ctx)
		if err != nil || len(drafts) == 0 {
			return false, err
		}
		rel = drafts[0]
		return true, nil
	}
	err = w.call(ctx, op{name: "create the draft", kind: content, target: !w.tagged, settle: settle}, func(ctx context.Context) error {
		g, _, err := w.releases().CreateRelease(ctx, w.owner, w.name, &gh.RepositoryRelease{
			TagName: &spec.Tag, TargetCommitish: w.target(), Name: &spec.Title, Body: &body,
			Draft: gh.Ptr(true), Prerelease: &spec.Prerelease, MakeLatest: gh.Ptr("false"),
		})
		if err != nil {
			return err
		}
		rel = releaseFrom(g)
		w.made[rel.ID] = true
		return nil
	})
	return rel, err
}

// firstDraft returns the draft with the lowest id, and deletes ours if that is
// another one. A list that shows ours also shows older ones.
func (w *work) firstDraft(ctx context.Context, rep *Report, ours *Release) (*Release, error) {
	var drafts []*Release
	seen, err := w.until(ctx, w.c.o.Tries, "the list of releases to catch up", func() (_ bool, err error) {
		drafts, err = w.drafts(ctx)
		return slices.ContainsFunc(drafts, func(d *Release) bool { return d.ID == ours.ID }), err
	})
	if err != nil {
		return nil, err
	}
	if !seen || drafts[0].ID == ours.ID {
		return ours, nil // publishing looks again
	}
	if err := w.deleteDraft(ctx, rep, inVain(ours.ID)); err != nil {
		return nil, err
	}
	return drafts[0], w.refresh(ctx, drafts[0])
}

// drafts lists the drafts of the tag, lowest id first.
func (w *work) drafts(ctx context.Context) ([]*Release, error) {
	all, err := w.unlessPublished(ctx, nil)
	return draftsOf(all, w.spec.Tag, w.deleted), err
}

// unlessPublished lists the releases. A published one of the tag, other than ours,
// is errConflict.
func (w *work) unlessPublished(ctx context.Context, ours *Release) ([]*Release, error) {
	all, err := w.releasesUntil(ctx, w.other(ours))
	if err == nil && slices.ContainsFunc(all, w.other(ours)) {
		return nil, fmt.Errorf("%w: it was published", errConflict)
	}
	return all, err
}

// refresh checks that an adopted draft is as the plan expects: new and empty.
func (w *work) refresh(ctx context.Context, rel *Release) error {
	assets, err := w.assets(ctx, rel.ID)
	if err != nil {
		return err
	}
	body, _ := w.body()
	if len(assets) > 0 || normalize(rel.Notes) != body || rel.Title != w.spec.Title || w.draftDiffers(rel) != "" {
		return fmt.Errorf("%w: another run's draft %d is used", errConflict, rel.ID)
	}
	return nil
}

func inVain(id int64) Step {
	return Step{Action: DeleteDraft, Release: id, Why: "made in vain by this run"}
}

// deleteDraft deletes a draft that this run created, or an empty one.
func (w *work) deleteDraft(ctx context.Context, rep *Report, s Step) error {
	id := s.Release
	return w.step(ctx, rep, s, func(ctx context.Context) error {
		var now *gh.RepositoryRelease
		look := func(ctx context.Context) (bool, error) {
			err := w.call(ctx, op{name: "read a draft before it is deleted"}, func(ctx context.Context) (err error) {
				now, _, err = w.releases().GetRelease(ctx, w.owner, w.name, id)
				return err
			})
			switch {
			case errors.Is(err, ErrNotFound):
				return true, nil
			case err != nil:
				return false, err
			case !now.GetDraft() || len(now.Assets) > 0 && !w.made[id]:
				return false, fmt.Errorf("%w: draft %d is in use", errConflict, id)
			}
			return false, nil
		}
		gone, err := look(ctx)
		if err == nil && !gone {
			err = w.call(ctx, op{name: "delete a draft", kind: remove, settle: look}, func(ctx context.Context) error {
				_, err := w.releases().DeleteRelease(ctx, w.owner, w.name, id)
				return err
			})
			if statusOf(err) == 404 {
				err = nil
			}
		}
		if err == nil {
			w.deleted[id] = true
			delete(w.made, id)
		}
		return err
	})
}

// dropOwnDrafts deletes the drafts that this run created and did not publish.
func (w *work) dropOwnDrafts(ctx context.Context, rep *Report) error {
	for id := range w.made {
		if rep.Release != nil && rep.Release.ID == id {
			continue
		}
		if err := w.deleteDraft(ctx, rep, inVain(id)); err != nil {
			return err
		}
	}
	return nil
}

// setNotes sets the texts that an adopted draft lacks.
func (w *work) setNotes(ctx context.Context, rel *Release) error {
	body, _ := w.body()
	edit := &gh.RepositoryRelease{}
	if rel.Title == "" {
		edit.Name = &w.spec.Title
	}
	if normalize(rel.Notes) == "" {
		edit.Body = &body
	}
	return w.edit(ctx, "set the notes", rel.ID, edit)
}

func (w *work) edit(ctx context.Context, name string, id int64, edit *gh.RepositoryRelease) error {
	o := op{name: name, kind: content, fresh: true, there: true, target: edit.TargetCommitish != nil}
	err := w.call(ctx, o, func(ctx context.Context) error {
		_, _, err := w.releases().EditRelease(ctx, w.owner, w.name, id, edit)
		return err
	})
	if statusOf(err) == 404 {
		return w.gone(ctx, id, err)
	}
	return err
}

// gone explains a 404 for a change: the release is gone, or the token may not make
// the change.
func (w *work) gone(ctx context.Context, id int64, err error) error {
	there, rerr := w.confirmed(ctx, "read the release", func(ctx context.Context) error {
		_, _, err := w.releases().GetRelease(ctx, w.owner, w.name, id)
		return err
	})
	switch {
	case rerr != nil:
		return rerr
	case there:
		return fmt.Errorf("%w (release %d exists, so the token may not change it)", err, id)
	}
	return fmt.Errorf("%w: release %d is gone", errConflict, id)
}

// other returns a condition for published releases of the tag, other than ours.
func (w *work) other(ours *Release) func(*Release) bool {
	return func(x *Release) bool { return x.Tag == w.spec.Tag && !x.Draft && (ours == nil || x.ID != ours.ID) }
}

// verify compares every asset on GitHub with the spec. A missing one may only not be
// visible yet, so it retries a few times.
func (w *work) verify(ctx context.Context, rel *Release) error {
	for n := 1; ; n++ {
		got, err := w.assets(ctx, rel.ID)
		if err != nil {
			return err
		}
		lacks, err := w.check(ctx, rel, got)
		if err != nil {
			return err
		}
		if lacks == "" {
			rel.Assets = got
			return nil
		}
		if n >= min(4, w.c.o.Tries) {
			return fmt.Errorf("%w: read back without %s", errConflict, lacks)
		}
		if err := w.wait(ctx, lacks+" to appear", w.backoff(n)); err != nil {
			return err
		}
	}
}

// check returns the first missing asset, or "". A different one is an error, unless
// this run sent it to a draft: then it is deleted, to be sent again.
func (w *work) check(ctx context.Context, rel *Release, got []RemoteAsset) (lacks string, err error) {
	var changed []string
	for _, a := range w.spec.Assets {
		if w.left[a.Name] {
			continue
		}
		i := slices.IndexFunc(got, func(g RemoteAsset) bool { return g.Name == a.Name })
		if i < 0 || !got[i].whole() {
			return a.Name, nil
		}
		diff, err := w.differs(ctx, a, &got[i])
		if err != nil {
			return "", err
		}
		if diff != "" && rel.Draft && has(&w.ours, got[i].ID) {
			if err := w.deleteAsset(ctx, got[i].ID); err != nil {
				return "", err
			}
			changed = append(changed, fmt.Sprintf("asset %q was stored changed: %s", a.Name, diff))
			continue
		}
		if diff != "" {
			return "", fmt.Errorf("read back asset %q: %s", a.Name, diff)
		}
	}
	if len(changed) > 0 {
		return "", fmt.Errorf("%w: %s", errConflict, strings.Join(changed, "; "))
	}
	return "", nil
}

// publish makes the draft public. Before a retry, it reads whether that has
// happened.
func (w *work) publish(ctx context.Context, rep *Report, rel *Release, s Step) (*Release, error) {
	latest, err := w.lastLook(ctx, rep, rel, s.latest)
	if err != nil {
		return nil, err
	}
	done, err := w.makePublic(ctx, rel.ID, &gh.RepositoryRelease{
		TargetCommitish: w.target(), Prerelease: &w.spec.Prerelease, Draft: gh.Ptr(false), MakeLatest: gh.Ptr(fmt.Sprint(latest)),
	})
	if err != nil {
		return nil, err
	}
	if done.Draft || done.Tag != w.spec.Tag {
		return nil, fmt.Errorf("publish the release: GitHub answered with draft=%t, tag %q", done.Draft, done.Tag)
	}
	return done, w.readBack(ctx, done)
}

// lastLook checks, right before publishing, that nothing else changed. It returns
// whether the release becomes the latest; planned is the plan's answer.
func (w *work) lastLook(ctx context.Context, rep *Report, rel *Release, planned bool) (latest bool, err error) {
	spec := w.spec
	all, err := w.unlessPublished(ctx, rel)
	if err != nil {
		return false, err
	}
	if ds := draftsOf(all, spec.Tag, w.deleted); len(ds) > 0 && ds[0].ID < rel.ID && w.made[rel.ID] {
		if err := w.deleteDraft(ctx, rep, inVain(rel.ID)); err != nil {
			return false, err
		}
		return false, fmt.Errorf("%w: another run's draft %d goes first", errConflict, ds[0].ID)
	}
	if spec.OwnsLatest {
		now, err := w.latest(ctx, false)
		if err != nil {
			return false, err
		}
		planned = w.highest(all, now) == spec.Tag
	}
	commit, err := w.tagCommit(ctx, spec.Tag)
	if err != nil {
		return false, err
	}
	if commit != "" && commit != spec.Commit {
		return false, fmt.Errorf("%w: the tag is at %s", errConflict, short(commit))
	}
	w.tagged = commit != ""
	return planned, nil
}

// makePublic sends the edit that publishes a draft.
func (w *work) makePublic(ctx context.Context, id int64, edit *gh.RepositoryRelease) (done *Release, err error) {
	settle := func(ctx context.Context) (bool, error) {
		got, err := w.get(ctx, id)
		if err != nil || got.Draft {
			return false, err
		}
		done = got
		return true, nil
	}
	o := op{name: "publish the release", kind: content, fresh: true, there: true, target: !w.tagged, settle: settle}
	err = w.call(ctx, o, func(ctx context.Context) error {
		g, _, err := w.releases().EditRelease(ctx, w.owner, w.name, id, edit)
		if err == nil {
			done = releaseFrom(g)
		}
		return err
	})
	switch {
	case alreadyExists(err):
		// An earlier try took effect after all, or another run published it.
		var public bool
		if public, err = settle(ctx); err == nil && !public {
			err = fmt.Errorf("%w: GitHub has a release of the tag", errConflict)
		}
	case statusOf(err) == 404:
		err = w.gone(ctx, id, err)
	}
	return done, err
}

// get reads a release that may be new. A lasting 404 is errConflict.
func (w *work) get(ctx context.Context, id int64) (rel *Release, err error) {
	err = w.call(ctx, op{name: "read the release", fresh: true}, func(ctx context.Context) error {
		g, _, err := w.releases().GetRelease(ctx, w.owner, w.name, id)
		if err == nil {
			rel = releaseFrom(g)
		}
		return err
	})
	if statusOf(err) == 404 {
		err = fmt.Errorf("%w: release %d is gone", errConflict, id)
	}
	return rel, err
}

// readBack reads the published release as everybody does, and compares it.
func (w *work) readBack(ctx context.Context, rel *Release) error {
	tag, want := w.spec.Tag, w.spec.Commit
	seen, err := w.until(ctx, w.c.o.Tries, "the release to be seen", func() (bool, error) {
		got, err := w.byTag(ctx, tag, false)
		if err == nil && got != nil && got.ID != rel.ID {
			err = fmt.Errorf("%w: the tag has release %d, not %d", errConflict, got.ID, rel.ID)
		}
		return got != nil, err
	})
	if err != nil {
		return err
	}
	if !seen {
		return fmt.Errorf("read the published release: tag %q still has none", tag)
	}
	if err := w.verify(ctx, rel); err != nil {
		return err
	}
	seen, err = w.until(ctx, w.c.o.Tries, "the tag to be seen", func() (bool, error) {
		commit, err := w.tagCommit(ctx, tag)
		if err == nil && commit != "" && commit != want {
			err = fmt.Errorf("read back the tag %q: it is at %s, not at %s", tag, short(commit), short(want))
		}
		return commit != "", err
	})
	if err == nil && !seen {
		err = fmt.Errorf("read back the tag %q: it is not there", tag)
	}
	return err
}

// settleLatest promotes the highest stable release if it isn't the latest, until
// GitHub shows it. planned is the plan's step for that, or nil.
func (w *work) settleLatest(ctx context.Context, rep *Report, planned *Step) error {
	pushed := ""
	for n := 1; ; n++ {
		all, err := w.allReleases(ctx)
		if err != nil {
			return err
		}
		now, err := w.latest(ctx, pushed != "")
		if err != nil {
			return err
		}
		best := w.highest(all, now)
		if best == "" || tagOf(now) == best {
			return nil
		}
		if n > w.c.o.Tries {
			return fmt.Errorf("promote %s: GitHub still shows %q as the latest", best, tagOf(now))
		}
		if pushed == best { // it may not be seen yet
			if err := w.wait(ctx, best+" to become the latest", w.backoff(n)); err != nil {
				return err
			}
			if n < 3 {
				continue
			}
		}
		s := promotion(best, tagOf(now))
		if planned != nil && planned.Tag == best {
			s = *planned
		}
		if err := w.promote(ctx, rep, all, s); err != nil {
			return err
		}
		pushed = best
	}
}

// promote makes the release of the step's tag the latest.
func (w *work) promote(ctx context.Context, rep *Report, all []*Release, s Step) error {
	var rel *Release
	var err error
	if i := slices.IndexFunc(all, func(r *Release) bool { return r.Tag == s.Tag && !r.Draft }); i >= 0 {
		rel = all[i]
	} else if rel, err = w.byTag(ctx, s.Tag, true); err != nil {
		return err
	}
	if rel == nil {
		return fmt.Errorf("promote %s: it has no release", s.Tag)
	}
	return w.step(ctx, rep, s, func(ctx context.Context) error {
		return w.edit(ctx, "promote "+s.Tag, rel.ID, &gh.RepositoryRelease{MakeLatest: gh.Ptr("true")})
	})
}

// dispatch sends the event.
func (w *work) dispatch(ctx context.Context) error {
	payload, err := w.spec.Dispatch.payload()
	if err != nil {
		return err
	}
	return w.call(ctx, op{name: "dispatch the event", kind: content}, func(ctx context.Context) error {
		_, _, err := w.c.api.Repositories.Dispatch(ctx, w.owner, w.name, gh.DispatchRequestOptions{
			EventType: w.spec.Dispatch.EventType, ClientPayload: &payload,
		})
		return err
	})
}

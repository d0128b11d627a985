package github

import (
	"context"
	"fmt"
	"slices"

	gh "github.com/google/go-github/v84/github"
)

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
		all, err := w.allReleases(ctx, w.keep)
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

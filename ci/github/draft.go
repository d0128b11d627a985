package github

import (
	"context"
	"errors"
	"fmt"
	"slices"

	gh "github.com/google/go-github/v84/github"
)

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

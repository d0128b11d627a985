package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// remote is the state that was read.
type remote struct {
	tagCommit string     // "" if there is no tag
	published *Release   // of the tag, with its assets
	drafts    []*Release // of the tag, lowest id first
	draft     *Release   // the draft to continue, with its assets
	spare     []*Release // superfluous empty drafts
	all       []*Release
	latest    *Release
}

// work is a release in progress.
type work struct {
	*repo
	spec    *Spec
	made    map[int64]bool // drafts that this run created
	deleted map[int64]bool // drafts that this run deleted
	known   sync.Map       // assets whose content this run has compared
	ours    sync.Map       // assets that this run sent
	// equivalent has the digests of assets that differ and serve as well, by id
	equivalent sync.Map
	left       map[string]bool // assets of the published release that stay different
	tagged     bool            // the tag was at the commit when it was last read
}

// has reports whether a set has the id of an asset.
func has(set *sync.Map, id int64) bool {
	_, ok := set.Load(id)
	return ok
}

// body returns the notes to send, and whether they were shortened.
func (w *work) body() (text string, cut bool) { return w.spec.body(w.c.web.String()) }

// target returns the commit to name to GitHub: none if the tag exists. GitHub would
// ignore the commit, and still refuse one that changes workflows if the token may
// not.
func (w *work) target() *string {
	if w.tagged {
		return nil
	}
	return &w.spec.Commit
}

// Plan reads the state on GitHub and plans the release. It writes nothing.
func (c *Client) Plan(ctx context.Context, spec Spec) (*Plan, error) {
	ctx, r := c.on(ctx, spec.Owner, spec.Repo)
	w := &work{repo: r, spec: &spec}
	p, err := w.plan(ctx)
	return p, c.redactErr(err)
}

// plan checks, reads and compares, again while another run changes what is read.
// Problems go into the plan; an error means that something could not be read.
func (w *work) plan(ctx context.Context) (*Plan, error) {
	for n := 1; ; n++ {
		p, err := w.planOnce(ctx)
		if !errors.Is(err, errConflict) || n == rounds || ctx.Err() != nil {
			return p, err
		}
		if err := w.wait(ctx, "the other run", w.backoff(n)); err != nil {
			return nil, err
		}
	}
}

func (w *work) planOnce(ctx context.Context) (*Plan, error) {
	spec := w.spec
	p := &Plan{Repository: spec.Owner + "/" + spec.Repo, Tag: spec.Tag, Commit: spec.Commit, State: StateNone}
	p.Problems = spec.check()
	readable, err := w.access(ctx, p)
	if err != nil {
		return nil, err
	}
	if !readable || spec.Tag == "" {
		return p, nil // nothing else can be read
	}
	if p.seen, err = w.look(ctx); err != nil {
		return nil, err
	}
	if err := w.compare(ctx, p); err != nil {
		return nil, err
	}
	if len(p.Problems) > 0 {
		p.Steps = nil
	}
	return p, nil
}

// look reads everything that matters for the release.
func (w *work) look(ctx context.Context) (*remote, error) {
	spec := w.spec
	r := &remote{}
	var err error
	if r.tagCommit, err = w.tagCommit(ctx, spec.Tag); err != nil {
		return nil, err
	}
	w.tagged = r.tagCommit == spec.Commit
	if r.published, err = w.byTag(ctx, spec.Tag, false); err != nil {
		return nil, err
	}
	// Another run may be about to delete its superfluous draft.
	_, err = w.until(ctx, 4, "one of several drafts to go", func() (bool, error) {
		if r.all, err = w.allReleases(ctx, w.keep); err != nil {
			return false, err
		}
		r.drafts = draftsOf(r.all, spec.Tag, w.deleted)
		if i := slices.IndexFunc(r.all, w.other(nil)); i >= 0 && r.published == nil {
			r.published = r.all[i] // the list may be newer than the look-up by tag
		}
		return r.published != nil || len(r.drafts) < 2, nil
	})
	if err != nil {
		return nil, err
	}
	if spec.OwnsLatest {
		some := slices.ContainsFunc(r.all, func(x *Release) bool { return !x.Draft && !x.Prerelease })
		if r.latest, err = w.latest(ctx, some); err != nil {
			return nil, err
		}
	}
	switch {
	case r.published != nil:
		r.published.Assets, err = w.assets(ctx, r.published.ID)
	case len(r.drafts) > 0 && w.made[r.drafts[0].ID]:
		r.draft = r.drafts[0]
		r.draft.Assets, err = w.assets(ctx, r.draft.ID)
	default:
		err = w.choose(ctx, r)
	}
	return r, err
}

// choose picks the draft to continue, unless there are several that hold more than
// what a run leaves that ends right after it creates one.
func (w *work) choose(ctx context.Context, r *remote) error {
	body, _ := w.body()
	var kept, spare []*Release
	for _, d := range r.drafts {
		var err error
		if d.Assets, err = w.assets(ctx, d.ID); err != nil {
			return err
		}
		if len(d.Assets) == 0 && d.Title == w.spec.Title && normalize(d.Notes) == body && w.draftDiffers(d) == "" {
			spare = append(spare, d)
		} else {
			kept = append(kept, d)
		}
	}
	if len(kept) == 0 && len(spare) > 0 {
		kept, spare = spare[:1], spare[1:]
	}
	if len(kept) == 1 {
		r.draft, r.spare = kept[0], spare
	}
	return nil
}

func draftsOf(all []*Release, tag string, without map[int64]bool) []*Release {
	ds := slices.DeleteFunc(slices.Clone(all), func(x *Release) bool { return !x.Draft || x.Tag != tag || without[x.ID] })
	slices.SortFunc(ds, func(a, b *Release) int { return int(a.ID - b.ID) })
	return ds
}

// Preflight checks everything that can be known before the assets are built: the
// token, the repository, the tag, the names and the state on GitHub. The spec's
// assets may have names only.
func (c *Client) Preflight(ctx context.Context, spec Spec) (*Plan, error) {
	assets := slices.Clone(spec.Assets)
	for i := range assets {
		assets[i].Open = nil
	}
	spec.Assets = assets
	p, err := c.Plan(ctx, spec)
	if err == nil && len(p.Problems) > 0 {
		err = &problemsError{Tag: spec.Tag, Problems: p.Problems}
	}
	return p, err
}

// Content returns the content of a complete asset that the release or draft had when it
// was planned; nil if there is none, if it was deleted since, or if it is too large for
// [Asset.Equivalent].
func (c *Client) Content(ctx context.Context, spec Spec, p *Plan, name string) ([]byte, error) {
	rel := cmp.Or(p.seen.published, p.seen.draft)
	if rel == nil {
		return nil, nil
	}
	a := find(rel.Assets, name)
	if a == nil || !a.whole() || a.Size > maxEquivalent {
		return nil, nil
	}
	ctx, r := c.on(ctx, spec.Owner, spec.Repo)
	text, err := r.content(ctx, a)
	if isGone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, c.redactErr(fmt.Errorf("read %q: %w", name, err))
	}
	return text, nil
}

// tooYoung returns for how long an unfinished asset may still be another run's
// upload.
func (w *work) tooYoung(a *RemoteAsset) time.Duration {
	return min(w.c.o.starterGrace-w.now().Sub(a.CreatedAt), w.c.o.starterGrace)
}

package github

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

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
		i := slices.IndexFunc(w.spec.Assets, func(a Asset) bool { return a.Name == s.Asset })
		return w.upload(ctx, rel.ID, w.spec.Assets[i], s)
	})
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
		switch got := find(now, s.Asset); {
		case got == nil:
			return false, nil
		case got.whole():
			return true, nil // verify compares it
		case got.ID != s.id:
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
		there := find(got, a.Name)
		if there == nil || !there.whole() {
			return a.Name, nil
		}
		diff, err := w.differs(ctx, a, there)
		if err != nil {
			return "", err
		}
		if diff != "" && rel.Draft && has(&w.ours, there.ID) {
			if err := w.deleteAsset(ctx, there.ID); err != nil {
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

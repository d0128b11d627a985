package github

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"

	gh "github.com/google/go-github/v84/github"

	"dagger/gantry/ci/wire"
)

// upload sends an asset until GitHub has it, complete and equal. After each failure,
// it reads what GitHub has before it sends anything again.
func (w *work) upload(ctx context.Context, release int64, a Asset, s Step) error {
	o := op{name: fmt.Sprintf("upload %q", a.Name), kind: content, unbounded: true, fresh: true}
	for n := 1; ; n++ {
		got, err := w.sendOnce(ctx, o, release, a, s)
		if err == nil {
			var diff string
			if diff, err = w.accepted(a, got); err == nil && diff == "" {
				// Without a digest in the answer, the asset is downloaded and
				// compared before the release is published.
				w.ours.Store(got.ID, true)
				if got.SHA256 != "" {
					w.known.Store(got.ID, true)
				}
				return nil
			}
			if derr := w.deleteAsset(ctx, got.ID); derr != nil {
				return derr
			}
			if err != nil {
				return err
			}
			err = fmt.Errorf("upload %q: it arrived changed: %s", a.Name, diff)
		}
		if onImmutable(err) {
			return fmt.Errorf("%w: it was published", errConflict)
		}
		there := alreadyExists(err)
		wait, again := w.verdict(ctx, o, n, err)
		if !again && !there {
			return w.explain(o, err)
		}
		if n >= w.c.o.Tries && statusOf(err) == http.StatusNotFound {
			return fmt.Errorf("%w: release %d is gone", errConflict, release)
		}
		if there && n > 1 {
			wait = w.backoff(n)
		}
		if err := w.retry(ctx, o, n, err, wait); err != nil {
			return err
		}
		done, err := w.settle(ctx, release, a, there)
		if done || err != nil {
			return err
		}
	}
}

// settle reads what a failed upload left. It returns true if the asset is right, and
// clears the way if it isn't.
func (w *work) settle(ctx context.Context, release int64, a Asset, exists bool) (bool, error) {
	for {
		now, err := w.assets(ctx, release)
		if err != nil {
			return false, err
		}
		got := find(now, a.Name)
		if got == nil {
			return false, nil
		}
		if got.whole() {
			diff, err := w.differs(ctx, a, got)
			if err != nil {
				return false, err
			}
			if diff == "" {
				return true, nil
			}
			if w.spec.Existing != ExistingReplace {
				return false, fmt.Errorf("upload %q: the release now has a different one: %s", a.Name, diff)
			}
		} else if young := w.tooYoung(got); exists && young > 0 {
			// GitHub refused ours because of this one, which another run may be
			// sending.
			if err := w.wait(ctx, "an upload that another run may be making of "+a.Name, young); err != nil {
				return false, err
			}
			exists = false
			continue
		}
		return false, w.deleteAsset(ctx, got.ID)
	}
}

// accepted compares GitHub's answer to an upload with what was sent. It fails if
// sending again would not help.
func (w *work) accepted(a Asset, got RemoteAsset) (diff string, err error) {
	switch {
	case got.Name != a.Name:
		return "", fmt.Errorf("upload %q: GitHub renamed it to %q; choose a plainer name", a.Name, got.Name)
	case !got.whole():
		return fmt.Sprintf("its state is %q", got.State), nil
	}
	return a.diff(got), nil
}

// sendOnce makes one try.
func (w *work) sendOnce(ctx context.Context, o op, release int64, a Asset, s Step) (RemoteAsset, error) {
	var got RemoteAsset
	err := w.once(ctx, o, func(ctx context.Context) error {
		ctx, stall := wire.NewStall(ctx, w.c.o.stallTimeout)
		defer stall.End()
		var last *body
		open := func() (io.ReadCloser, error) {
			if a.Open == nil {
				return nil, &permanent{fmt.Errorf("%q was there when this run looked for it, and is gone: run it again to make a new one", a.Name)}
			}
			r, err := a.Open()
			if err != nil {
				return nil, &permanent{fmt.Errorf("open %q: %w", a.Name, err)}
			}
			last = &body{r: r, a: &a, sum: sha256.New(), moved: func(n, total int64) {
				stall.Moved()
				w.mu.Lock()
				w.counts.BytesSent += n
				w.mu.Unlock()
				w.c.o.Observer.StepProgress(ctx, s, total)
			}}
			return last, nil
		}
		first, err := open()
		if err != nil {
			return err
		}
		u := fmt.Sprintf("repos/%s/%s/releases/%d/assets?name=%s", w.owner, w.name, release, url.QueryEscape(a.Name))
		req, err := w.c.api.NewUploadRequest(u, first, a.Size, cmp.Or(a.ContentType, "application/octet-stream"))
		if err != nil {
			_ = first.Close()
			return &permanent{err}
		}
		req.GetBody = open
		g := new(gh.ReleaseAsset)
		_, err = w.c.api.Do(ctx, req, g)
		if err == nil {
			got = assetFrom(g)
		} else if bad := last.bad.Load(); bad != nil {
			return bad
		}
		return stall.Explain(err)
	})
	return got, err
}

// body reads an asset for sending, and checks that it is the one that was planned.
type body struct {
	r     io.ReadCloser
	a     *Asset
	n     int64
	sum   hash.Hash
	moved func(n, total int64)
	// closed is set once the transport has dropped the body. Under HTTP/2 it may do
	// so during a read, whose error then is not the asset's.
	closed atomic.Bool
	bad    atomic.Pointer[permanent]
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.sum.Write(p[:n])
	if n > 0 {
		b.moved(int64(n), b.n)
	}
	changed := b.n > b.a.Size
	if b.n == b.a.Size && n > 0 || err == io.EOF {
		changed = changed || b.n != b.a.Size || hex.EncodeToString(b.sum.Sum(nil)) != b.a.SHA256
	}
	switch {
	case changed:
		return 0, b.fail(fmt.Errorf("read %q: it changed since it was planned", b.a.Name))
	case err != nil && err != io.EOF && !b.closed.Load():
		return 0, b.fail(fmt.Errorf("read %q: %w", b.a.Name, err))
	}
	return n, err
}

func (b *body) fail(err error) error {
	bad := &permanent{err}
	b.bad.Store(bad)
	return bad
}

func (b *body) Close() error {
	b.closed.Store(true)
	return b.r.Close()
}

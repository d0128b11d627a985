package oci_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
)

// during runs something in the middle of the requests that match, in their
// order: before each is carried out.
func (p *peer) during(match func(*http.Request) bool, steps ...func()) {
	n := 0
	p.set(func(_ int, _ http.ResponseWriter, r *http.Request) bool {
		if n >= len(steps) || !match(r) {
			return false
		}
		step := steps[n]
		n++
		p.mu.Lock()
		spoil := p.spoil
		p.spoil = nil
		p.mu.Unlock()
		step()
		p.mu.Lock()
		p.spoil = spoil
		p.mu.Unlock()
		return false
	})
}

func puts(tag string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/"+tag)
	}
}

// The repair of a floating tag is a write like any other: while one run gives the
// tag to the second, a third publishes. The tag ends with the highest.
func TestRepairsAreLookedAtAgain(t *testing.T) {
	for _, tag := range []string{"1", "latest"} {
		p := newPeer(t)
		publish := func(v string) func() {
			return func() { assert.NoError(t, publishTiny(t, p.repository(t, fast), v)) }
		}
		p.during(puts(tag), publish("1.1.0"), publish("1.2.0"), publish("1.3.0"))
		require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.0"))
		assert.Equal(t, must(tiny(t, "1.3.0").Digest()).String(), p.tags(t)[tag], tag)
	}
}

// Tags that never come to rest end with an error.
func TestRepairsAreBounded(t *testing.T) {
	p := newPeer(t)
	next := 1
	var steps []func()
	for range 30 {
		steps = append(steps, func() {
			assert.NoError(t, publishTiny(t, p.repository(t, fast), fmt.Sprintf("1.%d.0", next)))
			next++
		})
	}
	p.during(puts("latest"), steps...)
	require.ErrorContains(t, publishTiny(t, p.repository(t, fast), "1.0.0"), "run it again after them")
	assert.Less(t, next, 15)
}

// Publications of several versions at once, at the mercy of a slow registry.
func TestPublicationsAtOnce(t *testing.T) {
	all := []string{"1.0.0", "1.1.0", "1.2.0", "2.0.0"}
	for round := range 12 {
		p := newPeer(t)
		random := rand.New(rand.NewPCG(uint64(round), 1))
		var mu sync.Mutex
		p.set(func(_ int, _ http.ResponseWriter, _ *http.Request) bool {
			mu.Lock()
			d := time.Duration(random.IntN(3)) * time.Millisecond
			mu.Unlock()
			time.Sleep(d)
			return false
		})
		errs := make([]error, len(all))
		var wg sync.WaitGroup
		for i, v := range all {
			wg.Go(func() { errs[i] = publishTiny(t, p.repository(t, fast), v) })
		}
		wg.Wait()
		p.set(nil)
		require.NoError(t, errors.Join(errs...))
		tags := p.tags(t)
		for tag, v := range map[string]string{"latest": "2.0.0", "2": "2.0.0", "1": "1.2.0", "1.0": "1.0.0"} {
			require.Equal(t, must(tiny(t, v).Digest()).String(), tags[tag], "%s, round %d", tag, round)
		}
	}
}

// other is another image of a version.
func other(t testing.TB, number string) v1.ImageIndex {
	return mutate.Annotations(tiny(t, number), map[string]string{"org.example": "another"}).(v1.ImageIndex)
}

// Two runs publish different images of one version, and the second does so at
// the worst moment of the first, whichever that is: one of them says so, and when
// the one whose image has the version's tag runs again, all tags name it.
func TestTwoImagesOfOneVersion(t *testing.T) {
	publish := func(p *peer, index v1.ImageIndex) error {
		_, err := oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("1.2.3")), Index: index}, p.repository(t, fast))
		return err
	}
	alone := newPeer(t)
	require.NoError(t, publish(alone, tiny(t, "1.2.3")))
	total, overwritten := alone.count(), 0
	for n := 1; n <= total; n++ {
		p := newPeer(t)
		var second error
		i := 0
		p.during(func(*http.Request) bool { i++; return i == n }, func() { second = publish(p, other(t, "1.2.3")) })
		first := publish(p, tiny(t, "1.2.3"))
		p.set(nil)
		at := fmt.Sprintf("request %d of %d: %v; %v", n, total, first, second)
		var conflict *oci.ConflictError
		require.True(t, errors.As(first, &conflict) || errors.As(second, &conflict), at)
		if second == nil && p.tags(t)["1.2.3"] == must(tiny(t, "1.2.3").Digest()).String() {
			overwritten++
			assert.ErrorContains(t, first, "another run published it in the meantime", at)
		}
		owner := tiny(t, "1.2.3")
		if p.tags(t)["1.2.3"] != must(owner.Digest()).String() {
			owner = other(t, "1.2.3")
		}
		require.NoError(t, publish(p, owner), at)
		for tag, digest := range p.tags(t) {
			require.Equal(t, must(owner.Digest()).String(), digest, "tag %s, %s", tag, at)
		}
	}
	assert.Equal(t, 1, overwritten, "only between the last look and the write, where no registry helps")
}

// What another run wrote since the plan was made is not overwritten, also not by
// a write that is tried again.
func TestExactTagIsLookedAtBeforeEachWrite(t *testing.T) {
	foreign := must(other(t, "1.2.3").Digest()).String()
	run := func(p *peer) {
		_, err := oci.Publish(context.Background(), oci.Publication{Version: must(versionOf("1.2.3")), Index: other(t, "1.2.3")}, p.repository(t, fast))
		assert.NoError(t, err)
	}
	t.Run("after the smoke test", func(t *testing.T) {
		p := newPeer(t)
		_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3"), Smoke: func(context.Context) error {
			run(p)
			return nil
		}}, p.repository(t, fast))
		require.ErrorAs(t, err, new(*oci.ConflictError))
		for tag, digest := range p.tags(t) {
			assert.Equal(t, foreign, digest, tag)
		}
	})
	for _, code := range []int{http.StatusInternalServerError, http.StatusTooManyRequests} {
		t.Run(fmt.Sprint("after a try that met a ", code), func(t *testing.T) {
			p := newPeer(t)
			done := false
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if done || !puts("1.2.3")(r) {
					return false
				}
				done = true
				p.mu.Lock()
				p.spoil = nil
				p.mu.Unlock()
				run(p)
				w.WriteHeader(code)
				return true
			})
			_, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3")}, p.repository(t, fast))
			require.ErrorAs(t, err, new(*oci.ConflictError))
			for tag, digest := range p.tags(t) {
				assert.Equal(t, foreign, digest, tag)
			}
		})
	}
}

// Whoever loses the version's tag while the floating tags are written says so.
func TestExactTagIsLookedAtInTheEnd(t *testing.T) {
	for name, meanwhile := range map[string]func(*peer) error{
		"overwritten": func(p *peer) error { return put(p, "1.2.3", "foreign") },
		"deleted":     func(p *peer) error { return drop(p, "1.2.3") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t)
			p.during(puts("latest"), func() { assert.NoError(t, meanwhile(p)) })
			err := publishTiny(t, p.repository(t, fast), "1.2.3")
			if name == "overwritten" {
				require.ErrorAs(t, err, new(*oci.ConflictError))
				return
			}
			require.ErrorContains(t, err, "it was deleted in the meantime: run it again")
		})
	}
}

// What a run repaired is in its report.
func TestRepairIsReported(t *testing.T) {
	p := newPeer(t)
	p.during(puts("latest"), func() { assert.NoError(t, publishTiny(t, p.repository(t, fast), "1.1.0")) })
	report, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.0.0")), Index: tiny(t, "1.0.0")}, p.repository(t, fast))
	require.NoError(t, err)
	var repairs []oci.Step
	for _, s := range report.Repositories[0].Done {
		if s.Action == oci.ActionMove && s.From != "" {
			repairs = append(repairs, s)
		}
	}
	assert.Equal(t, []oci.Step{{Action: oci.ActionMove, Ref: "latest", From: "1.0.0", Why: "version 1.1.0 was published in the meantime"}}, repairs)
	assert.Equal(t, must(tiny(t, "1.1.0").Digest()).String(), p.tags(t)["latest"])
}

// A tag that was written although the registry's only answer was a failure is
// written by this run.
func TestFailureThatWroteTheTag(t *testing.T) {
	p := newPeer(t)
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !puts("1.2.3")(r) {
			return false
		}
		p.inner.ServeHTTP(httptest.NewRecorder(), r)
		w.WriteHeader(http.StatusInternalServerError)
		return true
	})
	o := fast
	o.Tries = 1
	report, err := oci.Publish(t.Context(), oci.Publication{Version: must(versionOf("1.2.3")), Index: tiny(t, "1.2.3")}, p.repository(t, o))
	require.NoError(t, err)
	assert.Contains(t, report.Text(), "done: tag 1.2.3")
	assert.NotContains(t, report.Text(), "another run did it")
}

// Where no floating tag was moved, none is looked at again.
func TestNothingMovedIsNotReadBack(t *testing.T) {
	p := newPeer(t)
	require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.1"))
	p.set(nil)
	require.NoError(t, publishTiny(t, p.repository(t, fast), "1.0.0"))
	lists := 0
	for _, r := range p.requests {
		if strings.HasSuffix(r, "/tags/list") {
			lists++
		}
	}
	assert.Equal(t, 1, lists)
	assert.Equal(t, must(tiny(t, "1.0.1").Digest()).String(), p.tags(t)["1.0"])
}

// A registry that lost an image and takes it no more is told from one that took
// it and doesn't serve it.
func TestLostImageThatIsRefused(t *testing.T) {
	p := newPeer(t)
	require.NoError(t, publishTiny(t, p.repository(t, fast), "1.2.3"))
	image := must(tiny(t, "1.2.3").IndexManifest()).Manifests[0].Digest.String()
	require.NoError(t, drop(p, image))
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, image) {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"the quota is used up"}]}`)
		return true
	})
	err := publishTiny(t, p.repository(t, fast), "1.2.3")
	require.ErrorContains(t, err, "the quota is used up")
	assert.False(t, isNotFound(err), err)
}

// Why a comparison was cut short is in its error.
func TestVerificationThatIsCutShort(t *testing.T) {
	p := newPeer(t)
	image := newRelease(t, "1.2.3", both...).assemble()
	_, err := oci.Publish(t.Context(), publication(image, "1.2.3"), p.repository(t, fast))
	require.NoError(t, err)
	stopped := errors.New("the run was stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	o := fast
	o.Sleep = func(ctx context.Context, _ time.Duration) error {
		cancel(stopped)
		return ctx.Err() // which doesn't say why
	}
	_, err = oci.VerifyImage(ctx, newRelease(t, "1.2.3", both...).load().Manifest, p.repository(t, o), oci.VerifyOptions{})
	require.ErrorIs(t, err, stopped)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, `verify "1.2.3" of`)
}

// An image whose settings were replaced says so.
func TestOverrideIsAnnotated(t *testing.T) {
	loaded := newRelease(t, "1.2.3", both...).load()
	annotations := func(override string) map[string]string {
		loaded.Override = override
		return must(assembled(t, loaded, oci.AssembleOptions{}).Index.IndexManifest()).Annotations
	}
	assert.Equal(t, `{"user":"1:1"}`, annotations(`{"user":"1:1"}`)["dev.gantry.image.override"])
	assert.NotContains(t, annotations(""), "dev.gantry.image.override")
}

package github

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// jittery delays every call by up to a second, differently in every schedule.
func jittery(seed uint64) func(fakehub.Call) time.Duration {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	return func(fakehub.Call) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(r.IntN(1000)) * time.Millisecond
	}
}

// Two runs at the same moment on one tag, in many interleavings, with lists
// that are up to date and that lag: one release, no draft left, every asset
// there, and both runs succeed.
func TestTwoRunsAtOnce(t *testing.T) {
	_, want := clean(t)
	const schedules = 150
	drafts, anew, extraBytes := 0, 0, 0.0
	for _, delay := range []time.Duration{0, 300 * time.Millisecond, 5 * time.Second} {
		for seed := range uint64(schedules) {
			name := fmt.Sprintf("lists %s behind, schedule %d", delay, seed)
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{Latency: jittery(seed), ListDelay: delay})
				head := time.Duration(seed%8) * 700 * time.Millisecond
				var reps [2]*Report
				var errs [2]error
				var wg sync.WaitGroup
				for i := range reps {
					wg.Go(func() {
						time.Sleep(head * time.Duration(i))
						r := rand.New(rand.NewPCG(seed, uint64(i)))
						var mu sync.Mutex
						c := w.client(func(o *Options) {
							o.rand = func() float64 { mu.Lock(); defer mu.Unlock(); return r.Float64() }
						})
						reps[i], errs[i] = c.Release(t.Context(), spec)
					})
				}
				wg.Wait()
				for i := range errs {
					require.NoError(t, errs[i], "%s, run %d", name, i)
					if len(reps[i].Notes) > 0 {
						anew++
					}
				}
				time.Sleep(time.Minute)
				require.Equal(t, want, strip(w.hub.Dump()), name)
				w.neverIncomplete(spec)
				made := 0
				for _, e := range w.hub.Events() {
					if e.Kind == "create" {
						made++
					}
				}
				if made > 1 {
					drafts++
				}
				total := int64(0)
				for _, a := range spec.Assets {
					total += a.Size
				}
				extraBytes += float64(reps[0].BytesSent+reps[1].BytesSent-total) / float64(total)
			})
		}
	}
	t.Logf("%d interleavings of two runs: one release each; in %d both made a draft and one took its own back; %d runs planned again; %.0f%% of the bytes sent twice",
		3*schedules, drafts, anew, extraBytes/(3*schedules)*100)
}

// Two versions released at the same moment: the higher one is the latest.
func TestTwoVersionsAtOnce(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{Latency: jittery(seed)})
			tags := []string{"v1.0.1", "v1.1.0", "v2.0.0-rc.1"}
			var wg sync.WaitGroup
			errs := make([]error, len(tags))
			for i, tag := range tags {
				w.repo.Tag(tag, w.commit)
				wg.Go(func() { _, errs[i] = w.client().Release(t.Context(), w.spec(tag)) })
			}
			wg.Wait()
			for i := range errs {
				require.NoError(t, errs[i])
			}
			require.Equal(t, "v1.1.0", w.repo.Latest(), "schedule %d", seed)
		})
	}
}

// slow reads a little at a time.
type slow struct {
	io.Reader
	every time.Duration
}

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(s.every)
	return s.Reader.Read(p[:min(len(p), 100)])
}

// A second run comes while the first is in the middle of a long upload: it
// takes the unfinished asset for one left behind, and neither loses.
func TestSecondRunDuringLongUpload(t *testing.T) {
	for _, every := range []time.Duration{200 * time.Millisecond, time.Second, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			w.repo.Tag("v1.0.0", w.commit)
			spec := w.spec("v1.0.0")
			long := w.spec("v1.0.0")
			for i := range long.Assets {
				open := long.Assets[i].Open
				long.Assets[i].Open = func() (io.ReadCloser, error) {
					r, err := open()
					return io.NopCloser(slow{r, every}), err
				}
			}
			var errs [2]error
			var reps [2]*Report
			var wg sync.WaitGroup
			wg.Go(func() { reps[0], errs[0] = w.client().Release(t.Context(), long) })
			time.Sleep(every * 3)
			wg.Go(func() { reps[1], errs[1] = w.client().Release(t.Context(), spec) })
			wg.Wait()
			time.Sleep(time.Minute) // the transport reads on for the end of the body
			require.NoError(t, errs[0])
			require.NoError(t, errs[1])
			require.Len(t, onlyRelease(w, "v1.0.0"), 1)
			w.neverIncomplete(spec)
			if every < time.Second { // it is worth waiting for
				require.Zero(t, reps[1].BytesSent)
				require.Equal(t, int64(5200), reps[0].BytesSent)
			}
			t.Logf("a read every %s: the first run sent %d bytes, the second %d", every, reps[0].BytesSent, reps[1].BytesSent)
		})
	}
}

// Were GitHub not to refuse a second release of a tag, the runs' own care
// would still make it one, as long as lists show a draft before a run is done.
func TestTwoRunsWithoutGitHubsHelp(t *testing.T) {
	for _, delay := range []time.Duration{0, 2 * time.Second} {
		twice := 0
		const schedules = 100
		for seed := range uint64(schedules) {
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{Latency: jittery(seed), ListDelay: delay, DuplicateTags: true})
				var errs [2]error
				var wg sync.WaitGroup
				for i := range errs {
					wg.Go(func() { _, errs[i] = w.client().Release(t.Context(), spec) })
				}
				wg.Wait()
				require.NoError(t, errors.Join(errs[:]...))
				w.neverIncomplete(spec)
				time.Sleep(time.Minute)
				if len(onlyRelease(w, "v1.2.0")) > 1 {
					twice++
				}
			})
		}
		require.Zero(t, twice, "lists %s behind", delay)
		t.Logf("lists %s behind, duplicates not refused: %d interleavings, %d with two releases", delay, schedules, twice)
	}
}

// A limit that one call meets holds all of them back.
func TestLimitHoldsEverythingBack(t *testing.T) {
	for _, kind := range []fakehub.FaultKind{fakehub.Secondary, fakehub.TooMany, fakehub.Primary} {
		synctest.Test(t, func(t *testing.T) {
			var quietFrom time.Time
			early := 0
			w := newWorld(t, fakehub.Config{Latency: func(fakehub.Call) time.Duration {
				if since := time.Since(quietFrom); !quietFrom.IsZero() && since > time.Second && since < 30*time.Second {
					early++
				}
				return 300 * time.Millisecond
			}})
			spec := w.spec("v1.0.0")
			for i := range 20 {
				spec.Assets = append(spec.Assets, file(fmt.Sprint("asset-", i), []byte("x")))
			}
			w.hub.Arm(fakehub.Fault{Kind: kind, N: 5, RetryAfter: 30 * time.Second,
				Match: func(c fakehub.Call) bool { return c.Op == "upload asset" },
				Do:    func(fakehub.Call) { quietFrom = time.Now() }})
			_, err := w.client().Release(t.Context(), spec)
			require.NoError(t, err)
			require.Zero(t, early, "%s: calls within what the limit said to wait", kind)
		})
	}
}

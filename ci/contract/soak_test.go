package contract

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	soakMinutes = flag.Float64("soak.minutes", 0, "how long TestSoak plays; by default, a few seeds")
	soakFrom    = flag.Uint64("soak.seed", 0, "the only seed of TestSoak, or with -soak.minutes its first one")
	soakSteps   = flag.Int("soak.steps", 30, "how many steps a seed has")
	soakStop    = flag.Bool("soak.stop", false, "end TestSoak when an invariant is broken")
)

// soakFiles are the files of a release as [published.Assets].
type soakFiles map[string][]byte

func (f soakFiles) Open(_ context.Context, name string) (io.ReadCloser, int64, error) {
	content, ok := f[name]
	if !ok {
		return nil, 0, fmt.Errorf("no file %q", name)
	}
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
}

// playSeed plays a seed in a virtual time.
func playSeed(t *testing.T, seed uint64) (s *soak) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		s, err = newSoak(seed, t.TempDir())
		require.NoError(t, err)
		defer s.close()
		if err := s.play(context.Background(), *soakSteps); err != nil {
			s.breaks("the simulation", "%v", err)
		}
	})
	return s
}

// TestSoak plays random projects, faults and interleavings over both phases. After
// each step, everything that must always hold is checked. A seed that breaks
// something is printed with its steps; it plays the same again:
//
//	scripts/soak --minutes 30
//	scripts/soak --seed SEED
func TestSoak(t *testing.T) {
	first, seeds, workers := *soakFrom, uint64(3), runtime.GOMAXPROCS(0)
	end := time.Now().Add(time.Duration(*soakMinutes * float64(time.Minute)))
	switch {
	case *soakMinutes > 0 && first == 0:
		first, seeds = uint64(time.Now().Unix())<<16, 1<<62
	case *soakMinutes > 0:
		seeds = 1 << 62
	case first != 0:
		seeds, workers = 1, 1
	default:
		first = 1
	}
	var next atomic.Uint64
	var mu sync.Mutex
	total, played, broken := soakCounts{orders: map[uint64]bool{}}, 0, 0
	started := time.Now()
	work := func() {
		for !t.Failed() || !*soakStop {
			n := next.Add(1) - 1
			if n >= seeds || *soakMinutes > 0 && time.Now().After(end) {
				return
			}
			seed := first + n
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				defer watch(seed)()
				s := playSeed(t, seed)
				mu.Lock()
				defer mu.Unlock()
				played++
				total.add(s.counts)
				if seeds == 1 && len(s.broken) == 0 {
					t.Log(strings.Join(s.log, "\n"))
				}
				if len(s.broken) > 0 {
					broken += len(s.broken)
					// At once: the report of a test comes when all of it has ended.
					fmt.Printf("BROKEN %s\n\nSeed %d, after %s. Play it again:\n\n\tscripts/soak --seed %d\n\nIts steps:\n%s\n\n",
						strings.Join(s.broken, "\nBROKEN "), seed, time.Since(started).Round(time.Second), seed, strings.Join(s.log, "\n"))
					t.Fail()
				}
			})
		}
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(work)
	}
	wg.Wait()
	fmt.Printf("soak: %d seeds from %d, %d steps, %d runs, %d killed; releases: %d, images: %d, faults met: %d, interleavings: %d; invariants broken: %d\n",
		played, first, total.steps, total.runs, total.kills, total.releases, total.images, total.faults, len(total.orders), broken)
	if *soakFrom == 0 {
		assert.Positive(t, min(total.releases, total.images, total.faults, total.kills, len(total.orders)), "a simulation in which nothing happens shows nothing")
	}
}

func (c *soakCounts) add(o soakCounts) {
	c.steps, c.runs, c.releases, c.images = c.steps+o.steps, c.runs+o.runs, c.releases+o.releases, c.images+o.images
	c.faults, c.kills = c.faults+o.faults, c.kills+o.kills
	maps.Copy(c.orders, o.orders)
}

// watch ends the program, with the seed, if that takes far too long.
func watch(seed uint64) (stop func() bool) {
	return time.AfterFunc(5*time.Minute, func() {
		fmt.Fprintf(os.Stderr, "seed %d does not end. Play it again:\n\n\tscripts/soak --seed %d\n", seed, seed)
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		os.Exit(1)
	}).Stop
}

// uploads have random names.
var uploads = regexp.MustCompile(`/blobs/uploads/\d+`)

// A seed plays the same twice, to the last call and error.
func TestSoakReplays(t *testing.T) {
	for seed := range uint64(2) {
		first, second := playSeed(t, 101+seed), playSeed(t, 101+seed)
		text := func(s *soak) string { return uploads.ReplaceAllString(strings.Join(s.log, "\n"), "/blobs/uploads/") }
		require.Equal(t, text(first), text(second))
		require.Equal(t, first.counts, second.counts)
	}
}

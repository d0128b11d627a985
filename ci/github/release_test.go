package github

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"dagger/gantry/ci/fakehub"
)

// A second run of a complete release reads, and does nothing else.
func TestCompleteReleaseIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, spec := full(t, fakehub.Config{})
		spec.Dispatch = nil
		first, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		before := w.hub.Dump()
		w.hub.Forget()
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Zero(t, rep.Writes)
		require.Zero(t, rep.BytesSent)
		require.Empty(t, w.hub.Events())
		require.Equal(t, before, w.hub.Dump())
		t.Logf("from nothing: %d writes, %d bytes, %d reads; again: %d writes, %d bytes, %d reads",
			first.Writes, first.BytesSent, first.Reads, rep.Writes, rep.BytesSent, rep.Reads)

		// An event that is asked for is sent by every run, as nothing can tell
		// whether it was sent before.
		spec.Dispatch = &Dispatch{EventType: "gantry-release"}
		rep, err = w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Equal(t, 1, rep.Writes)
	})
}

// After a run that broke when 90 % of the bytes were there, the next run sends
// at most 12 % of them.
func TestFewBytesAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		spec := w.spec("v1.0.0")
		spec.Assets = nil
		var total int64
		for i := range 250 {
			a := file(fmt.Sprintf("asset-%03d", i), bytesOf(fmt.Sprint(i), 4000))
			spec.Assets, total = append(spec.Assets, a), total+a.Size
		}
		var sent int64
		ctx, cancel := context.WithCancel(t.Context())
		first, err := w.client(func(o *Options) {
			o.Observer = watch(func(n int64) {
				if sent += n; sent >= total*9/10 {
					cancel()
				}
			})
		}).Release(ctx, spec)
		require.Error(t, err)
		second, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		w.neverIncomplete(spec)
		again := first.BytesSent + second.BytesSent - total
		t.Logf("%d bytes in all; broken after %d; the second run sent %d (%.1f %% of all), of which %d (%.1f %%) for the second time",
			total, first.BytesSent, second.BytesSent, 100*float64(second.BytesSent)/float64(total), again, 100*float64(again)/float64(total))
		require.LessOrEqual(t, float64(second.BytesSent), 0.12*float64(total))
	})
}

// One fault at 90 % within a run: the asset that was hit is sent again,
// nothing else.
func TestFaultAtNinetyPercent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		spec := w.spec("v1.0.0")
		spec.Assets = nil
		for i := range 20 {
			spec.Assets = append(spec.Assets, file(fmt.Sprintf("asset-%03d", i), bytesOf(fmt.Sprint(i), 50000)))
		}
		w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: 18, Match: func(c fakehub.Call) bool { return c.Op == "upload asset" }})
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		again := float64(rep.BytesSent-20*50000) / (20 * 50000)
		t.Logf("a 502 at the 18th of 20 assets: %.1f %% of the bytes were sent again", 100*again)
		require.LessOrEqual(t, again, 0.12)
	})
}

// watcher adds up what is sent.
type watcher struct {
	NopObserver
	mu    sync.Mutex
	moved func(int64)
	last  map[string]int64
}

func watch(moved func(int64)) *watcher { return &watcher{moved: moved, last: map[string]int64{}} }

func (w *watcher) StepProgress(_ context.Context, s Step, sent int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved(sent - w.last[s.Asset])
	w.last[s.Asset] = sent
}

// Many assets stay under GitHub's limits and take hardly longer than those
// make them take.
func TestManyAssetsStayUnderTheLimits(t *testing.T) {
	for _, n := range []int{300, 700, 1000} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{
				Limits:  fakehub.Documented,
				Latency: func(fakehub.Call) time.Duration { return 300 * time.Millisecond },
			})
			w.repo.Tag("v1.0.0", w.commit)
			spec := w.spec("v1.0.0")
			spec.Assets = nil
			for i := range n {
				spec.Assets = append(spec.Assets, file(fmt.Sprintf("asset-%04d", i), fmt.Appendf(nil, "%d", i)))
			}
			rep, err := w.client().Release(t.Context(), spec)
			require.NoError(t, err)
			require.Zero(t, w.hub.LimitHits())
			require.Zero(t, rep.Retries)
			// The k-th request that creates content may go when the 80th before
			// it is a minute old and the 500th before it an hour.
			writes := n + 2 // and the draft, and its publishing
			at := make([]time.Duration, writes)
			for k := range at {
				if k >= 80 {
					at[k] = max(at[k], at[k-80]+time.Minute)
				}
				if k >= 500 {
					at[k] = max(at[k], at[k-500]+time.Hour)
				}
			}
			allowed := at[writes-1]
			ratio := float64(rep.Took) / float64(allowed)
			t.Logf("%d assets: no limit hit, %s, the pacing rules allow %s: %.3f", n, rep.Took, allowed, ratio)
			require.LessOrEqual(t, ratio, 1.1)
		})
	}
}

// Whatever is released in whatever order, the latest release is the highest
// stable one.
func TestLatestIsTheHighestStable(t *testing.T) {
	releases, histories := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		histories++
		clock := fakehub.NewClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
		w := newWorld(r, fakehub.Config{Now: clock.Now})
		here := func(o *Options) { o.Clock = clock }
		defer w.hub.Close()
		// Some releases were made by hand before, in any order, with the
		// latest on whichever it was.
		version := rapid.Custom(func(r *rapid.T) string {
			v := fmt.Sprintf("v%d.%d.%d", rapid.IntRange(0, 2).Draw(r, "major"), rapid.IntRange(0, 2).Draw(r, "minor"), rapid.IntRange(0, 3).Draw(r, "patch"))
			if rapid.IntRange(0, 3).Draw(r, "pre") == 0 {
				v += fmt.Sprintf("-rc.%d", rapid.IntRange(1, 2).Draw(r, "rc"))
			}
			return v
		})
		tags := rapid.SliceOfNDistinct(version, 1, 8, rapid.ID[string]).Draw(r, "tags")
		byHand := rapid.IntRange(0, len(tags)-1).Draw(r, "by hand")
		best := ""
		for i, tag := range tags {
			commit := w.repo.Commit(tag)
			v, _ := versionOf(tag)
			if i < byHand {
				w.repo.Seed(fakehub.Seed{Tag: tag, Commit: commit, Title: tag, Prerelease: v.Prerelease() != "",
					Latest: v.Prerelease() == "" && rapid.Bool().Draw(r, "latest")})
			} else {
				spec := w.spec(tag)
				spec.Commit = commit
				if rapid.Bool().Draw(r, "tagged before") {
					w.repo.Tag(tag, commit)
				}
				if rapid.IntRange(0, 4).Draw(r, "elsewhere") == 0 {
					// Another component, which does not own Latest.
					other := w.spec(tag)
					other.Tag, other.OwnsLatest = "cli-"+tag, false
					_, err := w.client(here).Release(context.Background(), other)
					require.NoError(r, err)
				}
				_, err := w.client(here).Release(context.Background(), spec)
				require.NoError(r, err)
				releases++
			}
			if v.Prerelease() == "" {
				if b, ok := versionOf(best); !ok || v.GreaterThan(b) {
					best = tag
				}
			}
			if i >= byHand && best != "" {
				require.Equal(r, best, w.repo.Latest(), "after %s of %v", tag, tags)
			}
		}
	})
	t.Logf("%d histories, %d releases: the latest was the highest stable one after each", histories, releases)
}

// state puts a repository into a state that a release may find.
type state struct {
	name  string
	cfg   fakehub.Config
	setup func(w *world, s *Spec)
	// plan is the summary to expect, or, with bad, a part of the error.
	plan, bad string
}

func seeded(s *Spec, draft bool, edit func(*fakehub.Seed)) fakehub.Seed {
	x := fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Title: s.Title, Body: s.Notes, Draft: draft, Latest: !draft}
	for _, a := range s.Assets {
		r, _ := a.Open()
		data := make([]byte, a.Size)
		_, _ = r.Read(data)
		x.Files = append(x.Files, fakehub.File{Name: a.Name, Data: data})
	}
	if edit != nil {
		edit(&x)
	}
	return x
}

var states = []state{
	{name: "nothing", plan: "create draft, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) { w.repo.Tag(s.Tag, s.Commit) }},
	{name: "nothing, not even the tag", plan: "create draft, upload 3 of 3, publish",
		setup: func(*world, *Spec) {}},
	{name: "an empty draft", plan: "adopt draft, set notes, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Draft: true})
		}},
	{name: "a draft with one asset and two starters", plan: "adopt draft, delete 2 starter, upload 2 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) {
				x.Files[0].Starter, x.Files[1].Starter = true, true
				x.Files[0].Age, x.Files[1].Age = time.Hour, time.Second
			}))
		}},
	{name: "a draft edited by hand", plan: "adopt draft, upload 1 of 3, publish",
		setup: func(w *world, s *Spec) {
			id := w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
			w.repo.Edit(id, "A better title", "Better words.")
		}},
	{name: "a draft with a foreign asset and a foreign starter", plan: "adopt draft, delete 1 starter, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) {
				x.Files = append(x.Files, fakehub.File{Name: "other", Data: []byte("x")}, fakehub.File{Name: "half", Starter: true, Age: time.Hour})
			}))
		}},
	{name: "a complete draft", plan: "adopt draft, publish",
		setup: func(w *world, s *Spec) { w.repo.Seed(seeded(s, true, nil)) }},
	{name: "a complete draft, only a draft wanted", plan: "adopt draft",
		setup: func(w *world, s *Spec) { w.repo.Seed(seeded(s, true, nil)); s.DraftOnly = true }},
	{name: "nothing, only a draft wanted", plan: "create draft, upload 3 of 3",
		setup: func(w *world, s *Spec) { s.DraftOnly = true }},
	{name: "a draft with an asset that differs", bad: "--existing=replace",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files[0].Data[0] ^= 1 }))
		}},
	{name: "a draft with an asset that differs, replacing", plan: "adopt draft, replace 1 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files[0].Data[0] ^= 1 }))
			s.Existing = ExistingReplace
		}},
	{name: "a draft whose assets have no digests", cfg: fakehub.Config{NoDigests: true}, plan: "adopt draft, upload 1 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = x.Files[1:] }))
		}},
	{name: "a draft without digests that differs", cfg: fakehub.Config{NoDigests: true}, bad: "its SHA-256 is",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files[2].Data[0] ^= 1 }))
		}},
	{name: "two drafts", bad: "has 2 drafts",
		setup: func(w *world, s *Spec) { w.repo.Seed(seeded(s, true, nil)); w.repo.Seed(seeded(s, true, nil)) }},
	{name: "two drafts, one of them just created", plan: "adopt draft, upload 1 of 3, publish, delete draft",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = nil }))
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
		}},
	{name: "three drafts, all just created", plan: "adopt draft, upload 3 of 3, publish, delete draft",
		setup: func(w *world, s *Spec) {
			for range 3 {
				w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = nil }))
			}
		}},
	{name: "two drafts, one edited", bad: "has 2 drafts",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files, x.Body = nil, "By hand." }))
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
		}},
	{name: "two drafts, an empty one of another kind", bad: "has 2 drafts",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files, x.Prerelease = nil, true }))
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
		}},
	{name: "published, equal", plan: "nothing to do",
		setup: func(w *world, s *Spec) { w.repo.Seed(seeded(s, false, nil)) }},
	{name: "published, equal, with an event", plan: "dispatch",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, nil))
			s.Dispatch = &Dispatch{EventType: "released", Payload: map[string]string{"tag": s.Tag}}
		}},
	{name: "published, equal, immutable", plan: "nothing to do",
		setup: func(w *world, s *Spec) { w.repo.Immutable(); w.repo.Seed(seeded(s, false, nil)) }},
	{name: "published, equal, and a draft besides", plan: "nothing to do",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, nil))
			w.repo.Seed(fakehub.Seed{Tag: s.Tag, Draft: true})
		}},
	{name: "published, not the latest", plan: "promote",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Latest = false }))
			w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("newer"), Latest: true})
		}},
	{name: "published, an asset lacks", bad: "lacks SHA256SUMS",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
		}},
	{name: "published, two assets wrong, replacing", plan: "delete 1 starter, replace 1 of 3, upload 1 of 3",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files[0].Data[0] ^= 1; x.Files[1].Starter = true }))
			s.Existing = ExistingReplace
		}},
	{name: "published by another tool, assets missing, filling", plan: "upload 2 of 3",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files, x.Title, x.Body = x.Files[:1], "By hand", "Words." }))
			s.Existing = ExistingFill
		}},
	{name: "published by another tool, everything else differs, filling", plan: "delete 1 starter, upload 1 of 1",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) {
				x.Prerelease, x.Latest = true, false
				x.Files[0].Data[0] ^= 1
				x.Files[1].Data = x.Files[1].Data[1:]
				x.Files[2].Starter = true
			}))
			w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("newer"), Latest: true})
			s.Existing = ExistingFill
		}},
	{name: "published, immutable, an asset lacks, filling", bad: "immutable",
		setup: func(w *world, s *Spec) {
			w.repo.Immutable()
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
			s.Existing = ExistingFill
		}},
	{name: "a draft with an asset that differs, filling", bad: "--existing=replace",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files[0].Data[0] ^= 1 }))
			s.Existing = ExistingFill
		}},
	{name: "a draft of another commit and kind", plan: "adopt draft, correct draft, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Commit, x.Prerelease = w.repo.Commit("old"), true }))
		}},
	{name: "a draft of another commit, only a draft wanted", plan: "adopt draft, correct draft",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Commit = w.repo.Commit("old") }))
			s.DraftOnly = true
		}},
	{name: "a draft of another kind, only a draft wanted", plan: "adopt draft, correct draft",
		setup: func(w *world, s *Spec) {
			w.repo.Tag(s.Tag, s.Commit)
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Prerelease = true }))
			s.DraftOnly = true
		}},
	{name: "a draft of another commit, the tag in place", plan: "adopt draft, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Tag(s.Tag, s.Commit)
			w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Commit = w.repo.Commit("old") }))
		}},
	{name: "published, immutable, an asset lacks, replacing", bad: "immutable",
		setup: func(w *world, s *Spec) {
			w.repo.Immutable()
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
			s.Existing = ExistingReplace
		}},
	{name: "published as a prerelease", bad: "prerelease=true",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Prerelease, x.Latest = true, false }))
		}},
	{name: "a backport, the latest wrong", plan: "create draft, upload 3 of 3, publish, promote",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: w.repo.Commit("two")})
			w.repo.Seed(fakehub.Seed{Tag: "v0.1.0", Commit: w.repo.Commit("newest"), Latest: true})
		}},
	{name: "a backport", plan: "create draft, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: w.repo.Commit("two"), Latest: true})
		}},
	{name: "a component that does not own the latest", plan: "create draft, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) { s.OwnsLatest = false }},
	{name: "the tag elsewhere", bad: "is at",
		setup: func(w *world, s *Spec) { w.repo.AnnotatedTag(s.Tag, w.repo.Commit("other")) }},
	{name: "a tag of a tag", plan: "create draft, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) {
			w.repo.AnnotatedTag(s.Tag, w.repo.AnnotatedTag("inner", s.Commit))
		}},
	{name: "an unknown commit", bad: "is not in the repository",
		setup: func(w *world, s *Spec) { s.Commit = strings.Repeat("f", 40) }},
	{name: "an immutable repository", plan: "create draft, upload 3 of 3, publish",
		setup: func(w *world, s *Spec) { w.repo.Immutable() }},
	{name: "an archived repository", bad: "archived",
		setup: func(w *world, s *Spec) { w.repo.Archived() }},
}

// wrote describes a call that wrote, in the words of a plan.
func wrote(c fakehub.Call) string {
	switch c.Op {
	case "create release":
		return "create draft"
	case "upload asset":
		return "upload"
	case "update release":
		return "update"
	}
	return c.Op
}

// asWrites is the multiset of calls that a plan promises.
func asWrites(p *Plan) []string {
	var out []string
	for _, s := range p.Steps {
		switch s.Action {
		case CreateDraft:
			out = append(out, "create draft")
		case CorrectDraft, SetNotes, Publish, Promote:
			out = append(out, "update")
		case DeleteDraft:
			out = append(out, "delete release")
		case DeleteStarter:
			out = append(out, "delete asset")
		case Replace:
			out = append(out, "delete asset", "upload")
		case Upload:
			out = append(out, "upload")
		case SendEvent:
			out = append(out, "dispatch")
		}
	}
	slices.Sort(out)
	return out
}

// In every state, a dry run writes nothing and prints exactly what the real
// run then does: the same steps, and the same writes as GitHub sees them.
func TestDryRunIsWhatHappens(t *testing.T) {
	for _, st := range states {
		t.Run(st.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, st.cfg)
				spec := w.spec("v1.0.0")
				st.setup(w, &spec)
				before := w.hub.Dump()

				spec.DryRun = true
				dry, err := w.client().Release(t.Context(), spec)
				for _, c := range w.hub.Calls() {
					require.False(t, c.Write, "a dry run called %s", c)
				}
				require.Equal(t, before, w.hub.Dump())
				quiet(t, texts(t, dry, err)...)
				spec.DryRun = false
				w.hub.Forget()
				rep, rerr := w.client().Release(t.Context(), spec)

				if st.bad != "" {
					require.ErrorContains(t, err, st.bad)
					require.ErrorContains(t, rerr, st.bad)
					require.Equal(t, err.Error(), rerr.Error())
					require.Equal(t, before, w.hub.Dump())
					var p *problemsError
					require.ErrorAs(t, err, &p)
					return
				}
				require.NoError(t, err)
				require.NoError(t, rerr)
				require.Equal(t, st.plan, dry.Plan.Summary(), dry.Text())
				require.Equal(t, dry.Plan.Text(), rep.Plan.Text())
				require.Equal(t, lines(dry.Plan.Steps), lines(rep.Done), "the steps that were planned and done")
				require.Empty(t, rep.Extra)
				var writes []string
				for _, c := range w.hub.Calls() {
					if c.Write {
						writes = append(writes, wrote(c))
					}
				}
				slices.Sort(writes)
				require.Equal(t, asWrites(dry.Plan), writes)
				if !spec.DraftOnly {
					if spec.Existing == "" || dry.Plan.State != StatePublished {
						w.neverIncomplete(spec)
					}
					for _, a := range spec.Assets {
						data, ok := w.repo.Asset(spec.Tag, a.Name)
						require.True(t, ok)
						if spec.Existing != ExistingFill {
							require.Len(t, data, int(a.Size))
						}
					}
				}
				if spec.Existing == ExistingFill {
					for _, e := range w.hub.Events() {
						require.Contains(t, []string{"starter", "upload", "delete-asset"}, e.Kind, "nothing but missing assets is touched")
						require.True(t, e.Kind != "delete-asset" || e.Asset == "SHA256SUMS", "what is there and whole stays")
					}
				}
				if strings.HasPrefix(st.plan, "adopt draft, correct draft") {
					require.Contains(t, w.hub.Dump(), fmt.Sprintf("release %s draft=%t prerelease=false immutable=false at %s", spec.Tag, spec.DraftOnly, spec.Commit))
				}
				// And it is settled.
				w.hub.Forget()
				spec.Dispatch = nil
				rep, err = w.client().Release(t.Context(), spec)
				require.NoError(t, err)
				require.Zero(t, rep.Writes)
			})
		})
	}
}

func lines(steps []Step) string {
	var b strings.Builder
	for _, s := range steps {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}

// What cannot work is said at once, together, with what to do.
func TestProblemsAreReportedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		w.repo.Tag("v1.0.0", w.repo.Commit("other"))
		spec.Assets = append(spec.Assets, file("my app (1).zip", []byte("x")), file("sha256sums", []byte("x")), file("empty", nil))
		_, err := w.client().Release(t.Context(), spec)
		var p *problemsError
		require.ErrorAs(t, err, &p)
		require.Len(t, p.Problems, 4)
		for _, part := range []string{"GitHub would change it", "collide", "is empty", "is at"} {
			require.ErrorContains(t, err, part)
		}
		for _, c := range w.hub.Calls() {
			require.False(t, c.Write)
		}
	})
}

// Tokens that cannot write are recognized without writing, as far as GitHub
// lets one see it.
func TestTokens(t *testing.T) {
	for _, x := range []struct {
		name   string
		access fakehub.Access
		token  string
		err    string
		note   string

		private bool
	}{
		{name: "none", token: "", err: "no token"},
		{name: "unknown", token: "other", err: "the token is not accepted"},
		{name: "read only", token: canary, access: fakehub.Access{User: "a", Scopes: "repo"}, err: "may not write"},
		{name: "few scopes", token: canary, access: fakehub.Access{User: "a", Push: true, Scopes: "read:org, gist"}, err: "scopes"},
		{name: "public scope", token: canary, access: fakehub.Access{User: "a", Push: true, Scopes: "public_repo"}},
		{name: "fine-grained", token: canary, access: fakehub.Access{User: "a", Push: true}, note: "the token is fine-grained, and may write to the contents of the repository"},
		{name: "classic, without scopes", token: canary, access: fakehub.Access{User: "a", Push: true, NoScopes: true}, err: `the token's scopes are ""`},
		{name: "fine-grained, read only", token: canary, access: fakehub.Access{User: "a", Push: true, ReadOnly: true}, err: `GitHub accepts the permissions "contents=write"`},
		{name: "public scope, private repository", token: canary, access: fakehub.Access{User: "a", Push: true, Scopes: "public_repo"}, private: true, err: "scopes"},
		{name: "a workflow's", token: canary, access: fakehub.Access{Push: true, Installation: true}, note: "the token is an app's, and may write to the contents of the repository"},
		{name: "a workflow's, read only", token: canary, access: fakehub.Access{Installation: true}, err: "contents: write"},
	} {
		t.Run(x.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{Tokens: map[string]fakehub.Access{canary: x.access}})
				if x.private {
					w.repo.Private()
				}
				c := w.client(func(o *Options) { o.Token = func(context.Context) (string, error) { return x.token, nil } })
				rep, err := c.Release(t.Context(), w.spec("v1.0.0"))
				quiet(t, texts(t, rep, err)...)
				if x.err != "" {
					require.ErrorContains(t, err, x.err)
					for _, c := range w.hub.Calls() {
						require.False(t, c.Write, "found out without writing: %s", c)
					}
					return
				}
				require.NoError(t, err)
				if x.note != "" {
					require.Contains(t, rep.Text(), x.note)
				}
			})
		})
	}
}

// A release that would pass its deadline says so instead of waiting.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Primary, N: 5, RetryAfter: 50 * time.Minute})
		rep, err := w.client(func(o *Options) { o.deadline = 10 * time.Minute }).Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "past the deadline")
		quiet(t, texts(t, rep, err)...)
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Hang, Match: func(c fakehub.Call) bool { return c.Op == "upload asset" }})
		start := time.Now()
		_, err := w.client(func(o *Options) { o.deadline = 5 * time.Minute }).Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "deadline")
		require.LessOrEqual(t, time.Since(start), 5*time.Minute+time.Second)
	})
}

// A permanent refusal ends the release at once and says what to do.
func TestPermanentRefusals(t *testing.T) {
	for _, opName := range []string{"create release", "upload asset", "update release", "dispatch"} {
		synctest.Test(t, func(t *testing.T) {
			w, spec := full(t, fakehub.Config{})
			w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: 1, Times: -1, Match: func(c fakehub.Call) bool { return c.Op == opName }})
			start := time.Now()
			rep, err := w.client().Release(t.Context(), spec)
			require.ErrorContains(t, err, "contents: write")
			require.Zero(t, rep.Retries)
			require.Less(t, time.Since(start), time.Second)
			quiet(t, texts(t, rep, err)...)
			w.neverIncomplete(spec)
		})
	}
}

// A file that changes between the plan and the upload is not published.
func TestFileThatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{NoDigests: true})
		spec := w.spec("v1.0.0")
		spec.Assets[1].Open = file("x", bytesOf("something else", int(spec.Assets[1].Size))).Open
		_, err := w.client().Release(t.Context(), spec)
		require.ErrorContains(t, err, "it changed since it was planned")
		for _, e := range w.hub.Events() {
			require.NotEqual(t, "publish", e.Kind)
		}
	})
}

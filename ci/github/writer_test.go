package github

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// between lets a second writer act right before the n-th call of an operation.
func (w *world) between(op string, n int, act func()) {
	w.hub.Arm(fakehub.Fault{Kind: fakehub.Nothing, N: n, Match: opIs(op), Do: func(fakehub.Call) { act() }})
}

func kinds(w *world) map[string]int {
	n := map[string]int{}
	for _, e := range w.hub.Events() {
		n[e.Kind]++
	}
	return n
}

// What GitHub stored is compared before it is published, also where its answer to
// the upload was right, and where it has no digests: it is sent again, and nobody
// ever sees the wrong bytes.
func TestStoredWrongIsNotPublished(t *testing.T) {
	for _, digests := range []bool{true, false} {
		for n := 1; n <= 3; n++ {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{NoDigests: !digests})
				spec := w.spec("v1.0.0")
				w.hub.Arm(fakehub.Fault{Kind: fakehub.StoredWrong, N: n, Match: opIs("upload asset")})
				rep, err := w.client(serial).Release(t.Context(), spec)
				require.NoError(t, err)
				w.neverIncomplete(spec)
				require.Equal(t, 1, kinds(w)["publish"])
				require.Equal(t, 4, kinds(w)["upload"])
				require.Contains(t, rep.Text(), "was stored changed")
				for _, a := range spec.Assets {
					data, _ := w.repo.Asset("v1.0.0", a.Name)
					require.Equal(t, a.SHA256, file(a.Name, data).SHA256, a.Name)
				}
				if !digests {
					require.Equal(t, 5200+spec.Assets[n-1].Size, rep.BytesRead, "each once, and what was sent again")
					t.Logf("no digests: read back %d of %d bytes before publishing", rep.BytesRead, 5200)
				}
			})
		}
	}
	// A server that never stores it right ends it, unpublished.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{NoDigests: true})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.StoredWrong, Match: opIs("upload asset")})
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "was stored changed")
		require.Zero(t, kinds(w)["publish"])
	})
}

// Without digests, each asset is downloaded once, before publishing, and not at
// all where GitHub has them.
func TestReadBackOnce(t *testing.T) {
	for _, digests := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{NoDigests: !digests})
			rep, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
			require.NoError(t, err)
			want := int64(5200)
			if digests {
				want = 0
			}
			require.Equal(t, want, rep.BytesRead)
			published := false
			for _, c := range w.hub.Calls() {
				published = published || c.Op == "update release"
				require.False(t, published && c.Op == "get object", "read after publishing")
			}
		})
	}
}

// An asset that is lost between sending and publishing is noticed.
func TestLostAssetIsNoticedBeforePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		w.between("upload asset", 3, func() { w.repo.Detach(w.repo.Releases("v1.0.0")[0], spec.Assets[0].Name) })
		rep, err := w.client(serial).Release(t.Context(), spec)
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "read back without "+spec.Assets[0].Name)
		w.neverIncomplete(spec)
	})
}

// A spare draft that somebody puts an asset into is not deleted.
func TestDraftWithAssetsIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		empty := fakehub.Seed{Tag: spec.Tag, Commit: spec.Commit, Title: spec.Title, Body: spec.Notes, Draft: true}
		w.repo.Seed(empty)
		spare := w.repo.Seed(empty)
		w.between("get release", 1, func() { w.repo.Attach(spare, fakehub.File{Name: "precious", Data: []byte("x")}) })
		_, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err) // with the draft that has something in it, the empty one being spare now
		require.Contains(t, w.hub.Dump(), "asset precious uploaded")
		for _, e := range w.hub.Events() {
			require.False(t, e.Kind == "delete" && e.Release == spare, "draft %d had an asset", spare)
		}
	})
}

// What somebody sets on the draft while assets are sent does not survive
// publishing.
func TestPublishingSetsPrerelease(t *testing.T) {
	for _, tag := range []string{"v1.0.0", "v1.0.0-rc.1"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			spec := w.spec(tag)
			w.between("upload asset", 3, func() { w.repo.Flag(w.repo.Releases(tag)[0], !spec.Prerelease) })
			_, err := w.client().Release(t.Context(), spec)
			require.NoError(t, err)
			require.Contains(t, onlyRelease(w, tag)[0], fmt.Sprintf("draft=false prerelease=%t", spec.Prerelease))
		})
	}
}

// A tag that is moved while the release is made: before publishing nothing is
// published, after it the run fails.
func TestTagThatMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		w.between("upload asset", 3, func() { w.repo.Tag("v1.0.0", w.repo.Commit("elsewhere")) })
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "tag v1.0.0 is at")
		require.Zero(t, kinds(w)["publish"])
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		w.between("update release", 1, func() { w.repo.Tag("v1.0.0", w.repo.Commit("elsewhere")) })
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, `read back the tag "v1.0.0": it is at`)
		require.Equal(t, 1, kinds(w)["publish"])
	})
	// One that is deleted is made again, at the commit.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Main(w.repo.Commit("main"))
		w.repo.Tag("v1.0.0", w.commit)
		w.between("upload asset", 3, func() { w.repo.Untag("v1.0.0") })
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		require.Contains(t, w.hub.Dump(), "tag v1.0.0 "+w.commit)
	})
}

// A release that somebody flagged as a prerelease is not the latest, whatever its
// version.
func TestFlaggedPrereleaseIsNotTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Seed(fakehub.Seed{Tag: "v3.0.0", Commit: w.repo.Commit("three"), Prerelease: true})
		w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("newest"), Latest: true})
		spec := w.spec("v1.0.0")
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Equal(t, "v1.0.0", w.repo.Latest())
		require.Contains(t, rep.Plan.Text(), "publish v1.0.0 (as latest)")
	})
	// Its own flag counts too: it neither becomes the latest nor takes it away.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("newest"), Latest: true})
		spec := w.spec("v1.0.0")
		spec.Prerelease = true
		_, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Equal(t, "v0.9.0", w.repo.Latest())
	})
}

// The last look before publishing: another run published the tag meanwhile, on a
// GitHub that would publish a second release of it.
func TestLastLookBeforePublishing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{DuplicateTags: true})
		w.repo.Tag("v1.0.0", w.commit)
		spec := w.spec("v1.0.0")
		w.between("upload asset", 3, func() { w.repo.Seed(seeded(&spec, false, nil)) })
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "it was published")
		require.Zero(t, kinds(w)["publish"], "only the other run published")
		require.Len(t, w.repo.Releases("v1.0.0"), 1, "and the own draft is gone")
	})
	// Another run's draft, made before ours and seen late, goes first.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		spec := w.spec("v1.0.0")
		first := int64(0)
		w.between("create release", 1, func() { first = w.repo.Seed(fakehub.Seed{Tag: "other", Draft: true}) })
		w.between("upload asset", 3, func() { w.repo.Retag(first, spec.Tag, spec.Title, spec.Notes) })
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "goes first")
		require.Equal(t, 1, strings.Count(rep.Text(), "delete draft 1"), "what is deleted is done with")
		require.Equal(t, []int64{first}, w.repo.Releases("v1.0.0"))
		w.neverIncomplete(spec)
	})
}

// A second writer of assets: what it sent and is equal counts, what differs is
// not overwritten.
func TestSecondWriterOfAnAsset(t *testing.T) {
	for _, equal := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			spec := w.spec("v1.0.0")
			data := bytesOf("x86_64v1.0.0", 3000)
			if !equal {
				data[0] ^= 1
			}
			w.between("upload asset", 1, func() {
				w.repo.Attach(w.repo.Releases("v1.0.0")[0], fakehub.File{Name: spec.Assets[0].Name, Data: data})
			})
			_, err := w.client(serial).Release(t.Context(), spec)
			if !equal {
				require.ErrorContains(t, err, "the release now has a different one")
				require.Zero(t, kinds(w)["publish"])
				return
			}
			require.NoError(t, err)
			w.neverIncomplete(spec)
		})
	}
}

// A 408 is as good as no answer, at every call, once and four times in a row.
func TestRequestTimeout(t *testing.T) {
	calls, want := clean(t)
	cells := 0
	for _, at := range calls {
		for _, times := range []int{1, 4} {
			cells++
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: fakehub.RequestTimeout, N: at.N, Times: times})
				rep, err := w.client(serial).Release(t.Context(), spec)
				require.NoError(t, err, "call %d (%s)", at.N, at.Op)
				require.Equal(t, times, w.hub.FaultsMet())
				require.Equal(t, times, rep.Retries)
				require.Equal(t, want, w.hub.Dump())
				w.neverIncomplete(spec)
			})
		}
	}
	require.Equal(t, 2*len(calls), cells)
	t.Logf("%d cells of 408: 0 needed a second run", cells)
}

// Lists that GitHub can't collect in one go come in smaller pages.
func TestLargeLists(t *testing.T) {
	for _, largest := range []int{0, 60, 10, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{LargestList: largest})
			for i := range 65 {
				w.repo.Seed(fakehub.Seed{Tag: fmt.Sprintf("v0.1.%d", i), Commit: w.commit, Latest: true})
			}
			spec := w.spec("v0.0.1")
			spec.Assets = nil
			for i := range 7 {
				spec.Assets = append(spec.Assets, file(fmt.Sprintf("a%d", i), []byte{'0' + byte(i)}))
			}
			rep, err := w.client().Release(t.Context(), spec)
			require.NoError(t, err, "at most %d", largest)
			w.neverIncomplete(spec)
			require.Equal(t, "v0.1.64", w.repo.Latest(), "what is on the last page counts")
			got, err := w.client().History(t.Context(), "octo", "hello")
			require.NoError(t, err)
			require.Len(t, got, 66)
			t.Logf("pages of at most %d: %d reads, %d retries", largest, rep.Reads, rep.Retries)
		})
	}
}

// A list is read as far as the answer needs: not past the published release of
// the tag.
func TestListsStopEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		for i := range 350 {
			w.repo.Seed(fakehub.Seed{Tag: fmt.Sprintf("v0.1.%d", i), Commit: w.commit})
		}
		spec := w.spec("v1.0.0")
		spec.OwnsLatest = false
		w.between("create release", 1, func() { w.repo.Seed(seeded(&spec, false, nil)) })
		w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: 1, Match: opIs("create release")})
		before := -1
		w.between("list releases", 5, func() { before = len(w.hub.Calls()) })
		_, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Positive(t, before)
		next := w.hub.Calls()[before]
		require.NotEqual(t, "list releases", next.Op, "the first page of the second list says it all")
	})
}

// GitHub Enterprise in private mode sends a download without a session to a login
// page; the API gives it with the token.
func TestLoginPages(t *testing.T) {
	for _, name := range []string{"a.tar.gz", "index.html"} {
		for _, kind := range []string{"private mode", "once"} {
			synctest.Test(t, func(t *testing.T) {
				data := bytesOf("archive", 50000)
				w := newWorld(t, fakehub.Config{LoginPages: kind == "private mode"})
				if kind == "once" {
					w.hub.Arm(fakehub.Fault{Kind: fakehub.Login, N: 1, Match: opIs("download")})
				}
				w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Files: []fakehub.File{{Name: name, Data: data}}})
				c := w.client()
				rel, err := c.Published(t.Context(), "octo", "hello", "v1.0.0")
				require.NoError(t, err)
				start := time.Now()
				r, err := c.Download(t.Context(), "octo", "hello", rel.Assets[0])
				require.NoError(t, err)
				got, err := io.ReadAll(r)
				require.NoError(t, err)
				require.NoError(t, r.Close())
				require.Equal(t, data, got)
				require.Zero(t, time.Since(start), "without waiting")
				for _, call := range w.hub.Calls() {
					require.False(t, call.Host == "web" && call.Token, "the token went to %s", call)
				}

				if kind == "private mode" { // and without a token, what helps is said
					_, err = w.client(func(o *Options) { o.Token = nil }).Download(t.Context(), "octo", "hello", rel.Assets[0])
					require.ErrorContains(t, err, "pass --token")
				}
			})
		}
	}
}

// What GitHub refuses for good is explained.
func TestRefusalsAreExplained(t *testing.T) {
	for _, x := range []struct {
		name  string
		setup func(*world)
		says  string
	}{
		{"a burned tag", func(w *world) { w.repo.Burn("v1.0.0") }, "release another version"},
		{"a ruleset", func(w *world) { w.repo.RestrictTags() }, "a ruleset of the repository forbids it: push the tag"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{})
			x.setup(w)
			rep, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
			require.ErrorContains(t, err, x.says, x.name)
			require.Zero(t, rep.Retries)
			require.Zero(t, kinds(w)["publish"])
			t.Log(x.name, "->", err)
		})
	}
}

// Whether a token without scopes may write is asked without writing; what can't
// be found out that way doesn't keep the release from being made.
func TestAskingWhetherATokenMayWrite(t *testing.T) {
	for _, kind := range []fakehub.FaultKind{fakehub.ServerError, fakehub.NotFound, fakehub.Hang, fakehub.Page} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{Tokens: map[string]fakehub.Access{canary: {User: "a", Push: true}}})
			w.hub.Arm(fakehub.Fault{Kind: kind, Match: opIs("generate notes")})
			rep, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
			require.NoError(t, err, kind)
			require.Contains(t, rep.Text(), "whether it may write shows at the first write")
		})
	}
	// Not every GitHub names the permissions that would do.
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{Tokens: map[string]fakehub.Access{canary: {User: "a", Push: true}}})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, Match: opIs("generate notes")})
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "the token may not write: ")
		require.NotContains(t, err.Error(), "GitHub accepts")
	})
}

// A draft that another run made meanwhile, at another commit and of another kind,
// is corrected before it is used.
func TestAnotherRunsDraftIsCorrected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		spec.DraftOnly = true
		w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: 1, Match: opIs("create release"), Do: func(fakehub.Call) {
			w.repo.Seed(fakehub.Seed{Tag: spec.Tag, Commit: w.repo.Commit("old"), Title: spec.Title, Body: "What changed.", Draft: true, Prerelease: true})
		}})
		_, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Len(t, w.repo.Releases(spec.Tag), 1)
		require.Contains(t, onlyRelease(w, spec.Tag)[0], "draft=true prerelease=false immutable=false at "+spec.Commit)
	})
}

// Where a commit has no workflows, those of the default branch are not read.
func TestNoWorkflowsNoQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		_, err := w.client().Preflight(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		asked := 0
		for _, c := range w.hub.Calls() {
			if c.Op == "get contents" {
				asked++
			}
		}
		require.Equal(t, 2, asked, "a 404, confirmed")
	})
}

// Publishing that GitHub refuses, since it has a release of the tag: whose, only
// reading tells.
func TestPublishedByWhom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Exists, N: 1, Match: opIs("update release")})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, Match: opIs("get release")})
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, "read the release")
	})
}

// A release that was just published and is gone is not promoted.
func TestPublishedReleaseThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		published := false
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Nothing, N: 1, Match: func(c fakehub.Call) bool {
			published = published || c.Op == "update release"
			return published && c.Op == "list releases"
		}, Do: func(fakehub.Call) { w.repo.Delete(w.repo.Releases(spec.Tag)[0]) }})
		_, err := w.client().Release(t.Context(), spec)
		require.ErrorContains(t, err, "promote v1.0.0: it has no release")
	})
}

// A draft that GitHub doesn't know for a moment is no reason to plan again.
func TestDraftThatIsNotSeenYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Match: opIs("upload asset")})
		rep, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		require.NotContains(t, rep.Text(), "planned again")
		require.EqualValues(t, 1, rep.Retries)
	})
}

// What somebody edited in a published release is kept, and noted.
func TestEditedNotesAreKept(t *testing.T) {
	const note = "the published title or notes differ: kept"
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		spec := w.spec("v1.0.0")
		_, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		for _, test := range []struct {
			title, notes string
			noted        bool
		}{{spec.Title, spec.Notes, false}, {"Another", spec.Notes, true}, {spec.Title, "Another.", true}} {
			spec.Title, spec.Notes = test.title, test.notes
			rep, err := w.client().Release(t.Context(), spec)
			require.NoError(t, err)
			require.Equal(t, test.noted, strings.Contains(rep.Text(), note), "%+v", test)
		}
	})
}

// ends records how steps ended.
type ends struct {
	NopObserver
	mu   sync.Mutex
	good []Step
	bad  []string
}

func (e *ends) StepEnd(_ context.Context, s Step, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		e.good = append(e.good, s)
	} else {
		e.bad = append(e.bad, fmt.Sprintf("%s %s: %v", s.Action, s.Asset, err))
	}
}

// An observer is told of the end of each step, and of why one failed.
func TestObserverIsToldOfEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		seen := &ends{}
		c := w.client(func(o *Options) { o.Observer, o.concurrency = seen, 1 })
		rep, err := c.Release(t.Context(), w.spec("v1.0.0"))
		require.NoError(t, err)
		require.ElementsMatch(t, rep.Done, seen.good)
		require.Empty(t, seen.bad)

		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, Match: opIs("upload asset")})
		_, err = c.Release(t.Context(), w.spec("v1.1.0"))
		require.Error(t, err)
		require.Len(t, seen.bad, 1)
		require.Contains(t, seen.bad[0], "not accessible")
	})
}

package github

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/wire"
)

// scenario is a situation that a release starts from, and what happens during it.
type scenario struct {
	name  string
	setup func(t testing.TB) (*world, Spec, []func(*Options))
}

// scenarios make every call of a release between them, each from every place that
// makes it.
func scenarios() []scenario {
	all := []scenario{{"everything", func(t testing.TB) (*world, Spec, []func(*Options)) {
		w, spec := full(t, fakehub.Config{})
		return w, spec, nil
	}}}
	add := func(name string, cfg fakehub.Config, setup func(*world, *Spec)) {
		all = append(all, scenario{name, func(t testing.TB) (*world, Spec, []func(*Options)) {
			w := newWorld(t, cfg)
			spec := w.spec("v1.0.0")
			setup(w, &spec)
			return w, spec, nil
		}})
	}
	for _, st := range states {
		if st.bad == "" {
			add(st.name, st.cfg, st.setup)
		}
	}
	for _, x := range noWorkflows {
		all = append(all, scenario{"a backport, the token " + x.name, func(t testing.TB) (*world, Spec, []func(*Options)) {
			x.access.Workflows = x.name == "fine-grained" // with which the tag may be absent
			w, spec, _ := backport(t, x.token, x.access, !x.access.Workflows)
			return w, spec, []func(*Options){asToken(x.token)}
		}})
	}
	app := fakehub.Config{Tokens: map[string]fakehub.Access{canary: {Push: true, Installation: true}}}
	add("an app's token that doesn't look like one", app, func(w *world, s *Spec) { w.repo.Tag(s.Tag, s.Commit) })
	add("lists that lag", fakehub.Config{ListDelay: 10 * time.Second}, func(w *world, s *Spec) {
		w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("older"), Latest: true})
	})
	add("no digests", fakehub.Config{NoDigests: true}, func(*world, *Spec) {})
	add("published, no digests", fakehub.Config{NoDigests: true}, func(w *world, s *Spec) { w.repo.Seed(seeded(s, false, nil)) })
	add("an asset that is stored wrong", fakehub.Config{}, func(w *world, _ *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.StoredWrong, N: 2, Match: opIs("upload asset")})
	})
	add("an asset that arrives changed", fakehub.Config{}, func(w *world, _ *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Corrupt, N: 2, Match: opIs("upload asset")})
	})
	add("an asset that gets lost", fakehub.Config{}, func(w *world, s *Spec) {
		w.between("upload asset", 3, func() { w.repo.Detach(w.repo.Releases(s.Tag)[0], s.Assets[0].Name) })
	})
	add("another run publishes", fakehub.Config{DuplicateTags: true}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
		w.between("upload asset", 3, func() { w.repo.Seed(seeded(s, false, nil)) })
	})
	add("another run publishes at the last moment", fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
		w.between("update release", 1, func() { w.repo.Seed(seeded(s, false, nil)) })
	})
	first := func(op string, n int) func(*world, *Spec) {
		return func(w *world, s *Spec) {
			w.repo.Tag(s.Tag, s.Commit)
			id := int64(0)
			w.between("create release", 1, func() { id = w.repo.Seed(fakehub.Seed{Tag: "other", Draft: true}) })
			w.between(op, n, func() { w.repo.Retag(id, s.Tag, s.Title, s.Notes) })
		}
	}
	add("another run's draft is seen late", fakehub.Config{}, first("upload asset", 3))
	add("another run's draft is seen at once", fakehub.Config{}, first("list releases", 2))
	add("another run makes a draft", fakehub.Config{}, func(w *world, s *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: 1, Match: opIs("create release"), Do: func(fakehub.Call) {
			w.repo.Seed(fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Title: s.Title, Body: "What changed.", Draft: true})
		}})
	})
	add("another run's upload gets in between", fakehub.Config{NoDigests: true}, func(w *world, s *Spec) {
		w.between("upload asset", 1, func() {
			w.repo.Attach(w.repo.Releases(s.Tag)[0], fakehub.File{Name: s.Assets[0].Name, Data: bytesOf("x86_64v1.0.0", 3000)})
		})
	})
	add("another run's upload is under way", fakehub.Config{}, func(w *world, s *Spec) {
		w.between("upload asset", 1, func() {
			w.repo.Attach(w.repo.Releases(s.Tag)[0], fakehub.File{Name: s.Assets[0].Name, Starter: true})
		})
	})
	add("young starters", fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) {
			for i := range x.Files {
				x.Files[i].Starter, x.Files[i].Age = true, time.Duration(i)*time.Second
			}
			x.Files = append(x.Files, fakehub.File{Name: "other", Starter: true, Age: time.Second})
		}))
	})
	add("the tag is seen late", fakehub.Config{}, func(w *world, _ *Spec) {
		published := false
		w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Times: 4, Match: func(c fakehub.Call) bool {
			published = published || c.Op == "update release"
			return published && c.Op == "get ref"
		}})
	})
	add("the latest is seen late", fakehub.Config{ListDelay: 10 * time.Second}, func(w *world, s *Spec) {
		w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("older"), Latest: true})
		published := false
		w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Times: 4, Match: func(c fakehub.Call) bool {
			published = published || c.Op == "update release"
			return published && c.Op == "get latest release"
		}})
	})
	return all
}

// inErrors is how the error of a failed call names it.
var inErrors = map[string]string{
	"get repository": "read the repository", "list installation repositories": "read what the token is",
	"get ref": "read the tag", "get tag object": "read the annotated tag", "get commit": "read the commit", "get contents": "read .github/workflows",
	"list releases": "list the releases", "get release by tag": "read the release of the tag", "get latest release": "read the latest release",
	"get release": "read ", "create release": "create the draft", "update release": "the", "delete release": "delete a draft",
	"list assets": "list the assets", "upload asset": "upload ", "delete asset": "delete an asset",
	"get asset": "to compare it", "get object": "to compare it", "dispatch": "dispatch the event",
}

// tolerated are calls whose failure keeps no release from being made.
var tolerated = map[string]bool{"generate notes": true}

// start makes a release of a scenario, one asset at a time. arm may prepare more.
func (x scenario) start(t *testing.T, arm func(*world), edit ...func(*Options)) (w *world, calls []fakehub.Call, err error) {
	synctest.Test(t, func(t *testing.T) {
		var spec Spec
		var options []func(*Options)
		w, spec, options = x.setup(t)
		if arm != nil {
			arm(w)
		}
		var rep *Report
		rep, err = w.client(append(append(options, serial), edit...)...).Release(t.Context(), spec)
		quiet(t, texts(t, rep, err)...)
		calls = w.hub.Calls()
		if spec.Existing == "" {
			w.neverIncomplete(spec)
		}
	})
	return w, calls, err
}

// endedAt asserts that a release ended at the last call that met a fault: its error
// names the call, and nothing was written afterwards.
func endedAt(t *testing.T, kind fakehub.FaultKind, calls []fakehub.Call, err error, cell string) {
	t.Helper()
	var at fakehub.Call
	for _, c := range calls {
		if c.Fault == kind {
			at = c
		}
	}
	require.NotZero(t, at.N, cell)
	require.NotEmpty(t, inErrors[at.Op], "%s: how do errors name it?", at.Op)
	require.ErrorContains(t, err, inErrors[at.Op], cell)
	for _, c := range calls {
		require.False(t, c.N > at.N && c.Write, "%s: %s after it", cell, c)
	}
}

// A refusal of any call, wherever it is made, ends the release there.
func TestEveryCallRefused(t *testing.T) {
	cells := 0
	for _, x := range scenarios() {
		_, calls, err := x.start(t, nil)
		require.NoError(t, err, x.name)
		for _, at := range calls {
			if tolerated[at.Op] {
				continue
			}
			fault := fakehub.Fault{Kind: fakehub.Denied, N: at.N}
			if at.Op == "list installation repositories" { // whose refusal is an answer
				fault = fakehub.Fault{Kind: fakehub.ServerError, Match: opIs(at.Op)}
			}
			cells++
			cell := fmt.Sprintf("%s: call %d (%s) refused", x.name, at.N, at.Op)
			_, got, err := x.start(t, func(w *world) { w.hub.Arm(fault) })
			endedAt(t, fault.Kind, got, err, cell)
		}
	}
	t.Logf("%d refusals, each the end of its release", cells)
}

// After any fault of any call, a refusal of one of the next two calls, among which
// are those that find out what the fault left, ends the release there.
func TestRefusedAfterAFault(t *testing.T) {
	everything := scenarios()[0]
	calls, _ := clean(t)
	cells := 0
	for _, kind := range []fakehub.FaultKind{fakehub.BadGateway, fakehub.ResetAfter, fakehub.Exists, fakehub.Corrupt} {
		for _, first := range calls {
			if !applies(kind, first, 0) {
				continue
			}
			for then := 1; then <= 2; then++ {
				cell := fmt.Sprintf("%s at call %d (%s), refused %d later", kind, first.N, first.Op, then)
				w, got, err := everything.start(t, func(w *world) {
					w.hub.Arm(fakehub.Fault{Kind: kind, N: first.N})
					w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: first.N + then})
				})
				if w.hub.FaultsMet() < 2 { // there is no such call
					require.NoError(t, err, cell)
					continue
				}
				cells++
				endedAt(t, fakehub.Denied, got, err, cell)
			}
		}
	}
	t.Logf("%d refusals after a fault", cells)
}

// A fault that lasts ends the release after as many tries as there may be.
func TestFaultsThatLast(t *testing.T) {
	done := map[string]bool{}
	for _, x := range scenarios() {
		_, calls, err := x.start(t, nil)
		require.NoError(t, err, x.name)
		for _, at := range calls {
			for _, kind := range []fakehub.FaultKind{fakehub.ServerError, fakehub.Reset} {
				key := fmt.Sprintf("%s on every %s", kind, at.Op)
				empty := slices.Contains([]string{"dispatch", "get asset", "delete asset", "delete release"}, at.Op) // no body that could break off
				if done[key] || tolerated[at.Op] || kind == fakehub.Reset && empty {
					continue
				}
				done[key] = true
				_, got, err := x.start(t, func(w *world) { w.hub.Arm(fakehub.Fault{Kind: kind, Match: opIs(at.Op)}) })
				require.ErrorContains(t, err, "gave up after 8 tries", "%s: %s", x.name, key)
				endedAt(t, kind, got, err, key)
			}
		}
	}
	t.Logf("%d faults of an operation that last", len(done))
}

// stopping is a clock of which one wait fails.
type stopping struct {
	wire.SystemClock
	n, at int
}

var errStopped = errors.New("stopped")

func (c *stopping) Sleep(ctx context.Context, d time.Duration) error {
	if c.n++; c.n == c.at {
		return errStopped
	}
	return c.SystemClock.Sleep(ctx, d)
}

// A wait that is broken off ends the release, wherever it waits.
func TestEveryWaitStopped(t *testing.T) {
	cells := 0
	every := func(x scenario, arm func(*world)) {
		clock := &stopping{}
		_, _, err := x.start(t, arm, func(o *Options) { o.Clock = clock })
		require.NoError(t, err, x.name)
		for at := 1; at <= clock.n; at++ {
			cells++
			_, _, err := x.start(t, arm, func(o *Options) { o.Clock = &stopping{at: at} })
			require.ErrorIs(t, err, errStopped, "%s: wait %d", x.name, at)
		}
	}
	all := scenarios()
	for _, x := range all {
		every(x, nil)
	}
	calls, _ := clean(t)
	for _, at := range calls {
		every(all[0], func(w *world) { w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: at.N}) })
	}
	t.Logf("%d waits, each the end of its release", cells)
}

// readers are all functions that read. Each returns the zero value with an error.
var readers = map[string]func(*Client, context.Context, string) (any, error){
	"Published": func(c *Client, ctx context.Context, owner string) (any, error) {
		return c.Published(ctx, owner, "hello", "v1.0.0")
	},
	"TagCommit": func(c *Client, ctx context.Context, owner string) (any, error) {
		return c.TagCommit(ctx, owner, "hello", "v1.0.0")
	},
	"RepositoryID": func(c *Client, ctx context.Context, owner string) (any, error) {
		return c.RepositoryID(ctx, owner, "hello")
	},
	"History": func(c *Client, ctx context.Context, owner string) (any, error) { return c.History(ctx, owner, "hello") },
	"ListAssets": func(c *Client, ctx context.Context, owner string) (any, error) {
		return c.ListAssets(ctx, owner, "hello", 1002)
	},
	"Download": func(c *Client, ctx context.Context, owner string) (any, error) {
		r, err := c.Download(ctx, owner, "hello", RemoteAsset{ID: 1003, Name: "a", Size: 5})
		if err != nil {
			return r, err
		}
		defer r.Close()
		return io.ReadAll(r)
	},
	"Plan": func(c *Client, ctx context.Context, owner string) (any, error) {
		return c.Plan(ctx, Spec{Owner: owner, Repo: "hello", Tag: "v1.0.0"})
	},
}

// What reads, fails when any of its calls is refused, doesn't wait past its
// deadline, and never shows the token.
func TestEveryReadRefused(t *testing.T) {
	for name, read := range readers {
		start := func(owner string, fault *fakehub.Fault, edit ...func(*Options)) (calls []fakehub.Call, got any, err error) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, fakehub.Config{})
				id := w.repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: w.commit, Latest: true, Files: []fakehub.File{{Name: "a", Data: []byte("hello")}}})
				require.EqualValues(t, 1002, id)
				w.repo.AnnotatedTag("v1.0.0", w.commit)
				if fault != nil {
					w.hub.Arm(*fault)
				}
				got, err = read(w.client(edit...), t.Context(), owner)
				calls = w.hub.Calls()
			})
			return calls, got, err
		}
		calls, _, err := start("octo", nil)
		require.NoError(t, err, name)
		require.NotEmpty(t, calls, name)
		for _, at := range calls {
			_, got, err := start("octo", &fakehub.Fault{Kind: fakehub.Denied, N: at.N})
			require.ErrorContains(t, err, "40", "%s: %s", name, at)
			require.NotErrorIs(t, err, ErrNotFound)
			require.Empty(t, got, "%s: %s", name, at)
			_, _, err = start("octo", &fakehub.Fault{Kind: fakehub.TooMany, N: at.N, RetryAfter: time.Hour}, func(o *Options) { o.deadline = time.Minute })
			require.ErrorContains(t, err, "past the deadline", "%s: %s", name, at)
		}
		for _, kind := range []fakehub.FaultKind{fakehub.Denied, fakehub.ServerError} {
			_, got, err := start(canary, &fakehub.Fault{Kind: kind})
			require.Error(t, err, name)
			require.Empty(t, got, name)
			quiet(t, err.Error(), fmt.Sprintf("%+v %#v", err, err))
		}
	}
}

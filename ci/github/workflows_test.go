package github

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// backport sets up a repository whose default branch has another workflow than
// the commit to release: because that is on an old branch, or because the
// default branch moved on.
func backport(t testing.TB, token string, access fakehub.Access, tagged bool) (*world, Spec, *Client) {
	w := newWorld(t, fakehub.Config{Tokens: map[string]fakehub.Access{token: access}})
	main := w.repo.Commit("main moved")
	w.repo.Main(main)
	w.repo.Workflows(main, map[string]string{"ci.yml": "on: [push, pull_request]", "release.yml": "on: push"})
	w.repo.Workflows(w.commit, map[string]string{"ci.yml": "on: push", "release.yml": "on: push"})
	w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: main, Title: "v2.0.0", Latest: true})
	if tagged {
		w.repo.Tag("v1.0.1", w.commit)
	}
	return w, w.spec("v1.0.1"), w.client(asToken(token))
}

func asToken(token string) func(*Options) {
	return func(o *Options) { o.Token = func(context.Context) (string, error) { return token, nil } }
}

// The tokens that may not touch workflows.
var noWorkflows = []struct {
	name, token string
	access      fakehub.Access
}{
	{"classic, repo", "ghp_CANARY", fakehub.Access{User: "octocat", Push: true, Scopes: "repo"}},
	{"a workflow's", "ghs_CANARY", fakehub.Access{Push: true, Installation: true}},
	{"fine-grained", "github_pat_CANARY", fakehub.Access{User: "octocat", Push: true}},
}

// A backport, and a release whose default branch moved, complete with any token
// that may write contents where the tag is there: no call names a target commit,
// which would be refused.
func TestBackportWithoutWorkflowPermission(t *testing.T) {
	for _, x := range noWorkflows {
		for _, draft := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w, spec, c := backport(t, x.token, x.access, true)
				if draft { // left by another run, at another commit and of the wrong kind
					w.repo.Seed(fakehub.Seed{Tag: spec.Tag, Commit: w.repo.Commit("old"), Title: spec.Title, Body: spec.Notes, Draft: true, Prerelease: true})
				}
				rep, err := c.Release(t.Context(), spec)
				require.NoError(t, err, x.name)
				require.Zero(t, rep.Retries)
				quiet(t, texts(t, rep, err)...)
				require.Len(t, onlyRelease(w, spec.Tag), 1)
				require.Contains(t, onlyRelease(w, spec.Tag)[0], "draft=false prerelease=false")
				require.Equal(t, "v2.0.0", w.repo.Latest())
				t.Logf("%s, draft left=%t: %s", x.name, draft, rep.Summary())
			})
		}
	}
}

// With the tag absent, a token that GitHub would refuse is refused by preflight,
// before anything is compiled or written, with what to do.
func TestBackportWithoutTagIsRefusedAtOnce(t *testing.T) {
	for _, x := range noWorkflows[:2] {
		synctest.Test(t, func(t *testing.T) {
			w, spec, c := backport(t, x.token, x.access, false)
			for i := range spec.Assets {
				spec.Assets[i] = Asset{Name: spec.Assets[i].Name} // nothing is built yet
			}
			_, err := c.Preflight(t.Context(), spec)
			var p *problemsError
			require.ErrorAs(t, err, &p, x.name)
			require.Len(t, p.Problems, 1, x.name)
			require.ErrorContains(t, err, "changes .github/workflows/ci.yml relative to the default branch")
			require.ErrorContains(t, err, "push the tag first (git push origin v1.0.1)")
			for _, call := range w.hub.Calls() {
				require.False(t, call.Write, call)
			}
			t.Log(x.name, "->", err)

			w.repo.Tag("v1.0.1", w.commit) // as it says
			_, err = c.Preflight(t.Context(), spec)
			require.NoError(t, err)
		})
	}
	// What may touch workflows creates the tag, as does anything where nothing
	// in them changed.
	for _, access := range []fakehub.Access{
		{User: "octocat", Push: true, Scopes: "repo, workflow"},
		{User: "octocat", Push: true, Scopes: "repo"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, spec, c := backport(t, "ghp_CANARY", access, false)
			if access.Scopes == "repo" {
				w.repo.Workflows(w.commit, map[string]string{"release.yml": "on: push"}) // one less is no change
			}
			rep, err := c.Release(t.Context(), spec)
			require.NoError(t, err)
			require.Contains(t, w.hub.Dump(), "tag v1.0.1 "+w.commit)
			quiet(t, texts(t, rep, err)...)
		})
	}
}

// What preflight can't see fails at the first write, at once, with the missing
// permission; GitHub's 404 for a release that is there is neither "gone" nor
// tried over and over.
func TestTargetRefusedAfterPreflight(t *testing.T) {
	fine := noWorkflows[2]
	synctest.Test(t, func(t *testing.T) {
		access := fine.access
		access.ReadOnly = false
		w, spec, c := backport(t, fine.token, access, false)
		rep, err := c.Release(t.Context(), spec)
		require.ErrorContains(t, err, "create the draft")
		require.ErrorContains(t, err, "push the tag first")
		require.ErrorContains(t, err, "permission workflows")
		require.Contains(t, rep.Plan.Text(), "a fine-grained token needs the permission workflows=write")
		require.Zero(t, rep.Retries)
		require.Zero(t, rep.BytesSent)
		require.Empty(t, w.repo.Releases("v1.0.1"))
	})
	for _, x := range []struct {
		name, token string
		access      fakehub.Access
		has         string
	}{
		{"404", "ghp_CANARY", fakehub.Access{User: "octocat", Push: true, Scopes: "repo"}, "the token may not change it"},
		{"403", "ghs_CANARY", fakehub.Access{Push: true, Installation: true}, `GitHub accepts the permissions "contents=write; contents=write,workflows=write"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, spec, c := backport(t, x.token, x.access, false)
			main := w.repo.Commit("main in the morning")
			w.repo.Workflows(main, map[string]string{"ci.yml": "on: push", "release.yml": "on: push"})
			w.repo.Main(main)
			// The default branch moves while assets are sent.
			w.hub.Arm(fakehub.Fault{Kind: fakehub.Nothing, N: 3, Match: opIs("upload asset"), Do: func(fakehub.Call) {
				w.repo.Workflows(main, map[string]string{"ci.yml": "on: [push, pull_request]"})
			}})
			start := time.Now()
			_, err := c.Release(t.Context(), spec)
			require.ErrorContains(t, err, "publish the release")
			require.ErrorContains(t, err, x.has)
			require.ErrorContains(t, err, "push the tag first")
			require.NotContains(t, err.Error(), "gone")
			tries := 0
			for _, call := range w.hub.Calls() {
				if call.Op == "update release" {
					tries++
				}
			}
			require.LessOrEqual(t, tries, triesOfThere)
			require.Less(t, time.Since(start), 30*time.Second)
			t.Logf("%s: %d tries in %s: %v", x.name, tries, time.Since(start), err)

			// As it says: with the tag, the next run completes it.
			w.repo.Tag("v1.0.1", w.commit)
			rep, err := c.Release(t.Context(), spec)
			require.NoError(t, err)
			require.Zero(t, rep.BytesSent)
			w.neverIncomplete(spec)
		})
	}
}

// A release that is really gone is made again.
func TestDraftThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, spec := full(t, fakehub.Config{})
		id := w.repo.Seed(fakehub.Seed{Tag: spec.Tag, Commit: spec.Commit, Draft: true})
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Nothing, N: 1, Match: opIs("update release"), Do: func(fakehub.Call) { w.repo.Delete(id) }})
		rep, err := w.client().Release(t.Context(), spec)
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "is gone")
		require.Len(t, w.repo.Releases(spec.Tag), 1)
		w.neverIncomplete(spec)
	})
}

func opIs(name string) func(fakehub.Call) bool {
	return func(c fakehub.Call) bool { return c.Op == name }
}

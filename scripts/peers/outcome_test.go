package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

var wanted = map[string]string{"a": "11", "b": "22"}

// event is an event of the release 1, or of another one.
func event(kind string, draft bool, assets ...string) fakehub.Event {
	e := fakehub.Event{Kind: kind, Release: 1, Tag: tag, Draft: draft, Assets: map[string]string{}}
	for i := 0; i < len(assets); i += 2 {
		e.Assets[assets[i]] = assets[i+1]
	}
	return e
}

func of(release int64, e fakehub.Event) fakehub.Event { e.Release = release; return e }

const a, b = "sha256:11", "sha256:22"

func TestOutcome(t *testing.T) {
	for _, c := range []struct {
		name           string
		events         []fakehub.Event
		complete, seen bool
		drafts         int
	}{
		{name: "nothing happened"},
		{name: "a draft", events: []fakehub.Event{event("create", true), event("upload", true, "a", a, "b", b)}, drafts: 1},
		{name: "a draft, then published", events: []fakehub.Event{event("create", true), event("publish", false, "a", a, "b", b)}, complete: true},
		{name: "published before its files", events: []fakehub.Event{event("publish", false), event("upload", false, "a", a, "b", b)}, complete: true, seen: true},
		{name: "published without a file", events: []fakehub.Event{event("publish", false, "a", a)}, seen: true},
		{name: "published with a starter", events: []fakehub.Event{event("publish", false, "a", a, "b", "starter")}, seen: true},
		{name: "published with a wrong file", events: []fakehub.Event{event("publish", false, "a", a, "b", a)}, seen: true},
		{name: "published with a file too many", events: []fakehub.Event{event("publish", false, "a", a, "b", b, "c", a)}, seen: true},
		{name: "a file is replaced in public", events: []fakehub.Event{
			event("publish", false, "a", a, "b", b), event("delete-asset", false, "a", a), event("upload", false, "a", a, "b", b),
		}, complete: true, seen: true},
		{name: "deleted", events: []fakehub.Event{event("publish", false, "a", a, "b", b), event("delete", false, "a", a, "b", b)}, seen: true},
		{name: "made a draft again", events: []fakehub.Event{event("publish", false, "a", a, "b", b), event("edit", true, "a", a, "b", b)}, drafts: 1},
		{name: "a draft beside it", events: []fakehub.Event{event("create", true), of(2, event("publish", false, "a", a, "b", b))}, complete: true, drafts: 1},
		{name: "a draft that was deleted", events: []fakehub.Event{event("create", true), event("delete", true), of(2, event("publish", false, "a", a, "b", b))}, complete: true},
		{name: "another tag", events: []fakehub.Event{{Kind: "publish", Release: 1, Tag: "v1.3.0"}}},
	} {
		assert.Equal(t, c.complete, complete(c.events, wanted), "complete: %s", c.name)
		assert.Equal(t, c.seen, exposed(c.events, wanted), "seen: %s", c.name)
		assert.Equal(t, c.drafts, drafts(c.events), "drafts: %s", c.name)
	}
}

func TestJudge(t *testing.T) {
	half := []fakehub.Event{event("create", true, "a", a)}
	whole := append(half[:1:1], event("publish", false, "a", a, "b", b))
	var o outcome
	o.judge(half, wanted, &attempt{code: 1}, false)
	assert.Equal(t, outcome{drafts: 1}, o)
	o.judge(whole, wanted, &attempt{code: 0}, true)
	assert.Equal(t, outcome{second: true}, o, "only the re-run completed it")

	o = outcome{}
	o.judge(half, wanted, &attempt{code: 0}, false)
	assert.True(t, o.lied, "success, and no release")
	o.judge(whole, wanted, &attempt{code: 1, ended: true}, true)
	assert.True(t, o.lied, "the re-run does not undo it")
	assert.True(t, o.ended)

	o = outcome{}
	o.judge(whole, wanted, &attempt{code: 1}, false)
	assert.True(t, o.first && o.second)
}

func TestCells(t *testing.T) {
	calls := []fakehub.Call{{Op: "create release"}, {Op: "upload asset"}, {Op: "upload asset"}, {Op: "update release"}}
	all := cells(&releaser{name: "x"}, calls, []fakehub.FaultKind{fakehub.ServerError, fakehub.Corrupt, fakehub.Hang})
	byKind := map[fakehub.FaultKind]int{}
	for _, c := range all {
		byKind[c.kind]++
		assert.Equal(t, c.kind == fakehub.Corrupt, c.uploads)
		assert.Equal(t, c.kind == fakehub.Hang, c.limit() == hangLimit)
	}
	assert.Equal(t, map[fakehub.FaultKind]int{fakehub.ServerError: 4, fakehub.Corrupt: 2, fakehub.Hang: 4}, byKind)
}

func TestCount(t *testing.T) {
	x, y := &releaser{name: "x"}, &releaser{name: "y"}
	all := []*cell{
		{tool: x, met: true, outcome: outcome{first: true, second: true}},
		{tool: x, met: true, outcome: outcome{second: true, seen: true, drafts: 2}},
		{tool: x, met: true, outcome: outcome{lied: true, ended: true}},
		{tool: x, outcome: outcome{first: true, second: true}}, // the fault was not met
		{tool: y, met: true},
	}
	assert.Equal(t, tally{cells: 3, first: 1, second: 2, seen: 1, lied: 1, ended: 1, drafts: 1}, count(all, "x"))
}

func TestDraftFirst(t *testing.T) {
	assert.Equal(t, "yes", draftFirst([]fakehub.Event{event("create", true), event("upload", true), event("publish", false)}).Text)
	assert.Equal(t, "no", draftFirst([]fakehub.Event{event("create", false), event("publish", false), event("upload", false)}).Text)
}

func TestRerun(t *testing.T) {
	assert.Equal(t, 1.0, rerun(&attempt{}, nil, 0, true).Value)
	for _, c := range []Cell{rerun(&attempt{code: 1}, nil, 0, true), rerun(&attempt{}, nil, 1, true), rerun(&attempt{}, nil, 0, false)} {
		assert.Zero(t, c.Value, c.Text)
	}
}

// The whole of it, with Gantry's publisher and two shell scripts as tools.
func TestMatrix(t *testing.T) {
	work := t.TempDir()
	f, err := makeFiles(filepath.Join(work, "files"), 2, 100)
	require.NoError(t, err)
	p, err := makeProject(t.Context(), filepath.Join(work, "project"), version)
	require.NoError(t, err)
	m := &matrix{env: newEnv(&options{}, work), files: f, project: p}
	gantry, err := gantryReleaser()
	require.NoError(t, err)

	made, events, err := m.plain(t.Context(), gantry)
	require.NoError(t, err)
	assert.Equal(t, "yes", draftFirst(events).Text)
	all := cells(gantry, made, []fakehub.FaultKind{fakehub.ServerError})
	require.NoError(t, m.run(t.Context(), all))
	got := count(all, Gantry)
	assert.Equal(t, tally{cells: len(made), first: len(made), second: len(made)}, got)

	liar := &releaser{name: "liar", command: func(ctx context.Context, s *stage) *exec.Cmd { return s.command(ctx, "work", nil, "true") }}
	_, _, err = m.plain(t.Context(), liar)
	assert.ErrorContains(t, err, "though nothing fails")
	one := &cell{tool: liar, kind: fakehub.ServerError, n: 1}
	require.NoError(t, m.play(t.Context(), one))
	assert.True(t, one.lied)
	assert.False(t, one.met)
}

// A run that takes too long is ended, with the processes that it started.
func TestLimit(t *testing.T) {
	work := t.TempDir()
	f, err := makeFiles(filepath.Join(work, "files"), 1, 10)
	require.NoError(t, err)
	p, err := makeProject(t.Context(), filepath.Join(work, "project"), version)
	require.NoError(t, err)
	s, err := newStage(filepath.Join(work, "stage"), f, p)
	require.NoError(t, err)
	defer s.close()
	slow := &releaser{name: "slow", command: func(ctx context.Context, s *stage) *exec.Cmd {
		return s.command(ctx, "work", nil, "sh", "-c", "sleep 300 & sleep 300")
	}}
	start := time.Now()
	got, err := s.run(t.Context(), slow, 100*time.Millisecond)
	require.NoError(t, err)
	assert.True(t, got.ended)
	assert.Less(t, time.Since(start), 30*time.Second)
}

// The same files are made each time.
func TestFiles(t *testing.T) {
	x, err := makeFiles(filepath.Join(t.TempDir(), "x"), 3, 1000)
	require.NoError(t, err)
	y, err := makeFiles(filepath.Join(t.TempDir(), "y"), 3, 1000)
	require.NoError(t, err)
	assert.Equal(t, x.want, y.want)
	assert.Len(t, x.want, 4)
	assert.Len(t, x.paths(), 4)
}

// Gantry's plan refuses a tag that is not the version in Cargo.toml, and only that.
func TestVersionIsChecked(t *testing.T) {
	r := &comparison{}
	var err error
	r.project, err = makeProject(t.Context(), t.TempDir(), version)
	require.NoError(t, err)
	other, err := makeProject(t.Context(), t.TempDir(), otherVersion)
	require.NoError(t, err)
	plans := func(p *project) error { return gantryPlans(t.Context(), p) }
	got, err := r.checked(other, plans)
	require.NoError(t, err)
	assert.Equal(t, "refused", got.Text)
	got, err = r.checked(r.project, plans)
	require.NoError(t, err)
	assert.Equal(t, "released", got.Text)
	r.project = other
	_, err = r.checked(other, plans)
	assert.ErrorContains(t, err, "the plan failed", "a tool that refuses everything checks nothing")
}

func TestTold(t *testing.T) {
	assert.Equal(t, "HTTP 403: Resource not accessible", told("first\n  HTTP 403: Resource not accessible\n}\n\n"))
	assert.Equal(t, "last", told("first\nlast\n"))
	assert.Equal(t, "failed: Resource not accessible", told("failed:   \x1b[1;32mResource not accessible\x1b[39m\n"))
}

// A tool without files makes the tag itself; a second run sees the tags of GitHub.
func TestToolWithoutFiles(t *testing.T) {
	work := t.TempDir()
	p, err := makeProject(t.Context(), filepath.Join(work, "project"), version)
	require.NoError(t, err)
	m := &matrix{env: newEnv(&options{}, work), files: &files{want: wanted}, project: p}
	plz := releasePlzReleaser("release-plz")
	s, err := m.stage("stage", plz)
	require.NoError(t, err)
	defer s.close()
	assert.Empty(t, s.files.want)
	tags := func() string {
		out, err := Output(s.command(t.Context(), "work", nil, "git", "tag"))
		require.NoError(t, err)
		return out
	}
	require.NoError(t, plz.before(t.Context(), s))
	assert.NotContains(t, s.hub.Dump(), "tag "+tag)
	s.started = true
	require.NoError(t, plz.before(t.Context(), s))
	assert.Equal(t, "v1.3.0", tags(), "it was not made yet")
	s.repo.Tag(tag, p.commit)
	require.NoError(t, plz.before(t.Context(), s))
	assert.Equal(t, "v1.3.0\nv1.4.0", tags())
	assert.True(t, complete([]fakehub.Event{event("publish", false)}, s.files.want))
	assert.False(t, complete(nil, s.files.want))
}

// A connection that is lost once is measured as often as the rounds say. A tool that never
// completes the release has no value.
func TestSentAgain(t *testing.T) {
	work := t.TempDir()
	r := &comparison{env: newEnv(&options{rounds: 3}, work)}
	var err error
	r.many, err = makeFiles(filepath.Join(work, "files"), 9, 1000)
	require.NoError(t, err)
	r.project, err = makeProject(t.Context(), filepath.Join(work, "project"), version)
	require.NoError(t, err)
	gantry, err := gantryReleaser()
	require.NoError(t, err)
	runs := 0
	counted := *gantry
	counted.command = func(ctx context.Context, s *stage) *exec.Cmd {
		runs++
		return gantry.command(ctx, s)
	}
	got, err := r.sentAgain(t.Context(), &counted, false)
	require.NoError(t, err)
	assert.False(t, got.Missing)
	assert.Positive(t, got.Value)
	assert.LessOrEqual(t, got.Value, 1000.0, "one file at most")
	assert.Equal(t, 3, runs, "Gantry completes each without a re-run")

	idle := &releaser{name: "idle", command: func(ctx context.Context, s *stage) *exec.Cmd { return s.command(ctx, "work", nil, "true") }}
	got, err = r.sentAgain(t.Context(), idle, false)
	require.NoError(t, err)
	assert.Equal(t, Text("never complete").With(errIncomplete.Error()), got)
}

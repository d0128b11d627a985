package github

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// full sets up a release that makes every kind of call: an annotated tag, an
// older release that is wrongly the latest for a moment, an event at the end.
func full(t testing.TB, cfg fakehub.Config) (*world, Spec) {
	w := newWorld(t, cfg)
	w.repo.AnnotatedTag("v1.2.0", w.commit)
	w.repo.Seed(fakehub.Seed{Tag: "v1.1.0", Commit: w.repo.Commit("older"), Title: "v1.1.0", Latest: true,
		Files: []fakehub.File{{Name: "old", Data: []byte("old")}}})
	spec := w.spec("v1.2.0")
	spec.Dispatch = &Dispatch{EventType: "gantry-release", Payload: map[string]any{"tag": "v1.2.0"}}
	return w, spec
}

// clean runs the full release without any fault, and returns the calls that it
// makes and the state that it ends in.
func clean(t *testing.T) (calls []fakehub.Call, dump string) {
	synctest.Test(t, func(t *testing.T) {
		w, spec := full(t, fakehub.Config{})
		_, err := w.client(serial).Release(t.Context(), spec)
		require.NoError(t, err)
		calls, dump = w.hub.Calls(), w.hub.Dump()
	})
	return calls, dump
}

// serial sends one asset at a time, so that the n-th call is always the same.
func serial(o *Options) { o.concurrency = 1 }

// overHTTP2 speaks HTTP/2.
func overHTTP2(w *world) func(*Options) {
	return func(o *Options) { o.Transport = w.hub.Transport(true, false) }
}

// applies says whether a fault can hit a call at all. A 404 "just after
// creation" needs something just created, "already exists" something that
// creates; corruption needs content.
func applies(k fakehub.FaultKind, c fakehub.Call, created int) bool {
	switch k {
	case fakehub.NotFound:
		return c.N > created && c.Op != "dispatch"
	case fakehub.Exists:
		return c.Op == "upload asset" || c.Op == "create release" || c.Op == "update release"
	case fakehub.Corrupt:
		return c.Op == "upload asset"
	}
	return true
}

// The faults of a single call, and whether HTTP/2 is needed for them.
var transient = []struct {
	kind  fakehub.FaultKind
	http2 bool
}{
	{fakehub.ServerError, false},
	{fakehub.ServerErrorAfter, false},
	{fakehub.BadGateway, false},
	{fakehub.BadGatewayAfter, false},
	{fakehub.Reset, false},
	{fakehub.ResetAfter, false},
	{fakehub.Reset, true},
	{fakehub.Refused, true},
	{fakehub.RefusedAfter, true},
	{fakehub.NotFound, false},
	{fakehub.NotFoundPage, false},
	{fakehub.Secondary, false},
	{fakehub.SecondaryBare, false},
	{fakehub.TooMany, false},
	{fakehub.Primary, false},
	{fakehub.Hang, false},
	{fakehub.HangAfter, false},
	{fakehub.HangAfter, true},
	{fakehub.Exists, false},
	{fakehub.LostBody, false},
	{fakehub.Page, false},
	{fakehub.Corrupt, false},
	{fakehub.Echo, false},
}

// Every call of a full release, times every fault: the release completes, ends
// in the same state to the byte, and is never public before it is complete.
func TestEveryCallTimesEveryFault(t *testing.T) {
	calls, want := clean(t)
	created := 0
	for _, c := range calls {
		if c.Op == "create release" {
			created = c.N
		}
	}
	cells, again := 0, []string{}
	retries := map[fakehub.FaultKind]int{}
	for _, f := range transient {
		for _, at := range calls {
			if !applies(f.kind, at, created) {
				continue
			}
			cells++
			cell := fmt.Sprintf("call %d (%s), %s, http2=%t", at.N, at.Op, f.kind, f.http2)
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: f.kind, N: at.N})
				options := []func(*Options){serial}
				if f.http2 {
					options = append(options, overHTTP2(w))
				}
				rep, err := w.client(options...).Release(t.Context(), spec)
				quiet(t, texts(t, rep, err)...)
				require.Equal(t, 1, w.hub.FaultsMet(), cell)
				if err != nil {
					again = append(again, cell+": "+err.Error())
					rep, err = w.client(options...).Release(t.Context(), spec)
				}
				require.NoError(t, err, cell)
				retries[f.kind] += rep.Retries
				require.Equal(t, want, w.hub.Dump(), cell)
				w.neverIncomplete(spec)
				require.Len(t, onlyRelease(w, "v1.2.0"), 1, cell)
			})
		}
	}
	t.Logf("%d calls of a full release, %d faults, %d cells: %d needed a second run",
		len(calls), len(transient), cells, len(again))
	for _, a := range again {
		t.Log("second run: ", a)
	}
	require.Empty(t, again)
	require.Len(t, calls, 24)
	require.Equal(t, 504, cells)
}

// onlyRelease lists the lines of the dump about releases of a tag.
func onlyRelease(w *world, tag string) []string {
	var out []string
	for line := range strings.Lines(w.hub.Dump()) {
		if strings.HasPrefix(line, "  release "+tag+" ") {
			out = append(out, line)
		}
	}
	return out
}

// The same fault on every call of an operation for a while: a service that is
// down for a minute, and one that comes and goes.
func TestFaultsInARow(t *testing.T) {
	_, want := clean(t)
	ops := []string{"get repository", "get ref", "get release by tag", "list releases", "create release", "upload asset",
		"list assets", "update release", "get latest release", "dispatch"}
	cells, again := 0, 0
	for _, f := range transient {
		for _, o := range ops {
			if f.kind == fakehub.NotFound && (strings.HasPrefix(o, "get re") || o == "create release" || o == "dispatch") ||
				f.kind == fakehub.Exists || f.kind == fakehub.Corrupt {
				continue
			}
			cells++
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{})
				w.hub.Arm(fakehub.Fault{Kind: f.kind, N: 1, Times: 4, Match: func(c fakehub.Call) bool { return c.Op == o }})
				options := []func(*Options){}
				if f.http2 {
					options = append(options, overHTTP2(w))
				}
				rep, err := w.client(options...).Release(t.Context(), spec)
				if err != nil {
					t.Logf("%s on every %s: %v", f.kind, o, err)
					again++
					rep, err = w.client(options...).Release(t.Context(), spec)
				}
				require.NoError(t, err, "%s on %s", f.kind, o)
				quiet(t, texts(t, rep, err)...)
				require.Equal(t, want, w.hub.Dump(), "%s on %s", f.kind, o)
				w.neverIncomplete(spec)
			})
		}
	}
	t.Logf("4 faults in a row on every operation: %d cells, %d needed a second run", cells, again)
	require.Zero(t, again, "second runs")
	require.Equal(t, 205, cells)
}

// A run that is cut off at any call, before or after the call was carried
// out, leaves a state from which the next run ends in the right one; also when
// lists don't show yet what the first run did.
func TestCutOffAtEveryCall(t *testing.T) {
	calls, want := clean(t)
	cells, worst := 0, time.Duration(0)
	for _, delay := range []time.Duration{0, 10 * time.Second} {
		for _, at := range calls {
			for _, kind := range []fakehub.FaultKind{fakehub.Reset, fakehub.ResetAfter} {
				cells++
				cell := fmt.Sprintf("cut off at call %d (%s), %s, lists %s behind", at.N, at.Op, kind, delay)
				synctest.Test(t, func(t *testing.T) {
					w, spec := full(t, fakehub.Config{ListDelay: delay})
					ctx, cancel := context.WithCancel(t.Context())
					w.hub.Arm(fakehub.Fault{Kind: kind, N: at.N, Do: func(fakehub.Call) { cancel() }})
					rep, err := w.client(serial).Release(ctx, spec)
					require.Error(t, err, cell)
					quiet(t, texts(t, rep, err)...)
					w.hub.Forget()
					rep, err = w.client(serial).Release(t.Context(), spec)
					require.NoError(t, err, cell)
					time.Sleep(time.Minute)
					require.Equal(t, want, strip(w.hub.Dump()), cell)
					w.neverIncomplete(spec)
					require.Zero(t, rep.Retries, cell)
					worst = max(worst, time.Duration(rep.Took))
				})
			}
		}
	}
	require.Equal(t, 96, cells)
	t.Logf("%d cells: every second run ended in the same state; the slowest waited %s (for an upload that might still run)", cells, worst)
}

// Lists that lag behind, at every fault: the release still is one.
func TestLaggingLists(t *testing.T) {
	calls, want := clean(t)
	cells, again := 0, 0
	for _, kind := range []fakehub.FaultKind{fakehub.HangAfter, fakehub.BadGatewayAfter, fakehub.ResetAfter, fakehub.LostBody} {
		for _, at := range calls {
			cells++
			cell := fmt.Sprintf("call %d (%s), %s, lists 10 s behind", at.N, at.Op, kind)
			synctest.Test(t, func(t *testing.T) {
				w, spec := full(t, fakehub.Config{ListDelay: 10 * time.Second})
				w.hub.Arm(fakehub.Fault{Kind: kind, N: at.N})
				_, err := w.client(serial).Release(t.Context(), spec)
				if err != nil {
					t.Log(cell, err)
					again++
					_, err = w.client(serial).Release(t.Context(), spec)
				}
				require.NoError(t, err, cell)
				time.Sleep(time.Minute)
				require.Equal(t, want, strip(w.hub.Dump()), cell)
				w.neverIncomplete(spec)
			})
		}
	}
	t.Logf("%d cells, %d needed a second run", cells, again)
	require.Zero(t, again, "second runs")
	require.Equal(t, 96, cells)
}

// strip drops releases that are deleted but still in lagging lists.
func strip(dump string) string {
	var out strings.Builder
	skip := false
	for line := range strings.Lines(dump) {
		if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "    ") {
			skip = strings.HasPrefix(line, "  release deleted-")
		}
		if !skip {
			out.WriteString(line)
		}
	}
	return out.String()
}

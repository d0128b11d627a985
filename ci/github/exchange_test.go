package github

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	gh "github.com/google/go-github/v84/github"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// served is a transport that answers by itself, or leaves a request, by answering
// nil, to the one behind it.
type served struct {
	behind http.RoundTripper
	answer func(*http.Request) *http.Response
}

func (s served) RoundTrip(req *http.Request) (*http.Response, error) {
	if resp := s.answer(req); resp != nil {
		resp.Request = req
		return resp, nil
	}
	return s.behind.RoundTrip(req)
}

// reply is an answer of unknown length.
func reply(status int, kind, body string, header ...string) *http.Response {
	h := http.Header{"Content-Type": {kind}}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body))}
}

const asJSON, asBytes = "application/json", "application/octet-stream"

// serving answers some requests of a client.
func serving(answer func(*http.Request) *http.Response) func(*Options) {
	return func(o *Options) { o.Transport = served{o.Transport, answer} }
}

// once answers some requests of a client, the first few times.
func once(answer func(*http.Request) *http.Response, times int) func(*Options) {
	return serving(func(req *http.Request) *http.Response {
		if times == 0 {
			return nil
		}
		resp := answer(req)
		if resp != nil {
			times--
		}
		return resp
	})
}

// altering edits the objects that a client gets.
type altered struct {
	http.RoundTripper
	edit func(*http.Request, map[string]any)
}

func (a altered) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	if json.Unmarshal(body, &m) == nil {
		a.edit(req, m)
		body, _ = json.Marshal(m)
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return resp, nil
}

func altering(edit func(*http.Request, map[string]any)) func(*Options) {
	return func(o *Options) { o.Transport = altered{o.Transport, edit} }
}

func count(w *world, op string) (n int) {
	for _, c := range w.hub.Calls() {
		if c.Op == op {
			n++
		}
	}
	return n
}

// inBubble makes a release of v1.0.0. setup may prepare it.
func inBubble(t *testing.T, cfg fakehub.Config, setup func(*world, *Spec), check func(*testing.T, *world, *Report, error), edit ...func(*Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		spec := w.spec("v1.0.0")
		if setup != nil {
			setup(w, &spec)
		}
		rep, err := w.client(append([]func(*Options){serial}, edit...)...).Release(t.Context(), spec)
		check(t, w, rep, err)
	})
}

// endsWith asserts how a release ended.
func endsWith(says string) func(*testing.T, *world, *Report, error) {
	return func(t *testing.T, w *world, _ *Report, err error) {
		t.Helper()
		require.ErrorContains(t, err, says)
	}
}

// What GitHub answers to a change is compared with what was asked for.
func TestAnswersThatAreNotWhatWasAskedFor(t *testing.T) {
	upload := func(field string, value any, always bool) func(*Options) {
		n := 0
		return altering(func(req *http.Request, m map[string]any) {
			if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/assets") {
				if n++; n == 1 || always {
					m[field] = value
				}
			}
		})
	}
	unpublished := func(t *testing.T, w *world, says string, err error) {
		t.Helper()
		require.ErrorContains(t, err, says)
		require.Zero(t, kinds(w)["publish"])
	}
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, _ *Report, err error) {
		unpublished(t, w, `GitHub renamed it to "hello.tar.gz"; choose a plainer name`, err)
		require.Equal(t, 1, kinds(w)["delete-asset"])
		require.Equal(t, 1, kinds(w)["upload"], "another try would be renamed too")
	}, upload("name", "hello.tar.gz", true))
	for says, edit := range map[string]func(bool) func(*Options){
		`its state is "open"`:           func(always bool) func(*Options) { return upload("state", "open", always) },
		"it has 5 bytes, not 3000":      func(always bool) func(*Options) { return upload("size", 5, always) },
		"its SHA-256 is 012345678901, ": func(always bool) func(*Options) { return upload("digest", "sha256:0123456789012", always) },
	} {
		inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, _ *Report, err error) {
			unpublished(t, w, "it arrived changed: "+says, err)
			require.Equal(t, 8, kinds(w)["upload"])
		}, edit(true))
		inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err)
			require.Equal(t, 4, kinds(w)["upload"], "sent again once")
			require.Equal(t, 1, rep.Retries)
		}, edit(false))
	}
	for _, x := range []struct {
		field string
		value any
		says  string
	}{{"draft", true, `GitHub answered with draft=true, tag "v1.0.0"`}, {"tag_name", "v2", `GitHub answered with draft=false, tag "v2"`}} {
		inBubble(t, fakehub.Config{}, nil, endsWith(x.says), altering(func(req *http.Request, m map[string]any) {
			if req.Method == http.MethodPatch {
				m[x.field] = x.value
			}
		}))
	}
	// Another release of the tag is read back: what is there is compared.
	n := 0
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "the tag has release 5, not ")
	}, altering(func(req *http.Request, m map[string]any) {
		if strings.Contains(req.URL.Path, "/releases/tags/") && m["id"] != nil {
			if n++; n == 1 {
				m["id"] = 5
			}
		}
	}))
}

// after picks the calls of an operation after the first change of a release.
func after(op string) func(fakehub.Call) bool {
	changed := false
	return func(c fakehub.Call) bool {
		changed = changed || c.Op == "update release"
		return changed && c.Op == op
	}
}

// What was published is read back as everybody sees it, for a while.
func TestReadBack(t *testing.T) {
	arm := func(op string, times int) func(*world, *Spec) {
		return func(w *world, s *Spec) {
			w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Times: times, Match: after(op)})
		}
	}
	fine := func(t *testing.T, w *world, rep *Report, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, 1, kinds(w)["publish"])
		require.False(t, rep.Release.Draft)
		require.Empty(t, rep.Notes)
	}
	// A tag is asked for twice before it counts as absent.
	inBubble(t, fakehub.Config{}, arm("get ref", 15), fine)
	inBubble(t, fakehub.Config{}, arm("get ref", 16), endsWith(`read back the tag "v1.0.0": it is not there`))
	inBubble(t, fakehub.Config{}, arm("get release by tag", 7), fine)
	inBubble(t, fakehub.Config{}, arm("get release by tag", 8), endsWith(`read the published release: tag "v1.0.0" still has none`))
	inBubble(t, fakehub.Config{NoDigests: true}, func(w *world, s *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Nothing, N: 1, Match: after("list assets"), Do: func(fakehub.Call) {
			id := w.repo.Releases(s.Tag)[0]
			w.repo.Detach(id, "SHA256SUMS")
			w.repo.Attach(id, fakehub.File{Name: "SHA256SUMS", Data: bytesOf("other", 200)})
		}})
	}, endsWith(`read back asset "SHA256SUMS": its SHA-256 is `))
	// A draft that lists don't show is published all the same.
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, rep *Report, err error) {
		fine(t, w, rep, err)
		require.Equal(t, "v1.0.0", w.repo.Latest())
	}, serving(func(req *http.Request) *http.Response {
		if req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/releases") {
			return reply(200, asJSON, "[]")
		}
		return nil
	}))
}

// What is gone by the time that it is to be deleted needs no deleting; what is
// gone and needed is planned anew.
func TestGoneMeanwhile(t *testing.T) {
	young := func(w *world, s *Spec) int64 {
		return w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files[0].Starter, x.Files[0].Age = true, 20*time.Second }))
	}
	fine := func(deletes int) func(*testing.T, *world, *Report, error) {
		return func(t *testing.T, w *world, rep *Report, err error) {
			t.Helper()
			require.NoError(t, err)
			require.Equal(t, 1, kinds(w)["publish"])
			require.Equal(t, deletes, count(w, "delete asset"))
			for _, x := range rep.Extra {
				require.NotEqual(t, Upload, x.Action, "an upload that was forgotten at first")
			}
		}
	}
	name := func(s *Spec) string { return s.Assets[0].Name }
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		id := young(w, s)
		w.between("list assets", 2, func() { w.repo.Detach(id, name(s)) })
	}, fine(0))
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		id := young(w, s)
		w.between("list assets", 2, func() {
			w.repo.Detach(id, name(s))
			w.repo.Attach(id, fakehub.File{Name: name(s), Starter: true})
		})
	}, fine(1))
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		id := young(w, s)
		w.between("delete asset", 1, func() { w.repo.Detach(id, name(s)) })
	}, fine(1))

	spares := func(op string) func(*world, *Spec) {
		return func(w *world, s *Spec) {
			empty := fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Title: s.Title, Body: s.Notes, Draft: true}
			w.repo.Seed(empty)
			spare := w.repo.Seed(empty)
			w.between(op, 1, func() { w.repo.Delete(spare) })
		}
	}
	for op, deletes := range map[string]int{"get release": 0, "delete release": 1} {
		inBubble(t, fakehub.Config{}, spares(op), func(t *testing.T, w *world, rep *Report, err error) {
			fine(0)(t, w, rep, err)
			require.Equal(t, deletes, count(w, "delete release"), op)
			require.Len(t, rep.Done, len(rep.Plan.Steps), "it is done with")
		})
	}

	// The draft is deleted while it is published.
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.BadGateway, N: 1, Match: opIs("update release"), Do: func(fakehub.Call) {
			w.repo.Delete(w.repo.Releases(s.Tag)[0])
		}})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, 1, kinds(w)["publish"])
		require.Contains(t, rep.Text(), "is gone")
	})
	// A refused change is asked about: who may not read knows no more.
	for kind, says := range map[fakehub.FaultKind]string{fakehub.Denied: "read the release: ", fakehub.Nothing: "exists, so the token may not change it"} {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, Match: opIs("update release")})
			w.hub.Arm(fakehub.Fault{Kind: kind, Match: opIs("get release")})
		}, endsWith(says))
	}
	for kind, says := range map[fakehub.FaultKind]string{fakehub.Denied: "read the release: ", fakehub.Nothing: "promote v2.0.0: "} {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: w.repo.Commit("two")})
			w.repo.Seed(fakehub.Seed{Tag: "v0.1.0", Commit: w.repo.Commit("newest"), Latest: true})
			w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, Match: opIs("update release"), N: 2, Times: -1})
			w.hub.Arm(fakehub.Fault{Kind: kind, Match: opIs("get release")})
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.ErrorContains(t, err, says)
			require.Equal(t, 1+triesOfThere, count(w, "update release"))
		})
	}
	// An upload into a draft that is gone for good.
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, Match: opIs("upload asset")})
	}, endsWith("is gone"))
	// An immutable release, which another run published.
	for _, x := range []struct {
		method, suffix string
	}{{http.MethodPost, "/assets"}, {http.MethodDelete, ""}} {
		n := 0
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, true, func(f *fakehub.Seed) { f.Files[0].Starter, f.Files[0].Age = true, time.Hour }))
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err)
			require.Contains(t, rep.Text(), "it was published")
			require.Zero(t, rep.Retries)
		}, serving(func(req *http.Request) *http.Response {
			if req.Method == x.method && strings.HasSuffix(req.URL.Path, x.suffix) {
				if n++; n == 1 {
					return reply(422, asJSON, `{"message": "Cannot change an immutable release"}`)
				}
			}
			return nil
		}))
	}
}

// An asset that GitHub says is there, time and again, is waited for longer.
func TestExistsAgain(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) { w.repo.Tag(s.Tag, s.Commit) }, func(t *testing.T, w *world, rep *Report, err error) {
		require.ErrorContains(t, err, "gave up after 8 tries")
		require.Equal(t, time.Duration((2+4+8+16+30+30)*time.Second), rep.Waited, "all but the first time")
	}, serving(func(req *http.Request) *http.Response {
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/assets") {
			return reply(422, asJSON, `{"message": "Validation Failed", "errors": [{"resource": "ReleaseAsset", "code": "already_exists", "field": "name"}]}`)
		}
		return nil
	}))
}

// GitHub is asked to make the highest the latest again, but not for ever.
func TestPromotingIsGivenUp(t *testing.T) {
	promoted := 0
	ignoring := serving(func(req *http.Request) *http.Response {
		if req.Method == http.MethodPatch {
			body, _ := io.ReadAll(req.Body)
			req.Body = io.NopCloser(bytes.NewReader(body))
			if string(bytes.TrimSpace(body)) == `{"make_latest":"true"}` {
				promoted++
				return reply(200, asJSON, "{}")
			}
		}
		return nil
	})
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: w.repo.Commit("two")})
		w.repo.Seed(fakehub.Seed{Tag: "v0.1.0", Commit: w.repo.Commit("newest"), Latest: true})
	}, endsWith(`promote v2.0.0: GitHub still shows "v0.1.0" as the latest`), ignoring)
	require.Equal(t, 7, promoted, "at once, after two waits, and after each wait then")

	// What lists don't show is promoted all the same; the reason is the one that
	// was planned.
	var w *world
	published, latest := false, 0
	hiding := serving(func(req *http.Request) *http.Response {
		published = published || req.Method == http.MethodPatch
		switch {
		case published && strings.HasSuffix(req.URL.Path, "/releases"):
			return reply(200, asJSON, "[]")
		case published && strings.HasSuffix(req.URL.Path, "/releases/latest"):
			if latest++; latest < 2 {
				return reply(200, asJSON, `{"id": 7, "tag_name": "v0.9.0"}`)
			}
		}
		return nil
	})
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, world *world, rep *Report, err error) {
		require.NoError(t, err)
		w = world
		require.Contains(t, rep.Text(), "also: promote v1.0.0 to latest (it is v0.9.0)")
	}, hiding)
	require.Equal(t, 2, count(w, "update release"))
	published, latest = false, 0
	inBubble(t, fakehub.Config{}, func(w *world, _ *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, Match: after("get release by tag"), N: 2})
	}, endsWith("read the release of the tag"), hiding)

	published, latest = false, 1
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "also: promote v1.0.0 to latest (no release is the latest)")
	}, hiding, serving(func(req *http.Request) *http.Response {
		if published && latest == 1 && strings.HasSuffix(req.URL.Path, "/releases/latest") {
			latest++
			return reply(404, asJSON, `{"message": "Not Found"}`)
		}
		return nil
	}))
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Latest = false }))
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, "v1.0.0", w.repo.Latest())
		require.Contains(t, rep.Plan.Text(), "promote v1.0.0 to latest (no release is the latest)")
	}, once(func(req *http.Request) *http.Response {
		if strings.HasSuffix(req.URL.Path, "/releases/latest") {
			return reply(404, asJSON, `{"message": "Not Found"}`)
		}
		return nil
	}, 2))

	// A planned promotion stays that, when another release is the latest by then.
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Latest = false }))
		w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("newer"), Latest: true})
		w.between("get latest release", 2, func() {
			w.repo.Seed(fakehub.Seed{Tag: "v0.9.1", Commit: w.repo.Commit("newest"), Latest: true})
		})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Empty(t, rep.Extra)
		require.Contains(t, rep.Text(), "promote v1.0.0 to latest (it is v0.9.0)")
	})
}

// Texts that are filled in, and those that are kept.
func TestTextsOfDrafts(t *testing.T) {
	const title, notes = "the draft's title is kept", "the draft's notes differ"
	for _, x := range []struct {
		title, body         string
		wantTitle, wantBody string
		says, silent        []string
	}{
		{"", "", "v1.0.0", "What changed.", nil, []string{title, notes}},
		{"Mine", "", "Mine", "What changed.", []string{title}, []string{notes}},
		{"", "Mine.", "v1.0.0", "Mine.", []string{notes}, []string{title}},
		{"Mine", "Mine.", "Mine", "Mine.", []string{title, notes}, nil},
		{"v1.0.0", "What changed.\r\n", "v1.0.0", "What changed.\r\n", nil, []string{title, notes}},
	} {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Title: x.title, Body: x.body, Draft: true})
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err)
			require.Contains(t, w.hub.Dump(), fmt.Sprintf("    title %q\n    body %q\n", x.wantTitle, x.wantBody))
			for _, s := range x.says {
				require.Contains(t, rep.Text(), s)
			}
			for _, s := range x.silent {
				require.NotContains(t, rep.Text(), s)
			}
		})
	}
}

// What a plan notes of what is there and stays.
func TestNotesOfPlans(t *testing.T) {
	extra := func(x *fakehub.Seed) {
		x.Files = append(x.Files, fakehub.File{Name: "other", Data: []byte("x")}, fakehub.File{Name: "half", Starter: true})
	}
	for says, setup := range map[string]func(*world, *Spec){
		"the draft has other, which is not part of this release: kept":             func(w *world, s *Spec) { w.repo.Seed(seeded(s, true, extra)) },
		"the published release has other, which is not part of this release: kept": func(w *world, s *Spec) { w.repo.Seed(seeded(s, false, extra)) },
		"the published release has prerelease=true: kept": func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Prerelease, x.Latest = true, false }))
			s.Existing = ExistingFill
		},
		"the published release has a different SHA256SUMS: it has 1 bytes, not 200: kept": func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files[2].Data = []byte("x") }))
			s.Existing = ExistingFill
		},
		"another draft of the tag remains: 1006": func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, nil))
			w.repo.Seed(fakehub.Seed{Tag: s.Tag, Draft: true})
		},
		"the release is published already": func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, nil))
			s.DraftOnly = true
		},
		"the notes are longer than 125000 characters: cut at a line": func(w *world, s *Spec) { s.Notes = strings.Repeat("x\n", maxBody) },
	} {
		inBubble(t, fakehub.Config{}, setup, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err, says)
			require.Contains(t, rep.Plan.Notes, says)
			require.NotContains(t, rep.Text(), "half, which")
		})
	}
	// What can't be changed comes without advice how to change it.
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Immutable()
		w.repo.Seed(seeded(s, false, func(x *fakehub.Seed) { x.Files = x.Files[:2] }))
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.ErrorContains(t, err, "lacks SHA256SUMS\n")
		require.NotContains(t, err.Error(), "--existing")
	})
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, "release v1.0.0 of octo/hello at "+w.commit[:12]+`
found: none
plan: create draft, upload 3 of 3, publish
  create draft v1.0.0
  upload hello-x86_64-unknown-linux-gnu.tar.gz (3000 bytes)
  upload hello-aarch64-unknown-linux-gnu.tar.gz (2000 bytes)
  upload SHA256SUMS (200 bytes)
  publish v1.0.0 (as latest)
`, rep.Plan.Text())
		require.Equal(t, "create draft, upload 3 of 3, publish", rep.Summary())
		rep.DryRun = true
		require.Equal(t, "dry run: create draft, upload 3 of 3, publish", rep.Summary())
		require.Contains(t, rep.Text(), rep.Plan.Text()+"dry run: nothing was written\n")
		require.False(t, rep.Release.Draft)
	})
	inBubble(t, fakehub.Config{}, func(_ *world, s *Spec) { s.DraftOnly = true }, func(t *testing.T, _ *world, rep *Report, err error) {
		require.NoError(t, err)
		require.True(t, rep.Release.Draft)
	})
}

// Whether a token may write is asked once a run, however often it plans.
func TestAskedOnce(t *testing.T) {
	cfg := fakehub.Config{Tokens: map[string]fakehub.Access{canary: {User: "a", Push: true}}}
	inBubble(t, cfg, func(w *world, s *Spec) {
		w.between("upload asset", 3, func() { w.repo.Detach(w.repo.Releases(s.Tag)[0], s.Assets[0].Name) })
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "planned again")
		require.Equal(t, 1, count(w, "generate notes"))
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Hang, Match: opIs("generate notes"), Do: func(fakehub.Call) { cancel() }})
		_, err := w.client().Release(ctx, w.spec("v1.0.0"))
		require.ErrorContains(t, err, "ask whether the token may write")
	})
}

// What is wrong with a repository or a token is a problem or an error.
func TestRepositoriesAndTokens(t *testing.T) {
	inBubble(t, fakehub.Config{}, nil, endsWith(`repository "octo/hello" is now "octo/world": use the new name`), altering(func(_ *http.Request, m map[string]any) {
		if m["full_name"] != nil {
			m["full_name"] = "octo/world"
		}
	}))
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, _ *world, _ *Report, err error) { require.NoError(t, err) }, altering(func(_ *http.Request, m map[string]any) {
		if m["full_name"] != nil {
			m["full_name"] = "Octo/Hello"
		}
	}))
	inBubble(t, fakehub.Config{}, nil, func(t *testing.T, w *world, _ *Report, err error) {
		require.EqualError(t, err, "get the token: no vault")
		require.Empty(t, w.hub.Calls())
	}, func(o *Options) {
		o.Token = func(context.Context) (string, error) { return "", errors.New("no vault") }
	})
	inBubble(t, fakehub.Config{}, nil, endsWith("is not in the repository: push it first"), serving(func(req *http.Request) *http.Response {
		if strings.Contains(req.URL.Path, "/git/commits/") {
			return reply(422, asJSON, `{"message": "The SHA does not exist"}`)
		}
		return nil
	}))
	synctest.Test(t, func(t *testing.T) { // and many files are named in order
		w := newWorld(t, fakehub.Config{})
		files, names := map[string]string{}, []string{}
		for i := range 20 {
			names = append(names, fmt.Sprintf("%02d.yml", i))
			files[names[i]] = "on: push"
		}
		w.repo.Workflows(w.commit, files)
		w.repo.Main(w.repo.Commit("main"))
		_, err := w.client().Release(t.Context(), w.spec("v1.0.0"))
		require.ErrorContains(t, err, strings.Join(names, ", "))
	})
}

// A tag of tags is followed, but not for ever.
func TestTagsOfTags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		_, err := w.client().TagCommit(t.Context(), "octo", "hello", "v1.0.0")
		require.ErrorIs(t, err, ErrNotFound)
		require.ErrorContains(t, err, `read the tag "v1.0.0"`)
		at := w.commit
		for range 9 {
			at = w.repo.AnnotatedTag("v1.0.0", at)
		}
		commit, err := w.client().TagCommit(t.Context(), "octo", "hello", "v1.0.0")
		require.NoError(t, err)
		require.Equal(t, w.commit, commit)
		w.repo.AnnotatedTag("v1.0.0", w.repo.AnnotatedTag("v1.0.0", at))
		_, err = w.client().TagCommit(t.Context(), "octo", "hello", "v1.0.0")
		require.ErrorContains(t, err, "annotated tags nested more than 10 deep")
	})
}

// Lists: what is in them, in which order, once.
func TestListsOfReleases(t *testing.T) {
	client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) {
		return 200, asJSON, `[
			{"id": 1, "tag_name": "a", "published_at": "2026-01-01T00:00:00Z", "assets": [{"id": 5, "name": "x", "size": 7}]},
			{"id": 2, "tag_name": "b", "published_at": "2026-01-03T00:00:00Z"},
			{"id": 1, "tag_name": "a", "published_at": "2026-01-01T00:00:00Z"},
			{"id": 3, "tag_name": "c", "draft": true},
			{"id": 4, "tag_name": "d", "published_at": "2026-01-02T00:00:00Z"}]`
	})})
	require.NoError(t, err)
	tags := func(all []*Release) (out string) {
		for _, r := range all {
			out += r.Tag
		}
		return out
	}
	all, err := client.History(t.Context(), "o", "r")
	require.NoError(t, err)
	require.Equal(t, "bda", tags(all))
	require.Equal(t, []RemoteAsset{{ID: 5, Name: "x", Size: 7}}, all[2].Assets)
	require.EqualValues(t, 1, client.Requests())
}

func TestRepositoryID(t *testing.T) {
	for _, x := range []struct {
		status, tries int
		body          string
		id            int64
		err           string
	}{
		{200, 1, `{"id": 7}`, 7, ""},
		{200, 1, `{"id": 1}`, 1, ""},
		{200, 1, `{"id": 0}`, 0, `read repository "o/r": the answer has the id 0`},
		{404, 2, `{"message": "Not Found"}`, 0, `read repository "o/r": not found`},
		{401, 1, `{"message": "Bad credentials"}`, 0, "the token is not accepted"},
	} {
		synctest.Test(t, func(t *testing.T) {
			client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) { return x.status, asJSON, x.body })})
			require.NoError(t, err)
			id, err := client.RepositoryID(t.Context(), "o", "r")
			require.Equal(t, x.id, id)
			require.EqualValues(t, x.tries, client.Requests())
			require.Equal(t, x.status == 404, errors.Is(err, ErrNotFound))
			if x.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, x.err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) { return 404, asJSON, `{"message": "Not Found"}` })})
		require.NoError(t, err)
		_, err = client.ListAssets(t.Context(), "o", "r", 7)
		require.ErrorContains(t, err, "release 7 is gone")
	})
}

// What limits announce is waited for before the next call.
func TestLimitsThatAreReached(t *testing.T) {
	for _, x := range []struct {
		remaining, reset string
		status           int
		want             time.Duration
	}{
		{"0", "40", 200, 41 * time.Second}, {"0", "", 200, time.Minute}, {"1", "40", 200, 0}, {"", "40", 200, 0}, {"0", "-40", 200, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			client, err := New(Options{Transport: served{nil, func(*http.Request) *http.Response {
				if n++; n > 1 {
					return reply(200, asJSON, `{"id": 7}`)
				}
				resp := reply(x.status, asJSON, `{"id": 7}`, "X-RateLimit-Remaining", x.remaining)
				if d, err := time.ParseDuration(x.reset + "s"); err == nil {
					resp.Header.Set("X-RateLimit-Reset", fmt.Sprint(time.Now().Add(d).Unix()))
				}
				return resp
			}}})
			require.NoError(t, err)
			start := time.Now()
			for range 2 {
				_, err := client.RepositoryID(t.Context(), "o", "r")
				require.NoError(t, err)
			}
			require.Equal(t, x.want, time.Since(start), "%+v", x)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client, err := New(Options{deadline: time.Minute, Transport: answers(func(*http.Request) (int, string, string) { return 200, asJSON, `{"id": 7}` })})
		require.NoError(t, err)
		client.pace.hold(time.Hour, "something")
		_, err = client.RepositoryID(t.Context(), "o", "r")
		require.ErrorContains(t, err, "for something: that is past the deadline")
		client.o.deadline = 3 * time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = client.RepositoryID(ctx, "o", "r")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, client.Requests())
	})
	// A refusal in a page is no limit.
	client, err := New(Options{Transport: answers(func(*http.Request) (int, string, string) { return 403, "text/html", "rate limit" })})
	require.NoError(t, err)
	_, err = client.RepositoryID(t.Context(), "o", "r")
	require.ErrorContains(t, err, "403")
	require.EqualValues(t, 1, client.Requests())
}

func TestAnswersBehindErrors(t *testing.T) {
	resp := &http.Response{StatusCode: 418, Request: &http.Request{}}
	for _, err := range []error{
		&gh.ErrorResponse{Response: resp}, &gh.RateLimitError{Response: resp}, &gh.AbuseRateLimitError{Response: resp},
		&gh.TwoFactorAuthError{Response: resp}, &gh.RedirectionError{Response: resp},
	} {
		assert.Equal(t, 418, statusOf(fmt.Errorf("wrapped: %w", err)), "%T", err)
	}
	assert.Zero(t, statusOf(errors.New("other")))
	assert.Zero(t, statusOf(nil))
}

// The deadline is the reason, also where a call was cut off by it.
func TestDeadlineInACall(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, _ *Spec) {
		w.hub.Arm(fakehub.Fault{Kind: fakehub.Hang, Match: opIs("list releases")})
	}, func(t *testing.T, _ *world, _ *Report, err error) {
		require.ErrorContains(t, err, "the deadline of 20s passed; run it again to go on: list the releases: ")
	}, func(o *Options) { o.deadline = 20 * time.Second })
}

// A token in whatever is named is taken out of errors.
func TestRedaction(t *testing.T) {
	client, err := New(Options{Token: func(context.Context) (string, error) { return " " + canary + "\n", nil }})
	require.NoError(t, err)
	token, err := client.token(t.Context())
	require.NoError(t, err)
	require.Equal(t, canary, token)
	require.NoError(t, client.redactErr(nil))
	require.EqualError(t, client.redactErr(fmt.Errorf("bad %s", canary)), "bad ***")
	require.ErrorIs(t, client.redactErr(ErrNotFound), ErrNotFound)
	require.Equal(t, "api.github.com", client.api.BaseURL.Host)
	require.Equal(t, "github.com", client.Host())
}

// failing reads a part, and then fails.
type failing struct {
	io.Reader
	err    error
	closed *bool
}

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func (f failing) Close() error { *f.closed = true; return nil }

// An asset's file that can't be opened or read, or has another length, ends the
// release.
func TestFilesThatFail(t *testing.T) {
	for says, open := range map[string]func([]byte) (io.ReadCloser, error){
		`open "SHA256SUMS": no disk`: func([]byte) (io.ReadCloser, error) { return nil, errors.New("no disk") },
		`read "SHA256SUMS": no disk`: func(b []byte) (io.ReadCloser, error) {
			return failing{bytes.NewReader(b[1:]), errors.New("no disk"), new(bool)}, nil
		},
		`read "SHA256SUMS": it changed since it was planned`: func(b []byte) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b[1:])), nil },
	} {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			s.Assets[2].Open = func() (io.ReadCloser, error) { return open(bytesOf("sumsv1.0.0", 200)) }
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.ErrorContains(t, err, says)
			require.Zero(t, rep.Retries)
			require.Zero(t, kinds(w)["publish"])
		})
	}
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) { s.Assets[2].ContentType = "text/plain" }, func(t *testing.T, w *world, _ *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, w.hub.Dump(), "asset SHA256SUMS uploaded 200 text/plain")
		require.Contains(t, w.hub.Dump(), "uploaded 3000 application/octet-stream")
	})
}

// fetch reads an asset of five bytes, hello, from a server that answers as
// given, in this order, and then never again.
func fetch(t *testing.T, a RemoteAsset, answers []*http.Response, edit ...func(*Options)) (got string, took time.Duration, asked []*http.Request, err error) {
	synctest.Test(t, func(t *testing.T) {
		o := Options{Tries: 4, rand: func() float64 { return 0.5 }, Transport: served{nil, func(req *http.Request) *http.Response {
			asked = append(asked, req)
			if len(answers) < len(asked) {
				return reply(404, "text/plain", "no more")
			}
			return answers[len(asked)-1]
		}}}
		for _, e := range edit {
			e(&o)
		}
		client, nerr := New(o)
		require.NoError(t, nerr)
		start := time.Now()
		var r io.ReadCloser
		if r, err = client.Download(t.Context(), "octo", "hello", a); err == nil {
			var data []byte
			data, err = io.ReadAll(steady{t, r})
			got = string(data)
			_, again := r.Read(make([]byte, 1))
			if err == nil {
				require.Equal(t, io.EOF, again)
			} else {
				require.Equal(t, err, again, "what failed stays so")
			}
			require.NoError(t, r.Close())
		}
		took = time.Since(start)
	})
	return got, took, asked, err
}

// steady asserts that no read returns nothing.
type steady struct {
	t *testing.T
	io.Reader
}

func (s steady) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	require.True(s.t, n > 0 || err != nil)
	return n, err
}

// piecewise gives the data byte by byte.
type piecewise struct{ io.Reader }

func (p piecewise) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), 1)]) }

// breaking is an answer whose body breaks off, the last byte coming along with the
// error.
func breaking(resp *http.Response, data string, err error) *http.Response {
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(data[:len(data)-1]), lastByte{data[len(data)-1], err}))
	return resp
}

type lastByte struct {
	b   byte
	err error
}

func (l lastByte) Read(p []byte) (int, error) { p[0] = l.b; return 1, l.err }

func TestDownloadAnswers(t *testing.T) {
	sum := file("a", []byte("hello")).SHA256
	public := RemoteAsset{ID: 3, Name: "a", Size: 5, SHA256: sum, URL: "https://github.com/octo/hello/releases/download/v1/a"}
	ok := func() *http.Response { return reply(200, asBytes, "hello") }
	slow := func(body string) *http.Response {
		resp := reply(200, asBytes, "")
		resp.Body = io.NopCloser(piecewise{strings.NewReader(body)})
		return resp
	}
	known := func(status int, length int64, body string) *http.Response {
		resp := reply(status, asBytes, body)
		resp.ContentLength = length
		return resp
	}
	gone := errors.New("connection reset")
	half := func() *http.Response { return breaking(reply(200, asBytes, ""), "hel", gone) }
	elsewhere := func() *http.Response { return reply(206, asBytes, "llo", "Content-Range", "bytes 2-4/5") }
	for _, x := range []struct {
		name    string
		answers []*http.Response
		err     string
		took    time.Duration
		asked   int
	}{
		{"at once", []*http.Response{ok()}, "", 0, 1},
		{"byte by byte", []*http.Response{slow("hello")}, "", 0, 1},
		{"too long", []*http.Response{slow("hello!")}, "more than 5 bytes came", 0, 1},
		{"too long at once", []*http.Response{reply(200, asBytes, "hello!")}, "more than 5 bytes came", 0, 1},
		{"another length", []*http.Response{known(200, 6, "hello!"), ok()}, "", time.Second, 2},
		{"another length, for ever", []*http.Response{known(200, 6, "hello!"), known(200, 6, "hello!"), known(200, 6, "hello!"), known(200, 6, "hello!")},
			"gave up after 4 tries: not what it should be: the server offers 6 bytes, not 5", 7 * time.Second, 4},
		{"no length, for ever", []*http.Response{known(200, 0, ""), known(200, 0, ""), known(200, 0, ""), known(200, 0, "")},
			"gave up after 4 tries: not what it should be: the server offers 0 bytes, not 5", 7 * time.Second, 4},
		{"its length", []*http.Response{known(200, 5, "hello")}, "", 0, 1},
		{"another content", []*http.Response{reply(200, asBytes, "hallo")}, "its SHA-256 is ", 0, 1},
		{"429 with a time", []*http.Response{reply(429, "", "", "Retry-After", "7"), ok()}, "", 7 * time.Second, 2},
		{"429 without", []*http.Response{reply(429, "", ""), ok()}, "", time.Minute, 2},
		{"403 with a time", []*http.Response{reply(403, "", "", "Retry-After", "7"), ok()}, "", 7 * time.Second, 2},
		{"403 without", []*http.Response{reply(403, "", ""), ok()}, "the server answered 403 Forbidden", 0, 1},
		{"400 with a time", []*http.Response{reply(400, "", "", "Retry-After", "7"), ok()}, "the server answered 400 Bad Request", 0, 1},
		{"408", []*http.Response{reply(408, "", ""), ok()}, "", time.Second, 2},
		{"500 twice", []*http.Response{reply(500, "", ""), reply(500, "", ""), ok()}, "", 3 * time.Second, 3},
		{"500 for ever", []*http.Response{reply(500, "", ""), reply(501, "", ""), reply(502, "", ""), reply(503, "", "")},
			"gave up after 4 tries: the server answered 503", 7 * time.Second, 4},
		{"416", []*http.Response{reply(416, "", "")}, "the server answered 416", 0, 1},
		{"a range that nobody asked for", []*http.Response{reply(206, asBytes, "hello", "Content-Range", "bytes 0-4/5")}, "the server answered 206", 0, 1},
		{"resumed", []*http.Response{half(), reply(206, asBytes, "lo", "Content-Range", "bytes 3-4/5")}, "", time.Second, 2},
		{"resumed at another place", []*http.Response{half(), elsewhere(), elsewhere(), elsewhere()},
			"gave up after 4 tries: the server sent a different range from the requested one", 7 * time.Second, 4},
		{"started over", []*http.Response{half(), ok()}, "", time.Second, 2},
		{"started over, another length", []*http.Response{half(), known(200, 6, "hello!"), ok()}, "", 3 * time.Second, 3},
		{"started over, too short", []*http.Response{half(), reply(200, asBytes, "he"), ok()}, "", 3 * time.Second, 3},
		{"broken and gone", []*http.Response{half()}, `download "a": the server answered 404`, time.Second, 2},
		{"too short", []*http.Response{reply(200, asBytes, "hell"), reply(206, asBytes, "o", "Content-Range", "bytes 4-4/5")}, "", time.Second, 2},
		{"nothing, for ever", []*http.Response{reply(200, asBytes, ""), reply(200, asBytes, ""), reply(200, asBytes, ""), reply(200, asBytes, "")},
			"gave up after 4 tries: unexpected EOF", 7 * time.Second, 4},
		{"pages", []*http.Response{reply(200, "text/html", "hello"), reply(200, "text/html", "hello"), reply(200, "text/html", "hello"), reply(200, "text/html", "hello")},
			"if it asks for a login, pass --token", 7 * time.Second, 4},
	} {
		got, took, asked, err := fetch(t, public, x.answers)
		if x.err == "" {
			require.NoError(t, err, x.name)
			require.Equal(t, "hello", got, x.name)
		} else {
			require.ErrorContains(t, err, x.err, x.name)
			require.Equal(t, 1, strings.Count(err.Error(), `download "a": `), x.name)
			require.NotErrorIs(t, err, io.EOF)
		}
		require.Equal(t, x.took, took, x.name)
		require.Len(t, asked, x.asked, x.name)
	}

	// The rest is asked for by its place.
	_, _, asked, err := fetch(t, public, []*http.Response{half(), reply(206, asBytes, "lo", "Content-Range", "bytes 3-4/5")})
	require.NoError(t, err)
	require.Empty(t, asked[0].Header.Get("Range"))
	require.Equal(t, "bytes=3-", asked[1].Header.Get("Range"))
	require.Equal(t, []string{"application/octet-stream", "identity", "gantry"},
		[]string{asked[0].Header.Get("Accept"), asked[0].Header.Get("Accept-Encoding"), asked[0].Header.Get("User-Agent")})

	for _, name := range []string{"a.html", "a.htm", "a.txt"} {
		page := public
		page.Name = name
		_, _, _, err = fetch(t, page, []*http.Response{reply(200, "text/html; charset=utf-8", "hello")})
		if name == "a.txt" {
			require.ErrorContains(t, err, "404", "another try, and no more answers")
		} else {
			require.NoError(t, err, name)
		}
	}

	// An address that is none, and a token that is not to be had.
	bad := public
	bad.URL = "https://[/"
	_, _, _, err = fetch(t, bad, nil)
	require.EqualError(t, err, `download "a": download a: gave up after 4 tries: read the asset's address`)
	private := public
	private.URL = ""
	_, _, asked, err = fetch(t, private, []*http.Response{ok()}, func(o *Options) {
		o.Token = func(context.Context) (string, error) { return "", errors.New("no vault") }
	})
	require.ErrorContains(t, err, "get the token: no vault")
	require.Empty(t, asked)
	_, _, asked, err = fetch(t, private, []*http.Response{ok()}, func(o *Options) {
		o.Token = func(context.Context) (string, error) { return canary, nil }
	})
	require.NoError(t, err)
	require.Equal(t, "https://api.github.com/repos/octo/hello/releases/assets/3", asked[0].URL.String())
	require.Equal(t, "Bearer "+canary, asked[0].Header.Get("Authorization"))
	_, _, asked, err = fetch(t, private, []*http.Response{ok()})
	require.NoError(t, err)
	require.Empty(t, asked[0].Header.Get("Authorization"))
}

// What a download holds is let go of when it is closed, and one that is cut off by
// its context makes no other try.
func TestDownloadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed, n := false, 0
		client, err := New(Options{Transport: served{nil, func(*http.Request) *http.Response {
			n++
			resp := reply(200, asBytes, "")
			resp.Body = failing{strings.NewReader("hel"), context.Canceled, &closed}
			return resp
		}}})
		require.NoError(t, err)
		a := RemoteAsset{ID: 3, Name: "a", Size: 5, URL: "https://github.com/a"}
		r, err := client.Download(t.Context(), "octo", "hello", a)
		require.NoError(t, err)
		require.False(t, closed)
		require.NoError(t, r.Close())
		require.True(t, closed)
		_, err = io.ReadAll(r)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, n, "nothing is asked for any more")

		ctx, cancel := context.WithCancel(t.Context())
		r, err = client.Download(ctx, "octo", "hello", a)
		require.NoError(t, err)
		cancel()
		start := time.Now()
		_, err = io.ReadAll(r)
		require.ErrorIs(t, err, context.Canceled)
		require.NotContains(t, err.Error(), "failed before")
		require.Zero(t, time.Since(start))
		require.Equal(t, 2, n)
	})
}

// What is read to compare counts as read.
func TestComparingCounts(t *testing.T) {
	inBubble(t, fakehub.Config{NoDigests: true}, nil, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		gets := 0
		for _, c := range w.hub.Calls() {
			if c.Method == http.MethodGet && c.Op != "get object" { // where a read is redirected to
				gets++
			}
		}
		require.Equal(t, gets, rep.Reads)
		require.Equal(t, gets, rep.Calls[http.MethodGet])
		require.Equal(t, 3, count(w, "get asset"))
	})
}

// What a preflight can't know, since nothing is built yet, is no difference.
func TestPreflightBeforeBuilding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{NoDigests: true})
		spec := w.spec("v1.0.0")
		w.repo.Seed(seeded(&spec, true, nil))
		for i := range spec.Assets {
			spec.Assets[i].Size, spec.Assets[i].SHA256 = 0, ""
		}
		p, err := w.client().Preflight(t.Context(), spec)
		require.NoError(t, err)
		require.Equal(t, "adopt draft, publish", p.Summary())
		require.Zero(t, count(w, "get asset"))
		for i := range spec.Assets { // what is known is compared
			spec.Assets[i].SHA256 = strings.Repeat("0", 64)
		}
		_, err = w.client().Preflight(t.Context(), spec)
		require.ErrorContains(t, err, "it has 3000 bytes, not 0")
	})
}

// waits records what an observer is told of waiting.
type waits struct {
	NopObserver
	told []string
}

func (w *waits) Waiting(_ context.Context, why string, d time.Duration) {
	w.told = append(w.told, fmt.Sprintf("%s %s", d, why))
}

// A report says everything that happened besides the plan, and its counts are those
// of the server.
func TestReportOfWhatHappened(t *testing.T) {
	seen := &waits{}
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
		w.between("upload asset", 3, func() { w.repo.Detach(w.repo.Releases(s.Tag)[0], s.Assets[0].Name) })
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		reads, writes := 0, 0
		for _, c := range w.hub.Calls() {
			if c.Write {
				writes++
			} else {
				reads++
			}
		}
		require.Equal(t, "release v1.0.0 of octo/hello at "+w.commit[:12]+`
note: planned again: the release changed meanwhile: read back without hello-x86_64-unknown-linux-gnu.tar.gz
planned: create draft, upload 3 of 3, publish
done: create draft, upload 4 of 4, publish
  create draft v1.0.0
  upload hello-x86_64-unknown-linux-gnu.tar.gz (3000 bytes)
  upload hello-aarch64-unknown-linux-gnu.tar.gz (2000 bytes)
  upload SHA256SUMS (200 bytes)
  publish v1.0.0 (as latest)
  also: upload hello-x86_64-unknown-linux-gnu.tar.gz (3000 bytes)
at: `+rep.Release.URL+fmt.Sprintf(`
sent 8200 bytes, %d reads, %d writes, 0 retries, waited 8s, took 8s
`, reads, writes), rep.Text())
		const lacks = "hello-x86_64-unknown-linux-gnu.tar.gz to appear"
		require.Equal(t, []string{"1s " + lacks, "2s " + lacks, "4s " + lacks, "1s the other run"}, seen.told)
	}, func(o *Options) { o.Observer = seen })
	seen.told = nil
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
		w.hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, time.Duration(500*time.Millisecond), rep.Waited)
		require.Equal(t, time.Duration(500*time.Millisecond), rep.Took)
		require.Empty(t, seen.told, "less than a second")
	}, func(o *Options) { o.Observer, o.rand = seen, func() float64 { return 0 } })
}

// What applies by default, and what is set stays.
func TestDefaults(t *testing.T) {
	c, err := New(Options{})
	require.NoError(t, err)
	require.Equal(t, []any{4, 8, 3 * time.Hour, 30 * time.Second, time.Minute, 30 * time.Second, "gantry"},
		[]any{c.o.concurrency, c.o.Tries, c.o.deadline, c.o.callTimeout, c.o.stallTimeout, c.o.starterGrace, c.o.UserAgent})
	require.Equal(t, [3]int{80, 500, 900}, c.pace.most())
	require.Equal(t, "client of https://api.github.com/", c.String())
	require.Equal(t, c.String(), fmt.Sprintf("%#v", c))
	require.GreaterOrEqual(t, c.o.rand(), 0.0)
	require.Less(t, c.o.rand(), 1.0)
	c, err = New(Options{concurrency: 1, Tries: 2, UserAgent: "x", pace: limits{contentPerMinute: 3, pointsPerMinute: 7}})
	require.NoError(t, err)
	require.Equal(t, []any{1, 2, "x"}, []any{c.o.concurrency, c.o.Tries, c.o.UserAgent})
	require.Equal(t, [3]int{3, 500, 7}, c.pace.most())
}

func (p *pacer) most() (n [3]int) {
	for i, l := range p.limits {
		n[i] = l.most
	}
	return n
}

// Of two limits that ask for the same wait, the first is named.
func TestPacerNamesALimit(t *testing.T) {
	clock := fakehub.NewClock(time.Unix(0, 0))
	p := newPacer(limits{contentPerMinute: 1, pointsPerMinute: 5}, clock)
	end, err := p.acquire(t.Context(), content, nil)
	require.NoError(t, err)
	d, why := p.try(content)
	require.Equal(t, time.Second, d, "as long as the other is under way")
	require.Equal(t, "the limit of content per minute", why)
	end()
	d, why = p.try(content)
	require.Equal(t, time.Minute, d)
	require.Equal(t, "the limit of content per minute", why)
	d, why = p.try(read)
	require.Equal(t, time.Minute, d)
	require.Equal(t, "the limit of points per minute", why)
	p.hold(time.Minute, "one")
	p.hold(time.Minute, "two")
	p.hold(time.Second, "three")
	_, why = p.try(read)
	require.Equal(t, "one", why)
}

// The calls of a release from nothing, and of one that is complete: no more than
// these.
func TestCallsOfARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		w.repo.Tag("v1.0.0", w.commit)
		spec := w.spec("v1.0.0")
		ops := func() (out []string) {
			_, err := w.client(serial).Release(t.Context(), spec)
			require.NoError(t, err)
			for _, c := range w.hub.Calls() {
				out = append(out, c.Op)
			}
			w.hub.Forget()
			return out
		}
		require.Equal(t, []string{
			"get repository", "get ref", "get release by tag", "list releases", "get latest release",
			"create release", "list releases", "upload asset", "upload asset", "upload asset", "list assets",
			"list releases", "get latest release", "get ref", "update release", "get release by tag", "list assets", "get ref",
			"list releases", "get latest release",
		}, ops())
		require.Equal(t, []string{
			"get repository", "get ref", "get release by tag", "list releases", "get latest release", "list assets",
		}, ops())
	})
}

// The client's own clock decides about limits, not the library's.
func TestLimitsOnTheClientsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := fakehub.NewClock(time.Now().Add(24 * 365 * time.Hour))
		client, err := New(Options{Clock: clock, Transport: served{nil, func(*http.Request) *http.Response {
			return reply(200, asJSON, `{"id": 7}`, "X-RateLimit-Limit", "5000", "X-RateLimit-Remaining", "0",
				"X-RateLimit-Reset", fmt.Sprint(clock.Now().Add(40*time.Second).Unix()))
		}}})
		require.NoError(t, err)
		start := clock.Now()
		for n := range 3 {
			_, err := client.RepositoryID(t.Context(), "o", "r")
			require.NoError(t, err)
			require.Equal(t, time.Duration(n)*41*time.Second, clock.Now().Sub(start))
		}
		require.EqualValues(t, 3, client.Requests())
	})
}

// An upload that another run may be making is waited for once; what it leaves is
// cleared away then.
func TestAnotherUploadIsWaitedForOnce(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Tag(s.Tag, s.Commit)
		half := fakehub.File{Name: s.Assets[0].Name, Starter: true}
		w.between("upload asset", 1, func() { w.repo.Attach(w.repo.Releases(s.Tag)[0], half) })
		w.between("list assets", 2, func() {
			w.repo.Detach(w.repo.Releases(s.Tag)[0], half.Name)
			w.repo.Attach(w.repo.Releases(s.Tag)[0], half)
		})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, time.Duration(30*time.Second), rep.Waited)
		require.Equal(t, 1, kinds(w)["publish"])
	})
}

// What to do about a refusal, in full.
func TestExplanations(t *testing.T) {
	client, err := New(Options{})
	require.NoError(t, err)
	_, s := client.begin(t.Context())
	const (
		write    = "the token needs write access to the contents of the repository (in a workflow: permissions: contents: write)"
		target   = "for a commit that changes files in .github/workflows it needs the permission workflows too, unless the tag is on GitHub: push the tag first"
		accepted = `GitHub accepts the permissions "contents=write"`
		maybe    = "GitHub also answers so if the token may not write"
	)
	for _, x := range []struct {
		o       op
		status  int
		header  string
		message string
		hints   []string
	}{
		{op{}, 401, "", "Bad credentials", []string{"the token is not accepted; check that it is the right one and has not expired"}},
		{op{}, 403, "", "no", []string{write}},
		{op{}, 403, "contents=write", "no", []string{write, accepted}},
		{op{kind: content}, 404, "", "Not Found", []string{maybe, write}},
		{op{kind: remove}, 404, "contents=write", "Not Found", []string{maybe, write, accepted}},
		{op{kind: content, target: true}, 404, "", "Not Found", []string{maybe, write, target}},
		{op{kind: content, target: true}, 403, "contents=write", "no", []string{write, accepted, target}},
		{op{}, 422, "", "no", []string{"GitHub does not accept the values"}},
		{op{}, 422, "", "tag_name was used by an immutable release", []string{"GitHub never gives the tag of an immutable release away again, even if the release was deleted: release another version"}},
		{op{}, 422, "", "Repository rule violations found", []string{"a ruleset of the repository forbids it: push the tag as a user whom the ruleset allows, then release it, or let the token's owner bypass the ruleset"}},
		{op{}, 422, "", "Published releases must have a valid tag", []string{"the tag could not be created: push it first, then release it"}},
		{op{}, 400, "", "no", nil},
		{op{}, 500, "", "no", nil},
	} {
		x.o.name = "do it"
		resp := reply(x.status, asJSON, "{}", "X-Accepted-GitHub-Permissions", x.header)
		resp.Request = &http.Request{Method: http.MethodGet}
		cause := &gh.ErrorResponse{Response: resp, Message: x.message}
		want := "do it: " + cause.Error()
		if x.hints != nil {
			want += ": " + strings.Join(x.hints, "; ")
		}
		err := s.explain(x.o, cause)
		require.EqualError(t, err, want)
		require.NotErrorIs(t, err, ErrNotFound)
		require.ErrorIs(t, err, cause)
	}
	cause := &gh.ErrorResponse{Response: reply(404, asJSON, "{}")}
	cause.Response.Request = &http.Request{}
	require.ErrorIs(t, s.explain(op{name: "do it"}, cause), ErrNotFound)
	require.EqualError(t, s.explain(op{name: "do it"}, errors.New("no network")), "do it: no network")

	// And which of them are worth another try.
	for _, x := range []struct {
		o      op
		n      int
		status int
		header []string
		body   string
		again  bool
		wait   time.Duration
	}{
		{op{}, 1, 500, nil, "", true, time.Second}, {op{}, 3, 599, nil, "", true, 4 * time.Second}, {op{}, 9, 502, nil, "", true, 30 * time.Second},
		{op{}, 1, 408, nil, "", true, time.Second}, {op{}, 1, 499, nil, "", false, 0}, {op{}, 1, 422, nil, "", false, 0}, {op{}, 1, 400, nil, "", false, 0},
		{op{}, 1, 403, nil, "no", false, 0},
		{op{}, 1, 403, nil, "You have exceeded a secondary Rate Limit", true, time.Minute},
		{op{}, 2, 403, nil, "the Abuse detection", true, 2 * time.Minute},
		{op{}, 5, 429, nil, "", true, 16 * time.Minute}, {op{}, 6, 429, nil, "", true, 16 * time.Minute}, {op{}, 1, 429, nil, "", true, time.Minute},
		{op{}, 1, 403, []string{"Retry-After", "7"}, "", true, 7 * time.Second},
		{op{}, 1, 403, []string{"Retry-After", "soon"}, "", false, 0},
		{op{}, 1, 403, []string{"X-RateLimit-Remaining", "0"}, "", true, time.Minute},
		{op{}, 1, 403, []string{"X-RateLimit-Remaining", "1"}, "", false, 0},
		{op{}, 1, 404, nil, "", false, 0}, {op{fresh: true}, 7, 404, nil, "", true, 30 * time.Second},
		{op{fresh: true, there: true}, 4, 404, nil, "", true, 8 * time.Second}, {op{fresh: true, there: true}, 5, 404, nil, "", false, 16 * time.Second},
		{op{there: true}, 1, 404, nil, "", false, 0},
	} {
		c, err := New(Options{rand: func() float64 { return 0.5 }})
		require.NoError(t, err)
		_, s := c.begin(t.Context())
		resp := reply(x.status, asJSON, fmt.Sprintf(`{"message": %q}`, x.body), x.header...)
		wait, again := s.verdict(t.Context(), x.o, x.n, &gh.ErrorResponse{Response: resp})
		if x.again && (x.status == 403 || x.status == 429) {
			wait -= time.Second / 2 // of jitter
			require.True(t, c.pace.until.After(time.Now().Add(x.wait-time.Second)), "other calls wait as well")
		}
		require.Equal(t, x.again, again, "%+v", x)
		require.Equal(t, x.wait, wait, "%+v", x)
	}
}

// A published release that the tag doesn't lead to yet is found in the list.
func TestListKnowsBetterThanTheTag(t *testing.T) {
	for newer := range 2 {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			w.repo.Seed(seeded(s, false, nil))
			for range newer {
				w.repo.Seed(fakehub.Seed{Tag: "v0.9.0", Commit: w.repo.Commit("older")})
			}
			w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Match: opIs("get release by tag")})
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err)
			require.Equal(t, "nothing to do", rep.Plan.Summary())
			require.Zero(t, rep.Writes)
		})
	}
}

// A list that fails comes in smaller pages, down to one item, unless it is refused.
func TestPagesGetSmaller(t *testing.T) {
	for _, x := range []struct {
		fails func() *http.Response
		want  string
	}{
		{func() *http.Response { return reply(500, asJSON, "{}") }, "100 100 50 20 10 5 2 1 1 1"},
		{func() *http.Response { return reply(408, asJSON, "{}") }, "100 100 50 20 10 5 2 1 1 1"},
		{func() *http.Response { return reply(200, "text/html", "") }, "100 100 50 20 10 5 2 1 1 1"},
		{func() *http.Response { return reply(404, asJSON, "{}") }, "100 100 100 100 100 100 100 100 100 100"},
		{func() *http.Response { return reply(429, asJSON, "{}") }, "100 100 100 100 100 100 100 100 100 100"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var sizes []string
			client, err := New(Options{Tries: 12, Transport: served{nil, func(req *http.Request) *http.Response {
				if sizes = append(sizes, req.URL.Query().Get("per_page")); len(sizes) < 10 {
					return x.fails()
				}
				return reply(200, asJSON, "[]")
			}}})
			require.NoError(t, err)
			_, err = client.History(t.Context(), "o", "r")
			require.NoError(t, err)
			require.Equal(t, x.want, strings.Join(sizes, " "))
		})
	}
}

// What comes back from the API is free of the token, whole, and as long as it says.
func TestAnswersAreRedacted(t *testing.T) {
	client, err := New(Options{
		Token: func(context.Context) (string, error) { return canary, nil },
		Transport: served{nil, func(*http.Request) *http.Response {
			return reply(300, asJSON, fmt.Sprintf("[%q]", canary), "X-Echo", "a "+canary, "X-RateLimit-Remaining", "0")
		}},
	})
	require.NoError(t, err)
	ctx, _ := client.begin(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/repos/o/r", nil)
	require.NoError(t, err)
	resp, err := (&transport{client}).RoundTrip(req)
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, `["***"]`, string(body))
	require.EqualValues(t, len(body), resp.ContentLength)
	require.Equal(t, "a ***", resp.Header.Get("X-Echo"))
	require.Empty(t, req.Header.Get("Authorization"), "the caller's request stays as it is")
	require.True(t, client.pace.until.IsZero(), "only a success announces the limit of the next call")
}

func TestKindsOfTokens(t *testing.T) {
	repo, none := "repo", ""
	for _, x := range []struct {
		token  string
		scopes *string
		want   tokenKind
	}{
		{"ghs_x", nil, appToken}, {"ghs_x", &repo, appToken}, {"github_pat_x", nil, fineGrainedToken}, {"github_pat_x", &repo, fineGrainedToken},
		{"ghp_x", &repo, classicToken}, {"ghp_x", &none, classicToken}, {"ghp_x", nil, unknownToken}, {"x", nil, unknownToken},
	} {
		require.Equal(t, x.want, kindOf(x.token, x.scopes), "%+v", x)
	}
	both := "repo, workflow"
	require.True(t, hasScope(&both, "workflow"))
	require.False(t, hasScope(&repo, "workflow"))
	require.False(t, hasScope(nil, "workflow"))
	// What a workflow's token looks like needs no question.
	synctest.Test(t, func(t *testing.T) {
		x := noWorkflows[1]
		w, spec, c := backport(t, x.token, x.access, true)
		_, err := c.Release(t.Context(), spec)
		require.NoError(t, err)
		require.Zero(t, count(w, "list installation repositories"))
	})
}

// Several drafts: they are looked at four times, and all are named.
func TestSeveralDraftsAreNamed(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		for range 2 {
			w.repo.Seed(seeded(s, true, nil))
		}
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.Equal(t, 4, count(w, "list releases"))
		for _, id := range w.repo.Releases("v1.0.0") {
			require.Regexp(t, fmt.Sprintf(`\b%d \(http[^)]+/releases/tag/[^)]+\)`, id), err.Error())
		}
	})
}

// Texts that a release doesn't have are not missing from its draft.
func TestNoTextsAreNotMissing(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		s.Title, s.Notes = "", ""
		w.repo.Seed(fakehub.Seed{Tag: s.Tag, Commit: s.Commit, Draft: true})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, "adopt draft, upload 3 of 3, publish", rep.Plan.Summary())
		require.Contains(t, rep.Plan.Notes, "publishing creates the tag v1.0.0 at "+w.commit[:12])
	})
}

// A digest that GitHub's answer to an upload has is believed, also where its lists
// have none; what an adopted draft has is read once.
func TestDigestsOfUploads(t *testing.T) {
	var spec *Spec
	inBubble(t, fakehub.Config{NoDigests: true}, func(_ *world, s *Spec) { spec = s }, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Zero(t, rep.BytesRead)
	}, altering(func(req *http.Request, m map[string]any) {
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/assets") {
			for _, a := range spec.Assets {
				if a.Name == m["name"] {
					m["digest"] = "sha256:" + a.SHA256
				}
			}
		}
	}))
	inBubble(t, fakehub.Config{NoDigests: true}, func(w *world, s *Spec) { w.repo.Seed(seeded(s, true, nil)) }, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.EqualValues(t, 5200, rep.BytesRead)
	})
}

// endless is a body that never comes.
type endless struct{ ctx context.Context }

func (e endless) Read([]byte) (int, error) { <-e.ctx.Done(); return 0, context.Cause(e.ctx) }

func (e endless) Close() error { return nil }

// A refusal whose page never comes to an end doesn't hold up the download.
func TestRefusalThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		client, err := New(Options{rand: func() float64 { return 0.5 }, Transport: served{nil, func(req *http.Request) *http.Response {
			resp := reply(500, "text/html", "")
			if n++; n == 1 {
				resp.Body = endless{req.Context()}
				return resp
			}
			return reply(200, asBytes, "hello")
		}}})
		require.NoError(t, err)
		start := time.Now()
		r, err := client.Download(t.Context(), "o", "r", RemoteAsset{Name: "a", Size: 5, URL: "https://github.com/a"})
		require.NoError(t, err)
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, "hello", string(data))
		require.NoError(t, r.Close())
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}

// What is no version is the latest, and stays it where nothing is higher.
func TestNothingToPromote(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(fakehub.Seed{Tag: "nightly", Commit: w.repo.Commit("n"), Latest: true})
		s.Tag, s.Title, s.Prerelease = "v1.0.0-rc.1", "v1.0.0-rc.1", true
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, "create draft, upload 3 of 3, publish", rep.Plan.Summary())
		require.Empty(t, rep.Extra)
		require.Equal(t, "nightly", w.repo.Latest())
	})
}

// Why a release is published as the latest or not. What GitHub calls the latest
// counts, also where its lists don't have it yet.
func TestWhyLatest(t *testing.T) {
	for says, setup := range map[string]func(*world, *Spec){
		"publish v1.0.0 (as latest)":                   func(*world, *Spec) {},
		"publish v1.0.0 (not as latest)":               func(_ *world, s *Spec) { s.OwnsLatest = false },
		"publish v1.0.0 (not as latest: a prerelease)": func(_ *world, s *Spec) { s.Prerelease = true },
		"publish v1.0.0 (not as latest: lower than v2.0.0)": func(w *world, _ *Spec) {
			w.repo.Seed(fakehub.Seed{Tag: "v2.0.0", Commit: w.repo.Commit("two"), Latest: true})
		},
	} {
		for _, hidden := range []bool{false, true} {
			inBubble(t, fakehub.Config{}, setup, func(t *testing.T, w *world, rep *Report, err error) {
				require.NoError(t, err)
				require.Contains(t, rep.Plan.Text(), "  "+says+"\n")
				require.Empty(t, rep.Extra)
			}, serving(func(req *http.Request) *http.Response {
				if hidden && req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/releases") {
					return reply(200, asJSON, "[]")
				}
				return nil
			}))
		}
	}
}

// An answer that breaks off is lost, whatever its status was.
func TestAnswerThatBreaksOff(t *testing.T) {
	client, err := New(Options{
		Token: func(context.Context) (string, error) { return canary, nil },
		Transport: served{nil, func(*http.Request) *http.Response {
			resp := reply(201, asJSON, "")
			resp.Body = failing{strings.NewReader("{}"), errors.New("no more of " + canary), new(bool)}
			return resp
		}},
	})
	require.NoError(t, err)
	ctx, _ := client.begin(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://api.github.com/repos/o/r", nil)
	require.NoError(t, err)
	_, err = (&transport{client}).RoundTrip(req)
	require.EqualError(t, err, "lost the answer (201 Created): no more of ***")
}

// A draft that is deleted while GitHub refuses to publish it is made again.
func TestRefusedAndGone(t *testing.T) {
	var w *world
	inBubble(t, fakehub.Config{}, func(x *world, _ *Spec) { w = x }, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "is gone")
		require.Equal(t, 1, kinds(w)["publish"])
	}, once(func(req *http.Request) *http.Response {
		if req.Method != http.MethodPatch {
			return nil
		}
		w.repo.Delete(w.repo.Releases("v1.0.0")[0])
		return reply(422, asJSON, `{"message": "Validation Failed", "errors": [{"code": "already_exists"}]}`)
	}, 1))
}

// A run goes on with the draft that it made, whatever other drafts there are by
// then.
func TestOwnDraftComesFirst(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.between("upload asset", 3, func() {
			w.repo.Detach(w.repo.Releases(s.Tag)[0], s.Assets[0].Name)
			w.repo.Seed(seeded(s, true, nil))
		})
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, w.repo.Releases("v1.0.0")[0], rep.Release.ID)
		require.Equal(t, 1, kinds(w)["publish"])
	})
}

// That there is no release is said without a hint where the address is an API's.
func TestNoReleaseOfTheTag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, fakehub.Config{})
		_, err := w.client().Published(t.Context(), "octo", "hello", "v1.0.0")
		require.EqualError(t, err, `read the release of "v1.0.0": not found`)
	})
}

// What is added to a published release, or replaced in it, is read back as well.
func TestChangesOfAPublishedReleaseAreReadBack(t *testing.T) {
	for existing, edit := range map[Existing]func(*fakehub.Seed){
		ExistingFill:    func(x *fakehub.Seed) { x.Files = x.Files[:2] },
		ExistingReplace: func(x *fakehub.Seed) { x.Files[2].Data = []byte("x") },
	} {
		inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
			s.Existing = existing
			w.repo.Seed(seeded(s, false, edit))
			w.between("list assets", 2, func() { w.repo.Detach(w.repo.Releases(s.Tag)[0], "SHA256SUMS") })
		}, func(t *testing.T, w *world, rep *Report, err error) {
			require.NoError(t, err)
			require.Contains(t, rep.Text(), "read back without SHA256SUMS", existing)
			data, ok := w.repo.Asset("v1.0.0", "SHA256SUMS")
			require.True(t, ok)
			require.Len(t, data, 200)
		})
	}
}

// A draft that is gone when it is corrected gets no uploads any more.
func TestDraftThatIsGoneIsNotFilled(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		id := w.repo.Seed(seeded(s, true, func(x *fakehub.Seed) { x.Files, x.Prerelease = nil, true }))
		w.between("update release", 1, func() { w.repo.Delete(id) })
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Contains(t, rep.Text(), "is gone")
		require.Equal(t, 3, count(w, "upload asset"))
		for _, s := range rep.Done {
			require.NotEqual(t, CorrectDraft, s.Action)
		}
	})
}

// An event about a published release needs no second look at its assets.
func TestEventAlone(t *testing.T) {
	inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
		w.repo.Seed(seeded(s, false, nil))
		s.Dispatch = &Dispatch{EventType: "released"}
	}, func(t *testing.T, w *world, rep *Report, err error) {
		require.NoError(t, err)
		require.Equal(t, "dispatch", rep.Summary())
		require.Equal(t, 1, count(w, "list assets"))
	})
}

// An asset that is listed and gone when it is to be compared is no failure: another run
// replaces it, so the release is planned again. One that stays gone is an error.
func TestAssetGoneWhileCompared(t *testing.T) {
	for times, says := range map[int]string{2: "", 100: "the release changed meanwhile: its asset app.tar.gz was deleted"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, fakehub.Config{NoDigests: true})
			spec := w.spec("v1.0.0")
			says := strings.Replace(says, "app.tar.gz", spec.Assets[0].Name, 1)
			w.repo.Seed(seeded(&spec, true, nil))
			w.hub.Arm(fakehub.Fault{Kind: fakehub.NotFound, N: 1, Times: times, Match: opIs("get asset")})
			rep, err := w.client(serial).Release(t.Context(), spec)
			if says != "" {
				require.ErrorContains(t, err, says)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 2, w.hub.FaultsMet())
			require.NotNil(t, rep.Release)
			require.Zero(t, rep.BytesSent)
		})
	}
}

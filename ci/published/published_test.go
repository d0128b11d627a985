package published

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Masterminds/semver/v3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

func digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// files of a release, as phase 1 writes them.
func files(t *testing.T, tag, version, repository string) []fakehub.File {
	t.Helper()
	return filesOf(t, tag, version, repository, nil)
}

func filesOf(t *testing.T, tag, version, repository string, image *manifest.Image) []fakehub.File {
	t.Helper()
	return filesFor(t, "app", tag, version, repository, image)
}

func filesFor(t *testing.T, component, tag, version, repository string, image *manifest.Image) []fakehub.File {
	t.Helper()
	content := []byte("an archive")
	m := manifest.Manifest{
		SchemaVersion: manifest.SchemaVersion, Component: component, Tag: tag, Version: version, Channel: "stable",
		Commit: sha, CommitDate: "2026-01-01T00:00:00Z", Repository: repository,
		Toolchain: manifest.Toolchain{Rustc: "rustc 1.96.0", Cargo: "cargo 1.96.0"}, Image: image,
		Assets: []manifest.Asset{{
			Name: "app.tar.gz", Kind: manifest.KindArchive, Target: "x86_64-unknown-linux-gnu", SHA256: digest(content), Size: int64(len(content)),
			Binaries: []manifest.Binary{{Name: "app", Package: "app", Path: "app/app", SHA256: digest(content), Size: 1, Format: "elf", Arch: "x86_64", Linkage: "static"}},
		}},
	}
	text, err := m.Marshal()
	require.NoError(t, err)
	sums := archive.Sums{}
	require.NoError(t, sums.Add("app.tar.gz", digest(content)))
	require.NoError(t, sums.Add(manifest.FileName, digest(text)))
	lines, err := sums.Format()
	require.NoError(t, err)
	return []fakehub.File{{Name: "app.tar.gz", Data: content}, {Name: manifest.FileName, Data: text}, {Name: manifest.SumsName, Data: lines}}
}

func setup(t *testing.T) (*fakehub.Repo, *github.Client) {
	t.Helper()
	_, repo, client := setupHub(t)
	return repo, client
}

func setupHub(t *testing.T) (*fakehub.Local, *fakehub.Repo, *github.Client) {
	t.Helper()
	hub := fakehub.Start(fakehub.New(fakehub.Config{}))
	t.Cleanup(hub.Close)
	client, err := github.New(github.Options{APIURL: hub.URL + "api/v3/", Transport: hub.Transport(false, false), Clock: fakehub.NewClock(time.Now())})
	require.NoError(t, err)
	return hub, hub.AddRepo("o", "r"), client
}

func TestOpenWaitsForACompleteRelease(t *testing.T) {
	repo, client := setup(t)
	all := files(t, "app-1.0.0", "1.0.0", "")
	e, err := event.FromTag("o/r", "app-1.0.0")
	require.NoError(t, err)

	_, err = Open(t.Context(), client, e, Options{})
	assert.ErrorContains(t, err, "is not complete: it is not published")

	repo.Seed(fakehub.Seed{Tag: "app-0.9.0", Commit: sha})
	repo.Seed(fakehub.Seed{Tag: "app-cli-7.0.0", Commit: sha})
	var why []string
	naps := 0
	r, err := Open(t.Context(), client, e, Options{Wait: time.Minute, Progress: func(s string) { why = append(why, s) },
		Sleep: func(context.Context, time.Duration) error {
			if naps++; naps == 2 {
				repo.Seed(fakehub.Seed{Tag: "app-1.0.0", Commit: sha, Files: all})
			}
			return nil
		}})
	require.NoError(t, err)
	assert.Equal(t, []string{"it is not published", "it is not published"}, why)
	require.Len(t, r.Known, 1, "versions of the other component do not count")
	assert.Equal(t, "0.9.0", r.Known[0].String())
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	for _, c := range []struct {
		name, says string
		files      func([]fakehub.File) []fakehub.File
	}{
		{"no manifest", `asset "release-manifest.json" is missing`, func(f []fakehub.File) []fakehub.File { return f[:1] }},
		{"no archive", `assets are missing: "app.tar.gz"`, func(f []fakehub.File) []fakehub.File { return f[1:] }},
		{"half an archive", `assets are missing: "app.tar.gz"`, func(f []fakehub.File) []fakehub.File { f[0].Starter = true; return f }},
		{"another manifest", `asset "release-manifest.json" has SHA-256 `, func(f []fakehub.File) []fakehub.File { f[1].Data = append(f[1].Data, ' '); return f }},
		{"a page", "HTML page", func(f []fakehub.File) []fakehub.File { f[1].Data = []byte("<!DOCTYPE html><html></html>"); return f }},
	} {
		repo, client := setup(t)
		repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: c.files(files(t, "v1.0.0", "1.0.0", ""))})
		e, err := event.FromTag("o/r", "v1.0.0")
		require.NoError(t, err)
		_, err = Open(t.Context(), client, e, Options{})
		assert.ErrorContains(t, err, c.says, c.name)
	}
}

func TestOpenRefusesAForeignManifest(t *testing.T) {
	repo, client := setup(t)
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: files(t, "v1.0.0", "1.0.0", "https://github.com/someone/else")})
	e, err := event.FromTag("o/r", "v1.0.0")
	require.NoError(t, err)
	_, err = Open(t.Context(), client, e, Options{})
	assert.ErrorIs(t, err, event.ErrForeign)
}

// Only an event is waited for.
func TestFind(t *testing.T) {
	repo, client := setup(t)
	waits := 0
	o := Options{Wait: time.Minute, Sleep: func(context.Context, time.Duration) error { waits++; return nil }}
	find := func(q Request) (*Release, error) {
		waits, q.Repository = 0, "o/r"
		return Find(t.Context(), client, q, o)
	}
	event1 := func(text string) []byte {
		return []byte(`{"repository":{"full_name":"o/r"},` + text + `}`)
	}
	for _, tag := range []string{"", "v1 0"} {
		_, err := find(Request{Tag: tag})
		require.ErrorContains(t, err, fmt.Sprintf("--tag: %q is not a git tag", tag))
	}

	_, err := find(Request{Tag: "v1.0.0"})
	require.ErrorContains(t, err, `release "v1.0.0" of o/r is not complete: it is not published: check the tag`)
	assert.Zero(t, waits, "a tag that isn't there is a mistake")
	const published = `"action":"published","release":{"id":7,"tag_name":"v1.0.0","draft":false}`
	_, err = find(Request{Event: event1(published)})
	require.ErrorContains(t, err, "it is not published")
	assert.Equal(t, 12, waits, "once every 5 seconds of a minute")

	for _, skipped := range []string{
		`"action":"deleted","release":{"id":7,"tag_name":"v1.0.0","draft":false}`,
		`"action":"deploy","client_payload":{}`,
		`"action":"completed","workflow_run":{"name":"CI","event":"push","conclusion":"success","head_branch":"v1.0.0","head_sha":"` + sha + `","head_repository":{"full_name":"o/r"}}`,
	} {
		_, err = find(Request{Event: event1(skipped)})
		assert.True(t, event.Skipped(err), err)
		assert.Zero(t, waits)
	}
	_, err = find(Request{Event: event1(`"action":"published"`)})
	require.ErrorIs(t, err, event.ErrFormat)
	assert.False(t, event.Skipped(err))

	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: files(t, "v1.0.0", "1.0.0", "")})
	for _, q := range []Request{
		{Tag: "v1.0.0"}, {Event: event1(published)},
		{Event: event1(`"action":"completed","workflow_run":{"name":"Release","event":"push","conclusion":"success","head_branch":"v1.0.0","head_sha":"` + sha + `","head_repository":{"full_name":"o/r"}}`)},
	} {
		r, err := find(q)
		require.NoError(t, err)
		assert.Equal(t, "1.0.0", r.Version().String())
		assert.Zero(t, waits)
	}
	_, err = find(Request{Event: event1(`"action":"completed","workflow_run":{"name":"Release","event":"push","conclusion":"success","head_branch":"v1.0.0","head_sha":"` + strings.Repeat("9", 40) + `","head_repository":{"full_name":"o/r"}}`)})
	require.ErrorIs(t, err, event.ErrForeign, "the tag was moved after that run")
	assert.False(t, event.Skipped(err))
}

func versions(all []*semver.Version) (texts []string) {
	for _, v := range all {
		texts = append(texts, v.String())
	}
	slices.Sort(texts)
	return texts
}

// promoted reports whether GitHub does not flag the release as a prerelease.
func promoted(r *Release) bool { return !slices.ContainsFunc(r.Flagged, r.Version().Equal) }

// A stable version whose release is flagged as a prerelease counts only once it
// is promoted.
func TestFlagged(t *testing.T) {
	hub, repo, client := setupHub(t)
	for _, v := range []string{"0.9.0", "1.0.0", "1.1.0"} {
		repo.Seed(fakehub.Seed{Tag: "v" + v, Commit: sha, Prerelease: v != "0.9.0", Files: files(t, "v"+v, v, "")})
	}
	repo.Seed(fakehub.Seed{Tag: "v1.1.0-rc.1", Commit: sha, Prerelease: true})
	repo.Seed(fakehub.Seed{Tag: "other-3.0.0", Commit: sha, Prerelease: true})
	find := func(q Request, o Options) *Release {
		q.Repository = "o/r"
		r, err := Find(t.Context(), client, q, o)
		require.NoError(t, err)
		return r
	}
	r := find(Request{Tag: "v1.0.0"}, Options{})
	assert.False(t, promoted(r))
	assert.Equal(t, []string{"1.0.0", "1.1.0"}, versions(r.Flagged))
	assert.Equal(t, []string{"0.9.0", "1.1.0-rc.1"}, versions(r.Known))
	r = find(Request{Tag: "v0.9.0"}, Options{})
	assert.True(t, promoted(r))
	assert.Equal(t, []string{"1.0.0", "1.1.0"}, versions(r.Flagged))

	// GitHub says that it is promoted before it shows it.
	released := []byte(`{"repository":{"full_name":"o/r"},"action":"released","release":{"id":7,"tag_name":"v1.0.0","draft":false}}`)
	var why []string
	wait := Options{Wait: time.Minute, Progress: func(s string) { why = append(why, s) }, Sleep: func(context.Context, time.Duration) error {
		promote(t, hub, "v1.0.0")
		return nil
	}}
	r = find(Request{Event: released}, wait)
	assert.Equal(t, []string{stillFlagged}, why)
	assert.True(t, promoted(r))
	assert.Equal(t, []string{"1.1.0"}, versions(r.Flagged))
	// Whoever flags it again has the last word.
	r = find(Request{Event: []byte(strings.ReplaceAll(string(released), "v1.0.0", "v1.1.0"))}, Options{})
	assert.False(t, promoted(r))
}

// promote takes GitHub's flag off a release, as a person would.
func promote(t *testing.T, hub *fakehub.Local, tag string) {
	t.Helper()
	call := func(method, path, body string) map[string]any {
		req, err := http.NewRequestWithContext(t.Context(), method, hub.URL+"api/v3/repos/o/r/releases/"+path, strings.NewReader(body))
		require.NoError(t, err)
		res, err := (&http.Client{Transport: hub.Transport(false, false)}).Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		require.Equal(t, 200, res.StatusCode)
		var answer map[string]any
		require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
		return answer
	}
	id := call("GET", "tags/"+tag, "")["id"].(float64)
	call("PATCH", fmt.Sprint(int64(id)), `{"prerelease":false}`)
}

// renames answers for the names that a repository had before, as GitHub does.
type renames struct {
	http.RoundTripper
	from, to string
	down     bool
}

func (r renames) RoundTrip(req *http.Request) (*http.Response, error) {
	path, found := strings.CutPrefix(req.URL.Path, "/api/v3/repos/"+r.from)
	if !found || path != "" && path[0] != '/' {
		return r.RoundTripper.RoundTrip(req)
	}
	res := &http.Response{StatusCode: http.StatusMovedPermanently, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader("{}")), Request: req}
	if r.down {
		res.StatusCode = http.StatusForbidden
		return res, nil
	}
	u := *req.URL
	u.Path = "/api/v3/repos/" + r.to + path
	res.Header.Set("Location", u.String())
	return res, nil
}

// The old releases of a repository that was renamed or transferred name it as it
// was; GitHub's number says that it is the same one.
func TestRenamedRepository(t *testing.T) {
	hub := fakehub.Start(fakehub.New(fakehub.Config{}))
	t.Cleanup(hub.Close)
	repo := hub.AddRepo("neworg", "app")
	hub.AddRepo("someone", "else")
	for tag, home := range map[string]string{"v1.0.0": "oldorg/tool", "v1.1.0": "neworg/app", "v1.2.0": "someone/else", "v1.3.0": "gone/away"} {
		repo.Seed(fakehub.Seed{Tag: tag, Commit: sha, Files: files(t, tag, tag[1:], "https://github.com/"+home)})
	}
	find := func(down bool, q Request) error {
		client, err := github.New(github.Options{
			APIURL: hub.URL + "api/v3/", Tries: 1, Clock: fakehub.NewClock(time.Now()),
			Transport: renames{hub.Transport(false, false), "oldorg/tool", "neworg/app", down},
		})
		require.NoError(t, err)
		_, err = Find(t.Context(), client, q, Options{})
		return err
	}
	sent := func(repository, tag string) []byte {
		return fmt.Appendf(nil, `{"repository":{"full_name":%q},"action":"published","release":{"id":7,"tag_name":%q,"draft":false}}`, repository, tag)
	}
	require.NoError(t, find(false, Request{Repository: "neworg/app", Tag: "v1.1.0"}))
	require.NoError(t, find(false, Request{Repository: "neworg/app", Tag: "v1.0.0"}), "it was oldorg/tool then")
	require.NoError(t, find(false, Request{Repository: "oldorg/tool", Tag: "v1.1.0"}), "by its old name")
	require.NoError(t, find(false, Request{Repository: "oldorg/tool", Event: sent("neworg/app", "v1.0.0")}), "the workflow still has the old name")
	for _, q := range []Request{
		{Repository: "neworg/app", Tag: "v1.2.0"}, {Repository: "neworg/app", Tag: "v1.3.0"},
		{Repository: "someone/else", Event: sent("neworg/app", "v1.1.0")}, {Repository: "gone/away", Event: sent("neworg/app", "v1.1.0")},
	} {
		err := find(false, q)
		require.ErrorIs(t, err, event.ErrForeign, q)
		require.False(t, event.Skipped(err))
	}
	err := find(true, Request{Repository: "neworg/app", Tag: "v1.0.0"})
	require.ErrorContains(t, err, "whether both are names of one repository is unknown")
}

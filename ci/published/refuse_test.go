package published

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// call matches calls of the fake GitHub.
func call(name string) func(fakehub.Call) bool {
	return func(c fakehub.Call) bool { return c.Op == name }
}

// once is a client that makes no second try.
func onceClient(t *testing.T, hub *fakehub.Local) *github.Client {
	t.Helper()
	client, err := github.New(github.Options{APIURL: hub.URL + "api/v3/", Transport: hub.Transport(false, false), Clock: fakehub.NewClock(time.Now()), Tries: 1})
	require.NoError(t, err)
	return client
}

// Everything that [Open] refuses, and what it calls it. What can't be read is
// never taken for what isn't there, and is not waited for.
func TestOpenRefuses(t *testing.T) {
	replace := func(old, with string) func(*fakehub.Seed) {
		return func(s *fakehub.Seed) { s.Files[1].Data = bytes.ReplaceAll(s.Files[1].Data, []byte(old), []byte(with)) }
	}
	for name, c := range map[string]struct {
		change func(*fakehub.Seed)
		fault  string // the call that fails
		says   string
		waits  bool
		is     error
	}{
		"a draft":                       {change: func(s *fakehub.Seed) { s.Draft = true }, says: "it is not published", waits: true},
		"no checksums":                  {change: func(s *fakehub.Seed) { s.Files = s.Files[:2] }, says: `asset "SHA256SUMS" is missing`, waits: true},
		"no manifest":                   {change: func(s *fakehub.Seed) { s.Files = s.Files[2:] }, says: `asset "release-manifest.json" is missing`, waits: true},
		"half a manifest":               {change: func(s *fakehub.Seed) { s.Files[1].Starter = true }, says: `asset "release-manifest.json" is missing`, waits: true},
		"no archive":                    {change: func(s *fakehub.Seed) { s.Files = s.Files[1:] }, says: `assets are missing: "app.tar.gz"`, waits: true},
		"checksums that differ":         {change: replace("rustc 1.96.0", "rustc 1.96.1"), says: `asset "release-manifest.json" has SHA-256 `},
		"another tag's manifest":        {change: func(s *fakehub.Seed) { s.Files = files(t, "v1.0.1", "1.0.1", "") }, says: `tag "v1.0.1" is not the event's, "v1.0.0"`, is: event.ErrForeign},
		"another repository's manifest": {change: func(s *fakehub.Seed) { s.Files = files(t, "v1.0.0", "1.0.0", "https://github.com/someone/else") }, says: `release-manifest.json is of repository "someone/else", not "o/r"`, is: event.ErrForeign},
		"the release can't be read":     {fault: "get release by tag", says: "500"},
		"its assets can't be listed":    {fault: "list assets", says: "500"},
		"an asset can't be downloaded":  {fault: "get object", says: "500"},
		"the releases can't be listed":  {fault: "list releases", says: "list the releases of o/r"},
	} {
		t.Run(name, func(t *testing.T) {
			hub, repo, _ := setupHub(t)
			seed := fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: files(t, "v1.0.0", "1.0.0", "https://github.com/o/r")}
			if c.change != nil {
				c.change(&seed)
			}
			repo.Seed(seed)
			if c.fault != "" {
				for n := range 9 {
					hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: n + 1, Match: call(c.fault)})
				}
			}
			e, err := event.FromTag("o/r", "v1.0.0")
			require.NoError(t, err)
			waits := 0
			r, err := Open(t.Context(), onceClient(t, hub), e, Options{Wait: 10 * time.Second, Sleep: func(_ context.Context, d time.Duration) error {
				waits++
				assert.Equal(t, 5*time.Second, d)
				return nil
			}})
			assert.Nil(t, r)
			require.ErrorContains(t, err, c.says)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			assert.Equal(t, map[bool]int{true: 2}[c.waits], waits)
			if c.waits {
				assert.ErrorContains(t, err, `release "v1.0.0" of o/r is not complete: `)
			}
		})
	}
}

// A wait ends with the context, at once.
func TestOpenStopsWaiting(t *testing.T) {
	_, client := setup(t)
	e, err := event.FromTag("o/r", "v1.0.0")
	require.NoError(t, err)
	stopped := errors.New("stopped")
	_, err = Open(t.Context(), client, e, Options{Wait: time.Minute, Sleep: func(context.Context, time.Duration) error { return stopped }})
	require.ErrorIs(t, err, stopped)
}

// What a release's own manifest says of its image counts, and that it is the
// release's.
func TestRecent(t *testing.T) {
	image := &manifest.Image{Repositories: []string{"ghcr.io/o/r"}}
	imaged := func(tag, version string, home string) []fakehub.File {
		return filesOf(t, tag, version, home, image)
	}
	for name, c := range map[string]struct {
		change func(*fakehub.Seed)
		says   string
	}{
		"no manifest":              {func(s *fakehub.Seed) { s.Files = s.Files[:1] }, "skipped: it has no release-manifest.json"},
		"no image":                 {func(s *fakehub.Seed) { s.Files = files(t, "v1.0.0", "1.0.0", "") }, `skipped: component "app" has no image`},
		"an incomplete release":    {func(s *fakehub.Seed) { s.Files = s.Files[1:] }, `failed: the release is not complete: assets are missing: "app.tar.gz"`},
		"another tag's":            {func(s *fakehub.Seed) { s.Files = imaged("v1.0.1", "1.0.1", "") }, `failed: compare the event with release-manifest.json`},
		"another repository's":     {func(s *fakehub.Seed) { s.Files = imaged("v1.0.0", "1.0.0", "https://github.com/someone/else") }, `release-manifest.json is of repository "someone/else", not "o/r"`},
		"what isn't a manifest":    {func(s *fakehub.Seed) { s.Files[1].Data = []byte(`{"schemaVersion":"9.0"}`) }, "failed: "},
		"a manifest of any size":   {func(s *fakehub.Seed) { s.Files[1].Data = bytes.Repeat([]byte(" "), manifest.MaxSize+1) }, "bytes, more than"},
		"a draft":                  {func(s *fakehub.Seed) { s.Draft = true }, ""},
		"a tag that Gantry hasn't": {func(s *fakehub.Seed) { s.Tag = "v1.0.0+x" }, "failed: "},
		"right":                    {func(*fakehub.Seed) {}, "candidate"},
	} {
		t.Run(name, func(t *testing.T) {
			hub, repo, _ := setupHub(t)
			seed := fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: imaged("v1.0.0", "1.0.0", "https://github.com/o/r")}
			c.change(&seed)
			repo.Seed(seed)
			entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 3})
			require.NoError(t, err)
			assert.Contains(t, texts(entries), c.says)
			if c.says == "" {
				assert.Empty(t, entries)
			}
		})
	}
	hub, repo, _ := setupHub(t)
	_, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o", Last: 3})
	require.ErrorContains(t, err, "not owner/name")
	for _, v := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		repo.Seed(fakehub.Seed{Tag: "v" + v, Commit: sha, Files: imaged("v"+v, v, "")})
	}
	// A release with so many assets that the list may not have all of them.
	many := imaged("many-1.0.0", "1.0.0", "")
	for i := range 40 {
		many = append(many, fakehub.File{Name: fmt.Sprintf("more-%d", i), Data: []byte("x")})
	}
	repo.Seed(fakehub.Seed{Tag: "many-1.0.0", Commit: sha, Files: many[3:]})
	entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
	require.NoError(t, err)
	require.Equal(t, "many-1.0.0 skipped: it has no release-manifest.json\nv1.2.0 candidate\nv1.1.0 candidate\n", texts(entries))
	first, second := entries[1].Candidate, entries[2].Candidate
	assert.False(t, first.Assumed)
	require.True(t, second.Assumed, "it is like the newer one, until it is read")
	assert.Equal(t, "1.1.0", second.Version().String())
	assert.Equal(t, image.Repositories, second.Manifest.Image.Repositories)
	assert.Equal(t, []string{"1.0.0", "1.2.0"}, versions(second.Known))
	hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1, Match: call("get object")})
	changed, err := second.Read(t.Context())
	require.ErrorContains(t, err, "500")
	require.False(t, changed)
	require.True(t, second.Assumed)
	changed, err = second.Read(t.Context())
	require.NoError(t, err)
	assert.False(t, changed)
	assert.False(t, second.Assumed)
	assert.Equal(t, sha, second.Manifest.Commit)
	assert.Equal(t, []string{"1.0.0", "1.2.0"}, versions(second.Known))
	opened, err := second.Open(t.Context())
	require.NoError(t, err)
	assert.Equal(t, second.Known, opened.Known)
	assert.NotEmpty(t, opened.ManifestSHA256)

	hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1, Match: call("list releases")})
	_, err = Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
	require.ErrorContains(t, err, "list the releases of o/r")
	hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1, Match: call("list assets")})
	_, err = Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
	require.ErrorContains(t, err, `release "many-1.0.0"`)
	hub.Arm(fakehub.Fault{Kind: fakehub.ServerError, N: 1, Match: call("get object")})
	entries, err = Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 1})
	require.NoError(t, err)
	assert.Contains(t, texts(entries), "v1.2.0 failed: ")
}

// A manifest that is cut off is not read.
func TestManifestThatIsCutOff(t *testing.T) {
	hub, repo, _ := setupHub(t)
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: filesOf(t, "v1.0.0", "1.0.0", "", &manifest.Image{})})
	hub.Arm(fakehub.Fault{Kind: fakehub.Reset, Match: call("get object")})
	entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 1})
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.ErrorContains(t, entries[0].Err, "release-manifest.json")
	assert.Nil(t, entries[0].Candidate)
}

// The assets of a release are listed only where the list of releases may not have
// them all.
func TestAssetsAreSeldomListed(t *testing.T) {
	hub, repo, _ := setupHub(t)
	listed := func() (n int) {
		for _, c := range hub.Calls() {
			if c.Op == "list assets" {
				n++
			}
		}
		return n
	}
	with := func(version string, more int) []fakehub.File {
		all := filesOf(t, "v"+version, version, "", &manifest.Image{})
		for i := range more {
			all = append(all, fakehub.File{Name: fmt.Sprintf("more-%d", i), Data: []byte("x")})
		}
		return all
	}
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: with("1.0.0", 40)[:30]})
	repo.Seed(fakehub.Seed{Tag: "v1.1.0", Commit: sha, Files: with("1.1.0", 26)[3:]}) // no manifest among 26
	entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
	require.NoError(t, err)
	require.Equal(t, "v1.1.0 skipped: it has no release-manifest.json\nv1.0.0 candidate\n", texts(entries))
	require.Zero(t, listed())
	repo.Seed(fakehub.Seed{Tag: "v1.2.0", Commit: sha, Files: with("1.2.0", 30)[3:]}) // nor among 30
	_, err = Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
	require.NoError(t, err)
	require.Equal(t, 1, listed())
}

// What a candidate lacks besides its manifest shows when it is opened.
func TestCandidateWithoutChecksums(t *testing.T) {
	hub, repo, _ := setupHub(t)
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: filesOf(t, "v1.0.0", "1.0.0", "", &manifest.Image{})[:2]})
	entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 1})
	require.NoError(t, err)
	_, err = entries[0].Candidate.Open(t.Context())
	require.ErrorContains(t, err, `asset "SHA256SUMS" is missing`)
}

func texts(entries []Entry) string {
	var b strings.Builder
	for _, e := range entries {
		switch {
		case e.Err != nil:
			fmt.Fprintf(&b, "%s failed: %v\n", e.Tag, e.Err)
		case e.Skipped != "":
			fmt.Fprintf(&b, "%s skipped: %s\n", e.Tag, e.Skipped)
		default:
			fmt.Fprintf(&b, "%s candidate\n", e.Tag)
		}
	}
	return b.String()
}

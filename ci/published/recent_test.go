package published

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// Of each component one manifest is read, and the releases of those that are not
// wanted do not count.
func TestRecentOfComponents(t *testing.T) {
	hub, repo, _ := setupHub(t)
	image := &manifest.Image{Repositories: []string{"ghcr.io/o/r"}}
	for _, r := range []struct {
		component, version string
		image              *manifest.Image
	}{
		{"server", "1.0.0", image}, {"cli", "1.0.0", nil}, {"other", "1.0.0", image}, {"server", "1.1.0", image},
		{"cli", "1.1.0", nil}, {"other", "1.1.0", image}, {"server", "1.2.0", image}, {"cli", "1.2.0", nil}, {"other", "1.2.0", image},
	} {
		tag := r.component + "-" + r.version
		repo.Seed(fakehub.Seed{Tag: tag, Commit: sha, Files: filesFor(t, r.component, tag, r.version, "", r.image)})
	}
	for _, c := range []struct {
		choice Choice
		want   string
		reads  int
	}{
		{Choice{Last: 2, Component: "server"}, `other-1.2.0 skipped: it is of component "other"
cli-1.2.0 skipped: it is of component "cli"
server-1.2.0 candidate
other-1.1.0 skipped: it is of component "other"
cli-1.1.0 skipped: it is of component "cli"
server-1.1.0 candidate
`, 3},
		{Choice{Last: 3}, `other-1.2.0 candidate
cli-1.2.0 skipped: component "cli" has no image
server-1.2.0 candidate
other-1.1.0 candidate
`, 3},
		{Choice{Last: 4, AnyImage: true}, `other-1.2.0 candidate
cli-1.2.0 candidate
server-1.2.0 candidate
other-1.1.0 candidate
`, 3},
		{Choice{Last: 1, Component: "cli", AnyImage: true}, `other-1.2.0 skipped: it is of component "other"
cli-1.2.0 candidate
`, 2},
		{Choice{Last: 0}, "", 0},
	} {
		before := len(hub.Calls())
		c.choice.Repository = "o/r"
		entries, err := Recent(t.Context(), onceClient(t, hub), c.choice)
		require.NoError(t, err)
		assert.Equal(t, c.want, texts(entries), "%+v", c.choice)
		reads := 0
		for _, made := range hub.Calls()[before:] {
			if made.Op == "get object" {
				reads++
			}
		}
		assert.Equal(t, c.reads, reads, "%+v", c.choice)
	}
}

// Old releases name the repository as it was called then. GitHub is asked once
// whether a name is the repository's.
func TestRecentOfARenamedRepository(t *testing.T) {
	hub := fakehub.Start(fakehub.New(fakehub.Config{}))
	t.Cleanup(hub.Close)
	repo := hub.AddRepo("neworg", "app")
	hub.AddRepo("someone", "else")
	for _, r := range [][2]string{{"a-1.0.0", "oldorg/tool"}, {"b-1.0.0", "oldorg/tool"}, {"c-1.0.0", "someone/else"}, {"d-1.0.0", "someone/else"}} {
		repo.Seed(fakehub.Seed{Tag: r[0], Commit: sha, Files: filesFor(t, r[0][:1], r[0], "1.0.0", "https://github.com/"+r[1], &manifest.Image{})})
	}
	client, err := github.New(github.Options{
		APIURL: hub.URL + "api/v3/", Tries: 1, Clock: fakehub.NewClock(time.Now()),
		Transport: renames{hub.Transport(false, false), "oldorg/tool", "neworg/app", false},
	})
	require.NoError(t, err)
	entries, err := Recent(t.Context(), client, Choice{Repository: "neworg/app", Last: 9})
	require.NoError(t, err)
	require.Len(t, entries, 4)
	for i, e := range entries {
		if i < 2 {
			assert.Nil(t, e.Candidate, e.Tag)
			require.ErrorIs(t, e.Err, event.ErrForeign, e.Tag)
			continue
		}
		require.NoError(t, e.Err, e.Tag)
		assert.Equal(t, "neworg/app", e.Candidate.scan.Repository, "it is read where it is now")
		assert.Equal(t, "https://github.com/oldorg/tool", e.Candidate.Manifest.Repository)
	}
	asked := 0
	for _, c := range hub.Calls() {
		if c.Op == "get repository" {
			asked++
		}
	}
	assert.Equal(t, 4, asked, "the repository and its other name, for each of the two names")
}

// A manifest that is among so many assets that lists don't have them all is found.
func TestRecentWithManyAssets(t *testing.T) {
	hub, repo, _ := setupHub(t)
	all := filesOf(t, "v1.0.0", "1.0.0", "", &manifest.Image{})
	var many []fakehub.File
	for i := range 1100 {
		many = append(many, fakehub.File{Name: fmt.Sprintf("more-%d", i), Data: []byte("x")})
	}
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: append(many[:900:900], all...)})
	entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 1})
	require.NoError(t, err)
	require.Equal(t, "v1.0.0 candidate\n", texts(entries))
	opened, err := entries[0].Candidate.Open(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "app", opened.Manifest.Component)
}

// An own manifest that puts the image elsewhere, or tags it otherwise, is a change.
func TestReadChanges(t *testing.T) {
	no := false
	newest := manifest.Image{Repositories: []string{"ghcr.io/o/r"}, Tags: &manifest.ImageTags{Suffix: "-a"}}
	for name, c := range map[string]struct {
		own     *manifest.Image
		changed bool
	}{
		"the same":         {&newest, false},
		"another base":     {&manifest.Image{Repositories: newest.Repositories, Tags: newest.Tags, Base: "debian:bookworm"}, false},
		"elsewhere":        {&manifest.Image{Repositories: []string{"ghcr.io/o/before"}, Tags: newest.Tags}, true},
		"nowhere":          {&manifest.Image{Tags: newest.Tags}, true},
		"without a suffix": {&manifest.Image{Repositories: newest.Repositories}, true},
		"no floating tags": {&manifest.Image{Repositories: newest.Repositories, Tags: &manifest.ImageTags{Suffix: "-a", Floating: &no}}, true},
		"no image":         {nil, true},
	} {
		hub, repo, _ := setupHub(t)
		repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: filesOf(t, "v1.0.0", "1.0.0", "", c.own)})
		repo.Seed(fakehub.Seed{Tag: "v1.1.0", Commit: sha, Files: filesOf(t, "v1.1.0", "1.1.0", "", &newest)})
		entries, err := Recent(t.Context(), onceClient(t, hub), Choice{Repository: "o/r", Last: 2})
		require.NoError(t, err)
		require.Len(t, entries, 2)
		older := entries[1].Candidate
		require.True(t, older.Assumed)
		changed, err := older.Read(t.Context())
		require.NoError(t, err)
		assert.Equal(t, c.changed, changed, name)
		assert.Equal(t, c.own, older.Manifest.Image, name)
	}
}

// Settings are read, checked and laid upon the release's own; what is no settings
// is an error.
func TestOpenWithSettings(t *testing.T) {
	repo, client := setup(t)
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: filesOf(t, "v1.0.0", "1.0.0", "", &manifest.Image{Base: "debian:bookworm", User: "1:1"})})
	repo.Seed(fakehub.Seed{Tag: "none-1.0.0", Commit: sha, Files: filesFor(t, "none", "none-1.0.0", "1.0.0", "", nil)})
	open := func(tag, settings string) (*Release, error) {
		e, err := event.FromTag("o/r", tag)
		require.NoError(t, err)
		return Open(t.Context(), client, e, Options{Settings: settings})
	}
	r, err := open("v1.0.0", settings(t, Settings{User: "2:2", SmokeArgs: []string{"version"}}))
	require.NoError(t, err)
	assert.Equal(t, &manifest.Image{Base: "debian:bookworm", User: "2:2", Smoke: &manifest.Smoke{Args: []string{"version"}}}, r.Manifest.Image)
	assert.Equal(t, `{"user":"2:2","smoke":{"args":["version"]}}`, r.Override)
	r, err = open("none-1.0.0", settings(t, Settings{User: "2:2"}))
	require.NoError(t, err)
	assert.Equal(t, &manifest.Image{User: "2:2"}, r.Manifest.Image, "an image for a release that asked for none")
	for _, wrong := range []string{"{", settings(t, Settings{User: "nobody at all"})} {
		r, err = open("v1.0.0", wrong)
		require.Error(t, err)
		assert.Nil(t, r)
	}
	_, err = Settings{}.Text("{")
	require.Error(t, err)
	for _, none := range [][]string{nil, {}} {
		all, err := pairs("env", none)
		require.NoError(t, err)
		assert.Nil(t, all)
	}
	assert.Equal(t, manifest.Image{Labels: map[string]string{"a": "2", "b": "1"}, Base: "x"},
		merge(manifest.Image{Labels: map[string]string{"a": "1", "b": "1"}, Base: "x"}, manifest.Image{Labels: map[string]string{"a": "2"}, Env: map[string]string{}}))
}

package published

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/manifest"
)

func settings(t *testing.T, all ...Settings) (text string) {
	t.Helper()
	for _, s := range all {
		var err error
		text, err = s.Text(text)
		require.NoError(t, err)
	}
	return text
}

func TestSettings(t *testing.T) {
	assert.Equal(t, "{}", settings(t, Settings{}))
	assert.Equal(t, manifest.Image{}, merge(manifest.Image{}, manifest.Image{}), "nothing is set")
	assert.Equal(t,
		`{"base":"b:2","entrypoint":["/app"],"cmd":["serve"],"user":"1:1","workdir":"/w","expose":["80"],"labels":{"a":"1","b":"x=y"},"env":{"E":""},"include":{"d":"/d"},"platforms":["linux/amd64"],"smoke":{"args":["version"],"expect":"v1"}}`,
		settings(t,
			Settings{Base: "b:1", Cmd: []string{"x"}, Labels: []string{"a=0", "b=x=y"}},
			Settings{
				Base: "b:2", Entrypoint: []string{"/app"}, Cmd: []string{"serve"}, User: "1:1", Workdir: "/w", Expose: []string{"80"}, Labels: []string{"a=1"},
				Env: []string{"E="}, Include: []string{"d=/d"}, Platforms: []string{"linux/amd64"}, SmokeArgs: []string{"version"}, SmokeExpect: "v1",
			}))
	assert.Equal(t, `{"smoke":{"expect":"ok"}}`, settings(t, Settings{SmokeExpect: "ok"}))
	assert.Equal(t, `{"smoke":{"args":["x"]}}`, settings(t, Settings{SmokeArgs: []string{"x"}}))
	for says, s := range map[string]Settings{
		"--labels=x is not KEY=VALUE": {Labels: []string{"x"}}, "--env==x is not KEY=VALUE": {Env: []string{"=x"}},
		`--include: "a" appears twice`: {Include: []string{"a=/b", "a=/c"}},
	} {
		_, err := s.Text("")
		assert.ErrorContains(t, err, says)
	}
}

// Image settings of a published release can be replaced; its manifest stays as it
// is.
func TestOverride(t *testing.T) {
	repo, client := setup(t)
	image := &manifest.Image{}
	repo.Seed(fakehub.Seed{Tag: "v1.0.0", Commit: sha, Files: filesOf(t, "v1.0.0", "1.0.0", "", image)})
	with := func(text string) (*Release, error) {
		return Find(t.Context(), client, Request{Repository: "o/r", Tag: "v1.0.0"}, Options{Settings: text})
	}
	for says, s := range map[string]Settings{
		`"image.user"`:                     {User: "nobody at all"},
		`"image.expose[0]"`:                {Expose: []string{"99999"}},
		"org.opencontainers.image.version": {Labels: []string{"org.opencontainers.image.version=2.0.0"}},
		`"linux/s390x"`:                    {Platforms: []string{"linux/s390x"}},
		`"nowhere"`:                        {Include: []string{"nowhere=/d"}},
	} {
		_, err := with(settings(t, s))
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, `can't replace those of release "v1.0.0"`)
	}
	for _, text := range []string{"", settings(t, Settings{})} {
		plain, err := with(text)
		require.NoError(t, err)
		assert.Equal(t, image, plain.Manifest.Image)
		assert.Empty(t, plain.Override)
	}
	text := settings(t, Settings{User: "1:1"})
	changed, err := with(text)
	require.NoError(t, err)
	assert.Equal(t, &manifest.Image{User: "1:1"}, changed.Manifest.Image)
	assert.Equal(t, text, changed.Override)
	before := *changed.Manifest
	require.NoError(t, changed.override(settings(t, Settings{User: "2:2"})))
	assert.Equal(t, "1:1", before.Image.User, "the manifest is copied")
}

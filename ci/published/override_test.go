package published

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/image/oci"
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
		`--include: "a" is there twice`: {Include: []string{"a=/b", "a=/c"}},
	} {
		_, err := s.Text("")
		assert.ErrorContains(t, err, says)
	}
}

// Settings of a release that is out can be replaced; the image says so, and its
// exact tag is never rewritten with others.
func TestOverride(t *testing.T) {
	b := &bench{t: t, payloads: map[string]event.Payload{}, bases: base(t, "today")}
	b.ship(t, "1.0.0")
	before := *must1(oci.Load(t.Context(), loaded(b.releases[0].Files)))
	with := func(text string) (*Release, error) {
		release := before
		r := &Release{Release: &release}
		return r, r.override(text)
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
	plain, err := with("")
	require.NoError(t, err)
	assert.Same(t, before.Manifest, plain.Manifest)
	none, err := with(settings(t, Settings{}))
	require.NoError(t, err)
	assert.Same(t, before.Manifest, none.Manifest)
	assert.Empty(t, none.Release.Override)

	text := settings(t, Settings{Entrypoint: []string{"/usr/local/bin/server", "serve"}, User: "1:1"})
	changed, err := with(text)
	require.NoError(t, err)
	assert.Equal(t, &manifest.Image{}, before.Manifest.Image, "the release is as it was")
	repository := func() *oci.Repository {
		r, err := oci.NewRepository("registry.example/acme/server", oci.RegistryOptions{Transport: within{registry.New()}})
		require.NoError(t, err)
		return r
	}
	assemble := func(r *Release) *oci.Image {
		image, err := oci.Assemble(t.Context(), r.Release, oci.AssembleOptions{Bases: oci.BaseIndexes{oci.StaticBase: b.bases}, Dir: t.TempDir()})
		require.NoError(t, err)
		t.Cleanup(func() { _ = image.Close() })
		return image
	}
	image := assemble(changed)
	assert.NotEqual(t, assemble(plain).Digest, image.Digest)
	im, err := image.Index.IndexManifest()
	require.NoError(t, err)
	assert.Equal(t, text, im.Annotations["dev.gantry.image.override"])
	config, err := image.Platforms[0].Image.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, []string{"/usr/local/bin/server", "serve"}, config.Config.Entrypoint)
	assert.Equal(t, "1:1", config.Config.User)

	overridden, own := repository(), repository()
	for r, i := range map[*oci.Repository]*oci.Image{overridden: image, own: assemble(plain)} {
		_, err = oci.Publish(t.Context(), oci.Publication{Version: changed.Version(), Index: i.Index}, r)
		require.NoError(t, err)
	}
	other, err := with(settings(t, Settings{User: "2:2"}))
	require.NoError(t, err)
	for _, c := range []struct {
		r    *oci.Repository
		by   *Release
		says string
	}{
		{overridden, changed, ""},
		{overridden, plain, text + ", and is never rewritten: pass the same with with-image-settings (given: none)"},
		{overridden, other, `(given: {"user":"2:2"})`},
		{own, plain, ""},
		{own, other, `was published with the release's own image settings, and is never rewritten: drop the settings {"user":"2:2"}`},
		{repository(), other, ""},
	} {
		found, err := oci.ReadPublished(t.Context(), "1.0.0", c.r)
		require.NoError(t, err)
		err = found.Agrees(c.by.Release)
		if c.says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.says)
		}
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

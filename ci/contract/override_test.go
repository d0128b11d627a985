package contract_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/published"
)

// An image names the settings that replaced those of its release, and its exact
// tag is never rewritten with others.
func TestOverriddenImage(t *testing.T) {
	b := &bench{t: t, payloads: map[string]event.Payload{}, bases: base(t, "today")}
	b.ship(t, "1.0.0")
	hub := fakehub.Start(fakehub.New(fakehub.Config{}))
	t.Cleanup(hub.Close)
	hub.AddRepo("acme", "server").Seed(b.releases[0])
	client, err := github.New(github.Options{APIURL: hub.URL + "api/v3/", Transport: hub.Transport(false, false), Clock: fakehub.NewClock(time.Now())})
	require.NoError(t, err)
	with := func(settings string) (*published.Release, error) {
		return published.Find(t.Context(), client, published.Request{Repository: slug, Tag: "v1.0.0"}, published.Options{Settings: settings})
	}
	settings := func(s published.Settings) string {
		text, err := s.Text("")
		require.NoError(t, err)
		return text
	}
	plain, err := with("")
	require.NoError(t, err)

	text := settings(published.Settings{Entrypoint: []string{"/usr/local/bin/server", "serve"}, User: "1:1"})
	changed, err := with(text)
	require.NoError(t, err)
	repository := func() *oci.Repository {
		r, err := oci.NewRepository("registry.example/acme/server", oci.RegistryOptions{Transport: ocitest.Within{Handler: quiet()}})
		require.NoError(t, err)
		return r
	}
	assemble := func(r *published.Release) *oci.Image {
		image, err := oci.Assemble(t.Context(), r, oci.AssembleOptions{Bases: ocitest.Bases{imagespec.StaticBase: b.bases}, Dir: t.TempDir()})
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
	other, err := with(settings(published.Settings{User: "2:2"}))
	require.NoError(t, err)
	for _, c := range []struct {
		r    *oci.Repository
		by   *published.Release
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
		err = found.Agrees(c.by)
		if c.says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.says)
		}
	}
}

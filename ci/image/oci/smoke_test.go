package oci_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
)

func TestSmokeTestOf(t *testing.T) {
	for _, c := range []struct {
		name, version string
		smoke         *manifest.Smoke
		args          []string
		skip          bool
		good, bad     string
	}{
		{"by default", "1.2.3", nil, []string{"--version"}, false, "server 1.2.3", "server 11.2.30"},
		{"a candidate", "1.2.0-rc.1", nil, []string{"--version"}, false, "server 1.2.0", "server 1.2.0-rc.2"},
		{"other arguments", "1.2.3", &manifest.Smoke{Args: []string{"version", "--short"}}, []string{"version", "--short"}, false, "1.2.3", "usage: server"},
		{"other text", "1.2.3", &manifest.Smoke{Args: []string{"--help"}, Expect: "usage: server"}, []string{"--help"}, false, "usage: server [--port]", "server 1.2.3"},
		{"nothing", "1.2.3", &manifest.Smoke{Skip: true}, []string{"--version"}, true, "1.2.3", ""},
	} {
		test, err := imagespec.SmokeTestOf(&manifest.Manifest{Version: c.version, Image: &manifest.Image{Smoke: c.smoke}})
		require.NoError(t, err, c.name)
		assert.Equal(t, c.args, test.Args, c.name)
		assert.Equal(t, c.skip, test.Skip, c.name)
		assert.NoError(t, test.Check(c.good), c.name)
		assert.ErrorContains(t, test.Check(c.bad), "smoke.expect", c.name)
	}
	test, err := imagespec.SmokeTestOf(&manifest.Manifest{Version: "1.2.3"})
	require.NoError(t, err)
	assert.NoError(t, test.Check("v1.2.3"))
	_, err = imagespec.SmokeTestOf(&manifest.Manifest{Version: "1.2"})
	assert.Error(t, err)
}

package oci_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
)

// A login is for its registry, however that is spelled, and for its path.
func TestLogin(t *testing.T) {
	for _, c := range []struct {
		login, repository string
		found             bool
	}{
		{"ghcr.io", "ghcr.io/acme/server", true},
		{"GHCR.io:443", "ghcr.io/acme/server", true},
		{"ghcr.io", "ghcr.io:8443/acme/server", false},
		{"ghcr.io", "ghcr.io.example/acme/server", false},
		{"ghcr.io/", "ghcr.io/acme/server", true},
		{"ghcr.io/acme", "ghcr.io/acme/server", true},
		{"ghcr.io/acme/server", "ghcr.io/acme/server", true},
		{"ghcr.io/acme", "ghcr.io/acmes/server", false},
		{"ghcr.io/acme/server", "ghcr.io/acme/other", false},
		{"docker.io", "index.docker.io/acme/server", true},
		{"index.docker.io", "docker.io/acme/server", true},
		{"registry-1.docker.io/acme", "docker.io/acme/server", true},
		{"docker.io", "ghcr.io/acme/server", false},
		{"localhost:5000", "localhost:5000/acme/server", true},
	} {
		chain, err := oci.Login(c.login, "me", "secret")
		require.NoError(t, err, c.login)
		auth, err := authn.Resolve(t.Context(), chain, must(name.NewRepository(c.repository)))
		require.NoError(t, err)
		assert.Equal(t, c.found, auth != authn.Anonymous, "%s for %s", c.login, c.repository)
	}
	for _, address := range []string{"", "https://ghcr.io", "ghcr.io/acme:1", "ghcr.io/acme@sha256:0", "ghcr.io/a b", "a b", "ghcr.io//acme", "//ghcr.io"} {
		_, err := oci.Login(address, "me", "secret")
		assert.ErrorContains(t, err, "write it like ghcr.io", address)
	}
}

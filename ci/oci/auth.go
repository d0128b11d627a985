package oci

import (
	"bytes"
	"fmt"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// nobody is a keychain without credentials.
type nobody struct{}

// Resolve finds none.
func (nobody) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// Login is a keychain with the credentials of one registry, "ghcr.io". For all
// others there are none.
func Login(registry, username, password string) (authn.Keychain, error) {
	reg, err := name.NewRegistry(registry)
	if err != nil {
		return nil, fmt.Errorf("read registry %q: %w", registry, err)
	}
	return login{reg.RegistryStr(), authn.FromConfig(authn.AuthConfig{Username: username, Password: password})}, nil
}

type login struct {
	registry string
	auth     authn.Authenticator
}

// Resolve finds the credentials of the registry.
func (l login) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if r.RegistryStr() == l.registry {
		return l.auth, nil
	}
	return authn.Anonymous, nil
}

// DockerConfig is a keychain with the credentials in a Docker configuration
// file, ~/.docker/config.json. It refuses a file whose credentials are with a
// helper program, which it would not run.
func DockerConfig(file []byte) (authn.Keychain, error) {
	c, err := config.LoadFromReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("read the Docker configuration: %w", err)
	}
	if len(c.AuthConfigs) == 0 && (c.CredentialsStore != "" || len(c.CredentialHelpers) > 0) {
		return nil, fmt.Errorf("read the Docker configuration: the credentials are with the helper %q, which is not run: make a file with \"auths\" (docker --config DIR login, without a helper)", c.CredentialsStore)
	}
	c.CredentialsStore, c.CredentialHelpers = "", nil
	return dockerConfig(func(key string) (authn.AuthConfig, error) {
		a, err := c.GetAuthConfig(key)
		return authn.AuthConfig{Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}, err
	}), nil
}

type dockerConfig func(key string) (authn.AuthConfig, error)

// Resolve looks for the repository first, then for its registry.
func (d dockerConfig) Resolve(r authn.Resource) (authn.Authenticator, error) {
	for _, key := range []string{r.String(), r.RegistryStr()} {
		if key == name.DefaultRegistry {
			key = authn.DefaultAuthKey
		}
		found, err := d(key)
		if err != nil {
			return nil, err
		}
		if found != (authn.AuthConfig{}) {
			return authn.FromConfig(found), nil
		}
	}
	return authn.Anonymous, nil
}

// Keychains asks one keychain after the other.
func Keychains(all ...authn.Keychain) authn.Keychain { return authn.NewMultiKeychain(all...) }

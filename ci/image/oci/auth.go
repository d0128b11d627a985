package oci

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// dockerHub lists the names of Docker Hub's registry. Images use the first, logins
// any of them, and it answers at the last.
var dockerHub = []string{"docker.io", name.DefaultRegistry, "registry-1.docker.io", "registry.docker.io", "registry.hub.docker.com"}

// Host returns the canonical name of a registry, so that two names of one registry
// compare equal: lower case, without HTTPS's port, and "index.docker.io" for every
// name of Docker Hub.
func Host(registry string) string {
	host := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(registry), ":443"), ".")
	if slices.Contains(dockerHub, host) {
		return name.DefaultRegistry
	}
	return host
}

// Login returns a keychain with the credentials of one registry, "ghcr.io", or of
// its repositories below a path, "ghcr.io/owner". It has none for everything else.
func Login(address, username, password string) (authn.Keychain, error) {
	registry, path, _ := strings.Cut(strings.TrimSuffix(address, "/"), "/")
	if _, err := name.NewRegistry(registry, name.StrictValidation); err != nil || strings.Contains(address, "//") || strings.ContainsAny(path, ":@ ") {
		return nil, fmt.Errorf("read registry %q: not a registry or a path in it: write it like ghcr.io or ghcr.io/owner", address)
	}
	return login{Host(registry), path, authn.FromConfig(authn.AuthConfig{Username: username, Password: password})}, nil
}

type login struct {
	host, path string
	auth       authn.Authenticator
}

// Resolve returns the credentials, if they are for the repository.
func (l login) Resolve(r authn.Resource) (authn.Authenticator, error) {
	registry, repository, _ := strings.Cut(r.String(), "/")
	if Host(registry) != l.host || !below(l.path, repository) {
		return authn.Anonymous, nil
	}
	return l.auth, nil
}

// below reports whether a repository is at a path or below it.
func below(path, repository string) bool {
	return path == "" || repository == path || strings.HasPrefix(repository, path+"/")
}

// HelperError means that a credential helper keeps the login of a registry. Gantry
// doesn't run helpers.
type HelperError struct {
	// Registry and Helper are as in the configuration.
	Registry, Helper string
}

// Error names both and the fix.
func (e *HelperError) Error() string {
	return fmt.Sprintf("Docker's config.json keeps the login of %q in the credential helper %q, which runs only on your machine: pass that login by name (with-registry-auth --address=%s), or a config.json that has it under \"auths\"",
		e.Registry, e.Helper, e.Registry)
}

// Docker holds the credentials of a Docker configuration file,
// ~/.docker/config.json.
type Docker struct{ file *configfile.ConfigFile }

// DockerConfig reads a Docker configuration file. Asking for credentials that a
// helper keeps is a [*HelperError].
func DockerConfig(file []byte) (*Docker, error) {
	c, err := config.LoadFromReader(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("read Docker's config.json: %w", err)
	}
	return &Docker{c}, nil
}

// Resolve returns the credentials of the longest path that fits, under any name of
// the registry.
func (d *Docker) Resolve(r authn.Resource) (authn.Authenticator, error) {
	registry, repository, _ := strings.Cut(r.String(), "/")
	if found := d.find(registry, repository); found != nil {
		return authn.FromConfig(*found), nil
	}
	if helper := d.helper(registry); helper != "" {
		return nil, &HelperError{Registry: display(registry), Helper: helper}
	}
	return authn.Anonymous, nil
}

// Has reports whether the file has the registry's login, or names a helper for it.
func (d *Docker) Has(registry string) bool {
	return d.helper(registry) != "" || d.lists(registry)
}

// lists reports whether auths has an entry of the registry, with a login or without.
func (d *Docker) lists(registry string) bool {
	for key := range d.file.AuthConfigs {
		if names(key, registry) {
			return true
		}
	}
	return false
}

// names reports whether a key of the file is of the registry, or of a path in it.
func names(key, registry string) bool {
	host, _, _ := strings.Cut(bare(key), "/")
	return Host(host) == Host(registry)
}

// Store returns the helper that keeps the logins of all registries, or "".
func (d *Docker) Store() string { return d.file.CredentialsStore }

// bare returns a key of auths without what older Dockers added:
// "https://index.docker.io/v1/".
func bare(key string) string {
	_, rest, found := strings.Cut(key, "://")
	if !found {
		rest = key
	}
	host, path, _ := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return strings.TrimSuffix(host+"/"+path, "/")
}

// find returns the credentials with the longest path that fits, or nil.
func (d *Docker) find(registry, repository string) *authn.AuthConfig {
	var best *authn.AuthConfig
	length := -1
	for _, key := range slices.Sorted(maps.Keys(d.file.AuthConfigs)) {
		a := d.file.AuthConfigs[key]
		_, path, _ := strings.Cut(bare(key), "/")
		if !names(key, registry) || len(path) <= length || !below(path, repository) {
			continue
		}
		c := authn.AuthConfig{Username: a.Username, Password: a.Password, Auth: a.Auth, IdentityToken: a.IdentityToken, RegistryToken: a.RegistryToken}
		// Where a helper keeps a login, Docker leaves an empty entry behind.
		if c != (authn.AuthConfig{}) {
			best, length = &c, len(path)
		}
	}
	return best
}

// helper returns the helper that keeps the registry's login, or "".
func (d *Docker) helper(registry string) string {
	for key, helper := range d.file.CredentialHelpers {
		if names(key, registry) {
			return helper
		}
	}
	if d.lists(registry) {
		return d.file.CredentialsStore
	}
	return ""
}

// display returns the usual spelling of a registry.
func display(registry string) string {
	if Host(registry) == name.DefaultRegistry {
		return "docker.io"
	}
	return registry
}

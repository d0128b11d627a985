package cargo

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

var registryName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

// TokenVariable returns the environment variable with the token of a registry that
// Cargo's configuration names ("Registry Authentication", The Cargo Book).
func TokenVariable(registry string) (string, error) {
	if !registryName.MatchString(registry) {
		return "", fmt.Errorf("registry %q must be a name in the [registries] table of .cargo/config.toml, such as \"internal\"", registry)
	}
	return "CARGO_REGISTRIES_" + strings.ToUpper(strings.ReplaceAll(registry, "-", "_")) + "_TOKEN", nil
}

// CheckGitAddress returns an error unless an address is that of a git server, without a
// path: git sends a login to all repositories of a server.
func CheckGitAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("address %q must be the URL of a git server, such as \"https://github.com\"", address)
	case u.User != nil:
		return fmt.Errorf("address %q has a login: pass it as username and secret", u.Redacted())
	case u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("address %q has a path, but git sends a login to a whole server: pass \"%s://%s\"", address, u.Scheme, u.Host)
	}
	return nil
}

package github

import (
	"fmt"
	"strings"
)

// API returns the base of the API of a GitHub instance: of github.com for an empty
// address, https://HOST/api/v3/ for a GitHub Enterprise Server and
// https://api.TENANT.ghe.com/ for data residency. An address that is the base of an
// API already stays as it is.
//
// The rules are those of "Getting started with the REST API" and of "About GitHub
// Enterprise Cloud with data residency" in GitHub's documentation.
func API(address string) (string, error) {
	if address == "" {
		return "https://api.github.com/", nil
	}
	base, err := parseBase(address)
	if err != nil {
		return "", fmt.Errorf("--github: %w: pass the address of GitHub, such as https://github.example.com", err)
	}
	host := strings.ToLower(base.Hostname())
	switch {
	case strings.HasPrefix(host, "api.") || strings.HasSuffix(base.Path, "/api/v3/"):
	case base.Path != "/":
		return "", fmt.Errorf("--github=%s is neither the address of GitHub nor that of its API: pass https://HOST, or https://HOST/api/v3/ for an API", address)
	case host == "github.com" || strings.HasSuffix(host, ".ghe.com"):
		base.Host = "api." + base.Host
	default:
		base.Path = "/api/v3/"
	}
	return base.String(), nil
}

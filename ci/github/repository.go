package github

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// RepositoryAt returns a repository's owner and name: those that the caller named as
// "owner/name", or else those in the address of the project's page. host is the
// GitHub that will get the token. A page elsewhere is refused unless the caller
// named the GitHub.
func RepositoryAt(named, page, host string) (owner, name string, err error) {
	slug := named
	if slug == "" {
		u, err := url.Parse(page)
		if page == "" || err != nil {
			return "", "", fmt.Errorf("the GitHub repository is unknown: pass --repository owner/name, or set repository in Cargo.toml")
		}
		if at := strings.ToLower(u.Hostname()); host == publicHost && at != "" && !slices.Contains(publicNames, at) {
			return "", "", fmt.Errorf("the repository %s is not on %s, which would get the token: pass --github=https://%s if that is a GitHub Enterprise, or --repository=owner/name for a repository on %[2]s", u.Redacted(), publicHost, u.Host)
		}
		// The rest is a path in the repository, such as /tree/main/crates/app.
		parts := strings.SplitN(strings.Trim(u.Path, "/"), "/", 3)
		slug = strings.TrimSuffix(strings.Join(parts[:min(2, len(parts))], "/"), ".git")
	}
	owner, name, ok := strings.Cut(slug, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return "", "", fmt.Errorf("repository %q is not owner/name: pass --repository owner/name", slug)
	}
	return owner, name, nil
}

const publicHost = "github.com"

var publicNames = []string{publicHost, "www.github.com", "ssh.github.com"}

package github

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// RepositoryAt reads a repository's owner and name: those that the caller named
// as "owner/name", or else those in the address of the project's page. host is
// that of the GitHub that will be asked, which gets the token: a page elsewhere
// is refused where nobody named the GitHub.
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
		// What follows is a place in the repository, as /tree/main/crates/app.
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

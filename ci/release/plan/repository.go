package plan

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"dagger/gantry/ci/notation"
)

// subpages are the path elements that follow a repository in the addresses of its
// pages; "-" is GitLab's.
var subpages = []string{"-", "tree", "blob", "raw", "src", "commit", "commits", "browse"}

// projectURL returns the home of a project, "https://host/owner/name", from the
// address of its repository or of a directory in it. An address without owner
// and name stays unchanged. It is empty for an address without a web page
// ([notation.WebURL]).
func projectURL(address string) string {
	page := notation.WebURL(address)
	u, err := url.Parse(page)
	if page == "" || err != nil {
		return ""
	}
	parts := strings.FieldsFunc(u.Path, func(r rune) bool { return r == '/' })
	if len(parts) < 2 {
		return page
	}
	host := strings.TrimPrefix(strings.ToLower(u.Host), "www.")
	end := len(parts)
	if host == "github.com" {
		end = 2
	} else if i := slices.IndexFunc(parts[2:], func(p string) bool { return slices.Contains(subpages, p) }); i >= 0 {
		end = 2 + i // groups may be nested elsewhere
	}
	home := url.URL{Scheme: u.Scheme, Host: host, Path: "/" + strings.TrimSuffix(strings.Join(parts[:end], "/"), ".git")}
	return home.String()
}

// repositoryName returns the name of the repository at an address, or nothing.
func repositoryName(address string) string {
	if home := projectURL(address); home != "" {
		return path.Base(home)
	}
	return ""
}

// repository returns the home of the project, from Cargo.toml or else the remote
// origin; empty if neither has one.
func (p *Plan) repository(git Git) string {
	for _, pkg := range p.component.Packages {
		if pkg.Repository == "" {
			continue
		}
		home := projectURL(pkg.Repository)
		if home == "" {
			p.fail("repository %q of %s is not the URL of a web page: write it like https://github.com/owner/name", pkg.Repository, pkg.Manifest())
		}
		return home
	}
	return projectURL(git.Origin)
}

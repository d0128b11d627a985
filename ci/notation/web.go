package notation

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// CheckWebURL returns an error unless address is the page of a project: an https
// URL without a password.
func CheckWebURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(address, " \t\r\n") {
		return fmt.Errorf("%q is not an https URL without a password", address)
	}
	return nil
}

var (
	// scpLike is git's short form of an address for ssh.
	scpLike = regexp.MustCompile(`^(?:[^@/:\s]+@)?([^@/:\s]+\.[^@/:\s]+):([^/\s].*)$`)
	// hostAndPath is an address that only lacks its scheme.
	hostAndPath = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?/\S+$`)
	hostOfPage  = regexp.MustCompile(`^[A-Za-z0-9.-]*[A-Za-z0-9](:[0-9]+)?$`)
)

// sshHosts are names of servers that are for ssh only, and whose pages are
// elsewhere.
var sshHosts = map[string]string{
	"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
}

// WebURL returns the page of a repository, as [CheckWebURL] takes it, from any of
// the addresses that git and Cargo.toml know it by: https, http, git and ssh
// URLs, "git@github.com:owner/name", "github.com/owner/name". It is empty where
// that can't be told, as of a local path or an alias of an ssh configuration.
// Passwords and tokens are dropped.
func WebURL(address string) string {
	address = strings.TrimSpace(address)
	if m := scpLike.FindStringSubmatch(address); m != nil && !strings.Contains(address, "://") {
		address = "ssh://" + m[1] + "/" + m[2]
	} else if hostAndPath.MatchString(address) && !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(strings.TrimPrefix(address, "git+"))
	if err != nil {
		return ""
	}
	host := u.Host
	switch strings.ToLower(u.Scheme) {
	case "https":
	case "http":
		// What listens for http on a port of its own doesn't speak https there.
		if port := u.Port(); port != "" && port != "80" {
			return ""
		}
		host = u.Hostname()
	case "git", "ssh":
		host = u.Hostname()
		if !strings.Contains(host, ".") {
			return "" // an alias
		}
	default:
		return ""
	}
	if page := sshHosts[strings.ToLower(host)]; page != "" {
		host = page
	}
	page := url.URL{Scheme: "https", Host: host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery, Fragment: u.Fragment}
	text := strings.TrimSuffix(strings.TrimRight(page.String(), "/"), ".git")
	if !hostOfPage.MatchString(host) || CheckWebURL(text) != nil {
		return ""
	}
	return text
}

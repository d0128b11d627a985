package notation

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// CheckWebURL returns an error unless the address is an https URL without a
// password.
func CheckWebURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(address, " \t\r\n") {
		return fmt.Errorf("%q is not an https URL without a password", address)
	}
	return nil
}

var (
	// scpLike matches git's short form of ssh addresses.
	scpLike = regexp.MustCompile(`^(?:[^@/:\s]+@)?([^@/:\s]+\.[^@/:\s]+):([^/\s].*)$`)
	// hostAndPath matches an address that only lacks the scheme.
	hostAndPath = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]+)?/\S+$`)
	hostOfPage  = regexp.MustCompile(`^[A-Za-z0-9.-]*[A-Za-z0-9](:[0-9]+)?$`)
)

// sshHosts maps hosts that only serve ssh to the hosts of their pages.
var sshHosts = map[string]string{
	"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
}

// WebURL returns the page of a repository, which passes [CheckWebURL], for an address
// from git or Cargo.toml: an https, http, git or ssh URL, "git@github.com:owner/name"
// or "github.com/owner/name". It drops passwords and tokens. It returns "" if the
// page is unknown, as for a local path or an alias of an ssh configuration.
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
		// A server with http on another port does not speak https there.
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

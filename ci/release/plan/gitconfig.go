package plan

import (
	"regexp"
	"strings"
)

// readingSections are the sections of a repository's configuration that affect how
// git reads it. All others, such as http, credential and url, affect how git
// contacts servers, and may carry credentials: CI systems write a token there.
var readingSections = map[string]bool{
	"core": true, "extensions": true, "remote": true, "branch": true, "submodule": true,
	"filter": true, "index": true, "i18n": true, "lfs": true, "diff": true, "merge": true,
}

// unwantedKeys are the keys of those sections that run something or hold credentials.
var unwantedKeys = map[string]bool{
	"sshcommand": true, "askpass": true, "gitproxy": true, "fsmonitor": true, "hookspath": true, "pager": true,
	"editor": true, "proxy": true, "proxyauthmethod": true, "uploadpack": true, "receivepack": true, "vcs": true,
}

var (
	sectionLine = regexp.MustCompile(`^\s*\[\s*([A-Za-z0-9.:/-]+)(?:\s+"(?:[^"\\]|\\.)*")?\s*\]`)
	userInfo    = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^/@\s"]*@`)
)

// StripCredentials returns a repository's configuration (.git/config) with only what
// is needed to read the repository, so without credentials. It also removes user
// names and tokens from URLs. See "git help config" for the format.
func StripCredentials(config string) string {
	// A line that ends in a backslash continues on the next one.
	lines := strings.Split(strings.ReplaceAll(strings.ReplaceAll(config, "\\\r\n", ""), "\\\n", ""), "\n")
	var out []string
	keep := false
	for _, line := range lines {
		rest := line
		if m := sectionLine.FindStringSubmatch(line); m != nil {
			section, _, _ := strings.Cut(strings.ToLower(m[1]), ".")
			keep = readingSections[section]
			if keep {
				out = append(out, userInfo.ReplaceAllString(m[0], "$1"))
			}
			// A key may follow the header on its line.
			if rest = line[len(m[0]):]; strings.TrimSpace(rest) == "" {
				continue
			}
		}
		key, _, _ := strings.Cut(rest, "=")
		if keep && !unwantedKeys[strings.ToLower(strings.TrimSpace(key))] {
			out = append(out, userInfo.ReplaceAllString(rest, "$1"))
		}
	}
	return strings.Join(out, "\n")
}

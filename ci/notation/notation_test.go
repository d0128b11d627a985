package notation

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Errors have the value, and what to write instead.
func TestCheckSaysWhatToWrite(t *testing.T) {
	for _, c := range []struct {
		n           Notation
		value, says string
	}{
		{Name, "größe", `"größe" is not a name of letters, digits, "-", "_" and ".": rename it`},
		{Name, "my app", `rename it, to "my-app" for example`},
		{Name, "ö", `"ö" is not a name of letters, digits, "-", "_" and ".": rename it`},
		{Name, "app-", `rename it, to "app" for example`},
		{Tag, "v1.0.0-rc-", `end it in a letter or a digit`},
		{Tag, "app#1.0.0", `"app#1.0.0" is not a git tag of letters`},
		{Tag, "v1.0.0-rc.lock", `".lock", which git refuses`},
		{Tag, "a.lock/1.0.0", `".lock/", which git refuses`},
		{Asset, strings.Repeat("a", 256), "has 256 characters, more than 255"},
		{ImageRepository, "ghcr.io/Acme/App", `write it in lower case, "ghcr.io/acme/app"`},
		{ImageRepository, "ghcr.io/acme/app:latest", `omit the tag, as in "ghcr.io/acme/app"`},
		{ImageRepository, "https://ghcr.io/acme/app", `omit "https://", as in "ghcr.io/acme/app"`},
		{ImageRepository, "ghcr.io/acme/app@sha256:" + strings.Repeat("0", 64), `as in "ghcr.io/acme/app"`},
		{ImageRepository, "ghcr.io/acme/a b", `"ghcr.io/acme/a b" is not a repository like ghcr.io/owner/name`},
		{Port, "65536/tcp", "65536 is not a port: ports end at 65535"},
		{Port, "http", `"http" is not a port like 8080/tcp`},
		{User, "nobody ", `"nobody " is not a user like 65532:65532`},
	} {
		assert.ErrorContains(t, c.n.Check(c.value), c.says, c.value)
		assert.False(t, c.n.Matches(c.value))
	}
	assert.NoError(t, Asset.Check(strings.Repeat("a", 255)))
	assert.NoError(t, Port.Check("65535/sctp"))
	assert.NoError(t, Tag.Check("foreign/go/v0.9.0-edge.4"))
	// Hosts in punycode.
	assert.NoError(t, ImageRepository.Check("xn--bcher-kva.example/acme/server"))
	assert.Error(t, ImageRepository.Check("a-.example/acme/server"))
}

func TestWebURL(t *testing.T) {
	for address, want := range map[string]string{
		"https://github.com/o/r.git":           "https://github.com/o/r",
		"https://github.com/o/r/":              "https://github.com/o/r",
		" https://github.com/o/r\n":            "https://github.com/o/r",
		"http://github.com/o/r":                "https://github.com/o/r",
		"http://git.example.com:80/o/r":        "https://git.example.com/o/r",
		"http://git.example.com:8080/o/r":      "",
		"https://git.example.com:8443/o/r":     "https://git.example.com:8443/o/r",
		"https://token@github.com/o/r":         "https://github.com/o/r",
		"https://x-access-token:t@host/o/r/":   "https://host/o/r",
		"git@github.com:o/r.git":               "https://github.com/o/r",
		"github.com:o/r":                       "https://github.com/o/r",
		"ssh://git@github.example.com/o/r":     "https://github.example.com/o/r",
		"ssh://git@git.example.com:2222/o/r":   "https://git.example.com/o/r",
		"ssh://git@ssh.github.com:443/o/r.git": "https://github.com/o/r",
		"git+ssh://git@github.com/o/r":         "https://github.com/o/r",
		"git://github.com/o/r.git":             "https://github.com/o/r",
		"github.com/o/r":                       "https://github.com/o/r",
		"https://github.com/o/r/tree/main/a b": "https://github.com/o/r/tree/main/a%20b",
		"work:o/r":                             "",
		"git@work:o/r.git":                     "",
		"/srv/git/r.git":                       "",
		"../r":                                 "",
		"file:///srv/git/r":                    "",
		"C:/git/r":                             "",
		"":                                     "",
		"https://":                             "",
		"owner/name":                           "",
	} {
		got := WebURL(address)
		assert.Equal(t, want, got, address)
		if got != "" {
			assert.NoError(t, CheckWebURL(got))
		}
	}
	assert.EqualError(t, CheckWebURL("http://github.com/o/r"), `"http://github.com/o/r" is not an https URL without a password`)
}

func TestPaths(t *testing.T) {
	assert.NoError(t, CheckPath("a/b"))
	assert.NoError(t, CheckAbsolute("/etc/"))
	assert.EqualError(t, CheckPath("a//b"), `"a//b" is not in its shortest form, "a/b"`)
	assert.ErrorIs(t, CheckPath("a/../b"), ErrUnsafePath)
	assert.ErrorContains(t, CheckAbsolute("etc"), `"etc" is not an absolute path`)
	assert.ErrorContains(t, CheckAbsolute("/etc/../x"), `not in its shortest form, "/x"`)
}

func TestSplitReference(t *testing.T) {
	for ref, want := range map[string][2]string{
		"ghcr.io/a/b":                {"ghcr.io/a/b", ""},
		"ghcr.io/a/b:1.0":            {"ghcr.io/a/b", "1.0"},
		"localhost:5000/a":           {"localhost:5000/a", ""},
		"localhost:5000/a:rc":        {"localhost:5000/a", "rc"},
		"a/b@sha256:00":              {"a/b", "sha256:00"},
		"localhost:5000/a@sha256:00": {"localhost:5000/a", "sha256:00"},
	} {
		address, reference := SplitReference(ref)
		assert.Equal(t, want, [2]string{address, reference}, ref)
	}
}

func TestSplitReferenceOfEveryKind(t *testing.T) {
	for ref, want := range map[string][2]string{
		"": {"", ""}, "a": {"a", ""}, "a:1": {"a", "1"}, ":1": {"", "1"}, "a:1@sha256:00": {"a", "sha256:00"}, "h:1/a@sha256:00": {"h:1/a", "sha256:00"},
		"h:1/a:2@sha256:00": {"h:1/a", "sha256:00"}, "a@": {"a", ""}, "h:1/a": {"h:1/a", ""},
	} {
		address, reference := SplitReference(ref)
		assert.Equal(t, want, [2]string{address, reference}, ref)
	}
}

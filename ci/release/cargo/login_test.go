package cargo

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTokenVariable(t *testing.T) {
	for name, want := range map[string]string{
		"internal": "CARGO_REGISTRIES_INTERNAL_TOKEN", "my-crates_2": "CARGO_REGISTRIES_MY_CRATES_2_TOKEN", "A": "CARGO_REGISTRIES_A_TOKEN",
	} {
		got, err := TokenVariable(name)
		assert.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, name := range []string{"", "a b", "https://crates.example.com", "-x", "1x", "a.b", "x=y", "é"} {
		got, err := TokenVariable(name)
		assert.Empty(t, got)
		assert.EqualError(t, err, `registry "`+name+`" must be a name in the [registries] table of .cargo/config.toml, such as "internal"`)
	}
}

func TestCheckGitAddress(t *testing.T) {
	for _, address := range []string{"https://github.com", "http://10.0.0.1:8080", "https://git.example.com:8443"} {
		assert.NoError(t, CheckGitAddress(address))
	}
	for address, want := range map[string]string{
		"":                            `address "" must be the URL of a git server, such as "https://github.com"`,
		"github.com":                  `address "github.com" must be the URL of a git server, such as "https://github.com"`,
		"ssh://git@github.com":        `address "ssh://git@github.com" must be the URL of a git server, such as "https://github.com"`,
		"https://":                    `address "https://" must be the URL of a git server, such as "https://github.com"`,
		"https://a b":                 `address "https://a b" must be the URL of a git server, such as "https://github.com"`,
		"https://robot:x@example.com": `address "https://robot:xxxxx@example.com" has a login: pass it as username and secret`,
		"https://github.com/owner":    `address "https://github.com/owner" has a path, but git sends a login to a whole server: pass "https://github.com"`,
		"https://github.com/":         `address "https://github.com/" has a path, but git sends a login to a whole server: pass "https://github.com"`,
		"https://github.com?x":        `address "https://github.com?x" has a path, but git sends a login to a whole server: pass "https://github.com"`,
		"http://github.com#x":         `address "http://github.com#x" has a path, but git sends a login to a whole server: pass "http://github.com"`,
	} {
		assert.EqualError(t, CheckGitAddress(address), want)
	}
}

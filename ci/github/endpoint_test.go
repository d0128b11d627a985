package github

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestAPI(t *testing.T) {
	for address, want := range map[string]string{
		"":                                   "https://api.github.com/",
		"https://github.com":                 "https://api.github.com/",
		"https://GitHub.com/":                "https://api.GitHub.com/",
		"https://api.github.com":             "https://api.github.com/",
		"https://github.example.com":         "https://github.example.com/api/v3/",
		"https://github.example.com:8443/":   "https://github.example.com:8443/api/v3/",
		"https://github.example.com/api/v3":  "https://github.example.com/api/v3/",
		"https://example.com/github/api/v3/": "https://example.com/github/api/v3/",
		"https://octo.ghe.com":               "https://api.octo.ghe.com/",
		"https://api.octo.ghe.com":           "https://api.octo.ghe.com/",
		"http://127.0.0.1:8080/api/v3/":      "http://127.0.0.1:8080/api/v3/",
		"http://10.87.0.1:8080":              "http://10.87.0.1:8080/api/v3/",
	} {
		got, err := API(address)
		assert.NoError(t, err, address)
		assert.Equal(t, want, got, address)
	}
	for address, message := range map[string]string{
		"github.example.com":             "not an http or https address",
		"https://github.com/owner/name":  "neither the address of GitHub nor that of its API",
		"https://user:secret@github.com": "must not contain credentials",
		"ssh://git@github.com":           "not an http or https address",
	} {
		_, err := API(address)
		assert.ErrorContains(t, err, message, address)
		assert.NotContains(t, err.Error(), "secret@", address)
	}
}

package published

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTextOfAVerification(t *testing.T) {
	r := &Verification{Repository: "acme/app", Tag: "v1.0.0", Assets: 3, Bytes: 1234}
	assert.Contains(t, r.Text(), "release v1.0.0 of acme/app: 3 assets, 1234 bytes\n")
	assert.Contains(t, r.Text(), "\nverified: ")
	assert.NoError(t, r.Err())
	r.wrong("asset %q is missing", "a")
	r.wrong("asset %q is missing", "b")
	assert.Contains(t, r.Text(), "wrong: asset \"a\" is missing\nwrong: asset \"b\" is missing\n")
	assert.NotContains(t, r.Text(), "verified")
	assert.ErrorContains(t, r.Err(), `release "v1.0.0" of acme/app`)
	assert.ErrorContains(t, r.Err(), `asset "b" is missing`)
}

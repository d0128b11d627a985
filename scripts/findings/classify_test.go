package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// The messages are Gantry's, as they came out of releases.
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		message string
		class   Class
		hinted  bool
	}{
		{"Cargo.lock is missing, so the build is not repeatable: run cargo generate-lockfile and commit it", Lock, true},
		{`find the toolchain image "docker.io/library/rust:1.97.0-bookworm": failed to resolve image "docker.io/library/rust:1.97.0-bookworm" (platform: "linux/amd64"): failed to resolve source metadata for docker.io/library/rust:1.97.0-bookworm: docker.io/library/rust:1.97.0-bookworm: not found; pass --toolchain with a container that has Rust`, OtherRust, true},
		{`find the toolchain image "docker.io/library/rust:1.96-bookworm": failed to resolve image "docker.io/library/rust:1.96-bookworm" (platform: "linux/amd64"); pass --toolchain with a container that has Rust`, Machine, false},
		{"call constructor: failed to mount /tmp/buildkit-mount574913043: [{Type:overlay Source:overlay Target: Options:[workdir=/var/lib/dagger", Machine, false},
		{"something new", Gantry, false},
	} {
		found := Classify(c.message)
		assert.Equal(t, c.class, found.Class, c.message)
		assert.Equal(t, c.hinted, found.Hinted, c.message)
		assert.Contains(t, c.message, found.Reason)
	}
	long := Classify(strings.Repeat("ä", 1000))
	assert.Equal(t, strings.Repeat("ä", 400)+" …", long.Reason)
}

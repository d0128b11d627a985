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

package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// The examples are those of the README of docker/metadata-action.
func TestMetadataTags(t *testing.T) {
	assert.Equal(t, []string{"1.2", "1", "latest"}, metadataTags("1.2.3"))
	assert.Empty(t, metadataTags("2.0.8-beta.67"))
}

func TestTagRows(t *testing.T) {
	right := map[string]map[string]string{
		backport:   {"latest": highRelease, "1": backport, "2": highRelease},
		prerelease: {"latest": highRelease, "2": highRelease},
	}
	wrong := map[string]map[string]string{
		backport:   {"latest": backport, "1": firstRelease},
		prerelease: {"latest": prerelease, "2": prerelease},
	}
	rows := tagRows(map[string]*tagResults{
		Gantry:         {after: right},
		"goreleaser":   {after: wrong, overwritten: true},
		metadataAction: {missing: assert.AnError},
	})
	assert.Len(t, rows, 6)
	for _, r := range rows {
		assert.Equal(t, Ahead, r.Verdict(), r.What)
		assert.True(t, r.Cells[metadataAction].Missing, r.What)
	}
	assert.Equal(t, Graded(0, "nothing"), rows[2].Cells["goreleaser"])
	assert.Equal(t, Graded(1, highRelease), rows[2].Cells[Gantry])
}

func TestFloating(t *testing.T) {
	assert.Equal(t, "1 = 1.9.5, latest = 2.0.0", floating(map[string]string{"latest": "2.0.0", "1.9.5": "1.9.5", "1": "1.9.5"}))
}

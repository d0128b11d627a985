package github

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/fakehub"
)

// The drafts that other tools leave are completed and published: their texts and
// assets stay, whether or not the tag is there yet. docs/with-others.md promises it.
func TestDraftsOfOtherTools(t *testing.T) {
	for name, c := range map[string]struct {
		title, notes string
		tagged       bool // the tool pushes the tag
		branch       bool // the draft's target is not the commit
		files        []fakehub.File
	}{
		"release-plz":                               {title: "v1.0.0", notes: "### Added\n\n- a change", tagged: true, branch: true},
		"release-please with force-tag-creation":    {title: "v1.0.0", notes: "### Features\n\n* a change", tagged: true},
		"release-please without force-tag-creation": {title: "hello: v1.0.0", notes: "### Features\n\n* a change"},
		"Knope Bot":           {title: "1.0.0 (2026-01-02)", notes: "## Features\n\n- a change", branch: true},
		"GoReleaser":          {title: "v1.0.0", notes: "## Changelog", tagged: true, files: []fakehub.File{{Name: "hello_1.0.0_amd64.deb", Data: []byte("deb")}, {Name: "hello_1.0.0_checksums.txt", Data: []byte("sums")}}},
		"gh release create":   {title: "v1.0.0", tagged: true},
		"a person, by the UI": {branch: true},
	} {
		for _, existing := range []Existing{ExistingStrict, ExistingFill, ExistingReplace} {
			inBubble(t, fakehub.Config{}, func(w *world, s *Spec) {
				s.Existing = existing
				at := s.Commit
				if c.branch {
					at = w.repo.Commit("another")
				}
				if c.tagged {
					w.repo.Tag(s.Tag, s.Commit)
				}
				w.repo.Seed(fakehub.Seed{Tag: s.Tag, Commit: at, Title: c.title, Body: c.notes, Draft: true, Files: c.files})
			}, func(t *testing.T, w *world, rep *Report, err error) {
				require.NoError(t, err, name)
				require.False(t, rep.Release.Draft, name)
				state := w.hub.Dump()
				title, notes := c.title, c.notes
				if title == "" {
					title = "v1.0.0"
				}
				if notes == "" {
					notes = "What changed."
				}
				require.Contains(t, state, fmt.Sprintf("    title %q\n    body %q\n", title, notes), name)
				for _, f := range c.files {
					data, found := w.repo.Asset("v1.0.0", f.Name)
					require.True(t, found, "%s: %s", name, f.Name)
					require.Equal(t, f.Data, data)
				}
				require.Len(t, rep.Release.Assets, 3+len(c.files), name)
				require.Equal(t, "v1.0.0", w.repo.Latest(), name)
			})
		}
	}
}

package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"dagger/gantry/ci/version"
)

// A changelog has a section for each release of the component, by whatever
// prefix it was tagged, with the commit that it was made of.
func TestSections(t *testing.T) {
	p := mustLoad(t, nil, nil, pkg("app", "1.2.0", ".", nil, "app"))
	git := clean()
	for tag, commit := range map[string]string{
		"v1.0.0": "c1", "app-v1.1.0": "c2", "app-1.2.0-rc.1": "c3", "v1.2.0": head, "v1.2.0-rc.2": head, "other-1.0.0": "c1",
	} {
		git.Tags = append(git.Tags, version.GitTag{Name: tag, Commit: commit})
	}
	git.Reachable = git.Tags
	assert.Equal(t, []Section{
		{"v1.0.0", "1.0.0", "c1"}, {"app-v1.1.0", "1.1.0", "c2"}, {"v1.2.0", "1.2.0", head},
	}, planOf(t, p, "v1.2.0", git).Sections)
	assert.Equal(t, []Section{
		{"v1.0.0", "1.0.0", "c1"}, {"app-v1.1.0", "1.1.0", "c2"}, {"app-1.2.0-rc.1", "1.2.0-rc.1", "c3"}, {"v1.2.0-rc.2", "1.2.0-rc.2", head},
	}, planOf(t, p, "v1.2.0-rc.2", git).Sections)
	assert.Equal(t, []Section{
		{"v1.0.0", "1.0.0", "c1"}, {"app-v1.1.0", "1.1.0", "c2"}, {"v1.3.0", "1.3.0", head},
	}, planOf(t, p, "v1.3.0", git).Sections, "a tag that does not exist yet; v1.2.0 is at its commit")
}

package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"dagger/gantry/ci/version"
)

// Ready plans the release of each component at its manifest's version. It returns
// a line for each, or every problem of all. A version that is tagged elsewhere
// counts as released.
func (p *Project) Ready(git Git) (string, error) {
	var lines []string
	var errs []error
	report := func(c *Component, format string, args ...any) {
		lines = append(lines, c.Name+": "+fmt.Sprintf(format, args...))
	}
	for _, c := range p.Components {
		if c.helper != "" {
			report(c, "excluded: %s", c.helper)
			continue
		}
		tag, tagged, released := p.nextTag(c, git)
		if released != "" {
			report(c, "released as %s; the next release needs another version", released)
			continue
		}
		next, err := p.Plan(tag, git, nil)
		if err == nil {
			err = next.Err()
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("component %q can't be released as %q: %w", c.Name, tag, err))
		case tagged:
			report(c, "tagged as %s at this commit; ready to release", tag)
		default:
			report(c, "ready to release as %s", tag)
		}
	}
	return strings.Join(lines, "\n") + "\n", errors.Join(errs...)
}

// nextTag returns the tag that releases the component at its manifest's version. If
// the version is tagged at git's commit, it is that tag; if it is tagged elsewhere,
// released is the other tag.
func (p *Project) nextTag(c *Component, git Git) (tag string, tagged bool, released string) {
	tag = c.newTag(c.Packages[0].Version)
	for _, t := range p.Scheme.Tags(c.Name, git.Tags) {
		if t.Version.Original() != c.Packages[0].Version {
			continue
		}
		if !slices.Contains(git.Tags, version.GitTag{Name: t.Name, Commit: git.Commit}) {
			return tag, false, t.Name
		}
		if !tagged || t.Name == c.newTag(c.Packages[0].Version) {
			tag, tagged = t.Name, true
		}
	}
	return tag, tagged, ""
}

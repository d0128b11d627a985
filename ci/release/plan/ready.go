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

// DefaultTag returns the tag to release if the caller names none: the one with the
// highest version at the commit of git, or else the one for the version in Cargo.toml.
// It fails if several components qualify.
func (p *Project) DefaultTag(git Git) (string, error) {
	var tagged, next []string
	for _, c := range p.Components {
		if c.helper != "" {
			continue
		}
		tags := p.Scheme.Tags(c.Name, slices.DeleteFunc(slices.Clone(git.Tags), func(t version.GitTag) bool { return t.Commit != git.Commit }))
		if len(tags) > 0 {
			highest := slices.MaxFunc(tags, func(a, b version.Tag) int { return a.Version.Compare(b.Version) })
			tagged = append(tagged, highest.Name)
		}
		tag, _, _ := p.nextTag(c, git)
		next = append(next, tag)
	}
	if len(tagged) == 0 {
		tagged = next
	}
	switch len(tagged) {
	case 0:
		return "", fmt.Errorf("no package of the workspace is released: pass --tag")
	case 1:
		return tagged[0], nil
	}
	return "", fmt.Errorf("several releases are possible: pass --tag=%s", strings.Join(tagged, " or --tag="))
}

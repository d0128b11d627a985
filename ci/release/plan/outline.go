package plan

import (
	"slices"

	"dagger/gantry/ci/target"
)

// Outline has what the CI of a project depends on.
type Outline struct {
	// Page is the home of the project, as in [Plan.Repository].
	Page string
	// TagPrefixes are those of all components but helpers.
	TagPrefixes []string
	// Images are the image repositories in the configuration, and Unplaced the
	// components that have an image and none of them.
	Images, Unplaced []string
}

// Outline returns the outline of the project.
func (p *Project) Outline(git Git) Outline {
	o := Outline{Page: projectURL(git.Origin)}
	for _, c := range p.Components {
		if c.helper != "" {
			continue
		}
		for _, pkg := range c.Packages {
			if home := projectURL(pkg.Repository); home != "" {
				o.Page = home
			}
		}
		o.TagPrefixes = append(o.TagPrefixes, c.Prefixes...)
		switch {
		case c.Config.Image != nil && len(c.Config.Image.Repositories) > 0:
			o.Images = append(o.Images, c.Config.Image.Repositories...)
		case c.hasImage():
			o.Unplaced = append(o.Unplaced, c.Name)
		}
	}
	return o
}

// hasImage reports whether phase 2 can make an image of the component.
func (c *Component) hasImage() bool {
	return slices.ContainsFunc(c.Config.targets(), func(triple string) bool {
		t, err := target.Lookup(triple)
		return err == nil && t.Platform != ""
	})
}

package manifest

import "dagger/gantry/ci/version"

// TagOptions returns how the tags of the image are written. No specification
// at all is the default.
func (i *Image) TagOptions() version.TagOptions {
	if i == nil || i.Tags == nil {
		return version.TagOptions{}
	}
	return version.TagOptions{
		ExactOnly: i.Tags.Floating != nil && !*i.Tags.Floating,
		Prefix:    i.Tags.Prefix,
		Suffix:    i.Tags.Suffix,
	}
}

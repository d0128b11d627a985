package manifest

import "dagger/gantry/ci/version"

// ImageSpec returns the specification of the image; the zero value if there is none.
func (m *Manifest) ImageSpec() Image {
	if m.Image == nil {
		return Image{}
	}
	return *m.Image
}

// TagOptions returns the configuration of the image's tags. A nil image has the
// default one.
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

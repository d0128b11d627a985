package manifest

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"dagger/gantry/ci/version"
)

func TestTagOptions(t *testing.T) {
	yes, no := true, false
	assert.Equal(t, version.TagOptions{}, (*Image)(nil).TagOptions())
	assert.Equal(t, version.TagOptions{}, (&Image{}).TagOptions())
	assert.Equal(t, version.TagOptions{}, (&Image{Tags: &ImageTags{Floating: &yes}}).TagOptions())
	assert.Equal(t, version.TagOptions{ExactOnly: true, Prefix: "v", Suffix: "-x"}, (&Image{Tags: &ImageTags{Floating: &no, Prefix: "v", Suffix: "-x"}}).TagOptions())
}

package version

import (
	"fmt"
	"regexp"

	"github.com/Masterminds/semver/v3"
)

// ImageTag is a decision about one tag of an image repository.
type ImageTag struct {
	// Tag in the repository, "1.2".
	Tag string `json:"tag"`
	// Exact tells the write-once tag of the version from the floating ones.
	Exact bool `json:"exact,omitempty"`
	// Move says whether this release gets the tag.
	Move bool `json:"move"`
	// Why, for people.
	Why string `json:"why"`
}

// ImageTags decides which tags of an image repository a version gets, in the
// order in which they are to be written: the exact one, then the floating ones
// from narrow to wide. known holds the component's other versions, from the
// registry's tags and from the releases; a floating tag moves only to the
// highest version of its class among them. A version with build metadata gets
// an error: "+" is not allowed in a tag (OCI distribution specification,
// "Pulling manifests"), and without it two versions would share one.
func ImageTags(v *semver.Version, known []*semver.Version) ([]ImageTag, error) {
	if v.Metadata() != "" {
		return nil, fmt.Errorf("version %q has build metadata (+%s), which no image tag can carry; release it without", v, v.Metadata())
	}
	if !imageTag.MatchString(v.String()) {
		return nil, fmt.Errorf("version %q cannot be an image tag: at most 128 characters", v)
	}
	tags := []ImageTag{{Tag: v.String(), Exact: true, Move: true, Why: "the exact version"}}
	add := func(tag, class string, same func(*semver.Version) bool) {
		t := ImageTag{Tag: tag, Move: true, Why: "the highest " + class}
		if higher := highest(v, known, same); higher != nil {
			t.Move, t.Why = false, fmt.Sprintf("stays at %s, the highest %s", higher, class)
		}
		tags = append(tags, t)
	}
	if pre := v.Prerelease(); pre != "" {
		if name := channelName(pre); name != "" {
			add(name, name+" prerelease", func(o *semver.Version) bool { return channelName(o.Prerelease()) == name })
		}
		return tags, nil
	}
	stable := func(o *semver.Version) bool { return o.Prerelease() == "" }
	sameMajor := func(o *semver.Version) bool { return stable(o) && o.Major() == v.Major() }
	minor, major := fmt.Sprintf("%d.%d", v.Major(), v.Minor()), fmt.Sprint(v.Major())
	add(minor, "stable "+minor+" release", func(o *semver.Version) bool { return sameMajor(o) && o.Minor() == v.Minor() })
	// Before 1.0 every minor version may break, so "0" would promise nothing.
	if v.Major() > 0 {
		add(major, "stable "+major+" release", sameMajor)
	}
	add("latest", "stable release", stable)
	return tags, nil
}

// Reference grammar of the OCI distribution specification.
var imageTag = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// highest is the highest of the known versions of a class above v, or nil.
func highest(v *semver.Version, known []*semver.Version, same func(*semver.Version) bool) *semver.Version {
	var top *semver.Version
	for _, o := range known {
		if o.GreaterThan(v) && same(o) && (top == nil || o.GreaterThan(top)) {
			top = o
		}
	}
	return top
}

package version

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/notation"
)

// TagOptions configure the tags of an image. The zero value writes the exact version
// and every floating tag, without prefix or suffix.
type TagOptions struct {
	// ExactOnly writes no floating tags. Registries with immutable tags need it.
	ExactOnly bool
	// Prefix starts tags that are versions: "v" for v1.2.3, v1.2 and v1. Channels and
	// latest have none.
	Prefix string
	// Suffix ends all tags, "-alpine".
	Suffix string
	// Flagged lists stable versions whose releases are flagged as prereleases. Until
	// their promotion no floating tag moves to them, and they hold none back.
	Flagged []*semver.Version
}

// flagged reports whether a version awaits promotion.
func (o TagOptions) flagged(v *semver.Version) bool { return slices.ContainsFunc(o.Flagged, v.Equal) }

// Exact returns the tag of the exact version.
func (o TagOptions) Exact(v *semver.Version) string { return o.Prefix + v.String() + o.Suffix }

// Read returns the version of an exact tag. A tag without the suffix belongs to
// another variant of the image. The prefixes "" and "v" read each other's tags:
// other tools write v1.2.3 and a project may change its prefix, but latest is one
// tag.
func (o TagOptions) Read(tag string) (*semver.Version, bool) {
	rest, ok := strings.CutSuffix(tag, o.Suffix)
	if !ok {
		return nil, false
	}
	if o.Prefix != "" && o.Prefix != "v" {
		if rest, ok = strings.CutPrefix(rest, o.Prefix); !ok || strings.HasPrefix(rest, "v") {
			return nil, false
		}
	}
	v, err := Parse(rest)
	return v, err == nil
}

// Versions returns the versions of exact tags. It skips other tags and flagged
// versions.
func (o TagOptions) Versions(tags []string) []*semver.Version {
	var all []*semver.Version
	for _, t := range tags {
		if v, ok := o.Read(t); ok && !o.flagged(v) {
			all = append(all, v)
		}
	}
	return all
}

// ImageTag is a decision about one tag of an image repository.
type ImageTag struct {
	// Tag in the repository, "1.2".
	Tag string `json:"tag"`
	// Exact is true for the version's own tag, which is never rewritten.
	Exact bool `json:"exact,omitempty"`
	// Move reports whether this release gets the tag.
	Move bool `json:"move"`
	// Why, for people.
	Why string `json:"why"`
}

// ImageTags decides which tags of an image repository a version gets, in the order of
// writing: the exact tag, then the floating tags from narrow to wide. known has the
// component's other versions, from the registry's tags and from the releases; a
// floating tag moves only to the highest version of its class. A version with build
// metadata is an error: a tag can't have a "+" (OCI distribution specification,
// "Pulling manifests"), and without it two versions would share a tag.
func ImageTags(v *semver.Version, known []*semver.Version, o TagOptions) ([]ImageTag, error) {
	if v.Metadata() != "" {
		return nil, fmt.Errorf("version %q has build metadata (+%s), which no image tag can have: release it without", v, v.Metadata())
	}
	exact := o.Exact(v)
	if err := notation.ImageTag.Check(exact); err != nil {
		return nil, err
	}
	tags := []ImageTag{{Tag: exact, Exact: true, Move: true, Why: "the exact version"}}
	if o.ExactOnly {
		return tags, nil
	}
	add := func(tag, class string, same func(*semver.Version) bool) {
		t := ImageTag{Tag: tag + o.Suffix, Move: true, Why: "the highest " + class}
		if higher := highest(v, known, same); higher != nil {
			t.Move, t.Why = false, fmt.Sprintf("stays at %s, the highest %s", higher, class)
		} else if o.flagged(v) {
			t.Move, t.Why = false, "stays until the release is promoted: it is flagged as a prerelease"
		}
		tags = append(tags, t)
	}
	if pre := v.Prerelease(); pre != "" {
		if name := channelName(pre); name != "" {
			add(name, name+" prerelease", func(o *semver.Version) bool { return channelName(o.Prerelease()) == name })
		}
	} else {
		stable := func(o *semver.Version) bool { return o.Prerelease() == "" }
		sameMajor := func(o *semver.Version) bool { return stable(o) && o.Major() == v.Major() }
		minor, major := fmt.Sprintf("%d.%d", v.Major(), v.Minor()), fmt.Sprint(v.Major())
		add(o.Prefix+minor, "stable "+minor+" release", func(o *semver.Version) bool { return sameMajor(o) && o.Minor() == v.Minor() })
		// Before 1.0 every minor version may break: "0" would promise nothing.
		if v.Major() > 0 {
			add(o.Prefix+major, "stable "+major+" release", sameMajor)
		}
		add("latest", "stable release", stable)
	}
	for _, t := range tags[1:] {
		_, reads := o.Read(t.Tag)
		if _, err := Parse(t.Tag); reads || err == nil || t.Tag == exact {
			return nil, fmt.Errorf("the floating tag %q reads as the tag of an exact version: choose a prefix other than %q or a suffix other than %q", t.Tag, o.Prefix, o.Suffix)
		}
	}
	return tags, nil
}

// highest returns the highest known version of a class above v, or nil.
func highest(v *semver.Version, known []*semver.Version, same func(*semver.Version) bool) *semver.Version {
	var top *semver.Version
	for _, o := range known {
		if o.GreaterThan(v) && same(o) && (top == nil || o.GreaterThan(top)) {
			top = o
		}
	}
	return top
}

// Package version translates between git tags, SemVer versions, release
// channels and image tags.
//
// It is pure, and keeps two invariants: a tag is read in exactly one way or
// refused with a reason, and no floating image tag ever moves to a lower
// version ([ImageTags]).
package version

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Stable is the channel of a version without a prerelease part.
const Stable = "stable"

// Parse reads a version by the rules of SemVer 2.0.0, after trimming one
// leading "v". Unlike most parsers it adds no missing parts: "1.2" is refused.
func Parse(s string) (*semver.Version, error) {
	v, err := semver.StrictNewVersion(strings.TrimPrefix(s, "v"))
	if err == nil {
		return v, nil
	}
	if hint := spelling(s); hint != "" {
		return nil, fmt.Errorf("version %q is not SemVer (MAJOR.MINOR.PATCH[-PRERELEASE]); did you mean %q?", s, hint)
	}
	return nil, fmt.Errorf("version %q is not SemVer (MAJOR.MINOR.PATCH[-PRERELEASE])", s)
}

var almost = regexp.MustCompile(`^v?0*(\d+)(?:\.0*(\d+))?(?:\.0*(\d+))?(?:[.-]?([A-Za-z]+)[.-]?(\d+)?)?$`)

// spelling proposes the SemVer spelling of versions of other schemes, "1.2" or
// Python's "0.9.0.dev4"; it is empty when there is none.
func spelling(s string) string {
	m := almost.FindStringSubmatch(s)
	if m == nil {
		return ""
	}
	for i := 1; i <= 3; i++ {
		if m[i] == "" {
			m[i] = "0"
		}
	}
	hint := m[1] + "." + m[2] + "." + m[3]
	if m[4] != "" {
		hint += "-" + m[4]
		if m[5] != "" {
			hint += "." + m[5]
		}
	}
	if _, err := semver.StrictNewVersion(hint); err != nil {
		return ""
	}
	return hint
}

// Channel names the release channel of a version: [Stable] without a
// prerelease part, else the leading letters of that part in lower case
// ("rc" for 1.0.0-rc.1 and for 1.0.0-rc1). It is "prerelease" where there are
// no such letters, as in 1.0.0-1, or where they would read as another floating
// tag ("latest", "stable").
func Channel(v *semver.Version) string {
	if v.Prerelease() == "" {
		return Stable
	}
	if name := channelName(v.Prerelease()); name != "" {
		return name
	}
	return "prerelease"
}

// channelName is the floating tag of a prerelease part, or empty if it has
// none that is safe to use.
func channelName(prerelease string) string {
	first, _, _ := strings.Cut(prerelease, ".")
	name := strings.ToLower(first)
	for i, r := range name {
		if r < 'a' || r > 'z' {
			name = name[:i]
			break
		}
	}
	switch name {
	case "latest", Stable:
		return ""
	}
	return name
}

// Core is the version without prerelease and build metadata.
func Core(v *semver.Version) string {
	return fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch())
}

// OrderHint explains a prerelease whose number SemVer does not compare as a
// number: 1.0.0-rc10 sorts before 1.0.0-rc2, because identifiers with letters
// compare as text. It is empty for every other version.
func OrderHint(v *semver.Version) string {
	for _, id := range strings.Split(v.Prerelease(), ".") {
		if m := lettersThenDigits.FindStringSubmatch(id); m != nil {
			return fmt.Sprintf("SemVer compares %q as text, so %s10 comes before %s2; %s.%s sorts as expected",
				id, m[1], m[1], m[1], m[2])
		}
	}
	return ""
}

var lettersThenDigits = regexp.MustCompile(`^([A-Za-z-]+)(\d+)$`)

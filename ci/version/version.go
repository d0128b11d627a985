// Package version translates between git tags, SemVer versions, release channels and
// image tags.
//
// It is pure, and keeps two invariants: a tag has exactly one reading or is refused
// with a reason, and no floating image tag moves to a lower version ([ImageTags]).
package version

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Stable is the channel of versions without a prerelease part.
const Stable = "stable"

// Parse reads a SemVer 2.0.0 version, optionally with a leading "v". Unlike most
// parsers it adds no missing parts: it refuses "1.2".
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

// spelling returns the SemVer spelling of a version of another scheme, such as "1.2"
// or Python's "0.9.0.dev4", or "".
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

// Channel returns the release channel of a version: [Stable] without a prerelease
// part, else the leading letters of that part in lower case ("rc" for 1.0.0-rc.1 and
// 1.0.0-rc1). It returns "prerelease" if there are no such letters, as in 1.0.0-1, or
// if they are another floating tag ("latest", "stable").
func Channel(v *semver.Version) string {
	if v.Prerelease() == "" {
		return Stable
	}
	if name := channelName(v.Prerelease()); name != "" {
		return name
	}
	return "prerelease"
}

// channelName returns the floating tag of a prerelease part, or "" if no tag is
// safe.
func channelName(prerelease string) string {
	first, _, _ := strings.Cut(prerelease, ".")
	name := strings.ToLower(first)
	if i := strings.IndexFunc(name, func(r rune) bool { return r < 'a' || r > 'z' }); i >= 0 {
		name = name[:i]
	}
	switch name {
	case "latest", Stable:
		return ""
	}
	return name
}

// Core returns a version without its prerelease part and build metadata.
func Core(v *semver.Version) string {
	return fmt.Sprintf("%d.%d.%d", v.Major(), v.Minor(), v.Patch())
}

// OrderHint explains a prerelease whose number SemVer compares as text: 1.0.0-rc10
// sorts before 1.0.0-rc2. It returns "" for other versions.
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

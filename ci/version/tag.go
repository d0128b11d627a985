package version

import (
	"fmt"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/nearest"
)

// Component is a part of a repository with its own release tags.
type Component struct {
	Name string
	// Prefixes of its tags, such as "" or "server-"; a tag is a prefix, an optional
	// "v" and a SemVer version. New tags have the first prefix. The others are former
	// prefixes, which matter for the history.
	Prefixes []string
}

// Tag is the git tag of a component's release.
type Tag struct {
	// Name of the tag in git.
	Name string
	// Component of the release.
	Component string
	// Prefix of the tag.
	Prefix string
	// Version after the prefix and the "v".
	Version *semver.Version
}

// With returns the tag with another version after its prefix and its "v", if any.
func (t Tag) With(version string) string { return t.Prefix + t.v() + version }

// v returns "v" if the tag has one before its version, or "".
func (t Tag) v() string {
	if strings.HasPrefix(t.Name[len(t.Prefix):], "v") {
		return "v"
	}
	return ""
}

// Scheme reads the tags of a repository. The zero value has no components.
type Scheme struct {
	components []Component
	prefixes   []prefix // longest first
}

type prefix struct{ text, component string }

// NewScheme returns a scheme that reads each tag in only one way: two components may
// not share a prefix or have prefixes that differ by a trailing "v". A prefix may
// start another one ("iggy-" and "iggy-cli-"): the longest match wins.
func NewScheme(components []Component) (*Scheme, error) {
	s := &Scheme{components: slices.Clone(components)}
	owner := map[string]prefix{}
	for _, c := range components {
		for _, p := range c.Prefixes {
			if err := checkPrefix(p); err != nil {
				return nil, fmt.Errorf("component %q: %w", c.Name, err)
			}
			key := trimV(p)
			if other, taken := owner[key]; taken && other.component != c.Name {
				return nil, fmt.Errorf("tag prefix %q of component %q is ambiguous with %q of component %q: a tag such as %q would belong to both: set another tag-prefix for one of them",
					p, c.Name, other.text, other.component, key+"v1.2.3")
			}
			owner[key] = prefix{p, c.Name}
			s.prefixes = append(s.prefixes, prefix{p, c.Name})
		}
	}
	slices.SortStableFunc(s.prefixes, func(a, b prefix) int { return len(b.text) - len(a.text) })
	return s, nil
}

// trimV removes a trailing "v" that introduces a version: from "v" and "server-v",
// but not from "dev".
func trimV(p string) string {
	rest, found := strings.CutSuffix(p, "v")
	if !found || (rest != "" && isAlnum(rest[len(rest)-1])) {
		return p
	}
	return rest
}

func isAlnum(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// checkPrefix refuses what git refuses in a tag, see git-check-ref-format(1), and a
// prefix that ends in a digit, which would run into the version.
func checkPrefix(p string) error {
	if p == "" {
		return nil
	}
	if i := strings.IndexFunc(p, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	}); i >= 0 {
		return fmt.Errorf("tag prefix %q has a character that git forbids in tags: %q", p, p[i:i+1])
	}
	if strings.HasPrefix(p, "/") || strings.HasPrefix(p, ".") || strings.HasPrefix(p, "-") ||
		strings.Contains(p, "..") || strings.Contains(p, "//") || strings.Contains(p, "@{") || strings.Contains(p, "/.") {
		return fmt.Errorf("tag prefix %q cannot start a git tag", p)
	}
	if last := p[len(p)-1]; last >= '0' && last <= '9' {
		return fmt.Errorf("tag prefix %q ends in a digit, which would run into the version: end it in a separator, as in %q", p, p+"-")
	}
	return nil
}

// Parse reads a tag: the longest matching prefix decides the component, and a SemVer
// version must follow.
func (s *Scheme) Parse(tag string) (Tag, error) {
	if tag == "" {
		return Tag{}, fmt.Errorf("the tag is empty: tags look like %s", s.examples())
	}
	if strings.HasPrefix(tag, "refs/tags/") {
		return Tag{}, fmt.Errorf("tag %q is a full ref name: pass %q", tag, strings.TrimPrefix(tag, "refs/tags/"))
	}
	for _, p := range s.prefixes {
		rest, fits := strings.CutPrefix(tag, p.text)
		if !fits {
			continue
		}
		v, err := Parse(rest)
		if err == nil {
			return Tag{Name: tag, Component: p.component, Prefix: p.text, Version: v}, nil
		}
		if !startsVersion(rest) {
			return Tag{}, s.unknown(tag, p, rest)
		}
		return Tag{}, fmt.Errorf("tag %q of component %q: %w", tag, p.component, err)
	}
	return Tag{}, s.unknown(tag, prefix{}, tag)
}

// unknown returns the error for a tag without a component. p is the longest matching
// prefix, and rest follows it.
func (s *Scheme) unknown(tag string, p prefix, rest string) error {
	why := ""
	if p.text != "" {
		why = fmt.Sprintf(": after the prefix %q of %q comes %q, which is not a version", p.text, p.component, rest)
	}
	if own, version, found := split(tag); found {
		var known []string
		for _, p := range s.prefixes {
			if p.text != "" {
				known = append(known, p.text+version)
			}
		}
		why += nearest.Hint(tag, known) + fmt.Sprintf("; to use tags that start with %q, set tag-prefix = %q in the [package.metadata.gantry] of the package they release", own, own)
	}
	return fmt.Errorf("tag %q names no known component%s; tags look like %s", tag, why, s.examples())
}

// split cuts a tag of any scheme into a prefix and the version at its end, with its
// "v" if any.
func split(tag string) (prefix, version string, found bool) {
	for i := 1; i < len(tag); i++ {
		if isAlnum(tag[i-1]) || !startsVersion(tag[i:]) {
			continue
		}
		if _, err := Parse(tag[i:]); err == nil && checkPrefix(tag[:i]) == nil {
			return tag[:i], tag[i:], true
		}
	}
	return "", "", false
}

func startsVersion(s string) bool {
	s = strings.TrimPrefix(s, "v")
	return s != "" && s[0] >= '0' && s[0] <= '9'
}

func (s *Scheme) examples() string {
	var out []string
	for _, c := range s.components {
		for _, p := range c.Prefixes {
			example := p + "1.2.3"
			if p == "" {
				example = "v1.2.3"
			}
			out = append(out, fmt.Sprintf("%s (%s)", example, c.Name))
		}
	}
	if len(out) == 0 {
		return "nothing, since there are no components"
	}
	return strings.Join(out, ", ")
}

// GitTag is a tag of the repository and its commit.
type GitTag struct{ Name, Commit string }

// Tags returns the tags of a component's releases, lowest version first. It skips
// other tags.
func (s *Scheme) Tags(component string, tags []GitTag) []Tag {
	var out []Tag
	for _, t := range tags {
		if parsed, err := s.Parse(t.Name); err == nil && parsed.Component == component {
			out = append(out, parsed)
		}
	}
	slices.SortStableFunc(out, func(a, b Tag) int { return a.Version.Compare(b.Version) })
	return out
}

// History has the earlier releases of a component that matter to one release.
type History struct {
	// Previous is the tag that the changelog starts from, or empty.
	Previous string
	// Releases are the tags with a section in the changelog, lowest version first and
	// the release last, without other tags on the release's commit and, for a stable
	// release, without prereleases.
	Releases []string
}

// History returns the history of the release current at commit, from the tags that
// are reachable from the commit. A stable release follows the highest stable release
// below it, so that its notes cover its candidates; a prerelease follows the highest
// release below it. A tag on the commit itself is never the previous tag: a candidate
// and its final release often share a commit, and notes between them would be empty.
// Of several tags of a version, the one spelled like current counts. Tags with build
// metadata don't count, since they can't have a release.
func (s *Scheme) History(current Tag, commit string, reachable []GitTag) History {
	var h History
	stable := current.Version.Prerelease() == ""
	commits := map[string]string{}
	for _, t := range reachable {
		commits[t.Name] = t.Commit
	}
	var past []Tag
	for _, t := range s.Tags(current.Component, reachable) {
		switch {
		case t.Name == current.Name, commits[t.Name] == commit, t.Version.Metadata() != "":
		case stable && t.Version.Prerelease() != "", !t.Version.LessThan(current.Version):
		case len(past) > 0 && past[len(past)-1].Version.Equal(t.Version):
			if s.nearer(current, t, past[len(past)-1]) {
				past[len(past)-1] = t
			}
		default:
			past = append(past, t)
		}
	}
	for _, t := range past {
		h.Previous = t.Name
		h.Releases = append(h.Releases, t.Name)
	}
	h.Releases = append(h.Releases, current.Name)
	return h
}

// nearer reports whether a is spelled more like current than b: with the same prefix,
// or else a newer prefix of the component, and the same "v".
func (s *Scheme) nearer(current, a, b Tag) bool {
	i := slices.IndexFunc(s.components, func(c Component) bool { return c.Name == current.Component })
	rank := func(t Tag) int {
		rank := 0
		if t.Prefix != current.Prefix {
			rank = 2 * (1 + slices.Index(s.components[i].Prefixes, t.Prefix))
		}
		if t.v() != current.v() {
			rank++
		}
		return rank
	}
	return rank(a) < rank(b)
}

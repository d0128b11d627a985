package version

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/nearest"
)

// Component is something that is released under its own tags.
type Component struct {
	// Name of the component.
	Name string
	// Prefixes of its tags, "" or "server-"; a tag is a prefix, an optional
	// "v" and a SemVer version. The first is the one for new tags. The others
	// are those that the component had before, and count for its history.
	Prefixes []string
}

// Tag is a git tag that was read as a release of a component.
type Tag struct {
	// Name of the tag, as it is in git.
	Name string
	// Component it releases.
	Component string
	// Prefix that was recognised.
	Prefix string
	// Version without prefix or leading v.
	Version *semver.Version
}

// With returns the tag's name with another version: the prefix and the "v", if
// there is one, stay.
func (t Tag) With(version string) string { return t.Prefix + t.v() + version }

// v returns what is between the prefix and the version: "v" or nothing.
func (t Tag) v() string {
	if strings.HasPrefix(t.Name[len(t.Prefix):], "v") {
		return "v"
	}
	return ""
}

// Scheme reads the tags of a repository. The zero value knows no component.
type Scheme struct {
	components []Component
	prefixes   []prefix // longest first
}

type prefix struct{ text, component string }

// NewScheme checks that each tag can be read in one way alone: two components
// may not share a prefix, nor have prefixes that differ by a trailing "v".
// That one prefix starts another ("iggy-" and "iggy-cli-") is fine: the
// longest that fits wins.
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
				return nil, fmt.Errorf("tag prefix %q of component %q is ambiguous with %q of component %q: a tag such as %q would belong to both; set a different tag-prefix for one of them",
					p, c.Name, other.text, other.component, key+"v1.2.3")
			}
			owner[key] = prefix{p, c.Name}
			s.prefixes = append(s.prefixes, prefix{p, c.Name})
		}
	}
	sort.SliceStable(s.prefixes, func(i, j int) bool { return len(s.prefixes[i].text) > len(s.prefixes[j].text) })
	return s, nil
}

// trimV removes a "v" that only introduces the version: that of "v" and of
// "server-v", but not that of "dev".
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

// checkPrefix refuses what git would refuse in a tag's name, see
// git-check-ref-format(1), and a prefix that ends in a digit, which would run
// into the version.
func checkPrefix(p string) error {
	if p == "" {
		return nil
	}
	if i := strings.IndexFunc(p, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r)
	}); i >= 0 {
		return fmt.Errorf("tag prefix %q has a character that git allows in no tag: %q", p, p[i:i+1])
	}
	if strings.HasPrefix(p, "/") || strings.HasPrefix(p, ".") || strings.HasPrefix(p, "-") ||
		strings.Contains(p, "..") || strings.Contains(p, "//") || strings.Contains(p, "@{") || strings.Contains(p, "/.") {
		return fmt.Errorf("tag prefix %q cannot start a git tag", p)
	}
	if last := p[len(p)-1]; last >= '0' && last <= '9' {
		return fmt.Errorf("tag prefix %q ends in a digit, which would run into the version; end it with a separator such as %q", p, p+"-")
	}
	return nil
}

// Parse reads a tag: the longest prefix that fits decides the component, and
// what follows must be a SemVer version.
func (s *Scheme) Parse(tag string) (Tag, error) {
	if tag == "" {
		return Tag{}, fmt.Errorf("the tag is empty; tags look like %s", s.examples())
	}
	if strings.HasPrefix(tag, "refs/tags/") {
		return Tag{}, fmt.Errorf("tag %q is a full ref name; pass %q", tag, strings.TrimPrefix(tag, "refs/tags/"))
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

// unknown returns the error for a tag of no component. p is the longest prefix
// that fits, and rest comes after it.
func (s *Scheme) unknown(tag string, p prefix, rest string) error {
	why := ""
	if p.text != "" {
		why = fmt.Sprintf(": after the prefix %q of %q comes %q, which is no version", p.text, p.component, rest)
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
	return fmt.Errorf("tag %q names no component that is known%s; tags look like %s", tag, why, s.examples())
}

// split cuts a tag of any scheme into a prefix and the version that it ends in,
// with its "v" if there is one.
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
		return "nothing, since no component is known"
	}
	return strings.Join(out, ", ")
}

// GitTag is a tag of the repository and the commit it was peeled to.
type GitTag struct{ Name, Commit string }

// Tags reads those of a repository's tags that release the component, lowest
// version first; all others are passed over.
func (s *Scheme) Tags(component string, tags []GitTag) []Tag {
	var out []Tag
	for _, t := range tags {
		if parsed, err := s.Parse(t.Name); err == nil && parsed.Component == component {
			out = append(out, parsed)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Version.LessThan(out[j].Version) })
	return out
}

// History is what of a component's past matters to one release of it.
type History struct {
	// Previous is the tag that the changelog starts from, or empty.
	Previous string
	// Releases are the tags that the changelog has a section for, lowest version
	// first and current last. Left out are, for a stable release, prereleases,
	// and for every release whatever else is on the same commit.
	Releases []string
}

// History selects, for the release of current at commit, among the tags that
// are reachable from that commit. A stable release follows the highest stable
// one below it, so that its notes cover what its candidates already announced;
// a prerelease follows the highest release of any kind below it. A tag on the
// commit itself is never the previous one: a candidate and its final release
// are often the same commit, and notes between them would be empty. Of several
// tags of one version, one counts: that which is spelled as current is. Tags
// with build metadata do not count, since no release can have been made of one.
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

// nearer says whether a is spelled more like current than b is: with its prefix,
// else with a newer one of the component, and with or without "v" as it is.
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

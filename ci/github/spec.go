package github

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/notation"
)

// GitHub's limits on a release.
const (
	maxAssets    = 1000
	maxAssetSize = 2<<30 - 1
	maxBody      = 125000
)

// Spec is the desired state of a release.
type Spec struct {
	// Owner and Repo name the repository.
	Owner, Repo string
	// Tag is the release's tag. If it does not exist, publishing creates it at
	// Commit.
	Tag string
	// Commit is the full hash of the commit that the assets were built from.
	Commit string
	// Title and Notes are the release's texts. Notes that are too long end at a
	// line, with a link to the asset that Changelog names.
	Title, Notes string
	// Changelog names the asset with the full notes.
	Changelog string
	// Prerelease marks the release as not ready for production.
	Prerelease bool
	// Assets are the files, in the order of sending.
	Assets []Asset
	// Signatures maps the names of assets that sign another asset to its name, also of
	// those that are not in Assets. None stays or is sent beside a different one.
	Signatures map[string]string

	// VersionOf reads the version from a tag of this component. It returns false for
	// other tags.
	VersionOf func(tag string) (*semver.Version, bool)
	// OwnsLatest: this component's releases compete for GitHub's "Latest", of which
	// a repository has one. By default, the release never becomes the latest, and
	// nothing else is promoted.
	OwnsLatest bool

	// Existing is how to treat an existing release. By default, ExistingStrict.
	Existing Existing
	// DraftOnly stops before publishing.
	DraftOnly bool
	// DryRun plans and writes nothing.
	DryRun bool
	// Dispatch is the event to send at the end, if any.
	Dispatch *Dispatch
}

// Existing is how to treat an existing release that differs. Drafts are always
// completed.
type Existing string

const (
	// ExistingStrict refuses every difference of a published release, and every
	// different asset of a draft. It is the default.
	ExistingStrict Existing = "strict"
	// ExistingFill uploads what a published release lacks, such as one that another
	// tool or a person created, and changes nothing else.
	ExistingFill Existing = "fill"
	// ExistingReplace also overwrites different assets, unless the release is
	// immutable.
	ExistingReplace Existing = "replace"
)

// Asset is a file of a release.
type Asset struct {
	Name        string
	Size        int64
	SHA256      string // in hex
	ContentType string // by default, application/octet-stream
	// Open returns the content. It is called for every try. An asset without it is only
	// planned, and can't be sent.
	Open func() (io.ReadCloser, error)
	// Equivalent, if set, returns nil for a content that serves as well and is kept,
	// such as an earlier signature of the same file by the same key, or else how it
	// differs.
	Equivalent func(content []byte) error
}

// maxEquivalent bounds the contents that [Asset.Equivalent] compares.
const maxEquivalent = 4 << 20

// Dispatch is a repository_dispatch event. GitHub keeps no record of it, so every
// run sends it after publishing: receivers get it at least once, and again with each
// re-run.
type Dispatch struct {
	EventType string
	Payload   any
}

// Problem is a reason why a release cannot be made.
type Problem struct {
	// Message is a lower-case phrase.
	Message string
	// Hint is the fix, if there is one.
	Hint string
}

func (p Problem) String() string {
	if p.Hint == "" {
		return p.Message
	}
	return p.Message + ": " + p.Hint
}

// problemsError holds all reasons why a release cannot be made.
type problemsError struct {
	Tag      string
	Problems []Problem
}

func (e *problemsError) Error() string {
	if len(e.Problems) == 1 {
		return fmt.Sprintf("release %q: %s", e.Tag, e.Problems[0])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "release %q: %d problems", e.Tag, len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  - " + p.String())
	}
	return b.String()
}

var (
	plainName = regexp.MustCompile(`^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*$`) // GitHub changes others
	slug      = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
)

// check checks everything that needs no network. It skips sizes and digests of
// assets that are only planned.
func (s *Spec) check() []Problem {
	var p Plan
	s.checkNames(&p)
	s.checkVersion(&p)
	s.checkAssets(&p)
	if d := s.Dispatch; d != nil {
		if _, err := d.payload(); err != nil {
			p.problem("", "%s", err)
		}
	}
	return p.Problems
}

func (s *Spec) checkNames(p *Plan) {
	if !slug.MatchString(s.Owner) || !slug.MatchString(s.Repo) {
		p.problem("", "%q is not a repository", s.Owner+"/"+s.Repo)
	}
	if !notation.Tag.Matches(s.Tag) {
		p.problem("", "%q is not a tag", s.Tag)
	}
	if !notation.Commit.Matches(s.Commit) {
		p.problem("pass the full hash", "%q is not a commit", s.Commit)
	}
	switch s.Existing {
	case "", ExistingStrict, ExistingFill, ExistingReplace:
	default:
		p.problem("pass strict, fill or replace", "--existing=%s is unknown", s.Existing)
	}
}

func (s *Spec) checkVersion(p *Plan) {
	if s.VersionOf == nil {
		if s.OwnsLatest {
			p.problem("", "owning Latest needs a way to read versions out of tags")
		}
		return
	}
	v, ok := s.VersionOf(s.Tag)
	if s.OwnsLatest && !ok {
		p.problem("", "tag %q is not a version, so it can't be compared with others for Latest", s.Tag)
	}
	if ok && !s.Prerelease && v.Prerelease() != "" {
		p.problem("set prerelease", "tag %q is a prerelease, but the release is not marked as one", s.Tag)
	}
}

func (s *Spec) checkAssets(p *Plan) {
	if n := len(s.Assets); n > maxAssets {
		p.problem("", "%d assets: GitHub takes %d at most", n, maxAssets)
	}
	seen := map[string]string{}
	for _, a := range s.Assets {
		if !plainName.MatchString(a.Name) {
			p.problem("use letters, digits, '.', '_', '+' and '-', and no period at either end", "asset name %q: GitHub would change it", a.Name)
		}
		if other, ok := seen[strings.ToLower(a.Name)]; ok {
			p.problem("", "asset names %q and %q collide", other, a.Name)
		}
		seen[strings.ToLower(a.Name)] = a.Name
		if a.Size > maxAssetSize {
			p.problem("", "asset %q has %d bytes: GitHub takes less than 2 GiB", a.Name, a.Size)
		}
		if a.Open == nil {
			continue // only planned so far
		}
		if a.Size <= 0 {
			p.problem("", "asset %q is empty: GitHub refuses it", a.Name)
		}
		if !notation.SHA256.Matches(a.SHA256) {
			p.problem("", "asset %q has no SHA-256", a.Name)
		}
	}
	if _, ok := seen[strings.ToLower(s.Changelog)]; !ok && s.Changelog != "" {
		p.problem("", "the changelog %q is not among the assets", s.Changelog)
	}
}

// payload checks the event and returns its payload as JSON.
func (d *Dispatch) payload() (json.RawMessage, error) {
	if n := utf8.RuneCountInString(d.EventType); n == 0 || n > 100 {
		return nil, fmt.Errorf("dispatch type %q: want 1 to 100 characters", d.EventType)
	}
	raw, err := json.Marshal(d.Payload)
	if err != nil {
		return nil, fmt.Errorf("dispatch payload: %w", err)
	}
	var top map[string]json.RawMessage
	if string(raw) == "null" {
		return json.RawMessage("{}"), nil
	}
	if json.Unmarshal(raw, &top) != nil {
		return nil, errors.New("dispatch payload: want an object")
	}
	if len(top) > 10 {
		return nil, fmt.Errorf("dispatch payload: %d keys, GitHub takes 10 at most", len(top))
	}
	if len(raw) >= 64<<10 {
		return nil, fmt.Errorf("dispatch payload: %d bytes, GitHub takes less than 64 KiB", len(raw))
	}
	return raw, nil
}

// body returns the notes to send, shortened to whole lines if they are too long.
func (s *Spec) body(web string) (text string, cut bool) {
	notes := normalize(s.Notes)
	if units(notes) <= maxBody {
		return notes, false
	}
	tail := "\n\n…\n"
	if s.Changelog != "" {
		tail = fmt.Sprintf("\n\n… [the full changelog](%s%s/%s/releases/download/%s/%s)\n",
			web, s.Owner, s.Repo, escapePath(s.Tag), url.PathEscape(s.Changelog))
	}
	room := maxBody - units(tail)
	n, end := 0, 0
	for i, r := range notes {
		if n += utf16.RuneLen(r); n > room {
			end = i
			break
		}
	}
	head := notes[:end]
	if i := strings.LastIndexByte(head, '\n'); i > 0 {
		head = head[:i]
	}
	return strings.TrimRight(head, "\n") + tail, true
}

// units counts characters in UTF-16, the strictest reading of GitHub's limit.
func units(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}

// normalize undoes what GitHub's pages do to texts.
func normalize(s string) string {
	return strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), " \t\n")
}

func escapePath(s string) string { return strings.ReplaceAll(url.PathEscape(s), "%2F", "/") }

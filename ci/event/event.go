// Package event reads what starts the second phase of a release: GitHub's release,
// repository_dispatch, workflow_dispatch and workflow_run events, as files such as
// $GITHUB_EVENT_PATH, and a bare tag. It also makes the payload of the
// repository_dispatch event that the first phase sends.
//
// It is pure: it reads bytes and makes no request. It keeps one invariant: an
// [Event] names one tag of one repository and is meant for this project; every
// other event is refused with the offending value. Whether the release exists is
// for the caller to find out.
package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/strict"
	"dagger/gantry/ci/version"
)

// MaxSize bounds an event, in bytes. It is GitHub's limit of a webhook's payload.
const MaxSize = 25 << 20

// Errors of [Parse], for errors.Is.
var (
	// ErrNotPublished reports an event about a release that is not published, or
	// about another change of a release. Workflows that listen to all activity of
	// releases receive such events.
	ErrNotPublished = errors.New("not a published release")
	// ErrForeign reports an event of another repository, component or program.
	ErrForeign = errors.New("the event is for another repository, component or program")
	// ErrUnrelated is [ErrForeign] for events that a workflow may receive if it
	// listens to more than releases.
	ErrUnrelated = fmt.Errorf("%w", ErrForeign)
	// ErrFormat reports a damaged event, or a file that is not an event.
	ErrFormat = errors.New("not a valid event")
)

// Skipped reports whether the error means that there is nothing to do, and nothing
// is wrong.
func Skipped(err error) bool {
	return errors.Is(err, ErrNotPublished) || errors.Is(err, ErrUnrelated)
}

// RepositoryError reports two different names of a repository. It wraps
// [ErrForeign]. A renamed or transferred repository has several names, and only
// GitHub knows whether two names are of one repository.
type RepositoryError struct {
	// Where names the place of Got: "the event" or the manifest's file.
	Where string
	// Got is the name found there and Want the requested one, both owner/name.
	Got, Want string
}

// Error names both.
func (e *RepositoryError) Error() string {
	return fmt.Sprintf("%v: %s is of repository %q, not %q", ErrForeign, e.Where, e.Got, e.Want)
}

// Unwrap returns ErrForeign.
func (e *RepositoryError) Unwrap() error { return ErrForeign }

// Source is the kind of an event, in GitHub's terms.
type Source string

// The sources.
const (
	SourceRelease  Source = "release"
	SourceDispatch Source = "repository_dispatch"
	SourceWorkflow Source = "workflow_dispatch"
	SourceRun      Source = "workflow_run"
	SourceTag      Source = "tag"
)

// Event requests the images of one release.
type Event struct {
	// Repository is "owner/name", as the event spells it.
	Repository string
	Tag        string
	Source     Source
	// Released reports GitHub's "released" event: the release is not, or no longer,
	// a prerelease.
	Released bool

	// The other fields are those of Gantry's payload, and empty for other sources.
	// A workflow_run event also has a commit.
	Component, Version, Channel, Commit, ManifestSHA256 string
}

// FromTag returns the event of a tag that a person named.
func FromTag(repository, tag string) (Event, error) {
	e := Event{Repository: repository, Tag: tag, Source: SourceTag}
	return e, e.check()
}

// Parse reads an event of a repository, "owner/name" or empty for any, and tells its
// kind by its fields.
//
// It accepts a release event with the action "published" or "released", the
// repository_dispatch event with a [Payload], a workflow_dispatch event with an
// input "tag" or else started on a tag, and the workflow_run event of a successful
// run on a release's tag. Errors wrap [ErrNotPublished], [ErrForeign] or
// [ErrFormat], or are a [*VersionError]. See also [Skipped].
func Parse(data []byte, repository string) (Event, error) {
	e, err := parse(data, repository)
	if err != nil {
		return Event{}, fmt.Errorf("read the event: %w", err)
	}
	return e, nil
}

// document has the fields of GitHub's payloads that Parse reads.
type document struct {
	Action     string `json:"action"`
	Repository *struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	Release *struct {
		ID      int64  `json:"id"`
		TagName string `json:"tag_name"`
		Draft   *bool  `json:"draft"`
	} `json:"release"`
	ClientPayload json.RawMessage            `json:"client_payload"`
	Workflow      json.RawMessage            `json:"workflow"`
	WorkflowRun   *workflowRun               `json:"workflow_run"`
	Inputs        map[string]json.RawMessage `json:"inputs"`
	Ref           string                     `json:"ref"`
}

// workflowRun describes a run of another workflow.
type workflowRun struct {
	Name       string `json:"name"`
	Event      string `json:"event"`
	Conclusion string `json:"conclusion"`
	HeadBranch string `json:"head_branch"`
	HeadSHA    string `json:"head_sha"`
	HeadRepo   *struct {
		FullName string `json:"full_name"`
	} `json:"head_repository"`
}

func parse(data []byte, repository string) (Event, error) {
	if len(data) > MaxSize {
		return Event{}, fmt.Errorf("%w: %d bytes, more than the limit of %d", ErrFormat, len(data), MaxSize)
	}
	// At the levels that are read, no two of GitHub's fields differ only in case.
	if _, err := strict.Object(data, 2); err != nil {
		return Event{}, fmt.Errorf("%w: %w: pass the file that $GITHUB_EVENT_PATH names", ErrFormat, err)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if d.Repository == nil {
		return Event{}, fmt.Errorf(`%w: no field "repository": pass the file that $GITHUB_EVENT_PATH names`, ErrFormat)
	}
	e := Event{Repository: d.Repository.FullName}
	// The event of another repository may be wrong in any way, so this comes first.
	if err := e.checkRepository(repository); err != nil {
		return Event{}, err
	}
	var err error
	switch {
	case d.Release != nil:
		err = e.release(d)
	case d.ClientPayload != nil:
		err = e.dispatch(d)
	case d.WorkflowRun != nil:
		err = e.run(d)
	case d.Workflow != nil:
		err = e.workflow(d)
	default:
		return Event{}, fmt.Errorf("%w: neither a release, a repository_dispatch, a workflow_dispatch nor a workflow_run event: start the workflow on one of them", ErrFormat)
	}
	if err != nil {
		return Event{}, err
	}
	return e, e.check()
}

func (e *Event) release(d document) error {
	e.Source, e.Tag, e.Released = SourceRelease, d.Release.TagName, d.Action == "released"
	// GitHub sends "published" for prereleases too, and "released" when one is
	// promoted, or in addition to "published".
	if !slices.Contains([]string{"published", "released"}, d.Action) {
		return fmt.Errorf("%w: release %q was %q: only %q and %q start the image phase", ErrNotPublished, e.Tag, d.Action, "published", "released")
	}
	switch {
	case d.Release.Draft == nil:
		return fmt.Errorf(`%w: no field "release.draft"`, ErrFormat)
	case *d.Release.Draft:
		return fmt.Errorf("%w: release %q is a draft: publish it", ErrNotPublished, e.Tag)
	case d.Release.ID <= 0:
		return fmt.Errorf("%w: release id %d", ErrFormat, d.Release.ID)
	}
	return nil
}

func (e *Event) workflow(d document) error {
	e.Source = SourceWorkflow
	var name string
	if err := json.Unmarshal(d.Workflow, &name); err != nil {
		return fmt.Errorf(`%w: field "workflow" is %s, not text`, ErrFormat, d.Workflow)
	}
	if raw, found := d.Inputs["tag"]; found {
		if err := json.Unmarshal(raw, &e.Tag); err != nil {
			return fmt.Errorf("%w: input %q is %s, not text", ErrFormat, "tag", raw)
		}
		e.Tag = strings.TrimSpace(e.Tag)
	}
	if e.Tag == "" {
		tag, found := strings.CutPrefix(d.Ref, "refs/tags/")
		if !found {
			return fmt.Errorf("%w: no input %q, and the workflow was started on %q: pass the tag as an input, or start the workflow on the tag", ErrFormat, "tag", d.Ref)
		}
		e.Tag = tag
	}
	return nil
}

// run reads the end of a workflow's run. A release's workflow ran on the tag, which
// GitHub calls the head branch.
func (e *Event) run(d document) error {
	r := d.WorkflowRun
	e.Source, e.Tag = SourceRun, r.HeadBranch
	switch {
	case d.Action != "completed":
		return fmt.Errorf("%w: workflow %q was %q: only completed runs count", ErrUnrelated, r.Name, d.Action)
	case r.Conclusion != "success":
		return fmt.Errorf("%w: workflow %q ended with %q on %q: only successful runs count", ErrUnrelated, r.Name, r.Conclusion, r.HeadBranch)
	case r.HeadRepo == nil || !strings.EqualFold(r.HeadRepo.FullName, e.Repository):
		return fmt.Errorf("%w: workflow %q ran for a fork", ErrUnrelated, r.Name)
	case !slices.Contains([]string{"push", "create", "release", "workflow_dispatch"}, r.Event) || !endsInVersion(r.HeadBranch):
		return fmt.Errorf("%w: workflow %q ran for %q on %q, which is not the tag of a release", ErrUnrelated, r.Name, r.Event, r.HeadBranch)
	case !notation.Commit.Matches(r.HeadSHA):
		return fmt.Errorf(`%w: field "workflow_run.head_sha": %q is not a full commit hash in lower case`, ErrFormat, r.HeadSHA)
	}
	e.Commit = r.HeadSHA
	return nil
}

// endsInVersion reports whether a tag ends in a version, as a release's tag does.
func endsInVersion(tag string) bool {
	for i := range tag {
		if i > 0 && strings.ContainsRune("0123456789.", rune(tag[i-1])) {
			continue
		}
		if v, err := version.Parse(tag[i:]); err == nil && v.Metadata() == "" {
			return true
		}
	}
	return false
}

func (e *Event) dispatch(d document) error {
	e.Source = SourceDispatch
	if d.Action != EventType {
		return fmt.Errorf("%w: repository_dispatch has type %q, not %q", ErrUnrelated, d.Action, EventType)
	}
	p, err := readPayload(d.ClientPayload)
	if err != nil {
		return err
	}
	if !strings.EqualFold(p.Repository, e.Repository) {
		return fmt.Errorf("%w: the payload is for repository %q, but was sent to %q", ErrForeign, p.Repository, e.Repository)
	}
	e.Tag, e.Component, e.Version, e.Channel = p.Tag, p.Component, p.Version, p.Channel
	e.Commit, e.ManifestSHA256 = p.Commit, p.ManifestSHA256
	return nil
}

var repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,38})/[A-Za-z0-9._-]{1,100}$`)

// checkRepository checks the repository and compares it with want, if given.
func (e Event) checkRepository(want string) error {
	if _, name, _ := strings.Cut(e.Repository, "/"); !repositoryPattern.MatchString(e.Repository) || strings.Trim(name, ".") == "" {
		return fmt.Errorf("%w: repository %q is not owner/name", ErrFormat, e.Repository)
	}
	if want != "" && !strings.EqualFold(want, e.Repository) {
		return &RepositoryError{Where: "the event", Got: e.Repository, Want: want}
	}
	return nil
}

// check checks the fields that every event has.
func (e Event) check() error {
	if err := e.checkRepository(""); err != nil {
		return err
	}
	return checkTag(e.Tag)
}

// maxTag bounds a tag, in bytes: git keeps it in a file of that name.
const maxTag = 255

func checkTag(tag string) error {
	err := notation.Tag.Check(tag)
	if err == nil && len(tag) > maxTag {
		err = fmt.Errorf("%q has %d bytes, more than %d", tag, len(tag), maxTag)
	}
	if err != nil {
		return fmt.Errorf("%w: tag: %w", ErrFormat, err)
	}
	return nil
}

// Match compares an event with the manifest of its release and with the digest of
// the manifest's file. Errors wrap [ErrForeign].
func (e Event) Match(m *manifest.Manifest, sha256 string) error {
	differ := func(what, of, is string) error {
		return fmt.Errorf("compare the event with %s: %w: %s %q is not the event's, %q", manifest.FileName, ErrForeign, what, of, is)
	}
	if m.Tag != e.Tag {
		return differ("tag", m.Tag, e.Tag)
	}
	if home, ok := repositoryOf(m.Repository); ok && !strings.EqualFold(home, e.Repository) {
		return &RepositoryError{Where: manifest.FileName, Got: home, Want: e.Repository}
	}
	for _, f := range []struct{ what, of, is string }{
		{"component", m.Component, e.Component},
		{"version", m.Version, e.Version},
		{"channel", m.Channel, e.Channel},
		{"commit", m.Commit, e.Commit},
		{"digest", sha256, e.ManifestSHA256},
	} {
		if f.is != "" && f.of != f.is {
			return differ(f.what, f.of, f.is)
		}
	}
	return nil
}

// repositoryOf returns the "owner/name" of a repository URL, which may be that of a
// directory in it.
func repositoryOf(home string) (string, bool) {
	u, err := url.Parse(home)
	if err != nil {
		return "", false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 2 || parts[0] == "" {
		return "", false
	}
	return parts[0] + "/" + strings.TrimSuffix(parts[1], ".git"), true
}

// checkVersion checks a version and compares it with its tag and its channel.
func checkVersion(tag, number, channel string) error {
	v, err := version.Parse(number)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if v.String() != number || v.Metadata() != "" {
		return fmt.Errorf("%w: version %q has a leading v or build metadata", ErrFormat, number)
	}
	if !strings.HasSuffix(tag, number) {
		return fmt.Errorf("%w: tag %q does not end in version %q", ErrFormat, tag, number)
	}
	if want := version.Channel(v); channel != want {
		return fmt.Errorf("%w: %q is not the channel of version %q, %q", ErrFormat, channel, number, want)
	}
	return nil
}

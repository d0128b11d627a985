// Package event reads what starts the second phase of a release: GitHub's
// release, repository_dispatch, workflow_dispatch and workflow_run events, as
// $GITHUB_EVENT_PATH gives them, and a bare tag. It also makes the payload of
// the repository_dispatch event that the first phase sends.
//
// It is pure: it reads bytes and asks nobody. It keeps one invariant: an
// [Event] names one tag of one repository, in full, and was meant for this
// project; everything else is refused with the value that is wrong. It doesn't
// say that the release is there: that is for the caller to find out.
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
	"dagger/gantry/ci/strict"
	"dagger/gantry/ci/version"
)

// MaxSize is the size in bytes of the largest event that [Parse] reads:
// GitHub's own limit of a webhook's payload.
const MaxSize = 25 << 20

// What [Parse] refuses, for errors.Is.
var (
	// ErrNotPublished says that the event tells of a release that is not
	// published, or of something else that happened to it. A workflow that
	// listens to every activity of releases may pass over it.
	ErrNotPublished = errors.New("not a published release")
	// ErrForeign says that the event belongs to another repository or
	// component, or to another program.
	ErrForeign = errors.New("the event is for another repository, component or program")
	// ErrUnrelated is the [ErrForeign] of events that a workflow may well get
	// that listens to more than releases.
	ErrUnrelated = fmt.Errorf("%w", ErrForeign)
	// ErrFormat says that the event is no event of GitHub's, or a damaged one.
	ErrFormat = errors.New("not a valid event")
)

// Skipped says whether an event asks for nothing: a workflow that got it has
// nothing to do, and nothing is wrong.
func Skipped(err error) bool {
	return errors.Is(err, ErrNotPublished) || errors.Is(err, ErrUnrelated)
}

// RepositoryError says that two names of a repository differ. It wraps
// [ErrForeign]. A repository that was renamed or transferred has several names:
// GitHub knows whether two are of one repository.
type RepositoryError struct {
	// Where the name stands: "the event" or the manifest's file.
	Where string
	// Got is the name there, Want the one that is asked for, both owner/name.
	Got, Want string
}

// Error names both.
func (e *RepositoryError) Error() string {
	return fmt.Sprintf("%v: %s is of repository %q, not %q", ErrForeign, e.Where, e.Got, e.Want)
}

// Unwrap returns ErrForeign.
func (e *RepositoryError) Unwrap() error { return ErrForeign }

// Source says where an event comes from, in GitHub's terms.
type Source string

// The sources.
const (
	SourceRelease  Source = "release"
	SourceDispatch Source = "repository_dispatch"
	SourceWorkflow Source = "workflow_dispatch"
	SourceRun      Source = "workflow_run"
	SourceTag      Source = "tag"
)

// Event asks for the images of one release.
type Event struct {
	// Repository is "owner/name", as the event spells it.
	Repository string `json:"repository"`
	// Tag of the release.
	Tag string `json:"tag"`
	// ReleaseID is GitHub's number of the release; 0 when the event has none.
	ReleaseID int64 `json:"releaseId,omitempty"`
	// Source of the event.
	Source Source `json:"source"`
	// Released says that GitHub announced the release as one that is no
	// prerelease, or no longer: its "released" event.
	Released bool `json:"released,omitempty"`
	// SchemaVersion of Gantry's own payload, MAJOR.MINOR; empty for every
	// other source.
	SchemaVersion string `json:"schemaVersion,omitempty"`

	// What Gantry's own payload says in addition, and nothing else does, but for
	// the commit, which a workflow's run has too. All may be empty.
	Component      string `json:"component,omitempty"`
	Version        string `json:"version,omitempty"`
	Channel        string `json:"channel,omitempty"`
	Commit         string `json:"commit,omitempty"`
	ManifestSHA256 string `json:"manifestSha256,omitempty"`
}

// Expect says what an event has to be for.
type Expect struct {
	// Repository is "owner/name"; by default, any.
	Repository string
	// Component that the event may be for; by default, any. An event that names
	// none, which only Gantry's own does, is for every component: the tag
	// decides.
	Component string
}

// The notations of fields. A tag is what a manifest takes for one.
var (
	repositoryPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,38})/[A-Za-z0-9._-]{1,100}$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._/@-]{0,253}[A-Za-z0-9])?$`)
	componentPattern  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,126}[A-Za-z0-9_])?$`)
	commitPattern     = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	digestPattern     = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// FromTag is the event of a tag that somebody gave by hand.
func FromTag(repository, tag string) (Event, error) {
	e := Event{Repository: repository, Tag: tag, Source: SourceTag}
	return e, e.check(Expect{})
}

// Parse reads an event of GitHub's. It knows the kind by the fields.
//
// It accepts a release that was published, "published" or "released"; the
// repository_dispatch event that [Payload] describes; and a workflow_dispatch
// event with an input "tag", or else one that was started on a tag; and the
// workflow_run event of a run that succeeded on a release's tag. Errors wrap
// [ErrNotPublished], [ErrForeign] or [ErrFormat], or are a [*VersionError];
// [Skipped] tells those that leave nothing to do.
func Parse(data []byte, want Expect) (Event, error) {
	e, err := parse(data, want)
	if err != nil {
		return Event{}, fmt.Errorf("read the event: %w", err)
	}
	return e, nil
}

// document is what of GitHub's payloads matters here.
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

// workflowRun is a run of another workflow.
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

func parse(data []byte, want Expect) (Event, error) {
	if len(data) > MaxSize {
		return Event{}, fmt.Errorf("%w: %d bytes are more than %d, the size of any event", ErrFormat, len(data), MaxSize)
	}
	// GitHub's fields that are read here differ by more than case.
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
	// Whose event it is comes first: what another repository sends may be wrong
	// in any way.
	if err := e.checkRepository(want); err != nil {
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
		return Event{}, fmt.Errorf("%w: it is neither a release, a repository_dispatch, a workflow_dispatch nor a workflow_run event: start the workflow on one of those", ErrFormat)
	}
	if err != nil {
		return Event{}, err
	}
	return e, e.check(want)
}

func (e *Event) release(d document) error {
	e.Source, e.ReleaseID, e.Tag, e.Released = SourceRelease, d.Release.ID, d.Release.TagName, d.Action == "released"
	// "published" is sent for prereleases too; "released" comes in addition, or
	// later, when one is promoted.
	if !slices.Contains([]string{"published", "released"}, d.Action) {
		return fmt.Errorf("%w: release %q was %q: only %q and %q start the image phase", ErrNotPublished, e.Tag, d.Action, "published", "released")
	}
	switch {
	case d.Release.Draft == nil:
		return fmt.Errorf(`%w: no field "release.draft"`, ErrFormat)
	case *d.Release.Draft:
		return fmt.Errorf("%w: release %q is a draft: publish it", ErrNotPublished, e.Tag)
	case e.ReleaseID <= 0:
		return fmt.Errorf("%w: release id %d", ErrFormat, e.ReleaseID)
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
			return fmt.Errorf("%w: no input %q, and the workflow was started on %q: give the tag as an input, or start it on the tag", ErrFormat, "tag", d.Ref)
		}
		e.Tag = tag
	}
	return nil
}

// run reads the end of another workflow's run. Where that is the release's own
// workflow, it ran on the tag, which GitHub calls the head branch.
func (e *Event) run(d document) error {
	r := d.WorkflowRun
	e.Source, e.Tag = SourceRun, r.HeadBranch
	switch {
	case d.Action != "completed":
		return fmt.Errorf("%w: workflow %q was %q: only completed runs count", ErrUnrelated, r.Name, d.Action)
	case r.Conclusion != "success":
		return fmt.Errorf("%w: workflow %q ended with %q on %q: only runs that succeeded count", ErrUnrelated, r.Name, r.Conclusion, r.HeadBranch)
	case r.HeadRepo == nil || !strings.EqualFold(r.HeadRepo.FullName, e.Repository):
		return fmt.Errorf("%w: workflow %q ran for a fork", ErrUnrelated, r.Name)
	case !slices.Contains([]string{"push", "create", "release", "workflow_dispatch"}, r.Event) || !endsInVersion(r.HeadBranch):
		return fmt.Errorf("%w: workflow %q ran for %q on %q, which is no tag of a release", ErrUnrelated, r.Name, r.Event, r.HeadBranch)
	case !commitPattern.MatchString(r.HeadSHA):
		return fmt.Errorf(`%w: field "workflow_run.head_sha": %q is not a full commit hash in lower case`, ErrFormat, r.HeadSHA)
	}
	e.Commit = r.HeadSHA
	return nil
}

// endsInVersion says whether a tag ends in a version, as those of releases do.
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
		return fmt.Errorf("%w: a repository_dispatch event of type %q, not %q", ErrUnrelated, d.Action, EventType)
	}
	p, err := readPayload(d.ClientPayload)
	if err != nil {
		return err
	}
	if !strings.EqualFold(p.Repository, e.Repository) {
		return fmt.Errorf("%w: the payload is of repository %q, and was sent to %q", ErrForeign, p.Repository, e.Repository)
	}
	e.Tag, e.ReleaseID, e.SchemaVersion = p.Tag, p.ReleaseID, p.SchemaVersion
	e.Component, e.Version, e.Channel = p.Component, p.Version, p.Channel
	e.Commit, e.ManifestSHA256 = p.Commit, p.ManifestSHA256
	return nil
}

func (e Event) checkRepository(want Expect) error {
	if !repositoryPattern.MatchString(e.Repository) || strings.Trim(e.Repository[strings.IndexByte(e.Repository, '/')+1:], ".") == "" {
		return fmt.Errorf("%w: repository %q is not owner/name", ErrFormat, e.Repository)
	}
	if want.Repository != "" && !strings.EqualFold(want.Repository, e.Repository) {
		return &RepositoryError{Where: "the event", Got: e.Repository, Want: want.Repository}
	}
	return nil
}

// check makes sure that an event is complete, consistent and meant for us.
func (e Event) check(want Expect) error {
	if err := e.checkRepository(want); err != nil {
		return err
	}
	if err := checkTag(e.Tag); err != nil {
		return err
	}
	if e.Component != "" && want.Component != "" && e.Component != want.Component {
		return fmt.Errorf("%w: it is for component %q, not %q", ErrUnrelated, e.Component, want.Component)
	}
	return nil
}

func checkTag(tag string) error {
	bad := ""
	for _, part := range []string{"..", "//", "/.", "./"} {
		if strings.Contains(tag, part) {
			bad = part
		}
	}
	if !tagPattern.MatchString(tag) || bad != "" || strings.HasSuffix(tag, ".lock") {
		return fmt.Errorf("%w: tag %q is not a tag that Gantry releases: letters, digits, %q, %q, %q, %q and %q", ErrFormat, tag, ".", "_", "-", "/", "@")
	}
	return nil
}

// Match compares an event with the manifest of the release that it names, and
// with the digest of the manifest's file. A manifest of another release or of
// another repository is refused with an error that wraps [ErrForeign].
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

// repositoryOf is "owner/name" of a project's home, of which a workspace's
// crate may name a folder.
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

// checkVersion compares a version with its tag and its channel.
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

package oci

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/version"
)

// Action is what a step of a publication does.
type Action string

// The actions, in the order in which they happen. Keep and Stay do nothing: the
// one because all is as it should be, the other because a tag belongs to a
// higher version.
const (
	ActionPush  Action = "push"
	ActionSmoke Action = "smoke-test"
	ActionTag   Action = "tag"
	ActionMove  Action = "move"
	ActionKeep  Action = "keep"
	ActionStay  Action = "stay"
)

// Step is one thing that a publication does, or has decided not to do.
type Step struct {
	Action Action `json:"action"`
	// Ref is the tag or the digest that the step is about; empty for the smoke
	// test.
	Ref string `json:"ref,omitempty"`
	// From is what a tag names before it is moved; empty when it is new.
	From string `json:"from,omitempty"`
	// Why, for people.
	Why string `json:"why"`
}

// Writes says whether the step changes the registry.
func (s Step) Writes() bool {
	return s.Action == ActionPush || s.Action == ActionTag || s.Action == ActionMove
}

// String is the step in a line.
func (s Step) String() string {
	text := string(s.Action)
	if s.Ref != "" {
		text += " " + s.Ref
	}
	if s.From != "" {
		text += " (was " + s.From + ")"
	}
	return text + ": " + s.Why
}

// ConflictError says that the tag of an exact version names another image than
// the one to be published. Such a tag is written once: nothing was changed.
type ConflictError struct {
	Repository, Tag string
	// Have is the digest in the registry, Want the one to be published.
	Have, Want string
}

// Error names both digests and what to do.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("tag %q of %q is %s already, and the image of this release is %s: a version's tag is never rewritten; assemble it on the base images of the published one, or release a new version",
		e.Tag, e.Repository, e.Have, e.Want)
}

// Publication is an image and where its tags should be.
type Publication struct {
	// Version that the image is of.
	Version *semver.Version
	// Index to publish.
	Index v1.ImageIndex
	// Known are the component's released versions. Those of the registry's own
	// tags are known besides.
	Known []*semver.Version
	// Smoke tests the image before any tag is written; it is called once at
	// most. By default, there is no test.
	Smoke func(context.Context) error
	// DryRun plans and writes nothing.
	DryRun bool
	// Deadline bounds the whole. By default, 30 minutes.
	Deadline time.Duration
}

// Publish publishes an image to repositories, each independent of the others:
// by digest, then, after the smoke test, the exact version's tag, then the
// floating tags from narrow to wide, each only if this is the highest version of
// its class; and reads it all back.
//
// The report says what was done, also when there is an error. Run it again to
// go on: what is right is kept, and sends nothing. The error joins those of the
// repositories; it wraps a [*ConflictError], [ErrSmoke] or what a registry said.
func Publish(ctx context.Context, p Publication, repositories ...*Repository) (*Report, error) {
	if p.Deadline <= 0 {
		p.Deadline = 30 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.Deadline, fmt.Errorf("the deadline of %s passed: run it again to go on", p.Deadline))
	defer cancel()
	digest, err := p.Index.Digest()
	if err != nil {
		return nil, fmt.Errorf("publish version %q: %w", p.Version, err)
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("publish version %q: %w", p.Version, err)
	}
	smoke := sync.OnceValue(func() error {
		if p.Smoke == nil {
			return nil
		}
		if err := p.Smoke(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrSmoke, err)
		}
		return nil
	})
	report := &Report{Version: p.Version.String(), Digest: digest.String(), DryRun: p.DryRun, Repositories: make([]*RepositoryReport, len(repositories))}
	errs := make([]error, len(repositories))
	var g errgroup.Group
	for i, r := range repositories {
		g.Go(func() error {
			w := &work{Publication: p, r: r, digest: digest, smoke: smoke, report: &RepositoryReport{Repository: r.String()}}
			report.Repositories[i] = w.report
			before, started := r.Stats(), time.Now()
			if err := w.run(ctx); err != nil {
				if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
					err = fmt.Errorf("%w: %w", cause, err)
				}
				errs[i] = fmt.Errorf("publish version %q to %q: %w", p.Version, r, err)
				w.report.Failed = err.Error()
			}
			w.report.finish(r.Stats(), before, time.Since(started))
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return report, errors.Join(errs...)
}

// check makes sure that the image is that of the version, as far as it says.
func (p Publication) check() error {
	im, err := p.Index.IndexManifest()
	if err != nil {
		return err
	}
	if got := im.Annotations[keyVersion]; got != "" && got != p.Version.String() {
		return fmt.Errorf("%w: the image is of version %q", ErrMismatch, got)
	}
	if len(im.Manifests) == 0 {
		return fmt.Errorf("%w: the index has no images", ErrMismatch)
	}
	_, err = version.ImageTags(p.Version, nil)
	return err
}

// work is a publication to one repository.
type work struct {
	Publication
	r      *Repository
	digest v1.Hash
	smoke  func() error
	report *RepositoryReport
}

func (w *work) run(ctx context.Context) error {
	steps, err := w.plan(ctx)
	if err != nil {
		return err
	}
	w.report.Planned = steps
	if w.DryRun {
		return nil
	}
	for _, s := range steps {
		if err := w.step(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(string(s.Action)+" "+s.Ref), err)
		}
	}
	if slices.ContainsFunc(steps, Step.Writes) {
		return w.settle(ctx)
	}
	return nil
}

// step carries out one step, and records it.
func (w *work) step(ctx context.Context, s Step) error {
	did := true
	var err error
	switch s.Action {
	case ActionPush:
		if err = w.r.push(ctx, w.Index); err == nil {
			err = w.readBack(ctx)
		}
	case ActionSmoke:
		err = w.smoke()
	case ActionTag:
		did, err = w.tagExact(ctx, s.Ref)
	case ActionMove:
		did, err = w.move(ctx, s.Ref)
	default:
		did = false
	}
	switch {
	case err != nil:
		return err
	case did:
		w.report.Done = append(w.report.Done, s)
	case s.Writes():
		s.Why = "another run did it, or published a higher version, meanwhile"
		fallthrough
	default:
		w.report.Skipped = append(w.report.Skipped, s)
	}
	return nil
}

// plan reads the registry and says what is missing.
func (w *work) plan(ctx context.Context) ([]Step, error) {
	exact := w.Version.String()
	tagged, err := w.at(ctx, exact)
	if err != nil {
		return nil, err
	}
	if tagged != nil && tagged.digest != w.digest {
		return nil, &ConflictError{Repository: w.r.String(), Tag: exact, Have: tagged.digest.String(), Want: w.digest.String()}
	}
	push := Step{ActionPush, w.digest.String(), "", ""}
	switch missing, err := w.missing(ctx); {
	case err != nil:
		return nil, err
	case missing == "":
		push.Action, push.Why = ActionKeep, "the index and its images are there"
	default:
		push.Why = missing + " is not there"
	}
	tag := Step{ActionTag, exact, "", "the exact version, which is written once"}
	if tagged != nil {
		tag.Action, tag.Why = ActionKeep, "it names this image already"
	}
	floating, err := w.decide(ctx)
	if err != nil {
		return nil, err
	}
	steps := append([]Step{push, tag}, floating...)
	if w.Smoke != nil && slices.ContainsFunc(steps[1:], Step.Writes) {
		steps = slices.Insert(steps, 1, Step{Action: ActionSmoke, Why: "nothing untested gets a tag"})
	}
	return steps, nil
}

// at reads what a tag or a digest names; nil when there is certainly nothing.
func (w *work) at(ctx context.Context, reference string) (*found, error) {
	f, err := w.r.get(ctx, true, reference)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return f, err
}

// missing names the first manifest of the index that the repository has not, or
// nothing.
func (w *work) missing(ctx context.Context) (string, error) {
	f, err := w.at(ctx, w.digest.String())
	if err != nil {
		return "", err
	}
	if f == nil {
		return "the index", nil
	}
	children, err := images(w.Index)
	if err != nil {
		return "", err
	}
	for _, c := range children {
		f, err := w.at(ctx, c.digest.String())
		if err != nil {
			return "", err
		}
		if f == nil {
			return fmt.Sprintf("the image of %q", c.platform), nil
		}
	}
	return "", nil
}

// readBack makes sure that the registry has every manifest that was pushed.
func (w *work) readBack(ctx context.Context) error {
	var what string
	there, err := w.soon(ctx, func() (bool, error) {
		missing, err := w.missing(ctx)
		what = missing
		return missing == "", err
	})
	if err == nil && !there {
		err = fmt.Errorf("read back %s: %w: the registry took it and doesn't have it: run it again", what, ErrNotFound)
	}
	return err
}

// soon waits a few times for what was written to be seen: some registries are
// several machines.
func (w *work) soon(ctx context.Context, seen func() (bool, error)) (bool, error) {
	for try := 1; ; try++ {
		ok, err := seen()
		if ok || err != nil || try >= w.r.o.Tries {
			return ok, err
		}
		if err := w.r.o.Sleep(ctx, w.r.o.backoff(try)); err != nil {
			return false, err
		}
	}
}

// decide says what becomes of each floating tag, from the registry's tags, the
// releases, and what the tags themselves say they name.
func (w *work) decide(ctx context.Context) ([]Step, error) {
	known, err := w.known(ctx)
	if err != nil {
		return nil, err
	}
	candidates, err := version.ImageTags(w.Version, known)
	if err != nil {
		return nil, err
	}
	now := map[string]*found{}
	for _, t := range candidates {
		if t.Exact || !t.Move {
			continue
		}
		f, err := w.at(ctx, t.Tag)
		if err != nil {
			return nil, err
		}
		now[t.Tag] = f
		// A tag may name a version that has no tag of its own any more.
		if f != nil {
			if v, err := version.Parse(f.annotations[keyVersion]); err == nil {
				known = append(known, v)
			}
		}
	}
	if candidates, err = version.ImageTags(w.Version, known); err != nil {
		return nil, err
	}
	var steps []Step
	for _, t := range candidates {
		s := Step{Action: ActionMove, Ref: t.Tag, Why: t.Why}
		f := now[t.Tag]
		switch {
		case t.Exact:
			continue
		case !t.Move:
			s.Action = ActionStay
		case f != nil && f.digest == w.digest:
			s.Action = ActionKeep
		case f != nil:
			s.From = f.digest.String()
			if v := f.annotations[keyVersion]; v != "" {
				s.From = v
			}
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// known are the versions of the releases and of the registry's tags. A tag with
// a leading v counts as well: other tools write such.
func (w *work) known(ctx context.Context) ([]*semver.Version, error) {
	tags, err := w.r.tags(ctx, true)
	if err != nil {
		return nil, err
	}
	return append(Versions(tags), w.Known...), nil
}

// Versions are those among tags that are versions; all others are passed over.
func Versions(tags []string) []*semver.Version {
	var all []*semver.Version
	for _, t := range tags {
		if v, err := version.Parse(t); err == nil {
			all = append(all, v)
		}
	}
	return all
}

// tagExact writes the tag of the exact version, if there is still none.
func (w *work) tagExact(ctx context.Context, tag string) (bool, error) {
	check := func() (bool, error) {
		f, err := w.at(ctx, tag)
		switch {
		case err != nil || f == nil:
			return false, err
		case f.digest != w.digest:
			return false, &ConflictError{Repository: w.r.String(), Tag: tag, Have: f.digest.String(), Want: w.digest.String()}
		}
		return true, nil
	}
	if there, err := check(); err != nil || there {
		return false, err
	}
	wrote := w.r.tag(ctx, tag, w.Index)
	there, err := w.soon(ctx, check)
	switch {
	case err != nil:
		return false, errors.Join(wrote, err)
	case there: // also after an answer that was lost
		return true, nil
	case wrote != nil:
		return false, wrote
	}
	return false, fmt.Errorf("read back tag %q: %w: the registry took it and doesn't have it: run it again", tag, ErrNotFound)
}

// move writes a floating tag, if it is still this version's.
func (w *work) move(ctx context.Context, tag string) (bool, error) {
	steps, err := w.decide(ctx)
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(steps, func(s Step) bool { return s.Ref == tag })
	if i < 0 || steps[i].Action != ActionMove {
		return false, nil
	}
	wrote := w.r.tag(ctx, tag, w.Index)
	var names string
	there, err := w.soon(ctx, func() (bool, error) {
		f, err := w.at(ctx, tag)
		if err != nil || f == nil {
			return false, err
		}
		names = ", and names " + f.digest.String()
		v, invalid := version.Parse(f.annotations[keyVersion])
		return f.digest == w.digest || invalid == nil && v.GreaterThan(w.Version), nil // or another run moved it on
	})
	switch {
	case err != nil:
		return false, errors.Join(wrote, err)
	case !there && wrote != nil:
		return false, wrote
	case !there:
		return false, fmt.Errorf("read back tag %q: the registry took it and doesn't have it%s: run it again", tag, names)
	}
	return true, nil
}

// settle looks once more at the floating tags that were moved: between reading
// and writing, another run may have published a higher version. Its image then
// gets the tag, which it may have had before.
func (w *work) settle(ctx context.Context) error {
	known, err := w.known(ctx)
	if err != nil {
		return err
	}
	tags, err := version.ImageTags(w.Version, known)
	if err != nil {
		return err
	}
	for _, t := range tags {
		moved := slices.ContainsFunc(w.report.Done, func(s Step) bool { return s.Action == ActionMove && s.Ref == t.Tag })
		if t.Move || t.Exact || !moved {
			continue
		}
		higher := highestOf(t.Tag, known)
		index, err := w.r.Index(ctx, higher.String())
		if errors.Is(err, ErrNotFound) {
			continue // a release whose image is still to come; it will move the tag
		}
		if err != nil {
			return err
		}
		if f, err := w.at(ctx, t.Tag); err != nil || f == nil || f.digest != w.digest {
			if err != nil {
				return err
			}
			continue
		}
		if err := w.r.tag(ctx, t.Tag, index); err != nil {
			return fmt.Errorf("move %s: %w", t.Tag, err)
		}
		w.report.Done = append(w.report.Done, Step{ActionMove, t.Tag, w.Version.String(), "version " + higher.String() + " was published meanwhile"})
	}
	return nil
}

// highestOf is the highest version that a floating tag may name, or nil.
func highestOf(tag string, known []*semver.Version) *semver.Version {
	var top *semver.Version
	for _, v := range known {
		if floats(v, tag) && (top == nil || v.GreaterThan(top)) {
			top = v
		}
	}
	return top
}

// floats says whether a floating tag is among those of a version.
func floats(v *semver.Version, tag string) bool {
	tags, err := version.ImageTags(v, nil)
	return err == nil && slices.ContainsFunc(tags, func(t version.ImageTag) bool { return !t.Exact && t.Tag == tag })
}

package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
	"dagger/gantry/ci/wire"
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
	// Why says how it came to that, or what to do, where that is known.
	Why string
}

// Error names both digests and what to do.
func (e *ConflictError) Error() string {
	text := fmt.Sprintf("tag %q of %q is %s already, and the image of this release is %s: a version's tag is never rewritten", e.Tag, e.Repository, e.Have, e.Want)
	if e.Why != "" {
		return text + "; " + e.Why
	}
	return text + "; assemble it on the base images of the published one, or release a new version"
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
	// Flagged are stable versions whose releases are flagged as prereleases; see
	// [version.TagOptions].
	Flagged []*semver.Version
	// Manifest of the release: it says how tags are written, and what an image
	// that has the version's tag already is compared with. By default, tags are
	// written as they are, and every other image is a conflict.
	Manifest *manifest.Manifest
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
			w := &work{
				Publication: p, r: r, digest: digest, smoke: smoke, report: &RepositoryReport{Repository: r.String()},
				options: p.tags(), exact: p.tags().Exact(p.Version), before: map[string]*found{},
			}
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
		return fmt.Errorf("the image %w: it is of version %q", ErrMismatch, got)
	}
	if len(im.Manifests) == 0 {
		return fmt.Errorf("the image %w: its index is empty", ErrMismatch)
	}
	_, err = version.ImageTags(p.Version, nil, p.tags())
	return err
}

// tags says how tags are written.
func (p Publication) tags() version.TagOptions {
	var o version.TagOptions
	if p.Manifest != nil {
		o = p.Manifest.Image.TagOptions()
	}
	o.Flagged = p.Flagged
	return o
}

// work is a publication to one repository.
type work struct {
	Publication
	r      *Repository
	digest v1.Hash
	smoke  func() error
	report *RepositoryReport

	options version.TagOptions
	exact   string
	// listed are the tags that the registry had when the plan was made.
	listed []string
	// before says what floating tags named when the plan was made.
	before map[string]*found
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
		did, err = w.tagExact(ctx)
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
	listed, err := w.r.tags(ctx, true)
	if err != nil {
		return nil, err
	}
	w.listed = listed
	tagged, err := w.find(ctx, w.exact)
	if err != nil {
		return nil, err
	}
	if tagged != nil && tagged.digest != w.digest {
		if err := w.adopt(ctx, tagged); err != nil {
			return nil, err
		}
	}
	push := Step{ActionPush, w.digest.String(), "", ""}
	switch missing, err := w.missing(ctx, w.there); {
	case err != nil:
		return nil, err
	case missing == "":
		push.Action, push.Why = ActionKeep, "the index and its images are there"
	default:
		push.Why = missing + " is not there"
	}
	tag := Step{ActionTag, w.exact, "", "the exact version, which is written once"}
	if tagged != nil {
		tag.Action, tag.Why = ActionKeep, "it names this image already"
	}
	floating, err := w.decide(ctx)
	if err != nil {
		return nil, err
	}
	steps := append([]Step{push, tag}, floating...)
	// An image that was adopted has its version's tag, which only tested ones get.
	if w.Smoke != nil && w.report.Note == "" && slices.ContainsFunc(steps[1:], Step.Writes) {
		steps = slices.Insert(steps, 1, Step{Action: ActionSmoke, Why: "nothing untested gets a tag"})
	}
	return steps, nil
}

// find says what a tag names; nil when there is certainly nothing. A tag that is
// not listed is read as a whole: only the registry's own code says that it isn't
// there.
func (w *work) find(ctx context.Context, tag string) (*found, error) {
	if slices.Contains(w.listed, tag) {
		return w.r.at(ctx, true, tag)
	}
	f, err := w.r.look(ctx, true, tag)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return f, err
}

// adopt goes on with the image that the version's tag names already, if it is
// the release byte for byte: an older Gantry, or one on another state of the base
// image, assembled the same binaries into another digest. Every other image is a
// conflict.
func (w *work) adopt(ctx context.Context, tagged *found) error {
	conflict := &ConflictError{Repository: w.r.String(), Tag: w.exact, Have: tagged.digest.String(), Want: w.digest.String()}
	if w.Manifest == nil {
		return conflict
	}
	verified, err := VerifyImage(ctx, w.Manifest, w.r, VerifyOptions{Reference: tagged.digest.String()})
	if err != nil {
		return errors.Join(conflict, err)
	}
	if len(verified.Findings) > 0 {
		var why []string
		for _, f := range verified.Findings {
			why = append(why, f.String())
		}
		conflict.Why = "it is not this release (" + strings.Join(why, "; ") + "): delete the tag if it is a mistake, or release a new version"
		return conflict
	}
	index, err := w.r.index(ctx, true, tagged.digest.String())
	if err != nil {
		return err
	}
	w.report.Note = fmt.Sprintf("tag %q is %s, which was assembled in another way than %s; its content is this release, byte for byte, so it stays and gets the floating tags",
		w.exact, tagged.digest, w.digest)
	w.Index, w.digest = index, tagged.digest
	return nil
}

// missing names the first manifest of the index that the repository has not, or
// nothing.
func (w *work) missing(ctx context.Context, there func(context.Context, v1.Hash) (bool, error)) (string, error) {
	im, err := w.Index.IndexManifest()
	if err != nil {
		return "", err
	}
	if ok, err := there(ctx, w.digest); err != nil || !ok {
		return "the index", err
	}
	for _, d := range im.Manifests {
		if ok, err := there(ctx, d.Digest); err != nil || !ok {
			return fmt.Sprintf("the image of %q", d.Platform), err
		}
	}
	return "", nil
}

// there asks for a manifest that is sent if it isn't there, so that nothing has to
// confirm that.
func (w *work) there(ctx context.Context, digest v1.Hash) (bool, error) {
	_, err := w.r.head(ctx, true, digest.String())
	var refused *transport.Error
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return w.r.has(ctx, true, digest)
}

// readBack makes sure that the registry has every manifest that was pushed.
func (w *work) readBack(ctx context.Context) error {
	var what string
	there, err := w.soon(ctx, func() (bool, error) {
		missing, err := w.missing(ctx, func(ctx context.Context, digest v1.Hash) (bool, error) { return w.r.has(ctx, true, digest) })
		what = missing
		return missing == "", err
	})
	if err == nil && !there {
		err = fmt.Errorf("read back %s: %w: the registry accepted it but does not serve it: run it again", what, ErrNotFound)
	}
	return err
}

// soon waits a few times for what was written to be seen: some registries are
// several machines.
func (w *work) soon(ctx context.Context, seen func() (bool, error)) (bool, error) {
	return wire.Until(w.r.o.Tries, seen, func(try int) error { return w.r.o.pause(ctx, try) })
}

// decide says what becomes of each floating tag, from the registry's tags, the
// releases, and what the tags themselves say they name.
func (w *work) decide(ctx context.Context) ([]Step, error) {
	known := append(w.options.Versions(w.listed), w.Known...)
	candidates, err := version.ImageTags(w.Version, known, w.options)
	if err != nil {
		return nil, err
	}
	for _, t := range candidates {
		// One that isn't listed is looked at before it is written.
		if t.Exact || !t.Move || !slices.Contains(w.listed, t.Tag) {
			continue
		}
		f, err := w.r.at(ctx, true, t.Tag)
		if err != nil {
			return nil, err
		}
		w.before[t.Tag] = f
		if f == nil || f.digest == w.digest {
			continue
		}
		// A tag may name a version that has no tag of its own any more.
		if err := w.r.describe(ctx, true, f); err != nil {
			return nil, err
		}
		if v, err := version.Parse(f.annotations[keyVersion]); err == nil {
			known = append(known, v)
		}
	}
	if candidates, err = version.ImageTags(w.Version, known, w.options); err != nil {
		return nil, err
	}
	var steps []Step
	for _, t := range candidates {
		s := Step{Action: ActionMove, Ref: t.Tag, Why: t.Why}
		f := w.before[t.Tag]
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

// tagExact writes the tag of the exact version, if there is still none.
func (w *work) tagExact(ctx context.Context) (bool, error) {
	did, err := w.put(ctx, w.exact, w.Index, func() (bool, error) {
		f, err := w.find(ctx, w.exact)
		if err == nil && f != nil && f.digest != w.digest {
			err = w.rival(f)
		}
		return f == nil, err
	})
	if err != nil || !did {
		return did, err
	}
	there, err := w.soon(ctx, func() (bool, error) { return w.own(ctx) })
	if err == nil && !there {
		err = fmt.Errorf("read back tag %q: %w: the registry accepted it but does not serve it: run it again", w.exact, ErrNotFound)
	}
	return true, err
}

// put makes a tag name an image. Immediately before every try, absent looks
// whether it still is to be written, so that no retry overwrites what another run
// wrote in the meantime.
func (w *work) put(ctx context.Context, tag string, image partial.WithRawManifest, absent func() (bool, error)) (bool, error) {
	for try := 1; ; try++ {
		still, err := absent()
		if err != nil {
			return false, err
		}
		if !still {
			return try > 1, nil // the first try took effect, and its answer was lost
		}
		wrote := w.r.tag(ctx, tag, image)
		if wrote == nil {
			return true, nil
		}
		if try >= w.r.o.Tries || !transient(wrote) {
			still, err := absent()
			if err != nil || still {
				return false, errors.Join(wrote, err)
			}
			return true, nil
		}
		if err := w.r.o.pause(ctx, try); err != nil {
			return false, errors.Join(wrote, err)
		}
	}
}

// own says whether the version's tag names this image. Another one is a
// conflict.
func (w *work) own(ctx context.Context) (bool, error) {
	f, err := w.r.at(ctx, true, w.exact)
	switch {
	case err != nil || f == nil:
		return false, err
	case f.digest != w.digest:
		return false, w.rival(f)
	}
	return true, nil
}

// rival is the conflict with another image of the version, which another run
// published meanwhile.
func (w *work) rival(f *found) error {
	return &ConflictError{Repository: w.r.String(), Tag: w.exact, Have: f.digest.String(), Want: w.digest.String(),
		Why: "another run published it meanwhile; run it again, one at a time"}
}

// move writes a floating tag, unless another run did, or moved it on.
func (w *work) move(ctx context.Context, tag string) (bool, error) {
	return w.put(ctx, tag, w.Index, func() (bool, error) {
		f, err := w.find(ctx, tag)
		if err != nil {
			return false, err
		}
		if f != nil && f.digest == w.digest {
			return false, nil
		}
		was := w.before[tag]
		w.before[tag] = f
		if f == nil || was != nil && was.digest == f.digest {
			return true, nil
		}
		higher, err := w.compare(ctx, f, tag)
		return !higher, err
	})
}

// compare says whether a floating tag, which changed while this run was on its
// way, names a higher version. Another image of the same version means that its
// tag was overwritten, by this run or by the other.
func (w *work) compare(ctx context.Context, f *found, tag string) (higher bool, err error) {
	if err := w.r.describe(ctx, true, f); err != nil {
		return false, err
	}
	v, err := version.Parse(f.annotations[keyVersion])
	if err != nil {
		return false, nil // not ours
	}
	if v.Equal(w.Version) {
		return false, w.rival(f)
	}
	return v.GreaterThan(w.Version) && floats(v, tag, w.options), nil
}

// mostRounds is how often floating tags are repaired before it is left to the
// other runs.
const mostRounds = 10

// settle reads back what was written, and repairs it: between reading and
// writing, another run may have published a higher version, whose image then
// gets the tag, which it may have had before. As a repair is a write like any
// other, it is looked at again, until nothing has to be repaired.
func (w *work) settle(ctx context.Context) error {
	moved := slices.DeleteFunc(slices.Clone(w.report.Done), func(s Step) bool { return s.Action != ActionMove })
	for round := 0; len(moved) > 0; round++ {
		if round == mostRounds {
			return fmt.Errorf("other runs keep moving the floating tags of %q: run it again when they are done", w.r)
		}
		listed, err := w.r.tags(ctx, true)
		if err != nil {
			return err
		}
		known := append(w.options.Versions(listed), w.Known...)
		tags, err := version.ImageTags(w.Version, known, w.options)
		if err != nil {
			return err
		}
		stable := true
		for _, t := range tags {
			if !slices.ContainsFunc(moved, func(s Step) bool { return s.Ref == t.Tag }) {
				continue
			}
			var repaired bool
			if t.Move {
				repaired, err = w.keep(ctx, t.Tag)
			} else {
				repaired, err = w.yield(ctx, t.Tag, highestOf(t.Tag, known, w.options))
			}
			if err != nil {
				return fmt.Errorf("%s %s: %w", ActionMove, t.Tag, err)
			}
			stable = stable && !repaired
		}
		if stable {
			break
		}
	}
	// The version's tag last: whoever lost it must say so.
	there, err := w.own(ctx)
	if err == nil && !there {
		err = fmt.Errorf("read back tag %q: %w: it was deleted meanwhile: run it again", w.exact, ErrNotFound)
	}
	return err
}

// keep makes sure that a floating tag that was moved here is still here, or with
// a higher version.
func (w *work) keep(ctx context.Context, tag string) (repaired bool, err error) {
	var f *found
	there, err := w.soon(ctx, func() (bool, error) {
		if f, err = w.r.at(ctx, true, tag); err != nil || f == nil {
			return false, err
		}
		was := w.before[tag]
		return f.digest == w.digest || was == nil || f.digest != was.digest, nil
	})
	switch {
	case err != nil:
		return false, err
	case !there && f == nil:
		return false, fmt.Errorf("read back tag %q: the registry accepted it but does not serve it: run it again", tag)
	case !there:
		return false, fmt.Errorf("read back tag %q: the registry accepted it, but it still names %s: run it again", tag, f.digest)
	case f.digest == w.digest:
		return false, nil
	}
	if higher, err := w.compare(ctx, f, tag); err != nil || higher {
		return false, err
	}
	return w.move(ctx, tag)
}

// yield gives a floating tag to a higher version that was published meanwhile,
// unless it has it, or a higher one still.
func (w *work) yield(ctx context.Context, tag string, to *semver.Version) (repaired bool, err error) {
	image, err := w.r.descriptor(ctx, true, w.options.Exact(to))
	if errors.Is(err, ErrNotFound) {
		return false, nil // a release whose image is still to come; it will move the tag
	}
	if err != nil {
		return false, err
	}
	repaired, err = w.put(ctx, tag, image, func() (bool, error) {
		f, err := w.r.at(ctx, true, tag)
		if err != nil || f == nil || f.digest == image.Digest {
			return false, err
		}
		if f.digest == w.digest {
			return true, nil
		}
		if err := w.r.describe(ctx, true, f); err != nil {
			return false, err
		}
		v, err := version.Parse(f.annotations[keyVersion])
		return err == nil && v.LessThan(to), nil
	})
	if repaired {
		w.report.Done = append(w.report.Done, Step{ActionMove, tag, w.Version.String(), "version " + to.String() + " was published meanwhile"})
	}
	return repaired, err
}

// highestOf is the highest version that a floating tag may name, or nil.
func highestOf(tag string, known []*semver.Version, o version.TagOptions) *semver.Version {
	var top *semver.Version
	for _, v := range known {
		if floats(v, tag, o) && (top == nil || v.GreaterThan(top)) {
			top = v
		}
	}
	return top
}

// floats says whether a floating tag is among those of a version.
func floats(v *semver.Version, tag string, o version.TagOptions) bool {
	tags, err := version.ImageTags(v, nil, o)
	return err == nil && slices.ContainsFunc(tags, func(t version.ImageTag) bool { return !t.Exact && t.Tag == tag })
}

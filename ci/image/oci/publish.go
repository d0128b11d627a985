package oci

import (
	"cmp"
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

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/version"
	"dagger/gantry/ci/wire"
)

// Action is the action of a step.
type Action string

// The actions, in their order. Keep and Stay do nothing: Keep because nothing is
// missing, and Stay because the tag belongs to a higher version.
const (
	ActionPush   Action = "push"
	ActionSmoke  Action = "smoke-test"
	ActionTag    Action = "tag"
	ActionMove   Action = "move"
	ActionAttach Action = "attach"
	ActionKeep   Action = "keep"
	ActionStay   Action = "stay"
)

// Step is a step of a publication.
type Step struct {
	Action Action `json:"action"`
	// Ref is the tag, the digest or the attached file; empty for the smoke test.
	Ref string `json:"ref,omitempty"`
	// From is the version or the digest that a tag moves from; empty for a new tag.
	From string `json:"from,omitempty"`
	// Why, for people.
	Why string `json:"why"`
}

// Writes reports whether the step changes the registry.
func (s Step) Writes() bool {
	return s.Action == ActionPush || s.Action == ActionTag || s.Action == ActionMove || s.Action == ActionAttach
}

// String renders the step in one line.
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

// ConflictError reports that the tag of an exact version names another image. Such a
// tag is never rewritten: nothing was changed.
type ConflictError struct {
	Repository, Tag string
	// Have is the digest in the registry, and Want the new one.
	Have, Want string
	// Why has the cause and the fix, if known.
	Why string
}

// Error names both digests and the fix.
func (e *ConflictError) Error() string {
	why := cmp.Or(e.Why, "assemble it on the base images of the published image, or release a new version")
	return fmt.Sprintf("tag %q of %q is %s, but the image of this release is %s: a version's tag is never rewritten; %s", e.Tag, e.Repository, e.Have, e.Want, why)
}

// Publication is an image to publish.
type Publication struct {
	// Version of the image.
	Version *semver.Version
	// Index to publish.
	Index v1.ImageIndex
	// Known has the component's released versions, in addition to those of the
	// registry's tags.
	Known []*semver.Version
	// Flagged has the stable versions whose releases are flagged as prereleases; see
	// [version.TagOptions].
	Flagged []*semver.Version
	// Manifest of the release configures tags, and verifies another image with the
	// version's tag. Without it, every other image is a conflict.
	Manifest *manifest.Manifest
	// Attachments of the image, such as the release's [Bills].
	Attachments []Attachment
	// Sign, if set, returns the signatures and the provenance of an index in a
	// repository; see [Signatures]. They are attached before any tag is written.
	Sign func(ctx context.Context, repository string, index v1.ImageIndex) ([]Attachment, error)
	// Smoke, if set, tests the image before any tag is written, at most once.
	Smoke func(context.Context) error
	// DryRun plans and writes nothing.
	DryRun bool
	// Deadline bounds the publication. By default, 30 minutes.
	Deadline time.Duration
}

// Publish publishes an image to repositories, independently of each other: first by
// digest; after the smoke test, the signatures, if any, and the tag of the exact version;
// then the floating tags from narrow to wide, each only if this is the highest version of
// its class; then the attachments, without which the image is complete. It reads
// everything back.
//
// The report is complete also with an error. A re-run resumes, and sends nothing
// twice. The error joins those of the repositories, such as a [*ConflictError],
// [ErrSmoke] or a registry's error.
func Publish(ctx context.Context, p Publication, repositories ...*Repository) (*Report, error) {
	if p.Deadline <= 0 {
		p.Deadline = 30 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.Deadline, fmt.Errorf("the deadline of %s passed: run it again to resume", p.Deadline))
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
			w.report.Stats, w.report.Took = r.Stats().minus(before), time.Since(started).Round(time.Millisecond).String()
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	return report, errors.Join(errs...)
}

// check compares the image's version, if it has one.
func (p Publication) check() error {
	im, err := p.Index.IndexManifest()
	if err != nil {
		return err
	}
	if got := im.Annotations[imagespec.KeyVersion]; got != "" && got != p.Version.String() {
		return fmt.Errorf("the image %w: it is of version %q", published.ErrMismatch, got)
	}
	if len(im.Manifests) == 0 {
		return fmt.Errorf("the image %w: its index is empty", published.ErrMismatch)
	}
	_, err = version.ImageTags(p.Version, nil, p.tags())
	return err
}

// tags returns the configuration of tags.
func (p Publication) tags() version.TagOptions {
	var o version.TagOptions
	if p.Manifest != nil {
		o = p.Manifest.Image.TagOptions()
	}
	o.Flagged = p.Flagged
	return o
}

// work is a publication to a repository.
type work struct {
	Publication
	r      *Repository
	digest v1.Hash
	smoke  func() error
	report *RepositoryReport

	options version.TagOptions
	exact   string
	// listed has the registry's tags at the time of the plan.
	listed []string
	// before has what floating tags named at the time of the plan.
	before map[string]*found
}

func (w *work) run(ctx context.Context) error {
	steps, err := w.plan(ctx)
	if err != nil {
		return err
	}
	pushed := steps[0].Action == ActionKeep
	signed, signing, err := w.planSign(ctx, pushed)
	if err != nil {
		return err
	}
	attached, attaching, err := w.planAttach(ctx, w.Attachments, pushed)
	if err != nil {
		return err
	}
	// Whoever finds the image by a tag finds its signatures.
	tags := slices.IndexFunc(steps, func(s Step) bool { return s.Ref == w.exact })
	w.report.Planned = slices.Concat(steps[:tags], signing, steps[tags:], attaching)
	if w.DryRun {
		return nil
	}
	if err := w.steps(ctx, steps[:tags]); err != nil {
		return err
	}
	if err := w.sign(ctx, signed); err != nil {
		return err
	}
	w.record(signing)
	if err := w.steps(ctx, steps[tags:]); err != nil {
		return err
	}
	if slices.ContainsFunc(steps, Step.Writes) {
		if err := w.repairTags(ctx); err != nil {
			return err
		}
	}
	if err := w.attach(ctx, attached); err != nil {
		return fmt.Errorf("%w: the image and its tags are complete: run it again, or use without-attachments if the registry refuses artifacts", err)
	}
	w.record(attaching)
	return nil
}

// steps carries out steps, and reports them.
func (w *work) steps(ctx context.Context, steps []Step) error {
	for _, s := range steps {
		if err := w.step(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", strings.TrimSpace(string(s.Action)+" "+s.Ref), err)
		}
	}
	return nil
}

// record reports the steps of attachments, which are done.
func (w *work) record(steps []Step) {
	for _, s := range steps {
		if s.Writes() {
			w.report.Done = append(w.report.Done, s)
		} else {
			w.report.Skipped = append(w.report.Skipped, s)
		}
	}
}

// step carries out a step, and reports it.
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
		s.Why = "another run did it or published a higher version in the meantime"
		fallthrough
	default:
		w.report.Skipped = append(w.report.Skipped, s)
	}
	return nil
}

// plan reads the registry and returns the steps.
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
	hasManifest := func(ctx context.Context, digest v1.Hash) (bool, error) { return w.r.hasManifest(ctx, true, digest) }
	switch missing, err := w.missing(ctx, hasManifest); {
	case err != nil:
		return nil, err
	case missing == "":
		push.Action, push.Why = ActionKeep, "the registry has the index and its images"
	default:
		push.Why = "the registry lacks " + missing
	}
	tag := Step{ActionTag, w.exact, "", "the exact version, which is never rewritten"}
	if tagged != nil {
		tag.Action, tag.Why = ActionKeep, "it already names this image"
	}
	floating, err := w.decide(ctx)
	if err != nil {
		return nil, err
	}
	steps := append([]Step{push, tag}, floating...)
	// An adopted image has its version's tag, which only tested images get.
	if w.Smoke != nil && w.report.Note == "" && slices.ContainsFunc(steps[1:], Step.Writes) {
		steps = slices.Insert(steps, 1, Step{Action: ActionSmoke, Why: "only tested images get a tag"})
	}
	return steps, nil
}

// find returns what a tag names, or nil if it is confirmed absent. It reads the whole
// manifest of an unlisted tag, since only the registry's code confirms absence.
func (w *work) find(ctx context.Context, tag string) (*found, error) {
	if slices.Contains(w.listed, tag) {
		return w.r.resolve(ctx, true, tag)
	}
	f, err := w.r.manifest(ctx, true, tag)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return f, err
}

// adopt continues with the image of the version's tag if it is the release byte for
// byte: another version of Gantry, or one on another base image, assembled the same
// binaries into another digest. Every other image is a conflict.
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
	w.report.Note = fmt.Sprintf("tag %q is %s, assembled differently than %s; it is this release, byte for byte, so it stays and gets the floating tags",
		w.exact, tagged.digest, w.digest)
	w.Index, w.digest = index, tagged.digest
	return nil
}

// missing names the first manifest of the index that the repository lacks, or
// returns "".
func (w *work) missing(ctx context.Context, has func(context.Context, v1.Hash) (bool, error)) (string, error) {
	im, err := w.Index.IndexManifest()
	if err != nil {
		return "", err
	}
	if ok, err := has(ctx, w.digest); err != nil || !ok {
		return "the index", err
	}
	for _, d := range im.Manifests {
		if ok, err := has(ctx, d.Digest); err != nil || !ok {
			return fmt.Sprintf("the image of %q", d.Platform), err
		}
	}
	return "", nil
}

// hasManifest asks for a manifest that is sent if missing, so that its absence needs no
// confirmation.
func (r *Repository) hasManifest(ctx context.Context, write bool, digest v1.Hash) (bool, error) {
	_, err := r.head(ctx, write, digest.String())
	var refused *transport.Error
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound:
		return false, nil
	}
	return r.has(ctx, write, digest)
}

// readBack checks that the registry serves every pushed manifest.
func (w *work) readBack(ctx context.Context) error {
	var what string
	visible, err := w.soon(ctx, func() (bool, error) {
		missing, err := w.missing(ctx, func(ctx context.Context, digest v1.Hash) (bool, error) { return w.r.has(ctx, true, digest) })
		what = missing
		return missing == "", err
	})
	if err == nil && !visible {
		err = fmt.Errorf("read back %s: %w: the registry accepted it but does not serve it: run it again", what, ErrNotFound)
	}
	return err
}

// soon waits for a write to be visible: some registries consist of several machines.
func (w *work) soon(ctx context.Context, seen func() (bool, error)) (bool, error) {
	return wire.Until(w.r.o.Tries, seen, func(try int) error { return w.r.o.pause(ctx, try) })
}

// decide returns the steps of the floating tags, from the registry's tags, the
// releases, and the annotations of the images that the tags name.
func (w *work) decide(ctx context.Context) ([]Step, error) {
	known := append(w.options.Versions(w.listed), w.Known...)
	candidates, err := version.ImageTags(w.Version, known, w.options)
	if err != nil {
		return nil, err
	}
	for _, t := range candidates {
		// An unlisted tag is read before it is written.
		if t.Exact || !t.Move || !slices.Contains(w.listed, t.Tag) {
			continue
		}
		f, err := w.r.resolve(ctx, true, t.Tag)
		if err != nil {
			return nil, err
		}
		w.before[t.Tag] = f
		if f == nil || f.digest == w.digest {
			continue
		}
		// A tag may name a version whose exact tag was deleted.
		if err := w.r.describe(ctx, true, f); err != nil {
			return nil, err
		}
		if v, err := version.Parse(f.annotations[imagespec.KeyVersion]); err == nil {
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
			if v := f.annotations[imagespec.KeyVersion]; v != "" {
				s.From = v
			}
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// tagExact writes the tag of the exact version if it is still absent.
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
	visible, err := w.soon(ctx, func() (bool, error) { return w.own(ctx) })
	if err == nil && !visible {
		err = fmt.Errorf("read back tag %q: %w: the registry accepted it but does not serve it: run it again", w.exact, ErrNotFound)
	}
	return true, err
}

// put makes a tag name an image. Immediately before every try, absent checks whether
// the tag must still be written, so that no retry overwrites another run's tag.
func (w *work) put(ctx context.Context, tag string, image partial.WithRawManifest, absent func() (bool, error)) (bool, error) {
	for try := 1; ; try++ {
		needed, err := absent()
		if err != nil {
			return false, err
		}
		if !needed {
			return try > 1, nil // the first try took effect, and its answer was lost
		}
		wrote := w.r.tag(ctx, tag, image)
		if wrote == nil {
			return true, nil
		}
		if try >= w.r.o.Tries || !transient(wrote) {
			needed, err := absent()
			if err != nil || needed {
				return false, errors.Join(wrote, err)
			}
			return true, nil
		}
		if err := w.r.o.pause(ctx, try); err != nil {
			return false, errors.Join(wrote, err)
		}
	}
}

// own reports whether the version's tag names this image. Another image is a conflict.
func (w *work) own(ctx context.Context) (bool, error) {
	f, err := w.r.resolve(ctx, true, w.exact)
	switch {
	case err != nil || f == nil:
		return false, err
	case f.digest != w.digest:
		return false, w.rival(f)
	}
	return true, nil
}

// rival returns the conflict with an image of the version that another run published
// in the meantime.
func (w *work) rival(f *found) error {
	return &ConflictError{Repository: w.r.String(), Tag: w.exact, Have: f.digest.String(), Want: w.digest.String(),
		Why: "another run published it in the meantime: run them again, one at a time"}
}

// move writes a floating tag unless another run did so or moved it to a higher version.
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
		higher, err := w.isHigher(ctx, f, tag)
		return !higher, err
	})
}

// isHigher reports whether a floating tag, which changed during this run, names a
// higher version. Another image of the same version means that either run overwrote
// the other's tag.
func (w *work) isHigher(ctx context.Context, f *found, tag string) (higher bool, err error) {
	if err := w.r.describe(ctx, true, f); err != nil {
		return false, err
	}
	v, err := version.Parse(f.annotations[imagespec.KeyVersion])
	if err != nil {
		return false, nil // not from Gantry
	}
	if v.Equal(w.Version) {
		return false, w.rival(f)
	}
	return v.GreaterThan(w.Version) && floats(v, tag, w.options), nil
}

// mostRounds bounds the rounds of repairs of floating tags.
const mostRounds = 10

// repairTags reads back the written tags and repairs them: between this run's read and
// write, another run may have published a higher version, which must get the tag back.
// It repeats until a round repairs nothing.
func (w *work) repairTags(ctx context.Context) error {
	moved := slices.DeleteFunc(slices.Clone(w.report.Done), func(s Step) bool { return s.Action != ActionMove })
	for round := 0; len(moved) > 0; round++ {
		if round == mostRounds {
			return fmt.Errorf("other runs keep moving the floating tags of %q: run it again after them", w.r)
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
	// A run that lost the version's tag must fail.
	owned, err := w.own(ctx)
	if err == nil && !owned {
		err = fmt.Errorf("read back tag %q: %w: it was deleted in the meantime: run it again", w.exact, ErrNotFound)
	}
	return err
}

// keep moves a floating tag back unless it still names this image or a higher version.
func (w *work) keep(ctx context.Context, tag string) (repaired bool, err error) {
	var f *found
	visible, err := w.soon(ctx, func() (bool, error) {
		if f, err = w.r.resolve(ctx, true, tag); err != nil || f == nil {
			return false, err
		}
		was := w.before[tag]
		return f.digest == w.digest || was == nil || f.digest != was.digest, nil
	})
	switch {
	case err != nil:
		return false, err
	case !visible && f == nil:
		return false, fmt.Errorf("read back tag %q: the registry accepted it but does not serve it: run it again", tag)
	case !visible:
		return false, fmt.Errorf("read back tag %q: the registry accepted it, but it still names %s: run it again", tag, f.digest)
	case f.digest == w.digest:
		return false, nil
	}
	if higher, err := w.isHigher(ctx, f, tag); err != nil || higher {
		return false, err
	}
	return w.move(ctx, tag)
}

// yield moves a floating tag to a higher version that another run published, unless the
// tag names it or an even higher one.
func (w *work) yield(ctx context.Context, tag string, to *semver.Version) (repaired bool, err error) {
	image, err := w.r.descriptor(ctx, true, w.options.Exact(to))
	if errors.Is(err, ErrNotFound) {
		return false, nil // its publication will move the tag
	}
	if err != nil {
		return false, err
	}
	repaired, err = w.put(ctx, tag, image, func() (bool, error) {
		f, err := w.r.resolve(ctx, true, tag)
		if err != nil || f == nil || f.digest == image.Digest {
			return false, err
		}
		if f.digest == w.digest {
			return true, nil
		}
		if err := w.r.describe(ctx, true, f); err != nil {
			return false, err
		}
		v, err := version.Parse(f.annotations[imagespec.KeyVersion])
		return err == nil && v.LessThan(to), nil
	})
	if repaired {
		w.report.Done = append(w.report.Done, Step{ActionMove, tag, w.Version.String(), "version " + to.String() + " was published in the meantime"})
	}
	return repaired, err
}

// highestOf returns the highest version that a floating tag may name, or nil.
func highestOf(tag string, known []*semver.Version, o version.TagOptions) *semver.Version {
	var top *semver.Version
	for _, v := range known {
		if floats(v, tag, o) && (top == nil || v.GreaterThan(top)) {
			top = v
		}
	}
	return top
}

// floats reports whether a version may have a floating tag.
func floats(v *semver.Version, tag string, o version.TagOptions) bool {
	tags, err := version.ImageTags(v, nil, o)
	return err == nil && slices.ContainsFunc(tags, func(t version.ImageTag) bool { return !t.Exact && t.Tag == tag })
}

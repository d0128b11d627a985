package oci

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/published"
)

// Attachment is a file to attach to an image: as an artifact whose subject is a
// manifest of the image, so that tools find it by the manifest and the type.
type Attachment struct {
	// Platform whose manifest is the subject, such as "linux/amd64". Empty for the
	// index.
	Platform string
	// ArtifactType is the file's media type.
	ArtifactType string
	// Name of the file.
	Name string
	// SHA256 of the file, in hexadecimal, and its Size. Without them, the file is made by
	// Read, and the registry lacks it unless it has an Equivalent one.
	SHA256 string
	Size   int64
	// Created is the date of the artifact, RFC 3339, or empty.
	Created string
	// Annotations of the artifact, in addition to the date.
	Annotations map[string]string
	// Equivalent, if set, returns nil for a file of the same type that will do as well.
	Equivalent func([]byte) error
	// Read returns the file. It is called only if a registry lacks the artifact.
	Read func(context.Context) ([]byte, error)
}

// of returns the attachment with the digest and the size of its file.
func (a Attachment) of(file []byte) Attachment {
	sum := sha256.Sum256(file)
	a.SHA256, a.Size = hex.EncodeToString(sum[:]), int64(len(file))
	return a
}

// The configuration of artifacts, which have none.
const (
	emptyConfig  = types.MediaType("application/vnd.oci.empty.v1+json")
	emptyContent = "{}"
)

// maxAttachment bounds an attached file.
const maxAttachment = 64 << 20

// artifact is an attachment with its manifest, which is empty as long as the file is to
// be made.
type artifact struct {
	Attachment
	subject  v1.Descriptor
	manifest []byte
	// entry describes the artifact in a list of referrers.
	entry v1.Descriptor
	// missing reports that the registry lacks it, or doesn't list it.
	missing bool
	// replaced reports that the registry has an equivalent one.
	replaced bool
}

// newArtifact makes the manifest of an attachment. It is the same on every run, as the
// file is known by its digest.
func newArtifact(a Attachment, subject v1.Descriptor) (*artifact, error) {
	if a.SHA256 == "" {
		return &artifact{Attachment: a, subject: subject}, nil
	}
	file, err := v1.NewHash("sha256:" + a.SHA256)
	if err == nil && a.Size > maxAttachment {
		err = fmt.Errorf("it has %d bytes, more than %d", a.Size, maxAttachment)
	}
	if err != nil {
		return nil, fmt.Errorf("attach %q: %w", a.Name, err)
	}
	config, size, err := v1.SHA256(bytes.NewReader([]byte(emptyContent)))
	if err != nil {
		return nil, err
	}
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: a.ArtifactType,
		Config:  v1.Descriptor{MediaType: emptyConfig, Digest: config, Size: size},
		Layers:  []v1.Descriptor{{MediaType: types.MediaType(a.ArtifactType), Digest: file, Size: a.Size, Annotations: map[string]string{imagespec.KeyTitle: a.Name}}},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}
	m.Annotations = maps.Clone(a.Annotations)
	if a.Created != "" {
		if m.Annotations == nil {
			m.Annotations = map[string]string{}
		}
		m.Annotations[imagespec.KeyCreated] = a.Created
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(text))
	return &artifact{Attachment: a, subject: subject, manifest: text, entry: v1.Descriptor{
		MediaType: m.MediaType, Digest: digest, Size: size, ArtifactType: a.ArtifactType, Annotations: m.Annotations,
	}}, err
}

// subject is a manifest of the image, and what to attach to it.
type subject struct {
	platform  string
	digest    v1.Hash
	artifacts []*artifact
}

// name returns the subject's name for people.
func (s *subject) name() string {
	if s.platform == "" {
		return "the index"
	}
	return s.platform
}

// lacks reports whether an artifact is missing.
func (s *subject) lacks() bool {
	return slices.ContainsFunc(s.artifacts, func(a *artifact) bool { return a.missing })
}

// subjectsOf returns what to attach to an index and its images, in the order of the
// attachments.
func subjectsOf(index v1.ImageIndex, attachments []Attachment) ([]*subject, error) {
	whole, err := partial.Descriptor(index)
	if err != nil {
		return nil, err
	}
	im, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	manifests := map[string]v1.Descriptor{"": *whole}
	for _, d := range im.Manifests {
		if d.Platform != nil {
			manifests[d.Platform.String()] = d
		}
	}
	var all []*subject
	for _, a := range attachments {
		d, ok := manifests[a.Platform]
		if !ok {
			return nil, fmt.Errorf("attach %q: the image %w: it lacks platform %q", a.Name, published.ErrMismatch, a.Platform)
		}
		made, err := newArtifact(a, d)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(s *subject) bool { return s.platform == a.Platform })
		if i < 0 {
			i, all = len(all), append(all, &subject{platform: a.Platform, digest: d.Digest})
		}
		all[i].artifacts = append(all[i].artifacts, made)
	}
	return all, nil
}

// missingOf finds which artifacts of a subject in the repository are missing.
func (r *Repository) missingOf(ctx context.Context, write bool, s *subject) error {
	list, err := r.referrers(ctx, write, s.digest)
	if err != nil {
		return err
	}
	for _, a := range s.artifacts {
		a.missing = a.manifest == nil || !list.has(a.entry.Digest)
		if a.missing && a.Equivalent != nil {
			if a.replaced, err = r.hasEquivalent(ctx, write, s.digest, list, a); err != nil {
				return err
			}
			a.missing = !a.replaced
		}
		if a.missing || a.replaced || list.api {
			continue
		}
		// The clients' list may name what the registry has lost.
		has, err := r.hasManifest(ctx, write, a.entry.Digest)
		if err != nil {
			return err
		}
		a.missing = !has
	}
	return nil
}

// planAttach returns what to attach, and its steps. An image that has yet to be pushed
// has nothing attached.
func (w *work) planAttach(ctx context.Context, attachments []Attachment, pushed bool) ([]*subject, []Step, error) {
	if len(attachments) == 0 {
		return nil, nil, nil
	}
	subjects, err := subjectsOf(w.Index, attachments)
	if err != nil {
		return nil, nil, err
	}
	var steps []Step
	for _, s := range subjects {
		for _, a := range s.artifacts {
			a.missing = true
		}
		if pushed {
			if err := w.r.missingOf(ctx, true, s); err != nil {
				return nil, nil, err
			}
		}
		for _, a := range s.artifacts {
			step := Step{Action: ActionAttach, Ref: a.Name, Why: fmt.Sprintf("%s lacks this %s", s.name(), a.ArtifactType)}
			if !a.missing {
				step.Action, step.Why = ActionKeep, s.name()+" has it"
			}
			steps = append(steps, step)
		}
		s.artifacts = slices.DeleteFunc(s.artifacts, func(a *artifact) bool { return a.replaced })
	}
	return subjects, steps, nil
}

// attach sends the missing artifacts, and then lists them.
func (w *work) attach(ctx context.Context, subjects []*subject) error {
	lacking := slices.DeleteFunc(slices.Clone(subjects), func(s *subject) bool { return !s.lacks() })
	if len(lacking) == 0 {
		return nil
	}
	options, err := w.r.options(ctx, true)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(options...)
	if err != nil {
		return err
	}
	for _, s := range lacking {
		for _, a := range s.artifacts {
			if !a.missing {
				continue
			}
			if err := a.make(ctx); err != nil {
				return fmt.Errorf("%s for %s: %w", a.Name, s.name(), err)
			}
			if err := w.r.pushArtifact(ctx, pusher, a); err != nil {
				return fmt.Errorf("%s %s to %s: %w", ActionAttach, a.Name, s.name(), err)
			}
		}
	}
	return w.list(ctx, lacking)
}

// make makes the file, unless that is done.
func (a *artifact) make(ctx context.Context) error {
	if a.manifest != nil {
		return nil
	}
	file, err := a.Read(ctx)
	if err != nil {
		return err
	}
	attachment := a.of(file)
	attachment.Read = func(context.Context) ([]byte, error) { return file, nil }
	made, err := newArtifact(attachment, a.subject)
	if err == nil {
		made.missing = a.missing
		*a = *made
	}
	return err
}

// pushArtifact sends an artifact's blobs, except for those that exist, and then its
// manifest.
func (r *Repository) pushArtifact(ctx context.Context, pusher *remote.Pusher, a *artifact) error {
	content, err := a.Read(ctx)
	if err != nil {
		return err
	}
	if digest, size, err := v1.SHA256(bytes.NewReader(content)); err != nil || digest.Hex != a.SHA256 || size != a.Size {
		return errors.Join(err, fmt.Errorf("it %w: it has %d bytes with SHA-256 %s", published.ErrMismatch, size, digest.Hex))
	}
	for _, blob := range []v1.Layer{static.NewLayer([]byte(emptyContent), emptyConfig), static.NewLayer(content, types.MediaType(a.ArtifactType))} {
		if err := pusher.Upload(ctx, r.repo, blob); err != nil {
			return hint(err)
		}
	}
	for try := 1; ; try++ {
		err := r.put(ctx, a.entry.Digest.String(), types.OCIManifestSchema1, a.manifest, nil)
		if try >= r.o.Tries || !transient(err) {
			return hint(err)
		}
		if err := r.o.pause(ctx, try); err != nil {
			return err
		}
	}
}

// list waits until the artifacts are listed. Where the registry keeps no list, it adds
// them to the clients', and reads that again: another client may have written what it
// read before. It repeats until a round changes nothing.
func (w *work) list(ctx context.Context, subjects []*subject) error {
	for round, failures := 1, 0; ; round++ {
		var lacks *subject
		var failed error
		for _, s := range subjects {
			complete, write, err := w.enlist(ctx, s)
			switch {
			case err != nil:
				return err
			case write != nil && failed == nil:
				failed = fmt.Errorf("list what is attached to %s: %w", s.name(), write)
			}
			if failed != nil && !transient(failed) {
				return failed
			}
			if !complete {
				lacks = cmp.Or(lacks, s)
			}
		}
		switch {
		case lacks == nil:
			return nil
		case round == mostRounds:
			return cmp.Or(failed, fmt.Errorf("read back what is attached to %s: %w: the registry accepted it but does not list it", lacks.name(), ErrNotFound))
		case failed == nil:
			failures = 0
		default:
			if failures++; failures >= w.r.o.Tries {
				return failed
			}
		}
		if round > 1 || failed != nil {
			if err := w.r.o.pause(ctx, round); err != nil {
				return err
			}
		}
	}
}

// enlist adds what a subject's list lacks, and reports whether it lacked nothing. The
// first error is that of the write, which may have taken effect all the same.
func (w *work) enlist(ctx context.Context, s *subject) (complete bool, write, err error) {
	list, err := w.r.referrers(ctx, true, s.digest)
	if err != nil {
		return false, nil, err
	}
	var lacking []v1.Descriptor
	for _, a := range s.artifacts {
		if !list.has(a.entry.Digest) {
			lacking = append(lacking, a.entry)
		}
	}
	if len(lacking) > 0 && !list.api {
		if write = list.put(ctx, w.r, s.digest, lacking); errors.Is(write, errConflict) {
			write = nil // the next round adds to what the other client wrote
		}
	}
	return len(lacking) == 0, write, nil
}

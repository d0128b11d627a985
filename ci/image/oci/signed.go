package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// Annotations that cosign gives to the bundles that it attaches.
const (
	keyBundleContent = "dev.sigstore.bundle.content"
	keyPredicateType = "dev.sigstore.bundle.predicateType"
)

// Names of the attached bundles.
const (
	signatureName  = "signature.sigstore.json"
	provenanceName = "provenance.sigstore.json"
)

// Signatures returns a function for [Publication.Sign]: it signs the image of each
// platform and then the index, and attaches the provenance to each. Where the same signer
// and image don't give the same bytes in every run, it signs what is missing only.
func Signatures(r *published.Release, by attest.Signer) func(context.Context, string, v1.ImageIndex) ([]Attachment, error) {
	return func(ctx context.Context, repository string, index v1.ImageIndex) ([]Attachment, error) {
		image, err := imageOf(r.Manifest, index)
		if err != nil {
			return nil, err
		}
		image.Repository, image.ManifestSHA256, image.Settings = repository, r.ManifestSHA256, r.Override
		verifier := by.Author.Verifier()
		// One statement serves all: it is about the index and each image.
		provenance := sync.OnceValues(func() ([]byte, error) { return by.SignProvenance(ctx, image) })
		var all []Attachment
		add := func(platform string) error {
			digest := image.Digests[platform]
			signature, err := bundleOf(ctx, by, Attachment{
				Name: signatureName, Annotations: map[string]string{keyPredicateType: attest.SignPredicateType},
				Equivalent: func(text []byte) error {
					return attest.CheckType(ctx, verifier, text, digest, attest.SignPredicateType)
				},
				Read: func(ctx context.Context) ([]byte, error) { return by.SignDigest(ctx, digest) },
			})
			if err != nil {
				return err
			}
			attached, err := bundleOf(ctx, by, Attachment{
				Name: provenanceName, Annotations: map[string]string{keyPredicateType: attest.ProvenancePredicateType},
				Equivalent: func(text []byte) error {
					_, err := image.CheckProvenance(ctx, verifier, text)
					return err
				},
				Read: func(context.Context) ([]byte, error) { return provenance() },
			})
			for _, a := range []Attachment{signature, attached} {
				a.Platform, a.Created = platform, r.Manifest.CommitDate
				all = append(all, a)
			}
			return err
		}
		for _, platform := range sortedKeys(image.Digests) {
			if platform != "" {
				err = errors.Join(err, add(platform))
			}
		}
		return all, errors.Join(err, add(""))
	}
}

// bundleOf completes a bundle as cosign attaches it. One that is the same in every run is
// made now, and any other once a registry lacks it.
func bundleOf(ctx context.Context, by attest.Signer, a Attachment) (Attachment, error) {
	a.ArtifactType = attest.BundleType
	a.Annotations[keyBundleContent] = "dsse-envelope"
	if !by.Author.Repeats() {
		return a, nil
	}
	text, err := a.Read(ctx)
	if err != nil {
		return a, err
	}
	a.Read = func(context.Context) ([]byte, error) { return text, nil }
	return a.of(text), nil
}

// imageOf returns what the provenance of an index is about.
func imageOf(m *manifest.Manifest, index v1.ImageIndex) (attest.Image, error) {
	image := attest.Image{Manifest: m, Digests: map[string]string{}, Bases: map[string]string{}, Archives: map[string]manifest.Asset{}}
	digest, err := index.Digest()
	if err != nil {
		return image, err
	}
	image.Digests[""] = digest.Hex
	im, err := index.IndexManifest()
	if err != nil {
		return image, err
	}
	for _, d := range im.Manifests {
		if d.Platform != nil {
			image.Digests[d.Platform.String()] = d.Digest.Hex
		}
	}
	pins, err := PinsOf(index)
	if err != nil {
		return image, err
	}
	for platform, pin := range pins {
		image.Bases[platform] = pin.Name + "@" + pin.Digest
	}
	choices, err := imagespec.Choose(m)
	for _, c := range choices {
		image.Archives[c.Platform] = c.Asset
	}
	return image, err
}

// planSign returns what signs the image, and its steps.
func (w *work) planSign(ctx context.Context, pushed bool) ([]*subject, []Step, error) {
	if w.Sign == nil {
		return nil, nil, nil
	}
	signatures, err := w.Sign(ctx, w.r.String(), w.Index)
	if err != nil {
		return nil, nil, fmt.Errorf("sign: %w", err)
	}
	return w.planAttach(ctx, signatures, pushed)
}

// sign attaches what signs the image. The index is last, so that its signature tells that
// the images of all platforms have theirs.
func (w *work) sign(ctx context.Context, subjects []*subject) error {
	for _, s := range subjects {
		if err := w.attach(ctx, []*subject{s}); err != nil {
			return fmt.Errorf("sign: %w: no tag was written: run it again", err)
		}
	}
	return nil
}

// hasEquivalent reports whether the registry has another artifact that will do as well.
func (r *Repository) hasEquivalent(ctx context.Context, write bool, subject v1.Hash, list *referrers, a *artifact) (bool, error) {
	for _, d := range list.entries {
		if !mayBe(d.ArtifactType, a.ArtifactType) {
			continue
		}
		text, err := r.readBundle(ctx, write, d.Digest, subject)
		switch {
		case err != nil && !damaged(err):
			return false, err
		case err == nil && text != nil && a.Equivalent(text) == nil:
			return true, nil
		}
	}
	return false, nil
}

// mayBe reports whether an artifact that is listed with a type may have another.
func mayBe(listed, want string) bool { return listed == want || untyped(listed) }

// untyped reports whether a list doesn't tell the type of an artifact. Some registries
// list the configuration's type instead, or none.
func untyped(listed string) bool { return listed == "" || listed == string(emptyConfig) }

// readBundle reads a bundle that is attached to a manifest; nil for another artifact.
func (r *Repository) readBundle(ctx context.Context, write bool, digest, subject v1.Hash) ([]byte, error) {
	m, err := r.artifactOf(ctx, write, digest.String(), subject)
	if err != nil || m == nil || m.ArtifactType != attest.BundleType {
		return nil, err
	}
	if len(m.Layers) != 1 || m.Layers[0].Size > attest.MaxSize {
		return nil, fmt.Errorf("it is not one file of at most %d bytes", attest.MaxSize)
	}
	var text bytes.Buffer
	err = r.copyBlob(ctx, write, m.Layers[0], &text)
	return text.Bytes(), err
}

// signed finds what is attached to the index, and verifies its signature and provenance
// if the caller says who must have signed it.
func (v *verifier) signed(ctx context.Context, r *Repository, index v1.ImageIndex) error {
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	list, err := r.referrers(ctx, false, digest)
	if err != nil {
		return err
	}
	image := attest.Image{}
	if v.options.By != nil {
		if image, err = imageOf(v.m, index); err != nil {
			return err
		}
		image.ManifestSHA256 = v.options.ManifestSHA256
	}
	var signature, provenance string
	var refused []string
	for _, d := range list.entries {
		a := Attached{ArtifactType: d.ArtifactType, Digest: d.Digest.String()}
		if mayBe(d.ArtifactType, attest.BundleType) {
			if err := v.bundle(ctx, r, &a, digest, image); err != nil {
				return err
			}
			switch a.predicate {
			case attest.SignPredicateType:
				signature = a.Digest
			case attest.ProvenancePredicateType:
				provenance = a.Digest
			}
			if a.Damage != "" {
				refused = append(refused, fmt.Sprintf("%s: %s", a.Digest, a.Damage))
			}
		}
		v.result.Attached = append(v.result.Attached, a)
	}
	if v.options.By == nil {
		return nil
	}
	why := "nothing else is attached as " + attest.BundleType
	if len(refused) > 0 {
		why = strings.Join(refused, "; ")
	}
	if signature == "" {
		v.find("the index has no signature by the %s: %s", v.options.By.Who(), why)
	}
	if provenance == "" {
		v.find("the index has no provenance by the %s: %s", v.options.By.Who(), why)
	}
	return nil
}

// bundle reads a bundle that is attached to a manifest of the image, and verifies it if
// the caller says who must have signed it.
func (v *verifier) bundle(ctx context.Context, r *Repository, a *Attached, subject v1.Hash, image attest.Image) error {
	by := v.options.By
	var text []byte
	err := v.again(ctx, func() (err error) {
		digest, err := v1.NewHash(a.Digest)
		if err == nil {
			text, err = r.readBundle(ctx, false, digest, subject)
		}
		return err
	})
	switch {
	case err != nil && !damaged(err):
		return err
	case err != nil:
		a.Damage = err.Error()
		return nil
	case text == nil:
		return nil
	}
	a.ArtifactType = attest.BundleType
	if by == nil {
		a.Signed = "not checked: pass --verification-key or --certificate-identity"
		return nil
	}
	predicateType, err := attest.VerifyDigest(ctx, by, text, subject.Hex)
	builder := ""
	if err == nil && predicateType == attest.ProvenancePredicateType && subject.Hex == image.Digests[""] {
		builder, err = image.CompareProvenance(text)
	}
	if err != nil {
		a.Damage = err.Error()
		return nil
	}
	a.predicate, a.Signed = predicateType, fmt.Sprintf("signed by the %s, with the predicate %s", by.Who(), predicateType)
	if builder != "" {
		a.Signed += " of the builder " + builder
	}
	return nil
}

// lackOfSignature returns what the index of a published image lacks of its signature and
// provenance, or "".
func (r *Repository) lackOfSignature(ctx context.Context, by attest.Verifier, digest v1.Hash) (string, error) {
	if by == nil {
		return "", nil
	}
	list, err := r.referrers(ctx, false, digest)
	if err != nil {
		return "", err
	}
	have := map[string]bool{}
	for _, d := range list.entries {
		if !mayBe(d.ArtifactType, attest.BundleType) {
			continue
		}
		text, err := r.readBundle(ctx, false, d.Digest, digest)
		if err != nil && !damaged(err) {
			return "", err
		}
		if predicateType, err := attest.VerifyDigest(ctx, by, text, digest.Hex); err == nil {
			have[predicateType] = true
		}
	}
	switch {
	case !have[attest.SignPredicateType]:
		return fmt.Sprintf("the image is not signed by the %s", by.Who()), nil
	case !have[attest.ProvenancePredicateType]:
		return fmt.Sprintf("the image has no provenance by the %s", by.Who()), nil
	}
	return "", nil
}

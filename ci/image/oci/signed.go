package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

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
// platform and then the index, and attaches the provenance to each. The same signer and
// image give the same bytes in every run.
func Signatures(r *published.Release, by attest.Signer) func(string, v1.ImageIndex) ([]Attachment, error) {
	return func(repository string, index v1.ImageIndex) ([]Attachment, error) {
		image, err := imageOf(r.Manifest, index)
		if err != nil {
			return nil, err
		}
		image.Repository, image.ManifestSHA256, image.Settings = repository, r.ManifestSHA256, r.Override
		provenance, err := by.SignProvenance(image)
		if err != nil {
			return nil, err
		}
		public := by.Key.Public()
		var all []Attachment
		add := func(platform string) error {
			digest := image.Digests[platform]
			signature, err := by.Key.SignDigest(digest)
			if err != nil {
				return err
			}
			all = append(all, bundleOf(platform, signatureName, attest.SignPredicateType, r.Manifest.CommitDate, signature, func(text []byte) error {
				return public.CheckType(text, digest, attest.SignPredicateType)
			}), bundleOf(platform, provenanceName, attest.ProvenancePredicateType, r.Manifest.CommitDate, provenance, func(text []byte) error {
				_, err := image.CheckProvenance(public, text)
				return err
			}))
			return nil
		}
		for _, platform := range sortedKeys(image.Digests) {
			if platform != "" {
				err = errors.Join(err, add(platform))
			}
		}
		return all, errors.Join(err, add(""))
	}
}

// bundleOf is a bundle as cosign attaches it.
func bundleOf(platform, name, predicateType, created string, text []byte, equivalent func([]byte) error) Attachment {
	sum := sha256.Sum256(text)
	return Attachment{
		Platform: platform, ArtifactType: attest.BundleType, Name: name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text)), Created: created,
		Annotations: map[string]string{keyBundleContent: "dsse-envelope", keyPredicateType: predicateType},
		Equivalent:  equivalent,
		Read:        func(context.Context) ([]byte, error) { return text, nil },
	}
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
	signatures, err := w.Sign(w.r.String(), w.Index)
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
// if there is a key.
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
	if v.options.Key != nil {
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
	if v.options.Key == nil {
		return nil
	}
	why := "nothing else is attached as " + attest.BundleType
	if len(refused) > 0 {
		why = strings.Join(refused, "; ")
	}
	if signature == "" {
		v.find("the index has no signature by the key %s: %s", v.options.Key, why)
	}
	if provenance == "" {
		v.find("the index has no provenance by the key %s: %s", v.options.Key, why)
	}
	return nil
}

// bundle reads a bundle that is attached to a manifest of the image, and verifies it if
// there is a key.
func (v *verifier) bundle(ctx context.Context, r *Repository, a *Attached, subject v1.Hash, image attest.Image) error {
	key := v.options.Key
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
	if key == nil {
		a.Signed = "not checked: pass --verification-key"
		return nil
	}
	predicateType, err := key.VerifyDigest(text, subject.Hex)
	builder := ""
	if err == nil && predicateType == attest.ProvenancePredicateType && subject.Hex == image.Digests[""] {
		builder, err = image.CheckProvenance(key, text)
	}
	if err != nil {
		a.Damage = err.Error()
		return nil
	}
	a.predicate, a.Signed = predicateType, fmt.Sprintf("signed by the key %s, with the predicate %s", key, predicateType)
	if builder != "" {
		a.Signed += " of the builder " + builder
	}
	return nil
}

// lackOfSignature returns what the index of a published image lacks of the signature and
// the provenance by a key, or "".
func (r *Repository) lackOfSignature(ctx context.Context, key *attest.PublicKey, digest v1.Hash) (string, error) {
	if key == nil {
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
		if predicateType, err := key.VerifyDigest(text, digest.Hex); err == nil {
			have[predicateType] = true
		}
	}
	switch {
	case !have[attest.SignPredicateType]:
		return fmt.Sprintf("the image is not signed by the key %s", key), nil
	case !have[attest.ProvenancePredicateType]:
		return fmt.Sprintf("the image has no provenance by the key %s", key), nil
	}
	return "", nil
}

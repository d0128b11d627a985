package oci

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/published"
)

// billTypes has the media types of bills of materials, by the ends of their names.
var billTypes = map[string]string{
	".cdx.json":  "application/vnd.cyclonedx+json",
	".spdx.json": "application/spdx+json",
}

// Bills returns the bills of materials of a release, as attachments of its image: each
// for the platform whose archive it is about. It leaves out formats that it doesn't know.
func Bills(r *published.Release) ([]Attachment, error) {
	choices, err := imagespec.Choose(r.Manifest)
	if err != nil {
		return nil, err
	}
	var all []Attachment
	for _, c := range choices {
		for _, a := range billsFor(r.Manifest, c) {
			asset, _ := r.Manifest.AssetByName(a.Name)
			a.Read = func(ctx context.Context) ([]byte, error) {
				var content bytes.Buffer
				err := r.Copy(ctx, asset, &content)
				return content.Bytes(), err
			}
			all = append(all, a)
		}
	}
	return all, nil
}

// billsFor returns the bills of materials of a platform's archive, without a way to read
// them.
func billsFor(m *manifest.Manifest, c imagespec.Choice) []Attachment {
	var all []Attachment
	for _, a := range m.Assets {
		if a.Kind != manifest.KindSBOM || a.Target != c.Target {
			continue
		}
		for _, end := range sortedKeys(billTypes) {
			if strings.HasSuffix(a.Name, end) {
				all = append(all, Attachment{
					Platform: c.Platform, ArtifactType: billTypes[end], Name: a.Name, SHA256: a.SHA256, Size: a.Size, Created: m.CommitDate,
				})
			}
		}
	}
	return all
}

// Attached is an artifact that is attached to the image of a platform.
type Attached struct {
	Platform string `json:"platform"`
	// ArtifactType is its media type, and Digest that of its manifest.
	ArtifactType string `json:"artifactType"`
	Digest       string `json:"digest"`
	// Asset of the release with the same content; empty for another artifact.
	Asset string `json:"asset,omitempty"`
	// Damage of its content, if any.
	Damage string `json:"damage,omitempty"`
	// Signed tells, for people, by which key a signature is, or that it was not checked.
	Signed string `json:"signed,omitempty"`

	// predicate is the type of a verified statement.
	predicate string
}

// String renders the artifact in one line.
func (a Attached) String() string {
	of := "not from the release"
	switch {
	case a.Asset != "":
		of = "the release's " + a.Asset
	case a.Damage != "" && a.ArtifactType == attest.BundleType:
		of = "which does not verify: " + a.Damage
	case a.Damage != "":
		of = "which is damaged: " + a.Damage
	case a.Signed != "":
		of = a.Signed
	}
	return fmt.Sprintf("%s: attached %s %s, %s", cmp.Or(a.Platform, "the index"), a.ArtifactType, a.Digest, of)
}

// attached finds what is attached to the images of an index, and compares it with the
// release's bills of materials.
func (v *verifier) attached(ctx context.Context, r *Repository, index v1.ImageIndex, choices []imagespec.Choice) error {
	im, err := index.IndexManifest()
	if err != nil {
		return err
	}
	defer func() { v.platform = "" }()
	for _, c := range choices {
		v.platform = c.Platform
		for _, d := range im.Manifests {
			if d.Platform == nil || d.Platform.String() != c.Platform {
				continue
			}
			if err := v.attachedTo(ctx, r, d.Digest, c); err != nil {
				return fmt.Errorf("platform %q: %w", c.Platform, err)
			}
		}
	}
	return nil
}

func (v *verifier) attachedTo(ctx context.Context, r *Repository, subject v1.Hash, c imagespec.Choice) error {
	list, err := r.referrers(ctx, false, subject)
	if err != nil {
		return err
	}
	bills := billsFor(v.m, c)
	if v.options.SBOMs && len(bills) == 0 {
		v.find("the release has no bill of materials of %q: release a new version, without sbom = false", c.Archive)
	}
	have := map[string]bool{}
	for _, d := range list.entries {
		a := Attached{Platform: c.Platform, ArtifactType: d.ArtifactType, Digest: d.Digest.String()}
		if err := v.identify(ctx, r, &a, subject, bills); err != nil {
			return err
		}
		if mayBe(a.ArtifactType, attest.BundleType) && a.Asset == "" && a.Damage == "" {
			if err := v.bundle(ctx, r, &a, subject, attest.Image{}); err != nil {
				return err
			}
		}
		have[a.Asset] = true
		v.result.Attached = append(v.result.Attached, a)
	}
	for _, bill := range bills {
		if v.options.SBOMs && !have[bill.Name] {
			v.find("%s is not attached: publish the image again", bill.Name)
		}
	}
	return nil
}

// identify finds the bill of materials that an artifact of the subject has, and reads it.
func (v *verifier) identify(ctx context.Context, r *Repository, a *Attached, subject v1.Hash, bills []Attachment) error {
	if !untyped(a.ArtifactType) && !slices.ContainsFunc(bills, func(b Attachment) bool { return b.ArtifactType == a.ArtifactType }) {
		return nil
	}
	err := v.again(ctx, func() error {
		m, err := r.artifactOf(ctx, false, a.Digest, subject)
		if err != nil || m == nil {
			return err
		}
		a.ArtifactType = m.ArtifactType
		for _, b := range bills {
			if b.ArtifactType == m.ArtifactType && len(m.Layers) == 1 && m.Layers[0].Digest.String() == "sha256:"+b.SHA256 {
				if err := r.copyBlob(ctx, false, v1.Descriptor{Digest: m.Layers[0].Digest, Size: b.Size}, io.Discard); err != nil {
					return err
				}
				a.Asset = b.Name
			}
		}
		return nil
	})
	if err != nil && damaged(err) {
		a.Damage, err = err.Error(), nil
	}
	return err
}

// artifactOf reads the manifest of an artifact, or nil if its subject is another one.
func (r *Repository) artifactOf(ctx context.Context, write bool, digest string, subject v1.Hash) (*v1.Manifest, error) {
	d, err := r.descriptor(ctx, write, digest)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(d.Manifest))
	if err != nil || m.Subject == nil || m.Subject.Digest != subject {
		return nil, err
	}
	return m, nil
}

// copyBlob reads a blob, and compares its digest and size.
func (r *Repository) copyBlob(ctx context.Context, write bool, d v1.Descriptor, to io.Writer) error {
	options, err := r.options(ctx, write)
	if err != nil {
		return err
	}
	layer, err := remote.Layer(r.repo.Digest(d.Digest.String()), options...)
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	n, err := io.Copy(to, io.LimitReader(content, d.Size+1))
	if err == nil && n != d.Size {
		err = fmt.Errorf("blob %s does not have %d bytes", d.Digest, d.Size)
	}
	return err
}

package published

import (
	"context"
	"fmt"
	"strings"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// isSignature reports whether an asset signs the release. The manifest and SHA256SUMS
// don't list it, since it is about them.
func (r *Release) isSignature(name string) bool {
	return name == attest.SignatureName || name == r.attested().ProvenanceName()
}

func (r *Release) attested() attest.Release {
	return attest.Release{Manifest: r.Manifest, SumsText: r.sums}
}

// checkSignatures verifies the signature and the provenance of a release, which must
// have both. Without a verifier, it only notes which it has.
func (v *Verification) checkSignatures(ctx context.Context, r *Release, assets []github.RemoteAsset, by attest.Verifier) error {
	if by == nil {
		var names []string
		for _, a := range assets {
			if r.isSignature(a.Name) {
				names = append(names, a.Name)
			}
		}
		if len(names) == 0 {
			v.Notes = append(v.Notes, "not signed: the release has no "+attest.SignatureName)
		} else {
			v.Notes = append(v.Notes, fmt.Sprintf("not checked: %s: pass --verification-key or --certificate-identity to verify who made the release", strings.Join(names, " and ")))
		}
		return nil
	}
	before := len(v.Findings)
	if err := v.add(r.checkBundle(ctx, attest.SignatureName, func(text []byte) error {
		return r.attested().CheckSignature(ctx, by, text)
	})); err != nil {
		return err
	}
	var builder string
	if err := v.add(r.checkBundle(ctx, r.attested().ProvenanceName(), func(text []byte) (err error) {
		builder, err = r.attested().CheckProvenance(ctx, by, text)
		return err
	})); err != nil {
		return err
	}
	if len(v.Findings) == before {
		v.Notes = append(v.Notes, fmt.Sprintf("signed: %s by the %s, with provenance of the builder %s", manifest.SumsName, by.Who(), builder))
	}
	return nil
}

// checkBundle reads an asset and checks it.
func (r *Release) checkBundle(ctx context.Context, name string, check func([]byte) error) error {
	text, err := read(ctx, r.assets, name, attest.MaxSize)
	if err != nil {
		return err
	}
	if err := check(text); err != nil {
		return wrong(name, "does not verify: %w", err)
	}
	return nil
}

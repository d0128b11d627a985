package published

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// checkAttestation compares an immutable release with GitHub's attestation of it, and
// waits for the attestation of a new release. It doesn't verify the signature: only gh
// knows and updates the roots of GitHub's certificates, so the note has gh's command.
// GitHub attests no mutable release, so those cost no request.
func (v *Verification) checkAttestation(ctx context.Context, client *github.Client, owner, name string, rel *github.Release, r *Release) error {
	if !rel.Immutable {
		return nil
	}
	object, err := client.TagObject(ctx, owner, name, rel.Tag)
	if errors.Is(err, github.ErrNotFound) {
		return nil // checkTag reports it
	}
	if err != nil {
		return err
	}
	repository := owner + "/" + name
	if host := client.Host(); host != "github.com" {
		repository = host + "/" + repository
	}
	command := fmt.Sprintf("gh release verify %s --repo %s", rel.Tag, repository)
	a, err := client.ReleaseAttestation(ctx, owner, name, rel, object)
	switch {
	case errors.Is(err, github.ErrUnread):
		v.note("not compared: %v; try: %s", err, command)
	case err != nil:
		return err
	case a == nil:
		v.note("not attested: GitHub has no attestation of this immutable release: run verify-release again later, with a token that may read attestations; a GitHub Enterprise Server attests no release")
	case v.compareAttestation(a, rel.Assets, r, object):
		v.note("GitHub attested the release: its tag and %d assets; verify the signature with: %s", len(a.Assets), command)
	}
	return nil
}

func (v *Verification) note(format string, args ...any) {
	v.Notes = append(v.Notes, fmt.Sprintf(format, args...))
}

// compareAttestation reports whether GitHub attested exactly this release. Each
// difference is a finding.
func (v *Verification) compareAttestation(a *github.Attestation, assets []github.RemoteAsset, r *Release, object string) bool {
	before := len(v.Findings)
	if a.Object != object {
		v.wrong("GitHub attested tag %q at %s, but it is at %s", v.Tag, a.Object, object)
	}
	extra := maps.Clone(a.Assets)
	for _, x := range assets {
		attested, known := a.Assets[x.Name]
		delete(extra, x.Name)
		switch want := r.digestOf(x); {
		case x.State != "uploaded":
			// The manifest lists it as missing, or nobody lists it.
		case !known:
			v.wrong("asset %q is not in GitHub's attestation of the release", x.Name)
		case want != "" && attested != want:
			v.wrong("asset %q has SHA-256 %s, but GitHub attested %s", x.Name, want, attested)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		v.wrong("asset %q is in GitHub's attestation of the release, but not in the release", name)
	}
	return len(v.Findings) == before
}

// digestOf returns the SHA-256 that an asset of the release must have: the one that
// its content was compared with, or for an asset that the manifest doesn't list, the
// one that GitHub knows, if any.
func (r *Release) digestOf(a github.RemoteAsset) string {
	if listed, ok := r.Manifest.AssetByName(a.Name); ok {
		return listed.SHA256
	}
	switch a.Name {
	case manifest.FileName:
		return r.ManifestSHA256
	case manifest.SumsName:
		sum := sha256.Sum256(r.sums)
		return hex.EncodeToString(sum[:])
	}
	return a.SHA256
}

package release

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// bundle is an asset that signs the release.
type bundle struct {
	name string
	sign func() ([]byte, error)
	// verify returns nil for an earlier one that will do as well.
	verify func([]byte) error
}

// sign adds the signature and the provenance to the assets of a release, if somebody
// signs it. It returns a note for the report. earlier returns the content of an asset that
// GitHub has, or nil.
func (w *workspace) sign(ctx context.Context, r Request, host string, m *manifest.Manifest, spec *github.Spec, opts PublishOptions, earlier func(name string) ([]byte, error)) (note string, err error) {
	if opts.Author == nil {
		return "not signed: pass --signing-key or --oidc-request-url for a signature and provenance", nil
	}
	sums, err := os.ReadFile(filepath.Join(distDir, manifest.SumsName))
	if err != nil {
		return "", err
	}
	release, verifier := attest.Release{Manifest: m, SumsText: sums}, opts.Author.Verifier()
	statement, err := release.Statement(attest.Build{
		Repository: fmt.Sprintf("https://%s/%s/%s", host, spec.Owner, spec.Repo), Lock: w.project.Lock,
		Builder: opts.Builder, Version: opts.Version,
		Given: attest.Given{Dist: len(r.Parts) > 0, Binaries: r.BinaryTargets, Files: r.FileNames},
	})
	if err != nil {
		return "", err
	}
	for _, b := range []bundle{{
		name:   attest.SignatureName,
		sign:   func() ([]byte, error) { return opts.Author.SignFile(ctx, sums) },
		verify: func(text []byte) error { return release.CheckSignature(ctx, verifier, text) },
	}, {
		name: release.ProvenanceName(),
		sign: func() ([]byte, error) { return opts.Author.SignStatement(ctx, statement) },
		verify: func(text []byte) error {
			_, err := release.CheckProvenance(ctx, verifier, text)
			return err
		},
	}} {
		asset, err := b.asset(opts, earlier)
		if err != nil {
			return "", err
		}
		spec.Assets = append(spec.Assets, asset)
	}
	builder := statement.Predicate.RunDetails.Builder.ID
	if builder == attest.LocalBuilder {
		builder = "local: pass --builder to name a CI"
	}
	return fmt.Sprintf("signed with the %s; builder %s", verifier.Who(), builder), nil
}

// asset returns the asset. An earlier one that verifies is kept, and nothing is signed for
// it; nor is anything if it differs and won't be replaced, or in a dry run, unless signing
// leaves no trace.
func (b bundle) asset(opts PublishOptions, earlier func(name string) ([]byte, error)) (github.Asset, error) {
	asset := github.Asset{Name: b.name, ContentType: contentType(b.name), Equivalent: b.verify}
	if !opts.Author.Repeats() {
		text, err := earlier(b.name)
		switch {
		case err != nil:
			return asset, err
		case text != nil && b.verify(text) == nil:
			return withContent(asset, text), nil
		case opts.DryRun || text != nil && opts.Existing != github.ExistingReplace:
			return asset, nil
		}
	}
	text, err := b.sign()
	return withContent(asset, text), err
}

func withContent(a github.Asset, text []byte) github.Asset {
	sum := sha256.Sum256(text)
	a.Size, a.SHA256 = int64(len(text)), hex.EncodeToString(sum[:])
	a.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	return a
}

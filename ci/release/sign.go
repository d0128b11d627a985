package release

import (
	"bytes"
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

// sign adds the signature and the provenance to the assets of a release, if there is a
// key. It returns a note for the report. host is that of the GitHub with the release.
func (w *workspace) sign(r Request, host string, m *manifest.Manifest, spec *github.Spec, opts PublishOptions) (note string, err error) {
	if opts.Key == nil {
		return "not signed: pass --signing-key for a signature and provenance", nil
	}
	sums, err := os.ReadFile(filepath.Join(distDir, manifest.SumsName))
	if err != nil {
		return "", err
	}
	release, public := attest.Release{Manifest: m, SumsText: sums}, opts.Key.Public()
	signature, err := opts.Key.SignFile(sums)
	if err != nil {
		return "", err
	}
	statement, err := release.Statement(attest.Build{
		Repository: fmt.Sprintf("https://%s/%s/%s", host, spec.Owner, spec.Repo), Lock: w.project.Lock,
		Builder: opts.Builder, Version: opts.Version,
		Given: attest.Given{Dist: len(r.Parts) > 0, Binaries: r.BinaryTargets, Files: r.FileNames},
	})
	if err != nil {
		return "", err
	}
	provenance, err := opts.Key.SignStatement(statement)
	if err != nil {
		return "", err
	}
	spec.Assets = append(spec.Assets,
		bundleAsset(attest.SignatureName, signature, func(text []byte) error { return release.CheckSignature(public, text) }),
		bundleAsset(release.ProvenanceName(), provenance, func(text []byte) error {
			_, err := release.CheckProvenance(public, text)
			return err
		}))
	builder := statement.Predicate.RunDetails.Builder.ID
	if builder == attest.LocalBuilder {
		builder = "local: pass --builder to name a CI"
	}
	return fmt.Sprintf("signed with the key %s; builder %s", public, builder), nil
}

// bundleAsset is a signature. An earlier one that verifies is kept.
func bundleAsset(name string, text []byte, verify func([]byte) error) github.Asset {
	sum := sha256.Sum256(text)
	return github.Asset{
		Name: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:]), ContentType: contentType(name), Equivalent: verify,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil },
	}
}

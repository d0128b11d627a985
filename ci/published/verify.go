package published

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/wire"
)

// Verification reports how a published release compares with its manifest.
type Verification struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Assets counts the downloaded assets, and Bytes their bytes.
	Assets   int      `json:"assets"`
	Bytes    int64    `json:"bytes"`
	Findings []string `json:"findings"`
	// Notes tell who signed the release, or what was not checked.
	Notes []string `json:"notes,omitempty"`
}

// Text renders the result for people.
func (v *Verification) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s: %d assets, %d bytes\n", v.Tag, v.Repository, v.Assets, v.Bytes)
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "wrong: %s\n", f)
	}
	if len(v.Findings) == 0 {
		b.WriteString("verified: every asset matches SHA256SUMS and release-manifest.json, every archive contains exactly the listed files, and the tag is at the manifest's commit\n")
	}
	for _, n := range v.Notes {
		fmt.Fprintln(&b, n)
	}
	return b.String()
}

// Err returns an error that lists the findings, or nil.
func (v *Verification) Err() error {
	if len(v.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("release %q of %s does not match its manifest:\n- %s", v.Tag, v.Repository, strings.Join(v.Findings, "\n- "))
}

func (v *Verification) wrong(format string, args ...any) {
	v.Findings = append(v.Findings, fmt.Sprintf(format, args...))
}

// add makes a finding of an error that reports a mismatch, and returns any other:
// a failed read proves nothing about the release.
func (v *Verification) add(err error) error {
	if errors.Is(err, ErrMismatch) || errors.Is(err, github.ErrDiffers) {
		v.wrong("%v", err)
		return nil
	}
	return err
}

// Verify downloads every asset of a published release and compares it with the
// manifest and SHA256SUMS. With a verifier, it also verifies the release's signature and
// provenance. An error means that something could not be read; a mismatch is a finding.
func Verify(ctx context.Context, client *github.Client, owner, name, tag string, by attest.Verifier) (*Verification, error) {
	rel, err := client.Published(ctx, owner, name, tag)
	if err != nil {
		return nil, err
	}
	v := &Verification{Repository: owner + "/" + name, Tag: tag, Findings: []string{}}
	r, err := load(ctx, &counted{&remote{client, owner, name, rel.Assets}, v})
	if errors.Is(err, errMissing) {
		err = fmt.Errorf("%w, so nothing can be verified: Gantry did not make the release, or it was changed", err)
	}
	if err := v.add(err); err != nil || r == nil {
		return v, err
	}
	if r.Manifest.Tag != tag {
		v.wrong("%s is for tag %q", manifest.FileName, r.Manifest.Tag)
	}
	if err := v.checkTag(ctx, client, owner, name, r.Manifest.Commit); err != nil {
		return nil, err
	}
	for _, a := range rel.Assets {
		_, known := r.Manifest.AssetByName(a.Name)
		if !known && a.Name != manifest.FileName && a.Name != manifest.SumsName && !r.isSignature(a.Name) {
			v.wrong("asset %q is not listed in %s", a.Name, manifest.FileName)
		}
	}
	for _, a := range r.Manifest.Assets {
		if err := v.add(r.check(ctx, a)); err != nil {
			return nil, err
		}
	}
	if err := v.checkAttestation(ctx, client, owner, name, rel, r); err != nil {
		return nil, err
	}
	return v, v.checkSignatures(ctx, r, rel.Assets, by)
}

// counted counts downloads in a verification.
type counted struct {
	*remote
	v *Verification
}

func (c *counted) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	content, size, err := c.remote.Open(ctx, name)
	if err == nil {
		c.v.Assets++
		content = wire.Counted(content, func(n int) { c.v.Bytes += int64(n) })
	}
	return content, size, err
}

// checkTag compares the tag's commit with the commit that the assets were built
// from.
func (v *Verification) checkTag(ctx context.Context, client *github.Client, owner, name, built string) error {
	commit, err := client.TagCommit(ctx, owner, name, v.Tag)
	switch {
	case errors.Is(err, github.ErrNotFound):
		v.wrong("tag %q is gone: the release was built from commit %s", v.Tag, built)
	case err != nil:
		return err
	case commit != built:
		v.wrong("tag %q was moved: it is at commit %s, but the release was built from %s", v.Tag, commit, built)
	}
	return nil
}

// check compares an asset, and the files of an archive, with the manifest.
func (r *Release) check(ctx context.Context, a manifest.Asset) error {
	if a.Kind != manifest.KindArchive {
		return r.Copy(ctx, a, io.Discard)
	}
	f, err := r.Fetch(ctx, a, "")
	if err != nil {
		return err
	}
	return errors.Join(checkArchive(f, a), f.Close())
}

// checkArchive compares an archive with the manifest: it has exactly the listed
// files, each with its digest, size and mode.
func checkArchive(r io.ReaderAt, a manifest.Asset) error {
	type content struct {
		sha256, mode string
		size         int64
	}
	listed := map[string]content{}
	for _, b := range a.Binaries {
		listed[b.Path] = content{b.SHA256, "0755", b.Size}
	}
	for _, f := range a.Files {
		listed[f.Path] = content{f.SHA256, f.Mode, f.Size}
	}
	format, err := archive.FormatOf(a.Name)
	if err != nil {
		return wrong(a.Name, "is not an archive: %w", err)
	}
	var errs []error
	err = archive.Walk(r, a.Size, format, archive.Limits{}, func(f archive.File, body io.Reader) error {
		h := sha256.New()
		n, err := io.Copy(h, body)
		if err != nil {
			return err
		}
		got := content{hex.EncodeToString(h.Sum(nil)), fmt.Sprintf("%04o", f.Mode.Perm()), n}
		want, known := listed[f.Path]
		delete(listed, f.Path)
		switch {
		case !known:
			errs = append(errs, wrong(a.Name, "contains %q, which %s does not list", f.Path, manifest.FileName))
		case got != want:
			errs = append(errs, wrong(a.Name, "contains %q with %d bytes, SHA-256 %s and mode %s, but %s lists %d bytes, %s and %s",
				f.Path, got.size, got.sha256, got.mode, manifest.FileName, want.size, want.sha256, want.mode))
		}
		return nil
	})
	if err != nil {
		errs = append(errs, wrong(a.Name, "is invalid: %w", err))
	}
	for _, path := range slices.Sorted(maps.Keys(listed)) {
		errs = append(errs, wrong(a.Name, "lacks %q", path))
	}
	return errors.Join(errs...)
}

// Package verify checks a published release from the outside, as its users
// see it.
//
// It is pure but for what it is handed to read with, and never writes. It keeps
// two invariants: a release about which it reports nothing was downloaded whole,
// and everything that its files say of each other was compared; and what it could
// not read is an error, never a finding.
package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/dist"
)

// Result is what a verification found.
type Result struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Assets counts the assets that were downloaded, Bytes their bytes.
	Assets int   `json:"assets"`
	Bytes  int64 `json:"bytes"`
	// Findings are what is wrong.
	Findings []string `json:"findings"`
}

// Text renders the result for people.
func (r *Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s: %d assets, %d bytes\n", r.Tag, r.Repository, r.Assets, r.Bytes)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "wrong: %s\n", f)
	}
	if len(r.Findings) == 0 {
		b.WriteString("verified: every asset is what SHA256SUMS and release-manifest.json say, every archive holds what the manifest says, and the tag is at the manifest's commit\n")
	}
	return b.String()
}

// Err returns an error that lists the findings, nil if there are none.
func (r *Result) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("release %q of %s is not what it says:\n- %s", r.Tag, r.Repository, strings.Join(r.Findings, "\n- "))
}

func (r *Result) wrong(format string, args ...any) {
	r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
}

// release is a published release that is being verified.
type release struct {
	*Result
	client      *github.Client
	owner, name string
	assets      []github.RemoteAsset
}

// Release downloads every asset of a published release and compares. An error
// means that it could not be checked; what is wrong with the release is in the
// result.
func Release(ctx context.Context, client *github.Client, owner, name, tag string) (*Result, error) {
	published, err := client.Published(ctx, owner, name, tag)
	if err != nil {
		return nil, err
	}
	r := &release{&Result{Repository: owner + "/" + name, Tag: tag, Findings: []string{}}, client, owner, name, published.Assets}
	m, err := r.manifest(ctx)
	if err != nil || m == nil {
		return r.Result, err
	}
	if m.Tag != tag {
		r.wrong("%s is that of tag %q", manifest.FileName, m.Tag)
	}
	if err := r.checkTag(ctx, m); err != nil {
		return nil, err
	}
	for _, a := range r.assets {
		_, known := m.AssetByName(a.Name)
		if !known && a.Name != manifest.FileName && a.Name != manifest.SumsName {
			r.wrong("asset %q is not listed in %s", a.Name, manifest.FileName)
		}
	}
	for _, want := range m.Assets {
		if err := r.checkAsset(ctx, want); err != nil {
			return nil, err
		}
	}
	return r.Result, nil
}

// manifest reads the manifest and SHA256SUMS and compares them. It returns nil
// if there is nothing to go on with.
func (r *release) manifest(ctx context.Context) (*manifest.Manifest, error) {
	var texts [2]bytes.Buffer
	for i, name := range []string{manifest.FileName, manifest.SumsName} {
		a, found := r.find(name)
		if !found {
			r.wrong("%s is missing, so nothing can be verified: the release was not made by Gantry, or was changed", name)
			return nil, nil
		}
		if a.Size > manifest.MaxSize {
			r.wrong("%s has %d bytes, more than %d", name, a.Size, manifest.MaxSize)
			return nil, nil
		}
		switch err := r.read(ctx, a, &texts[i]); {
		case errors.Is(err, github.ErrDiffers):
			r.wrong("%v", err)
			return nil, nil
		case err != nil:
			return nil, err
		}
	}
	m, err := manifest.Parse(texts[0].Bytes())
	if err != nil {
		r.wrong("%s: %v", manifest.FileName, err)
		return nil, nil
	}
	if err := dist.CheckSums(texts[1].Bytes(), texts[0].Bytes(), m); err != nil {
		r.wrong("%v", err)
	}
	return m, nil
}

// checkTag compares the tag's commit with the one that the assets were built
// from.
func (r *release) checkTag(ctx context.Context, m *manifest.Manifest) error {
	commit, err := r.client.TagCommit(ctx, r.owner, r.name, r.Tag)
	switch {
	case errors.Is(err, github.ErrNotFound):
		r.wrong("tag %q is gone: the release was built from commit %s", r.Tag, m.Commit)
	case err != nil:
		return err
	case commit != m.Commit:
		r.wrong("tag %q was moved: it is at commit %s, but the release was built from %s", r.Tag, commit, m.Commit)
	}
	return nil
}

// checkAsset compares one asset with what the manifest says of it.
func (r *release) checkAsset(ctx context.Context, want manifest.Asset) error {
	a, found := r.find(want.Name)
	switch {
	case !found:
		r.wrong("asset %q is missing", want.Name)
		return nil
	case a.SHA256 != "" && a.SHA256 != want.SHA256:
		r.wrong("asset %q: GitHub has sha256 %s, the manifest %s", want.Name, a.SHA256, want.SHA256)
		return nil
	case a.Size != want.Size:
		r.wrong("asset %q: GitHub has %d bytes, the manifest %d", want.Name, a.Size, want.Size)
		return nil
	}
	a.SHA256 = want.SHA256
	f, err := os.CreateTemp("", "asset-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	switch err := r.read(ctx, a, f); {
	case errors.Is(err, github.ErrDiffers):
		r.wrong("%v", err)
		return nil
	case err != nil:
		return err
	}
	if want.Kind != manifest.KindArchive {
		return nil
	}
	if err := dist.CheckArchive(f, want); err != nil {
		r.wrong("%v", err)
	}
	return nil
}

// find returns an asset by name. One whose upload was never finished does not
// count.
func (r *release) find(name string) (github.RemoteAsset, bool) {
	i := slices.IndexFunc(r.assets, func(a github.RemoteAsset) bool { return a.Name == name && a.State == "uploaded" })
	if i < 0 {
		return github.RemoteAsset{}, false
	}
	return r.assets[i], true
}

// read downloads an asset. [github.ErrDiffers] says that it is not what it should
// be; any other error, that it could not be read.
func (r *release) read(ctx context.Context, a github.RemoteAsset, w io.Writer) error {
	body, err := r.client.Download(ctx, r.owner, r.name, a)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, body)
	_ = body.Close() // what was read is what counts
	r.Assets++
	r.Bytes += n
	return err
}

// Package verify checks a published release from the outside, as its users
// see it.
//
// It is pure but for what it is handed to read with, and never writes. It
// keeps one invariant: a release about which it reports nothing was downloaded
// whole, and everything that its files say of each other was compared.
package verify

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"dagger/gantry/ci/dist"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// Result of a verification.
type Result struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Assets that were downloaded, and their bytes.
	Assets int   `json:"assets"`
	Bytes  int64 `json:"bytes"`
	// Findings are what is wrong.
	Findings []string `json:"findings"`
}

// Text is the result for people.
func (r *Result) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s: %d assets, %d bytes\n", r.Tag, r.Repository, r.Assets, r.Bytes)
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "wrong: %s\n", f)
	}
	if len(r.Findings) == 0 {
		b.WriteString("verified: every asset is what SHA256SUMS and release-manifest.json say, and every archive holds what the manifest says\n")
	}
	return b.String()
}

// Err is nil when nothing is wrong.
func (r *Result) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return fmt.Errorf("release %q of %s is not what it says:\n- %s", r.Tag, r.Repository, strings.Join(r.Findings, "\n- "))
}

// Release downloads every asset of a published release into a temporary folder
// and compares. An error means that it could not be checked; what is wrong
// with the release is in the result.
func Release(ctx context.Context, client *github.Client, owner, name, tag string) (*Result, error) {
	r := &Result{Repository: owner + "/" + name, Tag: tag, Findings: []string{}}
	rel, err := client.Published(ctx, owner, name, tag)
	if err != nil {
		return nil, err
	}
	wrong := func(format string, args ...any) { r.Findings = append(r.Findings, fmt.Sprintf(format, args...)) }
	find := func(name string) (github.RemoteAsset, bool) {
		i := slices.IndexFunc(rel.Assets, func(a github.RemoteAsset) bool { return a.Name == name })
		if i < 0 {
			return github.RemoteAsset{}, false
		}
		return rel.Assets[i], true
	}
	read := func(a github.RemoteAsset, w io.Writer) error {
		body, err := client.Download(ctx, owner, name, a)
		if err != nil {
			return err
		}
		n, err := io.Copy(w, body)
		_ = body.Close() // what was read is what counts
		r.Assets++
		r.Bytes += n
		return err
	}
	var texts [2]bytes.Buffer
	for i, name := range []string{manifest.FileName, manifest.SumsName} {
		a, found := find(name)
		if !found {
			wrong("%s is missing, so nothing can be verified: the release was not made by Gantry, or was changed", name)
			return r, nil
		}
		if a.Size > manifest.MaxSize {
			wrong("%s has %d bytes, more than %d", name, a.Size, manifest.MaxSize)
			return r, nil
		}
		if err := read(a, &texts[i]); err != nil {
			return nil, err
		}
	}
	m, err := manifest.Parse(texts[0].Bytes())
	if err != nil {
		wrong("%s: %v", manifest.FileName, err)
		return r, nil
	}
	if m.Tag != tag {
		wrong("%s is that of tag %q", manifest.FileName, m.Tag)
	}
	if err := dist.CheckSums(texts[1].Bytes(), texts[0].Bytes(), m); err != nil {
		wrong("%v", err)
	}
	for _, a := range rel.Assets {
		_, known := m.AssetByName(a.Name)
		if !known && a.Name != manifest.FileName && a.Name != manifest.SumsName {
			wrong("asset %q is in no list of the release", a.Name)
		}
	}
	for _, want := range m.Assets {
		a, found := find(want.Name)
		if !found {
			wrong("asset %q is missing", want.Name)
			continue
		}
		if a.SHA256 != "" && a.SHA256 != want.SHA256 {
			wrong("asset %q: GitHub says sha256 %s, the manifest %s", want.Name, a.SHA256, want.SHA256)
			continue
		}
		if a.Size != want.Size {
			wrong("asset %q: GitHub says %d bytes, the manifest %d", want.Name, a.Size, want.Size)
			continue
		}
		a.SHA256 = want.SHA256
		if err := check(want, func(w io.Writer) error { return read(a, w) }); err != nil {
			wrong("%v", err)
		}
	}
	return r, nil
}

// check downloads one asset and looks into it if it is an archive.
func check(want manifest.Asset, read func(io.Writer) error) error {
	f, err := os.CreateTemp("", "asset-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := read(f); err != nil {
		return err
	}
	if want.Kind != manifest.KindArchive {
		return nil
	}
	return dist.CheckArchive(f, want)
}

// Package published reads a published release for the second phase.
//
// It is pure but for the client that it is handed, and only reads. It keeps one
// invariant: a release that [Open] returns is complete, by its own manifest.
package published

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/oci"
	"dagger/gantry/ci/version"
)

// Release is a published release and what its component released besides.
type Release struct {
	*oci.Release
	Event event.Event
	// Known are the versions of the component's other published releases.
	Known []*semver.Version
}

// Options of [Open].
type Options struct {
	// Wait is how long to wait for a release to be complete. Zero does not wait.
	Wait time.Duration
	// Sleep waits; by default, by the clock. Progress is told why.
	Sleep    func(context.Context, time.Duration) error
	Progress func(why string)
}

// poll is how often an incomplete release is looked at again.
const poll = 5 * time.Second

// Open reads the release that an event is about. A release that is not
// published yet, or lacks an asset that its manifest names, is waited for; the
// error says what is missing in the end.
func Open(ctx context.Context, client *github.Client, e event.Event, o Options) (*Release, error) {
	owner, name, _ := strings.Cut(e.Repository, "/")
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	for waited := time.Duration(0); ; waited += poll {
		r, missing, err := open(ctx, client, owner, name, e)
		if err != nil || missing == "" {
			if err == nil {
				r.Known, err = Versions(ctx, client, owner, name, r.Manifest)
			}
			return r, err
		}
		if waited >= o.Wait {
			return nil, fmt.Errorf("release %q of %s is not complete: %s; run it again when it is", e.Tag, e.Repository, missing)
		}
		if o.Progress != nil {
			o.Progress(missing)
		}
		if err := o.Sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// open reads the release once, and says what is missing.
func open(ctx context.Context, client *github.Client, owner, name string, e event.Event) (_ *Release, missing string, _ error) {
	rel, err := client.Published(ctx, owner, name, e.Tag)
	if errors.Is(err, github.ErrNotFound) {
		return nil, "it is not published", nil
	}
	if err != nil {
		return nil, "", err
	}
	assets := assets{client, owner, name, rel.Assets}
	for _, needed := range []string{manifest.FileName, manifest.SumsName} {
		if _, found := assets.find(needed); !found {
			return nil, fmt.Sprintf("asset %q is missing", needed), nil
		}
	}
	loaded, err := oci.Load(ctx, assets)
	if err != nil {
		return nil, "", err
	}
	if err := e.Match(loaded.Manifest, loaded.ManifestSHA256); err != nil {
		return nil, "", err
	}
	var lacks []string
	for _, a := range loaded.Manifest.Assets {
		if _, found := assets.find(a.Name); !found {
			lacks = append(lacks, fmt.Sprintf("%q", a.Name))
		}
	}
	if len(lacks) > 0 {
		return nil, "assets are missing: " + strings.Join(lacks, ", "), nil
	}
	return &Release{Release: loaded, Event: e}, "", nil
}

// Versions of the component's published releases, other than this one.
func Versions(ctx context.Context, client *github.Client, owner, name string, m *manifest.Manifest) ([]*semver.Version, error) {
	releases, err := client.LatestReleases(ctx, owner, name, github.MaxReleases, nil)
	if err != nil {
		return nil, fmt.Errorf("list the releases of %s/%s: %w", owner, name, err)
	}
	var known []*semver.Version
	for _, r := range releases {
		if v, ok := VersionOf(m, r.Tag); ok && r.Tag != m.Tag {
			known = append(known, v)
		}
	}
	return known, nil
}

// VersionOf reads the version out of a tag of the manifest's component: one with
// the same prefix, and nothing but a version after it.
func VersionOf(m *manifest.Manifest, tag string) (*semver.Version, bool) {
	prefix := strings.TrimSuffix(m.Tag, m.Version)
	prefix = strings.TrimSuffix(prefix, "v")
	rest, ok := strings.CutPrefix(tag, prefix)
	if !ok {
		return nil, false
	}
	v, err := version.Parse(rest)
	return v, err == nil
}

// assets reads the files of a release by name.
type assets struct {
	client      *github.Client
	owner, name string
	list        []github.RemoteAsset
}

func (a assets) find(name string) (github.RemoteAsset, bool) {
	i := slices.IndexFunc(a.list, func(r github.RemoteAsset) bool { return r.Name == name && r.State == "uploaded" })
	if i < 0 {
		return github.RemoteAsset{}, false
	}
	return a.list[i], true
}

// Open downloads an asset.
func (a assets) Open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	asset, found := a.find(name)
	if !found {
		return nil, 0, fmt.Errorf("asset %q is missing", name)
	}
	body, err := a.client.Download(ctx, a.owner, a.name, asset)
	return body, asset.Size, err
}

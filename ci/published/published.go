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
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/version"
)

// Release is a published release and what its component released besides.
type Release struct {
	*oci.Release
	Event event.Event
	// Known are the versions of the component's other published releases.
	Known []*semver.Version
	// Flagged are those of the component's stable versions, this one's among
	// them, whose releases GitHub flags as prereleases: they are out, and are
	// promoted later. None of them is known.
	Flagged []*semver.Version

	// flagged is GitHub's flag of this very release.
	flagged bool
}

// Promoted says whether GitHub does not flag the release as a prerelease, or
// its version is one.
func (r *Release) Promoted() bool {
	return !slices.ContainsFunc(r.Flagged, r.Version().Equal)
}

// Request says which release is meant: by a tag or by an event, not both.
type Request struct {
	// Repository is "owner/name".
	Repository string
	Tag        string
	// Event is the file of GitHub's event; nil when there is none.
	Event []byte
}

// Options of [Open].
type Options struct {
	// Wait is how long to wait for a release to be complete. Zero does not wait.
	Wait time.Duration
	// Settings replace image settings of the release; see [Settings.Text].
	Settings string
	// Sleep waits; by default, by the clock. Progress is told why.
	Sleep    func(context.Context, time.Duration) error
	Progress func(why string)
}

// poll is how often an incomplete release is looked at again.
const poll = 5 * time.Second

// Find reads the release that is asked for. Only that of an event is waited
// for: it is about to be complete, whereas a tag that isn't there is a mistake.
// An error for which [event.Skipped] holds leaves nothing to do.
func Find(ctx context.Context, client *github.Client, q Request, o Options) (*Release, error) {
	switch {
	case q.Tag != "" && q.Event != nil:
		return nil, errors.New("--tag and --event are mutually exclusive: pass one of them")
	case q.Tag == "" && q.Event == nil:
		return nil, errors.New("no release is named: pass --tag or --event")
	case q.Event == nil:
		e, err := event.FromTag(q.Repository, q.Tag)
		if err != nil {
			return nil, err
		}
		o.Wait = 0
		return Open(ctx, client, e, o)
	}
	e, err := event.Parse(q.Event, event.Expect{Repository: q.Repository})
	var other *event.RepositoryError
	if errors.As(err, &other) {
		if err := same(ctx, client, other); err != nil {
			return nil, err
		}
		e, err = event.Parse(q.Event, event.Expect{})
	}
	if err != nil {
		return nil, err
	}
	return Open(ctx, client, e, o)
}

// same makes sure that two names are of one repository. A repository that was
// renamed or transferred keeps its old names until another takes them: GitHub's
// number decides.
func same(ctx context.Context, client *github.Client, e *event.RepositoryError) error {
	var ids []int64
	for _, slug := range []string{e.Got, e.Want} {
		owner, name, _ := strings.Cut(slug, "/")
		id, err := client.RepositoryID(ctx, owner, name)
		if errors.Is(err, github.ErrNotFound) {
			return e
		}
		if err != nil {
			return fmt.Errorf("%w, and whether both are names of one repository is unknown: %w", e, err)
		}
		ids = append(ids, id)
	}
	if ids[0] != ids[1] {
		return e
	}
	return nil
}

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
		if err != nil {
			return nil, err
		}
		if missing == "" || missing == stillFlagged && waited >= o.Wait { // or it is flagged again
			if err := r.override(o.Settings); err != nil {
				return nil, err
			}
			if err := r.history(ctx, client, owner, name); err != nil {
				return nil, err
			}
			return r, nil
		}
		if missing == unpublished && e.Source == event.SourceRun {
			return nil, fmt.Errorf("%w: %q of %s, on which the workflow ran", event.ErrNotPublished, e.Tag, e.Repository)
		}
		if waited >= o.Wait {
			return nil, fmt.Errorf("release %q of %s is not complete: %s: check the tag, or retry when the release is complete", e.Tag, e.Repository, missing)
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

// unpublished is what a release lacks that can't be found.
const unpublished = "it is not published"

// stillFlagged is what is waited for when GitHub announced that a release is no
// prerelease, and doesn't show it yet.
const stillFlagged = "GitHub lists it as a prerelease"

// open reads the release once, and says what is missing.
func open(ctx context.Context, client *github.Client, owner, name string, e event.Event) (_ *Release, missing string, _ error) {
	rel, err := client.Published(ctx, owner, name, e.Tag)
	if errors.Is(err, github.ErrNotFound) {
		return nil, unpublished, nil
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
	if err := match(ctx, client, e, loaded.Manifest, loaded.ManifestSHA256); err != nil {
		return nil, "", err
	}
	if lacks := assets.lacks(loaded.Manifest); len(lacks) > 0 {
		return nil, "assets are missing: " + strings.Join(lacks, ", "), nil
	}
	if e.Released && rel.Prerelease {
		missing = stillFlagged
	}
	return &Release{Release: loaded, Event: e, flagged: rel.Prerelease}, missing, nil
}

// match compares an event with a manifest, which may have a name that the
// repository had before.
func match(ctx context.Context, client *github.Client, e event.Event, m *manifest.Manifest, sha256 string) error {
	err := e.Match(m, sha256)
	var other *event.RepositoryError
	if !errors.As(err, &other) {
		return err
	}
	if err := same(ctx, client, other); err != nil {
		return err
	}
	e.Repository = other.Got
	return e.Match(m, sha256)
}

// history reads the component's other releases.
func (r *Release) history(ctx context.Context, client *github.Client, owner, name string) error {
	releases, err := client.LatestReleases(ctx, owner, name, github.MaxReleases, nil)
	if err != nil {
		return fmt.Errorf("list the releases of %s/%s: %w", owner, name, err)
	}
	r.among(releases)
	return nil
}

// among finds the component's versions among the releases.
func (r *Release) among(releases []*github.Release) {
	r.Known, r.Flagged = nil, nil
	if r.flagged && r.Version().Prerelease() == "" {
		r.Flagged = append(r.Flagged, r.Version())
	}
	for _, other := range releases {
		v, ok := VersionOf(r.Manifest, other.Tag)
		switch {
		case !ok || other.Tag == r.Manifest.Tag:
		case other.Prerelease && v.Prerelease() == "":
			r.Flagged = append(r.Flagged, v)
		default:
			r.Known = append(r.Known, v)
		}
	}
}

// VersionOf reads the version out of a tag of the manifest's component: one with
// the same prefix, and nothing but a version after it.
func VersionOf(m *manifest.Manifest, tag string) (*semver.Version, bool) {
	rest, ok := strings.CutPrefix(tag, prefixOf(m.Tag, m.Version))
	if !ok {
		return nil, false
	}
	v, err := version.Parse(rest)
	return v, err == nil
}

// prefixOf is what a tag has before its version, "v" not counted.
func prefixOf(tag, version string) string {
	return strings.TrimSuffix(strings.TrimSuffix(tag, version), "v")
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

// lacks names the manifest's assets that are not there, quoted.
func (a assets) lacks(m *manifest.Manifest) []string {
	var names []string
	for _, asset := range m.Assets {
		if _, found := a.find(asset.Name); !found {
			names = append(names, fmt.Sprintf("%q", asset.Name))
		}
	}
	return names
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

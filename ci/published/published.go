// Package published reads and verifies published releases, from GitHub or from a
// directory.
//
// It belongs to neither phase. It only reads, and keeps two invariants: a release
// that [Open] returns is complete by its own manifest, and no caller gets bytes
// of an asset as good that differ from the manifest and SHA256SUMS.
package published

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/version"
	"dagger/gantry/ci/wire"
)

// Release is a published release whose manifest and checksums agree.
type Release struct {
	Manifest *manifest.Manifest
	// ManifestSHA256 is the digest of the manifest's file, in hexadecimal.
	ManifestSHA256 string
	// Override holds the image settings that replaced the manifest's, as JSON, or
	// is empty. Manifest has them applied.
	Override string
	// Known lists the versions of the component's other published releases.
	Known []*semver.Version
	// Flagged lists the component's stable versions, possibly this one, whose
	// releases GitHub flags as prereleases: they await promotion. Known excludes
	// them.
	Flagged []*semver.Version

	assets Assets
	// sums is the text of SHA256SUMS.
	sums []byte
	// prerelease is GitHub's flag of this release.
	prerelease bool
}

// Version returns the version of the release.
func (r *Release) Version() *semver.Version { return semver.MustParse(r.Manifest.Version) }

// ExactTag returns the image tag that names the version.
func (r *Release) ExactTag() string { return r.TagOptions().Exact(r.Version()) }

// TagOptions returns the configuration of the image's tags.
func (r *Release) TagOptions() version.TagOptions {
	o := r.Manifest.Image.TagOptions()
	o.Flagged = r.Flagged
	return o
}

// Request names a release by an event or, without one, by a tag.
type Request struct {
	// Repository is "owner/name".
	Repository string
	Tag        string
	// Event is the content of the file that $GITHUB_EVENT_PATH names, or nil.
	Event []byte
}

// Options configure [Open].
type Options struct {
	// Wait bounds the wait for a complete release. Zero does not wait.
	Wait time.Duration
	// Settings replace image settings of the release; see [Settings.Text].
	Settings string
	// Sleep waits; by default, by the clock.
	Sleep func(context.Context, time.Duration) error
	// Progress, if set, is called with the reason of each wait.
	Progress func(why string)
}

// poll is the pause between two looks at an incomplete release.
const poll = 5 * time.Second

// Find reads the requested release. It waits only for the release of an event,
// which is about to be complete; a tag without a release is a mistake. An error
// for which [event.Skipped] holds means that there is nothing to do.
func Find(ctx context.Context, client *github.Client, q Request, o Options) (*Release, error) {
	if q.Event == nil {
		if err := notation.Tag.Check(q.Tag); err != nil {
			return nil, fmt.Errorf("--tag: %w: pass the tag of a release", err)
		}
		e, err := event.FromTag(q.Repository, q.Tag)
		if err != nil {
			return nil, err
		}
		o.Wait = 0
		return Open(ctx, client, e, o)
	}
	e, err := event.Parse(q.Event, q.Repository)
	var other *event.RepositoryError
	if errors.As(err, &other) {
		if err := sameRepository(ctx, client, other); err != nil {
			return nil, err
		}
		e, err = event.Parse(q.Event, "")
	}
	if err != nil {
		return nil, err
	}
	return Open(ctx, client, e, o)
}

// sameRepository returns nil if both names of the error are of one repository. A
// renamed or transferred repository keeps its old names until another repository
// takes them, so only GitHub's ID of the repository decides.
func sameRepository(ctx context.Context, client *github.Client, e *event.RepositoryError) error {
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

// match compares a manifest with an event. The manifest may have an older name of
// the repository; same compares such names.
func match(e event.Event, m *manifest.Manifest, sha256 string, same func(*event.RepositoryError) error) error {
	err := e.Match(m, sha256)
	var other *event.RepositoryError
	if !errors.As(err, &other) {
		return err
	}
	if err := same(other); err != nil {
		return err
	}
	e.Repository = other.Got
	return e.Match(m, sha256)
}

// Open reads the release of an event. It waits for a release that is not
// published yet or lacks an asset, and in the end reports what is missing.
func Open(ctx context.Context, client *github.Client, e event.Event, o Options) (*Release, error) {
	if o.Sleep == nil {
		o.Sleep = wire.Sleep
	}
	for waited := time.Duration(0); ; waited += poll {
		r, missing, err := open(ctx, client, e)
		if err != nil {
			return nil, err
		}
		// Somebody may have flagged the release again: that is not waited for in the end.
		if missing == "" || missing == stillFlagged && waited >= o.Wait {
			if err := r.override(o.Settings); err != nil {
				return nil, err
			}
			if err := r.readHistory(ctx, client, e.Repository); err != nil {
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

// Reasons to wait.
const (
	unpublished = "it is not published"
	// stillFlagged is the reason if GitHub announced the promotion of a release
	// and doesn't show it yet.
	stillFlagged = "GitHub lists it as a prerelease"
)

// open reads a release without waiting, and reports what is missing.
func open(ctx context.Context, client *github.Client, e event.Event) (_ *Release, missing string, _ error) {
	owner, name, _ := strings.Cut(e.Repository, "/")
	rel, err := client.Published(ctx, owner, name, e.Tag)
	if errors.Is(err, github.ErrNotFound) {
		return nil, unpublished, nil
	}
	if err != nil {
		return nil, "", err
	}
	assets := &remote{client, owner, name, rel.Assets}
	for _, needed := range []string{manifest.FileName, manifest.SumsName} {
		if _, found := assets.find(needed); !found {
			return nil, fmt.Sprintf("asset %q is missing", needed), nil
		}
	}
	r, err := Load(ctx, assets)
	if err != nil {
		return nil, "", err
	}
	same := func(other *event.RepositoryError) error { return sameRepository(ctx, client, other) }
	if err := match(e, r.Manifest, r.ManifestSHA256, same); err != nil {
		return nil, "", err
	}
	if names := assets.missing(r.Manifest); len(names) > 0 {
		return nil, "assets are missing: " + strings.Join(names, ", "), nil
	}
	if e.Released && rel.Prerelease {
		missing = stillFlagged
	}
	r.prerelease = rel.Prerelease
	return r, missing, nil
}

// readHistory lists the component's other releases.
func (r *Release) readHistory(ctx context.Context, client *github.Client, repository string) error {
	owner, name, _ := strings.Cut(repository, "/")
	releases, err := client.History(ctx, owner, name)
	if err != nil {
		return fmt.Errorf("list the releases of %s: %w", repository, err)
	}
	r.setHistory(releases)
	return nil
}

// setHistory finds the component's versions among all releases of a repository.
func (r *Release) setHistory(releases []*github.Release) {
	r.Known, r.Flagged = nil, nil
	if r.prerelease && r.Version().Prerelease() == "" {
		r.Flagged = append(r.Flagged, r.Version())
	}
	for _, other := range releases {
		v, ok := r.Manifest.VersionOf(other.Tag)
		switch {
		case !ok || other.Tag == r.Manifest.Tag:
		case other.Prerelease && v.Prerelease() == "":
			r.Flagged = append(r.Flagged, v)
		default:
			r.Known = append(r.Known, v)
		}
	}
}

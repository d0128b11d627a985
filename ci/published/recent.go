package published

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/manifest"
)

// Choice says which of a repository's releases [Recent] reads.
type Choice struct {
	// Repository is "owner/name".
	Repository string
	// Last is how many to read: of the newest, those that have an image, and are
	// of Component if one is given.
	Last      int
	Component string
	// AnyImage takes releases whose manifest specifies no image: the caller names
	// the image repositories.
	AnyImage bool
}

// Candidate is a release of which no more than the manifest was read.
type Candidate struct {
	// Release has a manifest, history and nothing else; see [Candidate.Open].
	*Release
	// Assumed says that the manifest is not the release's own: it has the release's
	// tag and version, and the image of a newer one of the same component. That is
	// enough to see that nothing is missing; see [Candidate.Read].
	Assumed bool

	client   *github.Client
	owner    string
	name     string
	remote   *github.Release
	releases []*github.Release
	same     func(*event.RepositoryError) error
}

// Entry is a release that [Recent] looked at: a candidate, or else one that was
// skipped, or one that can't be read.
type Entry struct {
	Tag       string
	Candidate *Candidate
	Skipped   string // why
	Err       error
}

// Recent finds the newest releases that have an image, and waits for none. The
// entries are newest first. It asks GitHub once for the releases, a hundred a
// page, and then for one manifest of each component: what the newest of them says
// of the image is assumed of the others.
func Recent(ctx context.Context, client *github.Client, c Choice) ([]Entry, error) {
	probe, err := event.FromTag(c.Repository, "v0.0.0")
	if err != nil {
		return nil, err
	}
	owner, name, _ := strings.Cut(probe.Repository, "/")
	all, err := client.History(ctx, owner, name)
	if err != nil {
		return nil, fmt.Errorf("list the releases of %s: %w", c.Repository, err)
	}
	identity := map[string]error{}
	same := func(e *event.RepositoryError) error {
		known, asked := identity[e.Got]
		if !asked {
			known = same(ctx, client, e)
			identity[e.Got] = known
		}
		return known
	}
	var out []Entry
	var read, passed []*manifest.Manifest
	why := map[*manifest.Manifest]string{}
	found := 0
	for _, rel := range all {
		if found == c.Last {
			break
		}
		if m := componentOf(passed, rel.Tag); m != nil {
			out = append(out, Entry{Tag: rel.Tag, Skipped: why[m]})
			continue
		}
		candidate := &Candidate{client: client, owner: owner, name: name, remote: rel, releases: all, same: same}
		has, err := candidate.has(ctx)
		if err != nil {
			return nil, fmt.Errorf("release %q: %w", rel.Tag, err)
		}
		if !has {
			out = append(out, Entry{Tag: rel.Tag, Skipped: "it has no " + manifest.FileName})
			continue
		}
		entry := Entry{Tag: rel.Tag, Candidate: candidate}
		if newer := componentOf(read, rel.Tag); newer != nil {
			candidate.assume(newer, c.Repository)
		} else if err := candidate.read(ctx, c.Repository); err != nil {
			entry.Candidate, entry.Err = nil, err
		} else if m := candidate.Manifest; c.Component != "" && m.Component != c.Component {
			passed, why[m] = append(passed, m), fmt.Sprintf("it is of component %q", m.Component)
			entry.Candidate, entry.Skipped = nil, why[m]
		} else if m.Image == nil && !c.AnyImage {
			passed, why[m] = append(passed, m), fmt.Sprintf("component %q has no image", m.Component)
			entry.Candidate, entry.Skipped = nil, why[m]
		} else {
			read = append(read, m)
		}
		if entry.Skipped == "" {
			found++
		}
		out = append(out, entry)
	}
	return out, nil
}

// embedded is how many assets a release in a list has at least when the list may
// not have them all.
const embedded = 30

// componentOf returns the manifest whose component a tag is of, or nil.
func componentOf(all []*manifest.Manifest, tag string) *manifest.Manifest {
	for _, m := range all {
		if _, ok := VersionOf(m, tag); ok {
			return m
		}
	}
	return nil
}

func (c *Candidate) list() assets { return assets{c.client, c.owner, c.name, c.remote.Assets} }

// has says whether the release has a manifest.
func (c *Candidate) has(ctx context.Context) (bool, error) {
	_, found := c.list().find(manifest.FileName)
	if found || len(c.remote.Assets) < embedded {
		return found, nil
	}
	// The list of releases may not have all of their assets.
	all, err := c.client.ListAssets(ctx, c.owner, c.name, c.remote.ID)
	if err != nil {
		return false, err
	}
	c.remote.Assets = all
	_, found = c.list().find(manifest.FileName)
	return found, nil
}

// assume makes a manifest out of a newer one of the component.
func (c *Candidate) assume(newer *manifest.Manifest, repository string) {
	v, _ := VersionOf(newer, c.remote.Tag)
	m := &manifest.Manifest{Component: newer.Component, Tag: c.remote.Tag, Version: v.String(), Image: newer.Image}
	c.set(m, event.Event{Repository: repository, Tag: m.Tag, Source: event.SourceTag})
	c.Assumed = true
}

func (c *Candidate) set(m *manifest.Manifest, e event.Event) {
	c.Release = &Release{Release: &oci.Release{Manifest: m}, Event: e, flagged: c.remote.Prerelease}
	c.among(c.releases)
}

// Read reads the release's own manifest in place of the one that was assumed. It
// says whether that changes where its image should be, or how it is tagged.
func (c *Candidate) Read(ctx context.Context) (changed bool, _ error) {
	before := c.Manifest.Image
	if err := c.read(ctx, c.Event.Repository); err != nil {
		return false, err
	}
	c.Assumed = false
	now := c.Manifest.Image
	var from, to []string
	if before != nil {
		from = before.Repositories
	}
	if now != nil {
		to = now.Repositories
	}
	return !slices.Equal(from, to) || !reflect.DeepEqual(before.TagOptions(), now.TagOptions()), nil
}

// read downloads the manifest, whose digest GitHub knows, and makes sure that it
// is the release's, and that the release is complete.
func (c *Candidate) read(ctx context.Context, repository string) error {
	asset, found := c.list().find(manifest.FileName)
	if !found || asset.Size > manifest.MaxSize {
		return fmt.Errorf("asset %q has %d bytes, more than %d", asset.Name, asset.Size, manifest.MaxSize)
	}
	body, err := c.client.Download(ctx, c.owner, c.name, asset)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	m, err := manifest.Parse(text)
	if err != nil {
		return err
	}
	e, err := event.FromTag(repository, c.remote.Tag)
	if err != nil {
		return err
	}
	err = e.Match(m, "")
	var other *event.RepositoryError
	if errors.As(err, &other) {
		if err = c.same(other); err == nil {
			renamed := e
			renamed.Repository = other.Got
			err = renamed.Match(m, "")
		}
	}
	if err != nil {
		return err
	}
	if lacks := c.list().lacks(m); len(lacks) > 0 {
		return fmt.Errorf("the release is not complete: assets are missing: %s: run the release again", strings.Join(lacks, ", "))
	}
	c.set(m, e)
	return nil
}

// Open reads the candidate's checksums too, and returns the release whose
// archives can be read.
func (c *Candidate) Open(ctx context.Context) (*Release, error) {
	loaded, err := oci.Load(ctx, c.list())
	if err != nil {
		return nil, err
	}
	r := *c.Release
	r.Release = loaded
	return &r, nil
}

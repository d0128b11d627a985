package published

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
)

// Choice selects the releases of a repository that [Recent] finds.
type Choice struct {
	// Repository is "owner/name".
	Repository string
	// Last is how many of the newest releases with an image to find, and Component
	// their component; by default, any.
	Last      int
	Component string
	// AnyImage includes releases whose manifest specifies no image: the caller names
	// the image repositories.
	AnyImage bool
}

// Candidate is a release of which only the manifest was read.
type Candidate struct {
	// Release has a manifest and the history; see [Candidate.Open].
	*Release
	// Assumed reports that the manifest was not downloaded: it has the release's
	// tag and version, and the image of a newer release of the component. That
	// suffices to see that nothing is missing; see [Candidate.Read].
	Assumed bool

	scan   *scan
	remote *github.Release
}

// Entry is a release that [Recent] met: a candidate, a skipped release or an
// unreadable one.
type Entry struct {
	Tag       string
	Candidate *Candidate
	Skipped   string // why
	Err       error
}

// Recent finds the newest releases that have an image, newest first, and waits for
// none. It lists the releases once, a hundred per request, and downloads one
// manifest per component: the other releases of a component are assumed to have
// the image of the newest.
func Recent(ctx context.Context, client *github.Client, c Choice) ([]Entry, error) {
	if _, err := event.FromTag(c.Repository, "v0.0.0"); err != nil {
		return nil, err
	}
	owner, name, _ := strings.Cut(c.Repository, "/")
	releases, err := client.History(ctx, owner, name)
	if err != nil {
		return nil, fmt.Errorf("list the releases of %s: %w", c.Repository, err)
	}
	s := &scan{Choice: c, client: client, owner: owner, name: name, releases: releases, compared: map[string]error{}}
	var entries []Entry
	for _, rel := range releases {
		if s.found == c.Last {
			break
		}
		e, err := s.entry(ctx, rel)
		if err != nil {
			return nil, fmt.Errorf("release %q: %w", rel.Tag, err)
		}
		if e.Skipped == "" {
			s.found++
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// scan is a run of [Recent].
type scan struct {
	Choice
	client      *github.Client
	owner, name string
	releases    []*github.Release
	found       int
	components  []component
	// compared has the results of sameRepository by the other repository.
	compared map[string]error
}

// component is the newest manifest of a component, and why its releases are
// skipped, or "".
type component struct {
	*manifest.Manifest
	skip string
}

// componentOf returns the component of a tag.
func (s *scan) componentOf(tag string) (component, bool) {
	for _, c := range s.components {
		if _, ok := c.VersionOf(tag); ok {
			return c, true
		}
	}
	return component{}, false
}

func (s *scan) entry(ctx context.Context, rel *github.Release) (Entry, error) {
	entry := Entry{Tag: rel.Tag}
	newer, known := s.componentOf(rel.Tag)
	if newer.skip != "" {
		entry.Skipped = newer.skip
		return entry, nil
	}
	c := &Candidate{scan: s, remote: rel}
	has, err := c.hasManifest(ctx)
	if err != nil {
		return entry, err
	}
	switch {
	case !has:
		entry.Skipped = "it has no " + manifest.FileName
		return entry, nil
	case known:
		c.assume(newer.Manifest)
	default:
		if entry.Err = c.read(ctx); entry.Err != nil {
			return entry, nil
		}
		newer = component{c.Manifest, s.skip(c.Manifest)}
		s.components = append(s.components, newer)
	}
	if entry.Skipped = newer.skip; newer.skip == "" {
		entry.Candidate = c
	}
	return entry, nil
}

// skip returns why releases like that of the manifest are skipped, or "".
func (s *scan) skip(m *manifest.Manifest) string {
	switch {
	case s.Component != "" && m.Component != s.Component:
		return fmt.Sprintf("it is of component %q", m.Component)
	case m.Image == nil && !s.AnyImage:
		return fmt.Sprintf("component %q has no image", m.Component)
	}
	return ""
}

// sameRepository is the function of that name, but asks once per repository.
func (s *scan) sameRepository(ctx context.Context, e *event.RepositoryError) error {
	err, known := s.compared[e.Got]
	if !known {
		err = sameRepository(ctx, s.client, e)
		s.compared[e.Got] = err
	}
	return err
}

// maxListed is how many assets of a release GitHub includes in a list of releases:
// such a release may have more.
const maxListed = 30

func (c *Candidate) assets() *remote {
	return &remote{c.scan.client, c.scan.owner, c.scan.name, c.remote.Assets}
}

// hasManifest reports whether the release has a manifest.
func (c *Candidate) hasManifest(ctx context.Context) (bool, error) {
	_, found := c.assets().find(manifest.FileName)
	if found || len(c.remote.Assets) < maxListed {
		return found, nil
	}
	all, err := c.scan.client.ListAssets(ctx, c.scan.owner, c.scan.name, c.remote.ID)
	if err != nil {
		return false, err
	}
	c.remote.Assets = all
	_, found = c.assets().find(manifest.FileName)
	return found, nil
}

// assume makes a manifest out of a newer one of the component.
func (c *Candidate) assume(newer *manifest.Manifest) {
	v, _ := newer.VersionOf(c.remote.Tag)
	c.set(&manifest.Manifest{Component: newer.Component, Tag: c.remote.Tag, Version: v.String(), Image: newer.Image})
	c.Assumed = true
}

func (c *Candidate) set(m *manifest.Manifest) {
	c.Release = &Release{Manifest: m, prerelease: c.remote.Prerelease}
	c.setHistory(c.scan.releases)
}

// Read downloads the release's own manifest in place of the assumed one. It
// reports whether that changes the repositories or the tags of the image.
func (c *Candidate) Read(ctx context.Context) (changed bool, _ error) {
	before := c.Manifest.ImageSpec()
	if err := c.read(ctx); err != nil {
		return false, err
	}
	c.Assumed = false
	now := c.Manifest.ImageSpec()
	return !slices.Equal(before.Repositories, now.Repositories) || !reflect.DeepEqual(before.TagOptions(), now.TagOptions()), nil
}

// read downloads the manifest, whose digest GitHub knows, and checks that it is
// the release's and that the release is complete.
func (c *Candidate) read(ctx context.Context) error {
	text, err := read(ctx, c.assets(), manifest.FileName, manifest.MaxSize)
	if err != nil {
		return err
	}
	m, err := parse(text)
	if err != nil {
		return err
	}
	e, err := event.FromTag(c.scan.Repository, c.remote.Tag)
	if err != nil {
		return err
	}
	same := func(other *event.RepositoryError) error { return c.scan.sameRepository(ctx, other) }
	if err := match(e, m, "", same); err != nil {
		return err
	}
	if names := c.assets().missing(m); len(names) > 0 {
		return fmt.Errorf("the release is not complete: assets are missing: %s: run the release again", strings.Join(names, ", "))
	}
	c.set(m)
	return nil
}

// Open reads and compares SHA256SUMS too, and returns the release, whose assets
// can be read.
func (c *Candidate) Open(ctx context.Context) (*Release, error) {
	r, err := Load(ctx, c.assets())
	if err != nil {
		return nil, err
	}
	r.Known, r.Flagged, r.prerelease = c.Known, c.Flagged, c.prerelease
	return r, nil
}

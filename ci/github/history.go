package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// Published reads the published release of a tag, with its assets. It returns
// ErrNotFound, wrapped, only if GitHub confirmed that there is none. It needs
// no token for a public repository.
func (c *Client) Published(ctx context.Context, owner, name, tag string) (*Release, error) {
	ctx, r := c.on(ctx, owner, name)
	rel, err := r.byTag(ctx, tag, true)
	if err == nil && rel == nil {
		err = fmt.Errorf("read the release of %q: %w", tag, ErrNotFound)
	}
	if err == nil {
		rel.Assets, err = r.assets(ctx, rel.ID)
	}
	if err != nil {
		return nil, c.redactErr(err)
	}
	return rel, nil
}

// History lists the published releases of a repository, newest first, with their
// assets and without their notes. It needs no token for a public repository.
func (c *Client) History(ctx context.Context, owner, name string) ([]*Release, error) {
	ctx, r := c.on(ctx, owner, name)
	all, err := r.allReleases(ctx, func(rel *Release) { rel.Notes = "" })
	if err != nil {
		return nil, c.redactErr(err)
	}
	all = slices.DeleteFunc(all, func(x *Release) bool { return x.Draft })
	slices.SortStableFunc(all, func(a, b *Release) int { return b.PublishedAt.Compare(a.PublishedAt) })
	return all, nil
}

// ListAssets lists the assets of a release.
func (c *Client) ListAssets(ctx context.Context, owner, name string, release int64) ([]RemoteAsset, error) {
	ctx, r := c.on(ctx, owner, name)
	all, err := r.assets(ctx, release)
	return all, c.redactErr(err)
}

// TagCommit reads the commit of a tag. It returns ErrNotFound, wrapped, only if
// GitHub confirmed that there is no such tag.
func (c *Client) TagCommit(ctx context.Context, owner, name, tag string) (string, error) {
	ctx, r := c.on(ctx, owner, name)
	commit, err := r.tagCommit(ctx, tag)
	if err == nil && commit == "" {
		err = fmt.Errorf("read the tag %q: %w", tag, ErrNotFound)
	}
	return commit, c.redactErr(err)
}

// RepositoryID reads GitHub's number of a repository, under any name that it has
// or had: GitHub redirects the names from before it was renamed or transferred.
// It returns ErrNotFound, wrapped, only if GitHub confirmed that there is none.
func (c *Client) RepositoryID(ctx context.Context, owner, name string) (int64, error) {
	ctx, r := c.on(ctx, owner, name)
	got, err := r.repository(ctx)
	switch id := got.GetID(); {
	case err == nil && got == nil:
		err = ErrNotFound
	case err == nil && id <= 0:
		err = fmt.Errorf("the answer has the id %d", id)
	case err == nil:
		return id, nil
	}
	return 0, c.redactErr(fmt.Errorf("read repository %q: %w", owner+"/"+name, err))
}

// Requests returns how many requests the client has sent, retries and redirects
// included.
func (c *Client) Requests() int64 { return c.requests.Load() }

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

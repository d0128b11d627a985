package github

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	gh "github.com/google/go-github/v84/github"
)

// RepositoryID is GitHub's number of a repository, under any name that it has
// or had: GitHub redirects the names from before it was renamed or transferred.
// It returns ErrNotFound, wrapped, only if GitHub confirmed that there is none.
func (c *Client) RepositoryID(ctx context.Context, owner, name string) (int64, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	r := &repo{session: s, owner: owner, name: name}
	var id int64
	found, err := r.confirmed(ctx, "read the repository", func(ctx context.Context) error {
		g, _, err := c.api.Repositories.Get(ctx, owner, name)
		if err == nil {
			id = g.GetID()
		}
		return err
	})
	switch {
	case err == nil && !found:
		err = ErrNotFound
	case err == nil && id <= 0:
		err = fmt.Errorf("the answer has the id %d", id)
	}
	if err != nil {
		return 0, c.redactErr(fmt.Errorf("read repository %q: %w", owner+"/"+name, err))
	}
	return id, nil
}

// Requests is how many requests the client has sent so far, those made again
// and those that follow a redirect among them.
func (c *Client) Requests() int64 { return c.requests.Load() }

// counting is a transport that counts requests.
type counting struct {
	http.RoundTripper
	n *atomic.Int64
}

// RoundTrip carries out a request.
func (t *counting) RoundTrip(req *http.Request) (*http.Response, error) {
	t.n.Add(1)
	return t.RoundTripper.RoundTrip(req)
}

// History lists the published releases of a repository, newest first, with their
// assets. It needs no token where the repository is public.
func (c *Client) History(ctx context.Context, owner, name string) ([]*Release, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	r := &repo{session: s, owner: owner, name: name}
	var all []*Release
	seen := map[int64]bool{}
	err := list(ctx, s, "list the releases", func(ctx context.Context, o *gh.ListOptions) ([]*gh.RepositoryRelease, *gh.Response, error) {
		return r.releases().ListReleases(ctx, owner, name, o)
	}, func(g *gh.RepositoryRelease) bool {
		if !g.GetDraft() && !seen[g.GetID()] {
			seen[g.GetID()] = true
			rel := releaseFrom(g)
			for _, a := range g.Assets {
				rel.Assets = append(rel.Assets, assetFrom(a))
			}
			all = append(all, rel)
		}
		return true
	})
	if err != nil {
		return nil, c.redactErr(err)
	}
	slices.SortStableFunc(all, func(a, b *Release) int { return b.PublishedAt.Compare(a.PublishedAt) })
	return all, nil
}

// ListAssets lists the assets of a release.
func (c *Client) ListAssets(ctx context.Context, owner, name string, release int64) ([]RemoteAsset, error) {
	ctx, s := c.begin(ctx)
	s.until = s.started.Add(c.o.Deadline)
	all, err := (&repo{session: s, owner: owner, name: name}).assets(ctx, release)
	return all, c.redactErr(err)
}

// CloseIdleConnections closes those of the transport that carries the requests.
func (t *counting) CloseIdleConnections() {
	if c, ok := t.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

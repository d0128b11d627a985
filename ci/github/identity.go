package github

import (
	"context"
	"fmt"
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

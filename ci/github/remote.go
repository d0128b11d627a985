package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v84/github"
)

// Release is a release as GitHub has it.
type Release struct {
	ID         int64  `json:"id"`
	Tag        string `json:"tag"`
	Commitish  string `json:"commitish,omitempty"`
	Title      string `json:"title"`
	Notes      string `json:"-"`
	Draft      bool   `json:"draft"`
	Prerelease bool   `json:"prerelease"`
	Immutable  bool   `json:"immutable"`
	// CreatedAt is the date of the release's commit.
	CreatedAt   time.Time     `json:"created_at"`
	PublishedAt time.Time     `json:"published_at,omitzero"`
	URL         string        `json:"url"`
	Assets      []RemoteAsset `json:"assets,omitempty"`
}

// RemoteAsset is an asset as GitHub has it.
type RemoteAsset struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
	// State is "uploaded" when the asset is whole.
	State string `json:"state"`
	Size  int64  `json:"size"`
	// SHA256 is the content's digest in hex; "" when GitHub doesn't know it.
	SHA256      string    `json:"sha256,omitempty"`
	ContentType string    `json:"content_type"`
	CreatedAt   time.Time `json:"created_at"`
	// URL is where everybody may download the asset once it is published.
	URL string `json:"url"`
}

func (a *RemoteAsset) whole() bool { return a.State == "uploaded" }

func releaseFrom(r *gh.RepositoryRelease) *Release {
	return &Release{
		ID: r.GetID(), Tag: r.GetTagName(), Commitish: r.GetTargetCommitish(), Title: r.GetName(), Notes: r.GetBody(),
		Draft: r.GetDraft(), Prerelease: r.GetPrerelease(), Immutable: r.GetImmutable(),
		CreatedAt: r.GetCreatedAt().Time, PublishedAt: r.GetPublishedAt().Time, URL: r.GetHTMLURL(),
	}
}

func assetFrom(a *gh.ReleaseAsset) RemoteAsset {
	sum, _ := strings.CutPrefix(a.GetDigest(), "sha256:")
	return RemoteAsset{
		ID: a.GetID(), Name: a.GetName(), State: a.GetState(), Size: int64(a.GetSize()), SHA256: sum,
		ContentType: a.GetContentType(), CreatedAt: a.GetCreatedAt().Time, URL: a.GetBrowserDownloadURL(),
	}
}

// repo makes the calls about one repository.
type repo struct {
	*session
	owner, name string
}

func (r *repo) releases() *gh.RepositoriesService { return r.c.api.Repositories }

// confirmed makes a read whose answer may be a 404, and asks once more before
// it believes it. It returns false for a confirmed 404.
func (r *repo) confirmed(ctx context.Context, name string, read func(context.Context) error) (bool, error) {
	for asked := 1; ; asked++ {
		err := r.call(ctx, op{name: name}, read)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, ErrNotFound) {
			return false, err
		}
		if asked == 2 {
			return false, nil
		}
		if err := r.wait(ctx, "asking again about a 404", r.backoff(1)); err != nil {
			return false, err
		}
	}
}

// allReleases lists every release, drafts too when the token may see them.
func (r *repo) allReleases(ctx context.Context) ([]*Release, error) {
	var all []*Release
	seen := map[int64]bool{}
	for page := 1; page != 0; {
		var got []*gh.RepositoryRelease
		next := 0
		err := r.call(ctx, op{name: "list the releases", fresh: true}, func(ctx context.Context) error {
			rs, resp, err := r.releases().ListReleases(ctx, r.owner, r.name, &gh.ListOptions{Page: page, PerPage: 100})
			if err == nil {
				got, next = rs, resp.NextPage
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, g := range got {
			if !seen[g.GetID()] {
				seen[g.GetID()] = true
				all = append(all, releaseFrom(g))
			}
		}
		page = next
	}
	return all, nil
}

// assets lists every asset of a release. A lasting 404 is errConflict.
func (r *repo) assets(ctx context.Context, release int64) ([]RemoteAsset, error) {
	var all []RemoteAsset
	seen := map[int64]bool{}
	for page := 1; page != 0; {
		var got []*gh.ReleaseAsset
		next := 0
		err := r.call(ctx, op{name: "list the assets", fresh: true}, func(ctx context.Context) error {
			as, resp, err := r.releases().ListReleaseAssets(ctx, r.owner, r.name, release, &gh.ListOptions{Page: page, PerPage: 100})
			if err == nil {
				got, next = as, resp.NextPage
			}
			return err
		})
		if statusOf(err) == 404 {
			return nil, fmt.Errorf("%w: release %d is gone", errConflict, release)
		}
		if err != nil {
			return nil, err
		}
		for _, a := range got {
			if !seen[a.GetID()] {
				seen[a.GetID()] = true
				all = append(all, assetFrom(a))
			}
		}
		page = next
	}
	slices.SortStableFunc(all, func(a, b RemoteAsset) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// byTag reads the published release of a tag, nil for a confirmed 404.
func (r *repo) byTag(ctx context.Context, tag string, confirm bool) (*Release, error) {
	var rel *Release
	get := func(ctx context.Context) error {
		g, _, err := r.releases().GetReleaseByTag(ctx, r.owner, r.name, escapePath(tag))
		if err == nil {
			rel = releaseFrom(g)
		}
		return err
	}
	if confirm {
		_, err := r.confirmed(ctx, "read the release of the tag", get)
		return rel, err
	}
	err := r.call(ctx, op{name: "read the release of the tag"}, get)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return rel, err
}

// latest reads which release is the latest, nil if none is.
func (r *repo) latest(ctx context.Context, expectOne bool) (*Release, error) {
	var rel *Release
	get := func(ctx context.Context) error {
		g, _, err := r.releases().GetLatestRelease(ctx, r.owner, r.name)
		if err == nil {
			rel = releaseFrom(g)
		}
		return err
	}
	if expectOne {
		_, err := r.confirmed(ctx, "read the latest release", get)
		return rel, err
	}
	err := r.call(ctx, op{name: "read the latest release"}, get)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return rel, err
}

// tagCommit reads which commit a tag points to in the end, "" for a confirmed
// 404 of the tag.
func (r *repo) tagCommit(ctx context.Context, tag string) (string, error) {
	var object *gh.GitObject
	found, err := r.confirmed(ctx, "read the tag", func(ctx context.Context) error {
		ref, _, err := r.c.api.Git.GetRef(ctx, r.owner, r.name, "tags/"+tag)
		if err == nil {
			object = ref.GetObject()
		}
		return err
	})
	if err != nil || !found {
		return "", err
	}
	for range 10 {
		if object.GetType() != "tag" {
			return object.GetSHA(), nil
		}
		err := r.call(ctx, op{name: "read the annotated tag", fresh: true}, func(ctx context.Context) error {
			t, _, err := r.c.api.Git.GetTag(ctx, r.owner, r.name, object.GetSHA())
			if err == nil {
				object = t.GetObject()
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("read the tag %q: tags of tags of tags", tag)
}

// hasCommit says whether the repository has a commit.
func (r *repo) hasCommit(ctx context.Context, sha string) (bool, error) {
	found, err := r.confirmed(ctx, "read the commit", func(ctx context.Context) error {
		_, _, err := r.c.api.Git.GetCommit(ctx, r.owner, r.name, sha)
		return err
	})
	if statusOf(err) == 422 {
		return false, nil // how GitHub says that it knows no such object
	}
	return found, err
}

// access checks that the repository is there and, as far as can be seen
// without writing, that the token may write to it.
func (r *repo) access(ctx context.Context) (problems []Problem, notes []string, err error) {
	token, err := r.c.token(ctx)
	if err != nil {
		return nil, nil, err
	}
	if token == "" {
		return []Problem{{"no token", "give one that may write to the contents of the repository"}}, nil, nil
	}
	var got *gh.Repository
	found, err := r.confirmed(ctx, "read the repository", func(ctx context.Context) error {
		g, _, err := r.c.api.Repositories.Get(ctx, r.owner, r.name)
		if err == nil {
			got = g
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return []Problem{{
			fmt.Sprintf("repository %q not found", r.owner+"/"+r.name),
			"check its name, and that the token may see it",
		}}, nil, nil
	}
	if full := got.GetFullName(); !strings.EqualFold(full, r.owner+"/"+r.name) {
		problems = append(problems, Problem{fmt.Sprintf("repository %q is now %q", r.owner+"/"+r.name, full), "use the new name"})
	}
	if got.GetArchived() {
		problems = append(problems, Problem{"the repository is archived", "nothing can be written to it"})
	}
	scopes := r.oauthScopes()
	if scopes != nil && !canRelease(*scopes, got.GetPrivate()) {
		problems = append(problems, Problem{fmt.Sprintf("the token's scopes are %q", *scopes), "it needs the scope repo (public_repo is enough for a public repository)"})
	}
	if !got.GetPermissions().GetPush() {
		// The token of a GitHub App, such as a workflow's, has no push
		// permission in this answer even if it may write.
		app, err := r.isInstallation(ctx, token)
		switch {
		case err != nil:
			return nil, nil, err
		case app:
			notes = append(notes, "the token is an app's: whether it may write shows at the first write")
		default:
			problems = append(problems, Problem{"the token may not write to the repository", "give one that may write to its contents"})
		}
	}
	return problems, notes, nil
}

func (s *session) oauthScopes() *string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopes
}

func canRelease(scopes string, private bool) bool {
	if strings.TrimSpace(scopes) == "" {
		return true // fine-grained tokens have none
	}
	for s := range strings.SplitSeq(scopes, ",") {
		switch strings.TrimSpace(s) {
		case "repo":
			return true
		case "public_repo":
			if !private {
				return true
			}
		}
	}
	return false
}

func (r *repo) isInstallation(ctx context.Context, token string) (bool, error) {
	if strings.HasPrefix(token, "ghs_") {
		return true, nil
	}
	err := r.call(ctx, op{name: "read what the token is"}, func(ctx context.Context) error {
		_, _, err := r.c.api.Apps.ListRepos(ctx, &gh.ListOptions{PerPage: 1})
		return err
	})
	if code := statusOf(err); code == 401 || code == 403 || code == 404 {
		return false, nil
	}
	return err == nil, err
}

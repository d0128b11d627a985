package github

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	gh "github.com/google/go-github/v84/github"
)

// Release is a release on GitHub.
type Release struct {
	ID         int64
	Tag        string
	Commitish  string
	Title      string
	Notes      string
	Draft      bool
	Prerelease bool
	Immutable  bool
	// CreatedAt is the date of the release's commit.
	CreatedAt   time.Time
	PublishedAt time.Time
	URL         string
	Assets      []RemoteAsset
}

// RemoteAsset is an asset on GitHub.
type RemoteAsset struct {
	ID   int64
	Name string
	// State is "uploaded" once the asset is complete.
	State string
	Size  int64
	// SHA256 is the content's digest in hex, or "" if GitHub doesn't know it.
	SHA256      string
	ContentType string
	CreatedAt   time.Time
	// URL is the public address once the release is published.
	URL string
}

func (a *RemoteAsset) whole() bool { return a.State == "uploaded" }

// find returns the asset of a name, or nil.
func find(assets []RemoteAsset, name string) *RemoteAsset {
	i := slices.IndexFunc(assets, func(a RemoteAsset) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &assets[i]
}

func releaseFrom(r *gh.RepositoryRelease) *Release {
	rel := &Release{
		ID: r.GetID(), Tag: r.GetTagName(), Commitish: r.GetTargetCommitish(), Title: r.GetName(), Notes: r.GetBody(),
		Draft: r.GetDraft(), Prerelease: r.GetPrerelease(), Immutable: r.GetImmutable(),
		CreatedAt: r.GetCreatedAt().Time, PublishedAt: r.GetPublishedAt().Time, URL: r.GetHTMLURL(),
	}
	for _, a := range r.Assets {
		rel.Assets = append(rel.Assets, assetFrom(a))
	}
	return rel
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

	token         tokenKind // set by access
	mayWriteAsked bool
}

func (r *repo) releases() *gh.RepositoriesService { return r.c.api.Repositories }

// confirmed makes a read that may answer 404, and asks again before it believes
// that. It returns false for a confirmed 404.
func (r *repo) confirmed(ctx context.Context, name string, read func(context.Context) error) (bool, error) {
	return r.until(ctx, 2, "asking again about a 404", func() (bool, error) {
		err := r.call(ctx, op{name: name}, read)
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// pageSizes are the sizes of a list's pages, by the try: the first failure may be
// chance; after that, pages get smaller, as GitHub times out on large ones.
var pageSizes = []int{100, 100, 50, 20, 10, 5, 2, 1}

// pageSize returns the index into pageSizes for a list. A list that needed small
// pages starts with them the next time.
func (s *session) pageSize(name string, at int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages[name] = max(s.pages[name], at)
	return s.pages[name]
}

// list reads a list page by page, and passes each item to keep once, until keep
// returns false.
func list[T interface{ GetID() int64 }](ctx context.Context, s *session, name string, read func(context.Context, *gh.ListOptions) ([]T, *gh.Response, error), keep func(T) bool) error {
	size := s.pageSize(name, 0)
	seen := map[int64]bool{}
	for have := 0; have >= 0; {
		var (
			got    []T
			shrink bool
			next   int
		)
		err := s.call(ctx, op{name: name, fresh: true, settle: func(context.Context) (bool, error) {
			if shrink {
				size = s.pageSize(name, min(size+1, len(pageSizes)-1))
			}
			return false, nil
		}}, func(ctx context.Context) error {
			per := pageSizes[size]
			page := have/per + 1
			items, resp, err := read(ctx, &gh.ListOptions{Page: page, PerPage: per})
			code := statusOf(err)
			shrink = err != nil && (code == 0 || code >= 500 || code == http.StatusRequestTimeout)
			if err == nil {
				got, next = items, -1
				if resp.NextPage != 0 {
					next = page * per
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, x := range got {
			again := seen[x.GetID()]
			seen[x.GetID()] = true
			if !again && !keep(x) {
				return nil
			}
		}
		have = next
	}
	return nil
}

// allReleases lists every release, and the drafts that the token may see; see
// [repo.releasesUntil].
func (r *repo) allReleases(ctx context.Context, keep func(*Release)) ([]*Release, error) {
	return r.releasesUntil(ctx, keep, func(*Release) bool { return false })
}

// releasesUntil lists releases, up to the first for which enough is true. It calls keep
// with each, which drops what the caller doesn't need: a repository may have thousands,
// each with its notes and assets.
func (r *repo) releasesUntil(ctx context.Context, keep func(*Release), enough func(*Release) bool) ([]*Release, error) {
	var all []*Release
	err := list(ctx, r.session, "list the releases", func(ctx context.Context, o *gh.ListOptions) ([]*gh.RepositoryRelease, *gh.Response, error) {
		return r.releases().ListReleases(ctx, r.owner, r.name, o)
	}, func(g *gh.RepositoryRelease) bool {
		rel := releaseFrom(g)
		keep(rel)
		all = append(all, rel)
		return !enough(rel)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// assets lists every asset of a release. A lasting 404 is errConflict.
func (r *repo) assets(ctx context.Context, release int64) ([]RemoteAsset, error) {
	var all []RemoteAsset
	err := list(ctx, r.session, "list the assets", func(ctx context.Context, o *gh.ListOptions) ([]*gh.ReleaseAsset, *gh.Response, error) {
		return r.releases().ListReleaseAssets(ctx, r.owner, r.name, release, o)
	}, func(a *gh.ReleaseAsset) bool {
		all = append(all, assetFrom(a))
		return true
	})
	if statusOf(err) == 404 {
		return nil, fmt.Errorf("%w: release %d is gone", errConflict, release)
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b RemoteAsset) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// byTag reads the published release of a tag, or nil for a 404. confirm asks about a
// 404 twice.
func (r *repo) byTag(ctx context.Context, tag string, confirm bool) (*Release, error) {
	return r.release(ctx, "read the release of the tag", confirm, func(ctx context.Context) (*gh.RepositoryRelease, *gh.Response, error) {
		return r.releases().GetReleaseByTag(ctx, r.owner, r.name, escapePath(tag))
	})
}

// latest reads the latest release, or nil for a 404. confirm asks about a 404 twice.
func (r *repo) latest(ctx context.Context, confirm bool) (*Release, error) {
	return r.release(ctx, "read the latest release", confirm, func(ctx context.Context) (*gh.RepositoryRelease, *gh.Response, error) {
		return r.releases().GetLatestRelease(ctx, r.owner, r.name)
	})
}

func (r *repo) release(ctx context.Context, name string, confirm bool, get func(context.Context) (*gh.RepositoryRelease, *gh.Response, error)) (rel *Release, err error) {
	read := func(ctx context.Context) error {
		g, _, err := get(ctx)
		if err == nil {
			rel = releaseFrom(g)
		}
		return err
	}
	if confirm {
		_, err = r.confirmed(ctx, name, read)
	} else if err = r.call(ctx, op{name: name}, read); errors.Is(err, ErrNotFound) {
		err = nil
	}
	return rel, err
}

// repository reads the repository, or nil for a confirmed 404.
func (r *repo) repository(ctx context.Context) (got *gh.Repository, err error) {
	_, err = r.confirmed(ctx, "read the repository", func(ctx context.Context) error {
		g, _, err := r.c.api.Repositories.Get(ctx, r.owner, r.name)
		if err == nil {
			got = g
		}
		return err
	})
	return got, err
}

// tagRef reads the object that a tag names, or nil for a confirmed 404.
func (r *repo) tagRef(ctx context.Context, tag string) (object *gh.GitObject, err error) {
	_, err = r.confirmed(ctx, "read the tag", func(ctx context.Context) error {
		ref, _, err := r.c.api.Git.GetRef(ctx, r.owner, r.name, "tags/"+tag)
		if err == nil {
			object = ref.GetObject()
		}
		return err
	})
	return object, err
}

// tagCommit reads the commit of a tag, or "" for a confirmed 404.
func (r *repo) tagCommit(ctx context.Context, tag string) (string, error) {
	object, err := r.tagRef(ctx, tag)
	if err != nil || object == nil {
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
	return "", fmt.Errorf("read the tag %q: annotated tags nested more than 10 deep", tag)
}

// hasCommit reports whether the repository has a commit.
func (r *repo) hasCommit(ctx context.Context, sha string) (bool, error) {
	found, err := r.confirmed(ctx, "read the commit", func(ctx context.Context) error {
		_, _, err := r.c.api.Git.GetCommit(ctx, r.owner, r.name, sha)
		return err
	})
	if statusOf(err) == 422 {
		return false, nil // GitHub has no such object
	}
	return found, err
}

// access checks that the repository exists and, as far as reads can tell, that the
// token may write to it. It reports whether that is so.
func (r *repo) access(ctx context.Context, p *Plan) (bool, error) {
	token, err := r.c.token(ctx)
	if err != nil {
		return false, err
	}
	if token == "" {
		p.problem("pass --token, with write access to the contents of the repository", "no token")
		return false, nil
	}
	got, err := r.repository(ctx)
	if err != nil {
		return false, err
	}
	if got == nil {
		p.problem("check its name (--repository), and that the token may see it", "repository %q not found", p.Repository)
		return false, nil
	}
	before := len(p.Problems)
	if full := got.GetFullName(); !strings.EqualFold(full, p.Repository) {
		p.problem("use the new name", "repository %q is now %q", p.Repository, full)
	}
	if got.GetArchived() {
		p.problem("nothing can be written to it", "the repository is archived")
	}
	r.token = kindOf(token, r.oauthScopes())
	if scopes := r.oauthScopes(); r.token == classicToken && !hasScope(scopes, "repo") && (got.GetPrivate() || !hasScope(scopes, "public_repo")) {
		p.problem("it needs the scope repo (public_repo is enough for a public repository)", "the token's scopes are %q", *scopes)
	}
	if !got.GetPermissions().GetPush() && r.token != appToken {
		// The token of a GitHub App, such as a workflow's, shows no push permission
		// here even if it may write.
		app, err := r.isInstallation(ctx)
		if err != nil {
			return false, err
		}
		if app {
			r.token = appToken
		} else {
			p.problem("pass one with write access to its contents", "the token may not write to the repository")
		}
	}
	if len(p.Problems) == before && r.token != classicToken {
		err = r.mayWrite(ctx, p)
	}
	return len(p.Problems) == before, err
}

// tokenKind is the kind of a token.
type tokenKind int

const (
	unknownToken tokenKind = iota
	// classicToken has scopes; tokens of OAuth apps do too.
	classicToken
	// fineGrainedToken has permissions that can't be read.
	fineGrainedToken
	// appToken belongs to a GitHub App, such as a workflow's GITHUB_TOKEN.
	appToken
)

// kindOf returns the kind of a token. GitHub sends scopes, possibly none, for
// classic tokens only.
func kindOf(token string, scopes *string) tokenKind {
	switch {
	case strings.HasPrefix(token, "ghs_"):
		return appToken
	case strings.HasPrefix(token, "github_pat_"):
		return fineGrainedToken
	case scopes != nil:
		return classicToken
	}
	return unknownToken
}

// mayWrite checks whether a token without scopes may write, with a call that needs
// the permission and changes nothing: it generates notes, which are thrown away.
// Without a clear answer, the first write will tell.
func (r *repo) mayWrite(ctx context.Context, p *Plan) error {
	if r.mayWriteAsked {
		return nil
	}
	r.mayWriteAsked = true
	whose := "fine-grained"
	if r.token == appToken {
		whose = "an app's"
	}
	err := r.call(ctx, op{name: "ask whether the token may write", tries: 5}, func(ctx context.Context) error {
		_, _, err := r.releases().GenerateReleaseNotes(ctx, r.owner, r.name, &gh.GenerateNotesOptions{TagName: "gantry-preflight"})
		return err
	})
	resp := responseOf(err)
	switch {
	case err == nil:
		p.note("the token is %s, and may write to the contents of the repository", whose)
	case ctx.Err() != nil:
		return err
	case resp != nil && resp.StatusCode == http.StatusForbidden && strings.Contains(errorMessage(resp), "not accessible"):
		need := "write access to the contents of the repository (in a workflow: permissions: contents: write)"
		if accepted := resp.Header.Get("X-Accepted-GitHub-Permissions"); accepted != "" {
			need += fmt.Sprintf("; GitHub accepts the permissions %q", accepted)
		}
		p.problem("give it "+need, "the token may not write: %s", errorMessage(resp))
	default:
		p.note("the token is %s: whether it may write shows at the first write", whose)
	}
	return nil
}

// workflowsDiffer lists the files of .github/workflows that a commit adds or changes
// relative to the default branch. Naming such a commit as a target needs an extra
// permission.
func (r *repo) workflowsDiffer(ctx context.Context, commit string) ([]string, error) {
	read := func(ref string) (map[string]string, error) {
		files := map[string]string{}
		_, err := r.confirmed(ctx, "read .github/workflows", func(ctx context.Context) error {
			_, list, _, err := r.releases().GetContents(ctx, r.owner, r.name, ".github/workflows", &gh.RepositoryContentGetOptions{Ref: ref})
			for _, f := range list {
				files[f.GetName()] = f.GetSHA()
			}
			return err
		})
		return files, err
	}
	ours, err := read(commit)
	if err != nil || len(ours) == 0 {
		return nil, err
	}
	main, err := read("") // of the default branch
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(ours, func(name, sha string) bool { return main[name] == sha })
	return slices.Sorted(maps.Keys(ours)), nil
}

func (s *session) oauthScopes() *string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scopes
}

// hasScope reports whether a list of scopes contains one.
func hasScope(scopes *string, scope string) bool {
	return scopes != nil && slices.ContainsFunc(strings.Split(*scopes, ","), func(s string) bool { return strings.TrimSpace(s) == scope })
}

func (r *repo) isInstallation(ctx context.Context) (bool, error) {
	err := r.call(ctx, op{name: "read what the token is"}, func(ctx context.Context) error {
		_, _, err := r.c.api.Apps.ListRepos(ctx, &gh.ListOptions{PerPage: 1})
		return err
	})
	if code := statusOf(err); code == 401 || code == 403 || code == 404 {
		return false, nil
	}
	return err == nil, err
}

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// found is a manifest in a registry.
type found struct {
	digest v1.Hash
	// described reports that the manifest was read, and the fields below are known.
	described bool
	// index reports an index of platforms.
	index bool
	// annotations of the manifest or index.
	annotations map[string]string
	// images of an index.
	images []v1.Hash
}

// manifest reads the manifest of a tag or a digest. Its error wraps ErrNotFound only if
// the registry confirmed the absence.
func (r *Repository) manifest(ctx context.Context, write bool, reference string) (*found, error) {
	d, err := r.descriptor(ctx, write, reference)
	if err != nil {
		return nil, err
	}
	return r.remember(d), nil
}

// remember keeps a manifest, since its digest always names it.
func (r *Repository) remember(d *remote.Descriptor) *found {
	f := &found{digest: d.Digest, described: true, index: d.MediaType.IsIndex()}
	var m struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(d.Manifest, &m) == nil { // older manifests have no annotations
		f.annotations = m.Annotations
	}
	if f.index {
		if im, err := v1.ParseIndexManifest(bytes.NewReader(d.Manifest)); err == nil {
			for _, image := range im.Manifests {
				f.images = append(f.images, image.Digest)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[f.digest] = f
	return f
}

// resolve returns what a tag names, or nil if it is confirmed absent. It only asks for
// the digest, which no registry counts as a pull; describe reads the manifest.
func (r *Repository) resolve(ctx context.Context, write bool, tag string) (*found, error) {
	digest, err := r.head(ctx, write, tag)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if f := r.seen[digest]; f != nil {
			return f, nil
		}
		return &found{digest: digest}, nil
	}
	if transient(err) || ctx.Err() != nil {
		return nil, err
	}
	// The response to a HEAD has no code to confirm absence, and from some registries no
	// digest.
	f, err := r.manifest(ctx, write, tag)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return f, err
}

// describe reads the manifest, unless it was read before.
func (r *Repository) describe(ctx context.Context, write bool, f *found) error {
	if f.described {
		return nil
	}
	full, err := r.manifest(ctx, write, f.digest.String())
	if err == nil {
		*f = *full
	}
	return err
}

// has reports whether a manifest is in the repository.
func (r *Repository) has(ctx context.Context, write bool, digest v1.Hash) (bool, error) {
	f, err := r.resolve(ctx, write, digest.String())
	return f != nil, err
}

// head asks for the digest of a tag or a digest.
func (r *Repository) head(ctx context.Context, write bool, reference string) (v1.Hash, error) {
	options, err := r.options(ctx, write)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("read %s of %q: %w", reference, r, err)
	}
	d, err := remote.Head(r.reference(reference), options...)
	if err != nil {
		return v1.Hash{}, fmt.Errorf("read %s of %q: %w", reference, r, hint(err))
	}
	if !d.MediaType.IsIndex() && !d.MediaType.IsImage() && !d.MediaType.IsSchema1() {
		return v1.Hash{}, fmt.Errorf("read %s of %q: the answer is a %q, not a manifest", reference, r, d.MediaType)
	}
	return d.Digest, nil
}

// Bounds of a list of tags. A registry may return fewer tags per page than requested.
const (
	tagsPerPage = 1000
	maxTagPages = 2000
	maxTagPage  = 16 << 20
)

// Tags lists the tags of images, sorted: not those that list what is attached to a
// digest. A repository that is confirmed absent has none.
func (r *Repository) Tags(ctx context.Context) ([]string, error) { return r.tags(ctx, false) }

func (r *Repository) tags(ctx context.Context, write bool) ([]string, error) {
	tags, err := r.list(ctx, write)
	switch {
	case confirmedAbsent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list the tags of %q: %w", r, hint(err))
	}
	tags = slices.DeleteFunc(tags, digestTag.MatchString)
	slices.Sort(tags)
	return slices.Compact(tags), nil
}

// list follows the pages itself: the library guesses the scheme of the next page from
// the registry's name, which is wrong for TLS at private addresses, and never stops
// following pages that link to themselves.
func (r *Repository) list(ctx context.Context, write bool) ([]string, error) {
	session, err := r.session(ctx, write)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: session}
	next := r.endpoint("tags", "list")
	next.RawQuery = fmt.Sprintf("n=%d", tagsPerPage)
	var all []string
	seen := map[string]bool{}
	for next != nil {
		if seen[next.RequestURI()] {
			return nil, fmt.Errorf("the registry's pages of tags lead back to %q, which would never end", next.RequestURI())
		}
		if seen[next.RequestURI()] = true; len(seen) > maxTagPages {
			return nil, fmt.Errorf("the list of tags has more than %d pages: delete old tags, or publish to another repository", maxTagPages)
		}
		page, after, err := readTagPage(ctx, client, next)
		if err != nil {
			var refused *transport.Error
			if len(seen) == 1 && errors.As(err, &refused) && refused.StatusCode == http.StatusBadRequest {
				next.RawQuery = "" // some registries refuse this size
				continue
			}
			return nil, err
		}
		all = append(all, page...)
		next = after
	}
	return all, nil
}

// readTagPage reads a page of tags and the address of the next page, if any.
func readTagPage(ctx context.Context, client *http.Client, page *url.URL) ([]string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if err := transport.CheckError(res, http.StatusOK); err != nil {
		return nil, nil, err
	}
	var list struct {
		Tags []string `json:"tags"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxTagPage)).Decode(&list); err != nil {
		return nil, nil, fmt.Errorf("read a page of tags: %w", err)
	}
	next, err := nextPage(res.Header.Get("Link"), page)
	return list.Tags, next, err
}

// nextPage returns the address in a Link header, relative to its page, or nil. The
// address must be at the same host.
func nextPage(link string, page *url.URL) (*url.URL, error) {
	if link == "" {
		return nil, nil
	}
	target, _, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.HasPrefix(link, "<") {
		return nil, fmt.Errorf("the registry's link to more tags, %q, is not <URL>", link)
	}
	if target == "" {
		return nil, nil
	}
	u, err := page.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("the registry's link to more tags: %w", err)
	}
	if u.Host != page.Host {
		return nil, fmt.Errorf("the registry's link to more tags leads to another host, %q", u.Host)
	}
	u.Scheme = page.Scheme // a registry behind a proxy may not know it
	return u, nil
}

package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// digestTag matches tags that are made of a digest: those that list referrers where the
// registry can't, and cosign's. They name no image.
var digestTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\..+)?$`)

// referrersTag returns the tag that lists the referrers of a manifest in a registry
// without the referrers API.
func referrersTag(subject v1.Hash) string { return subject.Algorithm + "-" + subject.Hex }

// maxReferrerPages bounds a list of referrers.
const maxReferrerPages = 100

// referrers lists the artifacts whose subject is a manifest.
type referrers struct {
	// api reports that the registry keeps the list. Otherwise, clients keep it in an
	// index with the tag of [referrersTag].
	api     bool
	entries []v1.Descriptor

	// index has the fields of the clients' index, and raw its entries, as they are: they
	// may have more than is known here.
	index map[string]json.RawMessage
	raw   []json.RawMessage
	// etag identifies the state of the index, if the registry sends one.
	etag string
}

// has reports whether an artifact is listed.
func (l *referrers) has(digest v1.Hash) bool {
	return slices.ContainsFunc(l.entries, func(d v1.Descriptor) bool { return d.Digest == digest })
}

// with returns the clients' index with more entries, after the others.
func (l *referrers) with(more ...v1.Descriptor) ([]byte, error) {
	fields := map[string]any{"schemaVersion": 2, "mediaType": types.OCIImageIndex}
	for key, value := range l.index {
		fields[key] = value
	}
	entries := []any{}
	for _, raw := range l.raw {
		entries = append(entries, raw)
	}
	for _, d := range more {
		entries = append(entries, d)
	}
	fields["manifests"] = entries
	return json.Marshal(fields)
}

// endpoint returns an address of the repository.
func (r *Repository) endpoint(kind, reference string) *url.URL {
	return &url.URL{Scheme: r.repo.Scheme(), Host: r.repo.RegistryStr(), Path: "/v2/" + r.repo.RepositoryStr() + "/" + kind + "/" + reference}
}

// referrers lists the referrers of a manifest that the repository has: of one that it
// lacks, some registries claim to have no list.
//
// The library takes any "404" for an empty list, which would lose the entries of
// others, follows redirects to rate-limited pages, and reads only the first page.
func (r *Repository) referrers(ctx context.Context, write bool, subject v1.Hash) (*referrers, error) {
	session, err := r.session(ctx, write)
	if err == nil {
		var l *referrers
		if l, err = r.listed(ctx, &http.Client{Transport: session, CheckRedirect: sameHost}, subject); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("list what is attached to %s of %q: %w", subject, r, hint(err))
}

func (r *Repository) listed(ctx context.Context, client *http.Client, subject v1.Hash) (*referrers, error) {
	l := &referrers{api: true}
	next := r.endpoint("referrers", subject.String())
	for page := 1; next != nil; page++ {
		if page > maxReferrerPages {
			return nil, fmt.Errorf("the list has more than %d pages", maxReferrerPages)
		}
		res, text, err := getManifest(ctx, client, next)
		if err != nil {
			return nil, err
		}
		if page == 1 && lacksReferrers(res) {
			return r.tagged(ctx, client, subject)
		}
		if err := transport.CheckError(res, http.StatusOK); err != nil {
			return nil, err
		}
		im, err := v1.ParseIndexManifest(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("read the list: %w", err)
		}
		l.entries = append(l.entries, im.Manifests...)
		if next, err = nextPage(res.Header.Get("Link"), next); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// tagged reads the clients' index. Only the registry's code confirms that there is none.
func (r *Repository) tagged(ctx context.Context, client *http.Client, subject v1.Hash) (*referrers, error) {
	tag := referrersTag(subject)
	res, text, err := getManifest(ctx, client, r.endpoint("manifests", tag))
	if err != nil {
		return nil, err
	}
	err = transport.CheckError(res, http.StatusOK)
	if confirmedAbsent(err) {
		return &referrers{}, nil
	}
	if err != nil {
		return nil, err
	}
	// Some registries take the tag for the digest.
	if digest, _, err := v1.SHA256(bytes.NewReader(text)); err != nil || digest == subject {
		return &referrers{}, err
	}
	l := &referrers{index: map[string]json.RawMessage{}}
	if isIndex(res) {
		err = json.Unmarshal(text, &l.index)
	} else {
		err = fmt.Errorf("it is a %q", res.Header.Get("Content-Type"))
	}
	if list := l.index["manifests"]; err == nil && list != nil {
		err = errors.Join(json.Unmarshal(list, &l.raw), json.Unmarshal(list, &l.entries))
	}
	if err != nil {
		return nil, fmt.Errorf("tag %q is not a list of referrers: %w: delete the tag, unless something needs it or a proxy sent this", tag, err)
	}
	if etag := res.Header.Get("ETag"); !strings.HasPrefix(etag, "W/") {
		l.etag = etag
	}
	return l, nil
}

// put writes the clients' index with more entries. A registry that supports conditions
// refuses to overwrite one that another client wrote, which is errConflict.
func (l *referrers) put(ctx context.Context, r *Repository, subject v1.Hash, more []v1.Descriptor) error {
	text, err := l.with(more...)
	if err != nil {
		return err
	}
	condition := http.Header{"If-None-Match": {"*"}}
	if l.index != nil {
		condition = http.Header{}
		if l.etag != "" {
			condition.Set("If-Match", l.etag)
		}
	}
	err = r.put(ctx, referrersTag(subject), types.OCIImageIndex, text, condition)
	var refused *transport.Error
	switch {
	case !errors.As(err, &refused):
	case isImmutable(refused):
		return fmt.Errorf("%w: the registry's tags are immutable, and it lists attachments in tags that start with sha256-: exempt these from the registry's rule", err)
	case refused.StatusCode == http.StatusPreconditionFailed:
		return errConflict
	}
	return hint(err)
}

// errConflict reports that another client wrote first.
var errConflict = errors.New("another client changed the list of attachments")

// put writes a manifest, once. It is not the library's, which also writes the list of
// referrers of an artifact's subject: without looking whether it still is what it read.
func (r *Repository) put(ctx context.Context, reference string, mediaType types.MediaType, manifest []byte, condition http.Header) error {
	session, err := r.session(ctx, true)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.endpoint("manifests", reference).String(), bytes.NewReader(manifest))
	if err != nil {
		return err
	}
	for key, values := range condition {
		req.Header[key] = values
	}
	req.Header.Set("Content-Type", string(mediaType))
	res, err := (&http.Client{Transport: session}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return transport.CheckError(res, http.StatusOK, http.StatusCreated, http.StatusAccepted)
}

// getManifest reads a manifest or a page of referrers, of any status.
func getManifest(ctx context.Context, client *http.Client, from *url.URL) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", string(types.OCIImageIndex))
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, smallAnswer+1))
	if err == nil && len(text) > smallAnswer {
		err = fmt.Errorf("read %s: the answer has more than %d bytes", from, smallAnswer)
	}
	res.Body = io.NopCloser(bytes.NewReader(text)) // for CheckError
	return res, text, err
}

// lacksReferrers reports whether an answer is of a registry without the referrers API:
// a "404" or the like, a redirect to another server, or a page.
func lacksReferrers(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusOK:
		return !isIndex(res)
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented:
		return true
	}
	return res.StatusCode >= 300 && res.StatusCode < 400
}

func isIndex(res *http.Response) bool {
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && mediaType == string(types.OCIImageIndex)
}

// sameHost follows redirects within a host only.
func sameHost(req *http.Request, via []*http.Request) error {
	if req.URL.Host != via[0].URL.Host || len(via) >= 10 {
		return http.ErrUseLastResponse
	}
	return nil
}

package github

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/klauspost/compress/snappy"

	"dagger/gantry/ci/wire"
)

// ErrUnread means that GitHub's attestation of a release could not be read with this
// token, or has a form that is unknown here. The release may still be attested.
var ErrUnread = errors.New("could not read GitHub's attestation of the release")

// Attestation is what GitHub attested of an immutable release. Nothing here verifies
// its signature: `gh release verify` does.
type Attestation struct {
	// Object is the id of the git object that the tag named: the commit, or the tag
	// object of an annotated tag.
	Object string
	// Assets has the SHA-256 of each asset in hex, by name.
	Assets map[string]string
}

const (
	// attestationAge is how long after its publication a release without attestation
	// may still get one. A younger release is worth waiting for.
	attestationAge = 10 * time.Minute
	// attestationTries is how often a young release is asked for, which takes about a
	// minute, and confirmTries how often an old one: an absence is confirmed.
	attestationTries = 7
	confirmTries     = 2

	maxBundle = 16 << 20 // a release has at most 1000 assets

	// The types are release/v0.1 and release/v0.2 of in-toto's specification,
	// spec/predicates/release.md.
	releasePredicates = "https://in-toto.io/attestation/release/v0."
)

// TagObject reads the id of the git object that a tag names. That of an annotated
// tag is the tag object, not the commit. It returns ErrNotFound, wrapped, only if
// GitHub confirmed that there is no such tag.
func (c *Client) TagObject(ctx context.Context, owner, name, tag string) (string, error) {
	ctx, r := c.on(ctx, owner, name)
	object, err := r.tagRef(ctx, tag)
	if err == nil && object == nil {
		err = fmt.Errorf("read the tag %q: %w", tag, ErrNotFound)
	}
	return object.GetSHA(), c.redactErr(err)
}

// ReleaseAttestation reads GitHub's attestation of an immutable release, or nil if it
// has none. GitHub makes it in the moments after the release is published: of a
// release that is younger than 10 minutes by the server's clock, it is awaited for
// about a minute. object is what the tag names, see [Client.TagObject].
//
// The rules are those of `gh release verify` (pkg/cmd/release/verify/verify.go and
// pkg/cmd/release/shared in github.com/cli/cli): it asks with the object's id, without
// following a tag object to its commit, as sha1 or, for an id of 64 digits, as sha256;
// of the attestations with the predicate type "release" it takes those that GitHub
// itself initiated, and of these the only one with the tag.
func (c *Client) ReleaseAttestation(ctx context.Context, owner, name string, rel *Release, object string) (*Attestation, error) {
	ctx, r := c.on(ctx, owner, name)
	var got *Attestation
	looks := 0
	_, err := r.until(ctx, attestationTries, "GitHub's attestation of the release", func() (done bool, err error) {
		looks++
		got, err = r.attestation(ctx, rel.Tag, object)
		old := r.now().Sub(rel.PublishedAt) >= attestationAge
		return got != nil || old && looks >= confirmTries, err
	})
	return got, c.redactErr(err)
}

// listedAttestation is an entry in a list of attestations, as "List attestations" in
// GitHub's REST documentation describes it. Version 2022-11-28 of the API, which
// go-github asks for, may have null in place of the bundle; version 2026-03-10 has only
// its address.
type listedAttestation struct {
	Bundle    json.RawMessage `json:"bundle"`
	BundleURL string          `json:"bundle_url"`
	Initiator string          `json:"initiator"`
}

// attestation looks once for GitHub's attestation of a tag, and returns nil if there
// is none so far.
func (r *repo) attestation(ctx context.Context, tag, object string) (*Attestation, error) {
	address := fmt.Sprintf("repos/%s/%s/attestations/%s:%s?%s", r.owner, r.name, objectAlgorithm(object), object,
		url.Values{"predicate_type": {"release"}, "per_page": {"100"}}.Encode())
	var list struct {
		Attestations []listedAttestation `json:"attestations"`
	}
	err := r.call(ctx, op{name: "read GitHub's attestation of the release"}, func(ctx context.Context) error {
		req, err := r.c.api.NewRequest(http.MethodGet, address, nil)
		if err == nil {
			_, err = r.c.api.Do(ctx, req, &list)
		}
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil // there is no attestation of this object, or this GitHub makes none
	}
	if r.denied(err) {
		return nil, fmt.Errorf("%w: the token may not: give it read access to attestations (in a workflow: permissions: attestations: read)", ErrUnread)
	}
	if err != nil {
		return nil, err
	}
	var found *Attestation
	for _, l := range list.Attestations {
		// Whoever may write attestations can store one with any statement.
		if l.Initiator != "github" {
			continue
		}
		a, err := r.statement(ctx, &l, tag)
		switch {
		case err != nil:
			return nil, err
		case a != nil && found != nil:
			return nil, fmt.Errorf("%w: there are several of tag %q", ErrUnread, tag)
		case a != nil:
			found = a
		}
	}
	return found, nil
}

// statement reads the statement in an attestation. It returns nil if the statement is
// of something else: several releases may have one commit.
func (r *repo) statement(ctx context.Context, l *listedAttestation, tag string) (*Attestation, error) {
	bundle := l.Bundle
	if len(bundle) == 0 || string(bundle) == "null" {
		var err error
		bundle, err = r.bundle(ctx, l.BundleURL)
		if errors.As(err, new(*permanent)) {
			err = fmt.Errorf("%w: %w", ErrUnread, err)
		}
		if err != nil {
			return nil, err
		}
	}
	a, err := parseAttestation(bundle, tag)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnread, err)
	}
	return a, nil
}

// bundle downloads a bundle. Its address is signed, so no error shows it and it gets
// no token. The content is compressed with Snappy, as GetBundle in cli/cli
// (pkg/cmd/attestation/api/client.go) reads it.
func (r *repo) bundle(ctx context.Context, address string) ([]byte, error) {
	var text []byte
	err := r.call(ctx, op{name: "download GitHub's attestation of the release"}, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil || req.URL.Host == "" {
			return &permanent{errors.New("its address is invalid")}
		}
		r.counted(req)
		resp, err := r.c.public.Do(req)
		if err != nil {
			return errors.Unwrap(err)
		}
		defer resp.Body.Close()
		if code := resp.StatusCode; code != http.StatusOK {
			err = &statusError{code: code}
			if !wire.IsTransientStatus(code) {
				err = &permanent{err}
			}
			return err
		}
		text, err = io.ReadAll(io.LimitReader(resp.Body, maxBundle))
		return err
	})
	if err != nil {
		return nil, err
	}
	if n, err := snappy.DecodedLen(text); err != nil || n > maxBundle {
		return nil, &permanent{errors.New("the download is not a bundle")}
	}
	text, err = snappy.Decode(nil, text)
	if err != nil {
		return nil, &permanent{fmt.Errorf("decompress the bundle: %w", err)}
	}
	return text, nil
}

// denied reports whether GitHub refused a read for good.
func (r *repo) denied(err error) bool {
	resp := responseOf(err)
	if resp == nil || resp.StatusCode != http.StatusForbidden {
		return false
	}
	_, limited := r.limit(resp, 1)
	return !limited
}

// objectAlgorithm returns the name of the algorithm of a git object's id.
func objectAlgorithm(object string) string {
	if len(object) == 64 {
		return "sha256"
	}
	return "sha1"
}

// parseAttestation reads the statement in a bundle. It returns nil if the statement
// isn't about the release of the tag.
func parseAttestation(text []byte, tag string) (*Attestation, error) {
	var bundle struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	if err := json.Unmarshal(text, &bundle); err != nil {
		return nil, fmt.Errorf("its bundle is invalid: %w", err)
	}
	var statement struct {
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Tag string `json:"tag"`
		} `json:"predicate"`
		// The release has a URI (pkg:github/owner/name@tag), an asset a name.
		Subject []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(bundle.Envelope.Payload, &statement); err != nil {
		return nil, fmt.Errorf("its statement is invalid: %w", err)
	}
	if !strings.HasPrefix(statement.PredicateType, releasePredicates) || statement.Predicate.Tag != tag {
		return nil, nil
	}
	a := &Attestation{Assets: map[string]string{}}
	for _, s := range statement.Subject {
		if s.Name != "" {
			a.Assets[s.Name] = s.Digest["sha256"]
			continue
		}
		a.Object = cmp.Or(s.Digest["sha1"], s.Digest["sha256"])
	}
	return a, nil
}

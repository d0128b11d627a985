package oci

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// hint adds to an error what to do about it.
func hint(err error) error {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return err
	}
	switch {
	case isImmutable(refused):
		return fmt.Errorf("%w: the registry's tags are immutable, and floating tags (latest, 1, 1.2) move with every release: set floating = false in [package.metadata.gantry.image.tags], or exempt these tags from the registry's rule", err)
	case refused.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%w: check the credentials", err)
	case refused.StatusCode == http.StatusForbidden && reads(refused) && isManifestPath(refused):
		// Artifactory's answer for a manifest that isn't there, where the user may
		// not write. What is unknown is not absent.
		return fmt.Errorf("%w: check that the credentials may read and write to the repository; some registries answer so for a tag that is not there, which can't be told from one that may not be read", err)
	case refused.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%w: check that the credentials may write to the repository", err)
	}
	return err
}

func reads(refused *transport.Error) bool {
	return refused.Request != nil && (refused.Request.Method == http.MethodGet || refused.Request.Method == http.MethodHead)
}

func isManifestPath(refused *transport.Error) bool {
	return refused.Request != nil && strings.Contains(refused.Request.URL.Path, "/manifests/")
}

// isImmutable recognises a registry's refusal to move a tag. There is no code for
// it: Amazon's has TAG_INVALID, Harbor's PRECONDITION with the status 412, Google's
// and Azure's others; all say it in words.
func isImmutable(refused *transport.Error) bool {
	if refused.StatusCode < 400 || refused.StatusCode >= 500 || reads(refused) {
		return false
	}
	text := refused.Error()
	if refused.Request != nil {
		_, text, _ = strings.Cut(text, ": ") // the address may have any word
	}
	text = strings.ToLower(text)
	for _, word := range []string{"immutable", "immutability", "cannot be overwritten", "can't be overwritten", "write disabled"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// confirmedAbsent says whether a registry's own answer was that something isn't
// there. A proxy's page with the same status is not; nor is a HEAD, which has
// no code. NOT_FOUND is Harbor's, for both; TAG_EXPIRED is Quay's, for a tag that
// had a date.
func confirmedAbsent(err error) bool {
	var refused *transport.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusNotFound {
		return false
	}
	return slices.ContainsFunc(refused.Errors, func(d transport.Diagnostic) bool {
		switch d.Code {
		case transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode, "NOT_FOUND", "TAG_EXPIRED":
			return true
		}
		return false
	})
}

// SplitReference takes the tag or the digest off a reference; there may be none.
// "host:5000/a:1" is "host:5000/a" and "1". Of a tag and a digest, the digest
// counts.
func SplitReference(ref string) (address, reference string) {
	address, digest, pinned := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(address, ':'); i > strings.LastIndexByte(address, '/') {
		address, reference = address[:i], address[i+1:]
	}
	if pinned {
		reference = digest
	}
	return address, reference
}

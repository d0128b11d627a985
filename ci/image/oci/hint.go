package oci

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// hint adds the fix to an error.
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
		// Artifactory answers so for an absent manifest if the user may not write.
		// Unknown is not absent.
		return fmt.Errorf("%w: check that the credentials may read from and write to the repository; some registries answer so for a tag that does not exist", err)
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

// isImmutable recognizes a registry's refusal to move a tag. There is no common
// code: Amazon sends TAG_INVALID, Harbor PRECONDITION with status 412, and Google
// and Azure others. All say it in words.
func isImmutable(refused *transport.Error) bool {
	if refused.StatusCode < 400 || refused.StatusCode >= 500 || reads(refused) {
		return false
	}
	text := refused.Error()
	if refused.Request != nil {
		_, text, _ = strings.Cut(text, ": ") // the address may contain any word
	}
	words := []string{"immutable", "immutability", "cannot be overwritten", "can't be overwritten", "write disabled"}
	return slices.ContainsFunc(words, func(word string) bool { return strings.Contains(strings.ToLower(text), word) })
}

// confirmedAbsent reports whether the registry itself answered that something
// doesn't exist. A proxy's page with the same status doesn't count, nor does a HEAD,
// which has no code. Harbor sends NOT_FOUND for both; Quay sends TAG_EXPIRED for a
// tag that expired.
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

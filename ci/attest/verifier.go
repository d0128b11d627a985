package attest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Author signs: a [Key], or whoever has an identity that certificates name.
type Author interface {
	// SignFile returns a bundle with a signature of a file.
	SignFile(ctx context.Context, content []byte) ([]byte, error)
	// SignStatement returns a bundle with a signed statement, which is encoded as JSON.
	SignStatement(ctx context.Context, statement any) ([]byte, error)
	// Verifier verifies what this author signs.
	Verifier() Verifier
	// Repeats reports whether the same content always gets the same bytes. Otherwise, an
	// earlier signature has to be looked for before one is made.
	Repeats() bool
}

// Verifier verifies bundles by who signed them: a [PublicKey] or an identity.
type Verifier interface {
	// VerifyFile verifies a bundle with a signature of a file.
	VerifyFile(ctx context.Context, bundle, content []byte) error
	// VerifyStatement verifies a bundle with a signed statement, [Payload].
	VerifyStatement(ctx context.Context, bundle []byte) error
	// Who names the signer, such as "key SHA256:…".
	Who() string
}

// VerifyDigest verifies a bundle that is attached to a manifest, and returns the type of
// its statement, such as [SignPredicateType].
func VerifyDigest(ctx context.Context, by Verifier, bundle []byte, digest string) (predicateType string, err error) {
	if err := by.VerifyStatement(ctx, bundle); err != nil {
		return "", err
	}
	var s head
	if err := readInto(bundle, &s); err != nil {
		return "", err
	}
	return s.PredicateType, s.check(digest, s.PredicateType)
}

// CheckType is [VerifyDigest] for a statement that must have a type.
func CheckType(ctx context.Context, by Verifier, bundle []byte, digest, want string) error {
	var s head
	// What it says it is about is known before somebody verifies it.
	if err := readInto(bundle, &s); err != nil {
		return err
	}
	if err := s.check(digest, want); err != nil {
		return err
	}
	return by.VerifyStatement(ctx, bundle)
}

// check checks that the statement is about a digest, and of a type.
func (s *head) check(digest, want string) error {
	if s.Type != statementType {
		return fmt.Errorf("it is a statement %q, not %q", s.Type, statementType)
	}
	var others []string
	for _, subject := range s.Subject {
		if subject.Digest["sha256"] == digest {
			if s.PredicateType != want {
				return fmt.Errorf("it has the predicate %q, not %q", s.PredicateType, want)
			}
			return nil
		}
		others = append(others, "sha256:"+subject.Digest["sha256"])
	}
	return fmt.Errorf("it is about %s, not sha256:%s", cmp.Or(strings.Join(others, " and "), "nothing"), digest)
}

// readInto reads the statement of a bundle, which it doesn't verify.
func readInto(bundle []byte, statement any) error {
	text, err := Payload(bundle)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, statement); err != nil {
		return fmt.Errorf("its statement can't be read: %w", err)
	}
	return nil
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/attest/keyless"
	"dagger/gantry/internal/dagger"
)

// Verification is what the caller passes to verify signatures.
type Verification struct {
	// Key is a public key in PEM, or nil.
	Key *dagger.File
	// Identity and Issuer are those of certificates; both or none.
	Identity, Issuer string
	Sigstore         Sigstore
}

// Verifier returns what verifies signatures; nil for no key and no identity.
func (v Verification) Verifier(ctx context.Context) (attest.Verifier, error) {
	switch {
	case (v.Identity == "") != (v.Issuer == ""):
		return nil, errors.New("--certificate-identity and --certificate-oidc-issuer belong together: pass both")
	case v.Identity != "" && v.Key != nil:
		return nil, errors.New("pass either --verification-key or --certificate-identity: a signature has either a key or a certificate")
	case v.Identity != "":
		instance, err := v.Sigstore.instance(ctx)
		return &keyless.Verifier{Instance: instance, Identity: keyless.Identity{Issuer: v.Issuer, Subject: v.Identity}}, err
	case v.Key == nil:
		return nil, nil
	}
	text, err := v.Key.Contents(ctx)
	if err != nil {
		return nil, fmt.Errorf("read --verification-key: %v", err)
	}
	key, err := attest.ReadPublicKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("--verification-key: %w", err)
	}
	return key, nil
}

// Signing is what the caller passes to sign a release or an image.
type Signing struct {
	// Key is a private key in PEM, or nil.
	Key *dagger.Secret
	// Password of the key, or nil.
	Password *dagger.Secret
	// IdentityToken is an OIDC token to sign with instead of a key, or nil.
	IdentityToken *dagger.Secret
	// RequestURL and RequestToken request such a token, as a job of GitHub Actions may;
	// both or none.
	RequestURL, RequestToken *dagger.Secret
	// Certificates in PEM, trusted in addition to the system's where a token is requested;
	// or nil.
	Certificates *dagger.File
	// Sigstore is the one that signs without a key.
	Sigstore Sigstore
	// Builder is the URI of what runs the build. By default, the identity that signs
	// without a key, or else a local build.
	Builder string
	// Version of Gantry.
	Version string
}

// Asked reports whether the caller wants a signature.
func (s Signing) Asked() bool { return s.Key != nil || s.keyless() }

func (s Signing) keyless() bool {
	return s.IdentityToken != nil || s.RequestURL != nil || s.RequestToken != nil
}

// Signer reads the key or an identity token, before anything else is done. Without both,
// the signer has no author. The errors contain no secret.
func (s Signing) Signer(ctx context.Context) (attest.Signer, error) {
	by := attest.Signer{Builder: s.Builder, Version: s.Version}
	switch {
	case s.Builder != "" && !s.Asked():
		return by, errors.New("--builder is part of the provenance, which is signed: pass --signing-key or --oidc-request-url too")
	case s.keyless() && (s.Key != nil || s.Password != nil):
		return by, errors.New("pass either --signing-key or an identity (--oidc-request-url, --identity-token): a signature has either a key or a certificate")
	case s.IdentityToken != nil && (s.RequestURL != nil || s.RequestToken != nil):
		return by, errors.New("pass either --identity-token or --oidc-request-url with --oidc-request-token")
	case (s.RequestURL == nil) != (s.RequestToken == nil):
		return by, errors.New("--oidc-request-url and --oidc-request-token belong together: pass both")
	}
	if err := attest.CheckBuilder(s.Builder); err != nil {
		return by, err
	}
	if s.keyless() {
		author, err := s.author(ctx)
		if err != nil {
			return by, err
		}
		by.Author = author
		if by.Builder == "" && attest.CheckBuilder(author.Identity.Subject) == nil {
			by.Builder = author.Identity.Subject
		}
		return by, nil
	}
	key, err := signingKey(ctx, s.Key, s.Password)
	if key != nil {
		by.Author = key
	}
	return by, err
}

// author returns one that signs without a key.
func (s Signing) author(ctx context.Context) (*keyless.Author, error) {
	roots, err := PEM(ctx, s.Certificates)
	if err != nil {
		return nil, err
	}
	tokens := keyless.Tokens{RootCAs: roots}
	for _, secret := range []struct {
		flag string
		from *dagger.Secret
		to   *string
	}{
		{"--identity-token", s.IdentityToken, &tokens.Token}, {"--oidc-request-url", s.RequestURL, &tokens.URL}, {"--oidc-request-token", s.RequestToken, &tokens.Bearer},
	} {
		if secret.from == nil {
			continue
		}
		text, err := secret.from.Plaintext(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s: %v", secret.flag, err)
		}
		if *secret.to = strings.TrimSpace(text); *secret.to == "" {
			return nil, fmt.Errorf("%s is empty: give the job an identity (on GitHub, the permission id-token: write)", secret.flag)
		}
	}
	instance, err := s.Sigstore.instance(ctx)
	if err != nil {
		return nil, err
	}
	return keyless.New(ctx, instance, tokens)
}

// signingKey reads the key that signs; nil for no key.
func signingKey(ctx context.Context, key, password *dagger.Secret) (*attest.Key, error) {
	if key == nil {
		if password != nil {
			return nil, errors.New("--signing-key-password without --signing-key: pass the key too")
		}
		return nil, nil
	}
	text, err := key.Plaintext(ctx)
	if err != nil {
		return nil, fmt.Errorf("read --signing-key: %v", err)
	}
	var secret string
	if password != nil {
		if secret, err = password.Plaintext(ctx); err != nil {
			return nil, fmt.Errorf("read --signing-key-password: %v", err)
		}
	}
	read, err := attest.ReadKey([]byte(text), []byte(secret))
	if err != nil {
		return nil, fmt.Errorf("--signing-key: %w", err)
	}
	return read, nil
}

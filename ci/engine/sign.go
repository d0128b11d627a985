package engine

import (
	"context"
	"errors"
	"fmt"

	"dagger/gantry/ci/attest"
	"dagger/gantry/internal/dagger"
)

// PublicKey reads the key that verifies signatures; nil for no file.
func PublicKey(ctx context.Context, file *dagger.File) (*attest.PublicKey, error) {
	if file == nil {
		return nil, nil
	}
	text, err := file.Contents(ctx)
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
	// Builder is the URI of what runs the build; empty for a local build.
	Builder string
	// Version of Gantry.
	Version string
}

// Signer reads the key, before anything else is done. Without one, the signer has no
// key. The errors contain neither secret.
func (s Signing) Signer(ctx context.Context) (attest.Signer, error) {
	by := attest.Signer{Builder: s.Builder, Version: s.Version}
	if s.Builder != "" && s.Key == nil {
		return by, errors.New("--builder is part of the provenance, which is signed: pass --signing-key too")
	}
	if err := attest.CheckBuilder(s.Builder); err != nil {
		return by, err
	}
	var err error
	by.Key, err = signingKey(ctx, s.Key, s.Password)
	return by, err
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

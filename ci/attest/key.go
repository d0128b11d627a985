package attest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// Key signs. It is an ECDSA key on P-256, as cosign makes, or an Ed25519 key.
type Key struct {
	private crypto.Signer
	public  *PublicKey
}

// NewKey makes a key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a signing key: %w", err)
	}
	return newKey(private)
}

func newKey(private crypto.Signer) (*Key, error) {
	public, err := newPublicKey(private.Public())
	if err != nil {
		return nil, err
	}
	return &Key{private, public}, nil
}

// Public returns the key that verifies what this one signs.
func (k *Key) Public() *PublicKey { return k.public }

// Verifier returns the public key.
func (k *Key) Verifier() Verifier { return k.public }

// Repeats reports true: the same content always gets the same bytes.
func (k *Key) Repeats() bool { return true }

// String names the key. It shows no secret.
func (k *Key) String() string { return "private key of " + k.public.String() }

// GoString is like String.
func (k *Key) GoString() string { return k.String() }

const cosignHint = "pass the cosign.key that `cosign generate-key-pair` writes"

// ReadKey reads a private key in PEM: one of cosign, with its password, or one in
// PKCS#8 that is not encrypted.
func ReadKey(text, password []byte) (*Key, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not a key in PEM: " + cosignHint)
	}
	der := block.Bytes
	switch block.Type {
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var err error
		if der, err = decrypt(der, password); err != nil {
			return nil, err
		}
	case "PRIVATE KEY":
	case "PUBLIC KEY":
		return nil, errors.New("it is a public key: " + cosignHint)
	default:
		return nil, fmt.Errorf("it is a PEM block of type %q, which can't sign here: %s, or a key in PKCS#8 without encryption", block.Type, cosignHint)
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("it is not a private key in PKCS#8: " + cosignHint)
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errUnsupported
	}
	return newKey(signer)
}

// decrypt opens a key of cosign. Files and variables often end a password with a line
// break, so it is also tried without one.
func decrypt(text, password []byte) ([]byte, error) {
	der, err := encrypted.Decrypt(text, password)
	if trimmed := bytes.TrimRight(password, "\r\n"); err != nil && len(trimmed) < len(password) {
		der, err = encrypted.Decrypt(text, trimmed)
	}
	switch {
	case err == nil:
		return der, nil
	case len(password) == 0:
		return nil, errors.New("it is encrypted: pass --signing-key-password")
	default:
		return nil, errors.New("the password does not decrypt it, or the key is damaged: check --signing-key-password")
	}
}

var errUnsupported = errors.New("it is neither an ECDSA key on P-256 nor an Ed25519 key: make one with `cosign generate-key-pair`")

// sign signs a message. The same message always gets the same signature: RFC 6979 for
// ECDSA, which Go follows without a source of random numbers.
func (k *Key) sign(message []byte) ([]byte, error) {
	if _, isEd25519 := k.private.(ed25519.PrivateKey); isEd25519 {
		return k.private.Sign(nil, message, crypto.Hash(0))
	}
	digest := sha256.Sum256(message)
	return k.private.Sign(nil, digest[:], crypto.SHA256)
}

// PublicKey verifies.
type PublicKey struct {
	public crypto.PublicKey
	hint   string
}

// ReadPublicKey reads a public key in PEM, such as cosign.pub.
func ReadPublicKey(text []byte) (*PublicKey, error) {
	const hint = "pass the cosign.pub that `cosign generate-key-pair` writes"
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not a key in PEM: " + hint)
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("it is a PEM block of type %q, not a public key: %s", block.Type, hint)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is not a public key: " + hint)
	}
	return newPublicKey(public)
}

func newPublicKey(public crypto.PublicKey) (*PublicKey, error) {
	switch key := public.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return nil, errUnsupported
		}
	default:
		return nil, errUnsupported
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, errUnsupported
	}
	sum := sha256.Sum256(der)
	return &PublicKey{public, base64.StdEncoding.EncodeToString(sum[:])}, nil
}

// String names the key by its digest, which bundles have as the hint.
func (k *PublicKey) String() string { return "SHA256:" + k.hint }

// Who names the key as the signer.
func (k *PublicKey) Who() string { return "key " + k.String() }

// verifies reports whether a signature of a message is by the key.
func (k *PublicKey) verifies(message, signature []byte) bool {
	switch key := k.public.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(key, message, signature)
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(message)
		return ecdsa.VerifyASN1(key, digest[:], signature)
	}
	return false
}

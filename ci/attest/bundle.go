package attest

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// mediaType is that of bundles of version 0.3.
const mediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// payloadType is that of statements in envelopes.
const payloadType = "application/vnd.in-toto+json"

const digestAlgorithm = "SHA2_256"

// bundle has the fields of a Sigstore bundle that is signed by a key, without a
// transparency log, and the certificate of one that is signed without a key. The
// generated types of Sigstore's specification would encode it
// differently in each build of a program.
type bundle struct {
	MediaType            string            `json:"mediaType"`
	VerificationMaterial material          `json:"verificationMaterial"`
	MessageSignature     *messageSignature `json:"messageSignature,omitempty"`
	Envelope             *envelope         `json:"dsseEnvelope,omitempty"`
}

type material struct {
	PublicKey   *publicKeyHint  `json:"publicKey,omitempty"`
	Certificate *rawCertificate `json:"certificate,omitempty"`
}

type rawCertificate struct {
	RawBytes []byte `json:"rawBytes"`
}

type publicKeyHint struct {
	Hint string `json:"hint"`
}

type messageSignature struct {
	MessageDigest messageDigest `json:"messageDigest"`
	Signature     []byte        `json:"signature"`
}

type messageDigest struct {
	Algorithm string `json:"algorithm"`
	Digest    []byte `json:"digest"`
}

// envelope is one of DSSE.
type envelope struct {
	Payload     []byte              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []envelopeSignature `json:"signatures"`
}

type envelopeSignature struct {
	Sig []byte `json:"sig"`
}

// signed returns what the signature of the envelope covers: DSSE's pre-authentication
// encoding.
func (e *envelope) signed() []byte {
	var b bytes.Buffer
	b.WriteString("DSSEv1")
	for _, part := range [][]byte{[]byte(e.PayloadType), e.Payload} {
		b.WriteString(" " + strconv.Itoa(len(part)) + " ")
		b.Write(part)
	}
	return b.Bytes()
}

// encode returns the text of a bundle: one line.
func (k *Key) encode(b bundle) ([]byte, error) {
	b.MediaType, b.VerificationMaterial.PublicKey = mediaType, &publicKeyHint{k.public.hint}
	text, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode the signature: %w", err)
	}
	return append(text, '\n'), nil
}

// SignFile returns a bundle with a signature of a file.
func (k *Key) SignFile(_ context.Context, content []byte) ([]byte, error) {
	signature, err := k.sign(content)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return k.encode(bundle{MessageSignature: &messageSignature{messageDigest{digestAlgorithm, sum(content)}, signature}})
}

// SignStatement returns a bundle with a signed statement.
func (k *Key) SignStatement(_ context.Context, statement any) ([]byte, error) {
	payload, err := json.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("encode the statement: %w", err)
	}
	e := &envelope{Payload: payload, PayloadType: payloadType}
	signature, err := k.sign(e.signed())
	if err != nil {
		return nil, fmt.Errorf("sign the statement: %w", err)
	}
	e.Signatures = []envelopeSignature{{signature}}
	return k.encode(bundle{Envelope: e})
}

// parse reads a bundle, also one of another tool.
func parse(text []byte) (*bundle, error) {
	var b bundle
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, errors.New("it is not a Sigstore bundle in JSON")
	}
	if b.MediaType != mediaType {
		return nil, fmt.Errorf("it has the media type %q, not %q of a Sigstore bundle", b.MediaType, mediaType)
	}
	return &b, nil
}

// Certificate returns the certificate of a bundle that was signed without a key. It
// verifies nothing.
func Certificate(text []byte) (*x509.Certificate, error) {
	b, err := parse(text)
	if err != nil {
		return nil, err
	}
	c := b.VerificationMaterial.Certificate
	if c == nil {
		return nil, errors.New("it has no certificate: it is signed with a key")
	}
	certificate, err := x509.ParseCertificate(c.RawBytes)
	if err != nil {
		return nil, errors.New("its certificate can't be read")
	}
	return certificate, nil
}

// Payload returns the statement of a bundle. It verifies nothing.
func Payload(text []byte) ([]byte, error) {
	b, err := parse(text)
	if err != nil {
		return nil, err
	}
	e, err := b.statement()
	if err != nil {
		return nil, err
	}
	return e.Payload, nil
}

// statement returns the envelope of a statement with one signature.
func (b *bundle) statement() (*envelope, error) {
	if e := b.Envelope; e != nil && e.PayloadType == payloadType && len(e.Signatures) == 1 {
		return e, nil
	}
	return nil, errors.New("it does not contain an in-toto statement with one signature")
}

// parseKeyed reads a bundle that is signed with a key.
func parseKeyed(text []byte) (*bundle, error) {
	b, err := parse(text)
	if err == nil && b.VerificationMaterial.PublicKey == nil {
		return nil, errors.New("it is not signed with a key, but with a certificate")
	}
	return b, err
}

// VerifyFile verifies a bundle with a signature of a file.
func (k *PublicKey) VerifyFile(_ context.Context, text, content []byte) error {
	b, err := parseKeyed(text)
	if err != nil {
		return err
	}
	m := b.MessageSignature
	if m == nil {
		return errors.New("it contains no signature of a file")
	}
	if d := m.MessageDigest; d.Algorithm != digestAlgorithm || !bytes.Equal(d.Digest, sum(content)) {
		return fmt.Errorf("it signs another file, with the %s %x, not SHA-256 %x", d.Algorithm, d.Digest, sum(content))
	}
	if !k.verifies(content, m.Signature) {
		return k.refuse(b)
	}
	return nil
}

// VerifyStatement verifies a bundle with a signed statement.
func (k *PublicKey) VerifyStatement(_ context.Context, text []byte) error {
	b, err := parseKeyed(text)
	if err != nil {
		return err
	}
	e, err := b.statement()
	if err != nil {
		return err
	}
	if !k.verifies(e.signed(), e.Signatures[0].Sig) {
		return k.refuse(b)
	}
	return nil
}

// refuse returns why a signature does not verify.
func (k *PublicKey) refuse(b *bundle) error {
	if hint := b.VerificationMaterial.PublicKey.Hint; hint != k.hint {
		return fmt.Errorf("it is signed with another key, %q, not with %q", hint, k.hint)
	}
	return fmt.Errorf("its signature is not by the key %s: it was changed", k)
}

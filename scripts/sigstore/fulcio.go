package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	"github.com/google/certificate-transparency-go/x509util"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// authority issues certificates.
type authority struct {
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey
}

func newAuthority() (authority, error) {
	var a authority
	root, rootKey, err := ca.GenerateRootCa()
	if err != nil {
		return a, err
	}
	a.root = root
	a.intermediate, a.key, err = ca.GenerateFulcioIntermediate(root, rootKey)
	return a, err
}

// certificateRequest is that of Fulcio's API v2, and so is the answer
// (https://github.com/sigstore/fulcio/blob/main/fulcio.proto).
type certificateRequest struct {
	PublicKeyRequest struct {
		PublicKey struct {
			Content string `json:"content"`
		} `json:"publicKey"`
		ProofOfPossession []byte `json:"proofOfPossession"`
	} `json:"publicKeyRequest"`
}

// certificate issues one for the identity of a token, and the holder of a key.
func (s *sigstore) certificate(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	identity, err := s.identity(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		return 0, nil, err
	}
	var request certificateRequest
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "the request is not JSON: %v", err)
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(request.PublicKeyRequest.PublicKey.Content))
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "the public key can't be read: %v", err)
	}
	key, ok := public.(*ecdsa.PublicKey)
	digest := sha256.Sum256([]byte(identity.Subject))
	if !ok || !ecdsa.VerifyASN1(key, digest[:], request.PublicKeyRequest.ProofOfPossession) {
		return 0, nil, refuse(http.StatusBadRequest, "the proof of possession is not the subject, signed by an ECDSA key")
	}
	leaf, err := s.issue(identity, key)
	if err != nil {
		return 0, nil, err
	}
	var chain []string
	for _, der := range [][]byte{leaf, s.authority.intermediate.Raw, s.authority.root.Raw} {
		chain = append(chain, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	}
	return http.StatusOK, map[string]any{"signedCertificateEmbeddedSct": map[string]any{"chain": map[string]any{"certificates": chain}}}, nil
}

// identity verifies a token.
func (s *sigstore) identity(token string) (claims, error) {
	var c claims
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err == nil {
		err = parsed.Claims(s.tokens.Public(), &c)
	}
	if err == nil {
		err = c.Validate(jwt.Expected{Issuer: s.url, AnyAudience: jwt.Audience{"sigstore"}, Time: time.Now()})
	}
	if err != nil {
		return c, refuse(http.StatusUnauthorized, "the identity token is not valid: %v", err)
	}
	return c, nil
}

// Extensions of certificates: the issuer of the identity, and signed certificate
// timestamps (RFC 6962).
var (
	issuerExtension     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	timestampsExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
)

// issue returns a certificate with the proof that it is logged.
func (s *sigstore) issue(identity claims, public crypto.PublicKey) ([]byte, error) {
	issuer, err := asn1.MarshalWithParams(identity.Issuer, "utf8")
	if err != nil {
		return nil, err
	}
	subject, err := url.Parse("https://github.com/" + identity.Workflow)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, URIs: []*url.URL{subject},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: issuerExtension, Value: issuer}},
	}
	// The log signs the certificate without the timestamps.
	logged, err := x509.CreateCertificate(rand.Reader, template, s.authority.intermediate, public, s.authority.key)
	if err != nil {
		return nil, err
	}
	timestamps, err := s.logCertificate(logged)
	if err != nil {
		return nil, err
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: timestampsExtension, Value: timestamps})
	return x509.CreateCertificate(rand.Reader, template, s.authority.intermediate, public, s.authority.key)
}

// logCertificate returns the timestamp of a certificate's log, as the extension's value.
func (s *sigstore) logCertificate(der []byte) ([]byte, error) {
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	id, err := keyID(s.certificates.Public())
	if err != nil {
		return nil, err
	}
	timestamp := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: [32]byte(id)}, Timestamp: uint64(time.Now().UnixMilli())}
	data, err := ct.SerializeSCTSignatureInput(timestamp, ct.LogEntry{Leaf: ct.MerkleTreeLeaf{
		Version: ct.V1, LeafType: ct.TimestampedEntryLeafType,
		TimestampedEntry: &ct.TimestampedEntry{
			Timestamp: timestamp.Timestamp, EntryType: ct.PrecertLogEntryType,
			PrecertEntry: &ct.PreCert{IssuerKeyHash: sha256.Sum256(s.authority.intermediate.RawSubjectPublicKeyInfo), TBSCertificate: certificate.RawTBSCertificate},
		},
	}})
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	signature, err := ecdsa.SignASN1(rand.Reader, s.certificates, digest[:])
	if err != nil {
		return nil, err
	}
	timestamp.Signature = ct.DigitallySigned{Algorithm: tls.SignatureAndHashAlgorithm{Hash: tls.SHA256, Signature: tls.ECDSA}, Signature: signature}
	list, err := x509util.MarshalSCTsIntoSCTList([]*ct.SignedCertificateTimestamp{&timestamp})
	if err != nil {
		return nil, err
	}
	text, err := tls.Marshal(*list)
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(text)
}

// keyID returns the SHA-256 of a public key, by which logs are known.
func keyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	sum := sha256.Sum256(der)
	return sum[:], err
}

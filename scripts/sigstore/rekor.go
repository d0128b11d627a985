package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/go-openapi/runtime"
	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"         // a type of entries
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1" // a type of entries
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
)

// entry logs a signature (https://github.com/sigstore/rekor/blob/main/openapi.yaml). It
// checks the signature, promises and proves the inclusion, and forgets the entry: each is
// the only one of its tree.
func (s *sigstore) entry(w http.ResponseWriter, r *http.Request) (int, any, error) {
	proposed, err := models.UnmarshalProposedEntry(r.Body, runtime.JSONConsumer())
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "the entry can't be read: %v", err)
	}
	read, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "the entry is not valid: %v", err)
	}
	body, err := types.CanonicalizeEntry(context.Background(), read)
	if err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "the entry is not valid: %v", err)
	}
	logID, err := s.virtual.RekorLogID()
	if err != nil {
		return 0, nil, err
	}
	proof, err := s.virtual.GetInclusionProof(body)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	s.entries++
	index := s.entries
	s.mu.Unlock()
	payload := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: time.Now().Unix(), LogIndex: index, LogID: logID}
	promise, err := s.virtual.RekorSignPayload(payload)
	if err != nil {
		return 0, nil, err
	}
	uuid := fmt.Sprintf("%064x", index)
	w.Header().Set("ETag", uuid)
	w.Header().Set("Location", entryPath+"/"+uuid)
	return http.StatusCreated, map[string]any{uuid: map[string]any{
		"body": payload.Body, "integratedTime": payload.IntegratedTime, "logID": payload.LogID, "logIndex": payload.LogIndex,
		"verification": map[string]any{"signedEntryTimestamp": promise, "inclusionProof": proof},
	}}, nil
}

// trustedRoot returns the keys and certificates of the services.
func (s *sigstore) trustedRoot() ([]byte, error) {
	from, to := time.Now().Add(-time.Hour), time.Now().Add(4*time.Hour)
	service := func(address string, public crypto.PublicKey) (string, *root.TransparencyLog, error) {
		id, err := keyID(public)
		return hex.EncodeToString(id), &root.TransparencyLog{
			BaseURL: address, ID: id, ValidityPeriodStart: from, ValidityPeriodEnd: to,
			HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256, PublicKey: public,
		}, err
	}
	name, certificates, err := service(s.url, s.certificates.Public())
	if err != nil {
		return nil, err
	}
	logs := map[string]*root.TransparencyLog{}
	for _, virtual := range s.virtual.RekorLogs() {
		id, entries, err := service(virtual.BaseURL, virtual.PublicKey)
		if err != nil {
			return nil, err
		}
		logs[id] = entries
	}
	issuer := &root.FulcioCertificateAuthority{
		Root: s.authority.root, Intermediates: []*x509.Certificate{s.authority.intermediate}, ValidityPeriodStart: from, ValidityPeriodEnd: to, URI: s.url,
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, []root.CertificateAuthority{issuer},
		map[string]*root.TransparencyLog{name: certificates}, nil, logs)
	if err != nil {
		return nil, err
	}
	return trusted.MarshalJSON()
}

// signingConfig returns the addresses of the services.
func (s *sigstore) signingConfig() ([]byte, error) {
	here := func(version uint32) []root.Service {
		return []root.Service{{URL: s.url, MajorAPIVersion: version, ValidityPeriodStart: time.Now().Add(-time.Hour), Operator: "stand-in"}}
	}
	config, err := root.NewSigningConfig(root.SigningConfigMediaType02, here(1), here(1), here(1),
		root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}, nil, root.ServiceConfiguration{})
	if err != nil {
		return nil, err
	}
	return config.MarshalJSON()
}

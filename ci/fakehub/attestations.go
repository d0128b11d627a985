package fakehub

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/snappy"
)

// The attestations of releases stand in for those that GitHub makes of immutable
// releases. They have the form of github_release_bundle.json in cli/cli
// (pkg/cmd/attestation/test/data), with the predicate release/v0.2 of in-toto, and are
// found as "List attestations" in GitHub's REST documentation and `gh release verify`
// expect it. Their signatures and certificates are made up: no tool accepts them.

const releasePredicate = "https://in-toto.io/attestation/release/v0.2"

// Subject is a subject of the attestation of a release: the release itself, with a
// URI, or an asset, with a name.
type Subject struct {
	URI    string            `json:"uri,omitempty"`
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// Attest changes the subjects of the attestation of an immutable release, as if GitHub
// had attested something else.
func (r *Repo) Attest(id int64, change func([]Subject) []Subject) {
	r.change(id, func(rel *release) { rel.attested = change(rel.attested) })
}

func (r *Repo) purl(rel *release) string {
	return fmt.Sprintf("pkg:github/%s/%s@%s", r.owner, r.name, rel.tag)
}

// attest makes the attestation of an immutable release. It names the object that the
// tag names, without following a tag object to its commit.
func (r *Repo) attest(rel *release) {
	rel.attested = []Subject{{URI: r.purl(rel), Digest: map[string]string{"sha1": r.tags[rel.tag]}}}
	for _, a := range rel.assets {
		if a.state == "uploaded" {
			rel.attested = append(rel.attested, Subject{Name: a.name, Digest: map[string]string{"sha256": fmt.Sprintf("%x", sha256.Sum256(a.data))}})
		}
	}
}

// listAttestations answers with the attestations of a subject, or with 404 if there
// are none. Those of a release appear some time after its publication.
func (s *Server) listAttestations(w http.ResponseWriter, q *request) {
	algorithm, digest, _ := strings.Cut(q.name, ":")
	list, known := []any{}, false
	for _, rel := range q.repo.releases {
		if rel.draft || rel.attested == nil || s.cfg.Now().Before(rel.published.Add(s.cfg.AttestationDelay)) || !names(rel.attested, algorithm, digest) {
			continue
		}
		known = true
		switch q.r.URL.Query().Get("predicate_type") {
		case "", "release", releasePredicate:
			list = append(list, s.attestationJSON(q, rel))
		}
	}
	if !known {
		notFound(w)
		return
	}
	answer(w, 200, map[string]any{"attestations": list})
}

// names reports whether a subject has the digest.
func names(subjects []Subject, algorithm, digest string) bool {
	return slices.ContainsFunc(subjects, func(x Subject) bool { return x.Digest[algorithm] == digest })
}

func (s *Server) attestationJSON(q *request, rel *release) map[string]any {
	v := map[string]any{
		"bundle": q.repo.bundle(rel), "bundle_url": fmt.Sprintf("%s/_attestations/%d/", base(q.r, "web"), rel.id),
		"repository_id": q.repo.id, "initiator": "github",
	}
	if s.cfg.NoBundles {
		v["bundle"] = nil
	}
	return v
}

func (r *Repo) bundle(rel *release) map[string]any {
	statement, err := json.Marshal(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "subject": rel.attested, "predicateType": releasePredicate,
		"predicate": map[string]any{
			"purl": r.purl(rel), "tag": rel.tag, "repository": r.owner + "/" + r.name, "repositoryId": strconv.FormatInt(r.id, 10),
			"packageId": strconv.FormatInt(r.id, 10), "ownerId": "2", "databaseId": strconv.FormatInt(rel.id, 10),
		},
	})
	if err != nil {
		panic(err)
	}
	madeUp := []byte("made up by a fake GitHub") // in base64, as all bytes in JSON
	return map[string]any{
		"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
		"verificationMaterial": map[string]any{
			"timestampVerificationData": map[string]any{"rfc3161Timestamps": []any{map[string]any{"signedTimestamp": madeUp}}},
			"certificate":               map[string]any{"rawBytes": madeUp},
		},
		"dsseEnvelope": map[string]any{
			"payload": statement, "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": madeUp}},
		},
	}
}

// getBundle serves a bundle at its own address, compressed with Snappy.
func (s *Server) getBundle(w http.ResponseWriter, q *request) {
	for _, r := range s.repos {
		if rel := r.byID(q.id); rel != nil && rel.attested != nil {
			text, err := json.Marshal(r.bundle(rel))
			if err != nil {
				panic(err)
			}
			w.Header().Set("Content-Type", "application/x-snappy")
			_, _ = w.Write(snappy.Encode(nil, text))
			return
		}
	}
	htmlPage(w, 404, "The specified blob does not exist.")
}

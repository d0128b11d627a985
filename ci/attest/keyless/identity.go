package keyless

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"dagger/gantry/ci/attest"
)

// Identity is whom a certificate is for: a workflow, a machine or a person.
type Identity struct {
	// Issuer is the URL of the service that vouches for the subject, such as
	// "https://token.actions.githubusercontent.com".
	Issuer string
	// Subject is a URI, such as that of a workflow file at a ref, or an email address.
	Subject string
}

// String names the identity.
func (i Identity) String() string { return fmt.Sprintf("%s of %s", i.Subject, i.Issuer) }

// workflow returns the subject without the ref of a workflow: a re-run from another ref,
// such as one by hand, is the same workflow.
func (i Identity) workflow() string {
	file, _, found := strings.Cut(i.Subject, "@")
	if !found || !strings.Contains(file, "://") { // an email address
		return i.Subject
	}
	return file
}

// pattern matches the subjects of the same workflow.
func (i Identity) pattern() string {
	if i.workflow() == i.Subject {
		return "^" + regexp.QuoteMeta(i.Subject) + "$"
	}
	return "^" + regexp.QuoteMeta(i.workflow()) + "@.*$"
}

// Extensions of certificates with the issuer, of Fulcio's specification
// (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md): the second is the older
// one, whose value has no type.
var (
	issuerExtension    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}
	oldIssuerExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}
)

// IdentityOf returns the identity in the certificate of a bundle. It verifies nothing.
func IdentityOf(bundle []byte) (Identity, error) {
	c, err := attest.Certificate(bundle)
	if err != nil {
		return Identity{}, err
	}
	i := Identity{Subject: subjectOf(c)}
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(issuerExtension):
			if _, err := asn1.UnmarshalWithParams(e.Value, &i.Issuer, "utf8"); err != nil {
				return Identity{}, errors.New("the issuer in its certificate can't be read")
			}
		case e.Id.Equal(oldIssuerExtension) && i.Issuer == "":
			i.Issuer = string(e.Value)
		}
	}
	if i.Issuer == "" || i.Subject == "" {
		return Identity{}, errors.New("its certificate names no identity")
	}
	return i, nil
}

func subjectOf(c *x509.Certificate) string {
	switch {
	case len(c.URIs) > 0:
		return c.URIs[0].String()
	case len(c.EmailAddresses) > 0:
		return c.EmailAddresses[0]
	}
	return ""
}

// claims are those of an identity token that Gantry reads. Whoever issues certificates
// verifies the token; nothing here does.
type claims struct {
	Issuer  string `json:"iss"`
	Expires int64  `json:"exp"`
	// JobWorkflowRef is GitHub's, and CIConfigRefURI is GitLab's.
	JobWorkflowRef string `json:"job_workflow_ref"`
	CIConfigRefURI string `json:"ci_config_ref_uri"`
	Email          string `json:"email"`
	// These two are Buildkite's.
	Organization string `json:"organization_slug"`
	Pipeline     string `json:"pipeline_slug"`
	Subject      string `json:"sub"`
}

var errToken = errors.New("it is not an OIDC identity token (a JSON web token)")

func parseToken(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errToken
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &c) != nil || c.Issuer == "" {
		return c, errToken
	}
	return c, nil
}

// expired reports whether the token can't be used any more.
func (c claims) expired(now time.Time) bool { return c.Expires != 0 && now.Unix() >= c.Expires }

// identity returns the one that Fulcio's certificates name for a token of GitHub, GitLab,
// Buildkite or a person, or whose subject is a URI
// (https://github.com/sigstore/fulcio/blob/main/docs/oidc.md), and false for others.
func (c claims) identity() (Identity, bool) {
	i := Identity{Issuer: c.Issuer}
	switch {
	case c.JobWorkflowRef != "":
		i.Subject = "https://github.com/" + c.JobWorkflowRef
	case c.CIConfigRefURI != "":
		i.Subject = "https://" + c.CIConfigRefURI
	case c.Organization != "" && c.Pipeline != "":
		i.Subject = "https://buildkite.com/" + c.Organization + "/" + c.Pipeline
	case c.Email != "":
		i.Subject = c.Email
	case strings.Contains(c.Subject, "://"):
		i.Subject = c.Subject
	}
	return i, i.Subject != ""
}

package keyless

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest"
)

const (
	issuer   = "https://token.actions.githubusercontent.com"
	workflow = "acme/tally/.github/workflows/release.yml"
	subject  = "https://github.com/" + workflow
)

// tokenOf returns a token with claims. Nobody verifies its signature here.
func tokenOf(claims map[string]any) string {
	text, _ := json.Marshal(claims)
	return "e30." + base64.RawURLEncoding.EncodeToString(text) + ".CANARY"
}

func githubToken(ref string) string {
	return tokenOf(map[string]any{"iss": issuer, "exp": time.Now().Add(time.Minute).Unix(), "job_workflow_ref": workflow + "@" + ref, "sub": "repo:acme/tally"})
}

// Each CI's token has the identity that its certificates name.
func TestIdentityOfToken(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"GitHub":    {map[string]any{"iss": issuer, "job_workflow_ref": workflow + "@refs/tags/v1.0.0", "sub": "repo:acme/tally:ref:refs/tags/v1.0.0"}, subject + "@refs/tags/v1.0.0"},
		"GitLab":    {map[string]any{"iss": "https://gitlab.com", "ci_config_ref_uri": "gitlab.com/acme/tally//.gitlab-ci.yml@refs/tags/v1.0.0", "sub": "project_path:acme/tally"}, "https://gitlab.com/acme/tally//.gitlab-ci.yml@refs/tags/v1.0.0"},
		"Buildkite": {map[string]any{"iss": "https://agent.buildkite.com", "organization_slug": "acme", "pipeline_slug": "release", "sub": "organization:acme:pipeline:release"}, "https://buildkite.com/acme/release"},
		"a person":  {map[string]any{"iss": "https://accounts.google.com", "email": "ada@example.com", "sub": "1234"}, "ada@example.com"},
		"a URI":     {map[string]any{"iss": "https://spire.example.com", "sub": "spiffe://example.com/release"}, "spiffe://example.com/release"},
	} {
		c.claims["exp"] = time.Now().Add(time.Minute).Unix()
		a, err := New(t.Context(), Instance{}, Tokens{Token: tokenOf(c.claims)})
		require.NoError(t, err, name)
		assert.Equal(t, Identity{c.claims["iss"].(string), c.want}, a.Identity, name)
		assert.Equal(t, "identity "+c.want+" of "+a.Identity.Issuer, a.Verifier().Who(), name)
		assert.False(t, a.Repeats(), name)
	}
	for says, token := range map[string]string{
		"identity token: it is not an OIDC identity token":                                    "CANARY",
		"identity token: it is not an OIDC identity token (a JSON web token)":                 "a.CANARY.c",
		"identity token: it is of https://oidc.example.com, and Gantry doesn't know which":    tokenOf(map[string]any{"iss": "https://oidc.example.com", "sub": "CANARY"}),
		"identity token: it expired at 2001-09-09T01:46:40Z: pass one that lives longer than": tokenOf(map[string]any{"iss": issuer, "exp": 1e9, "job_workflow_ref": "CANARY"}),
	} {
		_, err := New(t.Context(), Instance{}, Tokens{Token: token})
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "CANARY")
	}
}

// A re-run from another ref is the same workflow; another file, owner or address is not.
func TestSameWorkflow(t *testing.T) {
	for _, c := range []struct {
		one, other string
		same       bool
	}{
		{subject + "@refs/tags/v1", subject + "@refs/heads/main", true},
		{subject + "@refs/tags/v1", subject + ".bak@refs/tags/v1", false},
		{subject + "@refs/tags/v1", "https://github.com/evil/tally/.github/workflows/release.yml@refs/tags/v1", false},
		{"ada@example.com", "ada@example.org", false},
		{"ada@example.com", "ada@example.com", true},
		{"https://buildkite.com/acme/release", "https://buildkite.com/acme/release2", false},
	} {
		one, other := Identity{issuer, c.one}, Identity{issuer, c.other}
		assert.Equal(t, c.same, one.workflow() == other.workflow(), "%s and %s", c.one, c.other)
		assert.Regexp(t, one.pattern(), c.one)
		if c.same {
			assert.Regexp(t, one.pattern(), c.other)
		} else {
			assert.NotRegexp(t, one.pattern(), c.other)
		}
	}
}

// service answers like the one of GitHub for identity tokens.
func service(t *testing.T, answer http.HandlerFunc) (tokens Tokens, pauses *int) {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	pauses = new(int)
	return Tokens{URL: server.URL + "/token?api-version=2.0", Bearer: "CANARY-bearer", Pause: func(context.Context, time.Duration) error {
		*pauses++
		return nil
	}}, pauses
}

// A token is requested for the right audience, again after temporary failures, and never
// shown.
func TestRequestToken(t *testing.T) {
	calls := 0
	tokens, pauses := service(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		assert.Equal(t, "Bearer CANARY-bearer", r.Header.Get("Authorization"))
		assert.Equal(t, Audience, r.FormValue("audience"))
		assert.Equal(t, "2.0", r.FormValue("api-version"))
		if calls < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		fmt.Fprintf(w, `{"count":1,"value":%q}`, githubToken("refs/tags/v1"))
	})
	a, err := New(t.Context(), Instance{}, tokens)
	require.NoError(t, err)
	assert.Equal(t, Identity{issuer, subject + "@refs/tags/v1"}, a.Identity)
	assert.Equal(t, 3, calls)
	assert.Equal(t, 2, *pauses)

	for says, c := range map[string]struct {
		status int
		body   string
		pauses int
	}{
		"answered 403 Forbidden: give the job the permission id-token: write":    {http.StatusForbidden, "CANARY", 0},
		"answered 401 Unauthorized: give the job the permission id-token: write": {http.StatusUnauthorized, "CANARY", 0},
		"answered 404 Not Found":           {http.StatusNotFound, "CANARY", 0},
		"answered 503 Service Unavailable": {http.StatusServiceUnavailable, "CANARY", tokenTries - 1},
		"answered without a token":         {http.StatusOK, `{"value":"","CANARY":1}`, 0},
		"it is not an OIDC identity token": {http.StatusOK, `{"value":"CANARY"}`, 0},
	} {
		tokens, pauses := service(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		})
		_, err := New(t.Context(), Instance{}, tokens)
		require.ErrorContains(t, err, says)
		assert.NotContains(t, err.Error(), "CANARY")
		assert.Equal(t, c.pauses, *pauses, says)
	}

	for _, address := range []string{"", "CANARY", "ftp://CANARY.example.com", "https://"} {
		_, err := New(t.Context(), Instance{}, Tokens{URL: address, Bearer: "CANARY"})
		require.ErrorContains(t, err, "--oidc-request-url is not a URL: pass env:ACTIONS_ID_TOKEN_REQUEST_URL")
		assert.NotContains(t, err.Error(), "CANARY")
	}
	gone, pauses := service(t, nil)
	gone.URL = "http://127.0.0.1:1/CANARY"
	_, err = New(t.Context(), Instance{}, gone)
	require.ErrorContains(t, err, "request an identity token: 127.0.0.1:1: ")
	assert.NotContains(t, err.Error(), "CANARY")
	assert.Equal(t, tokenTries-1, *pauses)
}

// A GitHub Enterprise may have a certificate that only its users trust.
func TestRequestTokenOfAnInstance(t *testing.T) {
	private := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"value":%q}`, githubToken("refs/tags/v1"))
	}))
	t.Cleanup(private.Close)
	private.Config.ErrorLog = log.New(io.Discard, "", 0)
	tokens := Tokens{URL: private.URL, Bearer: "CANARY"}
	_, err := New(t.Context(), Instance{}, tokens)
	require.ErrorContains(t, err, "certificate signed by unknown authority")
	tokens.RootCAs = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})
	a, err := New(t.Context(), Instance{}, tokens)
	require.NoError(t, err)
	assert.Equal(t, Identity{issuer, subject + "@refs/tags/v1"}, a.Identity)
}

// bundleOf is a bundle whose certificate names an identity. Nobody signed its content.
func bundleOf(t *testing.T, i Identity, old bool, statement string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now()}
	if strings.Contains(i.Subject, "://") {
		u, err := url.Parse(i.Subject)
		require.NoError(t, err)
		template.URIs = []*url.URL{u}
	} else if i.Subject != "" {
		template.EmailAddresses = []string{i.Subject}
	}
	id, value := issuerExtension, []byte(nil)
	if value, err = asn1.MarshalWithParams(i.Issuer, "utf8"); old {
		id, value = oldIssuerExtension, []byte(i.Issuer)
	}
	require.NoError(t, err)
	if i.Issuer != "" {
		template.ExtraExtensions = []pkix.Extension{{Id: id, Value: value}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	text, err := json.Marshal(map[string]any{
		"mediaType":            attest.BundleType,
		"verificationMaterial": map[string]any{"certificate": map[string]any{"rawBytes": der}},
		"dsseEnvelope":         map[string]any{"payload": []byte(statement), "payloadType": "application/vnd.in-toto+json", "signatures": []any{map[string]any{"sig": "AA=="}}},
	})
	require.NoError(t, err)
	return text
}

func TestIdentityOfBundle(t *testing.T) {
	for _, old := range []bool{false, true} {
		for _, subject := range []string{subject + "@refs/tags/v1", "ada@example.com"} {
			got, err := IdentityOf(bundleOf(t, Identity{issuer, subject}, old, "{}"))
			require.NoError(t, err)
			assert.Equal(t, Identity{issuer, subject}, got)
		}
	}
	key, err := attest.NewKey()
	require.NoError(t, err)
	keyed, err := key.SignFile(t.Context(), nil)
	require.NoError(t, err)
	for says, bundle := range map[string][]byte{
		"its certificate names no identity":                  bundleOf(t, Identity{issuer, ""}, false, "{}"),
		"certificate names no identity":                      bundleOf(t, Identity{"", "ada@example.com"}, false, "{}"),
		"it has no certificate: it is signed with a key":     keyed,
		"it is not a Sigstore bundle in JSON":                []byte("x"),
		"its certificate can't be read":                      []byte(`{"mediaType":"` + attest.BundleType + `","verificationMaterial":{"certificate":{"rawBytes":"AA=="}}}`),
		`it has the media type "", not "application/vnd.dev`: []byte(`{"verificationMaterial":{"certificate":{"rawBytes":"AA=="}}}`),
	} {
		_, err := IdentityOf(bundle)
		assert.ErrorContains(t, err, says)
	}
}

// script is a cosign that answers in turn, and records what it was asked.
type script struct {
	answers []any // a bundle, or an error
	asked   []Command
}

func (s *script) run(_ context.Context, c Command) ([]byte, error) {
	s.asked = append(s.asked, c)
	if len(s.answers) == 0 {
		return nil, nil
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	if err, failed := answer.(error); failed {
		return nil, err
	}
	return answer.([]byte), nil
}

// Signing asks cosign again after a failure, each time with a new token, which no error
// shows; and it verifies what it got.
func TestSigns(t *testing.T) {
	given := 0
	tokens, pauses := service(t, func(w http.ResponseWriter, _ *http.Request) {
		given++
		fmt.Fprintf(w, `{"value":%q}`, githubToken(fmt.Sprintf("refs/tags/v%d", given)))
	})
	bundle := bundleOf(t, Identity{issuer, subject + "@refs/tags/v1"}, false, `{"predicateType":"https://example.com/p"}`)
	cosign := &script{answers: []any{errors.New("the log is busy"), bundle}}
	a, err := New(t.Context(), Instance{Cosign: cosign.run, SigningConfig: []byte("config"), TrustedRoot: []byte("root")}, tokens)
	require.NoError(t, err)
	assert.Empty(t, cosign.asked, "it is signed before anybody asks for it")
	got, err := a.SignFile(t.Context(), []byte("content"))
	require.NoError(t, err)
	assert.Equal(t, string(bundle)+"\n", string(got))
	require.Len(t, cosign.asked, 3)
	assert.Equal(t, 3, given)
	assert.Equal(t, 1, *pauses)
	sign, again, verify := cosign.asked[0], cosign.asked[1], cosign.asked[2]
	assert.Equal(t, []string{"sign-blob", "content", "--yes", "--bundle=bundle.json", "--signing-config=signing-config.json", "--trusted-root=trusted-root.json"}, sign.Args)
	assert.Equal(t, map[string][]byte{"content": []byte("content"), "signing-config.json": []byte("config"), "trusted-root.json": []byte("root")}, sign.Files)
	assert.Equal(t, "bundle.json", sign.Output)
	assert.NotEqual(t, sign.Token, again.Token)
	assert.Empty(t, verify.Token)
	assert.Empty(t, verify.Output)
	assert.Equal(t, []string{"verify-blob", "content", "--bundle=bundle.json", "--certificate-identity-regexp=^https://github\\.com/acme/tally/\\.github/workflows/release\\.yml@.*$",
		"--certificate-oidc-issuer=" + issuer, "--trusted-root=trusted-root.json"}, verify.Args)
	assert.Equal(t, string(got), string(verify.Files["bundle.json"]))

	cosign.answers, cosign.asked = []any{bundle}, nil
	_, err = a.SignStatement(t.Context(), map[string]string{"predicateType": "https://example.com/p"})
	require.NoError(t, err)
	require.Len(t, cosign.asked, 2)
	assert.Equal(t, []string{"attest-blob", "--statement=statement.json"}, cosign.asked[0].Args[:2])
	assert.Equal(t, `{"predicateType":"https://example.com/p"}`, string(cosign.asked[0].Files["statement.json"]))
	assert.Equal(t, []string{"verify-blob-attestation", "--check-claims=false", "--type=https://example.com/p"}, cosign.asked[1].Args[:3])

	cosign.answers, cosign.asked = []any{bundle, errors.New("no")}, nil
	_, err = a.SignFile(t.Context(), nil)
	require.ErrorContains(t, err, "the new signature does not verify: cosign refuses it: no")
	cosign.answers = []any{bundleOf(t, Identity{issuer, "https://github.com/evil"}, false, "{}")}
	_, err = a.SignFile(t.Context(), nil)
	require.ErrorContains(t, err, "the new signature does not verify: it is signed by the identity https://github.com/evil of ")

	token := githubToken("refs/tags/v1")
	failing := errors.New("the token " + token + " is not valid")
	cosign.answers, *pauses = slices.Repeat([]any{failing}, signTries), 0
	a, err = New(t.Context(), Instance{Cosign: cosign.run}, Tokens{Token: token, Pause: tokens.Pause})
	require.NoError(t, err)
	_, err = a.SignFile(t.Context(), nil)
	require.ErrorContains(t, err, "sign: the token *** is not valid")
	assert.Equal(t, signTries-1, *pauses)
	_, err = a.SignStatement(t.Context(), func() {})
	require.ErrorContains(t, err, "encode the statement")
}

// Verifying asks cosign for exactly the identity that the caller names, and doesn't for
// one that the certificate doesn't claim.
func TestVerifies(t *testing.T) {
	cosign := &script{}
	identity := Identity{issuer, subject + "@refs/tags/v1"}
	v := &Verifier{Instance: Instance{Cosign: cosign.run}, Identity: identity}
	bundle := bundleOf(t, identity, false, `{"predicateType":"https://slsa.dev/provenance/v1"}`)
	require.NoError(t, v.VerifyFile(t.Context(), bundle, []byte("content")))
	assert.Equal(t, []string{"verify-blob", "content", "--bundle=bundle.json", "--certificate-identity=" + identity.Subject, "--certificate-oidc-issuer=" + issuer}, cosign.asked[0].Args)
	require.NoError(t, v.VerifyStatement(t.Context(), bundle))
	require.Len(t, cosign.asked, 2)

	for _, other := range []Identity{{issuer, subject + "@refs/heads/main"}, {"https://gitlab.com", identity.Subject}} {
		err := v.VerifyFile(t.Context(), bundleOf(t, other, false, "{}"), nil)
		require.EqualError(t, err, fmt.Sprintf("it is signed by the identity %s, not by %s", other, identity))
	}
	require.ErrorContains(t, v.VerifyStatement(t.Context(), bundleOf(t, identity, false, "x")), "its statement can't be read")
	require.ErrorContains(t, v.VerifyStatement(t.Context(), []byte("x")), "it is not a Sigstore bundle")
	assert.Len(t, cosign.asked, 2, "cosign was asked in vain")
	cosign.answers = []any{errors.New("no matching certificate")}
	require.EqualError(t, v.VerifyFile(t.Context(), bundle, nil), "cosign refuses it: no matching certificate")
}

// Whatever fails when a statement is signed, nobody gets a bundle that was not verified.
func TestSignStatementFails(t *testing.T) {
	bundle := bundleOf(t, Identity{issuer, subject + "@refs/tags/v1"}, false, `{"predicateType":"https://example.com/p"}`)
	answers := 0
	tokens, pauses := service(t, func(w http.ResponseWriter, _ *http.Request) {
		if answers++; answers == 1 {
			fmt.Fprintf(w, `{"value":%q}`, githubToken("refs/tags/v1"))
			return
		}
		w.WriteHeader(http.StatusForbidden)
	})
	cosign := &script{}
	denied, err := New(t.Context(), Instance{Cosign: cosign.run}, tokens)
	require.NoError(t, err)
	got, err := denied.SignStatement(t.Context(), map[string]string{})
	require.ErrorContains(t, err, "sign the statement: request an identity token: ")
	assert.NotContains(t, string(got), "certificate")
	assert.Zero(t, *pauses, "what a retry can't fix is tried once")
	assert.Empty(t, cosign.asked)

	a, err := New(t.Context(), Instance{Cosign: cosign.run}, Tokens{Token: githubToken("refs/tags/v1"), Pause: tokens.Pause})
	require.NoError(t, err)
	cosign.answers = []any{bundle, errors.New("no")}
	_, err = a.SignStatement(t.Context(), map[string]string{})
	require.ErrorContains(t, err, "the new signature does not verify: cosign refuses it: no")
	cosign.answers = slices.Repeat([]any{errors.New("busy")}, signTries)
	_, err = a.SignStatement(t.Context(), map[string]string{})
	require.EqualError(t, err, "sign the statement: busy")
	stopped := errors.New("stopped")
	a.pause = func(context.Context, time.Duration) error { return stopped }
	cosign.answers, cosign.asked = []any{errors.New("busy")}, nil
	_, err = a.SignFile(t.Context(), nil)
	require.ErrorIs(t, err, stopped)
	assert.Len(t, cosign.asked, 1)
}

// What is no identity of a CI is refused, and so is a token in its last second.
func TestTokenEdges(t *testing.T) {
	for name, claims := range map[string]map[string]any{
		"half of Buildkite's": {"iss": "https://agent.buildkite.com", "organization_slug": "acme", "sub": "organization:acme"},
		"the other half":      {"iss": "https://agent.buildkite.com", "pipeline_slug": "release", "sub": "pipeline:release"},
	} {
		_, err := New(t.Context(), Instance{}, Tokens{Token: tokenOf(claims)})
		require.ErrorContains(t, err, "it is of https://agent.buildkite.com, and Gantry doesn't know", name)
	}
	assert.False(t, claims{Expires: 10}.expired(time.Unix(9, 0)))
	assert.True(t, claims{Expires: 10}.expired(time.Unix(10, 0)))
	assert.False(t, claims{}.expired(time.Now()), "a token without an end")
	for _, token := range []string{"e30.e30.x", "e30.!!!.x", tokenOf(map[string]any{"iss": ""})} {
		_, err := New(t.Context(), Instance{}, Tokens{Token: token})
		require.ErrorContains(t, err, "it is not an OIDC identity token", token)
	}
	// The waits are real unless a test replaces them.
	synctest.Test(t, func(t *testing.T) {
		a, err := New(t.Context(), Instance{Cosign: (&script{answers: slices.Repeat([]any{errors.New("busy")}, signTries)}).run}, Tokens{Token: githubToken("refs/tags/v1")})
		require.NoError(t, err)
		start := time.Now()
		_, err = a.SignFile(t.Context(), nil)
		require.ErrorContains(t, err, "busy")
		assert.Equal(t, 6*time.Second, time.Since(start))
		refusing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, errors.New("refused") })
		start = time.Now()
		_, err = New(t.Context(), Instance{}, Tokens{URL: "https://ci.example.com/token", Bearer: "CANARY", Transport: refusing})
		require.EqualError(t, err, "request an identity token: ci.example.com: refused")
		assert.Equal(t, 7*time.Second, time.Since(start))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		_, err = New(ctx, Instance{}, Tokens{URL: "https://ci.example.com/token", Transport: refusing})
		require.ErrorContains(t, err, "refused")
		assert.Zero(t, time.Since(start), "a run that was ended waits for nothing")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

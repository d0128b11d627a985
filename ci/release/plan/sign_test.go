package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The plan tells what becomes of the signature, and a required one is no choice.
func TestSign(t *testing.T) {
	for value, c := range map[string]struct{ text, refused string }{
		"":         {"SHA256SUMS.sigstore.json and app-1.2.3.intoto.jsonl, only if publish gets --signing-key or --oidc-request-url", ""},
		"optional": {"SHA256SUMS.sigstore.json and app-1.2.3.intoto.jsonl, only if publish gets --signing-key or --oidc-request-url", ""},
		"required": {
			"SHA256SUMS.sigstore.json and app-1.2.3.intoto.jsonl, required: publish refuses to run without --signing-key or --oidc-request-url",
			`cannot release "v1.2.3": Cargo.toml has sign = "required" and there is no key or identity to sign with: pass --signing-key or --oidc-request-url`,
		},
	} {
		plan := planOf(t, mustLoad(t, table{"sign": value}, nil, pkg("app", "1.2.3", ".", nil, "app")), "v1.2.3", clean())
		require.NoError(t, plan.Err(), "planning needs no key")
		assert.Contains(t, plan.Text(), c.text)
		assert.NoError(t, plan.CheckSigning(true))
		if err := plan.CheckSigning(false); c.refused == "" {
			assert.NoError(t, err)
		} else {
			assert.EqualError(t, err, c.refused)
		}
		assert.NotContains(t, plan.Assets, "SHA256SUMS.sigstore.json", "the checksums can't list it")
	}
	_, err := load(t, table{"sign": "requird"}, nil, pkg("app", "1.2.3", ".", nil, "app"))
	assert.ErrorContains(t, err, `component "app": sign = "requird" is unknown; did you mean "required"?: use "optional" or "required"`)
}

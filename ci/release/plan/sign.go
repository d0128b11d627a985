package plan

import (
	"fmt"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/nearest"
)

// Values of sign.
const (
	signOptional = "optional"
	signRequired = "required"
)

func checkSign(value string, fail func(format string, args ...any)) {
	if known := []string{signOptional, signRequired}; value != "" && value != signOptional && value != signRequired {
		fail("sign = %q is unknown%s: use %q or %q", value, nearest.Hint(value, known), signOptional, signRequired)
	}
}

// CheckSigning refuses a release without a signature if the configuration requires one.
func (p *Plan) CheckSigning(signed bool) error {
	if signed || p.Sign != signRequired {
		return nil
	}
	return Refusal(p.Tag, []string{fmt.Sprintf("Cargo.toml has sign = %q and there is no key or identity to sign with: pass --signing-key or --oidc-request-url", signRequired)})
}

// Signatures returns the names of the assets that sign the release; none if it is not
// signed.
func (p *Plan) Signatures(signed bool) []string {
	if !signed {
		return nil
	}
	return []string{attest.SignatureName, attest.ProvenanceName(p.Component, p.Version)}
}

// signing describes when the release is signed.
func (p *Plan) signing() string {
	when := "only if publish gets --signing-key or --oidc-request-url"
	if p.Sign == signRequired {
		when = "required: publish refuses to run without --signing-key or --oidc-request-url"
	}
	names := p.Signatures(true)
	return fmt.Sprintf("%s and %s, %s", names[0], names[1], when)
}

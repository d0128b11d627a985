package oci_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/oci/ocitest"
)

// A registry, or a proxy before it, that repeats what it was sent brings no
// credentials into an error. What it says besides stays.
func TestEchoedCredentialsAreRemoved(t *testing.T) {
	const password, token = "CANARY-password", "CANARY-token"
	for _, challenge := range []string{`Basic realm="registry"`, `Bearer realm="https://registry.example.com/token"`} {
		for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusInternalServerError} {
			echoed := 0
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent := r.Header.Get("Authorization")
				switch {
				case r.URL.Path == "/token":
					fmt.Fprintf(w, `{"token":%q}`, token)
				case sent == "":
					w.Header().Set("WWW-Authenticate", challenge)
					w.WriteHeader(http.StatusUnauthorized)
				case r.URL.Path == "/v2/":
				default:
					echoed++
					w.WriteHeader(status)
					fmt.Fprintf(w, "no such thing, sent with %s for octocat and %s", sent, password)
				}
			})
			login, err := oci.Login("registry.example.com", "octocat", password)
			require.NoError(t, err)
			o := fast
			o.Keychain, o.Transport = login, ocitest.Within{Handler: handler}
			r, err := oci.NewRepository("registry.example.com/acme/server", o)
			require.NoError(t, err)
			_, err = r.Tags(t.Context())
			require.ErrorContains(t, err, "no such thing, sent with "+strings.Fields(challenge)[0]+" ***")
			require.Positive(t, echoed)
			for _, secret := range []string{token, base64.StdEncoding.EncodeToString([]byte("octocat:" + password))} {
				assert.NotContains(t, err.Error(), secret)
			}
			if strings.HasPrefix(challenge, "Basic") {
				assert.NotContains(t, err.Error(), password)
			}
		}
	}
}

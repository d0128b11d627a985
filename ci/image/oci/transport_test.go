package oci_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A connection that breaks in the middle of an answer is as transient as one
// that breaks before it: what only reads is to be made again.
func TestAnswerThatIsCutOffIsReadAgain(t *testing.T) {
	for _, part := range []string{"/tags/list", "/manifests/latest"} {
		t.Run(part, func(t *testing.T) {
			p := newPeer(t)
			require.NoError(t, publishTiny(t, p.repository(t, fast), "1.2.3"))
			broken := 0
			p.set(func(_ int, w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, part) || broken > 0 {
					return false
				}
				broken++
				body := `{"name":"acme/server","tags":["1.2.3"]}`
				w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				_, _ = io.WriteString(w, body[:len(body)/2])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			})
			o := fast // 3 tries
			var err error
			if part == "/tags/list" {
				_, err = p.repository(t, o).Tags(t.Context())
			} else {
				_, err = p.repository(t, o).Digest(t.Context(), "latest")
			}
			assert.Equal(t, 1, broken)
			assert.NoError(t, err, "one cut-off answer, 3 tries")
		})
	}
}

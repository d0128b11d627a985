package fakehub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/require"
)

// statementOf returns the only attestation in an answer, and its statement.
func statementOf(t *testing.T, answer map[string]any) (entry, statement map[string]any) {
	t.Helper()
	list := answer["attestations"].([]any)
	require.Len(t, list, 1)
	entry = list[0].(map[string]any)
	if entry["bundle"] == nil {
		return entry, nil
	}
	payload, err := base64.StdEncoding.DecodeString(entry["bundle"].(map[string]any)["dsseEnvelope"].(map[string]any)["payload"].(string))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(payload, &statement))
	return entry, statement
}

// An immutable release is attested a while after it is published, by the object that
// its tag names; no other release is.
func TestAttestations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(t, Config{AttestationDelay: 20 * time.Second})
		h.repo.Seed(Seed{Tag: "v1", Commit: h.commit})
		h.must(404, "GET", "/repos/octo/hello/attestations/sha1:"+h.commit, "")

		r, s := h.AddRepo("octo", "sealed").Immutable(), "/repos/octo/sealed"
		c := r.Commit("one")
		object := r.AnnotatedTag("v1", c)
		rel := id(h.must(201, "POST", s+"/releases", `{"tag_name":"v1","draft":true}`))
		h.must(201, "POST", fmt.Sprintf("uploads:%s/releases/%d/assets?name=a.txt", s, rel), "hello")
		one := s + "/attestations/sha1:" + object
		h.must(404, "GET", one, "")
		h.must(200, "PATCH", fmt.Sprintf("%s/releases/%d", s, rel), `{"draft":false}`)
		time.Sleep(19 * time.Second)
		h.must(404, "GET", one, "")
		time.Sleep(time.Second)
		h.must(404, "GET", s+"/attestations/sha1:"+c, "")
		require.Empty(t, h.must(200, "GET", one+"?predicate_type=provenance", "")["attestations"])
		entry, statement := statementOf(t, h.must(200, "GET", one+"?predicate_type=release", ""))
		require.Equal(t, "github", entry["initiator"])
		require.Equal(t, "https://in-toto.io/attestation/release/v0.2", statement["predicateType"])
		require.Equal(t, "v1", statement["predicate"].(map[string]any)["tag"])
		require.Equal(t, []any{
			map[string]any{"uri": "pkg:github/octo/sealed@v1", "digest": map[string]any{"sha1": object}},
			map[string]any{"name": "a.txt", "digest": map[string]any{"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"}},
		}, statement["subject"])
	})
}

// A bundle that the list leaves out is at its address.
func TestBundleAtItsAddress(t *testing.T) {
	h := newHub(t, Config{})
	r := h.AddRepo("octo", "sealed").Immutable()
	c := r.Commit("one")
	rel := r.Seed(Seed{Tag: "v1", Commit: c})
	whole, _ := statementOf(t, h.must(200, "GET", "/repos/octo/sealed/attestations/sha1:"+c, ""))
	h.cfg.NoBundles = true
	entry, _ := statementOf(t, h.must(200, "GET", "/repos/octo/sealed/attestations/sha1:"+c, ""))
	require.Nil(t, entry["bundle"])
	resp, err := h.http.Get(entry["bundle_url"].(string))
	require.NoError(t, err)
	packed, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	text, err := snappy.Decode(nil, packed)
	require.NoError(t, err)
	want, err := json.Marshal(whole["bundle"])
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(text))
	resp, err = h.http.Get(h.URL + fmt.Sprintf("_attestations/%d/", rel+1))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 404, resp.StatusCode)
}

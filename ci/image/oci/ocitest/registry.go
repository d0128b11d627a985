package ocitest

import (
	"bytes"
	"net/http"
	"net/http/httptest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Within carries requests to a handler without a connection.
type Within struct{ http.Handler }

// RoundTrip returns the handler's answer.
func (h Within) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	res := rec.Result()
	res.Request = r
	return res, nil
}

// Digests returns the digests in the text of an index.
func Digests(index []byte) ([]string, error) {
	im, err := v1.ParseIndexManifest(bytes.NewReader(index))
	if err != nil {
		return nil, err
	}
	var all []string
	for _, d := range im.Manifests {
		all = append(all, d.Digest.String())
	}
	return all, nil
}

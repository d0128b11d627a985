package oci

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
)

// shortest is the length from which credentials are removed from answers: shorter ones
// may be part of any word. Those of nobody are a colon.
const shortest = 6

// redact removes the credentials of a request from the answer that refuses it: some
// servers repeat what they were sent, and errors have the text of the answer.
func redact(req *http.Request, res *http.Response) error {
	scheme, credentials, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if res.StatusCode < 400 || len(credentials) < shortest {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, smallAnswer))
	_ = res.Body.Close()
	if err != nil {
		return err
	}
	secrets := []string{credentials}
	if login, err := base64.StdEncoding.DecodeString(credentials); err == nil && strings.EqualFold(scheme, "Basic") {
		if _, password, _ := strings.Cut(string(login), ":"); len(password) >= shortest {
			secrets = append(secrets, password)
		}
	}
	for _, secret := range secrets {
		text = bytes.ReplaceAll(text, []byte(secret), []byte("***"))
	}
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	res.Header.Del("Content-Length")
	return nil
}

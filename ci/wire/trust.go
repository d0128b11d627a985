// Package wire helps HTTP clients cope with unreliable servers: it tells
// temporary failures from permanent ones, spaces out retries, and ends
// connections that stand still.
//
// It is pure: it knows no service and starts no request. The clients of both
// phases keep its invariant: what a retry cannot fix is tried once.
package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// UntrustedHint is the fix for an error for which [IsUntrusted] holds.
const UntrustedHint = "the server's certificate is not trusted, or it does not speak TLS: pass --ca-certificates with the certificate that signed it, or correct the address"

// IsUntrusted reports whether an error means that the server's certificate is not
// trusted, or that the server does not speak TLS.
func IsUntrusted(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &host) ||
		errors.Is(err, http.ErrSchemeMismatch)
}

// NewTransport returns a transport that uses the environment's proxy and trusts
// the given certificates, in PEM, in addition to the system's.
func NewTransport(roots []byte) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	if roots == nil {
		return t, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("read the root certificates: no certificate in PEM found")
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// TransportOr returns the given transport, or a new one with the given
// certificates; see [NewTransport]. Both together are an error.
func TransportOr(given http.RoundTripper, roots []byte) (http.RoundTripper, error) {
	switch {
	case given == nil:
		return NewTransport(roots)
	case roots != nil:
		return nil, errors.New("set either a transport or root certificates, not both")
	}
	return given, nil
}

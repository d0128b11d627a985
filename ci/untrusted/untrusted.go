// Package untrusted tells a server that is not trusted from one that is not
// there. It is pure. Both phases' clients hold to its invariant: what no other
// try can cure is tried once.
package untrusted

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Hint says what to do.
const Hint = "the server's certificate is not trusted, or it does not speak TLS: pass --root-cas with the certificate that signed it, or mend the address"

// Server says whether an error is that a server has no certificate that is
// trusted, or does not speak TLS at all.
func Server(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &host)
}

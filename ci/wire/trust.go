// Package wire tells a server that is not trusted from one that is not
// there. It is pure. Both phases' clients hold to its invariant: what no other
// try can cure is tried once.
package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// UntrustedHint says what to do.
const UntrustedHint = "the server's certificate is not trusted, or it does not speak TLS: pass --root-cas with the certificate that signed it, or mend the address"

// IsUntrusted reports whether an error is that a server has no certificate that is
// trusted, or does not speak TLS at all.
func IsUntrusted(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &authority) || errors.As(err, &host)
}

// Package keyless signs without a key of one's own: for each signature, Sigstore's
// certificate authority (Fulcio) issues a certificate for the identity that a CI's token
// proves, and the transparency log records it. cosign does the work.
//
// The package is pure: the caller runs cosign. It keeps these invariants: a signature is
// verified before it is returned, and no error contains a token.
package keyless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/wire"
)

// Command is a run of cosign.
type Command struct {
	// Args come after the program's name. They name files by their names in Files, in
	// the working directory.
	Args  []string
	Files map[string][]byte
	// Token is a secret for the variable [TokenVariable]; empty for none.
	Token string
	// Output is the name of the file that the command writes; empty for none.
	Output string
}

// TokenVariable is the variable in which cosign looks for an identity token.
const TokenVariable = "SIGSTORE_ID_TOKEN"

// Program runs cosign 3. An error has what cosign printed.
type Program func(context.Context, Command) (output []byte, err error)

// Instance is a Sigstore. The zero value is the public one, which cosign knows.
type Instance struct {
	// Cosign runs it.
	Cosign Program
	// SigningConfig and TrustedRoot are the contents of the files that describe another
	// Sigstore: the addresses of its services, and its keys and certificates.
	SigningConfig, TrustedRoot []byte
}

// Names of files.
const (
	bundleFile    = "bundle.json"
	contentFile   = "content"
	statementFile = "statement.json"
	configFile    = "signing-config.json"
	rootFile      = "trusted-root.json"
)

// command returns a run of cosign with the files of the instance.
func (i Instance) command(files map[string][]byte, args ...string) Command {
	if i.TrustedRoot != nil {
		files[rootFile] = i.TrustedRoot
		args = append(args, "--trusted-root="+rootFile)
	}
	return Command{Args: args, Files: files}
}

// Author signs with certificates for the identity of a token.
type Author struct {
	Instance
	tokens Tokens
	// pause waits between two tries.
	pause func(context.Context, time.Duration) error
	// Identity is the one of the tokens.
	Identity Identity
}

// New returns an author. It requests a token, so that nothing is built in vain if there is
// none; each signature requests a new one, as they live for minutes.
func New(ctx context.Context, i Instance, tokens Tokens) (*Author, error) {
	_, c, err := tokens.token(ctx)
	if err != nil {
		return nil, err
	}
	identity, known := c.identity()
	if !known {
		return nil, fmt.Errorf("identity token: it is of %s, and Gantry doesn't know which identity certificates for its tokens name: "+
			"use a token of GitHub Actions, GitLab, Buildkite or a person, or sign with a key (--signing-key)", c.Issuer)
	}
	a := &Author{Instance: i, tokens: tokens, pause: tokens.Pause, Identity: identity}
	if a.pause == nil {
		a.pause = wire.Sleep
	}
	return a, nil
}

// Repeats reports false: each signature has another key, certificate and time.
func (a *Author) Repeats() bool { return false }

// Verifier verifies what the same workflow signed, from any ref.
func (a *Author) Verifier() attest.Verifier {
	return &Verifier{Instance: a.Instance, Identity: a.Identity, anyRef: true}
}

// SignFile returns a bundle with a signature of a file.
func (a *Author) SignFile(ctx context.Context, content []byte) ([]byte, error) {
	bundle, err := a.sign(ctx, map[string][]byte{contentFile: content}, "sign-blob", contentFile)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return bundle, checked(a.Verifier().VerifyFile(ctx, bundle, content))
}

// SignStatement returns a bundle with a signed statement.
func (a *Author) SignStatement(ctx context.Context, statement any) ([]byte, error) {
	text, err := json.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("encode the statement: %w", err)
	}
	bundle, err := a.sign(ctx, map[string][]byte{statementFile: text}, "attest-blob", "--statement="+statementFile)
	if err != nil {
		return nil, fmt.Errorf("sign the statement: %w", err)
	}
	return bundle, checked(a.Verifier().VerifyStatement(ctx, bundle))
}

const signTries = 3

// sign runs cosign, which asks for a certificate and writes to the log, until it succeeds.
func (a *Author) sign(ctx context.Context, files map[string][]byte, args ...string) ([]byte, error) {
	args = append(args, "--yes", "--bundle="+bundleFile)
	if a.SigningConfig != nil {
		files[configFile] = a.SigningConfig
		args = append(args, "--signing-config="+configFile)
	}
	command := a.command(files, args...)
	command.Output = bundleFile
	var bundle []byte
	var failed error
	_, err := wire.Until(signTries, func() (done bool, err error) {
		var token string
		if token, _, err = a.tokens.token(ctx); err != nil {
			return false, err
		}
		command.Token = token
		bundle, failed = a.Cosign(ctx, command)
		if failed != nil && strings.Contains(failed.Error(), token) {
			failed = errors.New(strings.ReplaceAll(failed.Error(), token, "***"))
		}
		return failed == nil, nil
	}, func(n int) error { return a.pause(ctx, wire.Backoff(n, 2*time.Second, 10*time.Second, 0.5)) })
	// The line break is that of the bundles which are signed with a key.
	return append(bundle, '\n'), errors.Join(failed, err)
}

// checked explains why a new signature is not used.
func checked(err error) error {
	if err != nil {
		return fmt.Errorf("the new signature does not verify: %w", err)
	}
	return nil
}

// Verifier verifies what an identity signed.
type Verifier struct {
	Instance
	Identity Identity
	// anyRef accepts the identity's workflow from any ref.
	anyRef bool
}

// Who names the identity.
func (v *Verifier) Who() string { return "identity " + v.Identity.String() }

// VerifyFile verifies a bundle with a signature of a file.
func (v *Verifier) VerifyFile(ctx context.Context, bundle, content []byte) error {
	return v.verify(ctx, bundle, map[string][]byte{contentFile: content}, "verify-blob", contentFile)
}

// VerifyStatement verifies a bundle with a signed statement.
func (v *Verifier) VerifyStatement(ctx context.Context, bundle []byte) error {
	payload, err := attest.Payload(bundle)
	if err != nil {
		return err
	}
	var s struct{ PredicateType string }
	if err := json.Unmarshal(payload, &s); err != nil {
		return fmt.Errorf("its statement can't be read: %w", err)
	}
	// Gantry compares the subjects itself: a statement may have several.
	return v.verify(ctx, bundle, map[string][]byte{}, "verify-blob-attestation", "--check-claims=false", "--type="+s.PredicateType)
}

// verify runs cosign.
func (v *Verifier) verify(ctx context.Context, bundle []byte, files map[string][]byte, args ...string) error {
	signer, err := IdentityOf(bundle)
	if err != nil {
		return err
	}
	subject := "--certificate-identity=" + v.Identity.Subject
	same := signer == v.Identity
	if v.anyRef {
		subject = "--certificate-identity-regexp=" + v.Identity.pattern()
		same = signer.Issuer == v.Identity.Issuer && signer.workflow() == v.Identity.workflow()
	}
	if !same {
		return fmt.Errorf("it is signed by the identity %s, not by %s", signer, v.Identity)
	}
	files[bundleFile] = bundle
	args = append(args, "--bundle="+bundleFile, subject, "--certificate-oidc-issuer="+v.Identity.Issuer)
	if _, err := v.Cosign(ctx, v.command(files, args...)); err != nil {
		return fmt.Errorf("cosign refuses it: %w", err)
	}
	return nil
}

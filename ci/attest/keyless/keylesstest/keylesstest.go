// Package keylesstest has what tests of signatures without a key share: the real cosign,
// and scripts/sigstore, which stands in for a Sigstore and for a CI that gives identity
// tokens.
package keylesstest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"dagger/gantry/ci/attest/keyless"
)

// Variables with the programs: cosign and scripts/sigstore.
const (
	CosignVariable   = "GANTRY_COSIGN"
	SigstoreVariable = "GANTRY_SIGSTORE"
)

// RequestToken is the token for which the stand-in gives identity tokens.
const RequestToken = "CANARY-" + "request-token" // in two parts: tests look for it in what was uploaded

// Paths of the stand-in's services.
const (
	TokenPath       = "/token"
	CertificatePath = "/api/v2/signingCert"
	EntryPath       = "/api/v1/log/entries"
)

// Sigstore is a stand-in that runs.
type Sigstore struct {
	keyless.Instance
	// URL of the services, and the issuer of identities.
	URL string
	// Directory has trusted-root.json and signing-config.json.
	Directory string
}

// Cosign returns the path of cosign. It skips the test if there is none.
func Cosign(t testing.TB) string {
	t.Helper()
	return program(t, CosignVariable)
}

func program(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Skip(variable + " names no program: scripts/signatures builds it and runs this test")
	}
	return path
}

// Start starts a stand-in that listens at an address, and that clients reach at another,
// if it is not empty.
func Start(t testing.TB, listen, public string) *Sigstore {
	t.Helper()
	cosign, sigstore := Cosign(t), program(t, SigstoreVariable)
	s := &Sigstore{Directory: t.TempDir()}
	cmd := exec.Command(sigstore, "--listen="+listen, "--public="+public, "--directory="+s.Directory)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var config struct{ CAUrls []struct{ URL string } }
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(filepath.Join(s.Directory, "signing-config.json"))
		return err == nil && json.Unmarshal(text, &config) == nil && len(config.CAUrls) == 1
	}, 30*time.Second, 50*time.Millisecond, "the stand-in for Sigstore did not start")
	s.URL = config.CAUrls[0].URL
	var err error
	for name, to := range map[string]*[]byte{"signing-config.json": &s.SigningConfig, "trusted-root.json": &s.TrustedRoot} {
		*to, err = os.ReadFile(filepath.Join(s.Directory, name))
		require.NoError(t, err)
	}
	s.Instance.Cosign = Local(t, cosign)
	return s
}

// Local runs a local cosign, in a new directory each time, which is its home, too.
func Local(t testing.TB, cosign string) keyless.Program {
	return func(ctx context.Context, c keyless.Command) ([]byte, error) {
		directory, err := os.MkdirTemp(t.TempDir(), "cosign-")
		if err != nil {
			return nil, err
		}
		for name, content := range c.Files {
			if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
				return nil, err
			}
		}
		cmd := exec.CommandContext(ctx, cosign, c.Args...)
		cmd.Dir = directory
		cmd.Env = []string{"HOME=" + directory, keyless.TokenVariable + "=" + c.Token}
		said, err := cmd.CombinedOutput()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s", said), err)
		}
		if c.Output == "" {
			return said, nil
		}
		return os.ReadFile(filepath.Join(directory, c.Output))
	}
}

// RequestURL returns the address at which a workflow, OWNER/NAME/PATH@REF, gets its
// identity tokens.
func (s *Sigstore) RequestURL(workflow string) string {
	return s.URL + TokenPath + "?workflow=" + url.QueryEscape(workflow)
}

// Identity returns the identity of a workflow.
func (s *Sigstore) Identity(workflow string) keyless.Identity {
	return keyless.Identity{Issuer: s.URL, Subject: "https://github.com/" + workflow}
}

// Author returns an author that signs as a workflow.
func (s *Sigstore) Author(t testing.TB, workflow string) *keyless.Author {
	t.Helper()
	a, err := keyless.New(t.Context(), s.Instance, keyless.Tokens{
		URL: s.RequestURL(workflow), Bearer: RequestToken, Pause: func(context.Context, time.Duration) error { return nil },
	})
	require.NoError(t, err)
	return a
}

// Fail lets the next answers of a path fail, at the address at which the test reaches it.
func (s *Sigstore) Fail(t testing.TB, at, path string, times int) {
	t.Helper()
	answer, err := http.PostForm(at+"/fail", url.Values{"path": {path}, "times": {fmt.Sprint(times)}})
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

// Tokens returns the identity tokens that were given.
func (s *Sigstore) Tokens(t testing.TB) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.Directory, "tokens"))
	require.NoError(t, err)
	return strings.Fields(string(text))
}

// Count returns how often a path was answered with success.
func (s *Sigstore) Count(t testing.TB, path string) (n int) {
	t.Helper()
	file, err := os.Open(filepath.Join(s.Directory, "log"))
	require.NoError(t, err)
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "20") && strings.HasSuffix(line, " "+path) {
			n++
		}
	}
	return n
}

// Command sigstore stands in for a Sigstore and for a CI that gives identity tokens, as
// the public ones can't be reached everywhere: it issues tokens like GitHub Actions,
// certificates like Fulcio (API v2), and log entries like Rekor (API v1). It is made of
// Sigstore's own libraries, and cosign verifies what it makes.
//
// It writes the files that describe it to a directory: trusted-root.json,
// signing-config.json, log, with a line for each answer, and tokens, with those that it
// gave, so that tests can look for them elsewhere.
package main

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen at")
	public := flag.String("public", "", "`address` at which clients reach it; by default, that of --listen")
	directory := flag.String("directory", ".", "`directory` for the files that describe it")
	flag.Parse()
	if err := run(*listen, *public, *directory); err != nil {
		log.Fatal(err)
	}
}

func run(listen, public, directory string) error {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s, err := newSigstore("http://" + cmp.Or(public, listener.Addr().String()))
	if err != nil {
		return err
	}
	for name, file := range map[string]**os.File{"log": &s.log, "tokens": &s.given} {
		if *file, err = os.Create(filepath.Join(directory, name)); err != nil {
			return err
		}
	}
	// The last file tells that all is ready.
	for _, file := range []struct {
		name string
		make func() ([]byte, error)
	}{{"trusted-root.json", s.trustedRoot}, {"signing-config.json", s.signingConfig}} {
		text, err := file.make()
		if err != nil {
			return fmt.Errorf("%s: %w", file.name, err)
		}
		path := filepath.Join(directory, file.name)
		if err := os.WriteFile(path+".new", text, 0o644); err != nil {
			return err
		}
		if err := os.Rename(path+".new", path); err != nil {
			return err
		}
	}
	return http.Serve(listener, s.handler())
}

// sigstore is the stand-in.
type sigstore struct {
	url string
	// virtual is the log; authority issues certificates, and certificates its log.
	virtual      *ca.VirtualSigstore
	authority    authority
	certificates *ecdsa.PrivateKey
	// tokens signs identity tokens.
	tokens     *ecdsa.PrivateKey
	log, given *os.File

	mu sync.Mutex
	// failures counts the next answers of a path to replace by an error.
	failures map[string]int
	entries  int64
}

func newSigstore(url string) (*sigstore, error) {
	s := &sigstore{url: url, failures: map[string]int{}}
	var err error
	if s.virtual, err = ca.NewVirtualSigstore(); err != nil {
		return nil, err
	}
	for _, key := range []**ecdsa.PrivateKey{&s.certificates, &s.tokens} {
		if *key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, err
		}
	}
	s.authority, err = newAuthority()
	return s, err
}

// Paths of the services.
const (
	tokenPath       = "/token"
	certificatePath = "/api/v2/signingCert"
	entryPath       = "/api/v1/log/entries"
)

func (s *sigstore) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+tokenPath, s.serve(s.token))
	mux.HandleFunc("POST "+certificatePath, s.serve(s.certificate))
	mux.HandleFunc("POST "+entryPath, s.serve(s.entry))
	// The next answers of a path fail: POST /fail?path=PATH&times=N
	mux.HandleFunc("POST /fail", func(w http.ResponseWriter, r *http.Request) {
		times, err := strconv.Atoi(r.FormValue("times"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failures[r.FormValue("path")] = times
	})
	return mux
}

// refusal is an answer with a status of 4xx.
type refusal struct {
	status int
	why    string
}

func (r *refusal) Error() string { return r.why }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

// serve answers with JSON, logs the answer, and fails as often as asked for.
func (s *sigstore) serve(answer func(http.ResponseWriter, *http.Request) (status int, body any, err error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status, body, err := http.StatusServiceUnavailable, any(nil), error(nil)
		if !s.fails(r.URL.Path) {
			status, body, err = answer(w, r)
		}
		if err != nil {
			status = http.StatusInternalServerError
			if refused, ok := err.(*refusal); ok {
				status = refused.status
			}
			body = map[string]any{"code": status, "message": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintln(s.log, status, r.Method, r.URL.Path)
	}
}

func (s *sigstore) fails(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures[path]--
	return s.failures[path] >= 0
}

// RequestToken is the token for which a job gets identity tokens.
const RequestToken = "CANARY-" + "request-token" // in two parts: tests look for it in what was uploaded

// claims are those of a token of GitHub Actions that matter here.
type claims struct {
	jwt.Claims
	Workflow string `json:"job_workflow_ref,omitempty"`
}

// token answers like the service for jobs of GitHub Actions
// (https://docs.github.com/actions/reference/security/oidc), for the workflow that the
// parameter "workflow" names: OWNER/NAME/PATH@REF.
func (s *sigstore) token(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	if r.Header.Get("Authorization") != "Bearer "+RequestToken {
		return 0, nil, refuse(http.StatusUnauthorized, "another request token")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.tokens}, nil)
	if err != nil {
		return 0, nil, err
	}
	now := time.Now()
	lifetime := 5 * time.Minute
	if r.FormValue("expired") != "" {
		lifetime = -lifetime
	}
	workflow := r.FormValue("workflow")
	token, err := jwt.Signed(signer).Claims(claims{
		Claims: jwt.Claims{
			Issuer: s.url, Subject: "workflow:" + workflow, Audience: jwt.Audience{r.FormValue("audience")},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(lifetime)),
		},
		Workflow: workflow,
	}).Serialize()
	fmt.Fprintln(s.given, token)
	return http.StatusOK, map[string]string{"value": token}, err
}

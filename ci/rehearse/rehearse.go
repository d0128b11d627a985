// Package rehearse dry-runs both phases against a fake GitHub and a fake registry,
// which inject faults as the real ones have them.
//
// It keeps one invariant: nothing that is rehearsed is sent anywhere but to the fake
// servers, which listen on the loopback interface.
package rehearse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
)

const token = "of-nobody"

// Stage has the fake servers of a rehearsal.
type Stage struct {
	// Repository holds the releases on the fake GitHub. Registry is the host of the
	// fake registry.
	Repository, Registry string

	hub    *fakehub.Local
	repo   *fakehub.Repo
	clock  *fakehub.Clock
	server *http.Server
	// requests that the registry has had, and those that it failed.
	requests, failed atomic.Int64
}

// New starts the fake servers for a tag at a commit.
func New(owner, name, tag, commit string, date time.Time, faults Faults) (*Stage, error) {
	if err := faults.check(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open a registry to rehearse with: %w", err)
	}
	clock := fakehub.NewClock(date.Add(time.Hour))
	s := &Stage{
		Repository: owner + "/" + name, Registry: l.Addr().String(), clock: clock,
		hub: fakehub.Start(fakehub.New(fakehub.Config{
			Tokens: map[string]fakehub.Access{token: {User: "rehearsal", Push: true, Scopes: "repo"}}, Now: clock.Now, NoEvents: true,
		})),
	}
	s.repo = s.hub.AddRepo(owner, name)
	s.repo.AddCommit(commit, date)
	s.repo.Tag(tag, commit)
	for _, f := range faults.ofGitHub() {
		s.hub.Arm(f)
	}
	store := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.server = &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		failing := faults.ofRegistry()
		if n := s.requests.Add(1); failing > 0 && n%failing == 0 {
			s.failed.Add(1)
			if n%(2*failing) == 0 {
				panic(http.ErrAbortHandler) // the connection breaks
			}
			http.Error(w, "the registry is restarting", http.StatusServiceUnavailable)
			return
		}
		store.ServeHTTP(w, r)
	})}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

// Close ends it.
func (s *Stage) Close() {
	_ = s.server.Close()
	s.hub.Close()
}

// GitHub returns the options of a client of the fake GitHub. Its clock doesn't wait.
func (s *Stage) GitHub() github.Options {
	o := github.Options{
		Token:  func(context.Context) (string, error) { return token, nil },
		APIURL: s.hub.TLSURL() + "api/v3/", Transport: s.hub.Transport(true, true), Clock: s.clock,
	}
	// The report tells of the same waits in each rehearsal.
	return o.WithJitter(func() float64 { return 0.5 })
}

// Images returns the options of a client of the fake registry, whose addresses begin
// with [Stage.Registry].
func (s *Stage) Images() oci.RegistryOptions {
	return oci.RegistryOptions{PlainHTTP: true, Sleep: func(context.Context, time.Duration) error { return nil }}
}

// Event returns the event that GitHub would send to phase 2 for the release's dispatch.
func (s *Stage) Event() ([]byte, error) {
	sent := s.repo.Dispatches()
	if len(sent) == 0 {
		return nil, errors.New("the release sent no event")
	}
	d := sent[len(sent)-1]
	return json.Marshal(map[string]any{
		"action": d.EventType, "client_payload": json.RawMessage(d.Payload), "repository": map[string]string{"full_name": s.Repository},
	})
}

// State returns the state of the fake GitHub, as text to compare.
func (s *Stage) State() string { return s.hub.Dump() }

// Failures returns how often each of the two servers failed.
func (s *Stage) Failures() (hub, registry int) {
	return s.hub.FaultsMet(), int(s.failed.Load())
}

// Report collects what was rehearsed, in the order of the lines added.
type Report struct{ text strings.Builder }

// Add adds a line, and below it the lines of a text, indented.
func (r *Report) Add(line, text string) {
	fmt.Fprintln(&r.text, line)
	for l := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprint(&r.text, "  ", strings.TrimRight(l, "\n"), "\n")
	}
}

// Text returns the report.
func (r *Report) Text() string { return r.text.String() }

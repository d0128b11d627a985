package contract

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/reconcile"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
)

func soakDigest(text []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(text)) }

// soakRun is a run of Gantry: of phase 1, of phase 2, or of reconcile.
type soakRun struct {
	*soak
	name, what string
	// of is the release of the run; nil for reconcile.
	of    *soakRelease
	image bool // it is phase 2
	do    func(context.Context, *soakRun) (report string, err error)
	// delay is when it starts.
	delay    time.Duration
	refused  bool // it must fail
	partial  bool // it is not meant to finish, such as a dry run
	fails    bool // the smoke test does
	unpinned bool // its image is assembled as if none were published

	killAt    int // the call at which it ends; 0 is never
	killAfter bool

	cancel     context.CancelCauseFunc
	wrote      atomic.Int64 // requests that change GitHub, but for events
	pushed     atomic.Int64 // requests that change the registry
	mu         sync.Mutex
	calls      int
	killed     bool
	report     string
	err        error
	bytes      int64 // of assets that were sent
	reconciled *reconcile.Report
}

// call counts a call, and tells whether the run ends before it, or after it.
func (r *soakRun) call() (before, after bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.killAt == 0 || r.calls < r.killAt {
		return false, false
	}
	again := r.killed
	r.killed = true
	return again || !r.killAfter, r.killAfter
}

// start carries it out.
func (r *soakRun) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancelCause(ctx)
	defer r.cancel(nil)
	time.Sleep(r.delay)
	r.report, r.err = r.do(ctx, r)
	r.secret("report", r.report)
	if r.err != nil {
		r.secret("error", fmt.Sprintf("%v %+v %#v", r.err, r.err, r.err))
	}
}

// secret makes sure that a text shows none.
func (r *soakRun) secret(what, text string) {
	for _, secret := range []string{"CANARY", soakBasic} {
		if strings.Contains(text, secret) {
			r.breaks("Secrets: no token is in an error or a report", "the %s of %s: %s", what, r.what, text)
		}
	}
}

// client is one of GitHub, in the run's name.
func (r *soakRun) client() (*github.Client, error) {
	url := r.hub.URL
	if r.settings.tls {
		url = r.hub.TLSURL()
	}
	transport := r.hub.Transport(r.settings.http2, r.settings.tls)
	transport.DisableKeepAlives = !r.settings.http2
	jitter := rand.New(rand.NewPCG(r.seed, uint64(r.step)<<8|uint64(r.name[0])))
	var mu sync.Mutex
	o := github.Options{
		Token:  func(context.Context) (string, error) { return soakToken, nil },
		APIURL: url + "api/v3/", Transport: inHub{r, transport},
	}
	return github.New(o.WithJitter(func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return jitter.Float64()
	}))
}

// releasing is a run of phase 1, once everything is built.
func (s *soak) releasing(of *soakRelease, what string, edit ...func(*github.Spec)) *soakRun {
	spec := of.spec
	for _, e := range edit {
		e(&spec)
	}
	return &soakRun{soak: s, what: what + " " + of.tag, of: of, do: func(ctx context.Context, r *soakRun) (string, error) {
		client, err := r.client()
		if err != nil {
			return "", err
		}
		report, err := client.Release(ctx, spec)
		if report == nil {
			return "", err
		}
		r.bytes = report.BytesSent
		text, jerr := json.Marshal(report)
		return report.Text() + string(text), errors.Join(err, jerr)
	}}
}

// imaging is a run of phase 2 for an event, or for a tag.
func (s *soak) imaging(of *soakRelease, source event.Source) *soakRun {
	return &soakRun{soak: s, what: fmt.Sprintf("image %s by %s", of.tag, source), of: of, image: true, do: func(ctx context.Context, r *soakRun) (string, error) {
		client, err := r.client()
		if err != nil {
			return "", err
		}
		file, err := of.event(source)
		if err != nil {
			return "", err
		}
		found, err := published.Find(ctx, client, published.Request{Repository: soakOwner + "/" + soakRepo, Tag: of.tag, Event: file}, published.Options{Wait: 30 * time.Minute})
		if err != nil {
			return "", err
		}
		from, err := registries.New(s.registry.settings(r))
		if err != nil {
			return "", err
		}
		repositories, err := from.Repositories(found.Manifest.ImageSpec().Repositories)
		if err != nil {
			return "", err
		}
		return r.publish(ctx, found, repositories)
	}}
}

// publish assembles an image and publishes it, in the steps of ci/image, but for the
// containers that the smoke test starts there.
func (r *soakRun) publish(ctx context.Context, found *published.Release, repositories []*oci.Repository) (string, error) {
	before, err := oci.ReadPublished(ctx, found.ExactTag(), repositories...)
	if err != nil {
		return "", err
	}
	if err := before.Agrees(found); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(r.dir, "image-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	bases := before.Pins.With(r.bases)
	if r.unpinned {
		bases = r.bases
	}
	image, err := oci.Assemble(ctx, found, oci.AssembleOptions{Bases: bases, Dir: dir})
	if err != nil {
		return "", err
	}
	defer image.Close()
	digest := image.Digest.String()
	r.registry.assembled(digest, found.Version())
	if before.Repository != "" && !r.unpinned {
		r.sameAgain(found, "the published base images", r.registry.has(r.byTag(found.Manifest.Tag).component.repository(), found.ExactTag()), digest)
	} else if today, err := r.bases[0].Digest(); err == nil {
		on := today.String()
		r.soak.mu.Lock()
		was := r.made[found.Manifest.Tag+" "+on]
		r.made[found.Manifest.Tag+" "+on] = digest
		r.soak.mu.Unlock()
		r.sameAgain(found, "the base images "+on, was, digest)
	}
	publication := oci.Publication{
		Version: found.Version(), Manifest: found.Manifest, Index: image.Index, Known: found.Known, Flagged: found.Flagged,
		Smoke: func(ctx context.Context) error {
			if err := r.wait(ctx, r.name, "smoke test"); err != nil {
				return err
			}
			if r.fails {
				return errors.New("it prints 0.0.0")
			}
			r.registry.passed(digest)
			return nil
		},
	}
	if publication.Attachments, err = oci.Bills(found); err != nil {
		return "", err
	}
	if r.signer.Author != nil {
		publication.Sign = oci.Signatures(found, r.signer)
	}
	report, err := oci.Publish(ctx, publication, repositories...)
	if report == nil {
		return "", err
	}
	return report.Text(), err
}

// sameAgain compares the digest of an image with the one that it had on the same base
// images, if any.
func (s *soak) sameAgain(found *published.Release, on, was, digest string) {
	if was != "" && was != digest {
		s.breaks("Deterministic: the same release and base images give the same digest", "the image of %s on %s was %s, and is %s", found.Manifest.Tag, on, was, digest)
	}
}

// reconciling is a run of reconcile.
func (s *soak) reconciling(last int, component string) *soakRun {
	what := fmt.Sprintf("reconcile the last %d of %s", last, cmp.Or(component, "any component"))
	return &soakRun{soak: s, what: what, image: true, do: func(ctx context.Context, r *soakRun) (string, error) {
		client, err := r.client()
		if err != nil {
			return "", err
		}
		o := reconcile.Options{
			Client: client, Repository: soakOwner + "/" + soakRepo, Last: last, Component: component, Settings: s.registry.settings(r),
			Publish: func(ctx context.Context, found *published.Release, _ *registries.Registries, repositories []*oci.Repository) error {
				text, err := r.publish(ctx, found, repositories)
				r.secret("report", text)
				return err
			},
		}
		if s.signer.Author != nil {
			o.By = s.signer.Author.Verifier()
		}
		report, err := reconcile.Run(ctx, o)
		if report == nil {
			return "", err
		}
		r.reconciled = report
		return report.Text(), err
	}}
}

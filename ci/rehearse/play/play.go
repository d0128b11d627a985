// Package play dry-runs both phases through the engine, against the fake servers of
// ci/rehearse. It builds what dist builds, and writes nothing outside.
package play

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dagger/gantry/ci/attest"
	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/rehearse"
	"dagger/gantry/ci/release"
)

// Options of a rehearsal.
type Options struct {
	Faults rehearse.Faults
	// SkipSmoke skips the smoke test of the image.
	SkipSmoke bool
	// Mirrors of the registries of base images, each as HOST=URL.
	Mirrors []string
	// Markdown returns the report as Markdown.
	Markdown bool
}

// rehearsal is one run of both phases.
type rehearsal struct {
	Options
	request release.Request
	stage   *rehearse.Stage
	client  *github.Client
	// key signs the release and the image, and is thrown away.
	key    *attest.Key
	report rehearse.Report
}

// Both rehearses a release and returns the reports of both phases. It fails if a
// re-run of a phase changes anything, or if phase 2 changes the release.
func Both(ctx context.Context, request release.Request, o Options) (string, error) {
	r, err := start(ctx, request, o)
	if err != nil {
		return "", err
	}
	defer r.stage.Close()
	if err := r.release(ctx); err != nil {
		return "", fmt.Errorf("phase 1: %v", err)
	}
	released := r.stage.State()
	err = r.image(ctx)
	if r.stage.State() != released {
		err = errors.Join(err, errors.New("it changed the release"))
	}
	if err != nil {
		return "", fmt.Errorf("phase 2: %v", err)
	}
	return engine.Format{Markdown: o.Markdown, Title: "Rehearsal of " + request.Tag}.Render(r.report.Text()), nil
}

// start plans the release and starts the fake servers.
func start(ctx context.Context, request release.Request, o Options) (*rehearsal, error) {
	p, err := release.Plan(ctx, request.Settings, request.Tag)
	if err != nil {
		return nil, err
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	date, err := time.Parse(time.RFC3339, p.CommitDate)
	if err != nil {
		return nil, err
	}
	// The release's manifest names the project's repository, and phase 2 compares it.
	owner, name, err := github.RepositoryAt("", p.Repository, "")
	if err != nil {
		owner, name = "rehearsal", p.Component
	}
	stage, err := rehearse.New(owner, name, p.Tag, p.Commit, date, o.Faults)
	if err != nil {
		return nil, err
	}
	client, err := github.New(stage.GitHub())
	if err != nil {
		stage.Close()
		return nil, err
	}
	key, err := attest.NewKey()
	if err != nil {
		stage.Close()
		return nil, err
	}
	request.Repository = stage.Repository
	return &rehearsal{Options: o, request: request, stage: stage, client: client, key: key}, nil
}

// release rehearses phase 1, and again, and verifies what it published.
func (r *rehearsal) release(ctx context.Context) error {
	done, err := r.request.PublishTo(ctx, r.client, release.PublishOptions{Dispatch: true, Signer: attest.Signer{Author: r.key}})
	if err != nil {
		return err
	}
	failed, _ := r.stage.Failures()
	r.report.Add(fmt.Sprintf("phase 1, against a fake GitHub that failed %d times:", failed), done.Text())
	again, err := r.request.PublishTo(ctx, r.client, release.PublishOptions{Signer: attest.Signer{Author: r.key}})
	if err != nil {
		return fmt.Errorf("re-run: %v", err)
	}
	if again.Writes > 0 {
		return fmt.Errorf("the re-run wrote %d times:\n%s", again.Writes, again.Text())
	}
	r.report.Add(fmt.Sprintf("re-run: %d bytes, %d writes, %d reads; it kept the signature and the provenance", again.BytesSent, again.Writes, again.Reads), "")
	return r.verify(ctx)
}

// verify checks the release from the outside, with the public key.
func (r *rehearsal) verify(ctx context.Context) error {
	owner, name, _ := strings.Cut(r.stage.Repository, "/")
	verified, err := published.Verify(ctx, r.client, owner, name, r.request.Tag, r.key.Public())
	if err != nil {
		return fmt.Errorf("verify: %v", err)
	}
	if err := verified.Err(); err != nil {
		return err
	}
	r.report.Add("verified with the throw-away key that signed it:", verified.Text())
	return nil
}

// image rehearses phase 2, and again.
func (r *rehearsal) image(ctx context.Context) error {
	publication, err := r.assemble(ctx)
	if err != nil || publication == nil {
		return err
	}
	done, err := image.Publish(ctx, r.request.Client, *publication)
	if err != nil {
		return err
	}
	_, failed := r.stage.Failures()
	r.report.Add(fmt.Sprintf("phase 2, started by the event of phase 1, against a fake registry that failed %d times:", failed), done.Text())
	again, err := image.Publish(ctx, r.request.Client, *publication)
	if err != nil {
		return fmt.Errorf("re-run: %v", err)
	}
	if n := again.Repositories[0].BytesPushed; n > 0 {
		return fmt.Errorf("the re-run pushed %d bytes:\n%s", n, again.Text())
	}
	r.report.Add("re-run:", again.Text())
	r.report.Add("phase 2 did not change the release", "")
	return nil
}

// assemble makes the image that the event of phase 1 asks for; nil if the release
// has none.
func (r *rehearsal) assemble(ctx context.Context) (*image.Publication, error) {
	sent, err := r.stage.Event()
	if err != nil {
		return nil, err
	}
	e, err := event.Parse(sent, r.stage.Repository)
	if err != nil {
		return nil, err
	}
	found, err := published.Open(ctx, r.client, e, published.Options{})
	if err != nil {
		return nil, err
	}
	if found.Manifest.Image == nil {
		r.report.Add("phase 2: skipped, since Cargo.toml has no [package.metadata.gantry.image]", "")
		return nil, nil
	}
	repository, err := oci.NewRepository(r.stage.Registry+"/"+strings.ToLower(r.stage.Repository), r.stage.Images())
	if err != nil {
		return nil, err
	}
	to := []*oci.Repository{repository}
	from, err := registries.New(registries.Settings{Mirrors: r.Mirrors})
	if err != nil {
		return nil, err
	}
	assembled, err := image.Assemble(ctx, r.request.Client, found, from, to)
	if err != nil {
		return nil, err
	}
	return &image.Publication{Image: assembled, Release: found, Repositories: to, SkipSmoke: r.SkipSmoke, Signer: attest.Signer{Author: r.key}}, nil
}

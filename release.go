package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/release"
	"dagger/gantry/internal/dagger"
)

// Existing says what Release may do to a release that exists and differs from
// what was built.
type Existing string

const (
	// Strict reports every difference as an error.
	Strict Existing = "STRICT"
	// Fill uploads what a published release lacks, and leaves everything else of
	// it alone.
	Fill Existing = "FILL"
	// Replace also overwrites assets that differ.
	Replace Existing = "REPLACE"
)

// Release brings the GitHub Release of a tag into the state it should have.
//
// Whatever the last attempt left, one more run ends in a release with every
// asset, sends only what is missing, and publishes last. It gives a report.
//
// It plans first: a release that is complete and equal is a success with
// nothing sent; one that differs is an error that lists the differences.
// GitHub's Latest goes to the highest stable version and never down.
//
// +cache="session"
func (g *Gantry) Release(
	ctx context.Context,
	// Git tag of the release. If GitHub does not have it yet, publishing
	// creates it at the source's commit.
	tag string,
	// Token that may write contents of the repository.
	token *dagger.Secret,
	// Release files made by the function dist, elsewhere; several parts, each
	// of some targets, may lie in folders below. By default, they are built.
	// +optional
	dist *dagger.Directory,
	// GitHub repository as owner/name. By default, that of Cargo.toml's
	// repository key, or of the remote called origin.
	// +optional
	repository string,
	// Say what would be done, and write nothing.
	// +optional
	dryRun bool,
	// Stop before publishing, and leave a complete draft.
	// +optional
	draft bool,
	// What to do about a release that exists and differs: STRICT reports every
	// difference as an error; FILL uploads missing assets to a published release,
	// such as one that another tool made, and leaves everything else of it alone;
	// REPLACE also overwrites assets that differ. An immutable release is never
	// changed.
	// +default="STRICT"
	existing Existing,
	// Send the repository_dispatch event "gantry-release-published" in the end.
	// Events of a workflow's own token start no other workflow, except by this.
	// +optional
	dispatch bool,
	// Base of the API, such as https://github.example.com/api/v3/. By default,
	// https://api.github.com/.
	// +optional
	apiURL string,
	// Base of uploads. By default, it follows from the API's.
	// +optional
	uploadURL string,
	// Base of pages and downloads. By default, it follows from the API's.
	// +optional
	downloadURL string,
	// Certificates in PEM to trust besides the system's.
	// +optional
	rootCAs *dagger.File,
	// Print the report as JSON, for programs.
	// +optional
	asJSON bool,
) (string, error) {
	client, err := githubClient(ctx, token, endpoint{apiURL, uploadURL, downloadURL, rootCAs})
	if err != nil {
		return "", err
	}
	w, err := g.open(ctx)
	if err != nil {
		return "", err
	}
	report, err := w.Release(ctx, tag, client, release.ReleaseOptions{
		Repository: repository, Dist: dist, DryRun: dryRun, Draft: draft, Existing: github.Existing(strings.ToLower(string(existing))), Dispatch: dispatch,
	})
	return tell(report, err, asJSON)
}

// tell gives a report back, or only an error: what was done until it belongs in
// the log then.
func tell[R any, P interface {
	*R
	Text() string
	JSON() ([]byte, error)
}](report P, err error, asJSON bool) (string, error) {
	switch {
	case err != nil:
		if report != nil {
			fmt.Fprint(os.Stderr, report.Text())
		}
		return "", err
	case asJSON:
		text, err := report.JSON()
		return string(text) + "\n", err
	}
	return report.Text(), nil
}

// VerifyRelease checks a published release from the outside.
//
// It downloads every asset and compares digests, SHA256SUMS,
// release-manifest.json and what is in each archive. It needs no token where
// the repository is public.
//
// +cache="session"
func (g *Gantry) VerifyRelease(
	ctx context.Context,
	// Git tag of the release.
	tag string,
	// GitHub repository as owner/name.
	repository string,
	// Token that may read the repository, if it is private.
	// +optional
	token *dagger.Secret,
	// Base of the API. By default, https://api.github.com/.
	// +optional
	apiURL string,
	// Base of pages and downloads. By default, it follows from the API's.
	// +optional
	downloadURL string,
	// Certificates in PEM to trust besides the system's.
	// +optional
	rootCAs *dagger.File,
) (string, error) {
	client, err := githubClient(ctx, token, endpoint{apiURL, "", downloadURL, rootCAs})
	if err != nil {
		return "", err
	}
	owner, name, err := release.Repository(repository)
	if err != nil {
		return "", err
	}
	result, err := published.Verify(ctx, client, owner, name, tag)
	if err != nil {
		return "", err
	}
	return result.Text(), result.Err()
}

// endpoint is where a GitHub is.
type endpoint struct {
	api, upload, download string
	rootCAs               *dagger.File
}

func githubClient(ctx context.Context, token *dagger.Secret, at endpoint) (*github.Client, error) {
	options := github.Options{
		APIURL: at.api, UploadURL: at.upload, WebURL: at.download,
		Observer: spans{}, UserAgent: "gantry/" + version,
	}
	if token != nil {
		options.Token = token.Plaintext
	}
	if at.rootCAs != nil {
		pem, err := at.rootCAs.Contents(ctx)
		if err != nil {
			return nil, fmt.Errorf("read the root certificates: %v", err)
		}
		options.RootCAs = []byte(pem)
	}
	return github.New(options)
}

// spans shows each step of a release in Dagger's progress.
type spans struct{ github.NopObserver }

func (spans) Planned(_ context.Context, p *github.Plan) { fmt.Fprint(os.Stderr, p.Text()) }

func (spans) StepStart(ctx context.Context, s github.Step) context.Context {
	ctx, _ = otel.Tracer("gantry").Start(ctx, s.String())
	return ctx
}

func (spans) StepProgress(ctx context.Context, _ github.Step, sent int64) {
	trace.SpanFromContext(ctx).SetAttributes(attribute.Int64("gantry.sent", sent))
}

func (spans) StepEnd(ctx context.Context, _ github.Step, err error) {
	span := trace.SpanFromContext(ctx)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

func (spans) Waiting(_ context.Context, why string, d time.Duration) {
	fmt.Fprintf(os.Stderr, "waiting %s: %s\n", d.Round(time.Second), why)
}

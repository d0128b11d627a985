package engine

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"dagger/gantry/ci/github"
	"dagger/gantry/ci/published"
	"dagger/gantry/internal/dagger"
)

// GitHub holds the settings by which a caller reaches GitHub.
type GitHub struct {
	// URL of the instance or of its API; see [github.API]. Empty means github.com.
	URL string
	// Certificates in PEM, trusted in addition to the system's; or nil.
	Certificates *dagger.File
	// UserAgent names the program, such as "gantry/1.2.3".
	UserAgent string
}

// Client returns a client with a token, or without one if it is nil. The client
// reports each step of a release in the engine's progress.
func (g GitHub) Client(ctx context.Context, token *dagger.Secret) (*github.Client, error) {
	api, err := github.API(g.URL)
	if err != nil {
		return nil, err
	}
	options := github.Options{APIURL: api, Observer: spans{}, UserAgent: g.UserAgent}
	if token != nil {
		options.Token = token.Plaintext
	}
	if options.RootCAs, err = PEM(ctx, g.Certificates); err != nil {
		return nil, err
	}
	return github.New(options)
}

// Verify checks the published release of a tag from the outside, and reports what it
// checked or everything that is wrong. With a key or an identity, it also demands and
// verifies the release's signature and provenance.
func (g GitHub) Verify(ctx context.Context, token *dagger.Secret, repository, tag string, v Verification) (string, error) {
	by, err := v.Verifier(ctx)
	if err != nil {
		return "", err
	}
	client, err := g.Client(ctx, token)
	if err != nil {
		return "", err
	}
	owner, name, err := github.RepositoryAt(repository, "", "")
	if err != nil {
		return "", err
	}
	result, err := published.Verify(ctx, client, owner, name, tag, by)
	if err != nil {
		return "", err
	}
	return result.Text(), result.Err()
}

// PEM returns the contents of a file of certificates; nil for no file.
func PEM(ctx context.Context, certificates *dagger.File) ([]byte, error) {
	if certificates == nil {
		return nil, nil
	}
	text, err := certificates.Contents(ctx)
	if err != nil {
		return nil, fmt.Errorf("read --ca-certificates: %v", err)
	}
	return []byte(text), nil
}

// spans shows each step of a release in the engine's progress.
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

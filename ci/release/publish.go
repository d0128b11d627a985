package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/changelog"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
)

// releasable plans the release of a tag, and fails if a problem stops it.
func (w *workspace) releasable(r Request, targets []string) (*plan.Plan, error) {
	p, err := w.plan(r.Tag, targets)
	if err != nil {
		return nil, err
	}
	return p, errors.Join(p.Err(), p.AddBinaries(r.BinaryTargets))
}

// publish creates or completes a release. The report is there with an error too,
// unless nothing could be planned.
func (w *workspace) publish(ctx context.Context, r Request, client *github.Client, opts PublishOptions) (*github.Report, error) {
	p, err := w.releasable(r, nil)
	if err != nil {
		return nil, err
	}
	if err := p.CheckSigning(opts.Author != nil); err != nil {
		return nil, err
	}
	spec, err := w.spec(p, client.Host(), opts)
	if err != nil {
		return nil, err
	}
	// What GitHub would refuse is known before the first compile.
	for _, name := range slices.Concat(p.Assets, r.FileNames, p.Signatures(opts.Author != nil)) {
		spec.Assets = append(spec.Assets, github.Asset{Name: name})
	}
	earlier := func(name string) ([]byte, error) { return nil, nil }
	if looks := opts.Author != nil && !opts.Author.Repeats(); looks || len(r.Parts) == 0 {
		seen, err := client.Preflight(ctx, *spec)
		if err != nil {
			return nil, err
		}
		earlier = func(name string) ([]byte, error) { return client.Content(ctx, *spec, seen, name) }
	}
	m, err := w.files(ctx, p, r)
	if err != nil {
		return nil, err
	}
	if spec.Assets, err = assets(m); err != nil {
		return nil, err
	}
	note, err := w.sign(ctx, r, client.Host(), m, spec, opts, earlier)
	if err != nil {
		return nil, err
	}
	if opts.Dispatch {
		if spec.Dispatch, err = dispatch(m, spec); err != nil {
			return nil, err
		}
	}
	notes, err := w.changelogOf(ctx, p.Tag, changelog.Options{NotesOnly: true})
	if err != nil {
		return nil, err
	}
	if spec.Notes, err = notes.Contents(ctx); err != nil {
		return nil, engine.Explain("make the release notes", err)
	}
	spec.Notes = strings.TrimSpace(spec.Notes)
	report, err := client.Release(ctx, *spec)
	if report != nil {
		report.Plan.Notes = append(report.Plan.Notes, note)
	}
	return report, err
}

// spec returns the release that a plan describes, without its assets and notes.
// host is that of the GitHub that will be asked.
func (w *workspace) spec(p *plan.Plan, host string, opts PublishOptions) (*github.Spec, error) {
	owner, name, err := github.RepositoryAt(w.settings.Repository, p.Repository, host)
	if err != nil {
		return nil, err
	}
	spec := &github.Spec{
		Owner: owner, Repo: name, Tag: p.Tag, Commit: p.Commit, Title: p.Title(), Changelog: manifest.ChangelogName,
		Prerelease: p.Channel != "stable",
		VersionOf: func(tag string) (*semver.Version, bool) {
			t, err := w.project.Scheme.Parse(tag)
			if err != nil || t.Component != p.Component {
				return nil, false
			}
			return t.Version, true
		},
		OwnsLatest: p.OwnsLatest,
		Signatures: map[string]string{},
		Existing:   opts.Existing, DraftOnly: opts.Draft, DryRun: opts.DryRun,
	}
	for _, name := range p.Signatures(true) {
		spec.Signatures[name] = manifest.SumsName
	}
	return spec, nil
}

// dispatch is the event that asks phase 2 for the release, whose assets are in
// spec.
func dispatch(m *manifest.Manifest, spec *github.Spec) (*github.Dispatch, error) {
	i := slices.IndexFunc(spec.Assets, func(a github.Asset) bool { return a.Name == manifest.FileName })
	payload, err := event.NewPayload(spec.Owner+"/"+spec.Repo, m, spec.Assets[i].SHA256)
	if err != nil {
		return nil, err
	}
	return &github.Dispatch{EventType: event.EventType, Payload: payload}, nil
}

// distDir has the files of the release, in the function's file system.
const distDir = "dist"

// files puts the files of the release into [distDir], and compares each with the
// manifest.
func (w *workspace) files(ctx context.Context, p *plan.Plan, r Request) (*manifest.Manifest, error) {
	all, err := w.all(ctx, p, r)
	if err != nil {
		return nil, err
	}
	if _, err := all.Export(ctx, "given"); err != nil {
		return nil, fmt.Errorf("export the files of the release: %v", err)
	}
	if err := os.MkdirAll(distDir, 0o755); err != nil {
		return nil, err
	}
	m, err := dist.Merge(ctx, "given", distDir)
	if err != nil {
		return nil, err
	}
	// A published release can't be fixed.
	return m, errors.Join(fits(p, m), dist.CheckImage(m))
}

// assets of the release, sorted by name.
func assets(m *manifest.Manifest) ([]github.Asset, error) {
	all := slices.Clone(m.Assets)
	// The manifest has no digest of these.
	for _, name := range []string{manifest.FileName, manifest.SumsName} {
		measured, err := dist.Measure(filepath.Join(distDir, name))
		if err != nil {
			return nil, err
		}
		all = append(all, measured)
	}
	slices.SortFunc(all, func(a, b manifest.Asset) int { return strings.Compare(a.Name, b.Name) })
	var out []github.Asset
	for _, a := range all {
		out = append(out, github.Asset{
			Name: a.Name, Size: a.Size, SHA256: a.SHA256, ContentType: contentType(a.Name),
			Open: func() (io.ReadCloser, error) { return os.Open(filepath.Join(distDir, a.Name)) },
		})
	}
	return out, nil
}

func contentType(name string) string {
	switch {
	case strings.HasSuffix(name, ".tar.gz"):
		return "application/gzip"
	case strings.HasSuffix(name, ".zip"):
		return "application/zip"
	case strings.HasSuffix(name, ".json"):
		return "application/json"
	case strings.HasSuffix(name, ".jsonl"):
		return "application/jsonl"
	case strings.HasSuffix(name, ".md"):
		return "text/markdown"
	default:
		return "text/plain"
	}
}

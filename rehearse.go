package main

import (
	"context"
	"errors"
	"fmt"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/image/registries"
	"dagger/gantry/ci/published"
	"dagger/gantry/ci/rehearse"
	"dagger/gantry/ci/release"
)

// Rehearse plays a release through, both phases, and writes nothing anywhere.
//
// It builds what dist builds. GitHub and the image registry are stand-ins in the
// function's own container, which fail as the real ones do: lost answers, half
// an asset, limits, broken connections. Base images are read from where they
// are. It needs no token. It gives the reports of both phases, and fails when a
// second run of either would change anything.
//
// +cache="session"
func (g *Gantry) Rehearse(
	ctx context.Context,
	// Git tag of the release. It need not exist yet.
	tag string,
	// Nothing fails.
	// +optional
	smooth bool,
	// Leave the smoke test of the image out.
	// +optional
	skipSmoke bool,
	// Mirrors of the registries of base images, each as HOST=URL:
	// "gcr.io=https://mirror.example.com".
	// +optional
	mirrors []string,
) (string, error) {
	w, err := g.open(ctx)
	if err != nil {
		return "", err
	}
	p, err := w.Plan(tag, nil)
	if err != nil {
		return "", err
	}
	if err := p.Err(); err != nil {
		return "", err
	}
	stage, err := rehearse.New("rehearsal", p.Component, tag, p.Commit, w.Git.Time, !smooth)
	if err != nil {
		return "", err
	}
	defer stage.Close()
	client, err := github.New(stage.GitHub())
	if err != nil {
		return "", err
	}
	var report rehearse.Report
	if err := rehearseRelease(ctx, &report, stage, w, client, tag); err != nil {
		return "", fmt.Errorf("phase 1: %v", err)
	}
	released := stage.State()
	from, err := registries.New(registries.Settings{Mirrors: mirrors})
	if err != nil {
		return "", err
	}
	err = rehearseImage(ctx, &report, stage, client, skipSmoke, from)
	if stage.State() != released {
		err = errors.Join(err, errors.New("it changed the release"))
	}
	if err != nil {
		return "", fmt.Errorf("phase 2: %v", err)
	}
	return report.Text(), nil
}

func rehearseRelease(ctx context.Context, report *rehearse.Report, stage *rehearse.Stage, w *release.Workspace, client *github.Client, tag string) error {
	done, err := w.Release(ctx, tag, client, release.ReleaseOptions{Repository: stage.Repository, Dispatch: true})
	if err != nil {
		return err
	}
	failed, _ := stage.Failures()
	report.Add(fmt.Sprintf("phase 1, on a stand-in of GitHub that failed %d times:", failed), done.Text())
	again, err := w.Release(ctx, tag, client, release.ReleaseOptions{Repository: stage.Repository})
	if err != nil {
		return fmt.Errorf("run again: %v", err)
	}
	if again.Writes > 0 {
		return fmt.Errorf("run again, it wrote %d times:\n%s", again.Writes, again.Text())
	}
	report.Add(fmt.Sprintf("run again: %d bytes, %d writes, %d reads", again.BytesSent, again.Writes, again.Reads), "")
	return nil
}

func rehearseImage(ctx context.Context, report *rehearse.Report, stage *rehearse.Stage, client *github.Client, skipSmoke bool, from *registries.Registries) error {
	sent, err := stage.Event()
	if err != nil {
		return err
	}
	e, err := event.Parse(sent, event.Expect{Repository: stage.Repository})
	if err != nil {
		return err
	}
	r, err := published.Open(ctx, client, e, published.Options{})
	if err != nil {
		return err
	}
	if r.Manifest.Image == nil {
		report.Add("phase 2: there is no image, since there is no [package.metadata.gantry.image]", "")
		return nil
	}
	repository, err := oci.NewRepository(stage.Registry+"/"+stage.Repository, stage.Images())
	if err != nil {
		return err
	}
	assembled, err := image.Assemble(ctx, r, from, []*oci.Repository{repository})
	if err != nil {
		return err
	}
	publish := func() (*oci.Report, error) {
		return image.Publish(ctx, dag, image.Publication{
			Release: r, Repositories: []*oci.Repository{repository}, Archive: dag.CurrentModule().WorkdirFile(assembled.Path),
			Platforms: assembled.Platforms, SkipSmoke: skipSmoke,
		})
	}
	done, err := publish()
	if err != nil {
		return err
	}
	_, failed := stage.Failures()
	report.Add(fmt.Sprintf("phase 2, driven by the event of phase 1, on a stand-in of a registry that failed %d times:", failed), done.Text())
	again, err := publish()
	if err != nil {
		return fmt.Errorf("run again: %v", err)
	}
	if n := again.Repositories[0].BytesPushed; n > 0 {
		return fmt.Errorf("run again, it pushed %d bytes:\n%s", n, again.Text())
	}
	report.Add("run again:", again.Text())
	report.Add("the release was untouched by phase 2", "")
	return nil
}

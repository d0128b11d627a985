package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var sampleImage = imageOf{
	tag: sampleTag, other: "v" + sampleVersion, version: sampleVersion, name: "tally-server", binary: "tally-server",
	tags: []string{"1.4", "1", "latest"},
}

// platforms are those of every image.
var platforms = []string{"linux/amd64", "linux/arm64"}

// images compares how the binaries of a release become an image.
func images(ctx context.Context, e *Env) ([]Row, error) {
	w, err := openWorkshop(ctx, e, "source", func(dir string) error {
		if err := sample(ctx, e, dir); err != nil {
			return err
		}
		return forImages(ctx, dir)
	})
	if err != nil {
		return nil, err
	}
	defer w.Close()
	e.Log("release %s, of which every tool makes the image", sampleTag)
	if err := w.releaseWithGantry(ctx, sampleTag); err != nil {
		return nil, err
	}
	if err := w.unpackBinaries(ctx, sampleImage); err != nil {
		return nil, err
	}
	e.Note("Every tool gets the binaries from the same release on the same fake GitHub (ci/fakehub), the same base image from a local registry, and pushes to the same registry in memory.")
	e.Note("ko makes images of Go programs only, and is not compared.")
	e.Note("crane is the script scripts/peers/crane.sh, buildah is scripts/peers/buildah.sh. GoReleaser's dockers_v2 runs docker buildx with a BuildKit of its own; its Rust builder gets the finished binaries, since builds are compared elsewhere. Times of Gantry include the dagger command and the engine.")
	r := &imageRows{rounds: e.Rounds}
	for _, t := range []struct {
		name string
		make func(context.Context) (assembler, error)
	}{
		{Gantry, func(context.Context) (assembler, error) {
			return w.gantryAssembler("without-smoke-test", "without-attachments"), nil
		}},
		{"crane", func(ctx context.Context) (assembler, error) { return w.craneAssembler(ctx, "crane") }},
		{"buildah", w.buildahAssembler},
		{"goreleaser", func(ctx context.Context) (assembler, error) { return w.goreleaserSample(ctx, "") }},
	} {
		e.Log("images by %s", t.name)
		a, err := t.make(ctx)
		if err != nil {
			r.add(t.name, &imageResults{missing: err})
			continue
		}
		if err := w.measure(ctx, a, r); err != nil {
			if !e.tolerated(ctx, t.name, err) {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			r.add(t.name, &imageResults{missing: err})
		}
	}
	return r.rows(), nil
}

// openWorkshop makes a repository, and starts a fake GitHub with its tags and a registry.
func openWorkshop(ctx context.Context, e *Env, name string, fill func(dir string) error) (*workshop, error) {
	g, err := newEngine(e)
	if err != nil {
		return nil, err
	}
	w := &workshop{engine: g, source: filepath.Join(e.Work, name)}
	if err = fill(w.source); err == nil {
		w.hub, err = startHub(ctx, w.source)
	}
	if err == nil {
		w.registry, err = startRegistry()
	}
	if err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

func (w *workshop) Close() error {
	var errs []error
	if w.hub != nil {
		errs = append(errs, w.hub.Close())
	}
	if w.registry != nil {
		errs = append(errs, w.registry.Close())
	}
	return errors.Join(append(errs, w.engine.Close())...)
}

// releaseWithGantry publishes the release of a tag.
func (w *workshop) releaseWithGantry(ctx context.Context, tag string) error {
	if err := os.Setenv("PEERS_HUB_TOKEN", hubToken); err != nil {
		return err
	}
	_, err := w.call(ctx, append(w.hub.arguments(w.engine), "--source="+w.source, "release", "--tag="+tag, "publish", "--token=env:PEERS_HUB_TOKEN")...)
	return err
}

// imageResults are what is measured of one tool.
type imageResults struct {
	cold, again float64
	sentAgain   int64
	same        bool
	binaries    bool
	// half has the tags after the registry took the first platform only, lacking those
	// that can't be pulled for every platform.
	half    map[string]string
	lacking []string
	// kept tells that the release was there after the image had failed.
	kept bool
	// orphans are the image's tags after the release had failed.
	orphans map[string]string
	note    string
	// missing is why the tool could not be run.
	missing error
}

type imageRows struct {
	rounds  int
	results map[string]*imageResults
}

func (r *imageRows) add(name string, results *imageResults) {
	if r.results == nil {
		r.results = map[string]*imageResults{}
	}
	r.results[name] = results
}

// measure does with one tool all that is compared.
func (w *workshop) measure(ctx context.Context, a assembler, rows *imageRows) error {
	r := &imageResults{}
	if err := w.measureTimes(ctx, a, r, max(2, rows.rounds)); err != nil {
		return err
	}
	if a.name == Gantry {
		full := w.gantryAssembler()
		took, err := seconds(func() error { return full.publish(ctx, w.env.Work, "gantry-full/image", sampleImage) })
		if err != nil {
			return err
		}
		r.note = fmt.Sprintf("The smoke test of both platforms and the attached bills of materials, which are Gantry's defaults, were off, since no other tool has them. With both, it takes %.1f s.", took)
	}
	if err := w.measureHalf(ctx, a, r); err != nil {
		return err
	}
	if err := w.measureOrphans(ctx, a, r); err != nil {
		return err
	}
	rows.add(a.name, r)
	return nil
}

// machine makes a directory as on a new machine, and returns a function that removes it.
func (w *workshop) machine(ctx context.Context, a assembler, name string) (dir string, remove func(), err error) {
	dir = filepath.Join(w.env.Work, a.name+"-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", nil, err
	}
	end := func() {}
	if a.clean != nil {
		if end, err = a.clean(ctx, dir); err != nil {
			return "", nil, err
		}
	}
	return dir, func() { end(); _ = os.RemoveAll(dir) }, nil
}

// measureTimes makes the image on new machines, into empty repositories, and at last
// once more.
func (w *workshop) measureTimes(ctx context.Context, a assembler, r *imageResults, n int) error {
	var digests []string
	var colds, agains []float64
	for i := range n {
		if err := func() error {
			dir, remove, err := w.machine(ctx, a, fmt.Sprintf("cold%d", i))
			if err != nil {
				return err
			}
			defer remove()
			path := fmt.Sprintf("%s-%d/image", a.name, i)
			publish := func() error { return a.publish(ctx, dir, path, sampleImage) }
			cold, err := seconds(publish)
			if err != nil {
				return err
			}
			digest, err := w.digest(path)
			if err != nil {
				return err
			}
			digests = append(digests, digest)
			w.registry.reset()
			again, err := seconds(publish)
			r.sentAgain = w.registry.reset()
			colds, agains = append(colds, cold), append(agains, again)
			if err != nil {
				return fmt.Errorf("again: %w", err)
			}
			repo, err := w.registry.repository(path)
			if err != nil {
				return err
			}
			r.binaries, err = w.sameBinaries(repo.Tag(sampleVersion), sampleImage)
			return err
		}(); err != nil {
			return err
		}
	}
	r.cold, r.again, r.same = median(colds), median(agains), digests[0] == digests[1]
	w.env.Log("  %.1f s cold, %.1f s again, %d bytes sent again, digests %v", r.cold, r.again, r.sentAgain, digests)
	return nil
}

// digest is that of the version's tag.
func (w *workshop) digest(path string) (string, error) {
	tags, err := w.registry.tags(path)
	if err != nil {
		return "", err
	}
	if tags[sampleVersion] == "" {
		return "", fmt.Errorf("the image has no tag %q, but %v", sampleVersion, tags)
	}
	return tags[sampleVersion], nil
}

// measureHalf lets the registry refuse what comes after the image of the first platform,
// and looks at the release and the image. The release is one that the tool makes itself,
// if it does.
func (w *workshop) measureHalf(ctx context.Context, a assembler, r *imageResults) error {
	tag := sampleTag
	if a.name == "goreleaser" {
		var err error
		if a, err = w.goreleaserSample(ctx, hubToken); err != nil {
			return err
		}
		tag = "v" + sampleVersion
	}
	dir, remove, err := w.machine(ctx, a, "half")
	if err != nil {
		return err
	}
	defer remove()
	path := a.name + "-half/image"
	w.registry.refusing(afterManifests(1))
	err = a.publish(ctx, dir, path, sampleImage)
	w.registry.refusing(nil)
	if err == nil {
		return errors.New("the registry refused the second platform, and the tool reports success")
	}
	if r.half, err = w.registry.tags(path); err != nil {
		return err
	}
	if r.lacking, err = w.registry.broken(path, platforms...); err != nil {
		return err
	}
	release, err := w.hub.public(tag)
	if err != nil {
		return err
	}
	r.kept = release != nil && len(release.Assets) > 0
	w.env.Log("  refused after the first platform: tags %v, without all platforms %v; the release is there: %v", keys(r.half), r.lacking, r.kept)
	return nil
}

// measureOrphans lets the release fail, and looks for the image.
func (w *workshop) measureOrphans(ctx context.Context, a assembler, r *imageResults) error {
	of := sampleImage
	if a.name == "goreleaser" {
		var err error
		if a, err = w.goreleaserSample(ctx, "a-token-that-expired"); err != nil {
			return err
		}
	} else {
		of.tag = "tally-1.3.1" // a tag whose release failed: nobody sees it
	}
	dir, remove, err := w.machine(ctx, a, "orphans")
	if err != nil {
		return err
	}
	defer remove()
	path := a.name + "-orphans/image"
	before := len(w.hub.Calls())
	err = a.publish(ctx, dir, path, of)
	if err == nil {
		return errors.New("there is no release, and the tool reports success")
	}
	if len(w.hub.Calls()) == before {
		return fmt.Errorf("the tool failed before it reached GitHub: %w", err)
	}
	r.orphans, err = w.registry.tags(path)
	w.env.Log("  after a release that failed: tags %v", keys(r.orphans))
	return err
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// rows turns the results into rows.
func (r *imageRows) rows() []Row {
	cells := func(cell func(*imageResults) Cell) map[string]Cell {
		return cellsOf(r.results, func(r *imageResults) error { return r.missing }, cell)
	}
	return []Row{
		{What: "image for two platforms, into an empty repository", Unit: "s", Better: Less, Within: 0.05,
			Cells: cells(func(r *imageResults) Cell { return Number(r.cold).With(r.note) })},
		{What: "again, nothing changed", Unit: "s", Better: Less, Within: 0.05,
			Cells: cells(func(r *imageResults) Cell { return Number(r.again) })},
		{What: "data sent to the registry again", Better: Less,
			Cells: cells(func(r *imageResults) Cell { return Bytes(r.sentAgain) })},
		{What: "the same digest when made twice", Better: More, Headline: true,
			Cells: cells(func(r *imageResults) Cell { return yes(r.same) })},
		{What: "the image has the bytes of the release's binaries", Better: More,
			Cells: cells(func(r *imageResults) Cell { return yes(r.binaries) })},
		{What: "tags without all platforms, after the registry refused the second one", Better: Less,
			Cells: cells(func(r *imageResults) Cell { return named(r.lacking) })},
		{What: "the GitHub Release, after the registry refused the image", Better: More, Headline: true,
			Cells: cells(func(r *imageResults) Cell {
				if r.kept {
					return Graded(1, "complete")
				}
				return Graded(0, "there is none")
			})},
		{What: "tags of an image whose GitHub Release failed", Better: Less, Headline: true,
			Cells: cells(func(r *imageResults) Cell { return named(keys(r.orphans)) })},
	}
}

// yes is a cell of a question.
func yes(is bool) Cell {
	if is {
		return Graded(1, "yes")
	}
	return Graded(0, "no")
}

// named is a cell with the number of some names, and the names.
func named(names []string) Cell {
	if len(names) == 0 {
		return Graded(0, "none")
	}
	return Graded(float64(len(names)), strings.Join(names, ", "))
}

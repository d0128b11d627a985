package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// The releases of the example, in the order in which they are published: a backport
// comes after a higher version, and a prerelease last.
const (
	firstRelease = "1.9.4"
	highRelease  = "2.0.0"
	backport     = "1.9.5"
	prerelease   = "2.1.0-rc.1"
)

var inOrderOfTime = []string{firstRelease, highRelease, backport, prerelease}

const metadataAction = "metadata-action"

// tags compares which tags an image gets.
func tags(ctx context.Context, e *Env) ([]Row, error) {
	w, err := openWorkshop(ctx, e, "app", func(dir string) error { return backported(ctx, dir) })
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for _, v := range inOrderOfTime {
		e.Log("release v%s, of which every tool makes the image", v)
		if err := git(ctx, w.source, "checkout", "--quiet", "v"+v); err != nil {
			return nil, err
		}
		if err := w.releaseWithGantry(ctx, "v"+v); err != nil {
			return nil, err
		}
		if err := w.unpackBinaries(ctx, appImage(v, nil)); err != nil {
			return nil, err
		}
	}
	e.Note("Published in this order: %s, %s, the backport %s, the prerelease %s, and %s once more on another base image. What the tags name is read from the registry.", firstRelease, highRelease, backport, prerelease, highRelease)
	e.Note("docker/metadata-action runs in GitHub Actions only. Its tags are those that its README gives for type=semver with the patterns {{version}}, {{major}}.{{minor}} and {{major}}, and for the default flavor latest=auto; crane pushes the image. GoReleaser's tags are the templates in its documentation (dockers_v2 and docker).")
	results := map[string]*tagResults{}
	for _, t := range []struct {
		name string
		make func(context.Context) (assembler, error)
		tags func(version string) []string
	}{
		{Gantry, func(context.Context) (assembler, error) {
			return w.gantryAssembler("without-smoke-test", "without-attachments"), nil
		}, nil},
		{metadataAction, func(ctx context.Context) (assembler, error) { return w.craneAssembler(ctx, metadataAction) }, metadataTags},
		{"goreleaser", func(ctx context.Context) (assembler, error) { return w.goreleaserAssembler(ctx, "", "app") }, nil},
	} {
		e.Log("tags by %s", t.name)
		a, err := t.make(ctx)
		if err != nil {
			results[t.name] = &tagResults{missing: err}
			continue
		}
		if results[t.name], err = w.publishInOrder(ctx, a, t.tags); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return tagRows(results), nil
}

// metadataTags are the tags besides the version that docker/metadata-action gives to an
// image for a pushed tag, as README.md of v6 describes it in "Semver", "type=semver" and
// "Latest tag": a prerelease extends {{version}} only, and the newest push of any other
// version has the rest, since the action knows no other release.
func metadataTags(version string) []string {
	v := semver.MustParse(version)
	if v.Prerelease() != "" {
		return nil
	}
	return []string{fmt.Sprintf("%d.%d", v.Major(), v.Minor()), fmt.Sprint(v.Major()), "latest"}
}

func appImage(version string, tags []string) imageOf {
	return imageOf{tag: "v" + version, other: "v" + version, version: version, name: "app", binary: "app", tags: tags}
}

// backported makes a repository with the releases of the example.
func backported(ctx context.Context, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "src"), 0o755); err != nil {
		return err
	}
	var errs error
	do := func(args ...string) {
		if errs == nil {
			errs = git(ctx, dir, args...)
		}
	}
	release := func(version string) {
		if errs == nil {
			errs = writeApp(dir, version)
		}
		if errs == nil {
			errs = commit(ctx, dir, "feat: "+version, "v"+version)
		}
	}
	do("init", "--quiet", "--initial-branch=main")
	release(firstRelease)
	do("branch", "release/1")
	release(highRelease)
	release(prerelease)
	do("checkout", "--quiet", "release/1")
	release(backport)
	return errs
}

// writeApp writes the example's crate in a version.
func writeApp(dir, version string) error {
	for path, text := range map[string]string{
		"Cargo.toml": fmt.Sprintf("[package]\nname = \"app\"\nversion = %q\nedition = \"2021\"\nlicense = \"MIT\"\ndescription = \"An example\"\n"+
			"repository = \"https://github.com/%s\"\n\n[package.metadata.gantry]\ntargets = [\"x86_64-unknown-linux-musl\", \"aarch64-unknown-linux-musl\"]\n", version, sampleRepository),
		"Cargo.lock":  fmt.Sprintf("version = 3\n\n[[package]]\nname = \"app\"\nversion = %q\n", version),
		"LICENSE":     "MIT\n",
		".gitignore":  "/target\n",
		"src/main.rs": "fn main() {\n    println!(\"app {}\", env!(\"CARGO_PKG_VERSION\"));\n}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tagResults are what the tags of one tool's image name: a version by tag, after the
// release of each version.
type tagResults struct {
	after map[string]map[string]string
	// overwritten tells that the tag of a published version became another image.
	overwritten bool
	// missing is why the tool could not be run.
	missing error
}

// publishInOrder publishes the images of the example, each on a new machine.
func (w *workshop) publishInOrder(ctx context.Context, a assembler, decide func(string) []string) (*tagResults, error) {
	r := &tagResults{after: map[string]map[string]string{}}
	path := a.name + "-tags/image"
	versions := map[string]string{} // by digest
	publish := func(version, base string) error {
		dir, remove, err := w.machine(ctx, a, "tags-"+version)
		if err != nil {
			return err
		}
		defer remove()
		of := appImage(version, nil)
		if decide != nil {
			of.tags = decide(version)
		}
		of.base = base
		return a.publish(ctx, dir, path, of)
	}
	for _, version := range inOrderOfTime {
		if err := publish(version, ""); err != nil {
			return nil, fmt.Errorf("publish %s: %w", version, err)
		}
		digests, err := w.registry.tags(path)
		if err != nil {
			return nil, err
		}
		if digests[version] == "" {
			return nil, fmt.Errorf("the image of %s has no tag of this name: %v", version, digests)
		}
		versions[digests[version]] = version
		r.after[version] = map[string]string{}
		for tag, digest := range digests {
			r.after[version][tag] = versions[digest]
		}
		w.env.Log("  after %s: %s", version, floating(r.after[version]))
	}
	// Refusing it is right, and so is doing nothing.
	failed := publish(highRelease, otherBase)
	digests, err := w.registry.tags(path)
	if err != nil {
		return nil, err
	}
	r.overwritten = versions[digests[highRelease]] != highRelease
	w.env.Log("  %s again, on another base image: overwritten %v, error %v", highRelease, r.overwritten, failed)
	return r, nil
}

// tagRows judges the results.
func tagRows(results map[string]*tagResults) []Row {
	// row has a question, and a function that answers it: with the text, and whether it
	// is right.
	row := func(what string, judge func(*tagResults) (string, bool)) Row {
		cells := map[string]Cell{}
		for name, r := range results {
			if r.missing != nil {
				cells[name] = NotMeasured(r.missing.Error())
				continue
			}
			text, right := judge(r)
			if cells[name] = Graded(0, text); right {
				cells[name] = Graded(1, text)
			}
		}
		return Row{What: what, Better: More, Cells: cells}
	}
	// names asks which version a tag names after a release.
	names := func(after, tag string, right func(version string) bool) func(*tagResults) (string, bool) {
		return func(r *tagResults) (string, bool) {
			version := r.after[after][tag]
			if version == "" {
				return "nothing", right("")
			}
			return version, right(version)
		}
	}
	is := func(want string) func(string) bool { return func(have string) bool { return have == want } }
	stable := func(have string) bool { return have != prerelease }
	return []Row{
		row(fmt.Sprintf("`latest` after the backport %s (right: %s)", backport, highRelease), names(backport, "latest", is(highRelease))),
		row(fmt.Sprintf("`1` after the backport (right: %s)", backport), names(backport, "1", is(backport))),
		row(fmt.Sprintf("`2` after the backport (right: %s)", highRelease), names(backport, "2", is(highRelease))),
		row(fmt.Sprintf("`latest` after the prerelease %s (right: any other)", prerelease), names(prerelease, "latest", stable)),
		row("`2` after the prerelease (right: any other)", names(prerelease, "2", stable)),
		row(fmt.Sprintf("`%s` after it is made again on another base image", highRelease), func(r *tagResults) (string, bool) {
			if r.overwritten {
				return "another image", false
			}
			return "the same image", true
		}),
	}
}

// floating are the tags that are no version, for the log.
func floating(tags map[string]string) string {
	var all []string
	for t, v := range tags {
		if t != v {
			all = append(all, t+" = "+v)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

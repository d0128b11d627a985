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
	e.Note("Published in this order: %s, %s, the backport %s, the prerelease %s, and %s once more on another base image. What the tags name is read from the registry.", firstRelease, highRelease, backport, prerelease, highRelease)
	e.Note("docker/metadata-action runs in GitHub Actions only. Its tags are those that its README gives for type=semver with the patterns {{version}}, {{major}}.{{minor}} and {{major}}, and for the default flavor latest=auto; crane pushes the image, and rewrites tags as `docker push` does. GoReleaser's tags are the templates in its documentation (dockers_v2 and docker).")
	results, err := w.publishInOrder(ctx, w.taggers(ctx))
	if err != nil {
		return nil, err
	}
	return tagRows(results), nil
}

// tagger is a tool that tags images.
type tagger struct {
	name string
	assembler
	// decide decides on the tags besides the version, if the assembler doesn't.
	decide func(version string) []string
	// err is why the tool can't be run.
	err error
}

// taggers are the tools.
func (w *workshop) taggers(ctx context.Context) []tagger {
	crane, craneErr := w.craneAssembler(ctx, metadataAction)
	goreleaser, goreleaserErr := w.goreleaserAssembler(ctx, "", "app")
	return []tagger{
		{name: Gantry, assembler: w.gantryAssembler("without-smoke-test", "without-attachments")},
		{name: metadataAction, assembler: crane, decide: metadataTags, err: craneErr},
		{name: "goreleaser", assembler: goreleaser, err: goreleaserErr},
	}
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
	// versions are the versions of images, by digest.
	versions map[string]string
	// overwritten tells that the tag of a published version became another image.
	overwritten bool
	// missing is why the tool could not be run.
	missing error
}

// publishInOrder publishes the releases and, right after each, its image by every tool.
func (w *workshop) publishInOrder(ctx context.Context, tools []tagger) (map[string]*tagResults, error) {
	results := map[string]*tagResults{}
	for _, t := range tools {
		results[t.name] = &tagResults{after: map[string]map[string]string{}, versions: map[string]string{}, missing: t.err}
	}
	for _, version := range inOrderOfTime {
		w.env.Log("release v%s, and its image by each tool", version)
		if err := git(ctx, w.source, "checkout", "--quiet", "v"+version); err != nil {
			return nil, err
		}
		if err := w.releaseWithGantry(ctx, "v"+version); err != nil {
			return nil, err
		}
		if err := w.unpackBinaries(ctx, appImage(version, nil)); err != nil {
			return nil, err
		}
		for _, t := range tools {
			r := results[t.name]
			if r.missing != nil {
				continue
			}
			if r.missing = w.publishTagged(ctx, t, version, r); r.missing != nil && !w.env.tolerated(ctx, t.name, r.missing) {
				return nil, fmt.Errorf("%s: publish %s: %w", t.name, version, r.missing)
			}
		}
	}
	for _, t := range tools {
		if results[t.name].missing != nil {
			continue
		}
		if err := w.publishAgain(ctx, t, results[t.name]); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return results, nil
}

// publishOnce publishes an image on a new machine.
func (w *workshop) publishOnce(ctx context.Context, t tagger, version, base string) error {
	dir, remove, err := w.machine(ctx, t.assembler, "tags-"+version)
	if err != nil {
		return err
	}
	defer remove()
	of := appImage(version, nil)
	if t.decide != nil {
		of.tags = t.decide(version)
	}
	of.base = base
	return t.publish(ctx, dir, t.path(), of)
}

func (t tagger) path() string { return t.name + "-tags/image" }

// publishTagged publishes an image, and records what the tags name then.
func (w *workshop) publishTagged(ctx context.Context, t tagger, version string, r *tagResults) error {
	if err := w.publishOnce(ctx, t, version, ""); err != nil {
		return err
	}
	digests, err := w.registry.tags(t.path())
	if err != nil {
		return err
	}
	if digests[version] == "" {
		return fmt.Errorf("the image has no tag of this name, but %v", digests)
	}
	r.versions[digests[version]] = version
	r.after[version] = map[string]string{}
	for tag, digest := range digests {
		r.after[version][tag] = r.versions[digest]
	}
	w.env.Log("  %s: %s", t.name, floating(r.after[version]))
	return nil
}

// publishAgain publishes the image of a release again, on another base image. A tool that
// refuses is right, and so is one that changes nothing.
func (w *workshop) publishAgain(ctx context.Context, t tagger, r *tagResults) error {
	failed := w.publishOnce(ctx, t, highRelease, otherBase)
	digests, err := w.registry.tags(t.path())
	if err != nil {
		return err
	}
	r.overwritten = r.versions[digests[highRelease]] != highRelease
	fmt.Fprintln(w.log, failed)
	w.env.Log("  %s: %s again, on another base image: overwritten: %v, refused: %v", t.name, highRelease, r.overwritten, failed != nil)
	return nil
}

// tagRows judges the results.
func tagRows(results map[string]*tagResults) []Row {
	// row has a question, and a function that answers it: with the text, and whether it
	// is right.
	row := func(what string, judge func(*tagResults) (string, bool)) Row {
		return Row{What: what, Better: More, Cells: cellsOf(results, func(r *tagResults) error { return r.missing }, func(r *tagResults) Cell {
			text, right := judge(r)
			if right {
				return Graded(1, text)
			}
			return Graded(0, text)
		})}
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
		headline(row(fmt.Sprintf("`latest` after the backport %s (right: %s)", backport, highRelease), names(backport, "latest", is(highRelease)))),
		row(fmt.Sprintf("`1` after the backport (right: %s)", backport), names(backport, "1", is(backport))),
		row(fmt.Sprintf("`2` after the backport (right: %s)", highRelease), names(backport, "2", is(highRelease))),
		row(fmt.Sprintf("`latest` after the prerelease %s (right: any other)", prerelease), names(prerelease, "latest", stable)),
		row("`2` after the prerelease (right: any other)", names(prerelease, "2", stable)),
		headline(row(fmt.Sprintf("`%s` after it is made again on another base image", highRelease), func(r *tagResults) (string, bool) {
			if r.overwritten {
				return "another image", false
			}
			return "the same image", true
		})),
	}
}

// floating are the tags that name a version and are none, for the log.
func floating(tags map[string]string) string {
	var all []string
	for t, v := range tags {
		if v != "" && t != v {
			all = append(all, t+" = "+v)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

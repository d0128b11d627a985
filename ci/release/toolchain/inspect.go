package toolchain

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/release/cargo"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// Facts of a workspace.
type Facts struct {
	// Metadata is the output of cargo metadata.
	Metadata []byte
	// Lock is the text of Cargo.lock, empty if there is none.
	Lock string
	// Files of the whole source.
	Files []string
	// BadLinks are the symlinks among the files that archives can't contain, and
	// why.
	BadLinks map[string]string
	// System identifies the system and the standard library of the toolchain.
	System string
	// Rustc and Cargo are the versions that they print.
	Rustc, Cargo string
	Git          plan.Git
	// NoGit is true if the toolchain's container has no git.
	NoGit bool
}

// badLinks are the kinds of symlinks that inspect.sh reports.
var badLinks = map[string]string{
	"broken":  "is a broken symlink: fix it or remove it from include",
	"outside": "is a symlink out of the source: replace it with a copy",
}

// noGit is the output of inspect.sh in a container without git.
const noGit = "no git\n"

// Inspect asks Cargo for the packages of the workspace in a directory of the
// source, lists the files of the source, and asks git for its state, in one
// container.
func (t Toolchain) Inspect(ctx context.Context, source *dagger.Directory, dir string) (*Facts, error) {
	out := t.base().
		WithMountedDirectory(SrcDir, source).
		WithWorkdir(SrcDir).
		WithExec([]string{binDir + "/inspect.sh", output, dir}).
		Directory(output)
	var metadata, lock, list, system, versions, git string
	g, gctx := errgroup.WithContext(ctx)
	for name, text := range map[string]*string{"metadata.json": &metadata, "lock": &lock, "files": &list, "system": &system, "versions": &versions, "git": &git} {
		g.Go(func() error {
			var err error
			*text, err = out.File(name).Contents(gctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, t.explainInspect(ctx, err)
	}
	facts := &Facts{Metadata: []byte(metadata), Lock: lock, System: strings.TrimSpace(system), NoGit: git == noGit}
	facts.Rustc, facts.Cargo, _ = strings.Cut(strings.TrimSpace(versions), "\n")
	if err := facts.readFiles(list); err != nil {
		return nil, err
	}
	var err error
	if facts.NoGit {
		if git, err = t.git(ctx, source, dir); err != nil {
			return nil, err
		}
	}
	facts.Git, err = plan.ReadGit(git)
	return facts, err
}

// explainInspect explains why a workspace can't be read.
func (t Toolchain) explainInspect(ctx context.Context, err error) error {
	var failed *dagger.ExecError
	if errors.As(err, &failed) {
		if hint := cargo.MemberHint(failed.Stderr, SrcDir); hint != "" {
			return errors.New(hint)
		}
	}
	// Without the image, no script ran.
	if _, missing := t.Digest(ctx); missing != nil {
		return missing
	}
	return engine.Explain("read the workspace", err)
}

// readFiles reads the list of files of inspect.sh.
func (f *Facts) readFiles(list string) error {
	f.BadLinks = map[string]string{}
	for _, line := range strings.Split(strings.TrimSuffix(list, "\n"), "\n") {
		kind, path, _ := strings.Cut(line, " ")
		if strings.Contains(path, `\`) {
			return fmt.Errorf("file name %q has a backslash, which archives can't contain: rename it", path)
		}
		f.Files = append(f.Files, path)
		if kind != "file" {
			f.BadLinks[path] = badLinks[kind]
		}
	}
	sort.Strings(f.Files)
	return nil
}

// Git returns a container that has git: the toolchain's, if it has git.
func (t Toolchain) Git(facts *Facts) *dagger.Container {
	if facts.NoGit {
		t.Custom, t.Channel = nil, cargo.DefaultChannel
	}
	return t.base()
}

// git reads the state of the repository in the official image, for a caller's
// container without git.
func (t Toolchain) git(ctx context.Context, source *dagger.Directory, dir string) (string, error) {
	facts, err := t.Git(&Facts{NoGit: true}).
		WithMountedDirectory(SrcDir, source).
		WithWorkdir(SrcDir).
		WithExec([]string{binDir + "/git.sh", dir}).
		Stdout(ctx)
	if err != nil {
		return "", engine.Explain("read the git repository", err)
	}
	return facts, nil
}

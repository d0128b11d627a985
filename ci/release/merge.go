package release

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"dagger/gantry/ci/engine"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/release/dist"
	"dagger/gantry/ci/release/plan"
	"dagger/gantry/internal/dagger"
)

// mergeCommand is the argument that makes the module's program merge release files.
const mergeCommand = "gantry-merge"

// Places in the merger's container.
const (
	mergeParts = "/gantry-merge/parts"
	mergeFiles = "/gantry-merge/files"
)

// mergeMain runs [mergeCommand].
func mergeMain() error { return dist.MergeMain(mergeParts, mergeFiles, packOut) }

// all returns the files of a release: built here, or elsewhere from the same commit,
// with the files that the caller adds.
func (w *workspace) all(ctx context.Context, p *plan.Plan, r Request) (*dagger.Directory, error) {
	parts := r.Parts
	if len(parts) > 0 && len(r.BinaryTargets) > 0 {
		return nil, errors.New("with-dist adds what was packed elsewhere, and nothing is packed here: use with-binaries where dist runs, and drop it here")
	}
	if len(parts) == 0 {
		built, err := w.dist(ctx, p, r)
		if err != nil || len(r.Files) == 0 {
			return built, err
		}
		parts = []*dagger.Directory{built}
	}
	merged, err := w.merge(ctx, parts, r)
	if err != nil {
		return nil, err
	}
	text, err := merged.File(manifest.FileName).Contents(ctx)
	if err != nil {
		return nil, fmt.Errorf("read %s: %v", manifest.FileName, err)
	}
	m, err := manifest.Parse([]byte(text))
	if err != nil {
		return nil, err
	}
	return merged, fits(p, m)
}

// merge verifies and joins parts of a release, and adds files. It runs in a container for
// the same reason as the packer.
func (w *workspace) merge(ctx context.Context, parts []*dagger.Directory, r Request) (*dagger.Directory, error) {
	ctr, command, err := w.program(ctx)
	if err != nil {
		return nil, err
	}
	for i, part := range parts {
		ctr = ctr.WithMountedDirectory(path.Join(mergeParts, fmt.Sprint(i)), part)
	}
	for i, file := range r.Files {
		ctr = ctr.WithMountedFile(path.Join(mergeFiles, r.FileNames[i]), file)
	}
	out, err := ctr.WithExec(append(command, mergeCommand)).Directory(packOut).Sync(ctx)
	if err != nil {
		return nil, engine.Explain("merge the files of the release", err)
	}
	return out, nil
}

// fits returns an error unless release files are those of a plan, for all its targets.
func fits(p *plan.Plan, m *manifest.Manifest) error {
	if m.Tag != p.Tag || m.Commit != p.Commit || m.Component != p.Component {
		return fmt.Errorf("the dist is for tag %q at commit %s, not for %q at %s: build it from the same source", m.Tag, m.Commit, p.Tag, p.Commit)
	}
	var missing []string
	for _, t := range p.Targets {
		if _, found := m.ArchiveFor(t.Target); !found {
			missing = append(missing, t.Target)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the dist has no archive for %s: build them too, or remove them from targets", strings.Join(missing, ", "))
	}
	return nil
}

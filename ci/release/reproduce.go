package release

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"dagger/gantry/ci/release/plan"
	"dagger/gantry/ci/release/reproduce"
	"dagger/gantry/ci/release/toolchain"
	"dagger/gantry/internal/dagger"
)

// VerifyReproducible builds the programs of the release twice, under different
// conditions, and returns a report, or an error with it if they differ. None of the targets
// means all that are built here.
func (r Request) VerifyReproducible(ctx context.Context, targets []string) (string, error) {
	return opened(ctx, r.Settings, func(w *workspace) (string, error) { return w.verifyReproducible(ctx, r, targets) })
}

func (w *workspace) verifyReproducible(ctx context.Context, r Request, targets []string) (string, error) {
	p, err := w.releasable(r, targets)
	if err != nil {
		return "", err
	}
	builds, err := p.Builds()
	if err != nil {
		return "", err
	}
	builds = slices.DeleteFunc(builds, func(b plan.Build) bool { return slices.Contains(r.BinaryTargets, b.Target.Triple) })
	if len(builds) == 0 {
		return "", fmt.Errorf("no target of %q is built here, so there is nothing to build twice: leave out with-binaries", p.Tag)
	}
	for i := range builds {
		// They are made from Cargo.lock and from the programs.
		builds[i].SBOM, builds[i].Notices, builds[i].Auditable = false, false, false
	}
	builds = w.withCommand(builds)
	if err := w.prepare(ctx, builds, true); err != nil {
		return "", err
	}
	report := reproduce.Report{Tag: p.Tag}
	groups := plan.Group(builds)
	// One after the other, so that time passes between them.
	first, err := w.compileApart(ctx, groups, toolchain.Usual)
	if err != nil {
		return "", err
	}
	second, err := w.compileApart(ctx, groups, toolchain.Other)
	if err != nil {
		return "", fmt.Errorf("the first build succeeded, but not the second, which runs as another user, in another directory and 400 days later: %v", err)
	}
	dir, err := os.MkdirTemp(".", "reproduce")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for i, group := range groups {
		if err := w.compareGroup(ctx, dir, group, first[i], second[i], &report); err != nil {
			return "", err
		}
	}
	if err := report.Err(); err != nil {
		return "", err
	}
	return report.String(), nil
}

// compileApart compiles groups of targets without anything that an earlier build left,
// except for crates that match Cargo.lock.
func (w *workspace) compileApart(ctx context.Context, groups [][]plan.Build, conditions toolchain.Conditions) ([]*toolchain.Output, error) {
	opts := w.options(true)
	opts.Cache += "-" + rand.Text()
	opts.Conditions = conditions
	outputs := make([]*toolchain.Output, len(groups))
	g, ctx := errgroup.WithContext(ctx)
	for i, group := range groups {
		g.Go(func() (err error) {
			outputs[i], err = w.toolchain.Build(ctx, w.source, group, opts)
			return err
		})
	}
	return outputs, g.Wait()
}

// compareGroup adds what two builds of a group made to a report.
func (w *workspace) compareGroup(ctx context.Context, dir string, group []plan.Build, first, second *toolchain.Output, report *reproduce.Report) error {
	both := pair{first.Dir, second.Dir, dir}
	sawFirst, sawSecond, err := both.read(ctx, toolchain.ConditionsFile, toolchain.ConditionsFile)
	if err != nil {
		return err
	}
	c, err := reproduce.ReadConditions(string(sawFirst), string(sawSecond), w.options(true).Epoch)
	if err != nil {
		return err
	}
	report.Conditions = c
	differ := false
	for i, b := range group {
		t := reproduce.Target{Name: b.Target.Triple}
		for j, bin := range b.Bins {
			one, two, err := both.read(ctx, first.Targets[i].Files[j], second.Targets[i].Files[j])
			if err != nil {
				return err
			}
			result := c.Check(bin.Name+b.Target.ExeSuffix, one, two)
			differ = differ || len(result.Findings) > 0
			t.Files = append(t.Files, result)
		}
		report.Targets = append(report.Targets, t)
	}
	if !differ {
		return nil
	}
	return both.scripts(ctx, report)
}

// pair has the outputs of two builds, and a directory for files of them.
type pair struct {
	first, second *dagger.Directory
	dir           string
}

// read reads a file of each.
func (p pair) read(ctx context.Context, first, second string) (one, two []byte, err error) {
	read := func(from *dagger.Directory, name string) ([]byte, error) {
		at := filepath.Join(p.dir, "file")
		if _, err := from.File(name).Export(ctx, at); err != nil {
			return nil, fmt.Errorf("read %q of a build: %v", name, err)
		}
		return os.ReadFile(at)
	}
	one, err = read(p.first, first)
	if err == nil {
		two, err = read(p.second, second)
	}
	return one, two, err
}

// maxScripts bounds the files of build scripts that are compared.
const maxScripts = 40

// scripts adds the files of build scripts that differ to a report.
func (p pair) scripts(ctx context.Context, report *reproduce.Report) error {
	one, two, err := p.read(ctx, toolchain.ScriptSums, toolchain.ScriptSums)
	if err != nil {
		return err
	}
	for i, name := range reproduce.Differing(string(one), string(two)) {
		if i == maxScripts {
			break
		}
		at := path.Join(toolchain.ScriptsDir, name)
		one, two, err := p.read(ctx, at, at)
		if err != nil {
			return err
		}
		report.Scripts = append(report.Scripts, reproduce.Script{Path: name, First: one, Second: two})
	}
	return nil
}

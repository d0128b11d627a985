package main

import (
	"context"
	"path/filepath"
	"strings"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/release/plan"
)

// otherVersion is the version in Cargo.toml, of which the tag is not.
const otherVersion = "1.3.9"

// mismatch runs each tool on a tag that is not the version in Cargo.toml.
func (r *comparison) mismatch(ctx context.Context) ([]Row, error) {
	p, err := makeProject(ctx, filepath.Join(r.env.Work, "mismatch"), otherVersion)
	if err != nil {
		return nil, err
	}
	cells, sees := map[string]Cell{}, map[string]Cell{}
	for _, t := range r.tools {
		r.env.Log("releases: %s: a tag that is not the version in Cargo.toml; a fault that no retry fixes", t.name)
		if cells[t.name], err = r.mismatched(ctx, t, p); err != nil {
			return nil, err
		}
		if sees[t.name], err = r.denied(ctx, t); err != nil {
			return nil, err
		}
	}
	if cells[Gantry], err = r.refuses(ctx, p); err != nil {
		return nil, err
	}
	row := r.row("tag "+tag+", and "+otherVersion+" in Cargo.toml", "", More, func(t string) Cell { return cells[t] })
	row.Cells["dist"] = r.distRefuses(ctx, p)
	return []Row{row, r.row("what a person sees when GitHub denies an upload", "", "", func(t string) Cell { return sees[t] })}, nil
}

func refusal(refused bool) Cell {
	if refused {
		return Graded(1, "refused")
	}
	return Graded(0, "released")
}

// mismatched runs a tool that makes releases.
func (r *comparison) mismatched(ctx context.Context, t *releaser, p *project) (Cell, error) {
	s, err := newStage(filepath.Join(r.env.Work, "stage"), r.few, p)
	if err != nil {
		return Cell{}, err
	}
	defer s.close()
	if _, err := s.run(ctx, t, runLimit); err != nil {
		return Cell{}, err
	}
	return refusal(!complete(s.hub.Events(), r.few.want)), nil
}

// refuses plans the release as Gantry does before it builds or publishes anything.
func (r *comparison) refuses(ctx context.Context, p *project) (Cell, error) {
	dir := filepath.Join(p.dir, "work")
	metadata, err := Output(Command(ctx, dir, nil, "cargo", "metadata", "--format-version=1", "--no-deps", "--offline"))
	if err != nil {
		return Cell{}, err
	}
	loaded, err := plan.Load([]byte(metadata), dir, []string{"Cargo.toml", "Cargo.lock"})
	if err != nil {
		return Cell{}, err
	}
	planned, err := loaded.Plan(tag, plan.Git{Present: true, Commit: p.commit}, nil)
	if err == nil {
		err = planned.Err()
	}
	return refusal(err != nil && strings.Contains(err.Error(), otherVersion)), nil
}

// distRefuses asks dist to plan the release.
func (r *comparison) distRefuses(ctx context.Context, p *project) Cell {
	program, _, err := r.env.Tool(ctx, "dist")
	if err != nil {
		return NotMeasured(err.Error())
	}
	_, err = Output(Command(ctx, filepath.Join(p.dir, "work"), nil, program, "plan", "--tag="+tag))
	return refusal(err != nil)
}

// denied runs a tool while GitHub denies the first upload, and returns what it prints
// last.
func (r *comparison) denied(ctx context.Context, t *releaser) (Cell, error) {
	s, err := newStage(filepath.Join(r.env.Work, "stage"), r.few, r.project)
	if err != nil {
		return Cell{}, err
	}
	defer s.close()
	s.hub.Arm(fakehub.Fault{Kind: fakehub.Denied, N: 1, Match: isUpload, Times: -1})
	a, err := s.run(ctx, t, runLimit)
	if err != nil {
		return Cell{}, err
	}
	return Text(lastLine(strings.ReplaceAll(a.output, s.dir, ""))), nil
}

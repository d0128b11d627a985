package main

import (
	"context"
	"fmt"
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
		r.env.Log("releases: %s: a tag that is not the version in Cargo.toml; an upload that is denied", t.name)
		switch {
		case t.noFiles:
			cells[t.name], sees[t.name] = Graded(1, "makes the tag from Cargo.toml"), noFiles
			continue
		case t.name == Gantry:
			cells[t.name], err = r.checked(p, func(p *project) error { return gantryPlans(ctx, p) })
		default:
			cells[t.name], err = r.mismatched(ctx, t, p)
		}
		if err != nil {
			return nil, err
		}
		if sees[t.name], err = r.denied(ctx, t); err != nil {
			return nil, err
		}
	}
	row := r.row("tag "+tag+", but "+otherVersion+" in Cargo.toml", "", More, func(t string) Cell { return cells[t] })
	row.Headline = true
	if program, _, err := r.env.Tool(ctx, "dist"); err != nil {
		row.Cells["dist"] = NotMeasured(err.Error())
	} else if row.Cells["dist"], err = r.checked(p, func(p *project) error { return distPlans(ctx, program, p) }); err != nil {
		r.env.Log("%v", err)
		row.Cells["dist"] = NotMeasured("it plans no release here")
	}
	return []Row{row, r.row("what a person sees when GitHub denies an upload", "", "", func(t string) Cell { return sees[t] })}, nil
}

// checked is the cell of a tool that checks the version before it releases anything. It
// must accept the project whose version is that of the tag.
func (r *comparison) checked(other *project, plans func(*project) error) (Cell, error) {
	if err := plans(r.project); err != nil {
		return Cell{}, fmt.Errorf("the tag and Cargo.toml agree, and the plan failed: %w", err)
	}
	return refusal(plans(other) != nil), nil
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

// gantryPlans plans the release as Gantry does before it builds or publishes anything.
func gantryPlans(ctx context.Context, p *project) error {
	dir := filepath.Join(p.dir, "work")
	metadata, err := Output(Command(ctx, dir, nil, "cargo", "metadata", "--format-version=1", "--no-deps", "--offline"))
	if err != nil {
		return err
	}
	loaded, err := plan.Load([]byte(metadata), dir, []string{"Cargo.toml", "Cargo.lock"})
	if err != nil {
		return err
	}
	planned, err := loaded.Plan(tag, plan.Git{Present: true, Commit: p.commit}, nil)
	if err != nil {
		return err
	}
	return planned.Err()
}

// distPlans asks dist to plan the release.
func distPlans(ctx context.Context, program string, p *project) error {
	_, err := Output(Command(ctx, filepath.Join(p.dir, "work"), nil, program, "plan", "--tag="+tag))
	return err
}

// denied runs a tool while GitHub denies all uploads, and returns the line that tells why.
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
	return Text(told(strings.ReplaceAll(a.output, s.url, "https://github.test/"))), nil
}

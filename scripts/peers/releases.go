package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/scripts/units"
)

// forReruns is goreleaser with the two settings that its documentation has for releases
// that exist already.
const forReruns = "goreleaser, for re-runs"

// How large the releases are: that of the matrix is small, since it is made hundreds of
// times; the other has the sizes of real archives.
const (
	fewArchives, smallArchive = 2, 64 << 10
	manyArchives, realArchive = 9, 4 << 20
)

// releases compares how files become a GitHub Release.
func releases(ctx context.Context, e *Env) ([]Row, error) {
	r := &comparison{env: e, missing: map[string]error{}}
	if err := r.prepare(ctx); err != nil {
		return nil, err
	}
	var rows []Row
	for _, step := range []func(context.Context) ([]Row, error){r.faults, r.plainly, r.interrupted, r.mismatch} {
		got, err := step(ctx)
		if err != nil {
			return nil, err
		}
		rows = append(rows, got...)
	}
	r.notes()
	return rows, nil
}

// comparison compares tools that make releases.
type comparison struct {
	env     *Env
	tools   []*releaser
	missing map[string]error // why others are missing
	project *project
	few     *files
	many    *files
}

func (r *comparison) prepare(ctx context.Context) (err error) {
	work := r.env.Work
	if r.few, err = makeFiles(filepath.Join(work, "few"), fewArchives, smallArchive); err != nil {
		return err
	}
	if r.many, err = makeFiles(filepath.Join(work, "many"), manyArchives, realArchive); err != nil {
		return err
	}
	if r.project, err = makeProject(ctx, filepath.Join(work, "project"), version); err != nil {
		return err
	}
	return r.releasers(ctx)
}

// releasers finds the tools.
func (r *comparison) releasers(ctx context.Context) error {
	gantry, err := gantryReleaser()
	if err != nil {
		return err
	}
	r.tools = []*releaser{gantry}
	for _, tool := range []struct {
		name string
		make func(program string) []*releaser
	}{
		{"goreleaser", func(p string) []*releaser {
			return []*releaser{goreleaserReleaser(p, "goreleaser", ".goreleaser.yml"), goreleaserReleaser(p, forReruns, "rerun.yml")}
		}},
		{"gh", func(p string) []*releaser { return []*releaser{ghReleaser(p)} }},
		{"release-plz", func(p string) []*releaser { return []*releaser{releasePlzReleaser(p)} }},
		{"semantic-release", func(p string) []*releaser { return []*releaser{semanticReleaser(p)} }},
	} {
		program, _, err := r.env.Tool(ctx, tool.name)
		if err != nil {
			r.env.Log("%v", err)
			r.missing[tool.name] = err
			continue
		}
		r.tools = append(r.tools, tool.make(program)...)
	}
	return nil
}

// drop leaves out a tool that does not work here, which the table says. Gantry must work.
func (r *comparison) drop(t *releaser, err error) error {
	if t.name == Gantry || errors.Is(err, context.Canceled) {
		return err
	}
	r.env.Log("%v", err)
	r.missing[t.name] = errors.New("it does not make the release here")
	r.tools = slices.DeleteFunc(r.tools, func(other *releaser) bool { return other == t })
	return nil
}

// row returns a row with a cell of each tool. Tools that could not be installed say so.
func (r *comparison) row(what, unit, better string, of func(tool string) Cell) Row {
	row := Row{What: what, Unit: unit, Better: better, Cells: map[string]Cell{}}
	for _, t := range r.tools {
		row.Cells[t.name] = of(t.name)
	}
	for name, err := range r.missing {
		row.Cells[name] = NotMeasured(err.Error())
	}
	return row
}

// faults is the matrix: each tool, each fault, each call.
func (r *comparison) faults(ctx context.Context) ([]Row, error) {
	kinds := lightFaults
	if r.env.Faults == "all" {
		kinds = slices.Concat(lightFaults, moreFaults)
	}
	m := &matrix{env: r.env, files: r.few, project: r.project}
	calls := map[string]float64{}
	draft := map[string]Cell{}
	var all []*cell
	for _, t := range slices.Clone(r.tools) {
		made, events, err := m.plain(ctx, t)
		if err != nil {
			if err := r.drop(t, err); err != nil {
				return nil, err
			}
			continue
		}
		calls[t.name], draft[t.name] = float64(len(made)), draftFirst(events)
		all = append(all, cells(t, made, kinds)...)
	}
	r.env.Log("releases: %d cells: %d tools, %d faults, each at each API call", len(all), len(r.tools), len(kinds))
	if err := m.run(ctx, all); err != nil {
		return nil, err
	}
	if err := list(all, filepath.Join(r.env.Out, "releases-cells.tsv")); err != nil {
		return nil, err
	}
	counts := map[string]tally{}
	for _, t := range r.tools {
		counts[t.name] = count(all, t.name)
	}
	return append([]Row{
		r.row(fmt.Sprintf("API calls of a release of %d files", fewArchives+1), "", Less, func(t string) Cell { return Number(calls[t]) }),
		r.row("the release stays a draft until it has all files", "", More, func(t string) Cell { return draft[t] }),
	}, r.counted(counts)...), nil
}

// counted are the rows of the matrix.
func (r *comparison) counted(counts map[string]tally) []Row {
	share := func(what, better string, of func(tally) int) Row {
		row := r.row(what, "% of the runs", better, func(tool string) Cell {
			t := counts[tool]
			return Graded(percent(of(t), t.cells), fmt.Sprintf("%.1f (%d of %d)", percent(of(t), t.cells), of(t), t.cells))
		})
		row.Headline = true
		return row
	}
	return []Row{
		share("release complete after one run with a fault", More, func(t tally) int { return t.first }),
		share("release complete after that run and one re-run", More, func(t tally) int { return t.second }),
		share("incomplete or wrong release visible to users", Less, func(t tally) int { return t.seen }),
		share("success reported for an incomplete release", Less, func(t tally) int { return t.lied }),
		share("draft left behind beside the release", Less, func(t tally) int { return t.drafts }),
		share("run had to be stopped at its time limit", Less, func(t tally) int { return t.ended }),
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// draftFirst tells whether a release was a draft until it had all files.
func draftFirst(events []fakehub.Event) Cell {
	public := false
	for _, e := range events {
		public = public || e.Kind == "publish"
		if public && e.Kind == "upload" {
			return Graded(0, "no")
		}
	}
	return Graded(1, "yes")
}

// plainly releases many files while nothing fails, then runs the same command again.
func (r *comparison) plainly(ctx context.Context) ([]Row, error) {
	took, again, bytes := map[string]Cell{}, map[string]Cell{}, map[string]Cell{}
	for _, t := range r.tools {
		if t.noFiles {
			took[t.name], again[t.name], bytes[t.name] = noFiles, noFiles, noFiles
			continue
		}
		r.env.Log("releases: %s: %d files of %d MiB, nothing fails, and the same again", t.name, manyArchives+1, realArchive>>20)
		var seconds []float64
		for range r.env.Rounds {
			err := r.onStage(t.name, func(s *stage) error {
				first, err := completes(ctx, s, t)
				if err != nil {
					return err
				}
				seconds = append(seconds, first.took.Seconds())
				s.hub.Forget()
				before := s.hub.Dump()
				a, err := s.run(ctx, t, runLimit)
				if err != nil {
					return err
				}
				again[t.name], bytes[t.name] = rerun(a, s.hub.Calls(), s.sent(), before == s.hub.Dump()), Bytes(s.sent())
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		took[t.name] = Number(median(seconds))
	}
	from := func(cells map[string]Cell) func(string) Cell { return func(t string) Cell { return cells[t] } }
	time := r.row(fmt.Sprintf("release of %d archives of %d MiB and their checksums, nothing fails", manyArchives, realArchive>>20), "s", Less, from(took))
	time.Within = 0.05
	rerun := r.row("re-run of a complete release: succeeds and changes nothing", "", More, from(again))
	rerun.Headline = true
	return []Row{
		time,
		rerun,
		r.row("re-run of a complete release: data sent", "", Less, from(bytes)),
	}, nil
}

// completes runs a tool that must make the release.
func completes(ctx context.Context, s *stage, t *releaser) (*attempt, error) {
	a, err := s.run(ctx, t, runLimit)
	if err == nil && !complete(s.hub.Events(), s.files.want) {
		err = fmt.Errorf("%s does not make the release though nothing fails: exit code %d, it printed:\n%s", t.name, a.code, a.output)
	}
	return a, err
}

// onStage does something on a stage of its own, with many files.
func (r *comparison) onStage(name string, do func(*stage) error) error {
	s, err := newStage(filepath.Join(r.env.Work, "stage-"+name), r.many, r.project)
	if err != nil {
		return err
	}
	defer s.close()
	return do(s)
}

// noFiles is the cell of a tool that uploads nothing.
var noFiles = Text("no files")

// rerun is what a run did to a release that was complete before it.
func rerun(a *attempt, calls []fakehub.Call, sent int64, unchanged bool) Cell {
	grade, answer := 0.0, "no"
	if a.code == 0 && sent == 0 && unchanged {
		grade, answer = 1, "yes"
	}
	changes := "changes nothing"
	if !unchanged {
		changes = "changes the releases"
	}
	return Graded(grade, fmt.Sprintf("%s: exit code %d, API calls: %d, %s sent, %s", answer, a.code, len(calls), units.Bytes(sent), changes))
}

// interrupted counts the bytes that are sent twice after a failure near the end.
func (r *comparison) interrupted(ctx context.Context) ([]Row, error) {
	var rows []Row
	for _, lost := range []bool{false, true} {
		what := "connection lost at 90 % of the upload: data sent again"
		if lost {
			what = "machine lost at 90 % of the upload, re-run: data sent again"
		}
		cells := map[string]Cell{}
		for _, t := range r.tools {
			if t.noFiles {
				cells[t.name] = noFiles
				continue
			}
			r.env.Log("releases: %s: %s", t.name, what)
			cell, err := r.sentAgain(ctx, t, lost)
			if err != nil {
				return nil, err
			}
			cells[t.name] = cell
		}
		row := r.row(what, "", Less, func(t string) Cell { return cells[t] })
		row.Headline = lost
		rows = append(rows, row)
	}
	return rows, nil
}

// errIncomplete says that a re-run left a release incomplete.
var errIncomplete = errors.New("a re-run of the same command leaves the release incomplete")

// sentAgain is the median of a few interrupted runs: a tool that uploads several files at
// once sends a whole archive again, or only the checksums, depending on which of them the
// failure hits. There is no median if some of the releases stay incomplete.
func (r *comparison) sentAgain(ctx context.Context, t *releaser, lost bool) (Cell, error) {
	incomplete := 0
	again, err := rounds(r.env.Rounds, func(int) (again float64, err error) {
		err = r.onStage(t.name, func(s *stage) error {
			n, err := r.interrupt(ctx, s, t, lost)
			again = float64(n)
			return err
		})
		if errors.Is(err, errIncomplete) {
			incomplete++
			err = nil
		}
		return again, err
	})
	switch {
	case err != nil:
		return Cell{}, err
	case incomplete == r.env.Rounds:
		return Text("never complete").With(errIncomplete.Error()), nil
	case incomplete > 0:
		return Text(fmt.Sprintf("incomplete in %d of %d runs", incomplete, r.env.Rounds)).With(errIncomplete.Error()), nil
	}
	return Bytes(int64(again)), nil
}

// interrupt runs a tool, fails the upload at 90 %, and runs it again if the release is
// not complete then. It returns how many bytes were sent beyond those of the files.
func (r *comparison) interrupt(ctx context.Context, s *stage, t *releaser, lost bool) (int64, error) {
	f := fakehub.Fault{Kind: fakehub.Reset, N: len(s.files.want) * 9 / 10, Match: isUpload}
	if lost {
		f.Do = func(fakehub.Call) { s.lose() }
	}
	s.hub.Arm(f)
	for range 2 {
		if _, err := s.run(ctx, t, runLimit); err != nil {
			return 0, err
		}
		if complete(s.hub.Events(), s.files.want) {
			return s.sent() - s.files.bytes, nil
		}
	}
	return 0, errIncomplete
}

// notes tell how the tools were compared.
func (r *comparison) notes() {
	e := r.env
	e.Note("GitHub is a fake (ci/fakehub), a new one for each run, on the same machine. All tools reach it over HTTP/1.1 without TLS.")
	e.Note("gantry is its publisher, as `publish` calls it, as a process without the engine around it; an engine adds a fixed time to each call.")
	e.Note("gh is `gh release create TAG FILES`, which is also the release step of the workflow that dist generates. It is the one of Debian 12; later versions may do better.")
	e.Note("goreleaser has `release.extra_files`, and nothing to build; %q also has `use_existing_draft` and `replace_existing_artifacts`.", forReruns)
	e.Note("release-plz uploads no files: its release counts as complete without any. It publishes the release at once, for other tools to add files, makes the tag before it, and a re-run that finds the tag does nothing. Cargo's registry is turned off (`publish = false`).")
	e.Note("semantic-release chooses the version and pushes the tag before it makes the release. A re-run finds the tag and does nothing.")
	e.Note("In a run with a fault, one of the tool's API calls fails once. If the release is incomplete after it, the same command runs again. A run is stopped after %s, or after %s if the fault is a call that is never answered. 90 %% of the upload is the moment at which the upload of nine in ten files has begun. Data sent again is the median of %d runs: a tool that uploads several files at once sends more or less, depending on which of them the failure hits.", brief(runLimit), brief(hangLimit), e.Rounds)
}

func brief(d time.Duration) string { return fmt.Sprintf("%d minutes", int(d.Minutes())) }

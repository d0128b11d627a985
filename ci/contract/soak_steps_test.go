package contract

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/event"
	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
)

// play plays a project's life: steps with trouble, until something is broken, and in
// the end everything again without.
func (s *soak) play(ctx context.Context, steps int) error {
	for range steps {
		if err := s.one(ctx); err != nil || len(s.broken) > 0 {
			return err
		}
	}
	return s.converge(ctx)
}

// one draws a step and plays it.
func (s *soak) one(ctx context.Context) error {
	if s.chance(8) {
		slices.Reverse(s.bases)
		s.note("     the tag of the base image moves")
	}
	runs, err := s.draw(ctx)
	if err != nil {
		return err
	}
	if !s.chance(4) {
		s.arm(runs)
	}
	s.carryOut(ctx, runs)
	if s.chance(3) && len(s.broken) == 0 {
		s.again(ctx, runs)
	}
	return nil
}

// draw draws the runs of a step: one as a rule, else several at the same time.
func (s *soak) draw(ctx context.Context) ([]*soakRun, error) {
	n := pick(s.rand, 1, 1, 1, 1, 1, 1, 2, 2, 2, 3)
	var runs []*soakRun
	for len(runs) < n {
		r, err := s.drawRun(ctx, n == 1, runs)
		if err != nil {
			return nil, err
		}
		r.delay = time.Duration(s.rand.Int64N(int64(6 * time.Second)))
		runs = append(runs, r)
		if s.chance(3) && r.of != nil && len(runs) < n { // the same at the same time
			twin := s.releasing(r.of, "release, too,")
			if r.image {
				twin = s.imaging(r.of, drawSource(s))
			}
			twin.delay = time.Duration(s.rand.Int64N(int64(6 * time.Second)))
			runs = append(runs, twin)
		}
	}
	return runs, nil
}

func drawSource(s *soak) event.Source {
	return pick(s.rand, event.SourceDispatch, event.SourceDispatch, event.SourceRelease, event.SourceWorkflow, event.SourceTag)
}

// drawRun draws one of the runs that the project's state allows.
func (s *soak) drawRun(ctx context.Context, alone bool, beside []*soakRun) (*soakRun, error) {
	var public, open []*soakRelease
	for _, r := range s.releases {
		if r.published() {
			public = append(public, r)
		}
		if !r.done && !slices.ContainsFunc(beside, func(b *soakRun) bool { return b.of == r }) {
			open = append(open, r)
		}
	}
	for {
		switch k := s.rand.IntN(16); {
		case k < 5 && len(s.releases) < 14:
			c := pick(s.rand, s.components...)
			r, err := s.begin(ctx, c, s.next(c))
			if err != nil {
				return nil, err
			}
			if alone && s.chance(5) {
				return s.leftover(r), nil
			}
			return s.releasing(r, "release"), nil
		case k < 8 && len(open) > 0:
			return s.releasing(pick(s.rand, open...), "release again"), nil
		case k < 9 && len(public) > 0 && alone:
			return s.moved(pick(s.rand, public...)), nil
		case k < 10 && len(open) > 0:
			what := pick(s.rand, "stage", "dry-run")
			r := s.releasing(pick(s.rand, open...), what, func(x *github.Spec) { x.DraftOnly, x.DryRun = what == "stage", what == "dry-run" })
			r.partial = true
			return r, nil
		case k < 15 && len(public) > 0:
			r := s.imaging(pick(s.rand, public...), drawSource(s))
			if s.chance(6) {
				r.unpinned = true
				r.what += ", assembled on the base images of now"
			}
			if s.chance(10) {
				r.fails = true
				r.what += ", which its smoke test refuses"
			}
			return r, nil
		case k == 15 && len(public) > 0:
			component := ""
			if s.chance(2) {
				component = pick(s.rand, s.components...).name
			}
			return s.reconciling(1+s.rand.IntN(8), component), nil
		}
	}
}

// next draws the next version of a component: a patch, a minor or a major one, a
// prerelease, or a backport.
func (s *soak) next(c *soakComponent) *semver.Version {
	var all []*semver.Version
	for _, r := range s.releases {
		if r.component == c {
			all = append(all, r.version)
		}
	}
	slices.SortFunc(all, func(a, b *semver.Version) int { return a.Compare(b) })
	if len(all) == 0 {
		return semver.MustParse(pick(s.rand, "1.0.0", "1.0.0", "0.1.0", "1.0.0-rc.1"))
	}
	taken := func(v *semver.Version) bool { return slices.ContainsFunc(all, v.Equal) }
	for {
		from := all[len(all)-1]
		if s.chance(2) { // a backport
			from = pick(s.rand, all...)
		}
		var v semver.Version
		switch s.rand.IntN(6) {
		case 0, 1, 2:
			v = from.IncPatch()
		case 3:
			v = from.IncMinor()
		case 4:
			v = from.IncMajor()
		default:
			v = from.IncMinor()
			v, _ = v.SetPrerelease(fmt.Sprintf("%s.%d", pick(s.rand, "rc", "beta"), 1+s.rand.IntN(3)))
		}
		if !taken(&v) {
			return &v
		}
	}
}

// leftover leaves a draft of the release, and releases.
func (s *soak) leftover(r *soakRelease) *soakRun {
	seed := fakehub.Seed{Tag: r.tag, Commit: r.spec.Commit, Title: r.spec.Title, Body: r.spec.Notes, Draft: true, Prerelease: r.spec.Prerelease}
	asset := pick(s.rand, r.assets...)
	kind := pick(s.rand, "an empty draft", "two empty drafts", "a draft with an asset", "a draft with an unfinished asset", "a draft with another asset of a name", "an empty draft with other texts")
	switch {
	case strings.Contains(kind, "an asset"):
		seed.Files = []fakehub.File{{Name: asset.Name, Data: r.files[asset.Name]}}
	case strings.Contains(kind, "unfinished"):
		seed.Files = []fakehub.File{{Name: asset.Name, Starter: true, Age: pick(s.rand, 0, time.Hour)}}
	case strings.Contains(kind, "another"):
		seed.Files = []fakehub.File{{Name: asset.Name, Data: []byte("something else")}}
	case strings.Contains(kind, "texts"):
		seed.Title, seed.Body = "Draft", ""
	}
	id := s.repo.Seed(seed)
	if strings.HasPrefix(kind, "two") {
		s.repo.Seed(seed)
	}
	run := s.releasing(r, fmt.Sprintf("beside %s, release", kind))
	if strings.Contains(kind, "another") {
		run.refused = true
		do := run.do
		run.do = func(ctx context.Context, r *soakRun) (string, error) {
			report, err := do(ctx, r)
			s.repo.Detach(id, asset.Name) // by the person who is asked to
			return report, err
		}
	}
	return run
}

// moved releases other files of a published release, at another commit.
func (s *soak) moved(r *soakRelease) *soakRun {
	run := s.releasing(r, "release other files as", func(x *github.Spec) {
		if s.chance(2) {
			x.Commit = s.repo.Commit(fmt.Sprintf("%s moved in step %d", r.tag, s.step))
		}
		x.Assets = slices.Clone(x.Assets)
		i := s.rand.IntN(len(x.Assets))
		x.Assets[i] = soakAsset(x.Assets[i].Name, []byte("other files"))
	})
	run.refused = true
	return run
}

// The faults of GitHub. The second list needs something that was just made or is
// being made; the third is there to stay.
var (
	soakHubFaults = []fakehub.FaultKind{
		fakehub.ServerError, fakehub.ServerErrorAfter, fakehub.BadGateway, fakehub.BadGatewayAfter, fakehub.Reset, fakehub.ResetAfter,
		fakehub.Refused, fakehub.RefusedAfter, fakehub.NotFoundPage, fakehub.Secondary, fakehub.SecondaryBare, fakehub.TooMany, fakehub.Primary,
		fakehub.Hang, fakehub.HangAfter, fakehub.LostBody, fakehub.Page, fakehub.Corrupt, fakehub.StoredWrong, fakehub.Echo,
		fakehub.RequestTimeout, fakehub.GoAway, fakehub.GoAwayAfter,
	}
	soakHubOps = map[fakehub.FaultKind][]string{
		fakehub.NotFound:    {"upload asset", "update release", "list assets"},
		fakehub.Exists:      {"upload asset", "update release", "create release"},
		fakehub.Corrupt:     {"upload asset"},
		fakehub.StoredWrong: {"upload asset"},
	}
	soakAllOps = []string{
		"get repository", "get ref", "get tag object", "get release by tag", "list releases", "create release", "upload asset", "list assets",
		"update release", "get latest release", "get release", "get asset", "get object", "delete asset", "delete release",
	}
)

// arm draws what goes wrong in a step.
func (s *soak) arm(runs []*soakRun) {
	s.armed = true
	for range 1 + s.rand.IntN(4) {
		kind := pick(s.rand, append(soakHubFaults, fakehub.NotFound, fakehub.Exists, fakehub.Denied)...)
		ops := soakHubOps[kind]
		f := fakehub.Fault{Kind: kind, N: 1 + s.rand.IntN(4), Times: pick(s.rand, 1, 1, 1, 2, 4, 12)}
		op := pick(s.rand, soakAllOps...)
		if ops != nil {
			op = pick(s.rand, ops...)
		}
		f.Match = func(c fakehub.Call) bool { return c.Op == op }
		if ops == nil && s.chance(3) {
			op = "any call"
			f.N = 1 + s.rand.IntN(40)
			f.Match = nil
		}
		s.hub.Arm(f)
		s.note("     GitHub: %s, %d of %s, %d times", kind, f.N, op, f.Times)
	}
	images := slices.ContainsFunc(runs, func(r *soakRun) bool { return r.image })
	for range s.rand.IntN(4) {
		if !images {
			break
		}
		f := &soakFault{kind: pick(s.rand, append(soakBlips, soakRefuses...)...), nth: 1 + s.rand.IntN(6), times: pick(s.rand, 1, 1, 1, 2, 4, 12)}
		method := pick(s.rand, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPut, http.MethodPost, http.MethodPatch)
		part := pick(s.rand, "/", "/manifests/", "/manifests/sha256:", "/manifests/latest", "/blobs/", "/tags/list", "/referrers/")
		if method == http.MethodPost || method == http.MethodPatch {
			part = "/blobs/uploads/"
		}
		f.match = func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, part) }
		s.registry.mu.Lock()
		s.registry.faults = append(s.registry.faults, f)
		s.registry.mu.Unlock()
		s.note("     registry: %s, %d of %s %s, %d times", f.kind, f.nth, method, part, f.times)
	}
	for _, r := range runs {
		if s.chance(4) {
			r.killAt, r.killAfter = 1+s.rand.IntN(60), s.chance(2)
		}
	}
}

// carryOut plays a step: all runs, and what must hold after them.
func (s *soak) carryOut(ctx context.Context, runs []*soakRun) {
	s.step++
	s.counts.steps++
	s.alone, s.nth, s.order = len(runs) == 1, map[string]int{}, nil
	faultless := s.faultless(runs)
	before := s.hub.Dump()
	for i, r := range runs {
		r.name = string(rune('a' + i))
		kill := ""
		if r.killAt > 0 {
			kill = fmt.Sprintf(", killed at call %d (after it: %t)", r.killAt, r.killAfter)
		}
		s.note("%3d%s: %s%s", s.step, r.name, r.what, kill)
	}
	var wg sync.WaitGroup
	for _, r := range runs {
		wg.Go(func() { r.start(ctx) })
	}
	wg.Wait()
	synctest.Wait()
	for s.hub.Active() > 0 { // calls of runs that ended
		time.Sleep(100 * time.Millisecond)
	}
	s.count(runs)
	for _, r := range runs {
		outcome := "done"
		switch {
		case r.err != nil && r.killed: // at several calls at once, any of which the error may be about
			outcome = "killed"
		case r.err != nil:
			outcome = r.err.Error()
		}
		s.note("     %s: %s", r.name, outcome)
		if r.err != nil && faultless && !r.refused && !r.fails {
			s.breaks("Convergence: a run without trouble succeeds", "%s: %v", r.what, r.err)
		}
		if r.refused && r.err == nil {
			s.breaks("Preflight: what differs from what is published is refused", "%s", r.what)
		}
	}
	s.check(runs, before)
	s.tidy()
	s.registry.mu.Lock()
	s.registry.faults, s.armed = nil, false
	s.registry.mu.Unlock()
	s.registry.close()
	s.hub.Forget()
}

// tidy does what a person is asked to do: of several drafts that runs filled which could
// not see each other's and did not end, all but one are deleted.
func (s *soak) tidy() {
	filled := map[string]int{}
	nth := map[string]int{}
	for _, b := range s.blocks() {
		r := s.byTag(b.tag)
		if n := nth[b.tag]; b.draft && r != nil && r.disturbed && len(b.assets) > 0 {
			if filled[b.tag]++; filled[b.tag] > 1 {
				s.repo.Delete(s.repo.Releases(b.tag)[n])
				s.note("     a person deletes the second draft of %s", b.tag)
				return // one is enough for a step
			}
		}
		nth[b.tag]++
	}
}

// faultless reports whether nothing is to go wrong in a step.
func (s *soak) faultless(runs []*soakRun) bool {
	s.registry.mu.Lock()
	defer s.registry.mu.Unlock()
	killed := slices.ContainsFunc(runs, func(r *soakRun) bool { return r.killAt > 0 })
	return !killed && !s.armed && len(s.registry.faults) == 0
}

func (s *soak) count(runs []*soakRun) {
	s.counts.faults += s.hub.FaultsMet() + s.registry.met
	s.registry.met = 0
	s.counts.runs += len(runs)
	for _, r := range runs {
		if r.killed {
			s.counts.kills++
		}
	}
	if len(runs) > 1 {
		h := fnv.New64a()
		for _, call := range s.order {
			h.Write([]byte(call))
		}
		s.counts.orders[h.Sum64()] = true
	}
}

// again carries out what succeeded once more: it writes nothing.
func (s *soak) again(ctx context.Context, runs []*soakRun) {
	for _, r := range runs {
		if r.err != nil || r.of == nil || r.partial {
			continue
		}
		time.Sleep(s.settings.lag + time.Second)
		second := s.releasing(r.of, "once more: release", func(x *github.Spec) { x.Dispatch = nil })
		if r.image {
			second = s.imaging(r.of, event.SourceTag)
		}
		s.carryOut(ctx, []*soakRun{second})
		if n := second.wrote.Load() + second.pushed.Load() + second.bytes; n > 0 && len(runs) == 1 {
			s.breaks("Convergence: nothing that is already right is sent again", "%s: %d writes to GitHub, %d to the registry", second.what, second.wrote.Load(), second.pushed.Load())
		}
	}
}

// converge takes all trouble away and completes what was begun: the releases, then
// the images, first by reconcile.
func (s *soak) converge(ctx context.Context) error {
	time.Sleep(time.Minute)
	last := func(r *soakRun) {
		if len(s.broken) == 0 {
			s.carryOut(ctx, []*soakRun{r})
		}
	}
	for _, r := range s.releases {
		if !r.done {
			last(s.releasing(r, "in the end, release"))
		}
	}
	time.Sleep(time.Minute)
	last(s.reconciling(1000, ""))
	// Reconcile attaches what the newest release lacks. For another, its phase 2 runs
	// again.
	for _, r := range s.releases {
		if r.lacking {
			last(s.imaging(r, event.SourceTag))
		}
	}
	once := s.reconciling(1000, "")
	once.what = "once more, " + once.what
	last(once)
	if once.pushed.Load() > 0 {
		s.breaks("Convergence: nothing that is already right is sent again", "%s: %d writes to the registry", once.what, once.pushed.Load())
	}
	if len(s.broken) > 0 {
		return nil
	}
	return s.final(ctx)
}

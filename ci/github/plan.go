package github

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
)

// Action is the kind of a step.
type Action string

// The actions, in the order in which they happen.
const (
	CreateDraft Action = "create-draft"
	AdoptDraft  Action = "adopt-draft"
	// CorrectDraft corrects an adopted draft: its target commit and its prerelease
	// flag.
	CorrectDraft  Action = "correct-draft"
	SetNotes      Action = "set-notes"
	DeleteStarter Action = "delete-starter"
	Replace       Action = "replace"
	Upload        Action = "upload"
	Keep          Action = "keep"
	Publish       Action = "publish"
	Promote       Action = "promote"
	SendEvent     Action = "dispatch"
	// DeleteDraft deletes an empty draft that a run created next to another one.
	DeleteDraft Action = "delete-draft"
)

// Step is one thing to do, or one that is already right.
type Step struct {
	Action Action
	// Asset is the name of the step's asset, if any.
	Asset string
	Size  int64
	// Tag is the tag to publish or promote, or the type of the event to send.
	Tag string
	// Release is the id of the draft to adopt or delete.
	Release int64
	// Why is the reason, if it isn't obvious.
	Why string

	id     int64 // of the remote asset or release
	latest bool  // publish as the latest
}

// Write reports whether the step changes something.
func (s Step) Write() bool { return s.Action != AdoptDraft && s.Action != Keep }

func (s Step) String() string {
	values := strings.NewReplacer("TAG", s.Tag, "ASSET", s.Asset, "SIZE", fmt.Sprint(s.Size), "ID", fmt.Sprint(s.Release))
	text := values.Replace(cmp.Or(sentences[s.Action], string(s.Action)))
	if s.Why != "" {
		text += " (" + s.Why + ")"
	}
	return text
}

var sentences = map[Action]string{
	CreateDraft:   "create draft TAG",
	AdoptDraft:    "adopt draft ID",
	CorrectDraft:  "correct the draft",
	SetNotes:      "set title and notes",
	DeleteStarter: "delete starter ASSET",
	Replace:       "replace ASSET (SIZE bytes)",
	Upload:        "upload ASSET (SIZE bytes)",
	Keep:          "keep ASSET",
	Publish:       "publish TAG",
	Promote:       "promote TAG to latest",
	SendEvent:     "dispatch TAG",
	DeleteDraft:   "delete draft ID",
}

// State is the state of a release on GitHub.
type State string

// The states.
const (
	StateNone      State = "none"
	StateDraft     State = "draft"
	StateDrafts    State = "several drafts"
	StatePublished State = "published"
)

// Plan lists what a release would do.
type Plan struct {
	Repository string
	Tag        string
	Commit     string
	State      State
	// Steps are in order. They include assets that stay as they are.
	Steps []Step
	// Notes need no action.
	Notes []string
	// Problems prevent the release. If there are any, there are no steps.
	Problems []Problem

	seen *remote
}

// Writes returns the number of steps that change something.
func (p *Plan) Writes() int {
	n := 0
	for _, s := range p.Steps {
		if s.Write() {
			n++
		}
	}
	return n
}

// Summary returns the plan in a line: "create draft, upload 2 of 9, publish".
func (p *Plan) Summary() string {
	if len(p.Problems) > 0 {
		return fmt.Sprintf("%d problems", len(p.Problems))
	}
	return summarize(p.Steps)
}

func summarize(steps []Step) string {
	count := map[Action]int{}
	assets := 0
	for _, s := range steps {
		count[s.Action]++
		if s.Action == Upload || s.Action == Keep || s.Action == Replace {
			assets++
		}
	}
	var parts []string
	for _, a := range []Action{CreateDraft, AdoptDraft, CorrectDraft, SetNotes, DeleteStarter, Replace, Upload, Publish, Promote, SendEvent, DeleteDraft} {
		n := count[a]
		if n == 0 {
			continue
		}
		switch a {
		case Upload, Replace:
			parts = append(parts, fmt.Sprintf("%s %d of %d", a, n, assets))
		case DeleteStarter:
			parts = append(parts, fmt.Sprintf("delete %d starter", n))
		default:
			parts = append(parts, strings.ReplaceAll(string(a), "-", " "))
		}
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

// Text returns the plan for people.
func (p *Plan) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "release %s of %s at %s\n", p.Tag, p.Repository, short(p.Commit))
	fmt.Fprintf(&b, "found: %s\n", p.State)
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	for _, q := range p.Problems {
		fmt.Fprintf(&b, "problem: %s\n", q)
	}
	fmt.Fprintf(&b, "plan: %s\n", p.Summary())
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	return b.String()
}

func short(sha string) string {
	if len(sha) > 12 {
		return sha[:12]
	}
	return sha
}

// remote is the state that was read.
type remote struct {
	tagCommit string     // "" if there is no tag
	published *Release   // of the tag, with its assets
	drafts    []*Release // of the tag, lowest id first
	draft     *Release   // the draft to continue, with its assets
	spare     []*Release // superfluous empty drafts
	all       []*Release
	latest    *Release
}

// work is a release in progress.
type work struct {
	*repo
	spec    *Spec
	made    map[int64]bool  // drafts that this run created
	deleted map[int64]bool  // drafts that this run deleted
	known   sync.Map        // assets whose content this run has compared
	ours    sync.Map        // assets that this run sent
	left    map[string]bool // assets of the published release that stay different
	tagged  bool            // the tag was at the commit when it was last read
}

// has reports whether a set has the id of an asset.
func has(set *sync.Map, id int64) bool {
	_, ok := set.Load(id)
	return ok
}

// body returns the notes to send, and whether they were shortened.
func (w *work) body() (text string, cut bool) { return w.spec.body(w.c.web.String()) }

// target returns the commit to name to GitHub: none if the tag exists. GitHub would
// ignore the commit, and still refuse one that changes workflows if the token may
// not.
func (w *work) target() *string {
	if w.tagged {
		return nil
	}
	return &w.spec.Commit
}

// Plan reads the state on GitHub and plans the release. It writes nothing.
func (c *Client) Plan(ctx context.Context, spec Spec) (*Plan, error) {
	ctx, r := c.on(ctx, spec.Owner, spec.Repo)
	w := &work{repo: r, spec: &spec}
	p, err := w.plan(ctx)
	return p, c.redactErr(err)
}

// plan checks, reads and compares. Problems go into the plan; an error means that
// something could not be read.
func (w *work) plan(ctx context.Context) (*Plan, error) {
	spec := w.spec
	p := &Plan{Repository: spec.Owner + "/" + spec.Repo, Tag: spec.Tag, Commit: spec.Commit, State: StateNone}
	p.Problems = spec.check()
	problems, notes, err := w.access(ctx)
	if err != nil {
		return nil, err
	}
	p.Notes = append(p.Notes, notes...)
	p.Problems = append(p.Problems, problems...)
	if len(problems) > 0 || spec.Tag == "" {
		return p, nil // nothing else can be read
	}
	if p.seen, err = w.look(ctx); err != nil {
		return nil, err
	}
	if err := w.compare(ctx, p); err != nil {
		return nil, err
	}
	if len(p.Problems) > 0 {
		p.Steps = nil
	}
	return p, nil
}

// look reads everything that matters for the release.
func (w *work) look(ctx context.Context) (*remote, error) {
	spec := w.spec
	r := &remote{}
	var err error
	if r.tagCommit, err = w.tagCommit(ctx, spec.Tag); err != nil {
		return nil, err
	}
	w.tagged = r.tagCommit == spec.Commit
	if r.published, err = w.byTag(ctx, spec.Tag, false); err != nil {
		return nil, err
	}
	// Another run may be about to delete its superfluous draft.
	_, err = w.until(ctx, 4, "one of several drafts to go", func() (bool, error) {
		if r.all, err = w.allReleases(ctx); err != nil {
			return false, err
		}
		r.drafts = draftsOf(r.all, spec.Tag, w.deleted)
		if i := slices.IndexFunc(r.all, w.other(nil)); i >= 0 && r.published == nil {
			r.published = r.all[i] // the list may be newer than the look-up by tag
		}
		return r.published != nil || len(r.drafts) < 2, nil
	})
	if err != nil {
		return nil, err
	}
	if spec.OwnsLatest {
		some := slices.ContainsFunc(r.all, func(x *Release) bool { return !x.Draft && !x.Prerelease })
		if r.latest, err = w.latest(ctx, some); err != nil {
			return nil, err
		}
	}
	switch {
	case r.published != nil:
		r.published.Assets, err = w.assets(ctx, r.published.ID)
	case len(r.drafts) > 0 && w.made[r.drafts[0].ID]:
		r.draft = r.drafts[0]
		r.draft.Assets, err = w.assets(ctx, r.draft.ID)
	default:
		err = w.choose(ctx, r)
	}
	return r, err
}

// choose picks the draft to continue, unless there are several that hold more than
// what a run leaves that ends right after it creates one.
func (w *work) choose(ctx context.Context, r *remote) error {
	body, _ := w.body()
	var kept, spare []*Release
	for _, d := range r.drafts {
		var err error
		if d.Assets, err = w.assets(ctx, d.ID); err != nil {
			return err
		}
		if len(d.Assets) == 0 && d.Title == w.spec.Title && normalize(d.Notes) == body && w.draftDiffers(d) == "" {
			spare = append(spare, d)
		} else {
			kept = append(kept, d)
		}
	}
	if len(kept) == 0 && len(spare) > 0 {
		kept, spare = spare[:1], spare[1:]
	}
	if len(kept) == 1 {
		r.draft, r.spare = kept[0], spare
	}
	return nil
}

func draftsOf(all []*Release, tag string, without map[int64]bool) []*Release {
	var ds []*Release
	for _, x := range all {
		if x.Draft && x.Tag == tag && !without[x.ID] {
			ds = append(ds, x)
		}
	}
	slices.SortFunc(ds, func(a, b *Release) int { return int(a.ID - b.ID) })
	return ds
}

func (p *Plan) problem(hint, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{fmt.Sprintf(format, args...), hint})
}

func (p *Plan) note(format string, args ...any) {
	p.Notes = append(p.Notes, fmt.Sprintf(format, args...))
}

func (p *Plan) step(s ...Step) { p.Steps = append(p.Steps, s...) }

// compare turns the difference into steps, problems and notes.
func (w *work) compare(ctx context.Context, p *Plan) error {
	spec, r := w.spec, p.seen
	if err := w.compareTag(ctx, p); err != nil {
		return err
	}
	if _, cut := w.body(); cut {
		p.note("the notes are longer than %d characters: cut at a line", maxBody)
	}
	var err error
	switch {
	case r.published != nil:
		p.State = StatePublished
		err = w.comparePublished(ctx, p)
	case r.draft != nil:
		p.State = StateDraft
		err = w.compareDraft(ctx, p)
	case len(r.drafts) > 1:
		p.State = StateDrafts
		ids := make([]string, len(r.drafts))
		for i, d := range r.drafts {
			ids[i] = fmt.Sprintf("%d (%s)", d.ID, d.URL)
		}
		p.problem("delete all but one of them", "tag %s has %d drafts: %s", spec.Tag, len(ids), strings.Join(ids, ", "))
	default:
		p.step(Step{Action: CreateDraft, Tag: spec.Tag})
		for _, a := range spec.Assets {
			p.step(Step{Action: Upload, Asset: a.Name, Size: a.Size})
		}
	}
	if err == nil && !spec.DraftOnly {
		w.planPublishing(p)
	}
	return err
}

// compareTag checks that the tag is at the commit or can be created there.
func (w *work) compareTag(ctx context.Context, p *Plan) error {
	spec, r := w.spec, p.seen
	switch {
	case r.tagCommit == "" && r.published == nil:
		has, err := w.hasCommit(ctx, spec.Commit)
		if err != nil {
			return err
		}
		if !has {
			p.problem("push it first", "commit %s is not in the repository", short(spec.Commit))
		} else if err := w.compareWorkflows(ctx, p); err != nil {
			return err
		}
		p.note("publishing creates the tag %s at %s", spec.Tag, short(spec.Commit))
	case r.tagCommit != "" && r.tagCommit != spec.Commit:
		p.problem("release the commit that the tag is at, or choose another tag", "tag %s is at %s, not at %s", spec.Tag, short(r.tagCommit), short(spec.Commit))
	}
	return nil
}

// compareDraft plans how to complete a draft. Texts that differ stay: a person may
// have edited them.
func (w *work) compareDraft(ctx context.Context, p *Plan) error {
	d := p.seen.draft
	for _, x := range p.seen.spare {
		p.step(Step{Action: DeleteDraft, Release: x.ID, Why: "empty, one of several"})
	}
	p.step(Step{Action: AdoptDraft, Release: d.ID, id: d.ID})
	if why := w.draftDiffers(d); why != "" {
		p.step(Step{Action: CorrectDraft, Why: why})
	}
	body, _ := w.body()
	notes := normalize(d.Notes)
	if missing(d.Title, w.spec.Title) || missing(notes, body) {
		p.step(Step{Action: SetNotes})
	}
	if d.Title != "" && d.Title != w.spec.Title {
		p.note("the draft's title is kept: %q", d.Title)
	}
	if notes != "" && notes != body {
		p.note("the draft's notes differ, as if edited by hand: kept")
	}
	return w.compareAssets(ctx, p, d)
}

// planPublishing plans the steps after all assets are right.
func (w *work) planPublishing(p *Plan) {
	spec, r := w.spec, p.seen
	best := w.highest(r.all, r.latest)
	current := tagOf(r.latest)
	if r.published == nil {
		s := Step{Action: Publish, Tag: spec.Tag}
		switch {
		case !spec.OwnsLatest:
			s.Why = "not as latest"
		case best == spec.Tag:
			s.Why, s.latest, current = "as latest", true, spec.Tag
		case w.stable(spec.Tag, spec.Prerelease) == nil:
			s.Why = "not as latest: a prerelease"
		default:
			s.Why = "not as latest: lower than " + best
		}
		p.step(s)
	}
	if best != "" && best != current && (r.published == nil || spec.Existing != ExistingFill) {
		p.step(promotion(best, current))
	}
	if spec.Dispatch != nil {
		p.step(Step{Action: SendEvent, Tag: spec.Dispatch.EventType})
	}
}

// promotion returns the step that makes a tag's release the latest.
func promotion(tag, current string) Step {
	if current == "" {
		return Step{Action: Promote, Tag: tag, Why: "no release is the latest"}
	}
	return Step{Action: Promote, Tag: tag, Why: "it is " + current}
}

// draftDiffers returns what is wrong with a draft, apart from its texts and assets,
// or "". A person who publishes the draft by hand gets these values.
func (w *work) draftDiffers(d *Release) string {
	var why []string
	if !w.tagged && d.Commitish != w.spec.Commit {
		why = append(why, fmt.Sprintf("its target is %s, not %s", short(d.Commitish), short(w.spec.Commit)))
	}
	if d.Prerelease != w.spec.Prerelease {
		why = append(why, fmt.Sprintf("it has prerelease=%t", d.Prerelease))
	}
	return strings.Join(why, ", ")
}

// compareWorkflows checks that the token may create the tag at a commit that changes
// workflow files.
func (w *work) compareWorkflows(ctx context.Context, p *Plan) error {
	scopes := w.oauthScopes()
	if w.token == classicToken && hasScope(scopes, "workflow") {
		return nil
	}
	differ, err := w.workflowsDiffer(ctx, w.spec.Commit)
	if err != nil || len(differ) == 0 {
		return err
	}
	what := fmt.Sprintf("there is no tag %s, and commit %s changes .github/workflows/%s relative to the default branch: ",
		w.spec.Tag, short(w.spec.Commit), strings.Join(differ, ", "))
	push := fmt.Sprintf("push the tag first (git push origin %s): a release of an existing tag only needs contents: write", w.spec.Tag)
	switch w.token {
	case classicToken:
		p.problem(push+"; or give the token the scope workflow", "%sa token with the scopes %q may not create a tag there", what, *scopes)
	case appToken:
		p.problem(push, "%sa workflow's token (GITHUB_TOKEN) may never create a tag there, and it is unknown whether another app's may", what)
	default:
		p.note("%sa fine-grained token needs the permission workflows=write to create a tag there; or %s", what, push)
	}
	return nil
}

func missing(have, want string) bool { return have == "" && want != "" }

func tagOf(r *Release) string {
	if r == nil {
		return ""
	}
	return r.Tag
}

// comparePublished compares a published release. Only its assets can be changed,
// and only if it is mutable.
func (w *work) comparePublished(ctx context.Context, p *Plan) error {
	spec, r := w.spec, p.seen.published
	before := len(p.Problems)
	for _, d := range p.seen.drafts {
		if !w.made[d.ID] {
			p.note("another draft of the tag remains: %d", d.ID)
		}
	}
	switch {
	case r.Prerelease == spec.Prerelease:
	case spec.Existing == ExistingFill:
		p.note("the published release has prerelease=%t: kept", r.Prerelease)
	default:
		p.problem("change it by hand, or keep it", "the published release has prerelease=%t, not %t", r.Prerelease, spec.Prerelease)
	}
	if spec.DraftOnly {
		p.note("the release is published already")
	}
	if body, _ := w.body(); normalize(r.Notes) != body || r.Title != spec.Title {
		p.note("the published title or notes differ: kept")
	}
	if err := w.compareAssets(ctx, p, r); err != nil {
		return err
	}
	if r.Immutable && (p.Writes() > 0 || len(p.Problems) > before) {
		p.problem("it can never be changed; release another version", "the published release %s is immutable", r.Tag)
	}
	return nil
}

// compareAssets plans the steps for all assets.
func (w *work) compareAssets(ctx context.Context, p *Plan, r *Release) error {
	w.left = map[string]bool{}
	var steps []Step
	var known []string
	for _, a := range w.spec.Assets {
		known = append(known, a.Name)
		var got *RemoteAsset
		if i := slices.IndexFunc(r.Assets, func(g RemoteAsset) bool { return g.Name == a.Name }); i >= 0 {
			got = &r.Assets[i]
		}
		more, err := w.compareAsset(ctx, p, r, a, got)
		if err != nil {
			return err
		}
		steps = append(steps, more...)
	}
	for _, a := range r.Assets {
		switch {
		case slices.Contains(known, a.Name):
		case a.whole():
			p.note("%s has %s, which is not part of this release: kept", r.kind(), a.Name)
		case r.Draft:
			steps = append(steps, Step{Action: DeleteStarter, Asset: a.Name, id: a.ID})
		}
	}
	order := []Action{DeleteStarter, Replace, Upload, Keep}
	slices.SortStableFunc(steps, func(a, b Step) int { return slices.Index(order, a.Action) - slices.Index(order, b.Action) })
	p.step(steps...)
	return nil
}

// compareAsset plans the steps for one asset. got is the one on GitHub, or nil.
func (w *work) compareAsset(ctx context.Context, p *Plan, r *Release, a Asset, got *RemoteAsset) (steps []Step, err error) {
	existing := w.spec.Existing
	if got == nil || !got.whole() {
		if !r.Draft && existing != ExistingFill && existing != ExistingReplace {
			p.problem(existingHint(r, "pass --existing=fill to add it"), "%s lacks %s", r.kind(), a.Name)
			return nil, nil
		}
		if got != nil {
			steps = append(steps, Step{Action: DeleteStarter, Asset: a.Name, id: got.ID})
		}
		return append(steps, Step{Action: Upload, Asset: a.Name, Size: a.Size}), nil
	}
	diff, err := w.differs(ctx, a, got)
	switch {
	case err != nil:
		return nil, err
	case diff == "":
		return []Step{{Action: Keep, Asset: a.Name, Size: a.Size}}, nil
	case existing == ExistingReplace:
		return []Step{{Action: Replace, Asset: a.Name, Size: a.Size, Why: diff, id: got.ID}}, nil
	case !r.Draft && existing == ExistingFill:
		w.left[a.Name] = true
		p.note("%s has a different %s: %s: kept", r.kind(), a.Name, diff)
	default:
		p.problem(existingHint(r, "pass --existing=replace to overwrite it, or find out where it came from"), "%s has a different %s: %s", r.kind(), a.Name, diff)
	}
	return nil, nil
}

func (r *Release) kind() string {
	if r.Draft {
		return "the draft"
	}
	return "the published release"
}

// existingHint returns a hint, unless the release is immutable.
func existingHint(r *Release, hint string) string {
	if r.Immutable {
		return ""
	}
	return hint
}

// differs returns how a complete asset differs from the expected one, or "".
func (w *work) differs(ctx context.Context, a Asset, got *RemoteAsset) (string, error) {
	switch {
	case a.Open == nil && a.SHA256 == "":
		return "", nil // not built yet
	case got.Size != a.Size:
		return fmt.Sprintf("it has %d bytes, not %d", got.Size, a.Size), nil
	case got.SHA256 == "" && has(&w.known, got.ID):
		got.SHA256 = a.SHA256 // read by this run before
	case got.SHA256 == "":
		// GitHub used not to record digests, and some servers still don't.
		sum, err := w.digest(ctx, got)
		if err != nil {
			return "", err
		}
		got.SHA256 = sum
	}
	if got.SHA256 != a.SHA256 {
		return fmt.Sprintf("its SHA-256 is %s, not %s", short(got.SHA256), short(a.SHA256)), nil
	}
	w.known.Store(got.ID, true)
	return "", nil
}

// stable returns the version of a release that may be the latest, or nil.
func (w *work) stable(tag string, prerelease bool) *semver.Version {
	if prerelease || w.spec.VersionOf == nil {
		return nil
	}
	if v, ok := w.spec.VersionOf(tag); ok && v.Prerelease() == "" {
		return v
	}
	return nil
}

// highest returns the tag of the highest stable release, or "". It counts this
// release as published, and extra, GitHub's latest, which may not be listed yet.
func (w *work) highest(all []*Release, extra *Release) string {
	if !w.spec.OwnsLatest {
		return ""
	}
	best := w.stable(w.spec.Tag, w.spec.Prerelease)
	tag := ""
	if best != nil {
		tag = w.spec.Tag
	}
	if extra != nil {
		all = append(slices.Clone(all), extra)
	}
	for _, r := range all {
		if r.Draft {
			continue
		}
		if v := w.stable(r.Tag, r.Prerelease); v != nil && (best == nil || v.GreaterThan(best)) {
			best, tag = v, r.Tag
		}
	}
	return tag
}

// Preflight checks everything that can be known before the assets are built: the
// token, the repository, the tag, the names and the state on GitHub. The spec's
// assets may have names only.
func (c *Client) Preflight(ctx context.Context, spec Spec) (*Plan, error) {
	assets := slices.Clone(spec.Assets)
	for i := range assets {
		assets[i].Open = nil
	}
	spec.Assets = assets
	p, err := c.Plan(ctx, spec)
	if err == nil && len(p.Problems) > 0 {
		err = &problemsError{Tag: spec.Tag, Problems: p.Problems}
	}
	return p, err
}

// tooYoung returns for how long an unfinished asset may still be another run's
// upload.
func (w *work) tooYoung(a *RemoteAsset) time.Duration {
	return min(w.c.o.starterGrace-w.now().Sub(a.CreatedAt), w.c.o.starterGrace)
}

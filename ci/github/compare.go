package github

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

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
		more, err := w.compareAsset(ctx, p, r, a, find(r.Assets, a.Name))
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
	w.compareSignatures(p, r, steps)
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

// compareSignatures refuses steps after which an asset would sign something else than
// what the release has.
func (w *work) compareSignatures(p *Plan, r *Release, steps []Step) {
	for _, name := range slices.Sorted(maps.Keys(w.spec.Signatures)) {
		signed := w.spec.Signatures[name]
		ours := slices.ContainsFunc(w.spec.Assets, func(a Asset) bool { return a.Name == name })
		replaced := slices.ContainsFunc(steps, func(s Step) bool { return s.Action == Replace && s.Asset == signed })
		switch {
		case ours && w.left[signed]:
			p.problem(existingHint(r, "pass --existing=replace, or publish without a signature"), "%s keeps a different %s, which %s would not sign", r.kind(), signed, name)
		case !ours && replaced && find(r.Assets, name) != nil:
			p.problem("sign it again (--signing-key or --oidc-request-url), or delete the signature", "%s has %s, which signs the %s that would be replaced", r.kind(), name, signed)
		}
	}
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
		if a.Equivalent == nil || got.Size > maxEquivalent {
			return "", nil // not built yet
		}
		return w.differsInEffect(ctx, a, got) // never built if this one will do
	case got.Size != a.Size:
	case got.SHA256 == "" && has(&w.known, got.ID):
		got.SHA256 = a.SHA256 // read by this run before
	case got.SHA256 == "":
		// GitHub used not to record digests, and some servers still don't.
		sum, err := w.digest(ctx, got)
		if err != nil {
			return "", deletedMeanwhile(got, err)
		}
		got.SHA256 = sum
	}
	diff := a.diff(*got)
	if diff != "" && a.Equivalent != nil && got.Size <= maxEquivalent {
		return w.differsInEffect(ctx, a, got)
	}
	if diff == "" {
		w.known.Store(got.ID, true)
	}
	return diff, nil
}

// differsInEffect returns why a complete asset with other bytes doesn't serve, or "".
func (w *work) differsInEffect(ctx context.Context, a Asset, got *RemoteAsset) (string, error) {
	if sum, compared := w.equivalent.Load(got.ID); compared && sum == got.SHA256 && got.SHA256 != "" {
		return "", nil
	}
	content, err := w.content(ctx, got)
	if err != nil {
		return "", deletedMeanwhile(got, err)
	}
	if err := a.Equivalent(content); err != nil {
		return err.Error(), nil
	}
	w.equivalent.Store(got.ID, got.SHA256)
	return "", nil
}

// deletedMeanwhile returns errConflict for an asset that was listed and is gone: another
// run replaces it.
func deletedMeanwhile(a *RemoteAsset, err error) error {
	if isGone(err) {
		return fmt.Errorf("%w: its asset %s was deleted", errConflict, a.Name)
	}
	return err
}

// diff returns how an asset on GitHub differs, as far as GitHub tells, or "".
func (a *Asset) diff(got RemoteAsset) string {
	switch {
	case got.Size != a.Size:
		return fmt.Sprintf("it has %d bytes, not %d", got.Size, a.Size)
	case got.SHA256 != "" && got.SHA256 != a.SHA256:
		return fmt.Sprintf("its SHA-256 is %s, not %s", short(got.SHA256), short(a.SHA256))
	}
	return ""
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
	all = append([]*Release{{Tag: w.spec.Tag, Prerelease: w.spec.Prerelease}}, all...)
	if extra != nil {
		all = append(all, extra)
	}
	var best *semver.Version
	tag := ""
	for _, r := range all {
		if v := w.stable(r.Tag, r.Prerelease); !r.Draft && v != nil && (best == nil || v.GreaterThan(best)) {
			best, tag = v, r.Tag
		}
	}
	return tag
}

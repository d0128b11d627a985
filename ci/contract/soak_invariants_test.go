package contract

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/fakehub"
	"dagger/gantry/ci/github"
	"dagger/gantry/ci/image/oci"
	"dagger/gantry/ci/published"
)

// The words of the invariants are those of the design: what must always hold of a
// project that is released with Gantry, whatever goes wrong.
const (
	whole      = "Complete or invisible: a published release has every asset, and no other bytes"
	unchanged  = "Same bytes: what is published never changes"
	one        = "Convergence: a tag has one release"
	ends       = "Convergence: all runs end in the same state"
	latestUp   = "Monotone: GitHub's Latest never moves to a lower version"
	latestTop  = "Monotone: GitHub's Latest is the highest stable version of its component"
	floatsTop  = "Monotone: floating tags name the highest version of their class"
	exactOnce  = "Monotone: the exact tag is write-once"
	isolation  = "Isolation: phase 2 only reads the release"
	dry        = "A dry run is the same graph, less the writes"
	complete   = "Complete or invisible: a publication that succeeds has its version tag"
	sameInside = "Same bytes: the binaries in an image are those of the release"
)

// check checks everything after a step.
func (s *soak) check(runs []*soakRun, before string) {
	s.checkEvents()
	s.checkHub(runs)
	s.checkLatest(runs)
	onlyReads := !slices.ContainsFunc(runs, func(r *soakRun) bool { return !r.image && !strings.HasPrefix(r.what, "dry-run") })
	if after := s.hub.Dump(); onlyReads && after != before {
		s.breaks(isolation, "the state of GitHub changed from\n%s\nto\n%s", before, after)
	}
	for _, r := range runs {
		if strings.HasPrefix(r.what, "dry-run") && r.wrote.Load() > 0 {
			s.breaks(dry, "%s: %d writes", r.what, r.wrote.Load())
		}
	}
	s.checkImages(runs)
}

// checkEvents looks at every moment since the last step.
func (s *soak) checkEvents() {
	for _, e := range s.hub.Events() {
		if e.Draft || e.Kind == "create" || e.Kind == "dispatch" || e.Kind == "latest" {
			continue
		}
		r := s.byTag(e.Tag)
		if r == nil {
			s.breaks(whole, "%s of %q, which nobody releases", e.Kind, e.Tag)
			continue
		}
		if slices.Contains([]string{"upload", "starter", "delete", "delete-asset", "edit-asset"}, e.Kind) {
			s.breaks(unchanged, "%s %s of the published release %s", e.Kind, e.Asset, e.Tag)
		}
		s.checkAssets(r, e.Assets, "after "+e.Kind)
	}
}

// checkAssets compares the assets of a published release, by name, with their digests.
func (s *soak) checkAssets(r *soakRelease, have map[string]string, when string) {
	for _, a := range r.assets {
		if got := have[a.Name]; got != "sha256:"+a.SHA256 {
			s.breaks(whole, "%s, %s of %s is %q, not sha256:%s", when, a.Name, r.tag, got, a.SHA256)
		}
	}
	if len(have) != len(r.assets) {
		s.breaks(whole, "%s, %s has %d assets, not %d", when, r.tag, len(have), len(r.assets))
	}
}

func (s *soak) byTag(tag string) *soakRelease {
	if i := slices.IndexFunc(s.releases, func(r *soakRelease) bool { return r.tag == tag }); i >= 0 {
		return s.releases[i]
	}
	return nil
}

var (
	soakReleaseLine = regexp.MustCompile(`^  release (\S+) draft=(true|false) `)
	soakAssetLine   = regexp.MustCompile(`^    asset (\S+) (\S+) \d+ \S+ ([0-9a-f]+)$`)
)

// soakBlock is a release in the state of GitHub.
type soakBlock struct {
	tag, text string
	draft     bool
	assets    map[string]string
}

// blocks are the releases in the state of GitHub.
func (s *soak) blocks() (all []*soakBlock) {
	var b *soakBlock
	for line := range strings.Lines(s.hub.Dump()) {
		line = strings.TrimSuffix(line, "\n")
		if m := soakReleaseLine.FindStringSubmatch(line); m != nil {
			b = &soakBlock{tag: m[1], draft: m[2] == "true", assets: map[string]string{}}
			all = append(all, b)
		} else if !strings.HasPrefix(line, "    ") {
			b = nil
		}
		if b == nil {
			continue
		}
		b.text += line + "\n"
		if m := soakAssetLine.FindStringSubmatch(line); m != nil {
			b.assets[m[1]] = "sha256:" + m[3]
			if m[2] != "uploaded" {
				b.assets[m[1]] = m[2]
			}
		}
	}
	return all
}

// checkHub compares the releases with what they should be.
func (s *soak) checkHub(runs []*soakRun) {
	public := map[string]int{}
	for _, b := range s.blocks() {
		if b.draft {
			continue
		}
		public[b.tag]++
		r := s.byTag(b.tag)
		if r == nil {
			s.breaks(one, "%q is published, and nobody released it", b.tag)
			continue
		}
		if !r.published() {
			s.counts.releases++
			r.block, r.spec.Existing = b.text, github.ExistingStrict
		}
		if r.block != b.text {
			s.breaks(unchanged, "%s was\n%s\nand is\n%s", r.tag, r.block, b.text)
		}
		s.checkAssets(r, b.assets, "now")
		if public[b.tag] > 1 {
			s.breaks(one, "%s has %d", b.tag, public[b.tag])
		}
	}
	for _, r := range s.releases {
		if r.published() && public[r.tag] == 0 {
			s.breaks(unchanged, "%s is gone", r.tag)
		}
	}
	s.spoiled(runs)
	for _, run := range runs {
		if run.of == nil || run.image || run.refused || run.partial {
			continue
		}
		if run.err != nil {
			run.of.disturbed = true
			continue
		}
		run.of.done = true
		if public[run.of.tag] != 1 {
			s.breaks(whole, "%s succeeded, and %s is not published", run.what, run.of.tag)
		}
	}
}

// spoiled finds the releases about which GitHub told a run something else than what
// it did. It may have stored other bytes than a run sent that did not get to send them
// again: they look like those of a person, who has to ask for replacing them. Or it made
// a draft and did not say so, and lists did not show it yet: an empty draft may stay.
func (s *soak) spoiled(runs []*soakRun) {
	for _, c := range s.hub.Calls() {
		for _, r := range runs {
			switch {
			case r.of == nil || r.image:
			case c.Op == "create release" && c.Fault != "":
				r.of.disturbed = true
			case (c.Fault == fakehub.Corrupt || c.Fault == fakehub.StoredWrong) && r.err != nil && !r.of.published():
				r.of.spec.Existing = github.ExistingReplace
			}
		}
	}
}

// top returns the highest published stable version of the component that owns Latest.
func (s *soak) top() (best *soakRelease) {
	for _, r := range s.releases {
		if r.component.owner && r.published() && r.version.Prerelease() == "" && (best == nil || r.version.GreaterThan(best.version)) {
			best = r
		}
	}
	return best
}

// looksAtLatest is called after each call of a run.
func (s *soak) looksAtLatest() {
	now := s.repo.Latest()
	s.mu.Lock()
	was := s.latest
	s.latest = now
	s.mu.Unlock()
	from, to := s.byTag(was), s.byTag(now)
	// Of runs at the same time, one may take it from the other for a moment.
	if was == now || !s.alone || from == nil || !from.component.owner {
		return
	}
	if to == nil || !to.component.owner || to.version.LessThan(from.version) || to.version.Prerelease() != "" {
		s.breaks(latestUp, "from %s to %q", was, now)
	}
}

// checkLatest: a run alone leaves Latest where it should be, whether it succeeds or
// not. Of several, one that fails may have taken it.
func (s *soak) checkLatest(runs []*soakRun) {
	for _, r := range runs {
		if r.image || r.of == nil || !r.of.component.owner || r.partial || r.refused {
			continue
		}
		if r.err == nil {
			s.loose = false
		}
	}
	for _, r := range runs {
		if len(runs) > 1 && !r.image && r.err != nil {
			s.loose = true
		}
	}
	if best := s.top(); best != nil && !s.loose && s.repo.Latest() != best.tag {
		s.breaks(latestTop, "it is %q, not %s", s.repo.Latest(), best.tag)
	}
}

// classes are the floating tags of a version.
func classes(v *semver.Version) []string {
	if pre := v.Prerelease(); pre != "" {
		name, _, _ := strings.Cut(pre, ".")
		return []string{name}
	}
	all := []string{fmt.Sprintf("%d.%d", v.Major(), v.Minor()), "latest"}
	if v.Major() > 0 {
		all = append(all, fmt.Sprint(v.Major()))
	}
	return all
}

// highestOf returns the highest published release of a component in a class.
func (s *soak) highestOf(c *soakComponent, class string) (best *soakRelease) {
	for _, r := range s.releases {
		if r.component == c && r.published() && slices.Contains(classes(r.version), class) && (best == nil || r.version.GreaterThan(best.version)) {
			best = r
		}
	}
	return best
}

// checkImages compares the tags of the registry with what they should be.
func (s *soak) checkImages(runs []*soakRun) {
	failed := slices.ContainsFunc(runs, func(r *soakRun) bool { return r.image && r.err != nil })
	if len(runs) > 1 && failed { // one may have moved a tag, and not have got to give it back
		for _, c := range s.components {
			clear(c.settled)
		}
	}
	for _, run := range runs {
		switch {
		case !run.image:
		case run.err != nil:
			for _, r := range s.releases {
				r.lacking = r.lacking || run.of == nil || run.of == r
			}
		case run.of != nil:
			run.of.lacking = false
			s.settle(run.of, run.what)
		case len(runs) == 1:
			for _, l := range run.reconciled.Lines {
				if r := s.byTag(l.Tag); r != nil && l.Outcome != reconcileSkipped {
					s.settle(r, run.what)
				}
			}
		}
	}
	for _, r := range s.releases {
		have := s.registry.has(r.component.repository(), r.version.String())
		if r.digest == "" && have != "" {
			r.digest = have
			s.counts.images++
		}
		if r.digest != have {
			s.breaks(exactOnce, "%s:%s was %s, and is %q", r.component.address(), r.version, r.digest, have)
		}
	}
	for _, c := range s.components {
		for class, v := range c.settled {
			best := s.highestOf(c, class)
			if have := s.registry.has(c.repository(), class); best != nil && best.version.Equal(v) && have != best.digest {
				s.breaks(floatsTop, "%s:%s names %s, not %s of %s", c.address(), class, have, best.digest, v)
			}
		}
	}
}

const reconcileSkipped = "skipped"

// settle remembers that the image of a release was published.
func (s *soak) settle(r *soakRelease, what string) {
	if s.registry.has(r.component.repository(), r.version.String()) == "" {
		s.breaks(complete, "%s: there is no tag %s", what, r.version)
	}
	for _, class := range classes(r.version) {
		if s.highestOf(r.component, class) == r {
			r.component.settled[class] = r.version
		}
	}
}

// final compares what all ends in with what the releases alone say.
func (s *soak) final(ctx context.Context) error {
	for _, r := range s.releases {
		if !r.done || !r.published() {
			s.breaks(ends, "%s was never released", r.tag)
		}
		if !slices.ContainsFunc(s.repo.Dispatches(), func(d fakehub.Dispatch) bool { return strings.Contains(string(d.Payload), `"`+r.tag+`"`) }) {
			s.breaks(ends, "no event was sent for %s", r.tag)
		}
	}
	for _, b := range s.blocks() {
		// See [github.Client.Release].
		if r := s.byTag(b.tag); b.draft && r != nil && !r.disturbed {
			s.breaks(one, "a draft is left of %s, all runs of which succeeded\n%s", b.tag, b.text)
		}
	}
	for _, c := range s.components {
		want := map[string]string{}
		for _, r := range s.releases {
			if r.component != c {
				continue
			}
			want[r.version.String()] = r.digest
			for _, class := range classes(r.version) {
				want[class] = s.highestOf(c, class).digest
			}
			if err := s.verify(ctx, r); err != nil {
				return err
			}
		}
		have := s.registry.tags[c.repository()]
		for tag, digest := range want {
			if have[tag] != digest {
				s.breaks(ends, "%s:%s is %q, not %s", c.address(), tag, have[tag], digest)
			}
		}
		if len(have) != len(want) {
			s.breaks(ends, "%s has the tags %v, not %v", c.address(), have, want)
		}
	}
	return nil
}

// verify compares an image with its release.
func (s *soak) verify(ctx context.Context, r *soakRelease) error {
	found, err := published.Load(ctx, soakFiles(r.files))
	if err != nil {
		return err
	}
	repository, err := s.registry.inside(r.component)
	if err != nil {
		return err
	}
	o := oci.VerifyOptions{SBOMs: true, ManifestSHA256: found.ManifestSHA256}
	if s.signer.Author != nil {
		o.By = s.signer.Author.Verifier()
	}
	verified, err := oci.VerifyImage(ctx, found.Manifest, repository, o)
	if err != nil {
		s.breaks(sameInside, "%s: %v", r.tag, err)
		return nil
	}
	for _, f := range verified.Findings {
		s.breaks(sameInside, "%s: %s", r.tag, f)
	}
	return nil
}

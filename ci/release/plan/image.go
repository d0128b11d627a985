package plan

import (
	"errors"
	"slices"
	"strings"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/target"
)

// ImagePlan is the container image that phase 2 makes of a release.
type ImagePlan struct {
	// Repositories that it is published to, unless the caller names others.
	Repositories []string        `json:"repositories"`
	Platforms    []ImagePlatform `json:"platforms"`
	// Entrypoint, and why it is this one. It is empty where none can be told.
	Entrypoint []string `json:"entrypoint"`
	Why        string   `json:"why"`
	Cmd        []string `json:"cmd,omitempty"`
	User       string   `json:"user"`
	Workdir    string   `json:"workdir"`
	Expose     []string `json:"expose,omitempty"`
	// Smoke says how it is tested before it is tagged.
	Smoke string `json:"smoke"`
}

// ImagePlatform is one platform of an image.
type ImagePlatform struct {
	Platform string `json:"platform"`
	// Targets whose archives may be used, the preferred one first.
	Targets []string `json:"targets"`
	// Base image, or how it is chosen.
	Base string `json:"base"`
}

// checkImage plans the image and finds what phase 2 would refuse. Of a project
// that configures no image, that is a warning: it may want none.
func (p *Plan) checkImage(m *manifest.Manifest, targets []TargetPlan) {
	hasLinux := slices.ContainsFunc(targets, func(t TargetPlan) bool { return t.Platform != "" })
	if m.Image == nil && !hasLinux {
		return
	}
	p.planImage(m, targets)
	report := func(err error) {
		for _, e := range leaves(err) {
			text := "image: " + withoutArchives(plainSpec(e), m)
			if m.Image == nil {
				p.once(SeverityWarning, text+" (only images need this)")
			} else {
				p.once(SeverityError, text)
			}
		}
	}
	report(imagespec.Check(m))
	local := func(what, address, host string) {
		if host != "" && notation.IsLocalHost(host) {
			p.warn("image: %s %q is on the machine that publishes or next to it, and is used only where --addresses or --plain-http names its host", what, address)
		}
	}
	for _, address := range p.ContainerImage.Repositories {
		host, _, _ := strings.Cut(address, "/")
		local("repository", address, host)
	}
	if m.Image != nil {
		local("base", m.Image.Base, imagespec.RegistryOf(m.Image.Base))
	}
	// Which of a platform's archives is used depends on how they turn out to be
	// linked, so that all of them have to do.
	for _, a := range m.Archives() {
		if p.inImage(m, a.Target) {
			report(imagespec.CheckArchive(m, a))
		}
	}
	// What a gnu target links to is known after the build; packing checks it.
	if _, err := imagespec.Choose(asDynamic(m)); err != nil {
		for _, e := range leaves(err) {
			if errors.Is(e, imagespec.ErrBase) {
				p.once(SeverityWarning, "image: "+withoutArchives(plainSpec(e), m)+"; binaries that are linked statically don't need it")
			}
		}
	}
}

// inImage reports whether the archive of a target may be used for the image.
func (p *Plan) inImage(m *manifest.Manifest, triple string) bool {
	t, err := target.Lookup(triple)
	if err != nil || t.Platform == "" {
		return false
	}
	return m.Image == nil || len(m.Image.Platforms) == 0 || slices.Contains(m.Image.Platforms, t.Platform)
}

// withoutArchives makes one message of those that differ in the archive only.
func withoutArchives(text string, m *manifest.Manifest) string {
	for _, a := range m.Archives() {
		for _, ext := range []string{".tar.gz", ".zip"} {
			if root, found := strings.CutSuffix(a.Name, ext); found {
				text = strings.ReplaceAll(text, ` of archive "`+a.Name+`"`, "")
				text = strings.ReplaceAll(text, `in archive "`+a.Name+`"`, "in the archives")
				text = strings.ReplaceAll(text, `"`+root+"/", `"`)
			}
		}
	}
	return text
}

// asDynamic returns the manifest as if every gnu binary were dynamic, which most
// are.
func asDynamic(m *manifest.Manifest) *manifest.Manifest {
	out := *m
	out.Assets = slices.Clone(m.Assets)
	for i, a := range out.Assets {
		if t, err := target.Lookup(a.Target); err != nil || t.Libc != "gnu" {
			continue
		}
		out.Assets[i].Binaries = slices.Clone(a.Binaries)
		for j := range out.Assets[i].Binaries {
			out.Assets[i].Binaries[j].Linkage = "dynamic"
		}
	}
	return &out
}

func (p *Plan) planImage(m *manifest.Manifest, targets []TargetPlan) {
	spec := manifest.Image{}
	if m.Image != nil {
		spec = *m.Image
	}
	plan := &ImagePlan{
		Repositories: append([]string{}, spec.Repositories...), Platforms: []ImagePlatform{}, Entrypoint: []string{},
		Cmd: spec.Cmd, User: spec.User, Workdir: spec.Workdir, Expose: spec.Expose, Smoke: smokeText(spec.Smoke, p.Version),
	}
	if plan.User == "" {
		plan.User = imagespec.DefaultUser
	}
	if plan.Workdir == "" {
		plan.Workdir = "/"
	}
	p.ContainerImage = plan
	byPlatform := map[string][]TargetPlan{}
	var platforms []string
	for _, t := range targets {
		if t.Platform != "" && p.inImage(m, t.Target) {
			if byPlatform[t.Platform] == nil {
				platforms = append(platforms, t.Platform)
			}
			byPlatform[t.Platform] = append(byPlatform[t.Platform], t)
		}
	}
	slices.Sort(platforms)
	for _, platform := range platforms {
		// A static archive is preferred, and those for musl are static.
		slices.SortStableFunc(byPlatform[platform], func(a, b TargetPlan) int { return strings.Compare(b.Libc, a.Libc) })
		line := ImagePlatform{Platform: platform, Base: spec.Base}
		for _, t := range byPlatform[platform] {
			line.Targets = append(line.Targets, t.Target)
		}
		switch first := byPlatform[platform][0]; {
		case spec.Base != "":
		case first.Libc == "musl":
			line.Base = imagespec.StaticBase
		default:
			line.Base = imagespec.GlibcBase + ", or " + imagespec.StaticBase + " for static binaries"
		}
		plan.Platforms = append(plan.Platforms, line)
	}
	for _, a := range m.Archives() {
		if !p.inImage(m, a.Target) {
			continue
		}
		entrypoint, err := imagespec.Entrypoint(m, spec, a)
		if err != nil {
			continue // which is reported
		}
		plan.Entrypoint = entrypoint
		switch {
		case len(spec.Entrypoint) > 0:
			plan.Why = "configured"
		case len(a.Binaries) == 1:
			plan.Why = "the only binary"
		default:
			plan.Why = "the binary with the component's name; set entrypoint to choose another"
		}
		break
	}
}

func smokeText(s *manifest.Smoke, version string) string {
	args, expect := "--version", version
	if s != nil {
		if s.Skip {
			return "none"
		}
		if len(s.Args) > 0 {
			args = strings.Join(s.Args, " ")
		}
		if s.Expect != "" {
			expect = s.Expect
		}
	}
	return args + ", which must print " + expect
}

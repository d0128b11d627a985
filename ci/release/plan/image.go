package plan

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dagger/gantry/ci/imagespec"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
)

// ImagePlan is the container image that phase 2 makes of a release.
type ImagePlan struct {
	// Repositories to publish to, unless the caller names others.
	Repositories []string        `json:"repositories"`
	Platforms    []ImagePlatform `json:"platforms"`
	// Entrypoint, and why it was chosen. It is empty if there is no clear choice.
	Entrypoint []string `json:"entrypoint"`
	Why        string   `json:"why"`
	Cmd        []string `json:"cmd,omitempty"`
	User       string   `json:"user"`
	Workdir    string   `json:"workdir"`
	Expose     []string `json:"expose,omitempty"`
	// Smoke describes the test before it is tagged.
	Smoke string `json:"smoke"`
}

// ImagePlatform is one platform of an image.
type ImagePlatform struct {
	Platform string `json:"platform"`
	// Targets whose archives may be used, the preferred one first.
	Targets []string `json:"targets"`
	// Base image, or the candidates.
	Base string `json:"base"`
}

// checkImage plans the image and reports what phase 2 would refuse. Without an image
// configuration these are warnings: the project may want no image.
func (p *Plan) checkImage(all []TargetPlan) {
	m := p.skeleton(all, "static")
	hasLinux := slices.ContainsFunc(all, func(t TargetPlan) bool { return t.Platform != "" })
	if m.Image == nil && !hasLinux {
		return
	}
	targets := slices.DeleteFunc(slices.Clone(all), func(t TargetPlan) bool {
		return t.Platform == "" || m.Image != nil && len(m.Image.Platforms) > 0 && !slices.Contains(m.Image.Platforms, t.Platform)
	})
	p.planImage(m, targets)
	report := func(err error) {
		for _, e := range leaves(err) {
			text := "image: " + withoutArchives(plainSpec(e), all)
			if m.Image == nil {
				p.warn("%s (only images need this)", text)
			} else {
				p.fail("%s", text)
			}
		}
	}
	report(imagespec.Check(m))
	p.warnOfLocalHosts(m)
	// The archive to use for a platform depends on its linkage, so all must do.
	for _, t := range targets {
		a, _ := m.ArchiveFor(t.Target)
		report(imagespec.CheckArchive(m, a))
	}
	// The linkage of a gnu target is known after the build; packing checks it.
	_, err := imagespec.Choose(p.skeleton(all, "dynamic"))
	for _, e := range leaves(err) {
		if errors.Is(e, imagespec.ErrBase) {
			p.warn("image: %s; statically linked binaries don't need it", withoutArchives(plainSpec(e), all))
		}
	}
}

// warnOfLocalHosts reports addresses that only some machines can reach.
func (p *Plan) warnOfLocalHosts(m *manifest.Manifest) {
	check := func(name, address, host string) {
		if host != "" && notation.IsLocalHost(host) {
			p.warn("image: %s %q is on a local host: it is only used if --addresses or with-plain-http names that host", name, address)
		}
	}
	for _, address := range p.ContainerImage.Repositories {
		host, _, _ := strings.Cut(address, "/")
		check("repository", address, host)
	}
	if m.Image != nil {
		check("base", m.Image.Base, imagespec.RegistryOf(m.Image.Base))
	}
}

// withoutArchives removes the names of archives from a message, so that messages
// which differ only in them are the same.
func withoutArchives(text string, targets []TargetPlan) string {
	for _, t := range targets {
		text = strings.ReplaceAll(text, fmt.Sprintf(" of archive %q", t.Archive), "")
		text = strings.ReplaceAll(text, fmt.Sprintf("in archive %q", t.Archive), "in the archives")
		text = strings.ReplaceAll(text, `"`+t.root()+"/", `"`)
	}
	return text
}

// planImage describes the image of targets.
func (p *Plan) planImage(m *manifest.Manifest, targets []TargetPlan) {
	spec := m.ImageSpec()
	p.ContainerImage = &ImagePlan{
		Repositories: append([]string{}, spec.Repositories...), Platforms: imagePlatforms(spec.Base, targets), Entrypoint: []string{},
		Cmd: spec.Cmd, User: cmp.Or(spec.User, imagespec.DefaultUser), Workdir: cmp.Or(spec.Workdir, "/"), Expose: spec.Expose, Smoke: smokeText(spec.Smoke, p.Version),
	}
	for _, t := range targets {
		a, _ := m.ArchiveFor(t.Target)
		entrypoint, err := imagespec.Entrypoint(m, spec, a)
		if err != nil {
			continue // imagespec.CheckArchive reports it
		}
		p.ContainerImage.Entrypoint = entrypoint
		switch {
		case len(spec.Entrypoint) > 0:
			p.ContainerImage.Why = "configured"
		case len(a.Binaries) == 1:
			p.ContainerImage.Why = "the only binary"
		default:
			p.ContainerImage.Why = "the binary with the component's name; set entrypoint to choose another"
		}
		return
	}
}

// imagePlatforms returns the platforms of the image, sorted, and the base of each.
func imagePlatforms(base string, targets []TargetPlan) []ImagePlatform {
	byPlatform := map[string][]TargetPlan{}
	for _, t := range targets {
		byPlatform[t.Platform] = append(byPlatform[t.Platform], t)
	}
	platforms := []ImagePlatform{}
	for _, platform := range slices.Sorted(maps.Keys(byPlatform)) {
		candidates := byPlatform[platform]
		// A static archive is preferred, and those for musl are static.
		slices.SortStableFunc(candidates, func(a, b TargetPlan) int { return strings.Compare(b.Libc, a.Libc) })
		described := ImagePlatform{Platform: platform, Base: base}
		for _, t := range candidates {
			described.Targets = append(described.Targets, t.Target)
		}
		if base == "" && candidates[0].Libc == "musl" {
			described.Base = imagespec.StaticBase
		} else if base == "" {
			described.Base = imagespec.GlibcBase + ", or " + imagespec.StaticBase + " for static binaries"
		}
		platforms = append(platforms, described)
	}
	return platforms
}

func smokeText(s *manifest.Smoke, version string) string {
	s = cmp.Or(s, &manifest.Smoke{})
	if s.Skip {
		return "none"
	}
	return cmp.Or(strings.Join(s.Args, " "), "--version") + " must print " + cmp.Or(s.Expect, version)
}

package imagespec

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"dagger/gantry/ci/binary"
	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/target"
)

// Scratch is the reference of the empty base image.
const Scratch = "scratch"

// The default base images. Both have TLS roots and time zones, an unprivileged user
// and no shell.
const (
	StaticBase = "gcr.io/distroless/static-debian12:nonroot"
	GlibcBase  = "gcr.io/distroless/cc-debian12:nonroot" // glibc 2.36
)

// baseFor returns the default base image of a program by its linkage, "static" or
// "dynamic", and its target's C library, "gnu" or "musl".
func baseFor(linkage, libc string) (string, error) {
	switch {
	case linkage == string(binary.Static):
		return StaticBase, nil
	case linkage == string(binary.Dynamic) && libc == "gnu":
		return GlibcBase, nil
	}
	return "", fmt.Errorf("%w: there is no default for a %s program with the C library %q: set base in the image configuration to one that has that library", ErrBase, linkage, libc)
}

// Choice has the archive and the base image of a platform.
type Choice struct {
	// Platform of OCI, "linux/arm64".
	Platform string `json:"platform"`
	// Archive has the binaries; Target is its Rust target.
	Archive string `json:"archive"`
	Target  string `json:"target"`
	// Linkage is "static" if all binaries are.
	Linkage string `json:"linkage"`
	// Base image reference.
	Base string `json:"base"`
	// Why explains the choice.
	Why string `json:"why"`

	// Asset is the archive in the manifest.
	Asset manifest.Asset `json:"-"`
}

// Choose returns the archive and the base image of every platform, sorted by
// platform.
//
// It prefers static archives, then the first by triple. It refuses a base image that
// is known to lack what a program needs: a loader, a new enough glibc, a library.
func Choose(m *manifest.Manifest) ([]Choice, error) {
	spec := m.ImageSpec()
	byPlatform := map[string][]candidate{}
	var all []string
	for _, a := range m.Archives() {
		t, err := target.Lookup(a.Target)
		if err != nil || t.Platform == "" {
			continue // not for Linux, or from a newer Gantry
		}
		if byPlatform[t.Platform] == nil {
			all = append(all, t.Platform)
		}
		byPlatform[t.Platform] = append(byPlatform[t.Platform], candidate{a, t, linkage(a)})
	}
	slices.Sort(all)
	platforms := all
	if len(spec.Platforms) > 0 {
		platforms = slices.Sorted(slices.Values(spec.Platforms))
	}
	if len(platforms) == 0 {
		return nil, fmt.Errorf("%w: release %q has no archive for Linux: release a Linux target", ErrSpec, m.Tag)
	}
	var choices []Choice
	var errs []error
	for _, p := range slices.Compact(platforms) {
		found := byPlatform[p]
		if len(found) == 0 {
			errs = append(errs, fmt.Errorf("%w: release %q has no archive for platform %q, only for %s: release a target for it, or remove it from the image's platforms", ErrSpec, m.Tag, p, strings.Join(all, ", ")))
			continue
		}
		c, err := choose(p, found, spec.Base)
		if err != nil {
			errs = append(errs, fmt.Errorf("platform %q: %w", p, err))
			continue
		}
		choices = append(choices, c)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return choices, nil
}

type candidate struct {
	asset   manifest.Asset
	target  target.Target
	linkage string
}

// linkage returns the linkage of an archive's most demanding binary.
func linkage(a manifest.Asset) string {
	for _, b := range a.Binaries {
		if b.Linkage != string(binary.Static) {
			return string(binary.Dynamic)
		}
	}
	return string(binary.Static)
}

func choose(platform string, found []candidate, base string) (Choice, error) {
	slices.SortStableFunc(found, func(a, b candidate) int {
		// In the alphabet, "static" comes after "dynamic".
		return cmp.Or(strings.Compare(b.linkage, a.linkage), strings.Compare(a.target.Triple, b.target.Triple))
	})
	best := found[0]
	c := Choice{
		Platform: platform, Archive: best.asset.Name, Target: best.target.Triple, Linkage: best.linkage, Base: base, Asset: best.asset,
		Why: best.linkage + " binaries",
	}
	switch {
	case len(found) == 1:
		c.Why += ", the platform's only archive"
	case best.linkage == string(binary.Static):
		c.Why += ", before those that need a loader"
	}
	if c.Base == "" {
		base, err := baseFor(best.linkage, best.target.Libc)
		if err != nil {
			return Choice{}, err
		}
		c.Base = base
		c.Why += "; the default base for them"
	} else {
		c.Why += "; the configured base"
	}
	var errs []error
	for _, b := range best.asset.Binaries {
		errs = append(errs, checkBase(c.Base, best.target, b))
	}
	return c, errors.Join(errs...)
}

// runtime describes a well-known base image.
type runtime struct {
	libc  string // "" for none
	glibc string // version
	// libs lists all libraries; nil if unknown.
	libs []string
}

// runtimeOf returns the runtime of a well-known base image. The smoke test checks all
// others.
func runtimeOf(ref string) (runtime, bool) {
	if ref == Scratch {
		return runtime{}, true
	}
	unpinned, _, _ := strings.Cut(ref, "@")
	repository, tag := notation.SplitReference(unpinned)
	if name, ok := strings.CutPrefix(repository, "gcr.io/distroless/"); ok {
		kind, release, _ := strings.Cut(name, "-debian")
		glibc := map[string]string{"11": "2.31", "12": "2.36", "13": "2.41"}[release]
		if kind == "static" {
			return runtime{}, true
		}
		if glibc == "" {
			return runtime{}, false
		}
		r := runtime{libc: "gnu", glibc: glibc}
		if release == "12" { // the others' libraries are unknown
			switch kind {
			case "base-nossl":
				r.libs = binary.GlibcLibraries
			case "base":
				r.libs = append(slices.Clone(binary.GlibcLibraries), "libssl.so.3", "libcrypto.so.3")
			case "cc":
				r.libs = append(slices.Clone(binary.GlibcLibraries), "libssl.so.3", "libcrypto.so.3", "libgcc_s.so.1", "libstdc++.so.6", "libgomp.so.1")
			}
		}
		return r, true
	}
	repository = strings.TrimPrefix(strings.TrimPrefix(repository, "docker.io/"), "library/")
	if repository == "alpine" {
		return runtime{libc: "musl"}, true
	}
	release, _, _ := strings.Cut(tag, "-")
	if glibc := glibcOf[repository][release]; glibc != "" {
		return runtime{libc: "gnu", glibc: glibc}, true
	}
	return runtime{}, false
}

// glibcOf has the versions of glibc, by the distribution and its release.
var glibcOf = map[string]map[string]string{
	"debian": {"bullseye": "2.31", "bookworm": "2.36", "trixie": "2.41"},
	"ubuntu": {"20.04": "2.31", "focal": "2.31", "22.04": "2.35", "jammy": "2.35", "24.04": "2.39", "noble": "2.39"},
}

// checkBase refuses a base image that is known to lack what a binary needs.
func checkBase(ref string, t target.Target, b manifest.Binary) error {
	if b.Linkage == string(binary.Static) {
		return nil
	}
	have, known := runtimeOf(ref)
	if !known {
		return nil
	}
	refuse := func(needs, has string) error {
		return fmt.Errorf("%w: binary %q of %q %s, and %q %s", ErrBase, b.Name, t.Triple, needs, ref, has)
	}
	switch {
	case have.libc == "":
		return refuse("is dynamic", "has no loader: release a static target (musl), or set base to an image with the C library")
	case have.libc != t.Libc:
		return refuse("needs the C library "+t.Libc, "has "+have.libc+": set base to an image with "+t.Libc)
	case b.GlibcFloor != "" && have.glibc != "" && binary.CompareVersions(b.GlibcFloor, have.glibc) > 0:
		return refuse("needs glibc "+b.GlibcFloor, "has "+have.glibc+": build against an older glibc, or set base to a newer image")
	}
	for _, lib := range b.Needed {
		if have.libs != nil && !slices.Contains(have.libs, lib) && !strings.HasPrefix(lib, "ld") {
			return refuse("needs the library "+strconv.Quote(lib), "does not have it: link it statically, or set base to an image that has it")
		}
	}
	return nil
}

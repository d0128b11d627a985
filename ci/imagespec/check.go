package imagespec

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"dagger/gantry/ci/manifest"
	"dagger/gantry/ci/nearest"
	"dagger/gantry/ci/notation"
)

// Check returns every reason, joined, in a manifest why the image of a release can't
// be made, published or started. Other reasons depend on base images and registries.
func Check(m *manifest.Manifest) error {
	spec := m.ImageSpec()
	var errs []error
	for _, r := range spec.Repositories {
		if notation.ImageRepository.Matches(r) { // or the manifest is invalid
			errs = append(errs, checkRepository(r))
		}
	}
	if notation.ImageReference.Matches(spec.Base) {
		errs = append(errs, checkReference(spec.Base))
	}
	_, err := Annotations(m)
	errs = append(errs, err)
	choices, err := Choose(m)
	errs = append(errs, err)
	for _, c := range choices {
		errs = append(errs, checkPlatform(spec, c.Platform), CheckArchive(m, c.Asset))
	}
	return errors.Join(errs...)
}

// defaultPlatforms lists the platforms of the default base images ("What images are
// available?", README of GoogleContainerTools/distroless).
var defaultPlatforms = []string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le", "linux/s390x"}

func checkPlatform(spec manifest.Image, platform string) error {
	if spec.Base != "" || slices.Contains(defaultPlatforms, platform) {
		return nil
	}
	return fmt.Errorf("%w: the default base images have no platform %q, only %s: set base to an image that has it, or remove it from the image's platforms", ErrBase, platform, strings.Join(defaultPlatforms, ", "))
}

// CheckArchive returns every reason, joined, why the files of an archive can't be in
// the image, or the image can't start.
func CheckArchive(m *manifest.Manifest, a manifest.Asset) error {
	spec := m.ImageSpec()
	items, err := Items(a, spec.Include)
	errs := []error{err}
	places := map[string]bool{}
	for _, files := range items {
		for _, i := range files {
			places[i.Dest] = true
		}
	}
	entrypoint, err := Entrypoint(m, spec, a)
	if err == nil {
		err = checkProgram(spec, entrypoint[0], places)
	}
	return errors.Join(append(errs, err, checkUser(spec, places))...)
}

// checkRepository returns an error unless an image can be pushed to the address. It
// must have a host, since tools disagree about the default one.
func checkRepository(address string) error {
	_, err := name.NewRepository(address, name.StrictValidation)
	if err == nil && !strings.Contains(address, "://") {
		return nil
	}
	if first, _, _ := strings.Cut(address, "/"); !strings.ContainsAny(first, ".:") && first != "localhost" {
		return fmt.Errorf("%w: repository %q names no registry: write it like %q", ErrSpec, address, "ghcr.io/"+strings.TrimPrefix(address, "/"))
	}
	return fmt.Errorf("%w: repository %q is not one to push to: write it like ghcr.io/owner/name, without a tag", ErrSpec, address)
}

// checkReference returns an error unless the reference is one of a base image.
func checkReference(ref string) error {
	if ref == Scratch {
		return nil
	}
	if _, err := name.ParseReference(ref); err != nil || strings.Contains(ref, "://") {
		return fmt.Errorf("%w: base %q is not an image reference: write it like debian:bookworm-slim or ghcr.io/owner/name@sha256:…", ErrSpec, ref)
	}
	return nil
}

// RegistryOf returns the registry of a base image, or "".
func RegistryOf(ref string) string {
	parsed, err := name.ParseReference(ref)
	if ref == Scratch || err != nil {
		return ""
	}
	return parsed.Context().RegistryStr()
}

// isBare reports whether a base image has no programs and only well-known users: the
// empty image, and the static and C images of distroless.
func isBare(base string) bool {
	if base == "" || base == Scratch {
		return true
	}
	base, _, _ = strings.Cut(base, "@")
	repository, found := strings.CutPrefix(base, "gcr.io/distroless/")
	kind, tag, _ := strings.Cut(repository, ":")
	kind, _, _ = strings.Cut(kind, "-debian")
	return found && !strings.Contains(tag, "debug") && slices.Contains([]string{"static", "base-nossl", "cc"}, kind)
}

// checkProgram reports an entrypoint whose program is known to be absent.
func checkProgram(spec manifest.Image, program string, places map[string]bool) error {
	place := program
	switch {
	case !isBare(spec.Base):
		return nil
	case path.IsAbs(program):
	case strings.Contains(program, "/"):
		place = path.Join("/", spec.Workdir, program)
	case spec.Env["PATH"] != "":
		return nil
	default:
		place = BinDir + "/" + program
	}
	if places[path.Clean(place)] {
		return nil
	}
	// Paths are similar by their directories, so their names are compared.
	byName := map[string]string{}
	for _, p := range sortedKeys(places) {
		byName[path.Base(p)] = p
	}
	hint := fmt.Sprintf("; binaries are in %s", BinDir)
	if name := nearest.Of(path.Base(place), sortedKeys(byName)); name != "" {
		hint = fmt.Sprintf("; did you mean %q?", byName[name])
	}
	return fmt.Errorf("%w: entrypoint %q is not in the image%s: name a file of the archives, or set base to an image that has it", ErrSpec, program, hint)
}

var number = regexp.MustCompile(`^[0-9]+$`)

// checkUser reports a user or a group that is known to be absent. Numbers always
// work.
func checkUser(spec manifest.Image, places map[string]bool) error {
	if spec.User == "" || !isBare(spec.Base) {
		return nil
	}
	users, groups := []string{"root", "nobody", "nonroot"}, []string{"root", "nobody", "nonroot", "tty", "staff"}
	if spec.Base == Scratch {
		users, groups = nil, nil
	}
	user, group, _ := strings.Cut(spec.User, ":")
	unknown := func(name, file string, known []string) bool {
		return name != "" && !number.MatchString(name) && !slices.Contains(known, name) && !places[file]
	}
	if unknown(user, "/etc/passwd", users) || unknown(group, "/etc/group", groups) {
		return fmt.Errorf("%w: the base image has no user %q: write numbers, such as %s, or set base to an image that has the user", ErrSpec, spec.User, "65532:65532")
	}
	return nil
}

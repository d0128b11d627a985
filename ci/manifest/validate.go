package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/notation"
	"dagger/gantry/ci/version"
)

// FieldError reports an invalid field of a manifest.
type FieldError struct {
	// Field is its path in the document, "assets[2].binaries[0].path".
	Field string
	// Problem is for people.
	Problem string
}

// Error names the field and the problem.
func (e *FieldError) Error() string { return fmt.Sprintf("field %q: %s", e.Field, e.Problem) }

// Validate checks that the manifest is complete and consistent. It returns every
// problem, joined, each a [*FieldError], or only a [*VersionError] for another major
// version of the schema.
func (m *Manifest) Validate() error {
	if _, err := compareSchema(m.SchemaVersion); err != nil {
		return err
	}
	v := &validator{}
	if least := m.leastSchema(); m.SchemaVersion == firstSchema && least != firstSchema {
		v.fail("schemaVersion", "image.tags and image.smoke are fields of version %s, not of %s", least, m.SchemaVersion)
	}
	v.release(m)
	v.toolchain(m.Toolchain)
	v.assets(m.Assets)
	if m.Image != nil {
		v.image("image", *m.Image)
	}
	return errors.Join(v.errs...)
}

type validator struct{ errs []error }

func (v *validator) fail(field, format string, args ...any) {
	v.errs = append(v.errs, &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

// check adds the error of a field, if any, and reports whether there is none.
func (v *validator) check(field string, err error) bool {
	if err != nil {
		v.fail(field, "%v", err)
	}
	return err == nil
}

// match checks the notation of a value. The JSON Schema has the same notations; a test
// compares them.
func (v *validator) match(field, value string, n notation.Notation) bool {
	return v.check(field, n.Check(value))
}

// matchOptional is match for optional values.
func (v *validator) matchOptional(field, value string, n notation.Notation) {
	if value != "" {
		v.match(field, value, n)
	}
}

func (v *validator) release(m *Manifest) {
	v.match("component", m.Component, notation.Name)
	v.match("tag", m.Tag, notation.Tag)
	if m.PreviousTag != "" {
		v.match("previousTag", m.PreviousTag, notation.Tag)
		if m.PreviousTag == m.Tag {
			v.fail("previousTag", "it is the release's own tag, %q", m.Tag)
		}
	}
	v.version(m)
	v.match("commit", m.Commit, notation.Commit)
	if date, err := time.Parse(notation.Date, m.CommitDate); err != nil || date.Format(notation.Date) != m.CommitDate {
		v.fail("commitDate", "%q is not a date like %s", m.CommitDate, notation.Date)
	}
	if m.Repository != "" {
		v.check("repository", notation.CheckWebURL(m.Repository))
	}
}

func (v *validator) version(m *Manifest) {
	parsed, err := semver.StrictNewVersion(m.Version)
	if err != nil {
		v.fail("version", "%q is not a SemVer version: %v", m.Version, err)
		return
	}
	if parsed.Metadata() != "" {
		v.fail("version", "%q has build metadata, but asset names and image tags can't have a \"+\"", m.Version)
	}
	prefix, found := strings.CutSuffix(m.Tag, m.Version)
	if !found {
		v.fail("tag", "%q does not end in version %q", m.Tag, m.Version)
	} else if prefix != "" && strings.ContainsRune("0123456789.", rune(prefix[len(prefix)-1])) {
		v.fail("tag", "%q does not have version %q: the number continues to its left", m.Tag, m.Version)
	}
	if channel := version.Channel(parsed); m.Channel != channel {
		v.fail("channel", "%q is not the channel of version %q, %q", m.Channel, m.Version, channel)
	}
}

func (v *validator) toolchain(t Toolchain) {
	v.matchOptional("toolchain.image", t.Image, notation.ImageReference)
	v.match("toolchain.rustc", t.Rustc, notation.Line)
	v.match("toolchain.cargo", t.Cargo, notation.Line)
}

func (v *validator) assets(assets []Asset) {
	if len(assets) == 0 {
		v.fail("assets", "a release has at least one")
	}
	names := map[string]string{}
	for _, reserved := range []string{FileName, SumsName} {
		names[strings.ToLower(reserved)] = reserved
	}
	targets := map[string]string{}
	for i, a := range assets {
		at := fmt.Sprintf("assets[%d]", i)
		if v.match(at+".name", a.Name, notation.Asset) {
			if other, found := names[strings.ToLower(a.Name)]; found {
				v.fail(at+".name", "%q is taken by %q", a.Name, other)
			}
			names[strings.ToLower(a.Name)] = a.Name
		}
		v.content(at, a.SHA256, a.Size)
		v.asset(at, a)
		if a.Kind == KindArchive {
			if other, found := targets[a.Target]; found {
				v.fail(at+".target", "%q already has the archive %q", a.Target, other)
			}
			targets[a.Target] = a.Name
		}
	}
}

func (v *validator) asset(at string, a Asset) {
	switch a.Kind {
	case KindArchive:
		if len(a.Binaries) == 0 {
			v.fail(at+".binaries", "an archive has at least one binary")
		}
		if a.Target == "" {
			v.fail(at+".target", "an archive has a target")
		}
	case KindSBOM, KindChangelog, KindFile:
		if len(a.Binaries) > 0 || len(a.Files) > 0 {
			v.fail(at+".kind", "only an archive has binaries and files, but this is a %q", a.Kind)
		}
		if a.Target != "" && a.Kind == KindChangelog {
			v.fail(at+".target", "a changelog has no target")
		}
	default:
		v.fail(at+".kind", "%q is not one of %q, %q, %q and %q", a.Kind, KindArchive, KindSBOM, KindChangelog, KindFile)
	}
	v.matchOptional(at+".target", a.Target, notation.Target)

	paths := map[string]bool{}
	checkPath := func(field, p string) {
		v.check(field, notation.CheckPath(p))
		if paths[p] {
			v.fail(field, "%q is in the archive twice", p)
		}
		paths[p] = true
	}
	names := map[string]bool{}
	for i, b := range a.Binaries {
		at := fmt.Sprintf("%s.binaries[%d]", at, i)
		v.binary(at, b)
		checkPath(at+".path", b.Path)
		if names[b.Name] {
			v.fail(at+".name", "%q is in the archive twice", b.Name)
		}
		names[b.Name] = true
	}
	for i, f := range a.Files {
		at := fmt.Sprintf("%s.files[%d]", at, i)
		v.content(at, f.SHA256, f.Size)
		v.match(at+".mode", f.Mode, notation.Mode)
		checkPath(at+".path", f.Path)
	}
}

func (v *validator) binary(at string, b Binary) {
	v.match(at+".name", b.Name, notation.Name)
	v.match(at+".package", b.Package, notation.Name)
	v.content(at, b.SHA256, b.Size)
	v.oneOf(at+".format", b.Format, "elf", "pe", "macho")
	v.match(at+".arch", b.Arch, notation.Arch)
	v.oneOf(at+".linkage", b.Linkage, "static", "dynamic")
	v.matchOptional(at+".glibcFloor", b.GlibcFloor, notation.Glibc)
	if b.Linkage == "static" && (b.Interpreter != "" || len(b.Needed) > 0) {
		v.fail(at+".linkage", "a static binary has neither an interpreter nor needed libraries")
	}
	if slices.Contains(b.Needed, "") {
		v.fail(at+".needed", "a library has an empty name")
	}
}

func (v *validator) oneOf(field, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.fail(field, "%q is not one of %q", value, known)
	}
}

func (v *validator) content(at, digest string, size int64) {
	v.match(at+".sha256", digest, notation.SHA256)
	if size < 0 {
		v.fail(at+".size", "%d is less than 0", size)
	}
}

func (v *validator) image(at string, i Image) {
	v.list(at+".repositories", i.Repositories, notation.ImageRepository)
	v.matchOptional(at+".base", i.Base, notation.ImageReference)
	v.matchOptional(at+".user", i.User, notation.User)
	if i.Workdir != "" {
		v.check(at+".workdir", notation.CheckAbsolute(i.Workdir))
	}
	if slices.Contains(i.Entrypoint, "") {
		v.fail(at+".entrypoint", "an element is empty")
	}
	v.list(at+".expose", i.Expose, notation.Port)
	v.list(at+".platforms", i.Platforms, notation.Platform)
	v.keys(at+".labels", i.Labels)
	v.keys(at+".env", i.Env)
	if i.Tags != nil {
		v.matchOptional(at+".tags.prefix", i.Tags.Prefix, notation.ImageTagPrefix)
		v.matchOptional(at+".tags.suffix", i.Tags.Suffix, notation.ImageTagSuffix)
	}
	if s := i.Smoke; s != nil && s.Skip && (len(s.Args) > 0 || s.Expect != "") {
		v.fail(at+".smoke", "skip is true, so that args and expect have no effect: remove either")
	}
	for _, from := range sortedKeys(i.Include) {
		v.check(at+".include", notation.CheckPath(from))
		v.check(at+".include."+from, notation.CheckAbsolute(i.Include[from]))
	}
}

func (v *validator) list(at string, values []string, n notation.Notation) {
	for i, value := range values {
		at := fmt.Sprintf("%s[%d]", at, i)
		v.match(at, value, n)
		if slices.Contains(values[:i], value) {
			v.fail(at, "%q appears twice", value)
		}
	}
}

func (v *validator) keys(at string, values map[string]string) {
	for _, key := range sortedKeys(values) {
		v.match(at, key, notation.Key)
		if strings.ContainsRune(values[key], 0) {
			v.fail(at+"."+key, "its value has a NUL character")
		}
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

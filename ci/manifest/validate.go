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
	newer, err := compareSchema(m.SchemaVersion)
	if err != nil {
		return err
	}
	v := &validator{}
	switch least := m.leastSchema(); {
	case least == wasmSchema && m.SchemaVersion != wasmSchema && !newer:
		v.fail("schemaVersion", "binaries of the format %q came with version %s, not %s", wasm, least, m.SchemaVersion)
	case least == imageSchema && m.SchemaVersion == firstSchema:
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
		path := fmt.Sprintf("assets[%d]", i)
		if v.match(path+".name", a.Name, notation.Asset) {
			if other, found := names[strings.ToLower(a.Name)]; found {
				v.fail(path+".name", "%q is taken by %q", a.Name, other)
			}
			names[strings.ToLower(a.Name)] = a.Name
		}
		v.content(path, a.SHA256, a.Size)
		v.asset(path, a)
		if a.Kind == KindArchive {
			if other, found := targets[a.Target]; found {
				v.fail(path+".target", "%q already has the archive %q", a.Target, other)
			}
			targets[a.Target] = a.Name
		}
	}
}

func (v *validator) asset(path string, a Asset) {
	switch a.Kind {
	case KindArchive:
		if len(a.Binaries) == 0 {
			v.fail(path+".binaries", "an archive has at least one binary")
		}
		if a.Target == "" {
			v.fail(path+".target", "an archive has a target")
		}
	case KindSBOM, KindChangelog, KindFile:
		if len(a.Binaries) > 0 || len(a.Files) > 0 {
			v.fail(path+".kind", "only an archive has binaries and files, but this is a %q", a.Kind)
		}
		if a.Target != "" && a.Kind == KindChangelog {
			v.fail(path+".target", "a changelog has no target")
		}
	default:
		v.fail(path+".kind", "%q is not one of %q, %q, %q and %q", a.Kind, KindArchive, KindSBOM, KindChangelog, KindFile)
	}
	v.matchOptional(path+".target", a.Target, notation.Target)

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
		path := fmt.Sprintf("%s.binaries[%d]", path, i)
		v.binary(path, b)
		checkPath(path+".path", b.Path)
		if names[b.Name] {
			v.fail(path+".name", "%q is in the archive twice", b.Name)
		}
		names[b.Name] = true
	}
	for i, f := range a.Files {
		path := fmt.Sprintf("%s.files[%d]", path, i)
		v.content(path, f.SHA256, f.Size)
		v.match(path+".mode", f.Mode, notation.Mode)
		checkPath(path+".path", f.Path)
	}
}

func (v *validator) binary(path string, b Binary) {
	v.match(path+".name", b.Name, notation.Name)
	v.match(path+".package", b.Package, notation.Name)
	v.content(path, b.SHA256, b.Size)
	v.oneOf(path+".format", b.Format, "elf", "pe", "macho", wasm)
	v.match(path+".arch", b.Arch, notation.Arch)
	v.oneOf(path+".linkage", b.Linkage, "static", "dynamic")
	v.matchOptional(path+".glibcFloor", b.GlibcFloor, notation.Glibc)
	if b.Linkage == "static" && (b.Interpreter != "" || len(b.Needed) > 0) {
		v.fail(path+".linkage", "a static binary has neither an interpreter nor needed libraries")
	}
	if slices.Contains(b.Needed, "") {
		v.fail(path+".needed", "a library has an empty name")
	}
}

func (v *validator) oneOf(field, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.fail(field, "%q is not one of %q", value, known)
	}
}

func (v *validator) content(path, digest string, size int64) {
	v.match(path+".sha256", digest, notation.SHA256)
	if size < 0 {
		v.fail(path+".size", "%d is less than 0", size)
	}
}

func (v *validator) image(path string, i Image) {
	v.list(path+".repositories", i.Repositories, notation.ImageRepository)
	v.matchOptional(path+".base", i.Base, notation.ImageReference)
	v.matchOptional(path+".user", i.User, notation.User)
	if i.Workdir != "" {
		v.check(path+".workdir", notation.CheckAbsolute(i.Workdir))
	}
	if slices.Contains(i.Entrypoint, "") {
		v.fail(path+".entrypoint", "an element is empty")
	}
	v.list(path+".expose", i.Expose, notation.Port)
	v.list(path+".platforms", i.Platforms, notation.Platform)
	v.keys(path+".labels", i.Labels)
	v.keys(path+".env", i.Env)
	if i.Tags != nil {
		v.matchOptional(path+".tags.prefix", i.Tags.Prefix, notation.ImageTagPrefix)
		v.matchOptional(path+".tags.suffix", i.Tags.Suffix, notation.ImageTagSuffix)
	}
	if s := i.Smoke; s != nil && s.Skip && (len(s.Args) > 0 || s.Expect != "") {
		v.fail(path+".smoke", "skip is true, so that args and expect have no effect: remove either")
	}
	for _, from := range sortedKeys(i.Include) {
		v.check(path+".include", notation.CheckPath(from))
		v.check(path+".include."+from, notation.CheckAbsolute(i.Include[from]))
	}
}

func (v *validator) list(path string, values []string, n notation.Notation) {
	for i, value := range values {
		path := fmt.Sprintf("%s[%d]", path, i)
		v.match(path, value, n)
		if slices.Contains(values[:i], value) {
			v.fail(path, "%q appears twice", value)
		}
	}
}

func (v *validator) keys(path string, values map[string]string) {
	for _, key := range sortedKeys(values) {
		v.match(path, key, notation.Key)
		if strings.ContainsRune(values[key], 0) {
			v.fail(path+"."+key, "its value has a NUL character")
		}
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

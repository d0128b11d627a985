package manifest

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"

	"dagger/gantry/ci/archive"
	"dagger/gantry/ci/version"
)

// FieldError is one field of a manifest that is wrong.
type FieldError struct {
	// Field is its path in the document, "assets[2].binaries[0].path".
	Field string
	// Problem says what is wrong with it.
	Problem string
}

// Error names the field and the problem.
func (e *FieldError) Error() string { return fmt.Sprintf("field %q: %s", e.Field, e.Problem) }

// The notations of fields. The schema has the same ones, and a test compares
// them by documents that break them.
var (
	componentPattern  = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._/@-]*[A-Za-z0-9])?$`)
	commitPattern     = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	digestPattern     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	assetPattern      = regexp.MustCompile(`^[A-Za-z0-9_-]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$`)
	targetPattern     = regexp.MustCompile(`^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+){1,4}$`)
	archPattern       = regexp.MustCompile(`^[a-z0-9_-]+$`)
	glibcPattern      = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,3}$`)
	modePattern       = regexp.MustCompile(`^0(644|755)$`)
	pathPattern       = regexp.MustCompile(`^[^/\\\x00-\x1f\x7f][^\\\x00-\x1f\x7f]*$`)
	absolutePattern   = regexp.MustCompile(`^/[^\\\x00-\x1f\x7f]*$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)
	referencePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`)
	userPattern       = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$`)
	portPattern       = regexp.MustCompile(`^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`)
	platformPattern   = regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)
	linePattern       = regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`)
	keyPattern        = regexp.MustCompile(`^[^=\s\x00-\x1f\x7f]+$`)
)

// dateLayout is RFC 3339 in UTC, to the second.
const dateLayout = "2006-01-02T15:04:05Z"

// maxAssetName is the length of the longest asset name, in bytes: that of file
// names nearly everywhere.
const maxAssetName = 255

// Validate checks that the manifest is complete and consistent with itself. It
// returns every problem, joined, each of them a [*FieldError]; a schema version
// with another major version gives a [*VersionError] alone.
func (m *Manifest) Validate() error {
	if _, err := compareSchema(m.SchemaVersion); err != nil {
		return err
	}
	v := &validator{}
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

// match checks the notation of a value.
func (v *validator) match(field, value string, pattern *regexp.Regexp, want string) bool {
	if pattern.MatchString(value) {
		return true
	}
	v.fail(field, "%q is not %s", value, want)
	return false
}

// matchOptional is match for a value that may be empty.
func (v *validator) matchOptional(field, value string, pattern *regexp.Regexp, want string) {
	if value != "" {
		v.match(field, value, pattern, want)
	}
}

func (v *validator) release(m *Manifest) {
	v.match("component", m.Component, componentPattern, "a name of letters, digits, \"-\", \"_\" and \".\"")
	v.tag("tag", m.Tag)
	if m.PreviousTag != "" {
		v.tag("previousTag", m.PreviousTag)
		if m.PreviousTag == m.Tag {
			v.fail("previousTag", "it is the release's own tag, %q", m.Tag)
		}
	}
	v.version(m)
	v.match("commit", m.Commit, commitPattern, "a full commit hash in lower case")
	if date, err := time.Parse(dateLayout, m.CommitDate); err != nil || date.Format(dateLayout) != m.CommitDate {
		v.fail("commitDate", "%q is not a date like %s", m.CommitDate, dateLayout)
	}
	if m.Repository != "" {
		u, err := url.Parse(m.Repository)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.ContainsAny(m.Repository, " \t\r\n") {
			v.fail("repository", "%q is not an https URL without a password", m.Repository)
		}
	}
}

func (v *validator) tag(field, tag string) {
	if v.match(field, tag, tagPattern, "a git tag of letters, digits, \".\", \"_\", \"-\", \"/\" and \"@\"") {
		for _, bad := range []string{"..", "//", "/.", "./"} {
			if strings.Contains(tag, bad) {
				v.fail(field, "%q has %q, which git refuses", tag, bad)
			}
		}
	}
}

func (v *validator) version(m *Manifest) {
	parsed, err := semver.StrictNewVersion(m.Version)
	if err != nil {
		v.fail("version", "%q is not a SemVer version: %v", m.Version, err)
		return
	}
	if parsed.Metadata() != "" {
		v.fail("version", "%q has build metadata, and neither asset names nor image tags may have a \"+\"", m.Version)
	}
	prefix, found := strings.CutSuffix(m.Tag, m.Version)
	if !found {
		v.fail("tag", "%q does not end in version %q", m.Tag, m.Version)
	} else if prefix != "" && strings.ContainsRune("0123456789.", rune(prefix[len(prefix)-1])) {
		v.fail("tag", "%q has another version than %q: its number goes on to the left", m.Tag, m.Version)
	}
	if channel := version.Channel(parsed); m.Channel != channel {
		v.fail("channel", "%q is not the channel of version %q, %q", m.Channel, m.Version, channel)
	}
}

func (v *validator) toolchain(t Toolchain) {
	v.matchOptional("toolchain.image", t.Image, referencePattern, "an image reference")
	v.match("toolchain.rustc", t.Rustc, linePattern, "the first line of `rustc --version`")
	v.match("toolchain.cargo", t.Cargo, linePattern, "the first line of `cargo --version`")
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
		if v.match(at+".name", a.Name, assetPattern, "a name that GitHub keeps as it is: letters, digits, \".\", \"_\", \"-\", no period at either end") {
			if len(a.Name) > maxAssetName {
				v.fail(at+".name", "it has %d characters, more than %d", len(a.Name), maxAssetName)
			}
			if other, found := names[strings.ToLower(a.Name)]; found {
				v.fail(at+".name", "%q is taken by %q", a.Name, other)
			}
			names[strings.ToLower(a.Name)] = a.Name
		}
		v.content(at, a.SHA256, a.Size)
		v.asset(at, a)
		if a.Kind == KindArchive {
			if other, found := targets[a.Target]; found {
				v.fail(at+".target", "%q has the archive %q already", a.Target, other)
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
			v.fail(at+".kind", "only an archive has binaries and files, and this is a %q", a.Kind)
		}
		if a.Target != "" && a.Kind == KindChangelog {
			v.fail(at+".target", "a changelog has no target")
		}
	default:
		v.fail(at+".kind", "%q is none of %q, %q, %q and %q", a.Kind, KindArchive, KindSBOM, KindChangelog, KindFile)
	}
	v.matchOptional(at+".target", a.Target, targetPattern, "a Rust target triple")

	paths := map[string]bool{}
	checkPath := func(field, p string) {
		v.path(field, p)
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
		v.match(at+".mode", f.Mode, modePattern, "0644 or 0755")
		checkPath(at+".path", f.Path)
	}
}

func (v *validator) binary(at string, b Binary) {
	v.match(at+".name", b.Name, componentPattern, "a name of letters, digits, \"-\", \"_\" and \".\"")
	v.match(at+".package", b.Package, componentPattern, "a package's name")
	v.content(at, b.SHA256, b.Size)
	v.oneOf(at+".format", b.Format, "elf", "pe", "macho")
	v.match(at+".arch", b.Arch, archPattern, "an architecture")
	v.oneOf(at+".linkage", b.Linkage, "static", "dynamic")
	v.matchOptional(at+".glibcFloor", b.GlibcFloor, glibcPattern, "a version like 2.34")
	if b.Linkage == "static" && (b.Interpreter != "" || len(b.Needed) > 0) {
		v.fail(at+".linkage", "a static binary has neither an interpreter nor needed libraries")
	}
	if slices.Contains(b.Needed, "") {
		v.fail(at+".needed", "a library has an empty name")
	}
}

func (v *validator) oneOf(field, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.fail(field, "%q is none of %q", value, known)
	}
}

func (v *validator) content(at, digest string, size int64) {
	v.match(at+".sha256", digest, digestPattern, "64 lower-case hexadecimal digits")
	if size < 0 {
		v.fail(at+".size", "%d is less than 0", size)
	}
}

// path checks a path inside an archive.
func (v *validator) path(field, p string) {
	if !v.match(field, p, pathPattern, "a relative path with forward slashes") {
		return
	}
	if clean, err := archive.CleanPath(p); err != nil {
		v.fail(field, "%v", err)
	} else if clean != p {
		v.fail(field, "%q is not in its shortest form, %q", p, clean)
	}
}

// absolute checks a path in an image.
func (v *validator) absolute(field, p string) {
	if !v.match(field, p, absolutePattern, "an absolute path with forward slashes") {
		return
	}
	// A slash at the end says that a folder is meant.
	if clean := path.Clean(p); p != clean && (p != clean+"/" || clean == "/") {
		v.fail(field, "%q is not in its shortest form, %q", p, clean)
	}
}

func (v *validator) image(at string, i Image) {
	v.list(at+".repositories", i.Repositories, repositoryPattern, "a repository like ghcr.io/owner/name, without a tag")
	v.matchOptional(at+".base", i.Base, referencePattern, "an image reference")
	v.matchOptional(at+".user", i.User, userPattern, "a user like 65532:65532")
	if i.Workdir != "" {
		v.absolute(at+".workdir", i.Workdir)
	}
	if slices.Contains(i.Entrypoint, "") {
		v.fail(at+".entrypoint", "an element is empty")
	}
	v.list(at+".expose", i.Expose, portPattern, "a port like 8080/tcp")
	for n, port := range i.Expose {
		number, _, _ := strings.Cut(port, "/")
		if value, err := strconv.Atoi(number); err == nil && value > 65535 {
			v.fail(fmt.Sprintf("%s.expose[%d]", at, n), "%d is not a port: they end at 65535", value)
		}
	}
	v.list(at+".platforms", i.Platforms, platformPattern, "a platform like linux/amd64 or linux/arm/v7")
	v.keys(at+".labels", i.Labels)
	v.keys(at+".env", i.Env)
	for _, from := range sortedKeys(i.Include) {
		v.path(at+".include", from)
		v.absolute(at+".include."+from, i.Include[from])
	}
}

func (v *validator) list(at string, values []string, pattern *regexp.Regexp, want string) {
	for i, value := range values {
		at := fmt.Sprintf("%s[%d]", at, i)
		v.match(at, value, pattern, want)
		if slices.Contains(values[:i], value) {
			v.fail(at, "%q is there twice", value)
		}
	}
}

func (v *validator) keys(at string, values map[string]string) {
	for _, key := range sortedKeys(values) {
		v.match(at, key, keyPattern, "a name without \"=\" and spaces")
		if strings.ContainsRune(values[key], 0) {
			v.fail(at+"."+key, "its value has a NUL character")
		}
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

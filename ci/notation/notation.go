// Package notation defines how names and values are written: tags, commits, assets,
// image references, users, ports, platforms and others. The plan, the manifest, the
// archives and the image specification share it, so that none accepts a value that a
// later one refuses.
//
// The package is a leaf and pure. It keeps one invariant: an error names the value
// and what to write instead.
package notation

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Notation defines how a kind of value is written.
type Notation struct {
	pattern *regexp.Regexp
	// want completes "… is not".
	want string
	// also checks what the pattern can't; may be nil.
	also func(value string) error
	// fix proposes another value or a change; may be nil or return "".
	fix func(value string) string
}

// Check returns an error unless the value is well written. The error has the value
// and, if known, the fix.
func (n Notation) Check(value string) error {
	if !n.pattern.MatchString(value) {
		fix := ""
		if n.fix != nil {
			fix = n.fix(value)
		}
		if fix != "" {
			fix = ": " + fix
		}
		return fmt.Errorf("%q is not %s%s", value, n.want, fix)
	}
	if n.also != nil {
		return n.also(value)
	}
	return nil
}

// Matches reports whether the value is well written.
func (n Notation) Matches(value string) bool { return n.Check(value) == nil }

// maxAssetName bounds the length of asset names, in bytes. Most systems have this
// limit for the names of files.
const maxAssetName = 255

var (
	namePattern       = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9]+((\.|-+)[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)+$`)
)

// Notations of a release.
var (
	// Name is the name of a component, a package or a binary.
	Name = Notation{pattern: namePattern, want: `a name of letters, digits, "-", "_" and "."`, fix: plain}
	// Tag is the git tag of a release.
	Tag = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._/@-]*[A-Za-z0-9])?$`), want: `a git tag of letters, digits, ".", "_", "-", "/" and "@"`, also: gitTag, fix: tagFix}
	// Commit is a full SHA-1 or SHA-256.
	Commit = Notation{pattern: regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`), want: "a full commit hash in lower case"}
	// SHA256 is a digest.
	SHA256 = Notation{pattern: regexp.MustCompile(`^[0-9a-f]{64}$`), want: "64 lower-case hexadecimal digits"}
	// Asset is the name of a file of a GitHub Release. GitHub changes other names
	// ("Upload a release asset", REST API).
	Asset = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_-]([A-Za-z0-9._-]*[A-Za-z0-9_-])?$`), want: `a name that GitHub keeps as it is: letters, digits, ".", "_", "-", no period at either end`, also: func(value string) error {
		if len(value) > maxAssetName {
			return fmt.Errorf("%q has %d characters, more than %d", value, len(value), maxAssetName)
		}
		return nil
	}}
	// Target is a Rust target triple.
	Target = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+){1,4}$`), want: "a Rust target triple"}
	// Arch is the first part of a target triple.
	Arch = Notation{pattern: regexp.MustCompile(`^[a-z0-9_-]+$`), want: "an architecture"}
	// Glibc is a version of glibc.
	Glibc = Notation{pattern: regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,3}$`), want: "a version like 2.34"}
	// Mode is the permission bits of a file in an archive.
	Mode = Notation{pattern: regexp.MustCompile(`^0(644|755)$`), want: "0644 or 0755"}
	// Line is one line of text.
	Line = Notation{pattern: regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`), want: "one line of text"}
	// Date is the layout of dates for package time: RFC 3339 in UTC, to the second.
	Date = "2006-01-02T15:04:05Z"
)

// Notations of an image.
var (
	// ImageRepository is a repository to push images to.
	ImageRepository = Notation{pattern: repositoryPattern, want: "a repository like ghcr.io/owner/name, without a tag", fix: repositoryFix}
	// ImageReference names an image, with or without a tag and a digest.
	ImageReference = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/@-]*$`), want: "an image reference"}
	// User is the user of an image.
	User = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$`), want: "a user like 65532:65532"}
	// Port is a port that an image exposes.
	Port = Notation{pattern: regexp.MustCompile(`^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$`), want: "a port like 8080/tcp", also: func(value string) error {
		number, _, _ := strings.Cut(value, "/")
		if n, err := strconv.Atoi(number); err != nil || n > 65535 {
			return fmt.Errorf("%s is not a port: ports end at 65535", number)
		}
		return nil
	}}
	// Platform is an OCI platform.
	Platform = Notation{pattern: regexp.MustCompile(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`), want: "a platform like linux/amd64 or linux/arm/v7"}
	// Key is the name of a label or a variable.
	Key = Notation{pattern: regexp.MustCompile(`^[^=\s\x00-\x1f\x7f]+$`), want: `a name without "=" and spaces`}
	// ImageTagPrefix precedes the versions in image tags.
	ImageTagPrefix = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,31}$`), want: `at most 32 letters, digits, ".", "_" and "-", with a letter, digit or "_" first`}
	// ImageTagSuffix follows them.
	ImageTagSuffix = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9._-]{1,32}$`), want: `at most 32 letters, digits, ".", "_" and "-"`}
	// ImageTag is a tag of an image; see the reference grammar of the OCI
	// distribution specification.
	ImageTag = Notation{pattern: regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`), want: `an image tag: at most 128 letters, digits, ".", "_" and "-"`}
)

// plain proposes a name in plain characters.
func plain(value string) string {
	out := strings.Trim(strings.NewReplacer(" ", "-", "/", "-", "+", "-", ":", "-").Replace(value), ".-")
	if !namePattern.MatchString(out) {
		return "rename it"
	}
	return fmt.Sprintf("rename it, to %q for example", out)
}

// gitTag refuses the tags that git refuses; see git-check-ref-format(1).
func gitTag(tag string) error {
	for _, bad := range []string{"..", "//", "/.", "./", ".lock/"} {
		if strings.Contains(tag, bad) {
			return fmt.Errorf("%q has %q, which git refuses", tag, bad)
		}
	}
	if strings.HasSuffix(tag, ".lock") {
		return fmt.Errorf("%q ends in %q, which git refuses", tag, ".lock")
	}
	return nil
}

func tagFix(tag string) string {
	if strings.HasSuffix(tag, "-") || strings.HasSuffix(tag, ".") || strings.HasSuffix(tag, "_") {
		return "end it in a letter or a digit"
	}
	return ""
}

func repositoryFix(value string) string {
	for _, scheme := range []string{"https://", "http://", "docker://", "oci://"} {
		if rest, found := strings.CutPrefix(value, scheme); found {
			return fmt.Sprintf("omit %q, as in %q", scheme, strings.ToLower(rest))
		}
	}
	rest, _ := SplitReference(value)
	lower := strings.ToLower(rest)
	switch {
	case !repositoryPattern.MatchString(lower):
		return ""
	case lower != rest:
		return fmt.Sprintf("write it in lower case, %q", lower)
	default:
		return fmt.Sprintf("omit the tag, as in %q", rest)
	}
}

// SplitReference splits an optional tag or digest off a reference: "host:5000/a:1"
// is "host:5000/a" and "1". The digest wins over the tag.
func SplitReference(ref string) (address, reference string) {
	address, digest, pinned := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(address, ':'); i > strings.LastIndexByte(address, '/') {
		address, reference = address[:i], address[i+1:]
	}
	if pinned {
		reference = digest
	}
	return address, reference
}

// Package manifest is release-manifest.json: the one contract between the two
// phases of a release. Phase 1 writes it next to the archives; phase 2 needs
// nothing but it and the assets it names.
//
// The package is pure: it reads and writes bytes and never touches the
// network, the file system or a container. It keeps one invariant: a manifest
// that [Parse] returns is complete and consistent with itself, so that a
// reader never has to check it again.
package manifest

// FileName is the name of the manifest among the assets of a release.
const FileName = "release-manifest.json"

// SumsName is the name of the checksum file among the assets of a release.
const SumsName = "SHA256SUMS"

// ChangelogName is the name of the changelog among the assets of a release.
const ChangelogName = "CHANGELOG.md"

// SchemaVersion is the newest version of the contract that this package knows,
// MAJOR.MINOR. A reader accepts every minor version of a major version that it
// knows, and nothing else: a newer minor version may add fields, which an older
// reader ignores, and changes the meaning of none.
//
// A manifest is written in the oldest version that has all of its fields (see
// [Manifest.UseLeastSchema]): 1.1 added image.tags and image.smoke.
const SchemaVersion = "1.1"

// firstSchema is the version before the first fields were added.
const firstSchema = "1.0"

// UseLeastSchema sets the schema version to the oldest one that has all the
// fields that the manifest uses, so that a release without new fields has the
// same bytes as ever, and every reader of its time understands it.
func (m *Manifest) UseLeastSchema() { m.SchemaVersion = m.leastSchema() }

func (m *Manifest) leastSchema() string {
	if m.Image != nil && (m.Image.Tags != nil || m.Image.Smoke != nil) {
		return SchemaVersion
	}
	return firstSchema
}

// Manifest describes one release of one component, completely.
type Manifest struct {
	// SchemaVersion of the document, MAJOR.MINOR.
	SchemaVersion string `json:"schemaVersion"`
	// Component is the name of what is released: a package, or the workspace.
	// Letters, digits, "-", "_" and ".".
	Component string `json:"component"`
	// Tag is the git tag of the release, as it was pushed; it ends in Version.
	Tag string `json:"tag"`
	// Version is the tag's SemVer version, without prefix, leading v or build
	// metadata: neither an asset nor an image tag may have a "+" in its name.
	Version string `json:"version"`
	// Channel is "stable", or the name of the prerelease channel ("rc",
	// "beta"), as ci/version derives it from Version.
	Channel string `json:"channel"`
	// Commit is the full SHA-1 (or SHA-256) of the released commit.
	Commit string `json:"commit"`
	// CommitDate is the committer date, RFC 3339 in UTC, to the second.
	CommitDate string `json:"commitDate"`
	// PreviousTag is the tag the changelog starts from; empty for the first.
	PreviousTag string `json:"previousTag,omitempty"`
	// Repository is the project's home, as an https URL; empty when unknown.
	Repository string `json:"repository,omitempty"`
	// Description is the package's, in one or more lines.
	Description string `json:"description,omitempty"`
	// License is an SPDX expression, "MIT OR Apache-2.0".
	License string `json:"license,omitempty"`
	// Homepage is a URL.
	Homepage string `json:"homepage,omitempty"`
	// Toolchain says what compiled the binaries.
	Toolchain Toolchain `json:"toolchain"`
	// Assets of the release, sorted by name: every one but the manifest itself
	// and SHA256SUMS, which names the manifest.
	Assets []Asset `json:"assets"`
	// Image is what phase 2 assembles; absent when the project has none.
	Image *Image `json:"image,omitempty"`
}

// Toolchain says what compiled the binaries.
type Toolchain struct {
	// Image is the reference with digest of the toolchain image; empty for a
	// container of the caller's own.
	Image string `json:"image,omitempty"`
	// Rustc is the first line of `rustc --version`.
	Rustc string `json:"rustc"`
	// Cargo is the first line of `cargo --version`.
	Cargo string `json:"cargo"`
}

// Kind says what an asset is.
type Kind string

// The kinds of assets. A file is anything that has no kind of its own.
const (
	KindArchive   Kind = "archive"
	KindSBOM      Kind = "sbom"
	KindChangelog Kind = "changelog"
	KindFile      Kind = "file"
)

// Asset is one file of the release.
type Asset struct {
	// Name of the file, in characters that GitHub does not rewrite: letters,
	// digits, ".", "_" and "-", and no period at either end. Unique in the
	// release, also when case is ignored.
	Name string `json:"name"`
	// Kind says what the file is.
	Kind Kind `json:"kind"`
	// Target is the Rust target triple of an archive, one archive for each, or
	// of an SBOM.
	Target string `json:"target,omitempty"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Binaries inside an archive, at least one, sorted by path.
	Binaries []Binary `json:"binaries,omitempty"`
	// Files inside an archive that are not binaries, sorted by path.
	Files []File `json:"files,omitempty"`
}

// Binary is one executable inside an archive.
type Binary struct {
	// Name of the binary, without an executable suffix.
	Name string `json:"name"`
	// Package of the workspace that builds it.
	Package string `json:"package"`
	// Path inside the archive with its root folder, slash-separated.
	Path string `json:"path"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Format is "elf", "pe" or "macho".
	Format string `json:"format"`
	// Arch is the architecture the file says it is for, in the first part of
	// the target triple's terms (x86_64, aarch64, armv7, …); "universal2" for
	// a Mach-O file of both of Apple's.
	Arch string `json:"arch"`
	// Linkage is "static" or "dynamic".
	Linkage string `json:"linkage"`
	// Interpreter is the dynamic loader a dynamic ELF file asks for.
	Interpreter string `json:"interpreter,omitempty"`
	// GlibcFloor is the highest glibc symbol version needed, "2.34"; empty when
	// none is.
	GlibcFloor string `json:"glibcFloor,omitempty"`
	// Needed are the shared libraries it loads, in the file's order.
	Needed []string `json:"needed,omitempty"`
}

// File is one other file inside an archive.
type File struct {
	// Path inside the archive with its root folder, slash-separated.
	Path string `json:"path"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Mode is the permission bits, "0644" or "0755".
	Mode string `json:"mode"`
}

// Image is the specification of the container image of a release.
type Image struct {
	// Repositories to publish to by default, "ghcr.io/owner/name".
	Repositories []string `json:"repositories,omitempty"`
	// Base image reference for all platforms; empty chooses by linkage.
	Base string `json:"base,omitempty"`
	// Entrypoint; empty is the component's only binary, or the one that has
	// the component's name.
	Entrypoint []string `json:"entrypoint,omitempty"`
	// Cmd holds default arguments.
	Cmd []string `json:"cmd,omitempty"`
	// User, "uid[:gid]" or a name of the base; empty is 65532:65532.
	User string `json:"user,omitempty"`
	// Workdir; empty is /.
	Workdir string `json:"workdir,omitempty"`
	// Expose lists ports, "8080/tcp".
	Expose []string `json:"expose,omitempty"`
	// Labels are added to those Gantry sets.
	Labels map[string]string `json:"labels,omitempty"`
	// Env is added to the base's.
	Env map[string]string `json:"env,omitempty"`
	// Include maps paths inside the archives below their root folder (files
	// or folders) to absolute paths in the image.
	Include map[string]string `json:"include,omitempty"`
	// Platforms, "linux/amd64"; empty is every Linux target of the release.
	Platforms []string `json:"platforms,omitempty"`
	// Tags says how the tags of the image are written; by default, the exact
	// version and the floating tags, as they are.
	Tags *ImageTags `json:"tags,omitempty"`
	// Smoke says how the image is tested before it is tagged; by default, it is
	// started with --version and must print the version.
	Smoke *Smoke `json:"smoke,omitempty"`
}

// ImageTags says how the tags of an image are written.
type ImageTags struct {
	// Floating false writes only the exact version, as registries with immutable
	// tags need it. By default, true.
	Floating *bool `json:"floating,omitempty"`
	// Prefix of the tags that are versions ("v" for v1.2.3, v1.2 and v1); latest
	// and channels have none.
	Prefix string `json:"prefix,omitempty"`
	// Suffix of all tags, "-alpine".
	Suffix string `json:"suffix,omitempty"`
}

// Smoke says how an image is tested before it is tagged.
type Smoke struct {
	// Args to start the image with; empty is --version.
	Args []string `json:"args,omitempty"`
	// Expect is the text that the output must contain. By default, the output
	// must have the release's version in it, as a whole word.
	Expect string `json:"expect,omitempty"`
	// Skip true starts nothing.
	Skip bool `json:"skip,omitempty"`
}

// Package manifest defines release-manifest.json, the contract between the two phases
// of a release. Phase 1 publishes it with the archives; phase 2 needs only the
// manifest and the assets that it lists.
//
// The package is pure. It keeps one invariant: a manifest that [Parse] returns is
// complete and consistent, so that a reader never checks it again.
package manifest

import "slices"

// FileName is the name of the manifest among the assets of a release.
const FileName = "release-manifest.json"

// SumsName is the name of the checksum file among the assets of a release.
const SumsName = "SHA256SUMS"

// ChangelogName is the name of the changelog among the assets of a release.
const ChangelogName = "CHANGELOG.md"

// SchemaVersion is the newest known version of the contract, MAJOR.MINOR. A reader
// accepts every minor version of its major version: a newer minor version only adds
// fields, which an older reader ignores, and formats of binaries.
//
// A manifest has the oldest version with all that it has, see
// [Manifest.UseLeastSchema].
const SchemaVersion = wasmSchema

const (
	// firstSchema is the oldest version of the schema.
	firstSchema = "1.0"
	// imageSchema added image.tags and image.smoke.
	imageSchema = "1.1"
	// wasmSchema added the format [wasm].
	wasmSchema = "1.2"
)

// wasm is the format of WebAssembly modules.
const wasm = "wasm"

// UseLeastSchema sets the oldest schema version with all fields of the manifest and
// some formats of binaries, so that a release without anything new keeps its bytes, and
// old readers accept it.
func (m *Manifest) UseLeastSchema(formats ...string) {
	m.SchemaVersion = m.leastSchema()
	if slices.Contains(formats, wasm) {
		m.SchemaVersion = wasmSchema
	}
}

func (m *Manifest) leastSchema() string {
	for _, a := range m.Assets {
		if slices.ContainsFunc(a.Binaries, func(b Binary) bool { return b.Format == wasm }) {
			return wasmSchema
		}
	}
	if m.Image != nil && (m.Image.Tags != nil || m.Image.Smoke != nil) {
		return imageSchema
	}
	return firstSchema
}

// Manifest describes a release of a component.
type Manifest struct {
	// SchemaVersion of the document, MAJOR.MINOR.
	SchemaVersion string `json:"schemaVersion"`
	// Component is the name of a package or of the workspace: letters, digits, "-",
	// "_" and ".".
	Component string `json:"component"`
	// Tag is the git tag of the release, which ends in Version.
	Tag string `json:"tag"`
	// Version is the tag's SemVer version without a prefix, "v" or build metadata:
	// names of assets and image tags can't have a "+".
	Version string `json:"version"`
	// Channel is "stable" or a prerelease channel ("rc", "beta"), as ci/version derives
	// it from Version.
	Channel string `json:"channel"`
	// Commit is the full SHA-1 (or SHA-256) of the released commit.
	Commit string `json:"commit"`
	// CommitDate is the committer date, RFC 3339 in UTC, to the second.
	CommitDate string `json:"commitDate"`
	// PreviousTag is the tag that the changelog starts from, or empty.
	PreviousTag string `json:"previousTag,omitempty"`
	// Repository is the project's home as an https URL, or empty.
	Repository string `json:"repository,omitempty"`
	// Description of the package, in one or more lines.
	Description string `json:"description,omitempty"`
	// License is an SPDX expression, "MIT OR Apache-2.0".
	License string `json:"license,omitempty"`
	// Homepage is a URL.
	Homepage string `json:"homepage,omitempty"`
	// Toolchain compiled the binaries.
	Toolchain Toolchain `json:"toolchain"`
	// Assets of the release, sorted by name, without the manifest and SHA256SUMS, which
	// lists the manifest.
	Assets []Asset `json:"assets"`
	// Image specifies the container image, if any.
	Image *Image `json:"image,omitempty"`
}

// Toolchain describes what compiled the binaries.
type Toolchain struct {
	// Image is the toolchain image with its digest; empty for the caller's container.
	Image string `json:"image,omitempty"`
	// Rustc is the first line of `rustc --version`.
	Rustc string `json:"rustc"`
	// Cargo is the first line of `cargo --version`.
	Cargo string `json:"cargo"`
}

// Kind is the kind of an asset.
type Kind string

// The kinds of assets. A file is everything else.
const (
	KindArchive   Kind = "archive"
	KindSBOM      Kind = "sbom"
	KindChangelog Kind = "changelog"
	KindFile      Kind = "file"
)

// Asset is one file of the release.
type Asset struct {
	// Name of the file, in characters that GitHub keeps: letters, digits, ".", "_" and
	// "-", without a period at either end. Unique in the release, in any case.
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Target is the Rust target triple of an archive or an SBOM. A target has one
	// archive.
	Target string `json:"target,omitempty"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Binaries in an archive, at least one, sorted by path.
	Binaries []Binary `json:"binaries,omitempty"`
	// Files lists the other files in an archive, sorted by path.
	Files []File `json:"files,omitempty"`
}

// Binary is an executable in an archive.
type Binary struct {
	// Name of the binary, without an executable suffix.
	Name string `json:"name"`
	// Package is the workspace's package that builds it.
	Package string `json:"package"`
	// Path in the archive with the root directory, slash-separated.
	Path string `json:"path"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Format is "elf", "pe" or "macho".
	Format string `json:"format"`
	// Arch is the file's architecture, as the first part of a target triple (x86_64,
	// aarch64, armv7, …); "universal2" for a Mach-O file with both of Apple's.
	Arch string `json:"arch"`
	// Linkage is "static" or "dynamic".
	Linkage string `json:"linkage"`
	// Interpreter is the loader of a dynamic ELF file.
	Interpreter string `json:"interpreter,omitempty"`
	// GlibcFloor is the highest version of required glibc symbols, "2.34", or empty.
	GlibcFloor string `json:"glibcFloor,omitempty"`
	// Needed lists the required shared libraries, in the file's order.
	Needed []string `json:"needed,omitempty"`
}

// File is another file in an archive.
type File struct {
	// Path in the archive with the root directory, slash-separated.
	Path string `json:"path"`
	// SHA256 of the file, 64 lower-case hexadecimal digits.
	SHA256 string `json:"sha256"`
	// Size in bytes.
	Size int64 `json:"size"`
	// Mode has the permission bits, "0644" or "0755".
	Mode string `json:"mode"`
}

// Image is the specification of the container image of a release.
type Image struct {
	// Repositories to publish to by default, such as "ghcr.io/owner/name".
	Repositories []string `json:"repositories,omitempty"`
	// Base image of all platforms; by default, chosen by linkage.
	Base string `json:"base,omitempty"`
	// Entrypoint of the image; by default, the only binary, or the one with the
	// component's name.
	Entrypoint []string `json:"entrypoint,omitempty"`
	// Cmd holds default arguments.
	Cmd []string `json:"cmd,omitempty"`
	// User as "uid[:gid]" or a name in the base; by default, 65532:65532.
	User string `json:"user,omitempty"`
	// Workdir is the working directory; by default, /.
	Workdir string `json:"workdir,omitempty"`
	// Expose lists ports, such as "8080/tcp".
	Expose []string `json:"expose,omitempty"`
	// Labels are added to Gantry's.
	Labels map[string]string `json:"labels,omitempty"`
	// Env is added to the base's.
	Env map[string]string `json:"env,omitempty"`
	// Include maps files and directories in the archives, below the root directory, to
	// absolute paths in the image.
	Include map[string]string `json:"include,omitempty"`
	// Platforms such as "linux/amd64"; by default, those of all Linux targets.
	Platforms []string `json:"platforms,omitempty"`
	// Tags configures the tags of the image; by default, the exact version and the
	// floating tags.
	Tags *ImageTags `json:"tags,omitempty"`
	// Smoke configures the test before tagging; by default, the image starts with
	// --version, must end well, and must print no other version.
	Smoke *Smoke `json:"smoke,omitempty"`
}

// ImageTags configures the tags of an image.
type ImageTags struct {
	// Floating false writes only the exact version, for registries with immutable tags.
	// By default, true.
	Floating *bool `json:"floating,omitempty"`
	// Prefix of tags that are versions ("v" for v1.2.3, v1.2 and v1); latest and
	// channels have none.
	Prefix string `json:"prefix,omitempty"`
	// Suffix of all tags, "-alpine".
	Suffix string `json:"suffix,omitempty"`
}

// Smoke configures the test of an image before tagging.
type Smoke struct {
	// Args to start the image with; by default, --version.
	Args []string `json:"args,omitempty"`
	// Expect is a text that the output must contain; by default, the release's version
	// as a whole word.
	Expect string `json:"expect,omitempty"`
	// Skip skips the test.
	Skip bool `json:"skip,omitempty"`
}

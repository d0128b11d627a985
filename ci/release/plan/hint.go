package plan

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// What is said of a library that is missing, by the crate pkg-config (in its
// two wordings), pkg-config itself, the crate openssl-sys, and the linkers.
var missingLibrary = []*regexp.Regexp{
	regexp.MustCompile("system library ['`]([^'`]+)['`] required by"),
	regexp.MustCompile(`Package '?([^ ']+)'?(?:, required by '[^']*',)? (?:was )?not found`),
	regexp.MustCompile(`Could not find directory of (OpenSSL) installation`),
	regexp.MustCompile(`(?:cannot find|unable to find library) -l([^\s:]+)`),
}

// What is said of a program that is missing, by the crate cmake and those like
// it, by the crate cc (in its two wordings), by prost-build, by rustc of a linker that .cargo/config.toml names, and by
// gcc and clang of one that they were to use.
var missingProgram = []*regexp.Regexp{
	regexp.MustCompile("is `([^`\\s]+)` not installed"),
	regexp.MustCompile("Failed to find tool\\. Is `([^`\\s]+)` installed"),
	regexp.MustCompile(`failed to find tool "([^"\s]+)"`),
	regexp.MustCompile("Could not find `([^`\\s]+)` installation"),
	regexp.MustCompile("linker `([^`]+)` not found"),
	regexp.MustCompile(`invalid linker name in (?:argument )?'-fuse-ld=([^']+)'`),
	regexp.MustCompile(`-fuse-ld=([\w.-]+)[\s\S]*collect2: fatal error: cannot find .ld.`),
}

// noMuslCXX matches the name that the crate cc gives the C++ compiler of musl
// targets, in its message that it is missing.
var noMuslCXX = regexp.MustCompile(`(?i)failed to find tool.*musl-g\+\+`)

// Hint says what to do about a build that failed with the text given on its
// standard error, where that can be told; it is empty otherwise.
func Hint(stderr string) string {
	var hints []string
	if names := firstOf(missingLibrary, stderr); len(names) > 0 {
		hints = append(hints, fmt.Sprintf("the toolchain lacks library %s: name the Debian package that brings it in packages of [workspace.metadata.gantry] or of the target's table there (\"zlib1g-dev\" is that of the target, \"zlib1g-dev:amd64\" one for build scripts), or pass --toolchain with a container that has it", strings.Join(names, ", ")))
	}
	if noMuslCXX.MatchString(stderr) {
		hints = append(hints, "Debian has no C++ compiler for musl: leave the musl targets out of targets, or pass --toolchain with a container that has one, such as one with zig and --cargo-command=zigbuild")
	} else if names := firstOf(missingProgram, stderr); len(names) > 0 {
		hints = append(hints, fmt.Sprintf("the toolchain lacks program %s: name the Debian package that brings it, with the architecture that the build runs on (\"cmake:amd64\"), in packages of [workspace.metadata.gantry], or pass --toolchain with a container that has it", strings.Join(names, ", ")))
	}
	if strings.Contains(stderr, "fatal: not a git repository") {
		hints = append(hints, "the build asks git for something: set git-dir = true in [package.metadata.gantry] to let it see .git")
	}
	if strings.Contains(stderr, "--locked was passed") {
		hints = append(hints, "Cargo.lock does not fit the Cargo.toml files of the commit: run cargo check, and commit Cargo.lock")
	}
	return strings.Join(hints, "\n")
}

// firstOf the patterns that matches says what all its matches name, quoted.
func firstOf(patterns []*regexp.Regexp, text string) []string {
	for _, p := range patterns {
		var names []string
		for _, m := range p.FindAllStringSubmatch(text, -1) {
			if name := fmt.Sprintf("%q", m[1]); !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if names != nil {
			return names
		}
	}
	return nil
}

package cargo

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// missingLibrary matches the messages about a missing library: of the crate
// pkg-config (in its two wordings), of pkg-config itself, of the crate openssl-sys,
// and of the linkers.
var missingLibrary = []*regexp.Regexp{
	regexp.MustCompile("system library ['`]([^'`]+)['`] required by"),
	regexp.MustCompile(`Package '?([^ ']+)'?(?:, required by '[^']*',)? (?:was )?not found`),
	regexp.MustCompile(`Could not find directory of (OpenSSL) installation`),
	regexp.MustCompile(`(?:cannot find|unable to find library) -l([^\s:]+)`),
}

// missingProgram matches the messages about a missing program: of the crate cmake
// and those like it, of the crate cc (in its two wordings), of prost-build, of
// rustc about a linker that .cargo/config.toml names, and of gcc and clang about a
// linker that they were told to use.
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

// newerRust matches Cargo's message about a package with a rust-version that is too high.
var newerRust = regexp.MustCompile(`requires rustc (\d+\.\d+(?:\.\d+)?)\b`)

// rustHint explains how to get the Rust that the packages of a build need; it is empty if
// they don't need another.
func rustHint(stderr string) string {
	var needed *semver.Version
	for _, m := range newerRust.FindAllStringSubmatch(stderr, -1) {
		if v, err := semver.NewVersion(m[1]); err == nil && (needed == nil || v.GreaterThan(needed)) {
			needed = v
		}
	}
	if needed == nil {
		return ""
	}
	return fmt.Sprintf("the build needs Rust %[1]s, and the toolchain has an older one: set channel = \"%[1]s\" in rust-toolchain.toml, or pass --toolchain with a container that has it", needed)
}

// wantsToken matches Cargo's messages about a registry that refused to answer, with and
// without a place to look for a token.
var wantsToken = []*regexp.Regexp{
	regexp.MustCompile("(?:no token found for|token rejected for) `([^`]+)`"),
	regexp.MustCompile("unable to update registry `([^`]+)`\\s+Caused by:\\s+authenticated registries require a credential-provider"),
}

// wantsLogin matches the messages about a git server that refused to answer: of git (in
// its two wordings), and of Cargo with its own client.
var wantsLogin = []*regexp.Regexp{
	regexp.MustCompile(`could not read (?:Username|Password) for '(\w+)://(?:[^@/']*@)?([^/']+)`),
	regexp.MustCompile(`Authentication failed for '(\w+)://(?:[^@/']*@)?([^/']+)`),
	regexp.MustCompile(`unable to update (\w+)://(?:[^@/\s]*@)?([^/#\s]+)[\s\S]*failed to authenticate when downloading repository`),
}

// loginHints explain which logins to pass.
func loginHints(stderr string) (hints []string) {
	for _, p := range wantsToken {
		if m := p.FindStringSubmatch(stderr); m != nil {
			hints = append(hints, fmt.Sprintf("a registry wants a token: pass it with with-cargo-token --registry=%s", m[1]))
		}
	}
	for _, p := range wantsLogin {
		if m := p.FindStringSubmatch(stderr); m != nil {
			scheme := m[1]
			if scheme != "http" {
				scheme = "https"
			}
			return append(hints, fmt.Sprintf("a git server wants a login: pass it with with-git-auth --address=%s://%s", scheme, m[2]))
		}
	}
	return hints
}

// Hint explains how to fix a build from the text on its standard error. It is
// empty for failures that it doesn't know.
func Hint(stderr string) string {
	var hints []string
	if names := firstOf(missingLibrary, stderr); len(names) > 0 {
		hints = append(hints, fmt.Sprintf("the toolchain lacks library %s: add its Debian package to packages in [workspace.metadata.gantry] or in the target's table there (\"zlib1g-dev\" for the target, \"zlib1g-dev:amd64\" for build scripts), or pass --toolchain with a container that has it", strings.Join(names, ", ")))
	}
	if noMuslCXX.MatchString(stderr) {
		hints = append(hints, "Debian has no C++ compiler for musl: remove the musl targets from targets, or pass --toolchain with a container that has one, such as one with zig and --cargo-command=zigbuild")
	} else if names := firstOf(missingProgram, stderr); len(names) > 0 {
		hints = append(hints, fmt.Sprintf("the toolchain lacks program %s: add its Debian package, with the architecture of the build machine (\"cmake:amd64\"), to packages in [workspace.metadata.gantry], or pass --toolchain with a container that has it", strings.Join(names, ", ")))
	}
	if hint := rustHint(stderr); hint != "" {
		hints = append(hints, hint)
	}
	if strings.Contains(stderr, "fatal: not a git repository") {
		hints = append(hints, "the build runs git, but can't see .git: set git-dir = true in [package.metadata.gantry]")
	}
	if strings.Contains(stderr, "--locked was passed") {
		hints = append(hints, "Cargo.lock does not match the Cargo.toml files of the commit: run cargo check, and commit Cargo.lock")
	}
	hints = append(hints, loginHints(stderr)...)
	return strings.Join(hints, "\n")
}

// firstOf returns the quoted names in all matches of the first pattern that
// matches.
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

package main

import (
	"regexp"
	"strings"
)

// rule finds a reason in a message. Message is a pattern of one line; hint is what
// Gantry's message must contain to be of help.
type rule struct {
	class   Class
	message *regexp.Regexp
	hint    *regexp.Regexp
}

var (
	never  = regexp.MustCompile(`$^`)
	itself = regexp.MustCompile(``)
)

// rules are tried in this order. What matches none of them is [Gantry]: a person has to
// look at it, and fixes Gantry or adds a rule. So nothing here matches a failure of the
// linker or of a build script as such.
var rules = []rule{
	{Machine, regexp.MustCompile(`call constructor: |failed to mount|No space left on device|[Ss]purious network error|failed to download from|Could not (resolve|connect)|Connection (reset|refused)|connection reset by peer|error while dialing|\(signal: 9, SIGKILL|context canceled`), never},
	{Machine, regexp.MustCompile(`find the toolchain image "[^"]*:1\.96-`), never},
	{Lock, regexp.MustCompile(`Cargo\.lock is missing`), regexp.MustCompile(`cargo generate-lockfile`)},
	{Lock, regexp.MustCompile(`--locked was passed|Cargo\.lock has version`), regexp.MustCompile(`cargo check`)},
	{NoProgram, regexp.MustCompile(`no package of the workspace has a binary`), itself},
	{OtherRust, regexp.MustCompile(`find the toolchain image "|requires rustc \d|rustc [\d.]+ is not supported by|requires Rust \d`), regexp.MustCompile(`--toolchain`)},
	{Needs, regexp.MustCompile(`the toolchain lacks (library|program) |Debian has no C\+\+ compiler for musl|the build runs git, but can't see \.git`), itself},
	{Needs, regexp.MustCompile(`[Uu]nable to find libclang|fatal error: \S+\.h: No such file|find system library|cannot find -l|[Pp]kg-config (command|exited|has not been)|is .\S+. (not )?installed\?`), never},
	{Version, regexp.MustCompile(`would fail the smoke test of the image`), regexp.MustCompile(`smoke`)},
	{Source, regexp.MustCompile(`^error\[E\d{4}\]`), never},
}

// Classify judges a message with which Gantry failed.
func Classify(message string) Finding {
	lines := strings.Split(message, "\n")
	for _, r := range rules {
		for _, line := range lines {
			if line = strings.TrimSpace(line); r.message.MatchString(line) {
				return Finding{Class: r.class, Reason: shorten(line), Hinted: r.hint.MatchString(message)}
			}
		}
	}
	return Finding{Class: Gantry, Reason: shorten(strings.TrimSpace(lines[0]))}
}

// shorten cuts a line that is too long to be read.
func shorten(line string) string {
	const most = 400
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + " …"
	}
	return line
}

var (
	colors = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")
	trace  = regexp.MustCompile(` \[traceparent:[^\]]*\]`)
)

// errorOf returns the error at the end of what dagger printed, or the end of it if there
// is none.
func errorOf(log string) string {
	log = trace.ReplaceAllString(colors.ReplaceAllString(log, ""), "")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		if message, ok := strings.CutPrefix(lines[i], "Error: "); ok {
			return strings.Join(append([]string{message}, lines[i+1:]...), "\n")
		}
	}
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

var (
	lacksLibrary = regexp.MustCompile(`error while loading shared libraries: ([^\s:]+): cannot open`)
	cannotLoad   = regexp.MustCompile(`error while loading shared libraries|Exec format error|cannot execute|no such file or directory|Illegal instruction|Segmentation fault`)
)

// ClassifyAnswers judges what the programs of a target printed for --version, and to
// standard error. Log is what Gantry printed, which must have warned of a library that the
// system lacks. One that starts and prints the version is enough: some crates have
// small programs besides, which make man pages or the like. It returns nil if all is well.
func ClassifyAnswers(version string, said, complaints map[string]string, log string) *Finding {
	answered := false
	for _, name := range sorted(said) {
		reason := shorten(name + " does not start: " + firstLine(complaints[name]))
		if found := lacksLibrary.FindStringSubmatch(complaints[name]); found != nil {
			warned := regexp.MustCompile(`needs (\S+ and )*` + regexp.QuoteMeta(found[1]) + `( and \S+)*, which not every system has`)
			return &Finding{Class: Needs, Reason: reason, Hinted: warned.MatchString(log)}
		}
		if cannotLoad.MatchString(complaints[name]) {
			return &Finding{Class: Gantry, Reason: reason}
		}
		answered = answered || strings.Contains(said[name], version)
	}
	if answered {
		return nil
	}
	if len(said) == 0 {
		return &Finding{Class: Gantry, Reason: "the archive has no program"}
	}
	name := sorted(said)[0]
	printed := firstLine(said[name])
	if printed == "" {
		printed = firstLine(complaints[name])
	}
	return &Finding{Class: Version, Reason: shorten(name + " --version prints: " + printed)}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

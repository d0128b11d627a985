package version

import (
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// NamesVersion reports whether the output of a program has a version as a whole word:
// "app 1.2.3", "app/1.2.3", "v1.2.3," and "1.2.3+5f0c1d2" name 1.2.3; "11.2.3",
// "1.2.30", "1.2.3.4" and "1.2.3-rc.1" don't.
//
// The core of a prerelease counts too: with prerelease = "core", Cargo.toml has the
// final version already, and the program of 1.2.0-rc.1 prints 1.2.0.
func NamesVersion(output string, v *semver.Version) bool {
	if v.Prerelease() != "" && hasWord(output, Core(v)) {
		return true
	}
	core, _, _ := strings.Cut(v.String(), "+")
	return hasWord(output, core)
}

var anyVersion = regexp.MustCompile(`[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]*[0-9A-Za-z])?`)

// NamesAnyVersion reports whether the output of a program has some version as a whole
// word: "app 1.2.3" and "v2.0.0-rc.1" do, "127.0.0.1", "1.2" and "hello" don't.
func NamesAnyVersion(output string) bool {
	for _, at := range anyVersion.FindAllStringIndex(output, -1) {
		if startsWord(output[:at[0]]) && endsWord(output[at[1]:]) {
			return true
		}
	}
	return false
}

// hasWord reports whether text has a version that is not part of another one.
func hasWord(text, version string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], version)
		if i < 0 {
			return false
		}
		start := from + i
		if startsWord(text[:start]) && endsWord(text[start+len(version):]) {
			return true
		}
		from = start + 1
	}
}

// startsWord reports whether a version may start after this text.
func startsWord(before string) bool {
	if n := len(before); n > 0 && (before[n-1] == 'v' || before[n-1] == 'V') {
		before = before[:n-1]
	}
	n := len(before)
	switch {
	case n == 0:
		return true
	case before[n-1] == '-' || before[n-1] == '_':
		// app-1.2.3, but not the prerelease part of 1.0.0-1.2.3
		return n == 1 || !isDigit(before[n-2])
	}
	return !isAlphanumeric(before[n-1]) && before[n-1] != '.' && before[n-1] != '+'
}

// endsWord reports whether a version may end before this text. Build metadata may
// follow.
func endsWord(after string) bool {
	switch {
	case after == "":
		return true
	case after[0] == '.' || after[0] == '-': // the end of a sentence, or a dash
		return len(after) == 1 || !isAlphanumeric(after[1])
	}
	return !isAlphanumeric(after[0]) && after[0] != '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isAlphanumeric(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

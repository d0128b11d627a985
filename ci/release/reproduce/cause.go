package reproduce

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cause is a likely reason why two builds differ.
type Cause string

// The causes.
const (
	Path    Cause = "path"
	Clock   Cause = "clock"
	Word    Cause = "environment"
	Order   Cause = "order"
	Random  Cause = "random"
	Follows Cause = "follows"
	Unknown Cause = "unknown"
)

// guess is a cause with what was recognized, and a fix.
type guess struct {
	cause     Cause
	what, fix string
}

// side is a region of one of two byte strings.
type side struct {
	data     []byte
	from, to int
	text     text
}

// maxText bounds the text of a region.
const maxText = 4096

func sideOf(data []byte, from, to int) side {
	return side{data, from, to, around(data, from, min(to, from+maxText), 160)}
}

// bytes are those of the region.
func (s side) bytes() []byte { return s.data[s.from:s.to] }

// guessCause looks at a region on both sides.
func (c Conditions) guessCause(a, b side) guess {
	for _, look := range []func(a, b side) (guess, bool){c.path, longOrder, c.date, c.seconds, c.word, order, random} {
		if g, ok := look(a, b); ok {
			return g
		}
	}
	return guess{cause: Unknown}
}

// touches reports whether text[at:at+n] overlaps the region, or is next to it.
func (t text) touches(at, n int) bool { return at <= t.to && at+n >= t.from }

// has reports whether a value is in the text, at the region.
func (t text) has(value string) bool {
	for at := 0; ; {
		i := strings.Index(t.value[at:], value)
		if i < 0 {
			return false
		}
		if t.touches(at+i, len(value)) {
			return true
		}
		at += i + 1
	}
}

var sourceOfC = regexp.MustCompile(`\.(c|cc|cpp|cxx|h|hh|hpp|S)\b`)

// path recognizes a directory of the builds.
func (c Conditions) path(a, b side) (guess, bool) {
	for _, f := range c.Facts {
		if !f.path() || !a.text.has(f.First) || !b.text.has(f.Second) {
			continue
		}
		g := guess{Path, fmt.Sprintf("the path of the %s", f.Name), "don't put env!(\"CARGO_MANIFEST_DIR\"), env!(\"OUT_DIR\") or another path of the build into the program: include the content of the file instead"}
		if strings.Contains(f.Name, "home") || strings.HasPrefix(f.Name, "Cargo") {
			g.what = "the path of " + f.Name
		}
		if sourceOfC.MatchString(b.text.value) {
			g.what += ", in C or C++ code (__FILE__ or assert)"
			g.fix = "compile it with the flags in CFLAGS and CXXFLAGS, as the cc crate does: they map the path"
		}
		return g, true
	}
	return guess{}, false
}

const months = `(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)`

// dateFormats are the ways to write a time, those of C first.
var dateFormats = []struct {
	what    string
	pattern *regexp.Regexp
	inC     bool
}{
	{"C's __DATE__", regexp.MustCompile(months + ` [ 0-3]\d [12]\d{3}`), true},
	{"a date and time", regexp.MustCompile(`[12]\d{3}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?`), false},
	{"a date and time", regexp.MustCompile(months + ` [ 0-3]\d \d\d:\d\d:\d\d`), false},
	{"a date and time", regexp.MustCompile(`[0-3]\d ` + months + ` [12]\d{3}( \d\d:\d\d:\d\d)?`), false},
	{"a date", regexp.MustCompile(`[12]\d{3}[-/.][01]\d[-/.][0-3]\d`), false},
	{"C's __TIME__, or another time of day", regexp.MustCompile(`[0-2]\d:[0-5]\d:[0-5]\d`), true},
	{"a date", regexp.MustCompile(`\b20\d\d[01]\d[0-3]\d\b`), false},
}

const (
	fixC    = "set SOURCE_DATE_EPOCH for the compiler (Gantry does, so something removes it), or define __DATE__ and __TIME__ away: -Wdate-time finds them"
	fixTime = "take the time from the variable SOURCE_DATE_EPOCH, or leave it out"
)

// date recognizes a written time that differs.
func (c Conditions) date(a, b side) (guess, bool) {
	for _, f := range dateFormats {
		first, second := matches(f.pattern, a.text), matches(f.pattern, b.text)
		if len(first) == 0 || len(second) == 0 || slices.Equal(first, second) {
			continue
		}
		fix := fixTime
		if f.inC {
			fix = fixC
		}
		return guess{Clock, fmt.Sprintf("the time of the build: %s (%s, %s)", f.what, first[0], second[0]), fix}, true
	}
	return guess{}, false
}

// matches returns what a pattern finds at the region.
func matches(pattern *regexp.Regexp, t text) []string {
	var found []string
	for _, m := range pattern.FindAllStringIndex(t.value, -1) {
		if t.touches(m[0], m[1]-m[0]) {
			found = append(found, t.value[m[0]:m[1]])
		}
	}
	return found
}

var digits = regexp.MustCompile(`\d{10,19}`)

// units of a number of seconds since 1970.
var units = []int64{1, 1e3, 1e6, 1e9}

// during reports whether a number is a time while build i ran.
func (c Conditions) during(i int, n uint64) bool {
	for _, unit := range units {
		if s := int64(n / uint64(unit)); s >= c.Start[i]-5 && s <= c.End[i]+5 {
			return true
		}
	}
	return false
}

// seconds recognizes a time as a number, in text or in memory.
func (c Conditions) seconds(a, b side) (guess, bool) {
	found := guess{Clock, "the time of the build: seconds since 1970", fixTime}
	inText := func(i int, s side) bool {
		return slices.ContainsFunc(matches(digits, s.text), func(m string) bool {
			n, err := strconv.ParseUint(m, 10, 64)
			return err == nil && c.during(i, n)
		})
	}
	if inText(0, a) && inText(1, b) {
		return found, true
	}
	inMemory := func(i int, s side, read func([]byte) uint64, size int) bool {
		for at := max(0, s.from-size+1); at < s.to && at+size <= len(s.data); at++ {
			if c.during(i, read(s.data[at:])) {
				return true
			}
		}
		return false
	}
	four := func(data []byte) uint64 { return uint64(binary.LittleEndian.Uint32(data)) }
	if a.to-a.from <= 64 && b.to-b.from <= 64 &&
		(inMemory(0, a, binary.LittleEndian.Uint64, 8) && inMemory(1, b, binary.LittleEndian.Uint64, 8) ||
			inMemory(0, a, four, 4) && inMemory(1, b, four, 4)) {
		return found, true
	}
	return guess{}, false
}

var number = regexp.MustCompile(`\b\d+\b`)

// word recognizes another fact of the builds. A number must be all of a word.
func (c Conditions) word(a, b side) (guess, bool) {
	for _, f := range c.Facts {
		if !f.varied() || f.path() {
			continue
		}
		found := a.text.has(f.First) && b.text.has(f.Second)
		if number.FindString(f.First) == f.First {
			found = slices.Contains(matches(number, a.text), f.First) && slices.Contains(matches(number, b.text), f.Second)
		}
		if found {
			return guess{Word, fmt.Sprintf("the %s (%s, %s)", f.Name, f.First, f.Second), "don't put what the build's environment has into the program"}, true
		}
	}
	return guess{}, false
}

// longOrder is order for regions that are too long to be so by chance.
func longOrder(a, b side) (guess, bool) {
	if a.to-a.from < 32 {
		return guess{}, false
	}
	return order(a, b)
}

func order(a, b side) (guess, bool) {
	if a.to-a.from < 8 || !permuted(a.bytes(), b.bytes()) {
		return guess{}, false
	}
	return inOrder(), true
}

func inOrder() guess {
	return guess{Order, "the same bytes in another order, as of a HashMap, of files in a directory or of threads", "sort before writing, or use a BTreeMap"}
}

var (
	uuid        = regexp.MustCompile(`[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	hexadecimal = regexp.MustCompile(`[0-9a-fA-F]{16,}`)
)

// random recognizes random values.
func random(a, b side) (guess, bool) {
	for _, f := range []struct {
		what    string
		pattern *regexp.Regexp
	}{{"a UUID", uuid}, {"a random number, or a hash of something that differs", hexadecimal}} {
		if first, second := matches(f.pattern, a.text), matches(f.pattern, b.text); len(first) > 0 && len(second) > 0 {
			return guess{Random, fmt.Sprintf("%s (%s, %s)", f.what, first[0], second[0]), "derive it from the content or from the version"}, true
		}
	}
	return guess{}, false
}

// datesInC returns the ways in which C writes the commit's date.
func (c Conditions) datesInC() []string {
	if c.Epoch == 0 {
		return nil
	}
	t := time.Unix(c.Epoch, 0).UTC()
	return []string{t.Format("Jan _2 2006")}
}

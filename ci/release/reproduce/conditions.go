// Package reproduce compares the results of two builds of one commit, and finds out why
// they differ.
//
// It is pure. It keeps two invariants: files with the same bytes are the same, whatever
// is in them, and every difference is reported, with "unknown" if no cause fits. A cause
// is a guess from the bytes on both sides and from what differed between the builds.
package reproduce

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fact is something that a build sees, such as its user.
type Fact struct{ Name, First, Second string }

// varied reports whether it differed between the builds.
func (f Fact) varied() bool { return f.First != f.Second }

// path reports whether it is the place of a directory.
func (f Fact) path() bool {
	return f.varied() && strings.HasPrefix(f.First, "/") && strings.HasPrefix(f.Second, "/")
}

// Conditions are what two builds saw.
type Conditions struct {
	Facts []Fact
	// Start and End are what the clocks of both showed, in seconds.
	Start, End [2]int64
	// Epoch is SOURCE_DATE_EPOCH, which was the same, or 0.
	Epoch int64
}

// ReadConditions reads what conditions.sh recorded about two builds.
func ReadConditions(first, second string, epoch int64) (Conditions, error) {
	c := Conditions{Epoch: epoch}
	names, values := facts(first)
	_, others := facts(second)
	for _, name := range names {
		c.Facts = append(c.Facts, Fact{name, values[name], others[name]})
	}
	for i, of := range []map[string]string{values, others} {
		for name, to := range map[string]*int64{"start": &c.Start[i], "end": &c.End[i]} {
			n, err := strconv.ParseInt(of[name], 10, 64)
			if err != nil {
				return c, fmt.Errorf("build %d recorded no %s: %q", i+1, name, of[name])
			}
			*to = n
		}
	}
	c.Facts = slices.DeleteFunc(c.Facts, func(f Fact) bool { return f.Name == "start" || f.Name == "end" })
	return c, nil
}

// facts reads lines of a name, a tab and a value.
func facts(lines string) (names []string, values map[string]string) {
	values = map[string]string{}
	for line := range strings.Lines(lines) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			names = append(names, name)
			values[name] = value
		}
	}
	return names, values
}

// day is how far the clocks of two builds must be apart for dates to differ.
const day = 24 * 60 * 60

// ClockVaried reports whether dates differed, and not only times.
func (c Conditions) ClockVaried() bool { return c.Start[1]-c.Start[0] > day }

// String lists what differed between the builds and what didn't.
func (c Conditions) String() string {
	var b strings.Builder
	var same []string
	rows := [][3]string{{"varied", "first build", "second build"}}
	for _, f := range c.Facts {
		if f.varied() {
			rows = append(rows, [3]string{f.Name, f.First, f.Second})
		} else {
			same = append(same, f.Name+" ("+f.First+")")
		}
	}
	rows = append(rows, [3]string{"clock", clock(c.Start[0]), clock(c.Start[1])}, [3]string{"cache", "empty", "empty"})
	if !c.ClockVaried() {
		same = append(same, "date")
	}
	var width [2]int
	for _, r := range rows {
		width[0], width[1] = max(width[0], len(r[0])), max(width[1], len(r[1]))
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s  %-*s  %s\n", width[0], r[0], width[1], r[1], r[2])
	}
	if len(same) > 0 {
		fmt.Fprintf(&b, "  not varied: %s\n", strings.Join(same, ", "))
	}
	return b.String()
}

func clock(seconds int64) string {
	return time.Unix(seconds, 0).UTC().Format("2006-01-02 15:04:05 UTC")
}

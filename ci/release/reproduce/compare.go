package reproduce

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Finding is a difference between two files, or several with one cause in one section.
type Finding struct {
	// Section of the executable; empty for another file.
	Section string
	// Offset of the first difference in the first file, and its line in a text, or 0.
	Offset, Line int
	// Symbol that the place belongs to, if it is known.
	Symbol string
	// First and Second are excerpts.
	First, Second string
	Cause         Cause
	// What was recognized, and a fix; they may be empty.
	What, Fix string
	// More differences have the same cause.
	More int
}

// Compare returns the differences between two files. It returns none only if they are
// the same.
func (c Conditions) Compare(first, second []byte) []Finding {
	if bytes.Equal(first, second) {
		return nil
	}
	a, b := sections(first), sections(second)
	symbols := symbolsOf(first)
	var found []Finding
	for _, p := range pairs(a, b) {
		if !bytes.Equal(p[0].data, p[1].data) {
			found = append(found, c.section(p[0], p[1], symbols)...)
		}
	}
	if len(found) == 0 {
		// What differs is in no section, such as headers.
		found = c.section(section{kind: derived, data: first}, section{data: second}, symbols)
	}
	return consequences(found)
}

// pairs returns the sections with one name; one that only one file has gets an empty one.
func pairs(a, b []section) [][2]section {
	var all [][2]section
	left := slices.Clone(b)
	for _, p := range a {
		i := slices.IndexFunc(left, func(q section) bool { return q.name == p.name })
		if i < 0 {
			all = append(all, [2]section{p, {name: p.name, kind: p.kind}})
			continue
		}
		all = append(all, [2]section{p, left[i]})
		left = slices.Delete(left, i, i+1)
	}
	for _, q := range left {
		all = append(all, [2]section{{name: q.name, kind: q.kind, offset: q.offset}, q})
	}
	return all
}

// section compares two sections that differ.
func (c Conditions) section(a, b section, symbols symbols) []Finding {
	var all []Finding
	var differing [][2][]byte
	for _, r := range clusters(regions(a.data, b.data)) {
		one, two := sideOf(a.data, r.a0, r.a1), sideOf(b.data, r.b0, r.b1)
		g := c.guessCause(one, two)
		if a.kind == derived && g.cause != Path && g.cause != Clock {
			g = guess{cause: Unknown}
		}
		f := Finding{Section: a.name, Offset: a.offset + r.a0, First: excerpt(one), Second: excerpt(two), Cause: g.cause, What: g.what, Fix: g.fix}
		switch {
		case a.kind == identifier:
			f.Cause, f.What, f.Fix = Follows, "an identifier that the linker makes from the content", ""
		case a.name == "" && allPrintable(a.data):
			f.Line = 1 + bytes.Count(a.data[:r.a0], []byte("\n"))
		}
		if a.address != 0 {
			f.Symbol = symbols.at(a.address + uint64(r.a0))
		}
		all, differing = append(all, f), append(differing, [2][]byte{one.bytes(), two.bytes()})
	}
	if a.kind == content {
		findMoved(all, differing)
	}
	var found []Finding
	for _, f := range all {
		found = add(found, f, a.kind)
	}
	return found
}

// findMoved changes the cause of findings that are the same bytes in another order only
// together: what moved over a long distance, or a list in which two neighbours stayed where
// they were. A part of a list can have a word of the builds by chance.
func findMoved(all []Finding, differing [][2][]byte) {
	for _, causes := range [][]Cause{{Unknown}, {Unknown, Word}} {
		var one, two []byte
		for i, f := range all {
			if slices.Contains(causes, f.Cause) {
				one, two = append(one, differing[i][0]...), append(two, differing[i][1]...)
			}
		}
		if len(one) < 16 || !permuted(one, two) {
			continue
		}
		g := inOrder()
		for i, f := range all {
			if slices.Contains(causes, f.Cause) {
				all[i].Cause, all[i].What, all[i].Fix = g.cause, g.what, g.fix
			}
		}
		return
	}
}

// add adds a finding, or counts it with an earlier one.
func add(found []Finding, f Finding, k kind) []Finding {
	i := slices.IndexFunc(found, func(other Finding) bool {
		return other.Cause == f.Cause && (other.What == f.What || k == derived) && other.Symbol == f.Symbol
	})
	if i >= 0 || len(found) >= maxFindings {
		found[max(i, 0)].More++
		return found
	}
	return append(found, f)
}

// maxFindings bounds those of one section.
const maxFindings = 8

// consequences tells causes from consequences, and sorts them: once a cause is known,
// addresses and other short differences follow from it.
func consequences(found []Finding) []Finding {
	known := slices.ContainsFunc(found, func(f Finding) bool { return f.Cause != Unknown && f.Cause != Follows })
	for i, f := range found {
		if f.Cause == Unknown && known && (kindOf(f.Section) == derived || isCode(f) || len(strings.Trim(f.First+f.Second, ".")) < 8) {
			found[i].Cause, found[i].What = Follows, "code and addresses, which follow from the rest"
		}
	}
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.Cause != Follows }) {
		found[0].Cause, found[0].What = Unknown, ""
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return rank(a) - rank(b) })
	return found
}

func isCode(f Finding) bool {
	return strings.Contains(f.Section, "text") || f.Section == "" && f.Line == 0
}

// rank sorts causes first, then what is unknown, then consequences.
func rank(f Finding) int {
	switch f.Cause {
	case Unknown:
		return 1
	case Follows:
		return 2
	}
	return 0
}

// excerpt shows a region with a little of the text around it.
func excerpt(s side) string {
	const most, margin = 100, 24
	if len(s.text.value) < 4 || strings.Count(s.text.value, ".") > len(s.text.value)/2 {
		data := s.bytes()
		return fmt.Sprintf("hex %x%s", data[:min(len(data), 24)], map[bool]string{true: "…"}[len(data) > 24])
	}
	from, to := max(0, s.text.from-margin), min(len(s.text.value), s.text.to+margin)
	end := min(to, from+most)
	out := s.text.value[from:end]
	if from > 0 {
		out = "…" + out
	}
	if end < len(s.text.value) {
		out += "…"
	}
	return fmt.Sprintf("%q", out)
}

// Notes returns what is the same only because the commit's date was: a compiler that
// doesn't know SOURCE_DATE_EPOCH writes the time of the build instead.
func (c Conditions) Notes(file []byte) []string {
	var notes []string
	for _, date := range c.datesInC() {
		for _, s := range sections(file) {
			if i := bytes.Index(s.data, []byte(date)); i >= 0 && s.kind == content {
				at := "section " + s.name
				if object := symbolsOf(file).at(s.address + uint64(i)); object != "" && s.address != 0 {
					at += ", " + object
				}
				notes = append(notes, fmt.Sprintf("%s has the commit's date as C's __DATE__ writes it (%q): a compiler that doesn't know SOURCE_DATE_EPOCH writes the time of the build instead", at, date))
			}
		}
	}
	return notes
}

package reproduce

import "bytes"

// region is a place where two byte strings differ: first[a0:a1] and second[b0:b1].
type region struct{ a0, a1, b0, b1 int }

// Bounds of a comparison: two files that have nothing in common take no longer than
// others.
const (
	maxRegions = 4000
	window     = 4096
	anchor     = 12
	// near is how far apart the regions of one cluster are.
	near = 48
)

// regions returns where two byte strings differ. It looks for the next place where they
// agree within a window; where there is none, what follows is one region.
func regions(a, b []byte) []region {
	var found []region
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		if n := common(a[i:], b[j:]); n > 0 {
			i, j = i+n, j+n
			continue
		}
		di, dj, ok := meet(a[i:], b[j:])
		if !ok || len(found) == maxRegions {
			break
		}
		found = append(found, region{i, i + di, j, j + dj})
		i, j = i+di, j+dj
	}
	if i < len(a) || j < len(b) {
		end := commonEnd(a[i:], b[j:])
		found = append(found, region{i, len(a) - end, j, len(b) - end})
	}
	return found
}

// common returns the length of what two byte strings both begin with.
func common(a, b []byte) int {
	n, most := 0, min(len(a), len(b))
	for most-n >= 64 && bytes.Equal(a[n:n+64], b[n:n+64]) {
		n += 64
	}
	for n < most && a[n] == b[n] {
		n++
	}
	return n
}

// commonEnd returns the length of what both end with.
func commonEnd(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// meet returns the nearest place where two byte strings agree again.
func meet(a, b []byte) (di, dj int, ok bool) {
	// Most differences keep the length.
	for k := 1; k <= 64 && k+anchor <= min(len(a), len(b)); k++ {
		if bytes.Equal(a[k:k+anchor], b[k:k+anchor]) {
			return k, k, true
		}
	}
	at := map[string]int{}
	for k := min(window, len(a)-anchor); k >= 0; k-- {
		at[string(a[k:k+anchor])] = k
	}
	best := 2*window + 1
	for k := 0; k <= min(window, len(b)-anchor) && k < best; k++ {
		if i, there := at[string(b[k:k+anchor])]; there && i+k < best {
			best, di, dj = i+k, i, k
		}
	}
	if best <= 2*window {
		return di, dj, true
	}
	if len(a) == len(b) && len(a) > window {
		return window, window, true
	}
	return 0, 0, false
}

// clusters joins regions that are near each other.
func clusters(all []region) []region {
	var joined []region
	for _, r := range all {
		if n := len(joined); n > 0 && r.a0-joined[n-1].a1 <= near && r.b0-joined[n-1].b1 <= near {
			joined[n-1].a1, joined[n-1].b1 = r.a1, r.b1
			continue
		}
		joined = append(joined, r)
	}
	return joined
}

// text is printable text around a region.
type text struct {
	// value has the region at from:to.
	value    string
	from, to int
}

// around returns the printable text that data[from:to] is in, with at most margin bytes on
// each side. What isn't printable becomes a dot.
func around(data []byte, from, to, margin int) text {
	start, end := from, to
	for start > 0 && from-start < margin && printable(data[start-1]) {
		start--
	}
	for end < len(data) && end-to < margin && printable(data[end]) {
		end++
	}
	clean := bytes.Map(func(r rune) rune {
		if r < 128 && printable(byte(r)) {
			return r
		}
		return '.'
	}, latin(data[start:end]))
	return text{string(clean), from - start, to - start}
}

// latin returns bytes so that each is one rune of one byte.
func latin(data []byte) []byte {
	out := bytes.Clone(data)
	for i, c := range out {
		if c >= 128 {
			out[i] = 0
		}
	}
	return out
}

func printable(c byte) bool { return c >= ' ' && c <= '~' || c == '\t' }

// allPrintable reports whether data is text.
func allPrintable(data []byte) bool {
	for _, c := range data {
		if !printable(c) && c != '\n' && c != '\r' && c != 0 {
			return false
		}
	}
	return true
}

// permuted reports whether the same bytes are in both, in another order.
func permuted(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	var count [256]int
	kinds := 0
	for i := range a {
		if count[a[i]] == 0 {
			kinds++
		}
		count[a[i]]++
		count[b[i]]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return kinds > 0
}

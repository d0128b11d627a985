// Package nearest proposes corrections of misspelled names. It is pure.
package nearest

import (
	"fmt"

	"github.com/adrg/strutil/metrics"
)

// edits counts insertions and deletions: a missing word, as in "x86_64-linux-gnu",
// is nearer than a replaced one.
var edits = metrics.Levenshtein{CaseSensitive: true, InsertCost: 1, DeleteCost: 1, ReplaceCost: 2}

// Of returns the candidate with the fewest edits from s, the first among equals, or
// "" if no candidate is similar enough.
func Of(s string, candidates []string) string {
	best, least := "", len(s)*2/3+2
	for _, c := range candidates {
		if d := edits.Distance(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// Hint returns "; did you mean …?" with the nearest candidate, or "".
func Hint(s string, candidates []string) string {
	if n := Of(s, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

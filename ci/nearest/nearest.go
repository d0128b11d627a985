// Package nearest finds what somebody probably meant. It is pure.
package nearest

import (
	"fmt"

	"github.com/adrg/strutil/metrics"
)

// edits counts insertions and deletions alone: a word that was left out, as in
// "x86_64-linux-gnu", is nearer than one that was replaced.
var edits = metrics.Levenshtein{CaseSensitive: true, InsertCost: 1, DeleteCost: 1, ReplaceCost: 2}

// Of returns the candidate with the fewest edits from s, the first among
// equals; it is empty when there is no candidate or when none shares enough
// with s to be a plausible slip.
func Of(s string, candidates []string) string {
	best, least := "", len(s)*2/3+2
	for _, c := range candidates {
		if d := edits.Distance(s, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// Hint is "; did you mean …?" with the nearest candidate, or empty.
func Hint(s string, candidates []string) string {
	if n := Of(s, candidates); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

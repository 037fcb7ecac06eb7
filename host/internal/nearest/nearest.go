// Package nearest finds the name that somebody probably meant.
package nearest

import (
	"slices"
	"strings"
)

// maxEdits is how far a name may be from the one that was meant. Beyond two
// edits, suggestions are noise.
const maxEdits = 2

// Name returns the candidate that given is most likely a misspelling of, as
// the candidate is spelt. It reports false when none is near: more than two
// edits away (an insertion, a removal, a replacement or a swap of neighbours
// is one edit), or so short that the edits would change more than half of it.
//
// A candidate that differs only in case wins over all others; among equally
// near ones the alphabetically first wins, whatever the order of candidates.
func Name(given string, candidates []string) (string, bool) {
	if slices.Contains(candidates, given) {
		return given, true
	}
	best, bestEdits := "", maxEdits+1
	for _, candidate := range slices.Sorted(slices.Values(candidates)) {
		if strings.EqualFold(candidate, given) {
			return candidate, true
		}
		a, b := []rune(strings.ToLower(given)), []rune(strings.ToLower(candidate))
		longer := max(len(a), len(b))
		if max(longer-len(a), longer-len(b)) > maxEdits {
			continue
		}
		if n := edits(a, b); n < bestEdits && 2*n <= longer {
			best, bestEdits = candidate, n
		}
	}
	return best, bestEdits <= maxEdits
}

// edits is the optimal string alignment distance of a and b.
func edits(a, b []rune) int {
	// Three rows of the usual table: a swap looks two rows back.
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

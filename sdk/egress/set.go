package egress

import "slices"

// ordered is what a set is made of: addresses and ports.
type ordered[T any] interface{ Compare(other T) int }

// span is all from first to last, both of them included.
type span[T ordered[T]] struct{ first, last T }

// set is spans in order, none of which overlap. It is asked by bisection: ten
// thousand ranges cost fourteen comparisons.
type set[T ordered[T]] []span[T]

// newSet sorts spans, and joins those that overlap.
func newSet[T ordered[T]](spans []span[T]) set[T] {
	slices.SortFunc(spans, func(a, b span[T]) int { return a.first.Compare(b.first) })
	var joined set[T]
	for _, s := range spans {
		if n := len(joined); n > 0 && s.first.Compare(joined[n-1].last) <= 0 {
			if s.last.Compare(joined[n-1].last) > 0 {
				joined[n-1].last = s.last
			}
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// has reports whether v lies in one of the spans.
func (s set[T]) has(v T) bool {
	low, high := 0, len(s)
	for low < high { // to the first span that does not end before v
		if middle := (low + high) / 2; s[middle].last.Compare(v) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low < len(s) && s[low].first.Compare(v) <= 0
}

// port is a port in a set.
type port uint16

// Compare is what a set asks for.
func (p port) Compare(other port) int { return int(p) - int(other) }

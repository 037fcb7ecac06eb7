package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// check walks the list and compares it with the map and the sum.
func (s *sieve[V]) check(tb testing.TB) {
	tb.Helper()
	var size int64
	count, hand := 0, s.hand == nil
	for e := s.tail; e != nil; e = e.newer {
		size += e.size
		count++
		hand = hand || e == s.hand
		if e.newer != nil && e.newer.older != e || e.newer == nil && s.head != e {
			tb.Fatalf("the list is broken at %s", e.key)
		}
	}
	listed := 0
	for _, same := range s.keys {
		listed += len(same)
	}
	if size != s.size || size > s.limit || count != listed || !hand {
		tb.Fatalf("%d elements of %d bytes, listed %d of %d, limit %d, the hand is in the list: %v", count, size, listed, s.size, s.limit, hand)
	}
}

func TestASieveHoldsItsBoundWhateverIsDoneToIt(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := newSieve[int](1000)
	for i := range 50_000 {
		key, variant := fmt.Sprint(r.IntN(40)), fmt.Sprint(r.IntN(3))
		switch r.IntN(5) {
		case 0:
			s.remove(key, variant)
		case 1, 2:
			for _, e := range s.keys[key] {
				e.used = true
			}
		default:
			s.put(key, variant, i, r.Int64N(1100)/(1+r.Int64N(20)))
		}
		s.check(t)
	}
}

func TestWhatIsUsedStays(t *testing.T) {
	s := newSieve[int](100)
	for i := range 10_000 {
		s.put(fmt.Sprint("once ", i), "", i, 1)
		hot := fmt.Sprint("hot ", i%10)
		if found := s.keys[hot]; len(found) > 0 {
			found[0].used = true
		} else if i > 100 {
			t.Fatalf("%q is gone after %d", hot, i)
		} else {
			s.put(hot, "", i, 1)
		}
	}
}

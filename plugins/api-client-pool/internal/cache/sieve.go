package cache

import "slices"

// sieve decides what goes when there is too much: SIEVE (Zhang et al., NSDI 24).
// New elements enter at the head; a hand walks from the tail and takes the first
// that was not used since it last came by. It is as good as an LRU with aging,
// and a hit writes but one bit. Not safe for concurrent use.
type sieve[V any] struct {
	limit int64 // bytes
	size  int64
	// elements by key; a key has one for each variant.
	keys       map[string][]*element[V]
	head, tail *element[V] // newest and oldest
	hand       *element[V] // next to be judged; nil for the tail
}

type element[V any] struct {
	key, variant string
	value        V
	size         int64
	used         bool
	newer, older *element[V]
}

// maxVariants bounds how long a key's list is: what tells many variants apart is
// no header that answers are shared by.
const maxVariants = 64

func newSieve[V any](limit int64) *sieve[V] {
	return &sieve[V]{limit: limit, keys: map[string][]*element[V]{}}
}

// put inserts or replaces an element and returns those that had to go, perhaps
// the new one itself, if it is larger than all.
func (s *sieve[V]) put(key, variant string, value V, size int64) (gone []*element[V]) {
	s.remove(key, variant)
	e := &element[V]{key: key, variant: variant, value: value, size: size}
	if size > s.limit {
		return []*element[V]{e}
	}
	if same := s.keys[key]; len(same) >= maxVariants {
		gone = append(gone, same[0])
		s.drop(same[0])
	}
	for s.size+size > s.limit {
		victim := s.victim()
		s.drop(victim)
		gone = append(gone, victim)
	}
	s.keys[key] = append(s.keys[key], e)
	s.size += size
	e.older = s.head
	if s.head != nil {
		s.head.newer = e
	}
	s.head = e
	if s.tail == nil {
		s.tail = e
	}
	return gone
}

// victim is whom the hand finds. There is at least one element.
func (s *sieve[V]) victim() *element[V] {
	e := s.hand
	if e == nil {
		e = s.tail
	}
	for e.used {
		e.used = false
		if e = e.newer; e == nil {
			e = s.tail
		}
	}
	s.hand = e
	return e
}

// remove removes one element, if it is there.
func (s *sieve[V]) remove(key, variant string) {
	for _, e := range s.keys[key] {
		if e.variant == variant {
			s.drop(e)
			return
		}
	}
}

func (s *sieve[V]) drop(e *element[V]) {
	if s.hand == e {
		s.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.head = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.tail = e.newer
	}
	e.newer, e.older = nil, nil
	s.size -= e.size
	same := s.keys[e.key]
	same = slices.DeleteFunc(same, func(other *element[V]) bool { return other == e })
	if len(same) == 0 {
		delete(s.keys, e.key)
	} else {
		s.keys[e.key] = same
	}
}

package resolver

import (
	"sync"
	"time"
)

// shard is a part of the cache.
type shard struct {
	mu sync.Mutex

	nodes map[uint64]*node // by hash; of two keys with one hash the later stays
	small queue            // a tenth of the bytes
	main  queue
	limit int // bytes of both
	ghost ghost

	hits, stale, prefetched, evicted uint64
	_                                [64]byte // no two locks in one cache line
}

// node is the place of a key in a queue.
type node struct {
	key    string
	entry  *entry
	next   *node
	hash   uint64
	size   int
	uses   uint32        // since the entry is there
	freq   uint8         // uses since it was last looked at, at most maxFreq
	inMain bool          // which queue it is in
	asked  bool          // upstream is being asked anew
	retry  time.Duration // upstream is not asked anew before
}

const maxFreq = 3

func newShard(limit int) shard {
	return shard{limit: limit, nodes: map[uint64]*node{}, ghost: newGhost(limit / 512)}
}

func (s *shard) clear() {
	s.nodes, s.small, s.main = map[uint64]*node{}, queue{}, queue{}
	s.ghost = newGhost(len(s.ghost.ring))
}

func (s *shard) put(h uint64, key string, e *entry) {
	size := e.size(key)
	n := s.nodes[h]
	if n == nil {
		if size > s.limit/4 {
			return // it is passed on, and asked for again
		}
		n = &node{hash: h, inMain: s.ghost.has(h)}
		s.nodes[h] = n
		s.queue(n).push(n)
	}
	s.queue(n).bytes += size - n.size
	n.key, n.entry, n.size, n.uses, n.asked, n.retry = key, e, size, 0, false, 0
	for s.small.bytes+s.main.bytes > s.limit {
		s.evict()
	}
}

func (s *shard) queue(n *node) *queue {
	if n.inMain {
		return &s.main
	}
	return &s.small
}

// evict puts out one answer, or moves one to where it stays longer.
func (s *shard) evict() {
	if s.small.bytes > s.limit/10 || s.main.first == nil {
		n := s.small.pop()
		if n.freq > 1 {
			n.freq, n.inMain = 0, true
			s.main.push(n)
			return
		}
		s.ghost.add(n.hash)
		s.drop(n)
		return
	}
	n := s.main.pop()
	if n.freq > 0 {
		n.freq--
		s.main.push(n)
		return
	}
	s.drop(n)
}

func (s *shard) drop(n *node) {
	delete(s.nodes, n.hash)
	s.evicted++
}

// queue is a list of nodes, first in, first out.
type queue struct {
	first, last *node
	bytes       int
}

func (q *queue) push(n *node) {
	n.next = nil
	if q.last == nil {
		q.first = n
	} else {
		q.last.next = n
	}
	q.last = n
	q.bytes += n.size
}

// pop takes out the first node; there must be one.
func (q *queue) pop() *node {
	n := q.first
	if q.first = n.next; q.first == nil {
		q.last = nil
	}
	q.bytes -= n.size
	return n
}

// ghost remembers which keys were put out of the small queue last. Whoever comes
// back soon goes straight to the main one.
type ghost struct {
	ring []uint64
	next int
	set  map[uint64]struct{}
}

func newGhost(size int) ghost {
	return ghost{ring: make([]uint64, size), set: make(map[uint64]struct{}, size)}
}

func (g *ghost) has(h uint64) bool {
	_, found := g.set[h]
	return found
}

func (g *ghost) add(h uint64) {
	delete(g.set, g.ring[g.next])
	g.ring[g.next] = h
	g.set[h] = struct{}{}
	g.next = (g.next + 1) % len(g.ring)
}

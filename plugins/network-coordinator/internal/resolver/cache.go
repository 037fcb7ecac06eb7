package resolver

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// cache keeps answers within a number of bytes. It is in shards, each with a
// lock of its own, so that callers on several cores do not wait for each other.
//
// What is put out is chosen as S3-FIFO does it (Yang et al., SOSP 2023): a new
// answer has to be asked for twice in its time in a small queue to reach the
// main one, so names that are asked for once, however many, put out each other.
type cache struct {
	seed   maphash.Seed
	shards []shard       // their number is a power of two
	age    atomic.Uint64 // how often it has been cleared
}

// found is what the cache has for a question.
type found struct {
	entry   *entry // nil if nothing may be used
	stale   bool
	refresh bool // this caller, and no other, is to ask upstream anew
}

const (
	maxShards = 64
	minShard  = 64 << 10 // bytes; an answer may take a quarter of it

	// retryAfter is how long upstream is left alone about a name that it did
	// not answer while a stale answer is there, RFC 8767 section 5.
	retryAfter = 30 * time.Second
)

func newCache(size int) *cache {
	n := 1
	for n < maxShards && size/(2*n) >= minShard {
		n *= 2
	}
	c := &cache{seed: maphash.MakeSeed(), shards: make([]shard, n)}
	for i := range c.shards {
		c.shards[i] = newShard(size / n)
	}
	return c
}

func (c *cache) shard(key []byte) (*shard, uint64) {
	h := maphash.Bytes(c.seed, key)
	return &c.shards[int(h>>32)&(len(c.shards)-1)], h
}

// get looks for key at now and counts what it finds.
func (c *cache) get(key []byte, now time.Duration) found {
	s, h := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[h]
	if n == nil || string(key) != n.key || now >= n.entry.usable {
		return found{}
	}
	if n.freq < maxFreq {
		n.freq++
	}
	n.uses++
	f := found{entry: n.entry, stale: now >= n.entry.expires}
	wanted := f.stale || n.uses >= 2 && n.entry.err == nil && n.entry.expires-now <= n.entry.ttl/10
	if wanted && !n.asked && now >= n.retry {
		n.asked, f.refresh = true, true
		if !f.stale {
			s.prefetched++
		}
	}
	s.hits++
	if f.stale {
		s.stale++
	}
	return f
}

// peek is get for who has been counted already, or is not to be.
func (c *cache) peek(key []byte, now time.Duration) *entry {
	s, h := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[h]; n != nil && string(key) == n.key && now < n.entry.usable {
		return n.entry
	}
	return nil
}

// put keeps e, in the place of what was there, unless the cache has been cleared
// since it was of this age: then e was made by rules that may hold no more.
func (c *cache) put(key string, e *entry, age uint64) {
	s, h := c.shard([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.age.Load() == age {
		s.put(h, key, e)
	}
}

// failed says that upstream could not be asked about key, of which the cache
// has an answer.
func (c *cache) failed(key string, now time.Duration) {
	s, h := c.shard([]byte(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.nodes[h]; n != nil && n.key == key {
		n.asked, n.retry = false, now+retryAfter
	}
}

// clear forgets everything.
func (c *cache) clear() {
	c.age.Add(1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.clear()
		s.mu.Unlock()
	}
}

package resolver

import "sync/atomic"

// Stats are counts since the resolver was made, but for Entries and Bytes, which
// are now. Questions for addresses count one each: a Lookup of both families is
// two.
type Stats struct {
	Hits       uint64 // answered from the cache, stale ones included
	Misses     uint64
	Stale      uint64 // answered past their TTL
	Prefetched uint64 // asked anew before their TTL ended
	Evicted    uint64 // put out for want of room
	Queries    uint64 // sent upstream, repetitions not counted
	Failures   uint64 // questions that no upstream answered
	Busy       uint64 // not asked because too many were under way
	Answered   uint64 // by the listener
	Refused    uint64 // by the listener, because no rule allows the name
	Entries    int
	Bytes      int
}

// counts are those that are not kept in the cache.
type counts struct {
	misses, queries, failures, busy, answered, refused atomic.Uint64
}

// Stats returns what has been counted so far.
func (r *Resolver) Stats() Stats {
	s := Stats{
		Misses:   r.counts.misses.Load(),
		Queries:  r.counts.queries.Load(),
		Failures: r.counts.failures.Load(),
		Busy:     r.counts.busy.Load(),
		Answered: r.counts.answered.Load(),
		Refused:  r.counts.refused.Load(),
	}
	for i := range r.cache.shards {
		r.cache.shards[i].addTo(&s)
	}
	return s
}

func (s *shard) addTo(sum *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum.Hits += s.hits
	sum.Stale += s.stale
	sum.Prefetched += s.prefetched
	sum.Evicted += s.evicted
	sum.Entries += len(s.nodes)
	sum.Bytes += s.small.bytes + s.main.bytes
}

package gate

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxStates is how many values of a key have a state of their own. Those
	// beyond it share one until there is room, and are held to its limits
	// together.
	maxStates = 262_144

	shardBits  = 5
	shardCount = 1 << shardBits

	fewChains = 8 // of a shard that is nearly empty; a power of two

	// linger is for how long nobody has asked for a state that is dropped: one
	// that is in use is idle most of the time. Where there is no room it need
	// not be idle for any time.
	linger = int64(10 * time.Second)

	// How many chains are looked through for such states with each new one: so
	// many that they stay a small part of all, and more when there is no room.
	sweepStep = 8
	sweepFull = 64
)

// owner is the policy that a table's states belong to.
type owner[S any] interface {
	// start begins the state of a value that had none. False: the value has to
	// go on with the shared state.
	start(value string, state *S, now int64) bool

	// shared is the state of the values for which there is no room.
	shared(value string) *S

	// retire reports whether the state was idle at a moment and has been since:
	// nobody is inside it and to forget it changes nothing. It then keeps
	// everybody from entering it.
	retire(state *S, since int64) bool
}

// table has the states that a policy keeps for the values of a key. Finding one
// takes no lock and allocates nothing. Idle states that nobody asks for are
// dropped as new ones are made.
//
// With all that belongs to it, the state of a value of 23 bytes takes 83 bytes of
// memory in a rate, 115 in a bulkhead and 131 in a breaker: measured by
// BenchmarkBytesPerKey.
//
// A state may be dropped while a call is about to enter it: the call sees that
// when it tries, and asks for the state again.
type table[S any] struct {
	owner  owner[S]
	seed   maphash.Seed
	limit  int64
	size   atomic.Int64
	turn   atomic.Uint32 // counts shards that were swept
	shards [shardCount]shard[S]
}

// shard is a hash table with a chain of entries in each place. Readers follow
// the chains without a lock; they may miss an entry while chains are rebuilt,
// but then they see that this happened, and look again with the lock.
type shard[S any] struct {
	chains atomic.Pointer[chains[S]]
	moves  atomic.Uint32 // odd while chains are rebuilt

	mu    sync.Mutex // guards writing to the above, and
	count int
	hand  int // the chain at which sweeping goes on
	_     [32]byte
}

type chains[S any] struct {
	mask  uint64 // length of first - 1
	first []atomic.Pointer[entry[S]]
}

type entry[S any] struct {
	next  atomic.Pointer[entry[S]]
	value string
	state S
}

func newTable[S any](o owner[S], seed maphash.Seed) *table[S] {
	return &table[S]{owner: o, seed: seed, limit: maxStates}
}

func newChains[S any](n int) *chains[S] {
	return &chains[S]{mask: uint64(n - 1), first: make([]atomic.Pointer[entry[S]], n)} //nolint:gosec // G115: at least fewChains
}

func (c *chains[S]) at(hash uint64) *atomic.Pointer[entry[S]] { return &c.first[hash&c.mask] }

// find returns the state of a value; nil when it has none.
func (t *table[S]) find(k *keyValue) *S {
	s := t.shard(k)
	moves := s.moves.Load()
	if e := s.find(k); e != nil {
		return &e.state
	}
	if moves&1 == 0 && s.moves.Load() == moves {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(k); e != nil {
		return &e.state
	}
	return nil
}

// enter returns the state of a value, and makes one if it has none.
func (t *table[S]) enter(k *keyValue, now int64) *S {
	s := t.shard(k)
	if e := s.find(k); e != nil {
		return &e.state
	}
	if t.size.Load() >= t.limit {
		t.sweep(now, sweepFull)
	}
	state := t.add(s, k, now)
	t.sweep(now-linger, sweepStep)
	return state
}

// settle is for who met a state of k that was dropped: afterwards the table has
// it no more.
func (t *table[S]) settle(k *keyValue) {
	s := t.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock() // who dropped it holds mu until it is out
}

func (t *table[S]) add(s *shard[S], k *keyValue, now int64) *S {
	value := string(k.bytes)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(k); e != nil {
		return &e.state
	}
	if t.size.Add(1) > t.limit {
		t.size.Add(-1)
		return t.owner.shared(value)
	}
	e := &entry[S]{value: value}
	if !t.owner.start(value, &e.state, now) {
		t.size.Add(-1)
		return t.owner.shared(value)
	}
	s.count++
	all := s.chains.Load()
	switch {
	case all == nil:
		all = newChains[S](fewChains)
		s.chains.Store(all)
	case s.count > len(all.first):
		all = s.rebuild(2*len(all.first), t.seed)
	}
	first := all.at(k.hash)
	e.next.Store(first.Load())
	first.Store(e)
	return &e.state
}

// sweep looks through n chains for states that have been idle since a moment.
func (t *table[S]) sweep(since int64, n int) {
	for ; n > 0; n -= sweepStep {
		s := &t.shards[t.turn.Add(1)%shardCount]
		if !s.mu.TryLock() {
			continue // somebody else is at it, or will come
		}
		t.size.Add(-s.sweep(t.owner, t.seed, since))
		s.mu.Unlock()
	}
}

// each calls f with every state, the lock of its shard held.
func (t *table[S]) each(f func(*S)) {
	for i := range t.shards {
		t.shards[i].each(f)
	}
}

func (t *table[S]) shard(k *keyValue) *shard[S] { return &t.shards[k.hash>>(64-shardBits)] }

func (s *shard[S]) find(k *keyValue) *entry[S] {
	all := s.chains.Load()
	if all == nil {
		return nil
	}
	for e := all.at(k.hash).Load(); e != nil; e = e.next.Load() {
		if e.value == string(k.bytes) {
			return e
		}
	}
	return nil
}

// sweep returns how many states it has dropped. mu is held.
func (s *shard[S]) sweep(o owner[S], seed maphash.Seed, since int64) (less int64) {
	all := s.chains.Load()
	if all == nil {
		return 0
	}
	for range sweepStep {
		at := &all.first[s.hand]
		for e := at.Load(); e != nil; e = e.next.Load() {
			if o.retire(&e.state, since) {
				at.Store(e.next.Load())
				less++
				s.count--
			} else {
				at = &e.next
			}
		}
		if s.hand++; s.hand < len(all.first) {
			continue
		}
		s.hand = 0
		if fewer := len(all.first) / 2; fewer >= fewChains && s.count < fewer/4 {
			all = s.rebuild(fewer, seed)
		}
	}
	return less
}

// rebuild deals the entries out to n chains. mu is held.
func (s *shard[S]) rebuild(n int, seed maphash.Seed) *chains[S] {
	old, all := s.chains.Load(), newChains[S](n)
	s.moves.Add(1)
	for i := range old.first {
		for e := old.first[i].Load(); e != nil; {
			next, at := e.next.Load(), all.at(maphash.String(seed, e.value))
			e.next.Store(at.Load())
			at.Store(e)
			e = next
		}
	}
	s.chains.Store(all)
	s.moves.Add(1)
	s.hand = 0
	return all
}

func (s *shard[S]) each(f func(*S)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.chains.Load()
	if all == nil {
		return
	}
	for i := range all.first {
		for e := all.first[i].Load(); e != nil; e = e.next.Load() {
			f(&e.state)
		}
	}
}

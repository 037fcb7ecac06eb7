package gate

import (
	"context"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// keyShards spreads the values of a key over as many tables.
	keyShards = 64
	// maxKeyStates is how many values of a key have a policy of their own, as
	// long as none of them can be forgotten. The ones beyond share one, except
	// those that the operator has named.
	maxKeyStates = 1 << 18
	// firstSweep is how many values a table holds before it looks for some to
	// forget: with 32,768 in all, about 8 MB, nobody has to forget.
	firstSweep = 512
	// fullSweepEvery is how often a table looks for some to forget when there is
	// no room: a flood of new values must not make each of them pay for a look.
	fullSweepEvery = time.Second
)

// keyedPolicy is a policy for one value of a key.
type keyedPolicy interface {
	Policy

	// isIdle reports whether a new policy would do the same from now on. It is
	// false as long as a call that was admitted has something to tell in Done.
	isIdle(now instant) bool
}

// keyed applies to each value of a key a policy of its own. It applies to no
// call whose method does not declare the key; the empty value is one like any
// other.
//
// A policy is forgotten when it is idle, which is looked for whenever a table
// has doubled. A rate takes about 250 bytes for each value; see
// BenchmarkKeyedMemory.
type keyed struct {
	key    string
	create func(value string) keyedPolicy

	reserved func(value string) bool // has its own even if there is no room; nil: none

	seed   maphash.Seed
	shards [keyShards]keyShard
	count  atomic.Int64 // of states in all shards
	shared *keyState    // of the values for which there is no room
}

// keyState is what is known of one value.
type keyState struct {
	policy keyedPolicy

	// forgotten is set before the policy is asked whether it is idle, and read
	// after the policy has admitted a call: either the one sees the call or the
	// other sees that it has to ask again. So the way in writes nothing shared.
	forgotten atomic.Bool
}

// keyShard is a table of states. Known values are found without a lock.
type keyShard struct {
	known atomic.Pointer[map[string]*keyState] // some of all; nobody writes it

	mu      sync.Mutex
	all     map[string]*keyState
	misses  int // of known, since it was made
	sweepAt int // length of all
	swept   instant
}

func newKeyed(key string, create func(value string) keyedPolicy) *keyed {
	k := &keyed{key: key, create: create, seed: maphash.MakeSeed(), shared: &keyState{policy: create("")}}
	for i := range k.shards {
		k.shards[i].all = make(map[string]*keyState)
		k.shards[i].known.Store(new(map[string]*keyState))
		k.shards[i].sweepAt = firstSweep
	}
	return k
}

// Admit asks the policy of the call's value.
func (k *keyed) Admit(ctx context.Context, c *Call) (Ticket, error) {
	value, declared := c.key(k.key)
	if !declared {
		return Ticket{}, nil
	}
	value = shortened(value)
	for {
		state := k.find(value, c.now)
		t, err := state.policy.Admit(ctx, c)
		if err != nil {
			return Ticket{}, err
		}
		t.state = state
		if !state.forgotten.Load() || k.has(value, state) {
			return t, nil
		}
		state.policy.Done(c, t, Neutral)
	}
}

// Done tells the policy that admitted the call.
func (k *keyed) Done(c *Call, t Ticket, o Outcome) {
	if t.state != nil { // else the policy did not apply
		t.state.policy.Done(c, t, o)
	}
}

// find returns the state of a value, and makes it if there is none.
func (k *keyed) find(value []byte, now instant) *keyState {
	shard := k.shard(value)
	if state := (*shard.known.Load())[string(value)]; state != nil && !state.forgotten.Load() {
		return state
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	state := shard.all[string(value)]
	if state == nil {
		if state = k.add(shard, string(value), now); state == nil {
			return k.shared
		}
	}
	if shard.misses++; shard.misses > len(shard.all)/8+1 { // a copy now costs less than what it saves
		shard.publish()
	}
	return state
}

func (k *keyed) shard(value []byte) *keyShard {
	return &k.shards[maphash.Bytes(k.seed, value)%keyShards]
}

// publish makes all states known. The caller holds mu.
func (s *keyShard) publish() {
	known := maps.Clone(s.all)
	s.known.Store(&known)
	s.misses = 0
}

// add makes a state, or returns nil when there is no room.
func (k *keyed) add(shard *keyShard, value string, now instant) *keyState {
	full := k.count.Load() >= maxKeyStates
	if len(shard.all) >= shard.sweepAt || full && now.sub(shard.swept) >= fullSweepEvery {
		k.sweep(shard, now)
	}
	if full && k.count.Load() >= maxKeyStates && (k.reserved == nil || !k.reserved(value)) {
		return nil
	}
	state := &keyState{policy: k.create(value)}
	shard.all[value] = state
	k.count.Add(1)
	return state
}

// sweep forgets what is idle. The caller holds the shard's mu.
func (k *keyed) sweep(shard *keyShard, now instant) {
	gone := 0
	for value, state := range shard.all {
		state.forgotten.Store(true)
		if !state.policy.isIdle(now) {
			state.forgotten.Store(false) // who saw it in between looks again, see has
			continue
		}
		delete(shard.all, value)
		gone++
	}
	k.count.Add(-int64(gone))
	shard.sweepAt, shard.swept = max(firstSweep, 2*len(shard.all)), now
	shard.publish()
}

// has reports whether a state is still the one of a value. It waits for a sweep
// that has not yet made up its mind.
func (k *keyed) has(value []byte, state *keyState) bool {
	shard := k.shard(value)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.all[string(value)] == state
}

// peek returns the policy of a value without making one; nil for none.
func (k *keyed) peek(value []byte) keyedPolicy {
	value = shortened(value)
	shard := k.shard(value)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if state := shard.all[string(value)]; state != nil {
		return state.policy
	}
	return nil
}

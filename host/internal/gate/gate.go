package gate

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Gate is what each call to a subsystem must pass. Made by New; safe for
// concurrent use.
type Gate struct {
	common   *common
	observer Observer
	chain    atomic.Pointer[chain]

	mu sync.Mutex // serializes those who replace chain
}

// Observer is told what a gate does. Its methods must not block and are safe
// for concurrent use.
type Observer interface {
	Rejected(policy string) // a call was turned away
	Retried()               // a call is forwarded once more
}

// nobody is who observes a gate for which there is no observer.
type nobody struct{}

// Rejected does nothing.
func (nobody) Rejected(string) {}

// Retried does nothing.
func (nobody) Retried() {}

// common is what the policies of a gate have in common.
type common struct {
	clock clock
	seed  maphash.Seed
	slots []string // keys in use, "" for none; the index is the slot. Guarded by Gate.mu.

	_      [64]byte     // the above is read by each call
	queued atomic.Int64 // calls that wait for a permit
}

// key returns the key of a name, with a slot of its own.
func (g *common) key(name string) key {
	if name == "" {
		return key{}
	}
	slot := slices.Index(g.slots, name)
	if slot < 0 {
		if slot = slices.Index(g.slots, ""); slot < 0 {
			slot = len(g.slots)
			g.slots = append(g.slots, "")
		}
		g.slots[slot] = name
	}
	return key{name: name, slot: slot, seed: g.seed}
}

// free frees the slots of keys that c does not use. Calls under way have room
// of their own for those of their chain.
func (g *common) free(c Config) {
	for i, name := range g.slots {
		if !c.uses(name) {
			g.slots[i] = ""
		}
	}
	for n := len(g.slots); n > 0 && g.slots[n-1] == ""; n-- {
		g.slots = g.slots[:n-1]
	}
}

// New builds the gate of one subsystem. It keeps c, which nobody may write
// afterwards. The observer may be nil.
func New(c Config, o Observer) *Gate {
	if o == nil {
		o = nobody{}
	}
	g := &Gate{common: &common{clock: newClock(), seed: maphash.MakeSeed()}, observer: o}
	g.Update(c)
	return g
}

// Update puts another config in force for the calls that come from now on, and
// keeps it as New does.
// Policies whose settings are the same keep their tokens, failures and credit;
// calls in flight keep their permits and count against the new limits. Calls
// that are under way, in a queue even, are subject to the policies that they
// met, and report to these.
func (g *Gate) Update(c Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chain.Store(g.common.chain(c, g.chain.Load()))
}

// Policies returns the names under which calls can be rejected by the present
// config, in the order in which calls pass the policies.
func (g *Gate) Policies() []string {
	names := []string{PolicyDeadline}
	for _, s := range g.chain.Load().steps {
		names = append(names, s.name)
	}
	return names
}

// InFlight is how many calls were admitted and have not ended.
func (g *Gate) InFlight() int {
	inFlight, _ := g.chain.Load().bulkhead.total.counts()
	return int(inFlight)
}

// Limit is how many calls may be in flight at this moment; 0 is no limit.
func (g *Gate) Limit() int {
	limit := g.chain.Load().bulkhead.bounds.limit.Load()
	if limit >= unlimited {
		return 0
	}
	return int(limit)
}

// Queued is how many calls wait for a permit, of all or of a key.
func (g *Gate) Queued() int { return int(g.common.queued.Load()) }

// Breakers is the state of the breaker that is worst off, that of any value of
// a key included: 0 closed, 1 half-open, 2 open; -1 when there is none.
func (g *Gate) Breakers() int {
	now, worst := g.common.clock.now(), int64(-1)
	for _, s := range g.chain.Load().steps {
		if b, ok := s.policy.(*breaker); ok {
			worst = max(worst, b.worst(now))
		}
	}
	return int(worst)
}

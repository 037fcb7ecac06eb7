package gate

import (
	"context"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
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
	slots []string // keys that were ever used; the index is the slot. Guarded by Gate.mu.

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
		slot = len(g.slots)
		g.slots = append(g.slots, name)
	}
	return key{name: name, slot: slot, seed: g.seed}
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

// Do lets a call through the gate: it fixes c.Deadline, asks each policy in
// order, runs forward, as often as it takes and is allowed, and tells the
// policies in reverse order how the call ended. A call that policy i rejects is
// not forwarded and is Done for the policies before i. Do blocks as long as the
// policies and forward do.
//
// The error is what forward returned last, or the rejection: a gRPC status.
// When forward panics, the policies hear of a failure and the panic goes on.
func (g *Gate) Do(ctx context.Context, c *Call, forward Forward) error {
	ch := g.chain.Load()
	c.begin(g.common.clock, ch.keys)
	ch.deadline.set(ctx, c, g.common.clock)
	if err := c.over(ctx); err != nil {
		return g.reject(PolicyDeadline, err)
	}
	outcome := Failure
	c.code = codes.Internal
	defer func() {
		for i, t := range slices.Backward(c.tickets) {
			ch.steps[i].policy.Done(c, t, outcome)
		}
	}()
	for i := range ch.steps {
		t, err := ch.steps[i].policy.Admit(ctx, c)
		if err != nil {
			outcome = Neutral
			return g.reject(ch.steps[i].name, err)
		}
		c.tickets = append(c.tickets, t)
	}
	if c.waited {
		if err := c.over(ctx); err != nil {
			outcome = Neutral
			return g.reject(PolicyDeadline, err)
		}
	}
	c.forwarded, c.sent = true, c.now
	result := ch.forward(ctx, c, forward, g.observer)
	if result.Err == nil {
		c.code = codes.OK
		outcome = result.outcome(codes.OK, false)
		return nil
	}
	outcome, result.Err = g.failed(ch, c, result)
	return result.Err
}

// failed says what to make of a call that ended with an error.
func (g *Gate) failed(ch *chain, c *Call, result Result) (Outcome, error) {
	c.code = codeOf(result.Err)
	timedOut := c.code == codes.DeadlineExceeded && c.timedOut(g.common.clock.now())
	outcome := result.outcome(c.code, timedOut && c.deadline-c.sent >= int64(ch.deadline.timeout/2))
	if timedOut {
		return outcome, ch.deadline.explain(result.Err)
	}
	return outcome, result.Err
}

// reject counts a rejection. A caller who gave up was not rejected.
func (g *Gate) reject(policy string, err error) error {
	if codeOf(err) != codes.Canceled {
		g.observer.Rejected(policy)
	}
	return err
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

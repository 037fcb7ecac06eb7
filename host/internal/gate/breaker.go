package gate

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
)

// Breaker fails calls at once, for a while, after too many have failed, in
// total or for each value of a key.
type Breaker struct {
	Key             string // "": one for all calls; the policy is called "breaker" or "breaker.<key>"
	Failures        int    // that open it; below 1 means 1
	Within, OpenFor time.Duration
}

// probeRetry is when a caller may come back while a probe is under way.
const probeRetry = 100 * time.Millisecond

// breaker is the policy of a Breaker. With a key only the values that have
// failed have a circuit: where all is well nothing is looked up and nothing
// kept.
type breaker struct {
	*common
	Breaker

	policy string
	path   string // of its block in config.hcl
	key    key
	epochs epochs
	total  *circuit        // nil with a key
	keyed  *table[circuit] // of the values that have failed
	spare  *circuit        // for the values that find no room
}

func newBreaker(g *common, b Breaker) *breaker {
	b.Failures = max(b.Failures, 1)
	if b.Key == "" {
		return &breaker{common: g, Breaker: b, policy: PolicyBreaker, path: "breaker", total: new(circuit)}
	}
	p := &breaker{
		common:  g,
		Breaker: b,
		policy:  PolicyBreaker + "." + b.Key,
		path:    "breaker[" + strconv.Quote(b.Key) + "]",
		key:     g.key(b.Key),
		spare:   new(circuit),
	}
	p.keyed = newTable[circuit](p, g.seed)
	return p
}

// Await is never needed: nobody has to wait.
func (b *breaker) Await(_ context.Context, c *Call) (Ticket, error) {
	t, _, err := b.Try(c)
	return t, err
}

// Try lets calls pass while the circuit is closed, and one at a time when it may
// close again.
func (b *breaker) Try(c *Call) (t Ticket, passed bool, err error) {
	k := b.total
	var value *keyValue
	if k == nil {
		if value = b.key.of(c); value == nil {
			return Ticket{}, true, nil
		}
		if k = b.find(value); k == nil {
			return Ticket{mark: b.epochs.latest.Load()}, true, nil
		}
	}
	word := k.word.Load()
	if word&stateMask == closed {
		return Ticket{mark: word >> stateBits}, true, nil
	}
	t, left, ok := k.admit(&b.Breaker, &b.epochs, b.clock.now())
	if !ok {
		return Ticket{}, false, b.refuse(value, left)
	}
	return t, true, nil
}

// Done counts a failure, or takes the outcome of a probe.
func (b *breaker) Done(c *Call, t Ticket, o Outcome) {
	if o != Failure && t.mark >= 0 {
		return
	}
	now := b.clock.now()
	if k, ok := t.held.(*circuit); ok {
		k.ended(&b.Breaker, &b.epochs, t.mark, o, now)
		return
	}
	if b.total != nil {
		b.total.ended(&b.Breaker, &b.epochs, t.mark, o, now)
		return
	}
	if value := b.key.of(c); value != nil {
		for !b.keyed.enter(value, now).ended(&b.Breaker, &b.epochs, t.mark, o, now) {
			b.keyed.settle(value)
		}
	}
}

// find returns the circuit of a value; nil when it is as good as closed.
func (b *breaker) find(value *keyValue) *circuit {
	if b.keyed.size.Load() > 0 {
		if k := b.keyed.find(value); k != nil {
			return k
		}
	}
	if b.spare.state() != closed {
		return b.spare
	}
	return nil
}

// worst is the worst state of any circuit. Who asks helps to drop those that
// nobody asks for any more.
func (b *breaker) worst(now int64) int64 {
	if b.keyed != nil {
		b.keyed.sweep(now-linger, sweepStep)
	}
	return b.epochs.worst(now)
}

func (b *breaker) refuse(value *keyValue, left time.Duration) error {
	whom, values := "", map[string]string{}
	for _, s := range b.settings() {
		values[s.Path] = s.Value
	}
	if value != nil {
		whom = fmt.Sprintf(" for %s %s", b.Key, value.shown())
		maps.Copy(values, value.metadata())
	}
	state := fmt.Sprintf("open for another %v", roughly(left))
	if left == 0 {
		state = "half-open, a call is under way to try whether it can close"
		left = probeRetry
	}
	return rejection{
		code:   codes.Unavailable,
		reason: "BREAKER_OPEN",
		policy: b.policy,
		retry:  left,
		values: values,
		text: fmt.Sprintf("%s: %s%s, after %d failures within %s; retry later, see why the calls failed, or raise %s.failures",
			b.policy, state, whom, b.Failures, shortDuration(b.Within), b.path),
	}.status()
}

// settings are where the breaker is written in config.hcl.
func (b *breaker) settings() []Setting {
	return []Setting{
		{b.path + ".failures", strconv.Itoa(b.Failures)},
		{b.path + ".within", shortDuration(b.Within)},
		{b.path + ".open_for", shortDuration(b.OpenFor)},
	}
}

// start begins the circuit of a value that had none. While the shared one knows
// of failures some of them may be of that value.
func (b *breaker) start(_ string, _ *circuit, now int64) bool {
	b.spare.mu.Lock()
	defer b.spare.mu.Unlock()
	b.spare.forget(&b.Breaker, now)
	return b.spare.state() == closed && b.spare.failures == nil
}

func (b *breaker) shared(string) *circuit { return b.spare }

func (b *breaker) retire(k *circuit, since int64) bool { return k.retire(&b.Breaker, &b.epochs, since) }

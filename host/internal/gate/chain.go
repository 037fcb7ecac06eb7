package gate

import (
	"slices"
	"time"
)

// The names of the policies, in metrics and in error details. One that is kept
// by a key, or has a name, adds it after a dot: "bulkhead.domain",
// "rate.global".
const (
	PolicyDeadline = "deadline"
	PolicyBreaker  = "breaker"
	PolicyRate     = "rate"
	PolicyBulkhead = "bulkhead"
)

// Config is all that an operator set for the calls of one subsystem. The zero
// value lets everything pass.
type Config struct {
	Limits   Limits
	PerKey   []KeyLimit
	Rates    []Rate
	Breakers []Breaker
	Retry    Retry
}

// Limits are those of all calls together.
type Limits struct {
	// Timeout is the default and the ceiling for unary calls, time in queues
	// included; 0 means none. Streams have the caller's deadline only: a watch
	// or a log that is followed lives as long as somebody looks at it, and any
	// ceiling would cut it at a random point.
	Timeout time.Duration

	// Concurrency is how many calls may be in flight; 0 means any number. A
	// stream counts for as long as it is open.
	Concurrency int

	// Queue is how many more calls may wait; 0 rejects at once.
	Queue int

	// Adaptive moves the limit with what the plugin bears, in the place of
	// Concurrency. Nil: it is fixed.
	Adaptive *Adaptive
}

// KeyLimit is how many calls with the same value of a key may be in flight.
type KeyLimit struct {
	Key                string // unique; the policy is called "bulkhead.<key>"
	Concurrency, Queue int    // as in Limits
}

// uses reports whether a policy is kept by a key.
func (c Config) uses(key string) bool {
	return slices.ContainsFunc(c.Rates, func(r Rate) bool { return r.Key == key }) ||
		slices.ContainsFunc(c.Breakers, func(b Breaker) bool { return b.Key == key }) ||
		slices.ContainsFunc(c.PerKey, func(l KeyLimit) bool { return l.Key == key })
}

// chain is the policies of one config, in the order in which calls pass them.
type chain struct {
	config   Config
	deadline deadline
	steps    []step
	bulkhead *bulkhead // of all calls; the last of steps
	retry    *retry
	keys     int // how many slots a call has for values
}

// step is a policy under the name by which its rejections are counted.
type step struct {
	name   string
	policy Policy
}

// chain builds the chain of a config. The order of the policies is written
// here and nowhere else: what is cheap and final comes first, and what holds a
// resource while it waits for nothing comes last.
//
// Of two rates the one with a key comes last: a token counts from when it is
// taken, and it is those behind the plugin who count most exactly. Of two
// bulkheads it comes first: a call that waits for others of its value must not
// keep a permit from those of other values.
//
// What has the same settings as in old is taken over, with all that it knows;
// and so are the permits, whatever their number. Old is nil in a new gate.
func (g *common) chain(c Config, old *chain) *chain {
	g.free(c)
	ch := &chain{config: c, deadline: deadline{timeout: c.Limits.Timeout}}
	add := func(name string, p Policy) { ch.steps = append(ch.steps, step{name, p}) }
	for _, keyed := range []bool{false, true} {
		for _, b := range c.Breakers {
			if (b.Key != "") == keyed && b.Failures > 0 {
				p := g.breaker(b, old)
				add(p.policy, p)
			}
		}
	}
	for _, keyed := range []bool{false, true} {
		for _, r := range c.Rates {
			if (r.Key != "") == keyed && r.Events > 0 {
				p := g.rate(r, old)
				add(p.policy, p)
			}
		}
	}
	for _, l := range c.PerKey {
		p := g.keyedBulkhead(l, old)
		add(p.policy, p)
	}
	ch.bulkhead = g.bulkhead(c.Limits, old)
	add(PolicyBulkhead, ch.bulkhead)
	ch.retry = g.retry(c.Retry, old)
	ch.keys = len(g.slots)
	return ch
}

func (g *common) breaker(b Breaker, old *chain) *breaker {
	p := newBreaker(g, b)
	if same, ok := old.policy(p.policy).(*breaker); ok && same.Breaker == p.Breaker {
		return same
	}
	return p
}

func (g *common) rate(r Rate, old *chain) *rate {
	p := newRate(g, r)
	if same, ok := old.policy(p.policy).(*rate); ok && same.equal(r) {
		return same
	}
	return p
}

func (g *common) keyedBulkhead(l KeyLimit, old *chain) *bulkhead {
	p := newKeyedBulkhead(g, l)
	if same, ok := old.policy(p.policy).(*bulkhead); ok {
		same.resize(l.Concurrency, l.Queue)
		return same
	}
	return p
}

// bulkhead is the one of all calls. Calls in flight keep their permits: a new
// one shares them with the old.
func (g *common) bulkhead(l Limits, old *chain) *bulkhead {
	b := newBulkhead(g)
	var tuner *tuner
	if old != nil {
		b.total, b.bounds, tuner = old.bulkhead.total, old.bulkhead.bounds, old.bulkhead.tuner
	}
	switch {
	case l.Adaptive == nil:
		tuner.stop()
		b.bounds.need.Store(0)
		b.resize(l.Concurrency, l.Queue)
	case tuner != nil && old.config.Limits.Adaptive != nil && *old.config.Limits.Adaptive == *l.Adaptive:
		b.tuner = tuner
		b.resize(tuner.limit(), l.Queue)
	default:
		tuner.stop()
		b.tuner = newTuner(*l.Adaptive, b)
		b.resize(b.tuner.limit(), l.Queue)
	}
	return b
}

func (g *common) retry(r Retry, old *chain) *retry {
	if old != nil && old.retry.Retry == r {
		return old.retry
	}
	return newRetry(g, r)
}

// policy is the policy of a name; nil when there is none.
func (ch *chain) policy(name string) Policy {
	if ch == nil {
		return nil
	}
	for _, s := range ch.steps {
		if s.name == name {
			return s.policy
		}
	}
	return nil
}

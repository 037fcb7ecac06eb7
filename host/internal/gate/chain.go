package gate

import (
	"context"
	"math"
	"reflect"
	"strings"
	"time"
)

// The names of the policies, in metrics and in error details. Those with a key
// or a name of their own add it after a dot: "bulkhead.domain", "rate.global".
const (
	PolicyDeadline = "deadline"
	PolicyBreaker  = "breaker"
	PolicyRate     = "rate"
	PolicyBulkhead = "bulkhead"
)

// Config is all that an operator set for the calls of one subsystem. The zero
// value sets no bounds.
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

	// Adaptive lets the limit move, in the place of Concurrency; nil: it is fixed.
	Adaptive *Adaptive

	// Queue is how many more calls may wait; 0 rejects at once.
	Queue int
}

// chain is the policies of one config. Nobody writes it.
type chain struct {
	config   Config
	deadline deadline
	steps    []step
	bulkhead *bulkhead // of all calls, one of steps
	retrier  *retrier
}

// step is a policy under the name by which its rejections are counted.
type step struct {
	name   string
	policy Policy
}

// newChain builds the policies of a config. The order is written here and
// nowhere else: what is cheap and final comes first, and what holds a resource
// while it waits for nothing comes last.
//
// What has the same settings as in the chain before, which may be nil, is taken
// from there with its state; and so is the bulkhead of all calls in any case,
// because the calls in flight have its permits.
func newChain(c Config, before *chain) *chain {
	n := &chain{config: c, deadline: deadline{timeout: c.Limits.Timeout}}
	add := func(name string, create func() Policy, same bool) {
		policy := before.step(name)
		if policy == nil || !same {
			policy = create()
		}
		n.steps = append(n.steps, step{name, policy})
	}
	for _, b := range c.Breakers {
		block := newBreakers(b)
		add(block.policy, func() Policy { return breakerPolicy(block) }, isSame(before, func(o Config) []Breaker { return o.Breakers }, b))
	}
	for _, r := range c.Rates {
		add(PolicyRate+"."+r.Name, func() Policy { return ratePolicy(r) }, isSame(before, func(o Config) []Rate { return o.Rates }, r))
	}
	for _, l := range c.PerKey {
		add(PolicyBulkhead+"."+l.Key, func() Policy {
			return newKeyed(l.Key, func(value string) keyedPolicy { return newKeyBulkhead(l, value) })
		}, isSame(before, func(o Config) []KeyLimit { return o.PerKey }, l))
	}
	n.bulkhead = totalBulkhead(c.Limits, before)
	n.steps = append(n.steps, step{PolicyBulkhead, n.bulkhead})
	if n.retrier = newRetrier(c.Retry); before != nil && before.config.Retry == c.Retry {
		n.retrier = before.retrier
	}
	return n
}

func breakerPolicy(block *breakers) Policy {
	if block.Key == "" {
		return newBreaker(block, "")
	}
	return newKeyed(block.Key, func(value string) keyedPolicy { return newBreaker(block, value) })
}

func ratePolicy(r Rate) Policy {
	common := &rate{policy: PolicyRate + "." + r.Name, name: r.Name, key: r.Key, wait: r.Wait}
	if r.Key == "" {
		return newBucket(common, r.Quota, "", "")
	}
	k := newKeyed(r.Key, func(value string) keyedPolicy {
		quota, pattern := r.quotaFor(value)
		return newBucket(common, quota, pattern, value)
	})
	k.reserved = r.isNamed
	return k
}

// totalBulkhead is the one of the chain before with other limits.
func totalBulkhead(l Limits, before *chain) *bulkhead {
	limit := l.Concurrency
	if limit <= 0 {
		limit = math.MaxInt32 // the bulkhead still counts
	}
	var t *tuner
	if l.Adaptive != nil {
		t = newTuner(*l.Adaptive)
		limit = t.current()
	}
	if before == nil {
		b := newBulkhead(limit, l.Queue)
		b.tuner.Store(t)
		return b
	}
	if reflect.DeepEqual(before.config.Limits.Adaptive, l.Adaptive) {
		t = before.bulkhead.tuner.Load()
	}
	before.bulkhead.rule(limit, l.Queue, t)
	return before.bulkhead
}

// mayRepeat reports whether the rates allow another try, and waits for its
// tokens. A call that the plugin answered has spent those of its first one: what
// is behind the plugin sees each try. One that was lost is still the same call.
func (c *chain) mayRepeat(ctx context.Context, call *Call, r Result) bool {
	if r.Reach != Answered {
		return true
	}
	for _, s := range c.steps {
		if !strings.HasPrefix(s.name, PolicyRate+".") {
			continue
		}
		if _, err := s.policy.Admit(ctx, call); err != nil {
			return false
		}
	}
	return true
}

// step returns the policy of a name, or nil.
func (c *chain) step(name string) Policy {
	if c == nil {
		return nil
	}
	for _, s := range c.steps {
		if s.name == name {
			return s.policy
		}
	}
	return nil
}

// isSame reports whether the config before had exactly this block.
func isSame[B any](before *chain, blocks func(Config) []B, block B) bool {
	if before == nil {
		return false
	}
	for _, b := range blocks(before.config) {
		if reflect.DeepEqual(b, block) {
			return true
		}
	}
	return false
}

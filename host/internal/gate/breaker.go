package gate

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Breaker rejects calls at once, for a while, after too many have failed.
type Breaker struct {
	Key      string        // each value of this key has a breaker of its own; "" for one
	Failures int           // that open it, if they are Within; at least 1
	Within   time.Duration // above zero
	OpenFor  time.Duration // until a call is let through to try; above zero
}

// probeRetry is when a call may come back that was rejected because another
// one is trying. How long that takes is not known.
const probeRetry = 100 * time.Millisecond

// The phases of a breaker.
const (
	closed   = iota // calls pass
	open            // calls are rejected
	halfOpen        // one call has passed to try; the others are rejected for another OpenFor
	phases
)

// breakers is what all breakers of one block have in common.
type breakers struct {
	Breaker

	policy  string
	in      [phases]atomic.Int64 // breakers in each phase but closed
	rejects atomic.Int64         // instant until which the last one to open rejects calls
}

func newBreakers(b Breaker) *breakers {
	policy := PolicyBreaker
	if b.Key != "" {
		policy += "." + b.Key
	}
	return &breakers{Breaker: b, policy: policy}
}

// worst is how the breaker stands that is worst off, as gaia_breaker_state has
// it: 0 closed, 1 half-open, 2 open. One that has been open for its time and
// would let the next call try is half-open.
func (b *breakers) worst(now instant) int {
	switch {
	case b.in[open].Load() > 0 && now < instant(b.rejects.Load()):
		return 2
	case b.in[open].Load()+b.in[halfOpen].Load() > 0:
		return 1
	}
	return 0
}

// breaker is one of them. Each change of phase begins a new term; what a call
// of an earlier term has to tell changes nothing any more, so that those who
// come back late neither prolong nor end what they did not cause.
type breaker struct {
	*breakers

	value  string        // of the key
	state  atomic.Uint64 // term and phase
	inside atomic.Int64  // calls, of a breaker that may be forgotten: they may come back with a failure

	mu     sync.Mutex
	failed []instant // of this term, the oldest first; at most Failures
	until  instant   // when a breaker that is not closed lets a call through, the next one
}

func newBreaker(b *breakers, value string) *breaker { return &breaker{breakers: b, value: value} }

func phaseOf(state uint64) int   { return int(state % phases) }
func termOf(state uint64) uint64 { return state / phases }

// Admit lets a call through when the breaker is closed, or when it is the one
// that tries.
func (b *breaker) Admit(_ context.Context, c *Call) (Ticket, error) {
	if b.Key != "" {
		b.inside.Add(1)
	}
	state := b.state.Load()
	if phaseOf(state) == closed {
		return Ticket{number: termOf(state)}, nil
	}
	t, err := b.try(c)
	if err != nil && b.Key != "" {
		b.inside.Add(-1)
	}
	return t, err
}

// try lets one call through for each OpenFor that has passed: a call that never
// ends, such as a stream, must not be the only one that may try.
func (b *breaker) try(c *Call) (Ticket, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.state.Load()
	switch phase := phaseOf(state); {
	case phase == closed:
		return Ticket{number: termOf(state)}, nil
	case phase == halfOpen && c.now < b.until:
		return Ticket{}, b.refuse("half-open: one call is trying", probeRetry)
	case c.now < b.until:
		return Ticket{}, b.refuse(fmt.Sprintf("open: %d calls failed within %v", b.Failures, b.Within), b.until.sub(c.now))
	}
	b.until = c.now.add(b.OpenFor)
	return Ticket{number: b.enter(halfOpen)}, nil
}

// Done counts a failure, and judges by the call that tried.
func (b *breaker) Done(c *Call, t Ticket, o Outcome) {
	if b.Key != "" {
		defer b.inside.Add(-1)
	}
	if state := b.state.Load(); termOf(state) != t.number || phaseOf(state) == closed && o != Failure {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	state := b.state.Load()
	if termOf(state) != t.number {
		return
	}
	now := c.read()
	switch phase := phaseOf(state); {
	case phase == closed && o == Failure:
		b.fail(now)
	case phase == halfOpen && o == Success:
		b.enter(closed)
	case phase == halfOpen && o == Failure:
		b.open(now.add(b.OpenFor))
	case phase == halfOpen: // it told nothing: let another one try
		b.open(now)
	}
}

// fail counts a failure of a closed breaker.
func (b *breaker) fail(now instant) {
	b.failed = append(b.recent(now), now)
	if len(b.failed) >= b.Failures {
		b.open(now.add(b.OpenFor))
	}
}

// open rejects calls until an instant. The caller holds mu.
func (b *breaker) open(until instant) {
	b.until = until
	b.enter(open)
	for {
		last := b.rejects.Load()
		if int64(until) <= last || b.rejects.CompareAndSwap(last, int64(until)) {
			return
		}
	}
}

// recent drops the failures that count no more.
func (b *breaker) recent(now instant) []instant {
	first := slices.IndexFunc(b.failed, func(at instant) bool { return now.sub(at) < b.Within })
	if first < 0 {
		return b.failed[:0]
	}
	return b.failed[first:]
}

// enter begins a term in a phase and returns it. The caller holds mu.
func (b *breaker) enter(phase int) (term uint64) {
	state := b.state.Load()
	if was := phaseOf(state); was != closed {
		b.in[was].Add(-1)
	}
	if phase != closed {
		b.in[phase].Add(1)
	}
	b.failed = nil
	term = termOf(state) + 1
	b.state.Store(term*phases + uint64(phase)) //nolint:gosec // G115: one of three
	return term
}

func (b *breaker) refuse(why string, retry time.Duration) error {
	path := "breaker"
	values := map[string]string{}
	of := ""
	if b.Key != "" {
		path = fmt.Sprintf("breaker[%q]", b.Key)
		values[b.Key] = b.value
		of = fmt.Sprintf(" for %s %q", b.Key, b.value)
	}
	values[path+".failures"] = strconv.Itoa(b.Failures)
	values[path+".within"] = b.Within.String()
	values[path+".open_for"] = b.OpenFor.String()
	return rejection{
		code:   codes.Unavailable,
		reason: "BREAKER_OPEN",
		policy: b.policy,
		retry:  retry,
		values: values,
		text:   fmt.Sprintf("%s%s is %s; retry in %v", b.policy, of, why, retry.Round(time.Millisecond)),
	}.status()
}

// isIdle reports whether a new breaker would be the same. One that nobody has
// asked since it would have let a call try is closed, after as long as a failure
// counts: of what nobody calls any more, nothing must stay.
func (b *breaker) isIdle(now instant) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inside.Load() > 0 {
		return false
	}
	if phaseOf(b.state.Load()) == open && now.sub(b.until) >= b.Within {
		b.enter(closed)
	}
	return phaseOf(b.state.Load()) == closed && len(b.recent(now)) == 0
}

// describe says in which phase the breaker is.
func (b *breaker) describe(now instant) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch phaseOf(b.state.Load()) {
	case open:
		if left := b.until.sub(now); left > 0 {
			return fmt.Sprintf("open for another %v", left.Round(time.Millisecond))
		}
		return "open, the next call may try"
	case halfOpen:
		return fmt.Sprintf("half-open, one call is trying; the next one may in %v", max(b.until.sub(now), 0).Round(time.Millisecond))
	}
	return fmt.Sprintf("closed, %d failures in the last %v", len(b.recent(now)), b.Within)
}

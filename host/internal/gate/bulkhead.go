package gate

import (
	"container/list"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// KeyLimit is how many calls with one value of a key may be in flight.
type KeyLimit struct {
	Key         string
	Concurrency int // at least 1
	Queue       int // how many more may wait; 0 rejects at once
}

// bulkheadRetry is when a rejected caller may come back. How soon a place is
// free is not known; this keeps polite callers from coming back at once.
const bulkheadRetry = 100 * time.Millisecond

// bulkhead limits how many calls are in flight. Calls beyond that wait in a
// bounded queue, first come first served; calls beyond the queue are rejected
// at once. The limits may change at any time: a higher one lets calls in that
// wait, a lower one lets none in until enough have ended.
//
// The state is one word, so that a call that need not wait takes no lock. Two
// facts keep the limit exact:
//
//   - a call begins to wait only when the limit is used up; a call that ends
//     while others wait hands its permit to the first of them, and gives it back
//     only when there are more in flight than the limit allows by now;
//   - the number of waiters changes only under mu, so it is the length of queue
//     whenever mu is free.
type bulkhead struct {
	policy string
	path   string // of its limits in config.hcl
	key    string // "" for the one of all calls
	value  string // of the key
	bounds atomic.Pointer[bounds]
	state  atomic.Int64          // in flight in the low half, waiting in the high
	tuner  atomic.Pointer[tuner] // moves the limit; nil when it is fixed

	ruling sync.Mutex // held by who changes tuner or bounds

	mu    sync.Mutex
	queue list.List // of *waiter, the longest waiting in front
}

// bounds are the limits in force. Nobody writes them.
type bounds struct {
	limit, depth int
	full         error // what calls beyond the queue are told
}

// waiter is a call in the queue.
type waiter struct {
	place   *list.Element // in the queue
	granted chan struct{} // closed when the call has its permit
}

const (
	oneInFlight = int64(1)
	oneWaiting  = int64(1) << 32
)

func unpack(state int64) (inFlight, waiting int) {
	return int(state & (oneWaiting - 1)), int(state >> 32)
}

// newBulkhead returns a bulkhead for limit calls, at least 1, and depth
// waiting ones.
func newBulkhead(limit, depth int) *bulkhead {
	b := &bulkhead{policy: PolicyBulkhead, path: "limits"}
	b.set(limit, depth)
	return b
}

// newKeyBulkhead returns one for a value of a key.
func newKeyBulkhead(l KeyLimit, value string) *bulkhead {
	b := &bulkhead{policy: PolicyBulkhead + "." + l.Key, path: fmt.Sprintf("limits.per_key[%q]", l.Key), key: l.Key, value: value}
	b.set(l.Concurrency, l.Queue)
	return b
}

// rule puts an operator's limits into force. A tuner that stays keeps the
// limit that it has found.
func (b *bulkhead) rule(limit, depth int, t *tuner) {
	b.ruling.Lock()
	defer b.ruling.Unlock()
	if t != nil && t == b.tuner.Load() {
		limit = b.bounds.Load().limit
	}
	b.tuner.Store(t)
	b.set(limit, depth)
}

// follow puts the limit into force that a tuner has found, if it still rules.
func (b *bulkhead) follow(t *tuner) {
	b.ruling.Lock()
	defer b.ruling.Unlock()
	if t != b.tuner.Load() {
		return
	}
	t.mu.Lock()
	limit := t.current()
	t.mu.Unlock()
	b.set(limit, b.bounds.Load().depth)
}

// set puts other limits into force. The caller holds ruling, or is the only one
// there is.
func (b *bulkhead) set(limit, depth int) {
	if old := b.bounds.Load(); old != nil && old.limit == limit && old.depth == depth {
		return
	}
	b.bounds.Store(&bounds{limit: limit, depth: depth, full: b.queueFull(limit, depth)})
	b.wake()
}

// counts is how many calls are in flight and how many wait.
func (b *bulkhead) counts() (inFlight, waiting int) { return unpack(b.state.Load()) }

// Admit takes a permit, or waits for one.
func (b *bulkhead) Admit(ctx context.Context, c *Call) (Ticket, error) {
	if !b.enter() {
		if err := b.wait(ctx, c); err != nil {
			return Ticket{}, err
		}
	}
	return Ticket{number: uint64(c.now)}, nil //nolint:gosec // G115: never negative
}

// wait waits for a permit. Under a limit that adapts it gives up at half of the
// call's time, which leaves the other half for the work: in a queue that is
// served in order and always full, the first would have no time left, ever, and
// all work would be in vain.
func (b *bulkhead) wait(ctx context.Context, c *Call) error {
	w, full := b.join()
	if w == nil {
		return full
	}
	latest := c.deadline
	if latest != 0 && b.tuner.Load() != nil {
		latest = c.now.add(latest.sub(c.now) / 2)
	}
	err := c.await(ctx, w.granted, latest)
	if err == nil {
		return nil
	}
	b.leave(w)
	if err != context.DeadlineExceeded || c.isOver() { //nolint:errorlint // await returns it as it is
		return c.gaveUp(b.policy, err, fmt.Sprintf("%d calls were in flight, the limit; retry later or raise %s.concurrency", b.bounds.Load().limit, b.path))
	}
	return b.waitedEnough(c)
}

// Done passes the permit on to the first waiter, or gives it back.
func (b *bulkhead) Done(c *Call, t Ticket, o Outcome) {
	b.release()
	if tuner := b.tuner.Load(); tuner != nil {
		tuner.observe(b, c, instant(t.number), o) //nolint:gosec // G115: it was an instant
	}
}

// enter takes a permit if one is free and nobody waits for it.
func (b *bulkhead) enter() bool {
	limit := b.bounds.Load().limit
	for {
		s := b.state.Load()
		if inFlight, waiting := unpack(s); inFlight >= limit || waiting > 0 {
			return false
		}
		if b.state.CompareAndSwap(s, s+oneInFlight) {
			return true
		}
	}
}

// join takes a place in the queue. No waiter and no error means that a permit
// was free after all and has been taken.
func (b *bulkhead) join() (*waiter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		bounds, s := b.bounds.Load(), b.state.Load()
		inFlight, waiting := unpack(s)
		switch {
		case inFlight < bounds.limit && waiting == 0:
			if b.state.CompareAndSwap(s, s+oneInFlight) {
				return nil, nil
			}
		case waiting >= bounds.depth:
			return nil, bounds.full
		case b.state.CompareAndSwap(s, s+oneWaiting):
			w := &waiter{granted: make(chan struct{})}
			w.place = b.queue.PushBack(w)
			return w, nil
		}
	}
}

// leave gives up a place in the queue, or the permit if it came meanwhile.
func (b *bulkhead) leave(w *waiter) {
	if b.quit(w) {
		return
	}
	b.release()
}

// quit reports whether w was still waiting; then it does so no longer.
func (b *bulkhead) quit(w *waiter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.granted:
		return false
	default:
		b.queue.Remove(w.place)
		b.state.Add(-oneWaiting)
		return true
	}
}

// release gives a permit back. If somebody waits who may have it, that one
// gets it at once.
func (b *bulkhead) release() {
	for {
		s := b.state.Load()
		inFlight, waiting := unpack(s)
		if waiting > 0 && inFlight <= b.bounds.Load().limit {
			if b.handOver() {
				return
			}
			continue // the last waiter left meanwhile
		}
		if !b.state.CompareAndSwap(s, s-oneInFlight) {
			continue
		}
		if waiting > 0 { // the limit may have been raised meanwhile
			b.wake()
		}
		return
	}
}

// handOver gives the caller's permit to the first waiter, if there is one.
func (b *bulkhead) handOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.queue.Len() == 0 {
		return false
	}
	b.grant()
	b.state.Add(-oneWaiting)
	return true
}

// wake gives free permits to waiters, which is needed only where the limit has
// changed.
func (b *bulkhead) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.queue.Len() > 0 {
		s := b.state.Load()
		if inFlight, _ := unpack(s); inFlight >= b.bounds.Load().limit {
			return
		}
		if b.state.CompareAndSwap(s, s+oneInFlight-oneWaiting) {
			b.grant()
		}
	}
}

// grant tells the first waiter that it has a permit. The caller holds mu.
func (b *bulkhead) grant() {
	w := b.queue.Remove(b.queue.Front()).(*waiter) //nolint:forcetypeassert // nothing else is put in
	close(w.granted)
}

// isIdle reports whether a new bulkhead would be the same.
func (b *bulkhead) isIdle(instant) bool { return b.state.Load() == 0 }

// describe says how full the bulkhead is.
func (b *bulkhead) describe(instant) string {
	inFlight, waiting := b.counts()
	bounds := b.bounds.Load()
	text := fmt.Sprintf("%d in flight of %d, %d queued of %d", inFlight, bounds.limit, waiting, bounds.depth)
	if t := b.tuner.Load(); t != nil {
		text += fmt.Sprintf("; the limit is adaptive, %d to %d", t.Min, t.Max)
	}
	return text
}

// waitedEnough is what a call is told that has to leave the queue.
func (b *bulkhead) waitedEnough(c *Call) error {
	limit := b.bounds.Load().limit
	return rejection{
		code:   codes.ResourceExhausted,
		reason: "BULKHEAD_FULL",
		policy: b.policy,
		retry:  bulkheadRetry,
		values: map[string]string{b.path + ".concurrency": "adaptive", "limit": strconv.Itoa(limit)},
		text: fmt.Sprintf("%s: no place within %v, half of the time that the call had: %d calls in flight, the limit that the plugin bears; retry later or give the call more time",
			b.policy, c.now.sub(c.clock.at(c.Start)).Round(time.Millisecond), limit),
	}.status()
}

// queueFull is the same for every call: a call is turned away only when
// both limits are used up. It is made once, because turning calls away must be cheap
// when there are too many of them.
func (b *bulkhead) queueFull(limit, depth int) error {
	values := map[string]string{
		b.path + ".concurrency": strconv.Itoa(limit),
		b.path + ".queue":       strconv.Itoa(depth),
	}
	of := ""
	if b.key != "" {
		values[b.key] = b.value
		of = fmt.Sprintf(" for %s %q", b.key, b.value)
	}
	return rejection{
		code:   codes.ResourceExhausted,
		reason: "BULKHEAD_FULL",
		policy: b.policy,
		retry:  bulkheadRetry,
		values: values,
		text: fmt.Sprintf("%s: %d calls in flight and %d queued%s, limits %d and %d; retry later or raise %s.concurrency",
			b.policy, limit, depth, of, limit, depth, b.path),
	}.status()
}

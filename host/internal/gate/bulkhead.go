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
	"google.golang.org/grpc/status"
)

// bulkheadRetry is when a rejected caller may come back. How soon a place is
// free is not known; this keeps polite callers from coming back at once.
const bulkheadRetry = 100 * time.Millisecond

// bulkhead limits how many calls are in flight. Calls beyond that wait in a
// bounded queue, first come first served; calls beyond the queue are rejected
// at once.
//
// The state is one word, so that a call that need not wait takes no lock. Two
// facts hold at every moment and keep the limit exact:
//
//   - while a call waits, the limit is used up: a call begins to wait only then,
//     and a call that ends while others wait hands its permit to the first of
//     them and does not give it back;
//   - the number of waiters changes only under mu, so it is the length of queue
//     whenever mu is free.
type bulkhead struct {
	limit, depth int
	full         error        // what calls beyond the queue are told
	state        atomic.Int64 // in flight in the low half, waiting in the high

	mu    sync.Mutex
	queue list.List // of *waiter, the longest waiting in front
}

// waiter is a call in the queue.
type waiter struct {
	place   *list.Element // in the queue
	granted chan struct{} // closed when the call has its permit
}

// newBulkhead returns a bulkhead for limit calls, at least 1, and depth
// waiting ones.
func newBulkhead(limit, depth int) *bulkhead {
	return &bulkhead{limit: limit, depth: depth, full: queueFull(limit, depth)}
}

const (
	oneInFlight = int64(1)
	oneWaiting  = int64(1) << 32
)

func unpack(state int64) (inFlight, waiting int) {
	return int(state & (oneWaiting - 1)), int(state >> 32)
}

// counts is how many calls are in flight and how many wait.
func (b *bulkhead) counts() (inFlight, waiting int) { return unpack(b.state.Load()) }

// Admit takes a permit, or waits for one.
func (b *bulkhead) Admit(ctx context.Context, c *Call) error {
	if b.enter() {
		return nil
	}
	w, ok := b.join()
	switch {
	case !ok:
		return b.full
	case w == nil:
		return nil
	}
	if err := await(ctx, c, w.granted); err != nil {
		b.leave(w)
		return b.gaveUp(c, err)
	}
	return nil
}

// Done passes the permit on to the first waiter, or gives it back.
func (b *bulkhead) Done(*Call, codes.Code) { b.release() }

// enter takes a permit if one is free and nobody waits for it.
func (b *bulkhead) enter() bool {
	for {
		s := b.state.Load()
		if inFlight, waiting := unpack(s); inFlight >= b.limit || waiting > 0 {
			return false
		}
		if b.state.CompareAndSwap(s, s+oneInFlight) {
			return true
		}
	}
}

// join takes a place in the queue and reports false when there is none. No
// waiter means that a permit was free after all and has been taken.
func (b *bulkhead) join() (*waiter, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		s := b.state.Load()
		inFlight, waiting := unpack(s)
		switch {
		case inFlight < b.limit: // then nobody waits
			if b.state.CompareAndSwap(s, s+oneInFlight) {
				return nil, true
			}
		case waiting >= b.depth:
			return nil, false
		case b.state.CompareAndSwap(s, s+oneWaiting):
			w := &waiter{granted: make(chan struct{})}
			w.place = b.queue.PushBack(w)
			return w, true
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

func (b *bulkhead) release() {
	for {
		s := b.state.Load()
		if _, waiting := unpack(s); waiting > 0 {
			if b.handOver() {
				return
			}
			continue // the last waiter left meanwhile
		}
		if b.state.CompareAndSwap(s, s-oneInFlight) {
			return
		}
	}
}

// handOver gives the caller's permit to the first waiter, if there is one.
func (b *bulkhead) handOver() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.queue.Front()
	if first == nil {
		return false
	}
	w := b.queue.Remove(first).(*waiter) //nolint:forcetypeassert // nothing else is put in
	b.state.Add(-oneWaiting)
	close(w.granted)
	return true
}

// queueFull is the same for every call: a call is turned away only when
// both limits are used up. It is made once, because turning calls away must be cheap
// when there are too many of them.
func queueFull(limit, depth int) error {
	return rejection{
		code:   codes.ResourceExhausted,
		reason: "BULKHEAD_FULL",
		policy: PolicyBulkhead,
		retry:  bulkheadRetry,
		values: map[string]string{
			"limits.concurrency": strconv.Itoa(limit),
			"limits.queue":       strconv.Itoa(depth),
		},
		text: fmt.Sprintf("bulkhead: %d calls in flight and %d queued, limits %d and %d; retry later or raise limits.concurrency",
			limit, depth, limit, depth),
	}.status()
}

// gaveUp is for a call that left the queue without a permit.
func (b *bulkhead) gaveUp(c *Call, err error) error {
	waited := time.Since(c.Start).Round(time.Millisecond)
	if !isExpiry(err) {
		return status.Errorf(codes.Canceled, "bulkhead: cancelled by the caller after %v, while in the queue", waited)
	}
	return status.Errorf(codes.DeadlineExceeded,
		"bulkhead: deadline exceeded after %v, while in the queue: %d calls were in flight, the limit; retry later or raise limits.concurrency",
		waited, b.limit)
}

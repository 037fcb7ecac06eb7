package gate

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// backend is a model of what is behind a gate: workers that serve one call
// each, and a queue before them. A call that is over is served no further, or
// to its end.
type backend struct {
	mu      sync.Mutex
	workers int
	busy    int
	queue   []chan struct{}
	service time.Duration
	random  *rand.Rand // nil: the service time is constant; else exponential

	stubborn bool // it goes on with calls that are over
}

// serve is a Forward.
func (b *backend) serve(ctx context.Context, c *Call) Result {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	if b.stubborn {
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.begin(context.WithoutCancel(ctx))
			defer b.end()
			pause(context.WithoutCancel(ctx), b.time())
		}()
		select {
		case <-done:
			return Result{}
		case <-ctx.Done():
			return Result{Err: ctx.Err()}
		}
	}
	if !b.begin(ctx) {
		return Result{Err: ctx.Err()}
	}
	defer b.end()
	if !pause(ctx, b.time()) {
		return Result{Err: ctx.Err()}
	}
	return Result{}
}

func (b *backend) time() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.random == nil {
		return b.service
	}
	return time.Duration(b.random.ExpFloat64() * float64(b.service))
}

func (b *backend) begin(ctx context.Context) bool {
	b.mu.Lock()
	if b.busy < b.workers && len(b.queue) == 0 {
		b.busy++
		b.mu.Unlock()
		return true
	}
	turn := make(chan struct{})
	b.queue = append(b.queue, turn)
	b.mu.Unlock()
	select {
	case <-turn:
		return true
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, turn); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
	} else {
		b.busy--
		b.next()
	}
	return false
}

func (b *backend) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy--
	b.next()
}

// next lets those in who have a worker. mu is held.
func (b *backend) next() {
	for b.busy < b.workers && len(b.queue) > 0 {
		b.busy++
		close(b.queue[0])
		b.queue = b.queue[1:]
	}
}

// set changes the backend.
func (b *backend) set(workers int, service time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.workers, b.service = workers, service
	b.next()
}

// capacity is how many calls a second it can serve.
func (b *backend) capacity() float64 { return float64(b.workers) / b.service.Seconds() }

// simulation is a load on a backend behind a gate, in calls a second that come
// at random.
type simulation struct {
	gate     *Gate
	backend  *backend
	deadline time.Duration
	random   *rand.Rand
	calls    sync.WaitGroup

	mu   sync.Mutex
	good int
}

// run loads the gate for a time and returns the calls a second that were
// answered well.
func (s *simulation) run(t *testing.T, load float64, period time.Duration) float64 {
	t.Helper()
	s.mu.Lock()
	before := s.good
	s.mu.Unlock()
	for start := time.Now(); time.Since(start) < period; {
		pause(t.Context(), time.Duration(s.random.ExpFloat64()/load*float64(time.Second)))
		s.calls.Go(func() {
			c := &Call{Start: time.Now(), Deadline: time.Now().Add(s.deadline)}
			if s.gate.Do(t.Context(), c, s.backend.serve) == nil {
				s.mu.Lock()
				s.good++
				s.mu.Unlock()
			}
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return float64(s.good-before) / period.Seconds()
}

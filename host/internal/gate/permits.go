package gate

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// permits bound how many calls are in flight. Calls beyond that wait in a
// bounded queue, first come first served; calls beyond the queue are refused
// at once.
//
// The state is one word, so that a call that need not wait takes no lock. Two
// facts keep the limit exact, also while it changes:
//
//   - while a call waits, newcomers queue up behind it, and only who holds mu
//     gives out permits;
//   - the number of waiters changes only under mu, so it is the length of
//     queue whenever mu is free.
//
// The permits of a key take 56 bytes.
type permits struct {
	bounds *bounds
	state  atomic.Int64 // in flight in the low half, waiting in the high; below 0: dropped
	used   atomic.Int64 // with a key: when somebody asked for them, to about a second

	mu    sync.Mutex
	queue queue // the longest waiting in front
}

// bounds are what all permits of a bulkhead are bounded by. They change while
// calls are in flight.
type bounds struct {
	clock clock
	limit atomic.Int64 // calls in flight, at least 1
	depth atomic.Int64 // calls that wait

	// What is known of how long calls take, for those that have a deadline;
	// zero when that is nothing.
	turn atomic.Int64 // from one end of a call to the next
	need atomic.Int64 // what a call must have left when its turn comes, to be of use
}

const (
	oneInFlight = int64(1)
	oneWaiting  = int64(1) << 32
	unlimited   = math.MaxInt32
)

func unpack(state int64) (inFlight, waiting int64) { return state & (oneWaiting - 1), state >> 32 }

// counts is how many calls are in flight and how many wait.
func (p *permits) counts() (inFlight, waiting int64) { return unpack(max(0, p.state.Load())) }

// enter takes a permit if one is free and nobody waits for it.
func (p *permits) enter() verdict {
	for {
		s := p.state.Load()
		if s < 0 {
			return gone
		}
		if inFlight, waiting := unpack(s); inFlight >= p.bounds.limit.Load() || waiting > 0 {
			return short
		}
		if p.state.CompareAndSwap(s, s+oneInFlight) {
			return taken
		}
	}
}

// join takes a permit if one is free after all, or a place in the queue for w.
// Without a w it says no more than that there is a place.
func (p *permits) join(w *waiter, now, deadline int64) verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		s := p.state.Load()
		inFlight, waiting := unpack(s)
		switch {
		case s < 0:
			return gone
		case waiting == 0 && inFlight < p.bounds.limit.Load():
			if p.state.CompareAndSwap(s, s+oneInFlight) {
				return taken
			}
		case waiting >= p.bounds.depth.Load():
			return refused
		case p.bounds.isHopeless(now, waiting+1, deadline):
			return tooLate
		case w == nil:
			return short
		case p.state.CompareAndSwap(s, s+oneWaiting):
			p.queue.push(w)
			return short
		}
	}
}

// leave gives up a place in the queue, or the permit if it came meanwhile.
func (p *permits) leave(w *waiter) {
	if p.quit(w) {
		p.release()
	}
}

// quit takes w out of the queue, and reports whether it has left with a permit.
func (p *permits) quit(w *waiter) (granted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.granted && !w.hopeless {
		p.queue.remove(w)
		p.state.Add(-oneWaiting)
	}
	return w.granted
}

// release gives a permit back, to the first waiter if there is one.
func (p *permits) release() {
	for {
		s := p.state.Load()
		if _, waiting := unpack(s); waiting > 0 {
			p.mu.Lock()
			p.state.Add(-oneInFlight)
			p.fill()
			p.mu.Unlock()
			return
		}
		if p.state.CompareAndSwap(s, s-oneInFlight) {
			return
		}
	}
}

// refill admits those whom a higher limit lets in.
func (p *permits) refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill()
}

// fill gives free permits to waiters, and turns away those for whom the permit
// comes too late. mu is held.
func (p *permits) fill() {
	for w := p.queue.first; w != nil; w = p.queue.first {
		if inFlight, _ := p.counts(); inFlight >= p.bounds.limit.Load() {
			return
		}
		p.queue.remove(w)
		if p.bounds.need.Load() > 0 && p.bounds.isHopeless(p.bounds.clock.now(), 0, w.deadline) {
			w.hopeless = true
			p.state.Add(-oneWaiting)
		} else {
			w.granted = true
			p.state.Add(oneInFlight - oneWaiting)
		}
		w.call()
	}
}

// isHopeless reports whether a call would be over before it is answered if its
// turn comes after that of others.
func (b *bounds) isHopeless(now, others, deadline int64) bool {
	return deadline != never && now+others*b.turn.Load()+b.need.Load() > deadline && b.need.Load() > 0
}

// use notes that somebody asks for the permits.
func (p *permits) use(now int64) {
	if now-p.used.Load() > int64(time.Second) {
		p.used.Store(now)
	}
}

// retire drops the permits, if nobody has asked for them since and nobody is in
// flight or waits.
func (p *permits) retire(since int64) bool {
	return p.used.Load() <= since && p.state.CompareAndSwap(0, dropped)
}

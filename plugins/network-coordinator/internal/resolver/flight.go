package resolver

import (
	"context"
	"errors"
	"sync"
	"time"
)

// maxFlights bounds the names that upstream is asked for at once, each of which
// takes a goroutine and a socket.
const maxFlights = 512

// failureTTL is how long a failure is remembered, so that a name that cannot be
// resolved does not cost a query for each that wants it. RFC 9520 section 3.2
// has it at 1 s at least.
const failureTTL = time.Second

// flight is one question on its way to upstream, for all who wait for it.
type flight struct {
	done  chan struct{} // closed when entry is there
	entry *entry
}

// flights are the questions under way. Who gives up waiting does not end one.
type flights struct {
	mu sync.Mutex

	open   map[string]*flight
	closed bool
	wg     sync.WaitGroup
}

// start returns the flight for key, or what came back from one that has just
// ended, or the error why none may start.
func (r *Resolver) start(ctx context.Context, key []byte, anew bool) (*flight, *entry, error) {
	f := &r.flights
	f.mu.Lock()
	defer f.mu.Unlock()
	if under := f.open[string(key)]; under != nil {
		return under, nil, nil
	}
	if !anew {
		// It may have ended after its caller looked into the cache.
		if e := r.cache.peek(key, r.now()); e != nil {
			return nil, e, nil
		}
	}
	switch {
	case f.closed:
		return nil, nil, ErrClosed
	case len(f.open) >= maxFlights:
		r.counts.busy.Add(1)
		return nil, nil, ErrBusy
	}
	under := &flight{done: make(chan struct{})}
	k := string(key)
	f.open[k] = under
	ctx = context.WithoutCancel(ctx)
	f.wg.Go(func() {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(r.life, cancel)()
		under.entry = r.fetch(ctx, k)
		f.mu.Lock()
		delete(f.open, k) // after it is in the cache: who misses it there finds it here
		f.mu.Unlock()
		close(under.done)
	})
	return under, nil, nil
}

// fetch asks upstream for key and keeps what it says. A failure does not take
// the place of an answer that may still be used.
func (r *Resolver) fetch(ctx context.Context, key string) *entry {
	age := r.cache.age.Load()
	e, err := r.ask(ctx, key)
	now := r.now()
	if err == nil {
		if e.ttl > 0 {
			r.cache.put(key, e, age)
		}
		return e
	}
	if r.life.Err() != nil {
		return &entry{err: ErrClosed}
	}
	r.counts.failures.Add(1)
	if old := r.cache.peek([]byte(key), now); old != nil && old.err == nil {
		r.cache.failed(key, now)
		return old
	}
	e = &entry{err: errors.Join(ErrUnavailable, err)}
	e.live(failureTTL, now)
	e.usable = e.expires
	r.cache.put(key, e, age)
	return e
}

// refresh asks upstream for a key of which there is an answer to go on with.
func (r *Resolver) refresh(ctx context.Context, key []byte) {
	if _, _, err := r.start(ctx, key, true); err != nil {
		r.cache.failed(string(key), r.now())
	}
}

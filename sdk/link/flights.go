package link

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// flights are the calls in flight on a client's connection. The mutex of its
// outbox guards them, so that a call costs one lock.
type flights struct {
	epoch   time.Time
	limits  greeting
	slots   []slot
	free    uint32 // the first free slot, one more than its index; 0: none
	calls   int
	bytes   int               // of requests
	methods map[string]uint16 // numbers by which the other end knows methods
	last    struct {
		method string // "" for none
		number uint16
	}
	waiters  []chan struct{} // who found no room, the longest waiting first
	sweeping bool            // there may be calls with a deadline
	timed    chan struct{}   // tells the sweeper so; has room for one
	closed   error           // no more calls are begun
}

// slot is a call in flight. Its index is the call's id, which is used again
// only when the other end has answered, though the call may be cancelled.
type slot struct {
	owner    Receiver // nil if nobody waits for the answer
	used     bool
	told     bool          // the reader tells the owner of a part of the answer
	givenUp  error         // while the reader did so: why the owner does not wait any longer
	turn     uint32        // how often it was used
	next     uint32        // as free
	bytes    int           // of the request
	parts    parts         // of its answer
	at       uint64        // where the call begins in all that was ever queued
	deadline time.Duration // since epoch; 0: none
}

func newFlights(limits greeting) flights {
	return flights{epoch: time.Now(), limits: limits, methods: make(map[string]uint16), timed: make(chan struct{}, 1)}
}

// number is the one of a method, which the other end does not know yet if it is
// new. Then it is given only if there is room for the call, which names it.
func (f *flights) number(method string) (number uint16, isNew bool, err error) {
	if method == f.last.method && method != "" { // mostly the same one again
		return f.last.number, false, nil
	}
	if n, ok := f.methods[method]; ok {
		f.last.method, f.last.number = method, n
		return n, false, nil
	}
	n := len(f.methods)
	if n >= maxMethods {
		return 0, false, fmt.Errorf("%w: more than %d methods on one connection", ErrUnsuitable, maxMethods)
	}
	f.methods[method] = uint16(n)
	return uint16(n), true, nil
}

func (f *flights) hasRoom(bytes int) bool {
	return int64(f.calls) < int64(f.limits.calls) && (f.calls == 0 || int64(f.bytes+bytes) <= int64(f.limits.window))
}

// begin takes a slot for a call, for which there is room and that begins at a
// place of all that was queued.
func (f *flights) begin(r *Request, owner Receiver, at uint64, b *Batch) (id uint32) {
	if f.free == 0 {
		f.slots = append(f.slots, slot{})
		f.free = uint32(len(f.slots)) //nolint:gosec // G115: at most limits.calls
	}
	id = f.free - 1
	s := &f.slots[id]
	f.free = s.next
	*s = slot{owner: owner, used: true, turn: s.turn, bytes: r.size(), at: at}
	f.calls++
	f.bytes += s.bytes
	if r.Timeout > 0 {
		s.deadline = b.Now().Sub(f.epoch) + min(r.Timeout, longest)
		if !f.sweeping {
			f.sweeping = true
			f.timed <- struct{}{}
		}
	}
	return id
}

// longest is a time that can be added to another without an overflow, 146 years.
const longest = math.MaxInt64 / 2 * time.Nanosecond

// answered returns who waits for an answer, nil for nobody. The call is over
// unless more parts follow.
func (f *flights) answered(id uint32, a *Answer) (Receiver, error) {
	if uint64(id) >= uint64(len(f.slots)) || !f.slots[id].used {
		return nil, fmt.Errorf("an answer to call %d, which is not in flight", id)
	}
	s := &f.slots[id]
	if a.More || a.Part || a.Total > 0 {
		if err := s.parts.take(a); err != nil {
			return nil, fmt.Errorf("call %d: %w", id, err)
		}
	}
	owner := s.owner
	if !a.More {
		f.release(id)
		return owner, nil
	}
	s.told = owner != nil
	return owner, nil
}

// giveUp takes the owner off a call, who is to be told so. It returns nil if the
// call has ended, or if its owner is being told of a part of the answer and will
// then learn the reason from the reader.
func (f *flights) giveUp(h Handle, reason error) Receiver {
	owner := f.owner(h)
	if owner == nil {
		return nil
	}
	s := &f.slots[h.id]
	if s.told {
		s.givenUp = reason
		return nil
	}
	s.owner = nil
	return owner
}

// wasTold ends what answered has begun for a part. It returns why the owner
// does not wait any longer, if that is so; then it has no owner any more.
func (f *flights) wasTold(id uint32) (givenUp error) {
	s := &f.slots[id]
	s.told = false
	if givenUp = s.givenUp; givenUp != nil {
		s.owner, s.givenUp = nil, nil
	}
	return givenUp
}

func (f *flights) release(id uint32) {
	s := &f.slots[id]
	f.calls--
	f.bytes -= s.bytes
	*s = slot{turn: s.turn + 1, next: f.free}
	f.free = id + 1
	f.wakeOne()
}

// owner is who waits for the answer to a call, nil if it has ended.
func (f *flights) owner(h Handle) Receiver {
	if uint64(h.id) >= uint64(len(f.slots)) || f.slots[h.id].turn != h.turn {
		return nil
	}
	return f.slots[h.id].owner
}

// late are the calls whose deadline has passed. It reports whether there are
// others that have one.
func (f *flights) late(now time.Time) (late []Handle, more bool) {
	at, seen := now.Sub(f.epoch), 0
	for id := 0; seen < f.calls; id++ {
		s := &f.slots[id]
		if s.used {
			seen++
		}
		switch {
		case s.owner == nil || s.deadline == 0:
		case s.deadline <= at:
			late = append(late, Handle{id: uint32(id), turn: s.turn})
		default:
			more = true
		}
	}
	f.sweeping = more
	return late, more
}

// lost is a call that ends with its connection.
type lost struct {
	owner Receiver
	reach Reach
}

// end forgets all calls and returns those that somebody waits for. taken is how
// much of all that was queued may have been sent.
func (f *flights) end(taken uint64) (all []lost) {
	for i := range f.slots {
		s := &f.slots[i]
		if s.owner == nil {
			continue
		}
		reach := Lost
		if s.at >= taken {
			reach = Unreached
		}
		all = append(all, lost{s.owner, reach})
	}
	f.slots, f.free, f.calls, f.bytes = nil, 0, 0, 0
	for len(f.waiters) > 0 {
		f.wakeOne()
	}
	return all
}

// wait returns a channel that is closed when there may be room; nil if there is
// already. Who has waited before is again the first.
func (f *flights) wait(bytes int, again bool) chan struct{} {
	if f.closed != nil || f.hasRoom(bytes) {
		return nil
	}
	w := make(chan struct{})
	if again {
		f.waiters = slices.Insert(f.waiters, 0, w)
	} else {
		f.waiters = append(f.waiters, w)
	}
	return w
}

// stopWaiting takes back a wait. Who was woken meanwhile passes it on.
func (f *flights) stopWaiting(w chan struct{}) {
	for i, other := range f.waiters {
		if other == w {
			f.waiters = append(f.waiters[:i], f.waiters[i+1:]...)
			return
		}
	}
	f.wakeOne()
}

func (f *flights) wakeOne() {
	if len(f.waiters) > 0 {
		close(f.waiters[0])
		f.waiters = f.waiters[1:]
	}
}

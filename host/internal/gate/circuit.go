package gate

import (
	"sync"
	"sync/atomic"
	"time"
)

// circuit is the state of a breaker, in total or for one value of a key.
//
// The word has what a call must know to pass while it is closed: the state in
// the low bits, and above them the epoch, which is another one after each
// change. A call notes the epoch in which it was admitted, so that its end
// changes nothing when the circuit has opened, or opened and closed, since.
//
// A circuit of a key takes 64 bytes, and 8 for each failure in the window.
type circuit struct {
	word atomic.Int64

	mu       sync.Mutex
	failures []int64 // when they were, if closed; the oldest first
	until    int64   // open: when a probe is let through
	probing  int64   // half-open: until when no other call may be the probe
	gone     bool    // dropped
}

// The states of a circuit. A worse one is a greater number; the metric
// gaia_breaker_state shows them.
const (
	closed   = int64(0)
	halfOpen = int64(1)
	open     = int64(2)

	stateBits = 2
	stateMask = int64(1)<<stateBits - 1
)

func (k *circuit) state() int64 { return k.word.Load() & stateMask }

// epochs counts the changes of all circuits of a policy, so that an epoch of a
// circuit that was dropped does not come back.
type epochs struct {
	latest atomic.Int64
	opened atomic.Int64 // circuits that are not closed
	until  atomic.Int64 // when the last of those that are open lets a probe through
}

// change gives k another state, and returns its epoch. k.mu is held.
func (e *epochs) change(k *circuit, state int64) int64 {
	before, epoch := k.state(), e.latest.Add(1)
	k.word.Store(epoch<<stateBits | state)
	switch {
	case before == closed && state != closed:
		e.opened.Add(1)
	case before != closed && state == closed:
		e.opened.Add(-1)
	}
	return epoch
}

// worst is the worst state of all circuits. None leaves open before its time.
func (e *epochs) worst(now int64) int64 {
	switch {
	case now < e.until.Load():
		return open
	case e.opened.Load() > 0:
		return halfOpen
	default:
		return closed
	}
}

// admit admits a call as the probe, or says for how long the circuit is open: 0
// for as long as a probe is under way.
//
// A probe is the only one for as long as the circuit was open: one that hangs,
// or a stream, must not keep all others out.
func (k *circuit) admit(b *Breaker, e *epochs, now int64) (t Ticket, left time.Duration, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch k.state() {
	case closed: // since the caller looked
		return Ticket{mark: k.word.Load() >> stateBits}, 0, true
	case open:
		if now < k.until {
			return Ticket{}, time.Duration(k.until - now), false
		}
	case halfOpen:
		if k.probing > now {
			return Ticket{}, 0, false
		}
	}
	k.probing = now + int64(b.OpenFor)
	return Ticket{mark: -e.change(k, halfOpen), held: k}, 0, true
}

// ended counts the end of a call that was admitted with mark. It reports false
// when the circuit was dropped, which only a failure has to know.
func (k *circuit) ended(b *Breaker, e *epochs, mark int64, o Outcome, now int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	epoch := k.word.Load() >> stateBits
	switch {
	case k.gone:
		return false
	case mark < 0:
		if -mark == epoch && k.state() == halfOpen {
			k.probed(b, e, o, now)
		}
	case o == Failure && k.state() == closed && mark >= epoch:
		k.fail(b, e, now)
	}
	return true
}

// probed takes the outcome of the probe. mu is held.
func (k *circuit) probed(b *Breaker, e *epochs, o Outcome, now int64) {
	k.probing = 0
	switch o {
	case Success:
		e.change(k, closed)
	case Failure:
		k.open(b, e, now)
	case Neutral: // the next call is the probe
	}
}

// fail counts a failure. mu is held.
func (k *circuit) fail(b *Breaker, e *epochs, now int64) {
	k.forget(b, now)
	if k.failures = append(k.failures, now); len(k.failures) >= b.Failures {
		k.open(b, e, now)
	}
}

// open opens the circuit. mu is held.
func (k *circuit) open(b *Breaker, e *epochs, now int64) {
	k.failures = nil
	k.until = now + int64(b.OpenFor)
	e.change(k, open)
	for last := e.until.Load(); k.until > last && !e.until.CompareAndSwap(last, k.until); last = e.until.Load() {
	}
}

// forget drops the failures that are too long ago to count. mu is held.
func (k *circuit) forget(b *Breaker, now int64) {
	old := 0
	for old < len(k.failures) && now-k.failures[old] >= int64(b.Within) {
		old++
	}
	if k.failures = k.failures[old:]; len(k.failures) == 0 {
		k.failures = nil
	}
}

// retire drops the circuit if a new one would do as well: it is closed without
// failures, or nobody has asked for so long that there would be none left.
func (k *circuit) retire(b *Breaker, e *epochs, now int64) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(b, now)
	switch {
	case k.state() == closed && k.failures == nil:
	case k.state() != closed && k.probing <= now && now-k.until > forgotten*int64(b.OpenFor+b.Within):
		e.change(k, closed)
	default:
		return false
	}
	k.gone = true
	return true
}

// forgotten is how many times as long as a breaker remembers anything nobody
// has to ask for a value until its circuit, whose probe nobody was, is dropped.
const forgotten = 10

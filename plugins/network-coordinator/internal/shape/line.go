package shape

import (
	"math"
	"sync/atomic"
	"time"
)

// line is one limit and those who wait for it. All but limited is guarded by
// direction.mu.
type line struct {
	direction *direction
	limited   atomic.Bool // rate > 0

	bucket
	queue  queue[*share] // the clients that wait
	clock  int64         // the tag of the share that was served last
	shares map[string]*share
	flows  int // that have joined

	timer *time.Timer
	due   time.Time // when the timer fires; zero when it does not
}

// share is one client in a line.
type share struct {
	turn
	queue queue[*place] // its flows that wait
	clock int64         // the tag of the place that was served last
	flows int           // that have joined
}

// place is one flow in a line.
type place struct {
	turn
	meter *Meter
	line  *line
	share *share
	taken int // of the line by the last Take
}

const (
	// cycle is how often a flow gets its turn, if that makes a grant of a packet.
	cycle = 100 * time.Millisecond
	// longest is how long a line may gather for one grant. It is less than spare, so
	// that a line loses nothing while its only flow waits in another.
	longest = 20 * time.Millisecond
	// packet is the bytes of a full one; smaller grants cost more than they smooth.
	packet = 1448
	// tick is the shortest that a timer is set to. The kernel's are no finer.
	tick = time.Millisecond
)

func newLine(d *direction, rate uint64, now time.Time) *line {
	l := &line{direction: d, shares: map[string]*share{}}
	l.last = now
	l.set(rate, now)
	return l
}

// set changes the rate.
func (l *line) set(rate uint64, now time.Time) {
	l.setRate(rate, len(l.queue) > 0, now)
	l.limited.Store(rate > 0)
	l.serve(now)
}

// join makes room for a flow of a client.
func (l *line) join(client string) *share {
	s := l.shares[client]
	if s == nil {
		s = &share{turn: turn{tag: l.clock}}
		l.shares[client] = s
	}
	s.flows++
	l.flows++
	return s
}

func (l *line) leave(client string) {
	s := l.shares[client]
	s.flows--
	l.flows--
	if s.flows == 0 {
		delete(l.shares, client)
	}
}

// quantum is the most that a flow is granted at once: what it may expect in a
// cycle, so that all get their turn in that time, and grants are the larger the
// fewer they are; a packet at least, as smaller ones are dear; but what the line
// carries in 20 ms at most, so that a slow line is smooth.
func (l *line) quantum(s *share) int {
	if l.rate == 0 {
		return math.MaxInt
	}
	expected := l.expected() / float64(max(1, len(s.queue)))
	return max(1, int(min(max(expected, packet), l.worth(longest))))
}

// expected is what the flows of one client may expect together in a cycle.
func (l *line) expected() float64 { return l.worth(cycle) / float64(max(1, len(l.queue))) }

// enter queues a flow and serves who is next, which may be this one.
//
// Who comes back while others were served stands where these stand now. But who
// was away for less than a cycle, as all are who move what they were granted,
// keeps what it lags behind, up to what a cycle brings: with small grants between
// large ones, it would lose much each time. Who is new, or was idle, is not ahead
// of the others, or these would wait for everyone who is.
func (l *line) enter(p *place, now time.Time) {
	l.refill(len(l.queue) > 0, now)
	s := p.share
	p.back(s.clock, l.quantum(s), now)
	s.queue.push(p)
	if s.index == 0 {
		s.back(l.clock, int(l.expected()), now)
		l.queue.push(s)
	}
	l.serve(now)
}

// serve grants while there is something to grant, and sets the timer to when
// there will be.
func (l *line) serve(now time.Time) {
	if len(l.queue) == 0 {
		return
	}
	l.refill(true, now)
	for len(l.queue) > 0 {
		s := l.queue[0]
		p := s.queue[0]
		n := min(p.meter.want, l.quantum(s))
		if short := l.short(n); short > 0 {
			l.wake(now, max(short, tick))
			return
		}
		l.grant(s, p, n, now)
		p.meter.advance(now)
	}
}

// grant takes n bytes of the line for the flow that is next.
func (l *line) grant(s *share, p *place, n int, now time.Time) {
	l.tokens -= float64(n)
	l.clock, s.clock = max(l.clock, s.tag), max(s.clock, p.tag) // who lags does not turn it back
	p.taken, p.meter.want = n, n
	p.tag += int64(n)
	s.tag += int64(n)
	p.seen, s.seen = now, now
	s.queue.remove(p)
	if len(s.queue) == 0 {
		l.queue.remove(s)
	} else {
		l.queue.fix(s)
	}
}

// giveBack undoes so much of the last grant of a flow, as if it had never been.
func (l *line) giveBack(p *place, n int) {
	n = min(n, p.taken)
	if n <= 0 {
		return
	}
	p.taken -= n
	p.tag -= int64(n)
	p.share.tag -= int64(n)
	if p.share.index > 0 {
		l.queue.fix(p.share)
	}
	l.bucket.giveBack(n, len(l.queue) > 0)
}

// abandon takes a flow that waits out of the queue.
func (l *line) abandon(p *place) {
	p.share.queue.remove(p)
	if len(p.share.queue) == 0 {
		l.queue.remove(p.share)
	}
}

// wake has the line served after so long, if not before.
func (l *line) wake(now time.Time, after time.Duration) {
	due := now.Add(after)
	if !l.due.IsZero() && !due.Before(l.due) {
		return
	}
	l.due = due
	if l.timer == nil {
		l.timer = time.AfterFunc(after, l.fire)
	} else {
		l.timer.Reset(after)
	}
}

func (l *line) fire() {
	l.direction.mu.Lock()
	defer l.direction.mu.Unlock()
	l.due = time.Time{}
	l.serve(time.Now())
}

// stop ends the timer of a line that is forgotten.
func (l *line) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
}

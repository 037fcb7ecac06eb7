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

// Rate is how often calls may start.
type Rate struct {
	Name string // unique; the policy is called "rate.<Name>"
	Key  string // each value of this key has tokens of its own; "" for one bucket
	Quota
	Wait      time.Duration // how long a call may wait for a token; 0 rejects at once
	Overrides []Override    // for values of Key
}

// Quota is a number of tokens per time.
type Quota struct {
	Events uint64        // per Per; at least 1
	Per    time.Duration // above zero
	Burst  int           // tokens that an idle bucket holds; at least 1
}

// interval is the time between two tokens, rounded up: what is admitted in any
// window stays below the limit, by less than one part in a hundred at
// 10,000,000 a second, the fastest that config.hcl allows.
func (q Quota) interval() time.Duration {
	return time.Duration((uint64(q.Per) + q.Events - 1) / q.Events) //nolint:gosec // G115: both are positive
}

func (q Quota) String() string {
	return fmt.Sprintf("%d/%v, burst %d", q.Events, shortDuration(q.Per), q.Burst)
}

// rate is what all buckets of one rate have in common.
type rate struct {
	policy string // "rate.<name>"
	name   string
	key    string // "" for a rate of all calls
	wait   time.Duration
}

// bucket admits calls at a rate, by the generic cell rate algorithm: one word
// says when the bucket will be full again, and a token is taken by moving it.
// In any window of length t it admits at most t/interval + burst calls.
//
// Calls that find no token may wait, first come first served. They take their
// token when it is due and reserve none, so one that leaves costs the others
// nothing. The first in the queue waits for the clock; who leaves the front
// wakes the next. While somebody waits, newcomers queue behind.
type bucket struct {
	*rate

	quota     Quota
	pattern   string // of the override that the quota comes from; "" for none
	value     string // of the key
	interval  time.Duration
	tolerance time.Duration // how far before it is full a token may be taken: (burst-1) intervals

	full    atomic.Int64 // instant from which on the bucket is full, if no more is taken
	waiting atomic.Int64 // length of the queue

	mu    sync.Mutex
	queue []*rateWaiter // in the order of arrival; the first one waits for its token
}

type rateWaiter struct{ front chan struct{} } // closed when it is the first

// path is the block of the rate within its subsystem's in config.hcl.
func (r *rate) path() string { return fmt.Sprintf("rate[%q]", r.name) }

// path is the block that the quota comes from.
func (b *bucket) path() string {
	if b.pattern == "" {
		return b.rate.path()
	}
	return fmt.Sprintf("%s.override[%q]", b.rate.path(), b.pattern)
}

func newBucket(r *rate, q Quota, pattern, value string) *bucket {
	interval := q.interval()
	return &bucket{rate: r, quota: q, pattern: pattern, value: value, interval: interval, tolerance: time.Duration(q.Burst-1) * interval}
}

// Admit takes a token, or waits for one.
func (b *bucket) Admit(ctx context.Context, c *Call) (Ticket, error) {
	if b.waiting.Load() == 0 && b.take(c.now) {
		return Ticket{}, nil
	}
	w, delay := b.join(c)
	switch {
	case delay == 0:
		return Ticket{}, nil
	case w == nil:
		return Ticket{}, b.refuse(delay)
	}
	defer b.leave(w)
	latest := c.now.add(b.wait) // join has read the clock
	if err := c.await(ctx, w.front, c.deadline); err != nil {
		return Ticket{}, c.gaveUp(b.policy, err, b.remedy())
	}
	for !b.take(c.now) {
		if b.due(0) > latest { // a newcomer who saw nobody wait has taken a token
			return Ticket{}, b.refuse(b.due(0).sub(c.now))
		}
		timer := make(chan struct{})
		due := time.AfterFunc(b.due(0).sub(c.now), func() { close(timer) })
		err := c.await(ctx, timer, c.deadline)
		due.Stop()
		if err != nil {
			return Ticket{}, c.gaveUp(b.policy, err, b.remedy())
		}
	}
	return Ticket{}, nil
}

// Done does nothing: a token is spent.
func (*bucket) Done(*Call, Ticket, Outcome) {}

// take takes a token if one is there.
func (b *bucket) take(now instant) bool {
	for {
		full := b.full.Load()
		if instant(full).sub(now) > b.tolerance {
			return false
		}
		next := max(instant(full), now).add(b.interval)
		if b.full.CompareAndSwap(full, int64(next)) {
			return true
		}
	}
}

// due is when a token is there for a call behind ahead others.
func (b *bucket) due(ahead int) instant {
	return instant(b.full.Load()).add(time.Duration(ahead)*b.interval - b.tolerance)
}

// join takes a token if one is there by now, and returns no delay; or a place
// in the queue, if the token will come in time; or no place.
func (b *bucket) join(c *Call) (w *rateWaiter, delay time.Duration) {
	now := c.read()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 && b.take(now) {
		return nil, 0
	}
	delay = max(b.due(len(b.queue)).sub(now), 1)
	if delay > b.wait || c.deadline != 0 && now.add(delay) >= c.deadline {
		return nil, delay
	}
	w = &rateWaiter{front: make(chan struct{})}
	b.queue = append(b.queue, w)
	b.waiting.Add(1)
	if len(b.queue) == 1 {
		close(w.front)
	}
	return w, delay
}

// leave gives up a place in the queue and wakes the next one, if it was the
// first.
func (b *bucket) leave(w *rateWaiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other != w {
			continue
		}
		b.waiting.Add(-1)
		if i > 0 {
			b.queue = slices.Delete(b.queue, i, i+1)
			return
		}
		b.queue = b.queue[1:]
		if len(b.queue) > 0 {
			close(b.queue[0].front)
		} else {
			b.queue = nil // and the array with it
		}
		return
	}
}

// refuse says when a token would be there.
func (b *bucket) refuse(delay time.Duration) error {
	values := map[string]string{
		b.path() + ".limit": fmt.Sprintf("%d/%v", b.quota.Events, shortDuration(b.quota.Per)),
		b.path() + ".burst": strconv.Itoa(b.quota.Burst),
	}
	of := ""
	if b.key != "" {
		values[b.key] = b.value
		of = fmt.Sprintf(" for %s %q", b.key, b.value)
	}
	return rejection{
		code:   codes.ResourceExhausted,
		reason: "RATE_LIMITED",
		policy: b.policy,
		retry:  delay,
		values: values,
		text: fmt.Sprintf("%s: more than %v%s; retry in %v or %s",
			b.policy, b.quota, of, delay.Round(time.Millisecond), b.remedy()),
	}.status()
}

func (b *bucket) remedy() string { return "raise " + b.path() + ".limit" }

// isIdle reports whether a new bucket would be the same.
func (b *bucket) isIdle(now instant) bool {
	return b.waiting.Load() == 0 && instant(b.full.Load()) <= now
}

// describe says how many tokens are left.
func (b *bucket) describe(now instant) string {
	left := b.quota.Burst
	if missing := instant(b.full.Load()).sub(now); missing > 0 {
		left -= int((missing + b.interval - 1) / b.interval)
	}
	return fmt.Sprintf("%d of %d tokens left, %d waiting", max(left, 0), b.quota.Burst, b.waiting.Load())
}

// shortDuration writes a period as config.hcl does: "s", "min", "1m30s".
func shortDuration(d time.Duration) string {
	names := map[time.Duration]string{time.Second: "s", time.Minute: "min", time.Hour: "h", 24 * time.Hour: "day"}
	if name, ok := names[d]; ok {
		return name
	}
	return d.String()
}

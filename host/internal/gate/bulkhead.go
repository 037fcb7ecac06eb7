package gate

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// bulkheadRetry is when a rejected caller may come back. How soon a place is
// free is not known; this keeps polite callers from coming back at once.
const bulkheadRetry = 100 * time.Millisecond

// bulkhead limits how many calls are in flight, in total or for each value of
// a key.
type bulkhead struct {
	*common

	policy string
	path   string // of the block in config.hcl that says it
	key    key
	bounds *bounds
	total  *permits // nil with a key
	keyed  *table[permits]
	spare  *permits // for the values that find no room
	tuner  *tuner   // nil: the limit is fixed
	full   atomic.Pointer[rejected]
}

// rejected is what calls beyond the queue are told. It is kept, because turning
// calls away must be cheap when there are too many of them.
type rejected struct {
	limit, depth int64
	err          error
}

// newBulkhead returns a bulkhead for all calls, without a limit yet.
func newBulkhead(g *common) *bulkhead {
	b := &bulkhead{common: g, policy: PolicyBulkhead, path: "limits", bounds: &bounds{clock: g.clock}}
	b.total = &permits{bounds: b.bounds}
	return b
}

// newKeyedBulkhead returns a bulkhead for each value of a key.
func newKeyedBulkhead(g *common, l KeyLimit) *bulkhead {
	b := &bulkhead{
		common: g,
		policy: PolicyBulkhead + "." + l.Key,
		path:   "limits.per_key[" + strconv.Quote(l.Key) + "]",
		key:    g.key(l.Key),
		bounds: &bounds{clock: g.clock},
	}
	b.spare = &permits{bounds: b.bounds}
	b.keyed = newTable[permits](b, g.seed)
	b.resize(l.Concurrency, l.Queue)
	return b
}

// resize changes the limits of all permits. A higher one lets waiters in at
// once, a lower one takes effect as calls end. A limit below 1 is none.
func (b *bulkhead) resize(limit, depth int) {
	if limit < 1 {
		limit = unlimited
	}
	b.bounds.limit.Store(int64(limit))
	b.bounds.depth.Store(int64(depth))
	if b.total != nil {
		b.total.refill()
		return
	}
	b.spare.refill()
	b.keyed.each((*permits).refill)
}

// Try takes a permit if one is free.
func (b *bulkhead) Try(c *Call) (t Ticket, passed bool, err error) {
	p, v, err := b.ask(c, nil)
	if v != taken {
		return Ticket{}, false, err
	}
	return b.permit(c, p), true, nil
}

// Await waits for a permit.
func (b *bulkhead) Await(ctx context.Context, c *Call) (Ticket, error) {
	w := newWaiter(c)
	p, v, err := b.ask(c, w)
	if v == short {
		err = b.stand(ctx, c, p, w)
	}
	if err != nil {
		return Ticket{}, err
	}
	return b.permit(c, p), nil
}

// Done gives the permit back.
func (b *bulkhead) Done(c *Call, t Ticket, o Outcome) {
	p, ok := t.held.(*permits)
	if !ok || p == nil {
		return
	}
	p.release()
	if b.tuner != nil {
		b.tuner.ended(c, t.mark, o)
	}
}

// permit is the ticket of a call that has a permit of p, or needs none.
func (b *bulkhead) permit(c *Call, p *permits) Ticket {
	if b.tuner != nil {
		b.tuner.admitted(c)
	}
	return Ticket{c.now, p}
}

// ask asks for a permit, or for a place in the queue for w, if there is a w. p
// is nil when the call has no value of the key.
func (b *bulkhead) ask(c *Call, w *waiter) (p *permits, v verdict, err error) {
	var value *keyValue
	if b.keyed != nil {
		if value = b.key.of(c); value == nil {
			return nil, taken, nil
		}
	}
	for {
		p := b.total
		if value != nil {
			p = b.keyed.enter(value, c.now)
			p.use(c.now)
		}
		v := p.enter()
		if v == short {
			v, err = b.line(c, p, w, value)
		}
		if v != gone {
			return p, v, err
		}
		b.keyed.settle(value)
	}
}

// line is for a call that has found no permit.
func (b *bulkhead) line(c *Call, p *permits, w *waiter, value *keyValue) (verdict, error) {
	if b.tuner != nil {
		b.tuner.usedUp.Store(true)
	}
	c.now = b.clock.now()
	switch v := p.join(w, c.now, c.deadline); v {
	case refused:
		return v, b.refuse(value)
	case tooLate:
		return v, b.hopeless(c, p, value)
	default:
		return v, nil
	}
}

// stand stands in the queue until the call has its permit.
func (b *bulkhead) stand(ctx context.Context, c *Call, p *permits, w *waiter) error {
	b.queued.Add(1)
	err := await(ctx, w, c.left(c.now))
	b.queued.Add(-1)
	c.now, c.waited = b.clock.now(), true
	var value *keyValue
	if b.keyed != nil {
		value = b.key.of(c)
	}
	switch {
	case err != nil:
		p.leave(w)
		return c.gaveUp(err, b.policy, fmt.Sprintf("%d calls were in flight%s, the limit; retry later or raise %s",
			b.bounds.limit.Load(), b.whom(value), b.remedy()))
	case w.hopeless:
		return b.hopeless(c, p, value)
	default:
		return nil
	}
}

// refuse turns a call away that has no place in the queue.
func (b *bulkhead) refuse(value *keyValue) error {
	limit, depth := b.bounds.limit.Load(), b.bounds.depth.Load()
	if value != nil {
		return b.queueFull(limit, depth, value)
	}
	r := b.full.Load()
	if r == nil || r.limit != limit || r.depth != depth {
		r = &rejected{limit, depth, b.queueFull(limit, depth, nil)}
		b.full.Store(r)
	}
	return r.err
}

// queueFull is the same for all calls: a call is turned away only when both
// limits are used up.
func (b *bulkhead) queueFull(limit, depth int64, value *keyValue) error {
	r := b.rejection(value)
	r.text = fmt.Sprintf("%s: %d calls in flight and %d queued%s, limits %d and %d; retry later or raise %s",
		b.policy, limit, depth, b.whom(value), limit, depth, b.remedy())
	return r.status()
}

// hopeless turns a call away that could not be answered in time any more.
func (b *bulkhead) hopeless(c *Call, p *permits, value *keyValue) error {
	_, waiting := p.counts()
	r := b.rejection(value)
	r.text = fmt.Sprintf("%s: no answer could come before the deadline, which is in %v: there are %d calls in the queue%s, %v apart, and a call takes %v; "+
		"retry later, with a later deadline, or raise %s",
		b.policy, roughly(c.left(c.now)), waiting, b.whom(value), roughly(time.Duration(b.bounds.turn.Load())),
		roughly(time.Duration(b.bounds.need.Load()/needFactor)), b.remedy())
	return r.status()
}

func (b *bulkhead) rejection(value *keyValue) rejection {
	r := rejection{
		code:   codes.ResourceExhausted,
		reason: "BULKHEAD_FULL",
		policy: b.policy,
		retry:  bulkheadRetry,
		values: map[string]string{},
	}
	for _, s := range b.settings() {
		r.values[s.Path] = s.Value
	}
	if value != nil {
		maps.Copy(r.values, value.metadata())
	}
	return r
}

// settings are where the limits are written in config.hcl.
func (b *bulkhead) settings() []Setting {
	depth := Setting{b.path + ".queue", strconv.FormatInt(b.bounds.depth.Load(), 10)}
	if b.tuner != nil {
		return append(b.tuner.settings(), depth)
	}
	return []Setting{{b.path + ".concurrency", strconv.FormatInt(b.bounds.limit.Load(), 10)}, depth}
}

// remedy is the argument to raise.
func (b *bulkhead) remedy() string {
	if b.tuner != nil {
		return b.path + ".max"
	}
	return b.path + ".concurrency"
}

func (b *bulkhead) whom(value *keyValue) string {
	if value == nil {
		return ""
	}
	return fmt.Sprintf(" for %s %s", b.key.name, value.shown())
}

// start begins the permits of a value that had none. As long as calls are
// inside the shared ones, some of them may be of that value.
func (b *bulkhead) start(_ string, p *permits, now int64) bool {
	p.bounds = b.bounds
	p.used.Store(now)
	return b.spare.state.Load() == 0
}

func (b *bulkhead) shared(string) *permits { return b.spare }

func (b *bulkhead) retire(p *permits, since int64) bool { return p.retire(since) }

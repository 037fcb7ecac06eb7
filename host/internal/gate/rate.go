package gate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// Rate is how often calls may start, in total or for each value of a key.
type Rate struct {
	Name string // unique; the policy is called "rate.<name>", and that without a name "rate"
	Key  string // "": all calls share the tokens
	Quota
	Wait      time.Duration // how long a call waits for a token; 0 refuses it at once
	Overrides []Override    // without a Key they do not matter
}

// equal reports whether two rates say the same.
func (r Rate) equal(other Rate) bool {
	return r.Name == other.Name && r.Key == other.Key && r.Quota == other.Quota && r.Wait == other.Wait &&
		slices.Equal(r.Overrides, other.Overrides)
}

// rate is the policy of a Rate. What it lets pass in any window of length t is
// at most rate·t + burst; a call that waited counts from when its token was
// due, which is up to maxLate before it goes.
type rate struct {
	*common
	Rate

	policy string
	path   string // of its block in config.hcl
	key    key
	pace   *pace
	over   overrides
	total  *bucket // nil with a key
	keyed  *table[bucket]
}

func newRate(g *common, r Rate) *rate {
	path, policy := PolicyRate, PolicyRate
	if r.Name != "" {
		path, policy = "rate["+strconv.Quote(r.Name)+"]", PolicyRate+"."+r.Name
	}
	p := &rate{
		common: g,
		Rate:   r,
		policy: policy,
		path:   path,
		key:    g.key(r.Key),
		pace:   newPace(r.Quota, path),
		over:   newOverrides(r.Overrides, path),
	}
	if r.Key == "" {
		p.total = &new(padded).bucket
		p.total.pace = p.pace
	} else {
		p.keyed = newTable[bucket](p, g.seed)
	}
	return p
}

// Try takes a token if there is one.
func (r *rate) Try(c *Call) (t Ticket, passed bool, err error) {
	b, v, err := r.ask(c, nil)
	return Ticket{c.now, b}, v == taken, err
}

// Await waits for a token.
func (r *rate) Await(ctx context.Context, c *Call) (Ticket, error) {
	w := newWaiter(c)
	b, v, err := r.ask(c, w)
	if v == taken || err != nil {
		return Ticket{c.now, b}, err
	}
	c.waited = true
	if err := r.stand(ctx, c, b, w); err != nil {
		return Ticket{}, c.gaveUp(err, r.policy, "for a token of "+b.pace.describe()+"; retry later or raise "+b.pace.path+".limit")
	}
	return Ticket{w.since, b}, nil
}

// Done returns the token of a call that another policy turned away.
func (r *rate) Done(c *Call, t Ticket, _ Outcome) {
	if c.entered {
		return
	}
	if b, ok := t.held.(*bucket); ok && b != nil {
		b.giveBack(t.mark, r.clock.now())
	}
}

// ask asks the call's bucket for a token, or for a place in its line for w, if
// there is a w. The bucket is nil when the call has no value of the key.
func (r *rate) ask(c *Call, w *waiter) (b *bucket, v verdict, err error) {
	var value *keyValue
	if r.keyed != nil {
		if value = r.key.of(c); value == nil {
			return nil, taken, nil
		}
	}
	for {
		b := r.total
		if value != nil {
			b = r.keyed.enter(value, c.now)
		}
		v := b.take(c.now)
		if v == short {
			v, err = r.line(c, b, w, value)
		}
		if v != gone {
			return b, v, err
		}
		r.keyed.settle(value)
	}
}

// line is for a call that has found no token.
func (r *rate) line(c *Call, b *bucket, w *waiter, value *keyValue) (verdict, error) {
	now, due, v := b.join(w, r.clock, r.Wait, c.deadline)
	if v == gone {
		return v, nil
	}
	if c.now = now; v == refused {
		return v, r.refuse(c, b, value, due)
	}
	return v, nil
}

// stand stands in the line until the call has its token. A deadline need not be
// watched: the token comes before it.
func (r *rate) stand(ctx context.Context, c *Call, b *bucket, w *waiter) error {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		c.now = r.clock.now()
		granted, next := b.look(w, c.now)
		if granted {
			return nil
		}
		timer.Reset(time.Duration(next - c.now))
		select {
		case <-w.called:
		case <-timer.C:
		case <-ctx.Done():
			c.now = r.clock.now()
			if b.leave(w) {
				b.giveBack(w.since, c.now)
			}
			return ctx.Err()
		}
	}
}

// refuse turns a call away for which there would be a token when it is due.
func (r *rate) refuse(c *Call, b *bucket, value *keyValue, due int64) error {
	in := time.Duration(max(0, due-c.now))
	values := map[string]string{}
	for _, s := range b.pace.settings() {
		values[s.Path] = s.Value
	}
	why := ""
	switch {
	case r.Wait <= 0:
	case in > r.Wait:
		why = fmt.Sprintf(", longer than %s.wait, which is %s", r.path, shortDuration(r.Wait))
		values[r.path+".wait"] = shortDuration(r.Wait)
	default:
		why = fmt.Sprintf(", not before the call's deadline in %v", roughly(c.left(c.now)))
	}
	whom := ""
	if value != nil {
		whom = fmt.Sprintf(" for %s %s", r.Key, value.shown())
		maps.Copy(values, value.metadata())
	}
	return rejection{
		code:   codes.ResourceExhausted,
		reason: "RATE_LIMITED",
		policy: r.policy,
		retry:  in,
		values: values,
		text: fmt.Sprintf("%s: over %s%s; the next token is due in %v%s; retry then or raise %s.limit",
			r.policy, b.pace.describe(), whom, roughly(in), why, b.pace.path),
	}.status()
}

// start begins the state of a value that had none. With what it took of the
// shared one it starts, so that it never gets more by changing over.
func (r *rate) start(value string, b *bucket, _ int64) bool {
	b.pace = r.paceOf(value)
	word := b.pace.spare.word.Load()
	b.word.Store(word)
	return word&waitingBit == 0
}

func (r *rate) shared(value string) *bucket { return r.paceOf(value).spare }

func (r *rate) retire(b *bucket, since int64) bool { return b.retire(since) }

// paceOf is the pace of a value. Patterns are in lower case.
func (r *rate) paceOf(value string) *pace {
	if p := r.over.find(strings.ToLower(value)); p != nil {
		return p
	}
	return r.pace
}

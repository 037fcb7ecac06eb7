package gate

import (
	"fmt"
	"strconv"
	"time"
)

// PolicyRetry is the name under which Explain tells of repeats. They reject
// nothing.
const PolicyRetry = "retry"

// Explanation is what a policy is to a call.
type Explanation struct {
	Policy   string
	Applies  bool
	Why      string    // does it not apply; "" if it does
	Settings []Setting // those in force for the call
	State    string    // in words; "" if it has none
}

// Setting is a value that decides something.
type Setting struct {
	Path  string // of the argument in config.hcl, such as `rate["domain"].limit`
	Value string // as config.hcl writes it, without quotation marks
}

// explainer is a policy that can tell what it is to a call. It changes nothing
// and keeps nothing of the call.
type explainer interface {
	explain(c *Call) Explanation
}

// Explain says what each policy is to a call like c, in the order in which
// calls pass them. It makes no call.
func (g *Gate) Explain(c *Call) []Explanation {
	ch := g.chain.Load()
	like := &Call{Method: c.Method, Stream: c.Stream, Keys: c.Keys}
	like.begin(ch, g.common.clock)
	all := []Explanation{ch.deadline.explainTo(like)}
	for _, s := range ch.steps {
		if p, ok := s.policy.(explainer); ok {
			e := p.explain(like)
			e.Policy, e.Applies = s.name, e.Why == ""
			all = append(all, e)
		}
	}
	return append(all, ch.retry.explain())
}

func (d deadline) explainTo(c *Call) Explanation {
	e := Explanation{
		Policy:   PolicyDeadline,
		Applies:  true,
		Settings: []Setting{{"limits.timeout", shortDuration(d.timeout)}},
	}
	switch {
	case c.Stream:
		e.Applies, e.Why = false, c.Method+" is a stream, which has its caller's deadline only"
	case d.timeout <= 0:
		e.Applies, e.Why = false, "limits.timeout is not set"
	}
	return e
}

func (r *retry) explain() Explanation {
	e := Explanation{
		Policy:  PolicyRetry,
		Applies: true,
		Settings: []Setting{
			{"retry.attempts", strconv.Itoa(max(r.Attempts, 1))},
			{"retry.budget", strconv.FormatFloat(float64(r.budget.share)*100/oneRepeat, 'f', -1, 64) + "%"},
		},
		State: fmt.Sprintf("budget for %d repeats", r.budget.credit.Load()/oneRepeat),
	}
	if r.Attempts <= 1 {
		e.Applies, e.Why = false, "retry.attempts is 1"
	}
	return e
}

// state begins the words about the state for a value.
func (k key) state(v *keyValue) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf("for %s %s: ", k.name, v.shown())
}

// lacks says that a policy is not for a call without its key.
func (k key) lacks(c *Call) Explanation {
	return Explanation{Why: fmt.Sprintf("%s has no key %q", c.Method, k.name)}
}

func (r *rate) explain(c *Call) Explanation {
	b, value := r.total, (*keyValue)(nil)
	if r.keyed != nil {
		if value = r.key.of(c); value == nil {
			return r.key.lacks(c)
		}
		if b = r.keyed.find(value); b == nil {
			b = &bucket{pace: r.paceOf(string(value.bytes))}
		}
	}
	tokens, waiting := b.counts(c.now)
	settings := append(b.pace.settings(), Setting{r.path + ".wait", shortDuration(r.Wait)})
	return Explanation{
		Settings: settings,
		State:    r.key.state(value) + fmt.Sprintf("%d of %d tokens left, %s waiting", tokens, b.pace.Burst, orNone(waiting)),
	}
}

func (b *breaker) explain(c *Call) Explanation {
	k, value := b.total, (*keyValue)(nil)
	if k == nil {
		if value = b.key.of(c); value == nil {
			return b.key.lacks(c)
		}
		if k = b.find(value); k == nil {
			k = new(circuit)
		}
	}
	return Explanation{Settings: b.settings(), State: b.key.state(value) + k.describe(&b.Breaker, c.now)}
}

func (k *circuit) describe(b *Breaker, now int64) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.state() == open && now < k.until:
		return fmt.Sprintf("open for another %v", roughly(time.Duration(k.until-now)))
	case k.state() == halfOpen && k.probing > now:
		return "half-open, a call is under way to try whether it can close"
	case k.state() != closed:
		return "half-open, the next call tries whether it can close"
	}
	k.forget(b, now)
	return fmt.Sprintf("closed, %d failures in the last %s", len(k.failures), shortDuration(b.Within))
}

func (b *bulkhead) explain(c *Call) Explanation {
	p, value := b.total, (*keyValue)(nil)
	if b.keyed != nil {
		if value = b.key.of(c); value == nil {
			return b.key.lacks(c)
		}
		if p = b.keyed.find(value); p == nil {
			p = &permits{bounds: b.bounds}
		}
	}
	inFlight, waiting := p.counts()
	limit, depth := b.bounds.limit.Load(), b.bounds.depth.Load()
	e := Explanation{Settings: b.settings()}
	switch {
	case b.tuner != nil:
		e.State = fmt.Sprintf("limit now %d (adaptive), %d in flight, %d of %d queued", limit, inFlight, waiting, depth)
	case limit >= unlimited:
		e.State = fmt.Sprintf("%d in flight, without a limit", inFlight)
		e.Settings = nil
	default:
		e.State = fmt.Sprintf("%d in flight of %d, %d of %d queued", inFlight, limit, waiting, depth)
	}
	e.State = b.key.state(value) + e.State
	return e
}

func orNone(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

package gate

import (
	"fmt"
	"strconv"
)

// Explanation is one policy as far as it concerns one call.
type Explanation struct {
	Policy   string
	Applies  bool
	Why      string // it does not apply; "" when it does
	Settings []Setting
	State    string // in words; "" when it has none
}

// Setting is one value that the operator may set.
type Setting struct {
	Path  string // of the argument in config.hcl, within the subsystem's block
	Value string // as config.hcl writes it
}

// Explain says which policies a call would pass, in that order, what they allow
// and how they stand. It makes no call and changes nothing.
func (g *Gate) Explain(c *Call) []Explanation {
	chain := g.chain.Load()
	all := []Explanation{{
		Policy: PolicyDeadline, Applies: !c.Stream && chain.deadline.timeout > 0,
		Settings: []Setting{{"limits.timeout", chain.deadline.timeout.String()}},
	}}
	if c.Stream {
		all[0].Why = "streams have their callers' deadlines only"
	} else if !all[0].Applies {
		all[0].Why = "there is no timeout"
	}
	now := g.clock.now()
	for _, s := range chain.steps {
		all = append(all, explain(chain, s, c, now))
	}
	return append(all, Explanation{
		Policy: "retry", Applies: chain.retrier.attempts > 1, Why: onlyIf(chain.retrier.attempts <= 1, "calls are tried once"),
		Settings: []Setting{
			{"retry.attempts", strconv.Itoa(chain.retrier.attempts)},
			{"retry.budget", strconv.FormatFloat(chain.config.Retry.Budget*100, 'f', -1, 64) + "%"},
		},
		State: fmt.Sprintf("%d retries of answered calls left", chain.retrier.credit.Load()/oneRetry),
	})
}

func onlyIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

// explain is about one step, for the value of its key that the call has.
func explain(chain *chain, s step, c *Call, now instant) Explanation {
	e := Explanation{Policy: s.name, Applies: true}
	policy, value := s.policy, []byte(nil)
	if k, ok := s.policy.(*keyed); ok {
		declared := false
		if value, declared = c.key(k.key); !declared {
			e.Applies, e.Why = false, fmt.Sprintf("the method has no key %q", k.key)
			return e
		}
		if policy = k.peek(value); policy == nil {
			policy = k.create(string(shortened(value))) // as a call would make it
		}
		e.State = fmt.Sprintf("for %s %q: ", k.key, value)
	}
	switch p := policy.(type) {
	case *bucket:
		e.Settings = p.settings()
		e.State += p.describe(now)
	case *breaker:
		e.Settings = p.settings()
		e.State += p.describe(now)
	case *bulkhead:
		e.Settings = p.settings(chain.config.Limits)
		e.State += p.describe(now)
	}
	return e
}

func (b *bucket) settings() []Setting {
	return []Setting{
		{b.path() + ".limit", fmt.Sprintf("%d/%v", b.quota.Events, shortDuration(b.quota.Per))},
		{b.path() + ".burst", strconv.Itoa(b.quota.Burst)},
		{b.rate.path() + ".wait", b.wait.String()},
	}
}

func (b *breaker) settings() []Setting {
	path := "breaker"
	if b.Key != "" {
		path = fmt.Sprintf("breaker[%q]", b.Key)
	}
	return []Setting{
		{path + ".failures", strconv.Itoa(b.Failures)},
		{path + ".within", b.Within.String()},
		{path + ".open_for", b.OpenFor.String()},
	}
}

func (b *bulkhead) settings(l Limits) []Setting {
	bounds := b.bounds.Load()
	settings := []Setting{
		{b.path + ".concurrency", strconv.Itoa(bounds.limit)},
		{b.path + ".queue", strconv.Itoa(bounds.depth)},
	}
	if b.key == "" && l.Adaptive != nil {
		settings[0].Value = "adaptive"
		settings = append(settings, Setting{"limits.min", strconv.Itoa(l.Adaptive.Min)}, Setting{"limits.max", strconv.Itoa(l.Adaptive.Max)})
	}
	return settings
}

// breakersOf returns the block of a policy that is a breaker; nil for others.
func breakersOf(p Policy) *breakers {
	switch p := p.(type) {
	case *breaker:
		return p.breakers
	case *keyed:
		if b, ok := p.shared.policy.(*breaker); ok {
			return b.breakers
		}
	}
	return nil
}

package config

import (
	"fmt"
	"time"

	"github.com/hashicorp/hcl/v2"
)

// Bounds of what a bucket of tokens can count: in nanoseconds, the time of a
// whole burst stays far below an int64.
const (
	shortestInterval = 100 * time.Nanosecond // from one token to the next: 10,000,000 per second
	longestPeriod    = 31 * 24 * time.Hour
	longestRefill    = 10 * 365 * 24 * time.Hour
	maxBurst         = 1_000_000
	burstSpan        = 100 * time.Millisecond // whose tokens are the default burst
)

// RatePolicy says how often calls may start.
type RatePolicy struct {
	Name      string // unique in its subsystem
	Key       string // each value of it has tokens of its own; "" when all calls share them
	Limit     Rate
	Burst     int            // calls admitted at once after an idle spell; at least 1
	Wait      time.Duration  // how long a call waits for a token; 0 refuses it at once
	Overrides []RateOverride // in the order of the file; none without a Key
}

// newRatePolicy returns the defaults but for the burst, which follows from the
// limit: see settle.
func newRatePolicy(name string) RatePolicy { return RatePolicy{Name: name} }

func (r *RatePolicy) table() table {
	return table{
		name: "rate",
		doc: "How often calls may start. A call that finds no token is refused with RESOURCE_EXHAUSTED, or waits for one. " +
			"There may be several, and a call needs a token of each. A name is of the same form as a subsystem's, and unique among these blocks.",
		label:      "name",
		checkLabel: checkName,
		arguments: []argument{
			{name: "limit", required: true, doc: "Calls per period, in the long run.", target: rateAt{&r.Limit}},
			{name: "burst", doc: "Calls admitted at once after an idle spell. Default: those of 100ms, at least 1.", target: intAt{&r.Burst, 1, maxBurst}},
			{name: "key", doc: "A key that the plugin's methods declare, such as `\"domain\"`: each value of it has a rate of its own.", target: stringAt{&r.Key, "key", checkKey}},
			{name: "wait", doc: "How long a call waits for a token, of its limits.timeout; 0s refuses it at once.", target: durationAt{p: &r.Wait, high: time.Hour}},
		},
		blocks: []table{repeated(&r.Overrides, newRateOverride, func(o *RateOverride) table { return o.table(r) })},
		checks: []check{
			{[]string{"limit", "burst"}, func(in scope) *hcl.Diagnostic { return checkRefill(in, r.Limit, r.Burst) }},
			{[]string{"key"}, r.checkKey},
		},
	}
}

// settle fills in the bursts that are not written, and what an override takes
// over from its rate.
func (r *RatePolicy) settle() {
	for i := range r.Overrides {
		o := &r.Overrides[i]
		o.Limit, o.Burst = o.effective(r)
	}
	if r.Burst == 0 {
		r.Burst = defaultBurst(r.Limit)
	}
}

func (r *RatePolicy) checkKey(in scope) *hcl.Diagnostic {
	if r.Key != "" || len(r.Overrides) == 0 {
		return nil
	}
	first := scope{in.at, in.path + r.Overrides[0].path()}
	return fault(first.place(), "Override without a key",
		`An override is for values of a key, and this rate has none. Write a key, such as key = "domain", or remove the override.`)
}

// defaultBurst is how many tokens burstSpan holds, at least one and at most
// maxBurst. limit is within the bounds, or zero.
func defaultBurst(limit Rate) int {
	if limit.Events == 0 {
		return 1
	}
	return max(1, int(float64(limit.Events)*float64(burstSpan)/float64(limit.Per)))
}

// checkRefill refuses a burst that takes too long to come back; the zero limit
// or burst is one that is not known or not written.
func checkRefill(in scope, limit Rate, burst int) *hcl.Diagnostic {
	if limit.Events == 0 {
		return nil
	}
	refilled := longestRefill.Seconds() / limit.Per.Seconds() * float64(limit.Events)
	if float64(burst) <= refilled {
		return nil
	}
	return fault(in.place("burst", "limit"), "Burst too large",
		fmt.Sprintf("A burst of %d at %v takes longer than 10 years to come back. Write a burst of at most %d, or a faster limit.",
			burst, limit, int(refilled)))
}

// rateAt is a rate that calls can be held to.
type rateAt struct{ p *Rate }

func (t rateAt) set(v value) *hcl.Diagnostic {
	r, diag := v.rate()
	switch {
	case diag != nil:
		return diag
	case r.Events > uint64(r.Per/shortestInterval): //nolint:gosec // never negative
		return v.fault("Rate too fast", fmt.Sprintf("%s is at most %d events per second. Write a slower one, such as \"1000/s\".",
			v.name, time.Second/shortestInterval), "")
	case r.Per > longestPeriod:
		return v.fault("Rate period too long", fmt.Sprintf("The period of %s is at most 31 days. Write fewer events for a shorter one, such as \"100/day\".",
			v.name), "")
	}
	*t.p = r
	return nil
}

func (t rateAt) form() string { return fmt.Sprintf("rate, at most %d/s", time.Second/shortestInterval) }

func (t rateAt) current() string { return "" } // there is no default

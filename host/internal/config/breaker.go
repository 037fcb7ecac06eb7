package config

import "time"

// Breaker fails calls at once, for a while, after too many have failed.
type Breaker struct {
	Key      string        // each value of it has a breaker of its own; "" for one over all calls
	Failures int           // that open it, when they are Within; at least 1
	Within   time.Duration // above zero
	OpenFor  time.Duration // before a call is let through to try; above zero
}

// newBreaker returns the defaults. A breaker has no label.
func newBreaker(string) Breaker {
	return Breaker{Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}
}

func (b *Breaker) table() table {
	return table{
		name: "breaker",
		doc: "Refuses calls at once with UNAVAILABLE, for a while, after too many have failed. " +
			"There is none without a block; there may be one without a key, and one for each key.",
		by: "key",
		arguments: []argument{
			{name: "key", doc: "A key that the plugin's methods declare, such as `\"domain\"`: each value of it has a breaker of its own.", target: stringAt{&b.Key, "key", checkKey}},
			{name: "failures", doc: "Failed calls that open it.", target: intAt{&b.Failures, 1, 10_000}},
			{name: "within", doc: "Time in which these failures fall.", target: durationAt{p: &b.Within, low: time.Millisecond, high: time.Hour}},
			{name: "open_for", doc: "How long it refuses calls before it lets one through to try.", target: durationAt{p: &b.OpenFor, low: time.Millisecond, high: time.Hour}},
		},
	}
}

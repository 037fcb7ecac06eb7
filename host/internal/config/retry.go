package config

// Retry says how calls are tried again that an instance did not answer. Only
// those are that may be repeated or never reached the plugin.
type Retry struct {
	Attempts int     // how often a call is tried in all; at least 1
	Budget   Percent // the most retries, as a share of the calls
}

func defaultRetry() Retry { return Retry{Attempts: 3, Budget: 10 * onePercent} }

func (r *Retry) table() table {
	return table{
		name: "retry",
		doc:  "How calls are tried again when their instance is lost. Only those are that are idempotent, or that provably never reached the plugin.",
		arguments: []argument{
			{name: "attempts", doc: "How often a call is tried in all; 1 repeats none.", target: intAt{&r.Attempts, 1, 10}},
			{name: "budget", doc: "The most retries, as a share of the calls; 0% allows none.", target: percentAt{&r.Budget, 0, allPercent}},
		},
	}
}

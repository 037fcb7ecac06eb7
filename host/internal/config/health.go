package config

import "time"

// Health says how an instance is found that runs but does not answer.
type Health struct {
	Every   time.Duration // from one check to the next; 0 for no checks
	Timeout time.Duration // of one check
	Misses  int           // failed checks in a row, after which the instance is replaced; at least 1
}

func defaultHealth() Health {
	return Health{Every: 5 * time.Second, Timeout: time.Second, Misses: 3}
}

func (h *Health) table() table {
	return table{
		name: "health",
		doc:  "How a plugin is found that runs but does not answer: it is asked for its health, and replaced when it keeps silent.",
		arguments: []argument{
			{name: "every", doc: "Time from one check to the next; 0s turns them off.", target: durationAt{p: &h.Every, low: 10 * time.Millisecond, high: time.Hour, orZero: true}},
			{name: "timeout", doc: "How long the answer to one check may take.", target: durationAt{p: &h.Timeout, low: time.Millisecond, high: time.Minute}},
			{name: "misses", doc: "Failed checks in a row after which the instance is replaced.", target: intAt{&h.Misses, 1, 100}},
		},
	}
}

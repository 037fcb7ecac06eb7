package config

import "time"

// maxCalls bounds what one subsystem may have in flight or waiting. Beyond a
// million, the memory of the calls themselves is the limit.
const maxCalls = 1_000_000

// Limits are hard ceilings of one subsystem.
type Limits struct {
	Concurrency int           // calls in flight; at least 1
	Queue       int           // calls that wait for one of these places; 0 refuses at once
	Timeout     time.Duration // of a unary call: both its default and its ceiling
}

func defaultLimits() Limits {
	return Limits{Concurrency: 1000, Queue: 2000, Timeout: 30 * time.Second}
}

func (l *Limits) table() table {
	return table{
		name: "limits",
		doc:  "Hard ceilings. A call that finds the queue full is refused with RESOURCE_EXHAUSTED; one that takes too long ends with DEADLINE_EXCEEDED.",
		arguments: []argument{
			{name: "concurrency", doc: "Calls in flight at once.", target: intAt{&l.Concurrency, 1, maxCalls}},
			{name: "queue", doc: "Calls that wait while all of these are in flight; 0 refuses them at once.", target: intAt{&l.Queue, 0, maxCalls}},
			{name: "timeout", doc: "How long a unary call may take: the default, and the most that a caller can ask for.", target: durationAt{&l.Timeout, time.Millisecond, 24 * time.Hour}},
		},
	}
}

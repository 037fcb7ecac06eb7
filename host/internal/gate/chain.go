package gate

import (
	"math"
	"time"
)

// The names of the policies, in metrics and in error details.
const (
	PolicyDeadline = "deadline"
	PolicyBulkhead = "bulkhead"
)

// Limits is what an operator wrote in a limits block.
type Limits struct {
	// Timeout is the default and the ceiling for unary calls, time in queues
	// included; 0 means none. Streams have the caller's deadline only: a watch
	// or a log that is followed lives as long as somebody looks at it, and any
	// ceiling would cut it at a random point.
	Timeout time.Duration

	// Concurrency is how many calls may be in flight; 0 means any number. A
	// stream counts for as long as it is open.
	Concurrency int

	// Queue is how many more calls may wait; 0 rejects at once.
	Queue int
}

// New builds the gate of one subsystem. The order of the policies is written
// here and nowhere else: what is cheap and final comes first, and what holds a
// resource while it waits for nothing comes last.
//
// rejected is told the name of the policy for each rejected call; nil means
// that nobody wants to know. It must not block.
func New(l Limits, rejected func(policy string)) *Gate {
	if rejected == nil {
		rejected = func(string) {}
	}
	if l.Concurrency <= 0 {
		l.Concurrency = math.MaxInt32 // the bulkhead still counts
	}
	b := newBulkhead(l.Concurrency, l.Queue)
	return &Gate{
		deadline: deadline{timeout: l.Timeout},
		steps: []step{
			{PolicyBulkhead, b},
		},
		bulkhead: b,
		rejected: rejected,
	}
}

// Policies returns the names under which calls can be rejected.
func Policies() []string { return []string{PolicyDeadline, PolicyBulkhead} }

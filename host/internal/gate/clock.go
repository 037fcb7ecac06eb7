package gate

import (
	"math"
	"time"
)

// clock tells monotonic time in nanoseconds since the gate was made: a moment
// is one number then, which fits into an atomic word.
type clock struct{ epoch time.Time }

func newClock() clock { return clock{time.Now()} }

// never is a moment that does not come.
const never = math.MaxInt64

func (k clock) now() int64 { return int64(time.Since(k.epoch)) }

// moment is t by this clock.
func (k clock) moment(t time.Time) int64 { return int64(t.Sub(k.epoch)) }

// time is the reverse of moment.
func (k clock) time(moment int64) time.Time { return k.epoch.Add(time.Duration(moment)) }

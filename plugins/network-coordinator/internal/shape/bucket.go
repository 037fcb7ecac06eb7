package shape

import "time"

// bucket fills at a rate.
type bucket struct {
	rate   uint64  // bytes a second; 0 for no limit
	tokens float64 // bytes that may pass, as of last
	last   time.Time
}

const (
	// spare is how much of what nobody waited for may be caught up on: the longest
	// burst after a time of quiet.
	spare = 30 * time.Millisecond
	// late is the same of what somebody did wait for. A timer that comes late on a
	// busy machine takes nothing away.
	late = 250 * time.Millisecond
)

// worth is how many bytes pass in that time.
func (b *bucket) worth(d time.Duration) float64 { return float64(b.rate) * d.Seconds() }

// refill brings tokens up to date. waiting is whether somebody has waited since
// the last time.
func (b *bucket) refill(waiting bool, now time.Time) {
	grown := b.tokens + b.worth(max(0, now.Sub(b.last)))
	b.last = now
	if waiting {
		b.tokens = min(grown, b.most(late))
	} else {
		b.tokens = max(b.tokens, min(grown, b.most(spare)))
	}
}

// most is what the bucket holds after so long: a byte at least, or a slow one
// would never have it.
func (b *bucket) most(d time.Duration) float64 { return max(1, b.worth(d)) }

// short is how long it takes until there are n bytes; 0 if they are there.
func (b *bucket) short(n int) time.Duration {
	missing := float64(n) - b.tokens
	if b.rate == 0 || missing < 1e-3 { // less is an error of rounding
		return 0
	}
	return time.Duration(missing/float64(b.rate)*float64(time.Second)) + 1
}

// giveBack puts n bytes in that were taken and not used.
func (b *bucket) giveBack(n int, waiting bool) {
	longest := spare
	if waiting {
		longest = late
	}
	b.tokens = max(b.tokens, min(b.tokens+float64(n), b.most(longest)))
}

// setRate changes the rate from now on. A bucket that had no limit begins empty.
func (b *bucket) setRate(rate uint64, waiting bool, now time.Time) {
	b.refill(waiting, now)
	if b.rate == 0 {
		b.tokens = 0
	}
	b.rate = rate
	b.tokens = min(b.tokens, b.most(spare))
}

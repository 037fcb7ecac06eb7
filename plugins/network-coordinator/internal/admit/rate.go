package admit

import "time"

// Rate is how many connections may be opened per time. As many as it brings in a
// second may come at once after a time of quiet, as those of a browser do.
type Rate struct {
	Events uint64        // per Per; 0 is no limit
	Per    time.Duration // above 0
}

func (r Rate) bounds() bool { return r.Events > 0 && r.Per > 0 }

// interval is the time that one connection takes of the rate, rounded up, so
// that the rate is never exceeded: at least 1ns.
func (r Rate) interval() time.Duration {
	return time.Duration(1 + (uint64(r.Per)-1)/r.Events) //nolint:gosec // at most Per
}

// burst is how many may come at once: those of a second, at least 1 and at most
// Events. A thousand million is as good as no bound.
func (r Rate) burst() int64 {
	second := min(float64(r.Events)/max(r.Per.Seconds(), 1), 1e9)
	return max(1, int64(second))
}

// pace admits by the generic cell rate algorithm (ITU-T I.371): in any time t no
// more than burst + rate·t. It needs one time and no timer.
type pace struct {
	Rate
	every time.Duration // one connection's
	slack time.Duration // how far full may lie ahead: those of a burst
	full  time.Time     // when nothing of the burst is used any more
}

// set changes the rate; what was admitted so far still counts.
func (p *pace) set(r Rate, now time.Time) {
	p.Rate = r
	if !r.bounds() {
		p.full = time.Time{}
		return
	}
	p.every = r.interval()
	p.slack = p.every * time.Duration(r.burst())
	if most := now.Add(p.slack); p.full.After(most) {
		p.full = most
	}
}

// wait is how long until one more may be opened; 0 if it may be now.
func (p *pace) wait(now time.Time) time.Duration {
	if !p.bounds() {
		return 0
	}
	return max(0, p.full.Add(p.every-p.slack).Sub(now))
}

// take opens one.
func (p *pace) take(now time.Time) {
	if !p.bounds() {
		return
	}
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.every)
}

package gate

import (
	"math"
	"sync"
	"time"
)

// Adaptive is a limit on calls in flight that follows what the plugin bears.
type Adaptive struct {
	Min, Max int // at least 1
}

const (
	// shortestWindow is how long latencies are gathered for a decision, at the
	// least; fewestSamples how many there have to be.
	shortestWindow = 100 * time.Millisecond
	fewestSamples  = 5
	// tolerance is how many times the latency without a queue is allowed: with
	// twice that, as many calls wait inside the plugin as are worked on, and so it
	// never runs dry.
	tolerance = 2.0
	// backOff is what a limit is multiplied with that is too high.
	backOff = 0.9
	// probeEvery is after how many windows the limit is halved for one, to learn
	// the latency without a queue again. At twice what the plugin can work on,
	// half of it is all of that: the probe costs little.
	probeEvery = 20
	// queued is how much of the latency is left, at the most, when halving the
	// limit has shortened a queue. Then what is left may be a queue still.
	queued = 0.75
	// inVain is by how much cutting the limit has to cut the latency; if it does
	// not, the latency is no queue's: the work itself has become slower.
	inVain, inVainAfter = 0.95, 0.75
)

// tuner moves the limit of a bulkhead: up while the latency is near what it is
// without a queue and the limit is used up, down when it is not (additive
// increase, multiplicative decrease).
type tuner struct {
	Adaptive

	mu       sync.Mutex
	limit    float64
	began    instant // of the window; 0 before the first call
	sum      time.Duration
	samples  int
	overdue  int     // of them, calls that came to their deadline though that left them time
	used     bool    // the limit was reached in this window
	base     float64 // seconds: latency without a queue; 0: not known
	mean     float64 // seconds: of the last window
	windows  int     // since the last probe
	probing  bool
	restore  float64 // the limit before the probe
	before   float64 // the mean before the probe
	cutLimit float64 // limit and latency from which on it is cut, to see whether that helps; 0: it is not
	cutMean  float64
}

func newTuner(a Adaptive) *tuner {
	return &tuner{Adaptive: a, limit: float64(min(max(a.Min, 10), a.Max))}
}

// current is the limit in calls.
func (t *tuner) current() int { return min(max(int(t.limit), t.Min), t.Max) }

// observe learns from a call that had a permit since it was admitted. Calls
// that were cancelled, or failed, say nothing of how long the work takes. Of one
// that came to its deadline all is known that it would have taken longer: no
// sample is shorter for it than work without a queue.
func (t *tuner) observe(b *bulkhead, c *Call, admitted instant, o Outcome) {
	now := c.read()
	took := now.sub(admitted)
	expired := o != Success && c.isOver()
	if o != Success && !expired {
		return
	}
	t.mu.Lock()
	if expired {
		base := time.Duration(t.base * float64(time.Second))
		if admitted >= t.began && took > base {
			t.overdue++
		}
		took = max(took, base)
	}
	changed := t.add(now, admitted, took, b)
	t.mu.Unlock()
	if changed {
		b.follow(t)
	}
}

// add adds a latency and, at the end of a window, moves the limit. The caller
// holds mu.
func (t *tuner) add(now, admitted instant, took time.Duration, b *bulkhead) (changed bool) {
	if t.began == 0 {
		t.began = admitted
	}
	inFlight, waiting := b.counts()
	if waiting > 0 || inFlight+1 >= t.current() { // it has just given up its own permit
		t.used = true
	}
	if admitted < t.began {
		return false // it was admitted under the limit before
	}
	t.sum += took
	t.samples++
	window := max(shortestWindow, time.Duration(2*t.mean*float64(time.Second)))
	if now.sub(t.began) < window || t.samples < fewestSamples {
		return false
	}
	before := t.current()
	t.mean = t.sum.Seconds() / float64(t.samples)
	t.decide()
	t.limit = min(max(t.limit, float64(t.Min)), float64(t.Max))
	t.began, t.sum, t.samples, t.overdue, t.used = now, 0, 0, 0, false
	return t.current() != before
}

// decide moves the limit after a window.
func (t *tuner) decide() {
	if 2*t.overdue > t.samples { // how long they would have taken is not known: there is nothing to learn
		t.probing, t.cutLimit = false, 0
		t.limit *= backOff
		return
	}
	switch {
	case t.probing:
		t.probing, t.windows, t.limit = false, 0, t.restore
		if t.mean < t.base || t.mean > queued*t.before && !t.truncated() {
			t.base = t.mean
		}
		return
	case t.base == 0 || t.mean < t.base:
		t.base = t.mean
	}
	t.windows++
	switch {
	case t.mean > tolerance*t.base:
		t.cut()
	case t.windows >= probeEvery && t.used:
		t.probing, t.restore, t.before = true, t.limit, t.mean
		t.limit /= 2
		t.cutLimit = 0
	case t.used:
		t.limit += math.Sqrt(t.limit)
		t.cutLimit = 0
	default:
		t.cutLimit = 0
	}
}

// truncated reports whether too many latencies of the window are those of calls
// that were given up: then they seem to be the same whatever the limit.
func (t *tuner) truncated() bool { return 10*t.overdue > t.samples }

// cut lowers a limit that is too high, unless that was in vain.
func (t *tuner) cut() {
	if t.cutLimit == 0 {
		t.cutLimit, t.cutMean = t.limit, t.mean
	}
	if t.limit < inVainAfter*t.cutLimit && !t.truncated() {
		if t.mean > inVain*t.cutMean {
			t.base, t.limit, t.cutLimit = t.mean, t.cutLimit, 0
			return
		}
		t.cutLimit, t.cutMean = t.limit, t.mean // it helped so far; will it from here on?
	}
	if t.limit <= float64(t.Min) { // there is no telling the two apart
		t.base, t.cutLimit = t.mean, 0
		return
	}
	t.limit *= backOff
}

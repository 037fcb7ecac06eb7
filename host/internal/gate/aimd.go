package gate

import (
	"math"
	"slices"
)

// The rules by which an adaptive limit moves. The figures are those that did
// best in thousands of simulations of backends with 3 to 300 workers, of
// constant and of exponential service times, which lost and regained two thirds
// of their capacity: see TestAnAdaptiveLimitKeepsTheGoodput.
const (
	// tolerance is how many times the least latency the mean may be. At twice
	// the limit is twice of what the backend works on at once: it never runs
	// dry, and calls spend half of their time waiting.
	tolerance = 2

	// The limit is cut to what would bring the mean down to the tolerance, but
	// by no more and no less than this.
	leastCut, mostCut = 0.7, 0.5

	// remembered is in how many windows the least latency was seen; and
	// probeEvery after how many of them the limit is cut to see it again, which
	// a backend under constant load would not show. After an error of judgement
	// it happens sooner.
	remembered, probeEvery, probeSoon = 20, 20, 15
	probeCut                          = 0.5

	// Where a cut shows in the throughput rather than in the latency, the
	// backend was not used up. Between the two lies the border; beyond deep it
	// still is after the cut.
	flat, deep = 0.5, 1.0

	// risen is how much the latency may rise after a cut until it says that the
	// backend has changed meanwhile.
	risen = 1.15

	// near is how near to the least latency the mean is while a limit is far
	// from what the backend bears, so that it may grow fast.
	near = 1.3

	// few and tooMany are shares of calls that expired. Above the one, the
	// latency is no measure of how long calls take; above the other, the
	// backend is overrun, whatever the latency of the others.
	few, tooMany = 0.02, 0.2
)

// window is what was seen of the calls that ended while the limit stood.
type window struct {
	mean    float64 // latency; of a call that expired, how long it had taken
	rate    float64 // ends of calls per time
	used    bool    // the limit was used up
	expired float64 // share of the calls that ended with their deadlines
}

// trial is a window, and the limit that stood then.
type trial struct {
	window
	limit float64
}

// elasticity says how a cut from t has shown: 1 in the latency alone, 0 in the
// throughput alone. By Little's law it is one or the other; to look at both
// halves the noise. A cut that the least limit allowed did not get is 1.
func (t trial) elasticity(w window, limit float64) float64 {
	cut := math.Log(limit / t.limit)
	if cut >= 0 {
		return 1
	}
	return (math.Log(w.mean/t.mean) + cut - math.Log(w.rate/t.rate)) / (2 * cut)
}

// within is the limit with which the mean would come to the tolerance, if the
// latency is in proportion to it.
func (t trial) within(baseline float64) float64 { return t.limit * tolerance * baseline / t.mean }

// cause says why the limit is what it is in a window.
type cause uint8

const (
	steady  cause = iota
	cutting       // it was cut because the latency was too high
	probing       // it was cut to see the least latency
)

// aimd is the rule for an adaptive limit: additive increase while the latency
// is near the least that was seen, multiplicative decrease when it is not. It
// reads no clock.
//
// A latency that is high has one of two reasons: calls queue up in the
// backend, or its work has become slower. Only in the first case a lower limit
// helps; in the second it costs throughput. So each cut is judged by the window
// after it.
type aimd struct {
	limit float64
	least []float64 // mean latencies of the last windows

	cause   cause
	before  trial // before the cut
	first   trial // before the first of several cuts in a row; limit 0: there was none
	windows int   // since the last probe
	started bool  // the limit was once too high
	doubt   bool  // the latency has risen after a cut
}

// next moves the limit after a window.
func (a *aimd) next(w window) {
	was := a.cause
	a.cause = steady
	switch {
	case was != steady && !w.used: // it says nothing of the limit
		a.remember(w.mean)
		a.limit = a.before.limit
	case w.used && w.expired > tooMany:
		a.overrun(w, was)
	case was == cutting && a.judge(w):
	case was == probing:
		a.probed(w)
	default:
		a.remember(w.mean)
		a.move(w)
	}
}

// baseline is the latency of a call that does not queue up.
func (a *aimd) baseline() float64 {
	if len(a.least) == 0 {
		return math.Inf(1)
	}
	return slices.Min(a.least)
}

func (a *aimd) remember(mean float64) {
	if a.least = append(a.least, mean); len(a.least) > remembered {
		a.least = a.least[1:]
	}
}

// rebase makes mean the baseline, whatever was seen before.
func (a *aimd) rebase(mean float64) {
	a.least = append(a.least[:0], mean)
	a.settled()
}

// settled ends a row of cuts.
func (a *aimd) settled() { a.doubt, a.first = false, trial{} }

// move is for a window that follows no cut, or one that was right.
func (a *aimd) move(w window) {
	a.windows++
	base := a.baseline()
	if w.mean <= tolerance*base {
		a.settled()
	}
	switch {
	case !w.used:
	case w.mean > tolerance*base:
		a.started = true
		if a.first.limit == 0 {
			a.first = trial{w, a.limit}
		}
		a.cut(w, max(mostCut, min(leastCut, tolerance*base/w.mean)), cutting)
	case a.windows >= probeEvery:
		a.cut(w, probeCut, probing)
	case !a.started:
		a.limit *= 1.5
	case w.mean < near*base:
		a.limit += max(math.Sqrt(a.limit), a.limit/4)
	default:
		a.limit += math.Sqrt(a.limit)
	}
}

func (a *aimd) cut(w window, by float64, why cause) {
	a.before, a.cause = trial{w, a.limit}, why
	a.limit *= by
}

// judge judges a cut, and all of a row together. It reports false when that was
// right, or may have been.
func (a *aimd) judge(w window) (judged bool) {
	measured := max(a.first.expired, w.expired) < few
	switch {
	case w.mean > risen*a.before.mean && !a.doubt:
		a.doubt = true
		a.remember(w.mean)
		return true
	case a.before.elasticity(w, a.limit) < flat, measured && a.first.elasticity(w, a.limit) < flat:
		a.limit = a.before.limit
		if measured {
			a.limit = max(a.limit, min(a.first.limit, a.first.within(w.mean)))
		}
		a.windows = probeSoon
		a.rebase(w.mean)
		return true
	}
	a.doubt = false
	return false
}

// probed learns from a probe, or goes deeper where the least latency has not
// come in sight.
func (a *aimd) probed(w window) {
	switch e := a.before.elasticity(w, a.limit); {
	case e < flat:
		a.rebase(w.mean)
	case e > deep:
		a.remember(w.mean)
		a.cut(w, probeCut, probing)
		return
	default:
		a.remember(w.mean)
	}
	a.windows = 0
	most := 2.0
	switch {
	case a.before.expired > tooMany:
		most = leastCut
	case a.before.expired > few:
		most = 1
	}
	a.limit = max(a.before.limit*probeCut, min(a.before.limit*most, a.before.within(a.baseline())))
}

// overrun is for a window in which many calls have expired. How long they would
// have taken is not known, so the window is no measure of anything else.
func (a *aimd) overrun(w window, was cause) {
	switch {
	case was == probing:
		a.cause = probing
		a.limit *= probeCut
	case was == cutting, w.expired > 0.5, w.mean > tolerance*a.baseline():
		a.started = true
		a.limit *= leastCut
		a.windows = probeSoon
	default: // the baseline is too high
		a.cut(w, probeCut, probing)
	}
}

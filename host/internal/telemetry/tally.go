package telemetry

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

const (
	// codeCount is how many status codes gRPC defines, OK to Unauthenticated.
	codeCount = int(codes.Unauthenticated) + 1
	// edgeCount is how many edges gaia_call_seconds has.
	edgeCount = 17
	// lanesPerCore is more than one, because goroutines that are preempted while
	// they count take theirs along, and others are dealt: the lanes in use at one
	// moment are chosen nearly at random.
	lanesPerCore = 4
	// maxLanes bounds the memory of a method: 24 KiB at most.
	maxLanes = 64
)

// callEdges are the upper edges of the buckets of gaia_call_seconds, from a
// call that stays in the host's memory to the usual ceiling of limits.timeout.
// 100ms and 500ms are SLOs of the shipped config: a percentile is exact only at
// an edge.
func callEdges() [edgeCount]time.Duration {
	const us, ms = time.Microsecond, time.Millisecond
	return [edgeCount]time.Duration{
		100 * us, 250 * us, 500 * us, 1 * ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms, 250 * ms, 500 * ms,
		time.Second, 2500 * ms, 5 * time.Second, 10 * time.Second, MaxP95,
	}
}

// lanes deals out places to count in so that processors seldom share one: two
// that add to the same word wait for each other's cache line. On two busy cores
// a call costs 14 to 24 ns to count, in one lane 160 to 500, and 14 to 24 where
// only one core counts (BenchmarkObserveByAllCores).
//
// sync.Pool keeps its values by processor, and that is all it is used for.
// What it loses is dealt anew; two processors may then share a lane for a
// while, which costs time and no count.
type lanes struct {
	count int
	pool  sync.Pool // of *int: an index below count
}

// newLanes returns lanes for a number of cores.
func newLanes(cores int) *lanes {
	count := min(lanesPerCore*cores, maxLanes)
	indices := make([]int, count)
	for i := range indices {
		indices[i] = i
	}
	var dealt atomic.Int64
	return &lanes{count: count, pool: sync.Pool{New: func() any {
		return &indices[dealt.Add(1)%int64(count)]
	}}}
}

// tally counts the calls of one method, in lanes. Made by newTally; safe for
// concurrent use.
type tally struct {
	lanes *lanes
	edges [edgeCount]time.Duration
	words []words // by lane
}

// words are what one lane has counted. Each only grows.
type words struct {
	byCode  [codeCount]atomic.Uint64     // of all calls
	nanos   atomic.Uint64                // of timed calls; wraps after 584 years of calls, which reads as a restart
	buckets [edgeCount + 1]atomic.Uint64 // of timed calls; not cumulative, the last one for those beyond all edges
	_       [96]byte                     // to a multiple of 128: processors fetch cache lines in pairs
}

func newTally(l *lanes) tally {
	return tally{lanes: l, edges: callEdges(), words: make([]words, l.count)}
}

// add counts a call that ended with code, below codeCount.
func (t *tally) add(code codes.Code) {
	lane := t.lanes.pool.Get().(*int) //nolint:forcetypeassert // nothing else is put in
	t.words[*lane].byCode[code].Add(1)
	t.lanes.pool.Put(lane)
}

// addTimed counts a call that ended with code, below codeCount, after took.
func (t *tally) addTimed(code codes.Code, took time.Duration) {
	bucket := 0
	for bucket < edgeCount && took > t.edges[bucket] {
		bucket++
	}
	lane := t.lanes.pool.Get().(*int) //nolint:forcetypeassert // nothing else is put in
	w := &t.words[*lane]
	w.byCode[code].Add(1)
	w.nanos.Add(uint64(max(0, took)))
	w.buckets[bucket].Add(1)
	t.lanes.pool.Put(lane)
}

// read adds up the lanes. Calls that end meanwhile count or do not, but for one
// reader no count ever falls, and no call is in a bucket and not under its code.
func (t *tally) read() counts {
	var c counts
	for i := range t.words {
		w := &t.words[i]
		for b := range w.buckets { // before byCode, as they are written after it
			c.buckets[b] += w.buckets[b].Load()
		}
		c.seconds += float64(w.nanos.Load()) / float64(time.Second)
		for code := range w.byCode {
			c.byCode[code] += w.byCode[code].Load()
		}
	}
	return c
}

// counts are calls that ended, of a method or of a whole subsystem.
type counts struct {
	byCode  [codeCount]uint64     // all of them
	buckets [edgeCount + 1]uint64 // timed ones, as in words
	seconds float64               // sum of the timed ones
}

func (c *counts) add(more counts) {
	for i := range c.byCode {
		c.byCode[i] += more.byCode[i]
	}
	for i := range c.buckets {
		c.buckets[i] += more.buckets[i]
	}
	c.seconds += more.seconds
}

// since is what was counted after an earlier reading.
func (c counts) since(earlier counts) counts {
	for i := range c.byCode {
		c.byCode[i] -= earlier.byCode[i]
	}
	for i := range c.buckets {
		c.buckets[i] -= earlier.buckets[i]
	}
	c.seconds -= earlier.seconds
	return c
}

func (c *counts) calls() uint64 { return sum(c.byCode[:]) }

// failures are the calls by which the service failed its callers.
func (c *counts) failures() uint64 {
	var n uint64
	for _, code := range failureCodes() {
		n += c.byCode[code]
	}
	return n
}

// timed is how many calls are in the buckets.
func (c *counts) timed() uint64 { return sum(c.buckets[:]) }

// quantile is the time that a share q of the timed calls took at most, as
// Prometheus' histogram_quantile reckons it: calls lie evenly within a bucket,
// and what is beyond the last edge counts as that edge. There must be a timed call.
func (c *counts) quantile(q float64) time.Duration {
	rank := q * float64(c.timed())
	lower, below := time.Duration(0), 0.0
	for i, upper := range callEdges() {
		within := float64(c.buckets[i])
		if within > 0 && below+within >= rank {
			return lower + time.Duration(float64(upper-lower)*(rank-below)/within)
		}
		lower, below = upper, below+within
	}
	return lower
}

func sum(all []uint64) uint64 {
	var n uint64
	for _, one := range all {
		n += one
	}
	return n
}

package gate

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
)

// Adaptive is a limit on calls in flight that finds what the plugin and those
// behind it bear, by how long calls take.
type Adaptive struct {
	Min, Max int // at least 1
}

const (
	// firstLimit is what a limit starts from, if it may.
	firstLimit = 20

	// A window is as long as a call takes, and long enough for so many calls
	// that their mean says something; but with few of them it ends at some
	// time.
	shortestWindow = 100 * time.Millisecond
	longestWait    = time.Second
	manySamples    = 40
	fewSamples     = 10

	// A window begins when of the calls that were in flight as the limit
	// changed only this part is left: they say nothing of the new limit. If
	// they do not end, it begins some time after.
	leftOver     = 0.15
	longestDrain = 5

	// needFactor is how many times the mean latency a call must have left when
	// its turn comes in the queue. Many take longer than the mean, and who has
	// waited for long has little time left: to serve the longest waiting first
	// would mean to serve only calls that expire.
	needFactor = 2
)

// tuner measures the latency of calls in windows and moves the limit of a
// bulkhead after each.
type tuner struct {
	Adaptive

	clock  clock
	total  *permits
	bounds *bounds
	usedUp atomic.Bool  // the limit was, in this window
	inside atomic.Int64 // unary calls in flight

	mu      sync.Mutex
	stopped bool // another tuner, or none, has taken its place
	aimd    aimd
	changed int64 // when the limit was changed last
	drained int64 // calls in flight at that time that have ended
	drain   int64 // and how many have to, before the window begins; 0: it has
	from    int64 // when the window began
	until   int64 // when it ends, if there were many calls
	mean    int64 // latency in the window before
	samples int64
	expired int64
	sum     int64 // of latencies
}

func newTuner(a Adaptive, b *bulkhead) *tuner {
	a.Min = max(a.Min, 1)
	a.Max = max(a.Max, a.Min)
	t := &tuner{Adaptive: a, clock: b.clock, total: b.total, bounds: b.bounds}
	t.aimd.limit = float64(min(max(firstLimit, a.Min), a.Max))
	return t
}

// limit is the limit at this moment.
func (t *tuner) limit() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return int(t.aimd.limit)
}

// stop makes the calls that end from now on change nothing. There may be no
// tuner.
func (t *tuner) stop() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
}

// admitted counts a call in.
func (t *tuner) admitted(c *Call) {
	if !c.Stream {
		t.inside.Add(1)
	}
}

// ended takes the latency of a call that had its permit since a moment. A
// stream has none: it lasts for as long as it is of use.
func (t *tuner) ended(c *Call, since int64, o Outcome) {
	if c.Stream {
		return
	}
	t.inside.Add(-1)
	if t.observe(c, since, t.clock.now(), o) {
		t.total.refill()
	}
}

// observe reports whether the limit has changed.
func (t *tuner) observe(c *Call, since, now int64, o Outcome) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changed == 0 {
		t.change(now)
	}
	if since <= t.changed {
		t.drained++
	}
	latency := now - since
	if t.stopped || !t.counts(c, latency, o) || !t.began(now) {
		return false
	}
	t.samples++
	t.sum += latency
	if c.code == codes.DeadlineExceeded {
		t.expired++
	}
	patience := max(int64(longestWait), 2*t.mean)
	if now < t.until || t.samples < manySamples && (t.samples < fewSamples || now < t.until+patience) {
		return false
	}
	t.roll(now)
	return true
}

// counts reports whether a call says how long calls take. One that was
// cancelled, or that did not get to the plugin, does not; and one that failed
// or expired says that it would have taken longer, if it took long.
func (t *tuner) counts(c *Call, latency int64, o Outcome) bool {
	switch {
	case o == Success:
		return true
	case o == Neutral && c.code != codes.DeadlineExceeded:
		return false
	default:
		return float64(latency) > t.aimd.baseline()
	}
}

// began reports whether the window has begun, and begins it if it is time.
func (t *tuner) began(now int64) bool {
	if t.drain == 0 {
		return true
	}
	if t.drained >= t.drain || now-t.changed > longestDrain*(t.mean+int64(time.Second)) {
		t.drain = 0
		t.from, t.until = now, now+max(int64(shortestWindow), t.mean)
	}
	return false
}

// change makes the next window wait for calls of the limit before.
func (t *tuner) change(now int64) {
	t.changed, t.drained = now, 0
	t.drain = 1 + int64((1-leftOver)*float64(t.inside.Load()))
}

// roll ends the window.
func (t *tuner) roll(now int64) {
	t.mean = t.sum / t.samples
	took := max(now-t.from, 1)
	before := t.aimd.limit
	t.aimd.next(window{
		mean:    max(float64(t.mean), 1),
		rate:    float64(t.samples) / float64(took),
		used:    t.usedUp.Load(),
		expired: float64(t.expired) / float64(t.samples),
	})
	t.aimd.limit = min(max(t.aimd.limit, float64(t.Min)), float64(t.Max))
	t.bounds.limit.Store(int64(t.aimd.limit))
	t.bounds.turn.Store(took / t.samples)
	t.bounds.need.Store(needFactor * t.mean)
	if t.aimd.limit > before { // calls will take longer, in proportion
		t.mean = int64(float64(t.mean) * t.aimd.limit / before)
	}
	t.from, t.until = now, now+max(int64(shortestWindow), t.mean)
	if t.aimd.limit != before {
		t.change(now)
	}
	t.samples, t.expired, t.sum = 0, 0, 0
	t.usedUp.Store(false)
}

// settings are where the bounds of the limit are written in config.hcl.
func (t *tuner) settings() []Setting {
	return []Setting{
		{"limits.concurrency", "adaptive"},
		{"limits.min", strconv.Itoa(t.Min)},
		{"limits.max", strconv.Itoa(t.Max)},
	}
}

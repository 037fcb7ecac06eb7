package resend

import (
	"container/list"
	"slices"
	"sync"
	"time"
)

const (
	// one repetition in the budget's unit: sums of millionths are exact.
	one = 1_000_000

	// floor is how many repetitions a domain has without any request before.
	floor = 10 * one

	// ceiling is how many repetitions good times can save for bad ones. With one
	// in ten it is what 1,000 requests bring.
	ceiling = 100 * one

	// forgetAfter is how long a domain without requests is remembered.
	forgetAfter = time.Minute

	// most is how many domains are remembered, some 700 bytes each, beside
	// those with requests under way.
	most = 10_000

	// looks is how many domains are looked at to find one to forget.
	looks = 16

	// samples is how many of a domain's latest times to the first byte are kept.
	samples = 128

	// enough is how many of them a percentile needs.
	enough = 20
)

// domains are what is known of the domains of late. It is never larger than
// most and the requests under way.
type domains struct {
	deposit int64 // of each request into the budget

	mu     sync.Mutex
	byName map[string]*list.Element // of recent
	recent list.List                // of *domain, the one entered last in front
}

// domain is what is known of one.
type domain struct {
	name  string
	users int       // requests under way; guarded by domains.mu, as is used
	used  time.Time // when the last one ended

	mu     sync.Mutex
	budget int64           // repetitions that it has, in millionths
	until  time.Time       // no request is sent before
	times  [samples]uint32 // to the first byte, in microseconds; a ring
	count  int             // of times that there ever were
}

func newDomains(budget float64) *domains {
	return &domains{deposit: int64(budget * one), byName: map[string]*list.Element{}}
}

// enter returns the domain of that name for one request, which leave ends.
func (d *domains) enter(name string) *domain {
	d.mu.Lock()
	element := d.byName[name]
	if element == nil {
		d.forget(time.Now())
		element = d.recent.PushFront(&domain{name: name, budget: floor})
		d.byName[name] = element
	} else {
		d.recent.MoveToFront(element)
	}
	entered := element.Value.(*domain)
	entered.users++
	d.mu.Unlock()

	entered.mu.Lock()
	defer entered.mu.Unlock()
	entered.budget = max(entered.budget, min(entered.budget+d.deposit, ceiling))
	return entered
}

func (d *domains) leave(left *domain) {
	d.mu.Lock()
	defer d.mu.Unlock()
	left.users--
	left.used = time.Now()
}

// forget makes room: domains that were idle for long go, and one that is idle if
// there are too many; one that is not paused if there is the choice.
func (d *domains) forget(now time.Time) {
	for oldest := d.recent.Back(); oldest != nil && d.isIdle(oldest, now.Add(-forgetAfter), now); oldest = d.recent.Back() {
		d.remove(oldest)
	}
	if d.recent.Len() < most {
		return
	}
	var paused *list.Element
	element := d.recent.Back()
	for range looks {
		switch {
		case element == nil:
		case d.isIdle(element, now, now):
			d.remove(element)
			return
		case paused == nil && element.Value.(*domain).users == 0:
			paused = element
		}
		if element != nil {
			element = element.Prev()
		}
	}
	if paused != nil {
		d.remove(paused)
	}
}

// isIdle reports whether a domain has had no request since, and is not paused.
func (d *domains) isIdle(element *list.Element, since, now time.Time) bool {
	idle := element.Value.(*domain)
	return idle.users == 0 && !idle.used.After(since) && !idle.pausedUntil().After(now)
}

func (d *domains) remove(element *list.Element) {
	delete(d.byName, element.Value.(*domain).name)
	d.recent.Remove(element)
}

// withdraw takes one repetition out of the budget and reports whether there was
// one.
func (d *domain) withdraw() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.budget < one {
		return false
	}
	d.budget -= one
	return true
}

// pause holds all requests back until then. It never shortens a pause.
func (d *domain) pause(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until.After(d.until) {
		d.until = until
	}
}

func (d *domain) pausedUntil() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.until
}

// observe notes how long a response took to begin.
func (d *domain) observe(took time.Duration) {
	if took <= 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times[d.count%samples] = uint32(min(took.Microseconds(), 1<<32-1)) //nolint:gosec // G115: bounded
	d.count++
}

// p95 is the time within which 95 % of the latest responses began; false while
// there are too few to know.
func (d *domain) p95() (time.Duration, bool) {
	d.mu.Lock()
	times, n := d.times, min(d.count, samples)
	d.mu.Unlock()
	if n < enough {
		return 0, false
	}
	slices.Sort(times[:n])
	return time.Duration(times[n*95/100]) * time.Microsecond, true
}

package slot

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ask is what somebody waits for: a slot, or a place for one.
type ask struct {
	Need
	guest bool // no idle slot will do
	got   chan grant
}

// grant is what he gets: one of the three.
type grant struct {
	slot    *Slot    // an idle one
	browser *browser // with a place for a new one
	err     error    // a status: there is none, and waiting would not help
}

// wait gets in line and returns when it is a's turn and there is what it asks for.
// The error is a status.
func (p *Pool) wait(ctx context.Context, a *ask) (grant, error) {
	if _, ok := p.Programs[a.Engine]; !ok {
		return grant{}, status.Errorf(codes.FailedPrecondition, "engine %v is not installed here", a.Engine)
	}
	a.got = make(chan grant, 1)
	p.mu.Lock()
	ticket := p.line.Join(a.Client, a)
	p.serve()
	p.mu.Unlock()
	select {
	case g := <-a.got:
		return g, g.err
	default:
		if a.Waits != nil {
			a.Waits()
		}
	}
	select {
	case g := <-a.got:
		return g, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.line.Leave(ticket) { // it came in the same moment
		p.refuse(<-a.got)
	}
	return grant{}, status.Errorf(codes.ResourceExhausted, "no tab was free in time: %d of %d in use (max_tabs)", p.tabs-len(p.idle), p.MaxTabs)
}

// refuse gives back what nobody waits for any longer. Called with the lock.
func (p *Pool) refuse(g grant) {
	switch {
	case g.slot != nil:
		p.rest(g.slot)
	case g.browser != nil:
		p.vacate(g.browser)
	}
}

// serve gives those who wait what there is for them, in turn. It is called with
// the lock, whenever something has become free.
//
// Who is first has the first choice, and if nothing fits, the next place: idle
// slots are thrown away for it. The others get only what it cannot use, so that
// nobody waits for ever, however well another's jobs fit the slots that there are.
func (p *Pool) serve() {
	missing := 0 // places for those who were passed over
	for i := 0; i < p.line.Len(); {
		if missing > 0 && len(p.idle) == 0 && p.tabs >= p.MaxTabs {
			return // nothing for anybody
		}
		a := p.line.At(i)
		g := p.find(a, missing)
		if g == (grant{}) {
			missing++
			i++
			continue
		}
		p.line.Serve(i)
		a.got <- g // has room for it
	}
}

// find is what there is for somebody, if anything. So many places that become
// free are others', who came before.
func (p *Pool) find(a *ask, others int) grant {
	if p.closed {
		return grant{err: errClosed()}
	}
	if !a.guest {
		if s := p.take(a.Need); s != nil {
			return grant{slot: s}
		}
	}
	if used := p.used(); used > p.Memory {
		isComing := p.leaving > others || p.evict("memory")
		if !isComing && p.leaving == 0 {
			return grant{err: overMemory(used, p.Memory)}
		}
		return grant{}
	}
	if p.tabs >= p.MaxTabs {
		if p.leaving <= others {
			p.evict("room")
		}
		return grant{}
	}
	return grant{browser: p.place(a.Engine)}
}

// newTabMemory is what a tab takes about, until memory is measured again.
const newTabMemory = 16 << 20

// used is the memory of all browsers by now.
func (p *Pool) used() uint64 {
	return uint64(max(0, int64(p.memory)+p.since*newTabMemory)) //nolint:gosec // G115: no machine has as much
}

// take removes the fittest idle slot: one that was on the site, one of the
// client, one that nobody has used.
func (p *Pool) take(n Need) *Slot {
	best, score := -1, 0
	for i, s := range p.idle {
		fits := 0
		switch {
		case s.browser.engine != n.Engine, s.Tab.Err() != nil:
		case s.used == 0:
			fits = 1
		case !n.Reset, s.client != n.Client, n.Proxy != nil:
		case s.site != n.Site:
			fits = 2
		default:
			fits = 3
		}
		if fits > 0 && fits >= score { // the latest used, whose caches are warm
			best, score = i, fits
		}
	}
	if best < 0 {
		return nil
	}
	s := p.idle[best]
	p.idle = slices.Delete(p.idle, best, best+1)
	return s
}

// evict throws away the slot that was idle for longest, and reports whether
// there was one. Called with the lock.
func (p *Pool) evict(reason string) bool {
	if len(p.idle) == 0 {
		return false
	}
	s := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	p.discard(s, reason)
	return true
}

// place reserves a place in a browser, the emptiest one, and starts another when
// all have their share of tabs. It is nil when there is none. Called with the
// lock.
func (p *Pool) place(kind Engine) *browser {
	share := (p.MaxTabs + p.MaxBrowsers - 1) / p.MaxBrowsers
	var best *browser
	for _, b := range p.browsers {
		if b.engine == kind && !b.retiring && !b.isDead() && (best == nil || b.tabs < best.tabs) {
			best = b
		}
	}
	if best == nil || best.tabs >= share {
		if len(p.browsers) < p.MaxBrowsers {
			best = p.launch(kind)
		}
	}
	if best == nil {
		p.yield()
		return nil
	}
	best.tabs++
	p.tabs++
	p.since++
	return best
}

// yield makes room for a browser of another kind, of which there is none: the one
// with the fewest jobs gets no more of them. Called with the lock.
func (p *Pool) yield() {
	var least *browser
	for _, b := range p.browsers {
		switch {
		case b.retiring || b.isDead():
			return // it makes room already
		case b.isUp() && (least == nil || p.busyIn(b) < p.busyIn(least)):
			least = b
		}
	}
	if least != nil {
		p.retire(least, "room")
	}
}

// busyIn is how many tabs of a browser are in use, or being made.
func (p *Pool) busyIn(b *browser) int {
	n := b.tabs
	for _, s := range p.idle {
		if s.browser == b {
			n--
		}
	}
	return n
}

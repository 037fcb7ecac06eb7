package slot

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/download"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Options say how many browsers and tabs there are, and for how long. All are
// set.
type Options struct {
	Programs map[Engine]engine.Program // of the engines that are there
	Default  Engine                    // whose slots are kept warm
	Launch   engine.Options            // without Program and Handle
	Outlets  *outlet.Rules

	Downloads *download.Store // nil refuses all

	MaxBrowsers  int
	MaxTabs      int
	Warm         int // slots that nobody has used, ready
	MaxUses      int // of a slot
	MaxAge       time.Duration
	IdleTimeout  time.Duration // of a browser without a job
	Memory       uint64        // of all browsers, bytes
	MaxTabMemory uint64        // of a renderer, bytes

	Log   func(message string, args ...any)
	Meter Meter
}

// Meter counts what happens in a pool. Its methods are safe for concurrent use.
type Meter interface {
	Started(took time.Duration) // a browser
	Made(took time.Duration)    // a slot
	Wiped(took time.Duration)   // a slot
	Recycled(reason string)     // a slot: "strict", "uses", "crash", "wipe", …
	Crashed(what string)        // "browser" or "page"
	Sampled(memory uint64)      // of all browsers
}

// Pool is the slots. Its methods are safe for concurrent use.
type Pool struct {
	Options

	tasks sync.WaitGroup // what goes on without a caller

	mu       sync.Mutex
	closed   bool
	changed  chan struct{} // closed when a caller that waits may find a slot
	browsers []*browser
	idle     []*Slot // the longest idle first
	tabs     int     // slots, and those being made
	number   uint64  // of the newest browser
	filling  bool    // with warm slots
	memory   uint64  // as it was last measured
	since    uint64  // slots made since then
}

// New returns a pool without browsers. Run keeps it; the caller closes it.
func New(o Options) *Pool {
	return &Pool{Options: o, changed: make(chan struct{})}
}

// errClosed is for calls after Close.
func errClosed() error { return status.Error(codes.Unavailable, "the browser pool is closed") }

// Acquire returns a slot for a job, which has it for itself until Release. It
// waits for one when all tabs are in use. The error is a status.
func (p *Pool) Acquire(ctx context.Context, n Need) (*Slot, error) {
	if _, ok := p.Programs[n.Engine]; !ok {
		return nil, status.Errorf(codes.FailedPrecondition, "engine %v is not installed here", n.Engine)
	}
	for tries := 1; ; {
		s, b, wait, err := p.next(ctx, n)
		if err != nil {
			return nil, err
		}
		if b != nil {
			s, err = p.fill(ctx, b)
			if errors.Is(err, devtools.ErrClosed) && tries < attempts {
				tries++
				continue // another one will do
			}
			if err != nil {
				return nil, asStatus(ctx, err)
			}
		}
		if s != nil {
			s.use(n)
			p.refill(ctx)
			return s, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, status.Errorf(codes.ResourceExhausted, "no tab was free in time: %d of %d in use (max_tabs)", p.Counts().Used, p.MaxTabs)
		}
	}
}

func asStatus(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return status.FromContextError(ctx.Err()).Err()
	case status.Code(err) != codes.Unknown:
		return err
	}
	return status.Error(codes.Unavailable, err.Error())
}

// next finds an idle slot, or else a browser with a place for a new one, or else
// what to wait for.
func (p *Pool) next(ctx context.Context, n Need) (*Slot, *browser, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, nil, errClosed()
	}
	if s := p.take(n); s != nil {
		return s, nil, nil, nil
	}
	b, wait, err := p.reserve(ctx, n.Engine)
	return nil, b, wait, err
}

// reserve finds a browser with a place for one more tab, or else what to wait
// for. Called with the lock.
func (p *Pool) reserve(ctx context.Context, kind Engine) (*browser, <-chan struct{}, error) {
	if used := p.memory + p.since*newTabMemory; used > p.Memory {
		if !p.evict(ctx, "memory") {
			return nil, nil, overMemory(used, p.Memory)
		}
		return nil, p.changed, nil
	}
	if p.tabs >= p.MaxTabs {
		p.evict(ctx, "room")
		return nil, p.changed, nil
	}
	if b := p.place(ctx, kind); b != nil {
		return b, nil, nil
	}
	return nil, p.changed, nil
}

// newTabMemory is what a tab takes about, until memory is measured again.
const newTabMemory = 16 << 20

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
func (p *Pool) evict(ctx context.Context, reason string) bool {
	if len(p.idle) == 0 {
		return false
	}
	s := p.idle[0]
	p.idle = slices.Delete(p.idle, 0, 1)
	p.discard(ctx, s, reason)
	return true
}

// place reserves a place in a browser, the emptiest one, and starts another when
// all have their share of tabs. It is nil when there is none. Called with the
// lock.
func (p *Pool) place(ctx context.Context, kind Engine) *browser {
	share := (p.MaxTabs + p.MaxBrowsers - 1) / p.MaxBrowsers
	var best *browser
	for _, b := range p.browsers {
		if b.engine == kind && !b.retiring && !b.isDead() && (best == nil || b.tabs < best.tabs) {
			best = b
		}
	}
	if best == nil || best.tabs >= share {
		if len(p.browsers) < p.MaxBrowsers {
			best = p.launch(ctx, kind)
		}
	}
	if best == nil {
		p.yield(ctx)
		return nil
	}
	best.tabs++
	p.tabs++
	p.since++
	return best
}

// yield throws away the idle slots of another engine's browser, where each has
// its share and one kind has none. Called with the lock.
func (p *Pool) yield(ctx context.Context) {
	for _, b := range p.browsers {
		if !b.retiring && b.tabs == p.idleIn(b) {
			p.retire(ctx, b, "room")
			return
		}
	}
}

func (p *Pool) idleIn(b *browser) int {
	n := 0
	for _, s := range p.idle {
		if s.browser == b {
			n++
		}
	}
	return n
}

// launch starts a browser, which is listed at once. Called with the lock.
func (p *Pool) launch(ctx context.Context, kind Engine) *browser {
	p.number++
	b := &browser{
		number: p.number, engine: kind, born: time.Now(), idle: time.Now(),
		ready: make(chan struct{}), slots: make(map[cdp.BrowserContextID]*Slot), guests: make(map[*Guest]bool),
	}
	p.browsers = append(p.browsers, b)
	options := p.Launch
	options.Program = p.Programs[kind]
	ctx = context.WithoutCancel(ctx) // it is not for one caller
	p.tasks.Go(func() {
		b.start(ctx, options)
		if b.err == nil {
			p.Meter.Started(time.Since(b.born))
			p.mu.Lock()
			if p.closed {
				b.Kill()
			}
			p.mu.Unlock()
			<-b.Done()
		}
		p.gone(b)
	})
	return b
}

// gone takes a browser that has ended, or has not started, off the list, with its
// idle slots.
func (p *Pool) gone(b *browser) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.browsers = slices.DeleteFunc(p.browsers, func(other *browser) bool { return other == b })
	var dead []*Slot
	p.idle = slices.DeleteFunc(p.idle, func(s *Slot) bool {
		if s.browser == b {
			dead = append(dead, s)
		}
		return s.browser == b
	})
	for _, s := range dead {
		p.discard(context.Background(), s, "crash")
	}
	if b.err != nil {
		p.Log("browser has not started", "err", b.err)
	} else if !b.retiring && !p.closed {
		p.Meter.Crashed("browser")
		p.Log("browser has exited", "pid", b.PID(), "exit", b.Exit())
	}
	p.wake()
}

// wake lets those who wait look again. Called with the lock.
func (p *Pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// fill makes a slot at a place that was reserved.
func (p *Pool) fill(ctx context.Context, b *browser) (*Slot, error) {
	begin := time.Now()
	var err error
	select {
	case <-b.ready:
		err = b.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	var s *Slot
	if err == nil {
		s, err = p.make(ctx, b)
	}
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.vacate(b)
		return nil, err
	}
	p.Meter.Made(time.Since(begin))
	return s, nil
}

// vacate gives a place back. Called with the lock.
func (p *Pool) vacate(b *browser) {
	b.tabs--
	p.tabs--
	if b.tabs == 0 && b.retiring && b.isUp() {
		b.Kill()
	}
	p.wake()
}

// discard throws a slot away. Called with the lock.
func (p *Pool) discard(ctx context.Context, s *Slot, reason string) {
	p.Meter.Recycled(reason)
	ctx = context.WithoutCancel(ctx)
	p.tasks.Go(func() {
		p.dispose(ctx, s)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.vacate(s.browser)
	})
}

// Outcome is how a job left its slot.
type Outcome int

// The outcomes.
const (
	// Strict is a slot that is not to be used again.
	Strict Outcome = iota
	// Reset is one that is to be wiped and used again.
	Reset
	// Hung is one whose page may not end by itself.
	Hung
)

// Release gives a slot back. It does not wait for what becomes of it.
func (p *Pool) Release(ctx context.Context, s *Slot, o Outcome) {
	if s.Tab.Err() != nil && s.browser.Err() == nil {
		p.Meter.Crashed("page")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.browser.idle = time.Now()
	switch {
	case p.closed, s.Tab.Err() != nil:
		p.discard(ctx, s, "crash")
	case o == Hung:
		s.crash()
		p.discard(ctx, s, "hung")
	case o == Strict:
		p.discard(ctx, s, "strict")
	case s.retire:
		p.discard(ctx, s, "unwipeable")
	case s.used >= p.MaxUses:
		p.discard(ctx, s, "uses")
	case s.browser.retiring:
		p.discard(ctx, s, "age")
	default:
		ctx = context.WithoutCancel(ctx)
		p.tasks.Go(func() { p.reuse(ctx, s) })
	}
}

// reuse wipes a slot and puts it among the idle ones.
func (p *Pool) reuse(ctx context.Context, s *Slot) {
	begin := time.Now()
	err := s.wipe(ctx)
	if err == nil {
		p.Meter.Wiped(time.Since(begin))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && s.Tab.Err() == nil:
		p.Log("page could not be wiped", "err", err)
		s.crash()
		p.discard(ctx, s, "wipe")
	case err != nil:
		p.discard(ctx, s, "crash")
	default:
		p.rest(ctx, s)
	}
}

// rest puts a slot among the idle ones. Called with the lock.
func (p *Pool) rest(ctx context.Context, s *Slot) {
	if p.closed || s.browser.retiring || s.Tab.Err() != nil {
		p.discard(ctx, s, "age")
		return
	}
	s.since = time.Now()
	p.idle = append(p.idle, s)
	p.wake()
}

// refill makes warm slots in the background, one after the other, until there are
// as many as wanted.
func (p *Pool) refill(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filling || p.closed {
		return
	}
	p.filling = true
	ctx = context.WithoutCancel(ctx)
	p.tasks.Go(func() {
		for {
			b := p.wanted(ctx)
			if b == nil {
				return
			}
			s, err := p.fill(ctx, b)
			p.mu.Lock()
			if err != nil {
				p.filling = false
				p.mu.Unlock()
				return // the next job tries again, and has the error
			}
			p.rest(ctx, s)
			p.mu.Unlock()
		}
	})
}

// wanted is a browser with a place reserved for a warm slot; nil when there are
// enough.
func (p *Pool) wanted(ctx context.Context) *browser {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := 0
	for _, s := range p.idle {
		if s.used == 0 && s.browser.engine == p.Default {
			fresh++
		}
	}
	if fresh < p.Warm && !p.closed && p.tabs < p.MaxTabs && p.memory < p.Memory {
		if b := p.place(ctx, p.Default); b != nil {
			return b
		}
	}
	p.filling = false
	return nil
}

// Counts are how many there are of a pool's parts.
type Counts struct {
	Browsers int
	Tabs     int // slots, and those being made
	Warm     int // slots that nobody has used
	Wiped    int // slots that wait for another job of their client
	Used     int // slots with a job, or on their way
}

// Counts of the moment.
func (p *Pool) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Counts{Browsers: len(p.browsers), Tabs: p.tabs}
	for _, s := range p.idle {
		if s.used == 0 {
			c.Warm++
		} else {
			c.Wiped++
		}
	}
	c.Used = c.Tabs - c.Warm - c.Wiped
	return c
}

// Close ends all browsers and returns when nothing of them is left. Jobs that
// still run fail at once.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for _, b := range p.browsers {
		if b.isUp() {
			b.Kill()
		}
	}
	for _, s := range p.idle {
		p.discard(context.Background(), s, "closed")
	}
	p.idle = nil
	p.wake()
	p.mu.Unlock()
	p.tasks.Wait()
}

package slot

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/download"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/turn"
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

	tasks   sync.WaitGroup // what goes on without a caller
	sampler engine.Sampler // of Run

	mu       sync.Mutex
	closed   bool
	line     turn.Line[*ask] // of those who wait
	browsers []*browser
	idle     []*Slot // the longest idle first
	tabs     int     // slots, and those being made
	leaving  int     // of them, those that are being thrown away
	number   uint64  // of the newest browser
	filling  bool    // with warm slots
	memory   uint64  // as it was last measured
	since    int64   // tabs made since then, less those that have gone
}

// New returns a pool without browsers. Run keeps it; the caller closes it.
func New(o Options) *Pool {
	return &Pool{Options: o}
}

// errClosed is for calls after Close.
func errClosed() error { return status.Error(codes.Unavailable, "the browser pool is closed") }

// Acquire returns a slot for a job, which has it for itself until Release. It
// waits for one when all tabs are in use; see wait.go. The error is a status.
func (p *Pool) Acquire(ctx context.Context, n Need) (*Slot, error) {
	for tries := 1; ; tries++ {
		g, err := p.wait(ctx, &ask{Need: n})
		if err != nil {
			return nil, err
		}
		s := g.slot
		if s == nil {
			s, err = p.fill(ctx, g.browser)
			if errors.Is(err, devtools.ErrClosed) && tries < attempts {
				continue // another one will do
			}
			if err != nil {
				return nil, asStatus(ctx, err)
			}
		}
		s.use(n)
		p.refill()
		return s, nil
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
	p.since--
	if b.tabs == 0 && b.retiring && b.isUp() {
		b.Kill()
	}
	p.serve()
}

// discard throws a slot away, without a caller who would wait. Called with the
// lock.
func (p *Pool) discard(s *Slot, reason string) {
	p.Meter.Recycled(reason)
	p.leaving++
	p.tasks.Go(func() {
		p.dispose(s)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.leaving--
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
func (p *Pool) Release(s *Slot, o Outcome) {
	if s.Tab.Err() != nil && s.browser.Err() == nil {
		p.Meter.Crashed("page")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.browser.idle = time.Now()
	switch {
	case p.closed, s.Tab.Err() != nil:
		p.discard(s, "crash")
	case o == Hung:
		s.crash()
		p.discard(s, "hung")
	case o == Strict:
		p.discard(s, "strict")
	case s.retire:
		p.discard(s, "unwipeable")
	case s.used >= p.MaxUses:
		p.discard(s, "uses")
	case s.browser.retiring:
		p.discard(s, "age")
	default:
		p.tasks.Go(func() { p.reuse(s) })
	}
}

// reuse wipes a slot and puts it among the idle ones.
func (p *Pool) reuse(s *Slot) {
	begin := time.Now()
	err := s.wipe()
	if err == nil {
		p.Meter.Wiped(time.Since(begin))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && s.Tab.Err() == nil:
		p.Log("page could not be wiped", "err", err)
		s.crash()
		p.discard(s, "wipe")
	case err != nil:
		p.discard(s, "crash")
	default:
		p.rest(s)
	}
}

// rest puts a slot among the idle ones. Called with the lock.
func (p *Pool) rest(s *Slot) {
	if p.closed || s.browser.retiring || s.Tab.Err() != nil {
		p.discard(s, "age")
		return
	}
	s.since = time.Now()
	p.idle = append(p.idle, s)
	p.serve()
}

// refill makes warm slots in the background, one after the other, until there are
// as many as wanted.
func (p *Pool) refill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filling || p.closed {
		return
	}
	p.filling = true
	p.tasks.Go(func() {
		for {
			b := p.wanted()
			if b == nil {
				return
			}
			s, err := p.fill(context.Background(), b)
			p.mu.Lock()
			if err != nil {
				p.filling = false
				p.mu.Unlock()
				return // the next job tries again, and has the error
			}
			p.rest(s)
			p.mu.Unlock()
		}
	})
}

// wanted is a browser with a place reserved for a warm slot; nil when there are
// enough.
func (p *Pool) wanted() *browser {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := 0
	for _, s := range p.idle {
		if s.used == 0 && s.browser.engine == p.Default {
			fresh++
		}
	}
	if fresh < p.Warm && !p.closed && p.line.Len() == 0 && p.tabs < p.MaxTabs && p.used() < p.Memory {
		if b := p.place(p.Default); b != nil {
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
	Waiting  int // jobs that wait for a slot
}

// Counts of the moment.
func (p *Pool) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := Counts{Browsers: len(p.browsers), Tabs: p.tabs, Waiting: p.line.Len()}
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
		p.discard(s, "closed")
	}
	p.idle = nil
	p.serve()
	p.mu.Unlock()
	p.tasks.Wait()
}

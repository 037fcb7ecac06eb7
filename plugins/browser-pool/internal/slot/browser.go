package slot

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/cdp/jsonv2"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	pagepkg "github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Engine is a kind of browser: HEADLESS_SHELL or CHROMIUM.
type Engine = browserv1.Engine

// browser is one of the pool's, with its slots.
type browser struct {
	*engine.Browser

	number uint64
	engine Engine
	born   time.Time
	ready  chan struct{} // closed when it has started, or not
	err    error         // why not; written before ready is closed

	// Of the pool's lock.
	tabs     int       // slots, and those being made
	retiring bool      // gets no more slots
	idle     time.Time // without a job since then

	mu     sync.Mutex
	slots  map[cdp.BrowserContextID]*Slot
	guests map[*Guest]bool
	fat    time.Time // when a renderer was last killed for its memory
}

// launch starts a browser, which is listed at once. Called with the lock.
func (p *Pool) launch(kind Engine) *browser {
	p.number++
	b := &browser{
		number: p.number, engine: kind, born: time.Now(), idle: time.Now(),
		ready: make(chan struct{}), slots: make(map[cdp.BrowserContextID]*Slot), guests: make(map[*Guest]bool),
	}
	p.browsers = append(p.browsers, b)
	options := p.Launch
	options.Program = p.Programs[kind]
	p.tasks.Go(func() {
		b.start(context.Background(), options) // it is not for one caller
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
		p.discard(s, "crash")
	}
	if b.err != nil {
		p.Log("browser has not started", "err", b.err)
	} else if !b.retiring && !p.closed {
		p.Meter.Crashed("browser")
		p.Log("browser has exited", "pid", b.PID(), "exit", b.Exit())
	}
	p.serve()
}

// start starts the browser and lets those who wait for it go on.
func (b *browser) start(ctx context.Context, o engine.Options) {
	defer close(b.ready)
	o.Handle = b.handle
	b.Browser, b.err = engine.Start(ctx, o)
	if b.err != nil {
		return
	}
	_, err := devtools.Call(ctx, b.Session, target.SetDiscoverTargets, target.SetDiscoverTargetsParams{Discover: true})
	if err != nil {
		b.Close()
		b.err = fmt.Errorf("start browser: %w", err)
	}
}

// isUp reports whether the browser has started and lives.
func (b *browser) isUp() bool {
	select {
	case <-b.ready:
		return b.err == nil && b.Err() == nil
	default:
		return false
	}
}

// isDead reports whether the browser has not started, or has ended.
func (b *browser) isDead() bool {
	select {
	case <-b.ready:
		return b.err != nil || b.Err() != nil
	default:
		return false
	}
}

func (b *browser) add(s *Slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.slots[s.context] = s
}

func (b *browser) remove(s *Slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.slots, s.context)
}

// handle follows what the browser tells of its targets.
func (b *browser) handle(e devtools.Event) {
	b.tell(e)
	switch e.Method {
	case "Browser.downloadWillBegin", "Browser.downloadProgress":
		b.download(e)
	case "Target.targetCreated":
		var created target.EventTargetCreated
		if jsonv2.Unmarshal(e.Params, &created) == nil {
			b.opened(created.TargetInfo)
		}
	case "Target.targetCrashed":
		var crashed target.EventTargetCrashed
		if jsonv2.Unmarshal(e.Params, &crashed) == nil {
			b.ended(crashed.TargetID)
		}
	case "Target.targetDestroyed":
		var destroyed target.EventTargetDestroyed
		if jsonv2.Unmarshal(e.Params, &destroyed) == nil {
			b.ended(destroyed.TargetID)
		}
	}
}

// tell passes on what guests want to know.
func (b *browser) tell(e devtools.Event) {
	b.mu.Lock()
	guests := slices.Collect(maps.Keys(b.guests))
	b.mu.Unlock()
	for _, g := range guests {
		g.watch(e)
	}
}

// opened closes the window that a page has opened.
func (b *browser) opened(info *target.Info) {
	b.mu.Lock()
	s := b.slots[info.BrowserContextID]
	b.mu.Unlock()
	if s != nil && info.Type == "page" && info.TargetID != s.Tab.Target && !s.Tab.IsAwaited(info.TargetID) {
		b.Post(target.CommandCloseTarget, target.CloseTargetParams{TargetID: info.TargetID})
	}
}

// ended ends the slot whose page is no more.
func (b *browser) ended(id target.ID) {
	why := b.why()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slots {
		if s.Tab.Target == id {
			s.Tab.End(why)
			return
		}
	}
}

// why is why a page of this browser has crashed.
func (b *browser) why() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fat.IsZero() && time.Since(b.fat) < time.Second {
		return status.Error(codes.ResourceExhausted, "the page's renderer was ended: it used more memory than max_tab_memory")
	}
	return pagepkg.ErrCrashed
}

// patient returns a context that ends with errSlow when the browser has said
// nothing for a while: one that still talks, of a page that floods it say, is late
// with its answers and not hung.
func (b *browser) patient(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	heard := b.Heard()
	go func() {
		look := time.NewTicker(while)
		defer look.Stop()
		for {
			select {
			case <-look.C:
			case <-ctx.Done():
				return
			}
			now := b.Heard()
			if now == heard {
				cancel(errSlow)
			}
			heard = now
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

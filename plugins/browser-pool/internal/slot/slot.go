// Package slot keeps tabs ready. A slot is a browser context with a way out of its
// own and one tab whose domains are enabled: making one takes ten times as long
// as using it, so that slots are made before they are needed, and wiped after a
// job where the next one is of the same client.
//
// A slot that has died, or that anything is wrong with, is thrown away and never
// comes back. See pool.go for how jobs get theirs.
package slot

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/download"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/outlet"
	pagepkg "github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
)

const (
	// stepTime is how long making, attaching to or wiping a tab may take. A
	// renderer that dies meanwhile is told of by nobody. It takes 60 ms as a
	// rule, and doubles for each further attempt, for machines that are busy.
	stepTime = 1500 * time.Millisecond

	// attempts of making a slot; twice as many in a browser that is busy.
	attempts = 3

	// disposeTime is how long a context may take to go, and patience how long in a
	// browser that has much to tell meanwhile. One in which it does not go is killed.
	disposeTime = 5 * time.Second
	patience    = time.Minute
)

var (
	errSlow = errors.New("the browser did not answer in time")
	errGone = errors.New("the slot has been given back")
)

// Slot is a tab for one job or session at a time.
type Slot struct {
	Tab    *pagepkg.Tab
	Outlet *outlet.Outlet

	browser *browser
	folder  *download.Folder // nil without Download; of the browser's lock
	context cdp.BrowserContextID
	client  string // that it has served; with used
	site    string // that it was on last
	used    int    // jobs that it has served
	retire  bool   // what its job did cannot be wiped
	born    time.Time
	since   time.Time // idle since then
}

// Browser is a number of the slot's browser that is never used again.
func (s *Slot) Browser() uint64 { return s.browser.number }

// Product is the browser's name and version.
func (s *Slot) Product() string { return s.browser.Product }

// Retire says that the slot is not to be used again: something was done in it
// that cannot be wiped.
func (s *Slot) Retire() { s.retire = true }

// use gives the slot to a client.
func (s *Slot) use(n Need) {
	s.client, s.site = n.Client, n.Site
	s.used++
	s.setFolder(nil)
	s.Outlet.Use(n.Client, n.Proxy)
	if n.Proxy != nil {
		s.retire = true // what came through another way may be in its caches
	}
}

// make makes a slot in a browser.
func (p *Pool) make(ctx context.Context, b *browser) (*Slot, error) {
	for attempt := 0; ; attempt++ {
		heard := b.Heard()
		s, err := p.try(ctx, b, stepTime<<min(attempt, attempts-1))
		if err == nil || ctx.Err() != nil || b.Err() != nil {
			return s, err
		}
		isBusy := b.Heard() != heard // with other pages, say
		if attempt+1 == attempts && !isBusy || attempt+1 == 2*attempts {
			p.Log("browser does not open a page", "pid", b.PID(), "err", err)
			b.Kill()
			return nil, err
		}
	}
}

func (p *Pool) try(ctx context.Context, b *browser, limit time.Duration) (_ *Slot, err error) {
	step, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	out, err := p.Outlets.Open(ctx)
	if err != nil {
		return nil, err
	}
	s := &Slot{browser: b, Outlet: out, born: time.Now()}
	defer func() {
		if err != nil {
			p.dispose(s)
		}
	}()
	made, err := devtools.Call(step, b.Session, target.CreateBrowserContext, target.CreateBrowserContextParams{
		DisposeOnDetach: new(true), ProxyServer: out.Address(), ProxyBypassList: "<-loopback>",
	})
	if err != nil {
		return nil, err
	}
	s.context = made.BrowserContextID
	tab, err := devtools.Call(step, b.Session, target.CreateTarget, target.CreateTargetParams{
		URL: "about:blank", BrowserContextID: s.context, Width: pagepkg.DefaultWidth, Height: pagepkg.DefaultHeight,
	})
	if err != nil {
		return nil, err
	}
	if err := s.refuseDownloads(step); err != nil {
		return nil, err
	}
	if s.Tab, err = pagepkg.Attach(step, b.Conn, s.context, tab.TargetID, b.why); err != nil {
		return nil, err
	}
	b.add(s)
	return s, nil
}

// dispose ends a slot: its page, context and way out. A page that hangs is
// killed.
func (p *Pool) dispose(s *Slot) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, errSlow) // also for a caller who has gone
	defer cancel()
	ctx, cancel = s.browser.patient(ctx, disposeTime)
	defer cancel()
	if s.Tab != nil {
		s.browser.remove(s)
		s.Tab.End(errGone)
	}
	if s.context != "" {
		_, err := devtools.Call(ctx, s.browser.Session, target.DisposeBrowserContext, target.DisposeBrowserContextParams{BrowserContextID: s.context})
		if errors.Is(err, errSlow) {
			p.Log("browser does not close a page", "pid", s.browser.PID())
			s.browser.Kill()
		}
	}
	s.Outlet.Close()
	if s.folder != nil {
		if err := s.folder.Close(); err != nil {
			p.Log("partial downloads stay until the next start", "err", err)
		}
	}
}

// crash ends the renderer of a page that does not end by itself: an endless loop,
// for one. The browser gives no answer.
func (s *Slot) crash() { s.Tab.Post(page.CommandCrash, nil) }

// wipe makes a used slot ready for the next job of its client.
func (s *Slot) wipe() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), stepTime, errSlow)
	defer cancel()
	s.Outlet.Rest() // answers that come late would write again
	if err := s.Tab.Reset(ctx); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	return nil
}

// Need is what a job needs a slot to be.
type Need struct {
	Engine Engine
	Client string
	Site   string   // where it goes: a slot that was there last is preferred
	Reset  bool     // a wiped slot of the same client will do
	Proxy  *url.URL // of the page's own, or nil

	// Waits is called when the job has to wait, unless it is nil. It does not
	// block.
	Waits func()
}

// Package pool opens pages in real browsers for many callers: it is the service
// gaia.browser.v1.BrowserPool.
//
// A one-shot travels Pool.Screenshot → Pool.do (a place, a slot, another one if it
// crashes) → page.Tab (open, wait, take) → Chromium. A step of a Run goes Pool.do →
// course.step → hand.take → page.Tab; an action on a session is such a step, which
// goes Pool.act → Session.Do (its turn) → hand.take. What a page asks of the network
// goes Chromium → outlet → egress rules. What happens on it goes Chromium → page.Tab
// (its frames and workers are parts of it) → the session's feed → Events; a file
// goes Chromium → download.Folder, which tells the tab.
package pool

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/door"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/session"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/turn"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Pool is the service. It is safe for concurrent use.
type Pool struct {
	browserv1.UnimplementedBrowserPoolServer

	metrics *metrics

	mu      sync.Mutex
	running *running // nil before Configure and after Close
}

// running is what a configured pool works with.
type running struct {
	slots    *slot.Pool
	sessions *session.Registry
	door     *door.Door // nil without one
	home     *engine.Home
	jobs     *turn.Places // for the pages that may load at once

	sessionIdle time.Duration

	stop context.CancelFunc
	kept chan struct{} // closed when the upkeep has ended
}

// New returns a pool without browsers. The caller ends it with Shutdown.
func New() *Pool { return &Pool{metrics: newMetrics()} }

// Configure looks for the browsers and starts the first. The error says which
// field is at fault, or what to install.
func (p *Pool) Configure(ctx context.Context, config *browserv1.Config) error {
	o, err := options(ctx, config)
	if err != nil {
		return err
	}
	o.Log, o.Meter = sdk.Logger().Warn, p.metrics
	o.Outlets.Reported = p.metrics.denied
	if err := o.Outlets.Guard(ctx); err != nil {
		sdk.Logger().Warn("the ways out of pages are open to other users of this machine", "err", err)
	}
	if o.Downloads, err = downloads(config.GetDownloads()); err != nil {
		return err
	}
	if o.Launch.Home, err = engine.OpenHome(""); err != nil {
		return errors.Join(err, o.Downloads.Close())
	}
	if engine.NeedsNoSandbox() {
		sdk.Logger().Warn("browsers run without Chromium's sandbox: it cannot run as root; run gaia as another user")
	}
	r := &running{
		slots: slot.New(o), home: o.Launch.Home, kept: make(chan struct{}),
		jobs:        turn.NewPlaces(intOr(config.GetMaxJobs(), jobsPerCPU*runtime.NumCPU())),
		sessionIdle: durationOr(config.GetSessionIdleTimeout(), defaultSessionIdle),
	}
	r.sessions = session.New(ctx, session.Options{Max: o.MaxTabs, Slots: r.slots, Meter: p.metrics})
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	go func() {
		defer close(r.kept)
		r.slots.Run(keep)
	}()
	if r.door, err = p.openDoor(ctx, config.GetCdp(), &o, r.slots); err != nil {
		return errors.Join(err, r.close())
	}
	p.mu.Lock()
	old := p.running
	p.running = r
	p.mu.Unlock()
	p.metrics.watch(r.slots)
	return old.close()
}

// use returns what the pool works with.
func (p *Pool) use() (*running, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil, status.Error(codes.Unavailable, "the browser pool is closed")
	}
	return p.running, nil
}

// Shutdown ends all browsers and removes what they wrote. Calls in flight fail.
func (p *Pool) Shutdown(context.Context) error {
	p.mu.Lock()
	r := p.running
	p.running = nil
	p.mu.Unlock()
	return r.close()
}

func (r *running) close() error {
	if r == nil {
		return nil
	}
	if r.door != nil {
		r.door.Close()
	}
	r.sessions.Close()
	r.stop()
	<-r.kept
	r.slots.Close()
	return errors.Join(r.home.Close(), r.slots.Downloads.Close())
}

// Metrics are the pool's own, listed in the plugin's README.
func (p *Pool) Metrics() prometheus.Gatherer { return p.metrics.registry }

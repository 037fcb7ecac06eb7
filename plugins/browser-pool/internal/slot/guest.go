package slot

import (
	"context"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Guest is somebody who makes contexts and tabs in one of the pool's browsers
// himself, under the pool's limits. He is ended with Leave, and has disposed of
// all his contexts before. Its methods are safe for concurrent use.
type Guest struct {
	pool    *Pool
	browser *browser
	watch   devtools.Handler
	tabs    int // places that he has; of the pool's lock
}

// Join lets a guest into a browser, with a place for one tab; it waits for one as
// Acquire does, in the turns of a client. Watch gets what the browser tells of all its targets; see
// devtools.Handler. The error is a status.
func (p *Pool) Join(ctx context.Context, kind Engine, client string, watch devtools.Handler) (*Guest, error) {
	got, err := p.wait(ctx, &ask{Need: Need{Engine: kind, Client: client}, guest: true})
	if err != nil {
		return nil, err
	}
	return p.let(ctx, got.browser, watch)
}

func (p *Pool) let(ctx context.Context, b *browser, watch devtools.Handler) (*Guest, error) {
	g := &Guest{pool: p, browser: b, watch: watch, tabs: 1}
	var err error
	select {
	case <-b.ready:
		err = b.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		g.Leave()
		return nil, asStatus(ctx, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.guests[g] = true
	return g, nil
}

// Conn is the browser's connection. It ends with the browser.
func (g *Guest) Conn() *devtools.Conn { return g.browser.Conn }

// Hung ends the browser, which does not do what the guest asks for.
func (g *Guest) Hung() {
	g.pool.Log("browser does not close a page", "pid", g.browser.PID())
	g.browser.Kill()
}

// Resize says how many tabs the guest has now, or wants to have. More of them
// need room; the error is a status. Less is always fine, but one place stays.
func (g *Guest) Resize(tabs int) error {
	p := g.pool
	tabs = max(tabs, 1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for g.tabs > tabs {
		g.tabs--
		p.vacate(g.browser)
	}
	for g.tabs < tabs {
		if p.tabs >= p.MaxTabs {
			p.evict("room") // for next time: its place is free when its page has gone
			return status.Errorf(codes.ResourceExhausted, "%d tabs are in use, limit %d (max_tabs)", p.tabs, p.MaxTabs)
		}
		if used := p.used(); used > p.Memory {
			return overMemory(used, p.Memory)
		}
		g.tabs++
		g.browser.tabs++
		p.tabs++
		p.since++
	}
	return nil
}

// Leave gives all places back.
func (g *Guest) Leave() {
	b := g.browser
	b.mu.Lock()
	delete(b.guests, g)
	b.mu.Unlock()
	g.pool.mu.Lock()
	defer g.pool.mu.Unlock()
	b.idle = time.Now()
	for ; g.tabs > 0; g.tabs-- {
		g.pool.vacate(b)
	}
}

func overMemory(used, limit uint64) error {
	return status.Errorf(codes.ResourceExhausted, "browsers use %d MiB, limit %d MiB (memory)", used>>20, limit>>20)
}

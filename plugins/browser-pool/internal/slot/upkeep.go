package slot

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	browserproto "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/devtools"
)

const (
	// upkeepEvery is how often memory is measured: a page that eats memory takes
	// some hundred megabytes a second.
	upkeepEvery = time.Second

	// pingEvery and pingTime are how often a browser is asked whether it still
	// works, and how long it may say nothing then.
	pingEvery = 5 * time.Second
	pingTime  = 10 * time.Second
)

// Run keeps the pool until ctx ends: it makes warm slots, measures memory, and
// ends what is too old, too big, hung or idle.
func (p *Pool) Run(ctx context.Context) {
	p.refill()
	upkeep := time.NewTicker(upkeepEvery)
	defer upkeep.Stop()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		select {
		case <-upkeep.C:
			p.measure()
			p.replaceOld()
			p.endIdle()
		case <-ping.C:
			p.ping(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// running are the browsers that are up.
func (p *Pool) running() []*browser {
	p.mu.Lock()
	defer p.mu.Unlock()
	var up []*browser
	for _, b := range p.browsers {
		if b.isUp() {
			up = append(up, b)
		}
	}
	return up
}

// measure samples the memory of all browsers and ends renderers that use too
// much: their pages fail, and nobody else's. What pages store, and the blobs that
// they make, is in the main process of their browser, which is ended when there
// is no other way to keep to what all may use.
func (p *Pool) measure() {
	groups := make(map[int]bool)
	up := p.running()
	for _, b := range up {
		groups[b.PID()] = true
	}
	sampled := p.sampler.Sample(groups)
	var total, most uint64
	var fattest *browser
	for _, b := range up {
		for _, process := range sampled[b.PID()] {
			total += process.Memory
			if !process.IsRenderer && process.Memory > max(most, p.MaxTabMemory) {
				fattest, most = b, process.Memory
			}
			if process.IsRenderer && process.Memory > p.MaxTabMemory && b.isUp() {
				p.Log("page ended for its memory", "pid", process.PID, "bytes", process.Memory, "limit", p.MaxTabMemory)
				b.mu.Lock()
				b.fat = time.Now()
				b.mu.Unlock()
				_ = syscall.Kill(process.PID, syscall.SIGKILL) // ESRCH: it ended by itself
			}
		}
	}
	p.Meter.Sampled(total)
	if total > p.Memory && fattest != nil {
		p.Log("browser ended for its memory", "pid", fattest.PID(), "bytes", most, "all", total, "limit", p.Memory)
		fattest.Kill()
		total -= most
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.memory, p.since = total, 0
	p.serve()
}

// replaceOld retires the browsers that are too old, one at a time and after
// another one has started, if there may be one more.
func (p *Pool) replaceOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.browsers {
		if b.retiring || !b.isUp() || time.Since(b.born) < p.MaxAge {
			continue
		}
		young := slices.ContainsFunc(p.browsers, func(o *browser) bool {
			return o.engine == b.engine && !o.retiring && o.isUp() && time.Since(o.born) < p.MaxAge
		})
		isStarting := slices.ContainsFunc(p.browsers, func(o *browser) bool { return o.engine == b.engine && time.Since(o.born) < p.MaxAge })
		switch {
		case young || len(p.browsers) >= p.MaxBrowsers && !isStarting:
			p.retire(b, "age")
			return
		case !isStarting && b.tabs > 0:
			p.launch(b.engine)
			return
		case !isStarting:
			p.retire(b, "age") // nobody needs another
			return
		}
	}
}

// retire lets no more jobs into a browser and ends it after those that are in it.
// Called with the lock.
func (p *Pool) retire(b *browser, reason string) {
	b.retiring = true
	p.idle = slices.DeleteFunc(p.idle, func(s *Slot) bool {
		if s.browser == b {
			p.discard(s, reason)
		}
		return s.browser == b
	})
	if b.tabs == 0 {
		b.Kill()
	}
}

// endIdle ends the browsers that had no job for a while, and throws away slots
// that wait for a client who does not come back.
func (p *Pool) endIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = slices.DeleteFunc(p.idle, func(s *Slot) bool {
		isOld := s.Tab.Err() != nil || s.used > 0 && time.Since(s.since) > p.IdleTimeout
		if isOld {
			p.discard(s, "idle")
		}
		return isOld
	})
	for _, b := range p.browsers {
		if b.isUp() && !b.retiring && time.Since(b.idle) > p.IdleTimeout && p.busyIn(b) == 0 {
			p.retire(b, "idle")
		}
	}
}

// ping asks all browsers for an answer, and kills those that have none: stopped,
// hung, or out of memory.
func (p *Pool) ping(ctx context.Context) {
	for _, b := range p.running() {
		p.tasks.Go(func() {
			ctx, cancel := b.patient(ctx, pingTime)
			defer cancel()
			_, err := devtools.Call(ctx, b.Session, browserproto.GetVersion, cdp.Empty{})
			if errors.Is(err, errSlow) {
				p.Log("browser does not answer", "pid", b.PID())
				b.Kill()
			}
		})
	}
}

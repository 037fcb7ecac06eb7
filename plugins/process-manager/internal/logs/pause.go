package logs

import (
	"context"
	"time"
)

// pause is a wait that gets longer each time.
type pause struct {
	first, next, longest time.Duration
	timer                *time.Timer
}

// How often a disk is tried that did not take anything.
const (
	firstRetry = 10 * time.Millisecond
	maxRetry   = time.Second
)

func newPause(first, longest time.Duration) *pause {
	timer := time.NewTimer(0)
	timer.Stop()
	return &pause{first: first, next: first, longest: longest, timer: timer}
}

func (p *pause) reset() { p.next = p.first }

// wait fails with ctx's error when that ends first.
func (p *pause) wait(ctx context.Context) error {
	p.timer.Reset(p.next)
	p.next = min(2*p.next, p.longest)
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		p.timer.Stop()
		return ctx.Err()
	}
}

package logs

import (
	"context"
	"time"
)

// backoff is how long to wait before a disk is tried again that did not take
// anything.
type backoff struct{ next time.Duration }

const (
	firstBackoff = 10 * time.Millisecond
	maxBackoff   = time.Second
)

func newBackoff() *backoff { return &backoff{next: firstBackoff} }

// wait waits, longer each time. It fails when ctx or the log ends before.
func (b *backoff) wait(ctx context.Context, closed <-chan struct{}) error {
	timer := time.NewTimer(b.next)
	defer timer.Stop()
	b.next = min(2*b.next, maxBackoff)
	select {
	case <-timer.C:
		return nil
	case <-closed:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

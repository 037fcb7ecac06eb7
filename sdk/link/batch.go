package link

import "time"

// Batch gathers the outboxes into which the frames of one read have put
// something, so that each is written once and not for each frame. The zero
// Batch is ready to use; without one, with nil, what is sent goes out at once.
// It belongs to one goroutine.
type Batch struct {
	held []*outbox
	now  time.Time // zero until it is asked for
}

// Now is the present moment, read once for all that one read has brought.
func (b *Batch) Now() time.Time {
	if b == nil {
		return time.Now()
	}
	if b.now.IsZero() {
		b.now = time.Now()
	}
	return b.now
}

// flush writes all that was held back. It does not block.
func (b *Batch) flush() {
	for i, o := range b.held {
		o.flush()
		b.held[i] = nil
	}
	b.held = b.held[:0]
	b.now = time.Time{}
}

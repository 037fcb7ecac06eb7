package shape

import (
	"context"
	"time"
)

// Meter is one direction of a flow. It belongs to one goroutine at a time. A nil
// Meter limits nothing.
type Meter struct {
	direction *direction
	places    [3]place // in the lines of host, client and total

	// Of the Take under way, guarded by direction.mu.
	want   int           // what the lines passed so far have granted
	stage  int           // the place that it waits in; len(places) when it has passed all
	ready  chan struct{} // told once when a Take that waits has passed all lines; has room for that
	waited bool
}

// Take waits until bytes may pass, and says how many: at least one and at most
// want, which is at least one. They count as moved; those that are not, are given
// back with Return. The error is that of the context.
func (m *Meter) Take(ctx context.Context, want int) (int, error) {
	if !m.Limited() {
		return want, nil
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if !m.begin(want) {
		select {
		case <-m.ready:
		case <-ctx.Done():
			if m.abandon() {
				return 0, ctx.Err()
			}
			<-m.ready // the grant came first, and is good
		}
	}
	return m.want, nil
}

// Limited reports whether Take would grant less than all at once: whether any of
// the lines has a limit at the moment.
func (m *Meter) Limited() bool {
	if m == nil {
		return false
	}
	for i := range m.places {
		if m.places[i].line.limited.Load() {
			return true
		}
	}
	return false
}

// begin reports whether the grant was there at once.
func (m *Meter) begin(want int) bool {
	m.direction.mu.Lock()
	defer m.direction.mu.Unlock()
	m.want, m.waited = want, false
	for i := range m.places {
		p := &m.places[i]
		p.taken = 0
		m.want = min(m.want, p.line.quantum(p.share)) // so that no line is asked for what the next one cuts off
	}
	m.stage = -1
	m.advance(time.Now())
	if m.stage == len(m.places) {
		return true
	}
	m.waited = true
	if m.ready == nil {
		m.ready = make(chan struct{}, 1)
	}
	return false
}

// advance goes to the next line that limits. Behind the last, earlier lines get
// back what a later one has cut off.
func (m *Meter) advance(now time.Time) {
	for m.stage++; m.stage < len(m.places); m.stage++ {
		if p := &m.places[m.stage]; p.line.rate > 0 {
			p.line.enter(p, now)
			return
		}
	}
	for i := range m.places {
		p := &m.places[i]
		p.line.giveBack(p, p.taken-m.want)
	}
	if m.waited {
		m.ready <- struct{}{} // never blocks
	}
}

// abandon gives up a Take that waits, unless its grant is already there.
func (m *Meter) abandon() bool {
	m.direction.mu.Lock()
	defer m.direction.mu.Unlock()
	if m.stage == len(m.places) {
		return false
	}
	p := &m.places[m.stage]
	p.line.abandon(p)
	m.want = 0
	m.restore(time.Now(), m.places[:m.stage+1])
	return true
}

// Pay takes n bytes that have passed already.
func (m *Meter) Pay(ctx context.Context, n int) error {
	for n > 0 && m.Limited() {
		granted, err := m.Take(ctx, n)
		if err != nil {
			return err
		}
		n -= granted
	}
	return nil
}

// Return gives back n of the bytes that the last Take has granted.
func (m *Meter) Return(n int) {
	if m == nil || n <= 0 || !m.Limited() {
		return
	}
	m.direction.mu.Lock()
	defer m.direction.mu.Unlock()
	m.want -= n
	m.restore(time.Now(), m.places[:])
}

// restore gives back to lines what is beyond m.want, and lets those go on who
// wait there.
func (m *Meter) restore(now time.Time, places []place) {
	for i := range places {
		p := &places[i]
		p.line.giveBack(p, p.taken-m.want)
		p.line.serve(now)
	}
}

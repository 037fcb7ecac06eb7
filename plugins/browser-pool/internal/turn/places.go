package turn

import (
	"context"
	"sync"
)

// Places are a number of places for jobs. Its methods are safe for concurrent use.
type Places struct {
	all int

	mu   sync.Mutex
	free int
	line Line[chan struct{}] // of those who wait, each closed when it has a place
}

// NewPlaces returns places that are all free.
func NewPlaces(n int) *Places { return &Places{all: n, free: n} }

// Len is how many places there are.
func (p *Places) Len() int { return p.all }

// Take waits for a place until ctx ends, whose cause is the error. The caller
// gives it back.
func (p *Places) Take(ctx context.Context, client string) error {
	p.mu.Lock()
	if p.free > 0 && ctx.Err() == nil {
		p.free--
		p.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	ticket := p.line.Join(client, mine)
	p.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	isWaiting := p.line.Leave(ticket)
	p.mu.Unlock()
	if !isWaiting {
		p.Give() // it came in the same moment
	}
	return context.Cause(ctx)
}

// Give gives a place back.
func (p *Places) Give() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line.Len() == 0 {
		p.free++
		return
	}
	next := p.line.At(0)
	p.line.Serve(0)
	close(next)
}

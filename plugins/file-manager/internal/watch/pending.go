package watch

import "sync"

// hint says what an event has told of a name.
type hint uint8

const (
	appeared hint = 1 << iota // what is there is another one than before
	modified                  // content was written
)

// pending is where to look. The source of events adds to it and never waits; the
// watch takes it.
type pending struct {
	wake  chan struct{} // of capacity 1; has something when there is something to take
	bound int

	mu    sync.Mutex
	batch batch
	size  int
}

// batch is where to look, in the order in which it was told.
type batch struct {
	order    []*node
	names    map[*node]map[string]hint // by the directory that they are in
	overflow bool                      // and everywhere else
	err      error                     // ends the watch
}

func newPending(bound int) *pending {
	return &pending{wake: make(chan struct{}, 1), bound: bound}
}

// mark adds a name in a directory.
func (p *pending) mark(dir *node, name string, h hint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.batch.overflow {
		return
	}
	names := p.batch.names[dir]
	if names == nil {
		if p.batch.names == nil {
			p.batch.names = make(map[*node]map[string]hint)
		}
		names = make(map[string]hint)
		p.batch.names[dir] = names
		p.batch.order = append(p.batch.order, dir)
	}
	if _, there := names[name]; !there {
		if p.size++; p.size > p.bound {
			p.batch = batch{overflow: true, err: p.batch.err}
			p.signal()
			return
		}
	}
	names[name] |= h
	p.signal()
}

// markAll says that events were dropped.
func (p *pending) markAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch = batch{overflow: true, err: p.batch.err}
	p.signal()
}

// fail ends the watch.
func (p *pending) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch.err = err
	p.signal()
}

// signal wakes the watch. It does not wait: one waking is enough for all.
func (p *pending) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take returns what was added since it was last called.
func (p *pending) take() batch {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.batch
	p.batch, p.size = batch{}, 0
	return b
}

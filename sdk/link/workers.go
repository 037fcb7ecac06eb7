package link

import "sync"

// maxIdle is how many workers of a connection are kept for later.
const maxIdle = 128

// workers run the handlers of a connection. There are as many as handlers that
// block at the same time and one more: who takes a call, and leaves others
// waiting, first wakes another worker. So a handler that blocks delays nobody,
// and quick ones are run one after the other by few. None is woken while there is
// no room for answers: each would make one, and keep it.
type workers struct {
	out *outbox // for the answers

	mu     sync.Mutex
	queue  []*Call // those from head on wait
	head   int
	idle   []chan struct{} // the one that became idle last is the first to be woken
	waking bool            // one was woken, or started, and has not come yet
	ended  bool
	all    sync.WaitGroup
}

// add gives a call to a worker.
func (w *workers) add(c *Call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head > 0 && len(w.queue) == cap(w.queue) { // rather than to grow
		n := copy(w.queue, w.queue[w.head:])
		clear(w.queue[n:])
		w.queue, w.head = w.queue[:n], 0
	}
	w.queue = append(w.queue, c)
	w.wake()
}

// wake sees to it that a worker comes. The caller holds mu.
func (w *workers) wake() {
	if w.waking {
		return
	}
	w.waking = true
	if n := len(w.idle); n > 0 {
		w.idle[n-1] <- struct{}{}
		w.idle = w.idle[:n-1]
		return
	}
	w.all.Go(w.work)
}

// work handles calls until the workers end, or a handler ends its goroutine.
func (w *workers) work() {
	woken := make(chan struct{}, 1)
	w.arrive()
	for {
		c, ended := w.next(woken)
		switch {
		case c != nil:
			c.handle(nil)
		case ended:
			return
		default:
			<-woken
			w.arrive()
		}
	}
}

// arrive notes that the worker who was woken has come, when there is room for
// what it makes.
func (w *workers) arrive() {
	w.out.awaitRoom(nil)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waking = false
}

// next takes the call that waits longest and, if others wait, wakes another
// worker. If none does, the worker is idle, or has ended.
func (w *workers) next(woken chan struct{}) (c *Call, ended bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
		if w.ended || len(w.idle) >= maxIdle {
			return nil, true
		}
		w.idle = append(w.idle, woken)
		return nil, false
	}
	c = w.queue[w.head]
	w.queue[w.head] = nil
	if w.head++; w.head < len(w.queue) {
		w.wake()
	}
	return c, false
}

// dismiss lets the workers go when there is nothing to do any more.
func (w *workers) dismiss() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, idle := range w.idle {
		idle <- struct{}{}
	}
	w.idle = nil
}

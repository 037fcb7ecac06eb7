package link

import "sync"

// maxIdle is how many workers of a connection are kept for later.
const maxIdle = 128

// workers run the handlers of a connection. There are as many as handlers that
// block at the same time and one more: who takes a call, and leaves others
// waiting, first wakes another worker. So a handler that blocks delays nobody,
// and quick ones are run one after the other by few.
type workers struct {
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

// work handles calls until the workers end.
func (w *workers) work() {
	woken := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.waking = false; ; {
		if c := w.next(); c != nil {
			w.mu.Unlock()
			c.handle(nil)
			w.mu.Lock()
			continue
		}
		if w.ended || len(w.idle) >= maxIdle {
			return
		}
		w.idle = append(w.idle, woken)
		w.mu.Unlock()
		<-woken
		w.mu.Lock()
		w.waking = false
	}
}

// next takes the call that waits longest; nil if none does. The caller holds mu.
func (w *workers) next() *Call {
	if w.head == len(w.queue) {
		w.queue, w.head = w.queue[:0], 0
		return nil
	}
	c := w.queue[w.head]
	w.queue[w.head] = nil
	w.head++
	if w.head < len(w.queue) {
		w.wake()
	}
	return c
}

// end waits until all calls have been handled and the workers are gone.
func (w *workers) end() {
	w.mu.Lock()
	w.ended = true
	for _, idle := range w.idle {
		idle <- struct{}{}
	}
	w.idle = nil
	w.mu.Unlock()
	w.all.Wait()
}

package gate

// queue holds calls that wait, the longest waiting in front. Its users guard
// it.
type queue struct {
	first, last *waiter
	length      int
}

// waiter is one call in a queue. All but called is guarded as the queue is.
type waiter struct {
	before, after *waiter
	deadline      int64         // when the call must be over
	granted       bool          // it has what it waits for, and has left the queue
	since         int64         // a token: when it counts from
	hopeless      bool          // it has left the queue without
	called        chan struct{} // says: look again
}

// newWaiter returns a waiter for a call. Nobody waits for it to take notice, so
// it has room for one notice.
func newWaiter(c *Call) *waiter {
	return &waiter{deadline: c.deadline, called: make(chan struct{}, 1)}
}

// call makes the waiter look what has become of it.
func (w *waiter) call() {
	select {
	case w.called <- struct{}{}:
	default: // it has a notice already that it has not seen
	}
}

func (q *queue) push(w *waiter) {
	w.before = q.last
	if q.last == nil {
		q.first = w
	} else {
		q.last.after = w
	}
	q.last = w
	q.length++
}

func (q *queue) remove(w *waiter) {
	if w.before == nil {
		q.first = w.after
	} else {
		w.before.after = w.after
	}
	if w.after == nil {
		q.last = w.before
	} else {
		w.after.before = w.before
	}
	w.before, w.after = nil, nil
	q.length--
}

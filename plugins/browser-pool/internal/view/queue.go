package view

import "sync"

// maxQueued is how many bytes may wait for a client to read them: a few pictures.
const maxQueued = 64 << 20

// queue is what waits for the client. One goroutine takes from it.
type queue struct {
	ready chan struct{} // has room for one sign that there is something

	mu    *sync.Mutex
	texts [][]byte
	bytes int
}

func newQueue() queue { return queue{ready: make(chan struct{}, 1), mu: new(sync.Mutex)} }

// push reports whether there was room. One message always has room.
func (q *queue) push(text []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.texts) > 0 && q.bytes+len(text) > maxQueued {
		return false
	}
	q.texts = append(q.texts, text)
	q.bytes += len(text)
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return true
}

// pop is nil when there is nothing.
func (q *queue) pop() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.texts) == 0 {
		return nil
	}
	text := q.texts[0]
	q.texts[0] = nil
	q.texts = q.texts[1:]
	q.bytes -= len(text)
	return text
}

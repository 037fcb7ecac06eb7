package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"
)

const (
	// softQueue is how many bytes may wait to be written before the end that
	// makes them has to wait itself.
	softQueue = 1 << 20
	// hardQueue is how many bytes may wait at all. A peer that lets more wait
	// does not read, and is cut off.
	hardQueue = 64 << 20
	// keptQueue is how large a buffer is kept for later.
	keptQueue = 1 << 20
)

// outbox is the way out of a connection. Frames gather in it while a write is
// under way, and all of them go out with the next.
//
// Who puts a frame into an outbox at rest has to flush it, and so pays for no
// wake-up of another goroutine. What cannot be written at once, or has gathered
// meanwhile, is left to the pump.
type outbox struct {
	conn net.Conn
	raw  syscall.RawConn
	now  attempt
	wake chan struct{} // to the pump; has room for one

	mu     sync.Mutex // also guards the calls of the connection, see Conn and session
	room   sync.Cond  // the queue has become shorter, or there is an error
	queue  []byte
	spare  []byte // an empty buffer
	busy   bool   // somebody writes, or has promised to
	queued uint64 // bytes that were ever put in
	taken  uint64 // bytes that a write was ever tried of
	err    error  // why nothing goes out any more
}

// attempt is a write that does not wait.
type attempt struct {
	run  func(fd uintptr) bool // made once, for it would be an allocation each time
	data []byte
	n    int
	err  error
}

func (o *outbox) open(conn net.Conn) error {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return fmt.Errorf("link: %T is no socket", conn)
	}
	var err error
	if o.raw, err = raw.SyscallConn(); err != nil {
		return err
	}
	o.conn = conn
	o.wake = make(chan struct{}, 1)
	o.room.L = &o.mu
	o.now.run = func(fd uintptr) bool {
		o.now.n, o.now.err = syscall.Write(int(fd), o.now.data)
		return true // whatever became of it: the pump waits, not we
	}
	return nil
}

// claim reports whether the caller, who has appended to the queue and holds mu,
// has to flush.
func (o *outbox) claim(before int) bool {
	grown := len(o.queue) - before
	o.queued += uint64(grown) //nolint:gosec // G115: it has grown
	if len(o.queue) > hardQueue {
		o.breakOff(fmt.Errorf("link: %d bytes wait for a peer that does not read them, limit %d", len(o.queue), hardQueue))
		return false
	}
	if o.busy || o.err != nil {
		return false
	}
	o.busy = true
	return true
}

// flush writes what has gathered. It is called by who claimed the outbox, and
// does not block.
func (o *outbox) flush() {
	batch := o.take()
	if batch == nil {
		return
	}
	o.now.data, o.now.n, o.now.err = batch, 0, nil
	if err := o.raw.Write(o.now.run); err != nil {
		o.now.err = err
	}
	n, err := max(o.now.n, 0), o.now.err
	o.now.data = nil
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR) {
		err = nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err != nil:
		o.breakOff(err)
	case n < len(batch): // what was queued meanwhile comes after it
		rest := append(o.spareBuffer(), batch[n:]...)
		o.taken -= uint64(len(batch) - n) //nolint:gosec // G115: n is less
		batch = o.queue
		o.queue = append(rest, batch...)
	}
	o.keep(batch)
	o.rest()
}

// rest ends a write: the pump goes on if there is more. The caller holds mu.
func (o *outbox) rest() {
	o.room.Broadcast()
	if o.busy = len(o.queue) > 0 && o.err == nil; o.busy {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// take returns all that is queued, nil for nothing.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 || o.err != nil {
		o.busy = false
		o.room.Broadcast()
		return nil
	}
	batch := o.queue
	o.queue = o.spareBuffer()
	o.taken += uint64(len(batch))
	return batch
}

// spareBuffer is an empty buffer. The caller holds mu.
func (o *outbox) spareBuffer() []byte {
	b := o.spare
	o.spare = nil
	return b[:0]
}

// keep makes a buffer the spare one. The caller holds mu.
func (o *outbox) keep(b []byte) {
	if cap(b) <= keptQueue {
		o.spare = b[:0]
	}
}

// pump writes what flush leaves, until the connection is closed.
func (o *outbox) pump(done <-chan struct{}) {
	for {
		select {
		case <-o.wake:
		case <-done:
			return
		}
		for {
			runtime.Gosched() // more gathers
			batch := o.take()
			if batch == nil {
				break
			}
			_, err := o.conn.Write(batch)
			o.mu.Lock()
			if err != nil {
				o.breakOff(err)
			}
			o.keep(batch)
			o.room.Broadcast()
			o.mu.Unlock()
		}
	}
}

// awaitRoom waits until less than softQueue is queued, or nothing can be
// written any more.
func (o *outbox) awaitRoom() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > softQueue && o.err == nil {
		o.room.Wait()
	}
}

// awaitEmpty waits until all is written that was queued, ctx ends, or nothing
// can be written any more.
func (o *outbox) awaitEmpty(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.room.Broadcast()
	})
	defer stop()
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.busy && o.err == nil && ctx.Err() == nil {
		o.room.Wait()
	}
}

// breakOff ends the connection: the reader sees its end. The caller holds mu.
func (o *outbox) breakOff(err error) {
	if o.err == nil {
		o.err = err
		o.queue = nil
		_ = o.conn.Close()
	}
	o.room.Broadcast()
}

// Batch gathers the outboxes that the frames of one read have put something
// into, so that each is written once and not for each frame. The zero Batch is
// ready to use; a nil one writes at once. It belongs to one goroutine.
type Batch struct {
	claimed []*outbox
	now     time.Time // zero until it is asked for
}

// flushLater is called by who claimed an outbox.
func (b *Batch) flushLater(o *outbox) {
	if b == nil {
		runtime.Gosched() // others have something to send, too
		o.flush()
		return
	}
	b.claimed = append(b.claimed, o)
}

// flush writes all that was gathered. It does not block.
func (b *Batch) flush() {
	for i, o := range b.claimed {
		o.flush()
		b.claimed[i] = nil
	}
	b.claimed = b.claimed[:0]
	b.now = time.Time{}
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

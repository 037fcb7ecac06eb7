package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"sync"
	"syscall"
)

const (
	// fullFrames and fullBytes are how much is not held back any more: in pieces
	// of this size the other end works on one while we make the next. Measured
	// with 512 callers and 64 bytes, and with 64 callers and 4 KiB.
	fullFrames = 128
	fullBytes  = 64 << 10
	// socketBuffer is how many bytes are on the way to the other process. Linux
	// allows twice net.core.wmem_max, mostly 416 KiB; by itself a socket has half
	// of that.
	socketBuffer = 1 << 20
	// softQueue is how many bytes may wait to be written before the end that
	// makes them has to wait itself.
	softQueue = 1 << 20
	// hardQueue is how many bytes may wait at all. A peer that lets more wait
	// does not read, and is cut off.
	hardQueue = 256 << 20
	// keptQueue is how large a buffer is kept for later.
	keptQueue = 1 << 20
)

// outbox is the way out of a connection. Frames gather in it while a write is
// under way, and all of them go out with the next.
//
// Who puts a frame into an outbox at rest sees to it that it is written, and so
// mostly no other goroutine has to be woken. What the socket does not take at
// once, and what has gathered meanwhile, is left to the pump.
type outbox struct {
	conn duplex
	raw  syscall.RawConn
	now  attempt
	wake chan struct{} // to the pump; has room for one

	mu     sync.Mutex // also guards the calls of the connection, see Conn and session
	room   sync.Cond  // the queue has become shorter, or there is an error
	queue  []byte
	frames int    // in queue
	spare  []byte // an empty buffer
	rest   []byte // of a buffer that is being written, for the pump
	state  state
	queued uint64 // bytes that were ever put in
	taken  uint64 // bytes that a write was ever tried of
	err    error  // why nothing goes out any more
}

// state says who writes what is in an outbox.
type state uint8

const (
	resting state = iota // nobody: it is empty
	held                 // somebody will, when a Batch is flushed
	writing              // somebody does, and will go on as long as there is something
)

// duty is what somebody has to do who has put something into an outbox.
type duty uint8

const (
	none duty = iota
	flushLater
	flushNow
)

// duplex is what a connection has to be: *net.UnixConn is one.
type duplex interface {
	net.Conn
	syscall.Conn
	CloseRead() error
	CloseWrite() error
	SetWriteBuffer(bytes int) error
}

// attach makes conn what is written to.
func (o *outbox) attach(conn net.Conn) error {
	s, ok := conn.(duplex)
	if !ok {
		return fmt.Errorf("link: %T is no socket", conn)
	}
	var err error
	if o.raw, err = s.SyscallConn(); err != nil {
		return err
	}
	_ = s.SetWriteBuffer(socketBuffer) // as much of it as the system allows
	o.conn = s
	o.wake = make(chan struct{}, 1)
	o.room.L = &o.mu
	o.now.run = func(fd uintptr) bool {
		o.now.n, o.now.err = tryWrite(fd, o.now.data)
		return true // whatever became of it: the pump waits, not we
	}
	return nil
}

// added says what the caller has to do, who has appended to the queue and holds
// mu. before is how long the queue was.
func (o *outbox) added(before int) duty {
	o.queued += uint64(len(o.queue) - before) //nolint:gosec // G115: it has grown
	o.frames++
	switch {
	case o.err != nil:
		return none
	case len(o.queue) > hardQueue:
		o.breakOff(fmt.Errorf("link: %d bytes wait for a peer that does not read them, limit %d", len(o.queue), hardQueue))
		return none
	case o.state == resting:
		o.state = held
		return flushLater
	case o.state == held && (o.frames >= fullFrames || len(o.queue) >= fullBytes):
		o.state = writing
		return flushNow
	default:
		return none
	}
}

// say queues a frame without a body, if anything goes out any more. It returns
// what the caller has to do, who holds mu.
func (o *outbox) say(k kind, id uint32) duty {
	if o.err != nil {
		return none
	}
	before := len(o.queue)
	o.queue = appendHeader(o.queue, k, 0, 0, id, 0)
	return o.added(before)
}

// do does what added has said. It does not block.
func (o *outbox) do(d duty, b *Batch) {
	switch d {
	case flushNow:
		o.write()
	case flushLater:
		if b != nil {
			b.held = append(b.held, o)
			return
		}
		runtime.Gosched() // others have something to send, too
		o.flush()
	case none:
	}
}

// flush writes what was held back, if nobody has done so already.
func (o *outbox) flush() {
	o.mu.Lock()
	mine := o.state == held
	if mine {
		o.state = writing
	}
	o.mu.Unlock()
	if mine {
		o.write()
	}
}

// write writes as much as the socket takes at once, and leaves the rest to the
// pump. It is for who has made the state writing.
func (o *outbox) write() {
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
	if err != nil {
		o.breakOff(err)
	}
	if o.rest = batch[n:]; len(o.rest) == 0 {
		o.keep(batch)
	}
	o.room.Broadcast()
	if len(o.rest)+len(o.queue) == 0 || o.err != nil {
		o.state = resting
		return
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take returns all that is to be written next; nil for nothing, and then the
// outbox rests.
func (o *outbox) take() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		o.queue, o.rest = nil, nil
	}
	batch := o.rest
	if len(batch) > 0 {
		o.rest = nil
		return batch
	}
	if len(o.queue) == 0 {
		o.state = resting
		o.room.Broadcast()
		return nil
	}
	batch = o.queue
	o.queue, o.frames, o.spare = o.spare[:0], 0, nil
	o.taken += uint64(len(batch))
	return batch
}

// keep makes a buffer the spare one. The caller holds mu.
func (o *outbox) keep(b []byte) {
	if cap(b) <= keptQueue {
		o.spare = b[:0]
	}
}

// pump writes what was left to it, until the connection is closed.
func (o *outbox) pump(done <-chan struct{}) {
	for {
		select {
		case <-o.wake:
		case <-done:
			return
		}
		for batch := o.take(); batch != nil; batch = o.take() {
			_, err := o.conn.Write(batch)
			o.mu.Lock()
			if err != nil {
				o.breakOff(err)
			}
			o.keep(batch)
			o.room.Broadcast()
			o.mu.Unlock()
			runtime.Gosched() // more gathers
		}
	}
}

// awaitRoom waits until less than softQueue is queued, or nothing can be
// written any more. Before it waits, what b holds back for others goes out.
func (o *outbox) awaitRoom(b *Batch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b != nil && len(o.queue) > softQueue && o.err == nil {
		o.mu.Unlock()
		b.flush()
		o.mu.Lock()
	}
	o.waitForRoom()
}

// waitForRoom is awaitRoom for who holds mu.
func (o *outbox) waitForRoom() {
	for o.isFull() {
		o.room.Wait()
	}
}

// isFull reports whether there is something to wait for. The caller holds mu.
func (o *outbox) isFull() bool { return len(o.queue) > softQueue && o.err == nil }

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
	for o.state != resting && o.err == nil && ctx.Err() == nil {
		o.room.Wait()
	}
}

// breakOff ends the connection: the reader sees its end, and then closes it. To
// close it here would be to wait for the reader, who may wait for mu. The caller
// holds mu.
func (o *outbox) breakOff(err error) {
	if o.err == nil {
		o.err = err
		_ = o.conn.CloseRead() // both fail if the connection has ended
		_ = o.conn.CloseWrite()
	}
	o.room.Broadcast()
}

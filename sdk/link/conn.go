package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// sweepEvery is how late a call may be found to have run out of time. Looking at
// all of them costs less than a timer for each.
const sweepEvery = 5 * time.Millisecond

// Conn is the client's end of a connection. Made by Open; safe for concurrent
// use.
type Conn struct {
	in      reader
	out     outbox
	peer    greeting
	batch   Batch          // of the reader
	pending sync.Pool      // of *pending
	leaving atomic.Bool    // the other end takes no more calls
	done    chan struct{}  // closed when every call has been told of the end
	running sync.WaitGroup // reader, pump and sweeper

	flights flights // guarded by out.mu
}

// Open greets the other end of a socket and returns a connection for calls,
// which the caller closes. The error matches ErrNoLink when the other end does
// not speak the protocol. Conn takes over the socket, in any case.
func Open(ctx context.Context, socket net.Conn) (*Conn, error) {
	c := &Conn{in: reader{conn: socket}, done: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { _ = socket.Close() })
	err := c.greet(socket)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = socket.Close()
		return nil, err
	}
	c.pending.New = func() any { return &pending{conn: c, done: make(chan struct{}, 1)} }
	c.flights = newFlights(c.peer)
	c.running.Go(c.read)
	c.running.Go(func() { c.out.pump(c.done) })
	c.running.Go(c.sweep)
	return c, nil
}

func (c *Conn) greet(socket net.Conn) (err error) {
	if err = c.out.open(socket); err != nil {
		return err
	}
	c.peer, err = greet(socket)
	return err
}

// Close ends the connection. Calls in flight fail with Canceled. It returns
// when all have been told, and so must not be called by a Receiver.
func (c *Conn) Close() error {
	c.refuse(status.Error(codes.Canceled, "link: the client connection is closing"))
	c.running.Wait()
	return nil
}

// Done is closed when the connection has ended and all calls have been told.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Usable reports whether the other end takes calls.
func (c *Conn) Usable() bool {
	select {
	case <-c.done:
		return false
	default:
		return !c.leaving.Load()
	}
}

// Err says why the connection has ended; nil as long as it has not.
func (c *Conn) Err() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.flights.closed
}

// refuse closes the connection. Calls are told the reason, unless there was one
// before.
func (c *Conn) refuse(reason error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.flights.closed == nil {
		c.flights.closed = reason
	}
	c.out.breakOff(reason)
}

// Start begins a call; it does not block. Unless it returns an error, owner is
// told what becomes of the call, perhaps before Start returns. h, which may be
// nil, becomes the call's handle before owner can be told anything. The request
// may be used again when Start returns.
//
// The error is ErrFull, ErrUnsuitable, or the status with which the connection
// has ended; the call was not begun.
func (c *Conn) Start(r *Request, owner Receiver, h *Handle, b *Batch) error {
	if err := r.check(); err != nil {
		return err
	}
	claimed, err := c.start(r, owner, h, b)
	if claimed {
		b.flushLater(&c.out)
	}
	return err
}

func (c *Conn) start(r *Request, owner Receiver, h *Handle, b *Batch) (claimed bool, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	switch {
	case c.flights.closed != nil:
		return false, &Error{Reach: Unreached, cause: c.flights.closed}
	case c.out.err != nil:
		return false, &Error{Reach: Unreached, cause: brokenOff(c.out.err)}
	}
	number, isNew, err := c.flights.number(r.Method)
	if err != nil {
		return false, err
	}
	id, err := c.flights.begin(r, owner, c.out.queued, b)
	if err != nil {
		return false, err
	}
	if h != nil {
		*h = Handle{conn: c, id: id, turn: c.flights.slots[id].turn}
	}
	before := len(c.out.queue)
	if isNew {
		c.out.queue = appendHeader(c.out.queue, kindMethod, 0, number, 0, len(r.Method))
		c.out.queue = append(c.out.queue, r.Method...)
	}
	c.out.queue = appendCall(c.out.queue, id, number, r)
	return c.out.claim(before), nil
}

// Handle is a call that was begun with Start, for who wants to end it early.
// The zero Handle is no call.
type Handle struct {
	conn *Conn
	id   uint32
	turn uint32 // how often the id had been used
}

// Cancel ends a call, if it is still under way: its owner is told so at once,
// and the other end is asked to stop.
func (h Handle) Cancel(b *Batch) {
	if h.conn == nil {
		return
	}
	if owner := h.conn.giveUp(h, b); owner != nil {
		owner.Receive(ended(GivenUp, status.FromContextError(context.Canceled).Err(), b))
	}
}

// Credit lets the other end send so many more bytes of an answer in parts.
func (h Handle) Credit(n int, b *Batch) {
	if h.conn != nil {
		h.conn.say(h, b, false, func(queue []byte) []byte { return appendCredit(queue, h.id, n) })
	}
}

// giveUp asks the other end to stop and returns who is to be told, nil if the
// call has ended.
func (c *Conn) giveUp(h Handle, b *Batch) Receiver {
	return c.say(h, b, true, func(queue []byte) []byte { return appendHeader(queue, kindCancel, 0, 0, h.id, 0) })
}

// say sends a frame about a call that is under way and returns its owner; nil if
// it is not. abandon makes the call one whose answer nobody waits for.
func (c *Conn) say(h Handle, b *Batch, abandon bool, frame func(queue []byte) []byte) Receiver {
	c.out.mu.Lock()
	owner := c.flights.owner(h)
	claimed := false
	if owner != nil && c.out.err == nil {
		if abandon {
			c.flights.slots[h.id].owner = nil
		}
		before := len(c.out.queue)
		c.out.queue = frame(c.out.queue)
		claimed = c.out.claim(before)
	}
	c.out.mu.Unlock()
	if claimed {
		b.flushLater(&c.out)
	}
	return owner
}

// read takes answers until the connection ends.
func (c *Conn) read() {
	err := c.receive()
	c.fail(err)
}

func (c *Conn) receive() error {
	answer := &Answer{Batch: &c.batch}
	for {
		if err := c.in.fill(); err != nil {
			return err
		}
		for {
			f, ok, err := c.in.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := c.handle(f, answer); err != nil {
				return err
			}
		}
		c.batch.flush()
	}
}

// handle takes one frame. answer is a place for what is in it.
func (c *Conn) handle(f frame, answer *Answer) error {
	switch f.kind {
	case kindAnswer, kindPart:
		if err := parseAnswer(f, answer); err != nil {
			return err
		}
		c.out.mu.Lock()
		owner, err := c.flights.answered(f.id, answer)
		c.out.mu.Unlock()
		if owner != nil {
			owner.Receive(answer)
		}
		return err
	case kindGoodbye:
		c.leaving.Store(true)
		return nil
	default:
		return fmt.Errorf("a frame of kind %d, which is none that a server sends", f.kind)
	}
}

// fail tells all calls in flight that the connection has ended.
func (c *Conn) fail(err error) {
	c.refuse(brokenOff(err))
	c.out.mu.Lock()
	reason := c.flights.closed
	lost := c.flights.end(c.out.taken)
	c.out.mu.Unlock()
	for _, l := range lost {
		a := ended(l.reach, reason, &c.batch)
		l.owner.Receive(a)
	}
	c.batch.flush()
	close(c.done)
}

// brokenOff is what calls are told of a connection that ended by itself.
func brokenOff(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	return status.Errorf(codes.Unavailable, "link: the connection has ended: %v", err)
}

// sweep ends calls that run out of time, as long as there are any that can.
func (c *Conn) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	tick.Stop()
	var batch Batch
	for {
		select {
		case <-c.flights.timed:
			tick.Reset(sweepEvery)
		case <-c.done:
			return
		}
		for more := true; more; {
			select {
			case <-tick.C:
				more = c.expire(time.Now(), &batch)
			case <-c.done:
				return
			}
		}
		tick.Stop()
	}
}

// expire ends the calls whose time is over, and reports whether there are
// others with a deadline.
func (c *Conn) expire(now time.Time, b *Batch) (more bool) {
	c.out.mu.Lock()
	late, more := c.flights.late(now)
	c.out.mu.Unlock()
	for _, h := range late {
		if owner := c.giveUp(h, b); owner != nil {
			owner.Receive(ended(GivenUp, status.FromContextError(context.DeadlineExceeded).Err(), b))
		}
	}
	b.flush()
	return more
}

// ErrFull is returned when the other end bears no more calls, or bytes of them,
// for the moment.
var ErrFull = errors.New("link: as many calls in flight as the other end bears")

// ErrUnsuitable is matched by errors of calls that cannot go over a link. They
// were not begun, and can go over gRPC.
var ErrUnsuitable = errors.New("link: not for this transport")

// Request is a call as bytes.
type Request struct {
	Method   string        // "/package.Service/Method"
	Timeout  time.Duration // 0: none
	Metadata []byte        // encoded; at most MaxMetadata
	Payload  []byte        // the encoded message; at most MaxPayload
}

func (r *Request) check() error {
	switch {
	case len(r.Payload) > MaxPayload:
		return fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Payload), MaxPayload)
	case len(r.Metadata) > MaxMetadata:
		return fmt.Errorf("%w: metadata of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Metadata), MaxMetadata)
	case len(r.Method) > maxMethodName:
		return fmt.Errorf("%w: a method's name of %d bytes, at most %d are allowed", ErrUnsuitable, len(r.Method), maxMethodName)
	}
	return nil
}

// Receiver is told what became of a call that was begun with Start: once, or
// until an answer without More. Receive is mostly called by the connection's
// reader, for which all other answers wait: it does not block.
type Receiver interface{ Receive(a *Answer) }

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
	cause   error   // why the connection has ended; guarded by out.mu

	// The reader's own: what was taken together.
	arrived   [together]arrival
	arrivals  int
	handedOut int // of them
}

// Open greets the other end of a socket and returns a connection for calls,
// which the caller closes. The error matches ErrNoLink when the other end does
// not speak the protocol. Conn takes over the socket, in any case.
func Open(ctx context.Context, socket net.Conn) (*Conn, error) {
	c := &Conn{done: make(chan struct{})}
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
	if err = c.out.attach(socket); err != nil {
		return err
	}
	c.in.attach(socket, c.out.raw)
	c.peer, err = greet(socket, greetTimeout)
	return err
}

// Close ends the connection. Calls in flight, and those to come, fail with
// Canceled. It returns when all have been told, and so must not be called by a
// Receiver.
func (c *Conn) Close() error {
	closing := status.Error(codes.Canceled, "link: the client connection is closing")
	c.refuse(closing)
	c.running.Wait()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.flights.closed = closing // though it may have ended before
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

// Err says why the connection has ended, for a log: of a panic it has the
// stack. It is nil as long as Done is open.
func (c *Conn) Err() error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.cause
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
	d, err := c.start(r, owner, h, b)
	c.out.do(d, b)
	return err
}

func (c *Conn) start(r *Request, owner Receiver, h *Handle, b *Batch) (duty, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	switch {
	case c.flights.closed != nil:
		return none, &Error{Reach: Unreached, cause: c.flights.closed}
	case c.out.err != nil:
		return none, &Error{Reach: Unreached, cause: brokenOff(c.out.err)}
	}
	if !c.flights.hasRoom(r.size()) {
		return none, ErrFull
	}
	number, isNew, err := c.flights.number(r.Method)
	if err != nil {
		return none, err
	}
	id := c.flights.begin(r, owner, c.out.queued, b)
	if h != nil {
		*h = Handle{conn: c, id: id, turn: c.flights.slots[id].turn}
	}
	before := len(c.out.queue)
	if isNew {
		c.out.queue = appendHeader(c.out.queue, kindMethod, 0, number, 0, len(r.Method))
		c.out.queue = append(c.out.queue, r.Method...)
	}
	c.out.queue = appendCall(c.out.queue, id, number, r)
	return c.out.added(before), nil
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
	if h.conn != nil {
		h.conn.giveUp(h, errCancelled(), b)
	}
}

// Credit lets the other end send so many more bytes of an answer in parts, but
// no more than have come.
func (h Handle) Credit(n int, b *Batch) {
	if h.conn == nil {
		return
	}
	c, d := h.conn, none
	c.out.mu.Lock()
	if c.flights.owner(h) != nil && c.out.err == nil {
		if n = c.flights.slots[h.id].parts.pay(n); n > 0 {
			before := len(c.out.queue)
			c.out.queue = appendCredit(c.out.queue, h.id, n)
			d = c.out.added(before)
		}
	}
	c.out.mu.Unlock()
	c.out.do(d, b)
}

// giveUp asks the other end to stop and tells the owner of the call the reason,
// or lets the reader do so who is just telling it something. It does nothing if
// the call has ended.
func (c *Conn) giveUp(h Handle, reason error, b *Batch) {
	if owner := c.abandon(h, reason, b); owner != nil {
		owner.Receive(ended(GivenUp, reason, b))
	}
}

// abandon is giveUp, but leaves it to the caller to tell the owner that it
// returns.
func (c *Conn) abandon(h Handle, reason error, b *Batch) Receiver {
	d := none
	c.out.mu.Lock()
	owner := c.flights.giveUp(h, reason)
	if owner != nil {
		d = c.out.say(kindCancel, h.id)
	}
	c.out.mu.Unlock()
	c.out.do(d, b)
	return owner
}

// read takes answers until the connection ends.
func (c *Conn) read() {
	err := c.receive()
	for c.arrivals > c.handedOut { // one of the owners has panicked: the others have their answers
		_ = c.tellRest()
	}
	c.fail(err)
}

func (c *Conn) receive() (err error) {
	defer endOnPanic(&err)
	for {
		if err := c.in.fill(&c.batch); err != nil {
			return c.in.reason(err, &c.out)
		}
		for more := true; more; {
			more, err = c.take()
			c.tell()
			if err != nil {
				return err
			}
		}
	}
}

// take takes some of the frames that were read, and reports whether there may
// be more. Whom they are for is told by tell.
func (c *Conn) take() (more bool, err error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for range together {
		f, ok, err := c.in.next()
		if err != nil || !ok {
			return false, err
		}
		if err := c.frame(f); err != nil {
			return false, err
		}
		if c.arrivals > 0 && c.arrived[c.arrivals-1].answer.More {
			break // its owner may end the call before the next part
		}
	}
	return true, nil
}

// frame takes one frame. The caller holds out.mu.
func (c *Conn) frame(f frame) error {
	switch f.kind {
	case kindAnswer, kindPart:
		t := &c.arrived[c.arrivals]
		if err := parseAnswer(f, &t.answer); err != nil {
			return err
		}
		t.id, t.answer.Batch = f.id, &c.batch
		var err error
		if t.owner, err = c.flights.answered(f.id, &t.answer); t.owner != nil {
			c.arrivals++
		}
		return err
	case kindGoodbye:
		c.leaving.Store(true)
		return nil
	default:
		return fmt.Errorf("a frame of kind %d, which is none that a server sends", f.kind)
	}
}

// arrival is an answer and whom it is for.
type arrival struct {
	owner  Receiver
	id     uint32
	answer Answer
}

// tell hands out the answers that take has found.
func (c *Conn) tell() {
	for c.handedOut < c.arrivals {
		t := &c.arrived[c.handedOut]
		c.handedOut++
		more := t.answer.More // the owner may change it
		t.owner.Receive(&t.answer)
		if more {
			c.told(t)
		}
		t.owner = nil
	}
	c.arrivals, c.handedOut = 0, 0
}

// tellRest is tell for an owner who may panic.
func (c *Conn) tellRest() (err error) {
	defer endOnPanic(&err)
	c.tell()
	return nil
}

// told ends a call that was given up while its owner was told of a part.
func (c *Conn) told(t *arrival) {
	d := none
	c.out.mu.Lock()
	reason := c.flights.wasTold(t.id)
	if reason != nil {
		d = c.out.say(kindCancel, t.id)
	}
	c.out.mu.Unlock()
	c.out.do(d, &c.batch)
	if reason != nil {
		t.owner.Receive(ended(GivenUp, reason, &c.batch))
	}
}

// fail tells all calls in flight that the connection has ended.
func (c *Conn) fail(err error) {
	c.refuse(brokenOff(err))
	c.out.mu.Lock()
	c.cause = err
	reason := c.flights.closed
	lost := c.flights.end(c.out.taken)
	c.out.mu.Unlock()
	for _, l := range lost {
		l.owner.Receive(ended(l.reach, reason, &c.batch))
	}
	c.batch.flush()
	_ = c.in.conn.Close()
	c.in.buf = nil // whoever still has the Conn
	close(c.done)
}

// brokenOff is what calls are told of a connection that ended by itself.
func brokenOff(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, errPanicked) {
		err = errPanicked // the stack is for the log
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
		c.giveUp(h, status.FromContextError(context.DeadlineExceeded).Err(), b)
	}
	b.flush()
	return more
}

package link

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/peer"
)

// together is how many frames are taken under one lock. While it is held, no
// call of the connection can be answered.
const together = 32

// session is the server's end of one connection.
type session struct {
	server  *Server
	in      reader
	out     outbox
	peer    peer.Peer
	base    context.Context //nolint:containedctx // has the values of calls' contexts
	workers workers

	// The reader's own.
	batch   Batch
	methods []*method // by the number that the client has given them
	begun   []*Call   // of the frames that are taken together
	ended   []stopper // by the client
	credits []credit

	// Guarded by out.mu.
	calls    []*Call // by id; each place keeps its Call for the next one
	flying   int
	bytes    int // of requests in flight
	leaving  bool
	idle     chan struct{} // closed when no call is in flight and none will be
	isClosed bool
}

func newSession(ctx context.Context, s *Server, conn net.Conn) (*session, error) {
	e := &session{server: s, base: context.WithoutCancel(ctx), idle: make(chan struct{})}
	e.peer.Addr, e.peer.LocalAddr = conn.RemoteAddr(), conn.LocalAddr()
	e.workers.out = &e.out
	if err := e.out.attach(conn); err != nil {
		return nil, err
	}
	e.in.attach(conn, e.out.raw)
	_, err := greet(conn, cmp.Or(s.options.GreetTimeout, greetTimeout))
	return e, err
}

// run serves until the connection ends and all calls have been answered.
func (e *session) run() (err error) {
	ended := make(chan struct{})
	var pump sync.WaitGroup
	pump.Go(func() { e.out.pump(ended) })
	defer func() {
		e.end()
		e.workers.dismiss()
		if !errors.Is(err, errPanicked) { // then a call may never be answered
			<-e.idle
			e.workers.all.Wait()
		}
		close(ended)
		pump.Wait()
	}()
	return e.receive()
}

func (e *session) receive() (err error) {
	defer endOnPanic(&err)
	for {
		if err := e.in.fill(&e.batch); err != nil {
			return e.in.reason(err, &e.out)
		}
		for more := true; more; {
			more, err = e.take()
			e.act()
			if err != nil {
				return err
			}
			e.out.awaitRoom(&e.batch) // who does not read answers gets none
		}
	}
}

// take takes some of the frames that were read, and reports whether there may
// be more. What has to be done about them is left to act.
func (e *session) take() (more bool, err error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.err != nil { // no answer would get anywhere
		return false, e.out.err
	}
	for range together {
		f, ok, err := e.in.next()
		if err != nil || !ok {
			return false, err
		}
		if err := e.frame(f); err != nil {
			return false, err
		}
	}
	return true, nil
}

// act serves the calls that take has begun, and ends those that the client has
// ended.
func (e *session) act() {
	for _, c := range e.begun {
		e.serve(c)
	}
	for _, s := range e.ended {
		s.stop(&e.batch)
	}
	for _, c := range e.credits {
		c.handle.Credit(c.bytes, &e.batch)
	}
	e.begun, e.ended, e.credits = e.begun[:0], e.ended[:0], e.credits[:0]
}

// frame takes one frame. The caller holds out.mu.
func (e *session) frame(f frame) error {
	switch f.kind {
	case kindCall:
		return e.begin(f)
	case kindCancel:
		if f.id >= maxCalls {
			return fmt.Errorf("a cancellation of call %d, at most %d may be in flight", f.id, maxCalls)
		}
		if s := e.abandon(f.id); s != (stopper{}) {
			e.ended = append(e.ended, s)
		}
		return nil
	case kindMethod:
		return e.name(f)
	case kindCredit:
		return e.credit(f)
	default:
		return fmt.Errorf("a frame of kind %d, which is none that a client sends", f.kind)
	}
}

// name notes the number of a method.
func (e *session) name(f frame) error {
	switch {
	case len(e.methods) >= maxMethods:
		return fmt.Errorf("more than %d methods", maxMethods)
	case int(f.number) != len(e.methods):
		return fmt.Errorf("method %d after %d others", f.number, len(e.methods))
	case len(f.body) > maxMethodName:
		return fmt.Errorf("a method's name of %d bytes, at most %d are allowed", len(f.body), maxMethodName)
	}
	m := e.server.methods[string(f.body)]
	if m == nil {
		m = &method{name: string(f.body)}
	}
	e.methods = append(e.methods, m)
	return nil
}

// begin counts a call in. The caller holds out.mu.
func (e *session) begin(f frame) error {
	timeout, metadata, payload, err := parseCall(f.body)
	if err == nil && len(metadata) > 0 {
		err = checkMetadata(metadata)
	}
	if err != nil {
		return err
	}
	size := headerSize + len(f.body)
	switch {
	case int(f.number) >= len(e.methods):
		return fmt.Errorf("a call of method %d of %d", f.number, len(e.methods))
	case f.id >= maxCalls:
		return fmt.Errorf("a call with id %d, at most %d may be in flight", f.id, maxCalls)
	case e.bytes > 0 && e.bytes+size > window:
		return fmt.Errorf("%d bytes of requests in flight, at most %d are allowed", e.bytes+size, window)
	}
	c := e.place(f.id)
	if c.inFlight {
		return fmt.Errorf("a second call with id %d, the first is still in flight", f.id)
	}
	e.flying++
	e.bytes += size
	c.inFlight, c.refused, c.size = true, e.leaving, size
	c.method, c.metadata, c.payload = e.methods[f.number], metadata, payload
	c.start = e.batch.Now()
	c.timeout = time.Duration(min(timeout, math.MaxInt64/2)) // to 146 years
	if c.method.handler != nil {
		c.ctx = c.newContext()
		if len(metadata) > 0 {
			c.ctx.asked().incoming = bytes.Clone(metadata)
		}
	}
	e.begun = append(e.begun, c)
	return nil
}

// place is where the call of an id is.
func (e *session) place(id uint32) *Call {
	for int(id) >= len(e.calls) {
		e.calls = append(e.calls, nil)
	}
	if e.calls[id] == nil {
		e.calls[id] = newCall(e, id)
	}
	return e.calls[id]
}

// serve hands a call to who answers it.
func (e *session) serve(c *Call) {
	switch {
	case c.refused:
		a := ended(Answered, errDraining(), &e.batch)
		a.Refused = true
		c.Answer(a)
	case c.method.handler != nil && c.cancelled: // it never starts
		c.Answer(ended(Answered, errCancelled(), &e.batch))
	case c.method.handler != nil:
		c.run(&e.batch)
	case e.server.options.Handler != nil:
		cancelled := c.cancelled // before there was anything to stop
		e.server.options.Handler.Serve(c, &e.batch)
		if cancelled {
			e.cancel(c.id)
		}
	default:
		c.Answer(ended(Answered, e.server.unknown(c.method.name), &e.batch))
	}
}

// cancel ends a call early.
func (e *session) cancel(id uint32) {
	e.out.mu.Lock()
	s := e.abandon(id)
	e.out.mu.Unlock()
	s.stop(&e.batch)
}

// abandon notes that nobody waits for a call any more. One that is not in
// flight has just been answered. The caller holds out.mu.
func (e *session) abandon(id uint32) (s stopper) {
	if int(id) >= len(e.calls) || e.calls[id] == nil || !e.calls[id].inFlight {
		return stopper{}
	}
	c := e.calls[id]
	c.cancelled = true
	c.credited()
	s.ctx = c.ctx
	if c.tied != nil {
		s.handle = *c.tied
	}
	return s
}

// stopper stops what works on a call.
type stopper struct {
	ctx    *callContext
	handle Handle
}

func (s stopper) stop(b *Batch) {
	if s.ctx != nil {
		s.ctx.cancel()
	}
	s.handle.Cancel(b)
}

// credit is what a client lets be sent of an answer, for who sends it.
type credit struct {
	handle Handle
	bytes  int
}

// credit lets an answer in parts go on. The caller holds out.mu.
func (e *session) credit(f frame) error {
	n, err := parseCredit(f.body)
	if err != nil {
		return err
	}
	if int(f.id) >= len(e.calls) || e.calls[f.id] == nil || !e.calls[f.id].inFlight {
		return nil // it has just been answered
	}
	c := e.calls[f.id]
	if n > c.unpaid {
		return fmt.Errorf("a credit for %d bytes of an answer of which %d were sent without", n, c.unpaid)
	}
	c.unpaid -= n
	c.credit += n
	c.credited()
	if c.tied != nil {
		e.credits = append(e.credits, credit{*c.tied, n})
	}
	return nil
}

// end cancels all calls in flight: nobody waits for their answers.
func (e *session) end() {
	e.out.mu.Lock()
	e.out.breakOff(errHungUp)
	e.leaving = true
	var all []stopper
	for id := range e.calls {
		all = append(all, e.abandon(uint32(id)))
	}
	e.settle()
	e.out.mu.Unlock()
	for _, s := range all {
		s.stop(&e.batch)
	}
	e.batch.flush()
}

// drain refuses calls from now on. The channel is closed when none is in
// flight.
func (e *session) drain() <-chan struct{} {
	e.out.mu.Lock()
	d := e.out.say(kindGoodbye, 0)
	e.leaving = true
	e.settle()
	e.out.mu.Unlock()
	e.out.do(d, nil)
	return e.idle
}

func (e *session) inFlight() int {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	return e.flying
}

// settle closes idle when it is time. The caller holds out.mu.
func (e *session) settle() {
	if e.leaving && e.flying == 0 && !e.isClosed {
		e.isClosed = true
		close(e.idle)
	}
}

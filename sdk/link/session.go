package link

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// session is the server's end of one connection.
type session struct {
	server  *Server
	in      reader
	out     outbox
	peer    peer.Peer
	batch   Batch // of the reader
	named   []named
	workers workers
	running sync.WaitGroup // calls that are not answered

	// Guarded by out.mu.
	calls    []*Call // by id; nil: not in flight
	flying   int
	bytes    int // of requests in flight
	leaving  bool
	idle     chan struct{} // closed when no call is in flight and none will be
	isClosed bool
}

// named is a method that the client has given a number.
type named struct {
	name   string
	method *method // nil: not registered
}

func newSession(s *Server, conn net.Conn) (*session, error) {
	e := &session{server: s, in: reader{conn: conn}, idle: make(chan struct{})}
	e.peer.Addr, e.peer.LocalAddr = conn.RemoteAddr(), conn.LocalAddr()
	if err := e.out.open(conn); err != nil {
		return nil, err
	}
	_, err := greet(conn)
	return e, err
}

// run serves until the connection ends and all calls have returned.
func (e *session) run() error {
	ended := make(chan struct{})
	var pump sync.WaitGroup
	pump.Go(func() { e.out.pump(ended) })
	err := e.receive()
	e.end()
	e.running.Wait()
	e.workers.end()
	close(ended)
	pump.Wait()
	return err
}

func (e *session) receive() error {
	for {
		e.out.awaitRoom() // who does not read answers gets none
		if err := e.in.fill(); err != nil {
			return e.reason(err)
		}
		for {
			f, ok, err := e.in.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if err := e.handle(f); err != nil {
				return err
			}
		}
		e.batch.flush()
	}
}

// reason prefers why we have closed the connection to that it is closed.
func (e *session) reason(err error) error {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	if e.out.err != nil {
		return e.out.err
	}
	if e.in.end > e.in.start && errors.Is(err, io.EOF) {
		return errors.New("the connection ended in the middle of a frame")
	}
	return err
}

func (e *session) handle(f frame) error {
	switch f.kind {
	case kindCall:
		return e.call(f)
	case kindCancel:
		return e.cancel(f.id)
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
	case len(e.named) >= maxMethods:
		return fmt.Errorf("more than %d methods", maxMethods)
	case int(f.number) != len(e.named):
		return fmt.Errorf("method %d after %d others", f.number, len(e.named))
	case len(f.body) == 0 || len(f.body) > maxMethodName:
		return fmt.Errorf("a method's name of %d bytes, allowed are 1 to %d", len(f.body), maxMethodName)
	}
	name := string(f.body)
	e.named = append(e.named, named{name: name, method: e.server.methods[name]})
	return nil
}

// call begins a call.
func (e *session) call(f frame) error {
	timeout, metadata, payload, err := parseCall(f.body)
	if err == nil {
		err = checkMetadata(metadata)
	}
	if err != nil {
		return err
	}
	if int(f.number) >= len(e.named) {
		return fmt.Errorf("a call of method %d of %d", f.number, len(e.named))
	}
	c := e.server.calls.Get().(*Call) //nolint:forcetypeassert // nothing else is put in
	c.session, c.id, c.named = e, f.id, e.named[f.number]
	c.metadata, c.payload, c.size = metadata, payload, headerSize+len(f.body)
	c.timeout = time.Duration(min(timeout, uint64(maxTimeout)))
	c.start = e.batch.Now()
	refused, err := e.begin(c)
	switch {
	case err != nil:
		return err
	case refused:
		a := ended(Answered, errDraining(), &e.batch)
		a.Refused = true
		c.Answer(a)
	case c.named.method != nil:
		c.run(&e.batch)
	case e.server.options.Handler != nil:
		e.server.options.Handler.Serve(c, &e.batch)
	default:
		c.Answer(ended(Answered, unknown(c.named.name, e.server), &e.batch))
	}
	return nil
}

// begin counts a call in. It reports whether calls are refused.
func (e *session) begin(c *Call) (refused bool, err error) {
	e.out.mu.Lock()
	defer e.out.mu.Unlock()
	switch {
	case c.id >= maxCalls:
		return false, fmt.Errorf("a call with id %d, at most %d may be in flight", c.id, maxCalls)
	case e.bytes > 0 && e.bytes+c.size > window:
		return false, fmt.Errorf("%d bytes of requests in flight, at most %d are allowed", e.bytes+c.size, window)
	}
	for int(c.id) >= len(e.calls) {
		e.calls = append(e.calls, nil)
	}
	if e.calls[c.id] != nil {
		return false, fmt.Errorf("a second call with id %d, the first is still in flight", c.id)
	}
	e.calls[c.id] = c
	e.flying++
	e.bytes += c.size
	e.running.Add(1)
	return e.leaving, nil
}

// cancel ends a call early. One that is not in flight has just been answered.
func (e *session) cancel(id uint32) error {
	if id >= maxCalls {
		return fmt.Errorf("a cancellation of call %d, at most %d may be in flight", id, maxCalls)
	}
	e.out.mu.Lock()
	stop := e.abandon(id)
	e.out.mu.Unlock()
	stop.now(&e.batch)
	return nil
}

// abandon notes that nobody waits for a call any more. The caller holds out.mu.
func (e *session) abandon(id uint32) (s stopper) {
	if int(id) >= len(e.calls) || e.calls[id] == nil {
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

func (s stopper) now(b *Batch) {
	if s.ctx != nil {
		s.ctx.cancel()
	}
	s.handle.Cancel(b)
}

// credit lets an answer in parts go on.
func (e *session) credit(f frame) error {
	n, err := parseCredit(f.body)
	if err != nil {
		return err
	}
	e.out.mu.Lock()
	var handle Handle
	if int(f.id) < len(e.calls) && e.calls[f.id] != nil {
		c := e.calls[f.id]
		c.credit += n
		c.credited()
		if c.tied != nil {
			handle = *c.tied
		}
	}
	e.out.mu.Unlock()
	handle.Credit(n, &e.batch)
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
		s.now(&e.batch)
	}
	e.batch.flush()
}

// drain refuses calls from now on. The channel is closed when none is in
// flight.
func (e *session) drain() <-chan struct{} {
	e.out.mu.Lock()
	before := len(e.out.queue)
	e.out.queue = appendHeader(e.out.queue, kindGoodbye, 0, 0, 0, 0)
	claimed := e.out.claim(before)
	e.leaving = true
	e.settle()
	e.out.mu.Unlock()
	if claimed {
		e.out.flush()
	}
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

// maxTimeout is the longest that is reckoned with, some 146 years.
const maxTimeout = time.Duration(1) << 62

// errHungUp is the error of an outbox whose connection has ended by itself.
var errHungUp = errors.New("link: the connection has ended")

// isHangup reports whether an error says no more than that the peer is gone.
func isHangup(err error) bool {
	return errors.Is(err, errHungUp) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// unknown is the answer to a call of a method that there is not.
func unknown(name string, s *Server) error {
	service, method, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok {
		return status.Errorf(codes.Unimplemented, "malformed method name: %q", name)
	}
	for known := range s.methods {
		if strings.HasPrefix(known, "/"+service+"/") {
			return status.Errorf(codes.Unimplemented, "unknown method %s for service %s", method, service)
		}
	}
	return status.Errorf(codes.Unimplemented, "unknown service %s", service)
}

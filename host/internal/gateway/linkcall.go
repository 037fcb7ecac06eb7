package gateway

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/telemetry"
	"github.com/gaia-go/gaia/sdk/link"
)

// linkCall is a unary call that came by the link. On the straight way, from
// the reader of the caller's connection to that of the instance's and back, it
// waits nowhere, takes no goroutine and allocates nothing. A call that has to
// wait (for a policy, for an instance, for its next try), or whose plugin has
// no link, is finished by a goroutine, as one that came by gRPC is.
//
// It is used again for the call that comes after in the caller's place.
type linkCall struct {
	server   *Server
	incoming *link.Call
	named    string // the subsystem that a caller named last
	route    registry.Route[*Subsystem]
	metrics  *telemetry.Method
	version  uint64 // of the registry when route was looked up
	asked    string // the subsystem that was named then
	routed   bool   // the call has a route
	shows    bool   // the caller shows credentials
	call     gate.Call
	request  request
	outgoing link.Request
	handle   link.Handle // of the call to the instance
	instance Instance    // that the call is with
	upstream bool        // the answer tells of the failure of an upstream
	metadata []byte      // of an answer, as it crosses
	repeat   func() bool // request.Idempotent; made once, for it would be an allocation each time
}

// keptBuffer is how large the buffers of a linkCall are kept, in bytes.
const keptBuffer = 8 << 10

func newLinkCall(s *Server) *linkCall {
	c := &linkCall{server: s}
	c.repeat = c.request.Idempotent
	return c
}

// linkHandler gets the calls that come by the link.
type linkHandler struct{ server *Server }

// Serve takes a call from the reader of its caller's connection, as
// link.Handler.
func (h linkHandler) Serve(incoming *link.Call, b *link.Batch) {
	c, ok := incoming.Own.(*linkCall)
	if !ok {
		c = newLinkCall(h.server)
		incoming.Own = c
	}
	c.incoming = incoming
	defer c.recovered(b)
	switch err := c.find(); {
	case c.shows:
		c.asClient(err)
		return
	case err != nil:
		c.refuse(err, b)
		return
	}
	entered, err := c.route.Value.Gate.TryEnter(&c.call)
	switch {
	case err != nil:
		c.reject(err, b)
	case !entered || !c.forward(b):
		c.detour(nil)
	}
}

// recovered is deferred until the call is handed on. It is what
// Server.recovered is for who has to give back what the call has got.
func (c *linkCall) recovered(b *link.Batch) {
	p := recover()
	if p == nil {
		return
	}
	a := link.Answer{Batch: b}
	c.panicked(p, &a)
	c.answer(&a)
}

// panicked ends a call on whose way there was a panic, but for its answer.
func (c *linkCall) panicked(p any, a *link.Answer) {
	err := c.server.panicked(c.incoming.Method(), p)
	if c.instance != nil {
		c.instance.Release()
	}
	if c.routed {
		err = named(c.route.Subsystem, c.route.Value.Gate.Leave(&c.call, gate.Result{Err: err}))
		c.metrics.Observe(codes.Internal, a.Batch.Now().Sub(c.call.Start))
	}
	*a = link.Answer{Batch: a.Batch}
	a.SetErr(err)
}

// find reads where the call goes and keeps what of it is needed later: its
// bytes are the reader's.
func (c *linkCall) find() error {
	md := c.incoming.Metadata()
	subsystem, shows, err := namedIn(md, c.named)
	c.shows = shows && c.server.clients != nil
	if err != nil {
		return err
	}
	if subsystem != "" {
		c.named = subsystem
	}
	if err := c.findRoute(c.incoming.Method(), subsystem); err != nil {
		return err
	}
	c.routed = true
	c.outgoing.Method = c.route.Method.Name
	c.outgoing.Payload = append(c.outgoing.Payload[:0], c.incoming.Payload()...)
	c.outgoing.Metadata = appendCrossing(c.outgoing.Metadata[:0], md)
	c.request.method, c.request.message, c.request.used = c.route.Method, c.outgoing.Payload, 0
	c.call = gate.Call{Method: c.route.Method.Name, Keys: &c.request, Idempotent: c.repeat, Start: c.incoming.Start()}
	if timeout := c.incoming.Timeout(); timeout > 0 {
		c.call.Deadline = c.call.Start.Add(timeout)
	}
	return nil
}

// findRoute looks the route up, unless it is that of the call before.
func (c *linkCall) findRoute(method, subsystem string) (err error) {
	version := c.server.registry.Version()
	if c.version == version && c.asked == subsystem && c.route.Method != nil && c.route.Method.Name == method {
		return nil
	}
	route, err := c.server.registry.Route(method, subsystem)
	if err != nil {
		return err
	}
	if !route.Method.IsUnary() {
		return status.Errorf(codes.Unimplemented, "%s is a stream; it needs gRPC", method)
	}
	c.route, c.metrics = route, route.Value.Metrics.Method(method)
	c.version, c.asked = version, subsystem
	return nil
}

// forward gives the call to the instance that is ready, if that has a link
// which takes it at once.
func (c *linkCall) forward(b *link.Batch) bool {
	instance := c.route.Value.Instances.TryAcquire()
	if instance == nil {
		return false
	}
	l := instance.Link()
	if l == nil || !l.Usable() {
		instance.Release()
		return false
	}
	c.instance = instance
	c.outgoing.Timeout = 0
	if !c.call.Deadline.IsZero() {
		c.outgoing.Timeout = max(c.call.Deadline.Sub(c.call.Start), 1)
	}
	c.incoming.Tie(&c.handle)
	if err := l.Start(&c.outgoing, c, &c.handle, b); err != nil {
		c.incoming.Tie(nil)
		c.instance = nil
		instance.Release()
		return false
	}
	return true
}

// Receive takes what the instance answers, from the reader of its connection.
func (c *linkCall) Receive(a *link.Answer) {
	switch {
	case !c.take(a):
	case a.More:
		c.incoming.Answer(a)
	default:
		c.answer(a)
	}
}

// take notes what the instance answers and makes of it what the caller is told.
// It reports false if there may be another try: then that is for the detour.
func (c *linkCall) take(a *link.Answer) (tell bool) {
	last := !a.More
	defer func() {
		if p := recover(); p != nil {
			if !last {
				panic(p) // ends the connection, and with it all of its calls
			}
			c.panicked(p, a)
			tell = true
		}
	}()
	if a.Code != codes.OK {
		return c.failed(a)
	}
	if !a.Part {
		c.upstream = c.failedUpstream(a)
		c.cross(a)
	}
	if last {
		c.release()
		_ = c.route.Value.Gate.Leave(&c.call, gate.Result{UpstreamFailed: c.upstream}) // no error becomes of none
		c.metrics.Observe(codes.OK, a.Batch.Now().Sub(c.call.Start))
	}
	return true
}

// failedUpstream reports whether an answer tells of the failure of an upstream,
// as far as it is here.
func (c *linkCall) failedUpstream(a *link.Answer) bool {
	if a.More {
		return c.route.Method.FailedSoFar(a.Payload)
	}
	return c.route.Method.Failed(a.Payload)
}

// release gives back the instance.
func (c *linkCall) release() {
	c.instance.Release()
	c.instance = nil
}

// cross leaves of the metadata of an answer what crosses the host.
func (c *linkCall) cross(a *link.Answer) {
	if len(a.Header)+len(a.Trailer) == 0 {
		return
	}
	c.metadata = appendCrossing(c.metadata[:0], a.Header)
	n := len(c.metadata)
	c.metadata = appendCrossing(c.metadata, a.Trailer)
	a.Header, a.Trailer = c.metadata[:n:n], c.metadata[n:]
}

// failed takes an answer that is an error. Whether there is another try is not
// for the reader of a connection to find out: failed reports false if there may
// be one.
func (c *linkCall) failed(a *link.Answer) (tell bool) {
	c.cross(a)
	a.Refused = false // it is not the host that refuses
	err := a.Err()
	isLost := a.Reach == link.Lost || a.Reach == link.Unreached
	if isLost || a.Code == codes.Unavailable && !a.Part {
		c.detour(&lostTry{
			reach:  a.Reach,
			err:    err,
			answer: answer{header: link.DecodeMetadata(a.Header), trailer: link.DecodeMetadata(a.Trailer)},
		})
		return false
	}
	c.release()
	err = c.route.Value.Gate.Leave(&c.call, gate.Result{Err: words{err}, Reach: gate.Answered})
	err = named(c.route.Subsystem, oversize(err))
	c.metrics.Observe(status.Code(err), a.Batch.Now().Sub(c.call.Start))
	a.SetErr(err)
	return true
}

// refuse answers a call that has no route.
func (c *linkCall) refuse(err error, b *link.Batch) {
	a := link.Answer{Batch: b}
	a.SetErr(err)
	c.answer(&a)
}

// reject answers a call that the gate turned away.
func (c *linkCall) reject(err error, b *link.Batch) {
	err = named(c.route.Subsystem, err)
	c.metrics.ObserveRejected(status.Code(err))
	c.refuse(err, b)
}

// answer sends the last of the answer, and ends the call. Another one may use c
// from then on.
func (c *linkCall) answer(a *link.Answer) {
	incoming := c.incoming
	c.recycle()
	incoming.Answer(a)
}

func (c *linkCall) recycle() {
	for _, b := range []*[]byte{&c.outgoing.Payload, &c.outgoing.Metadata, &c.metadata} {
		if cap(*b) > keptBuffer {
			*b = nil
		}
	}
	if c.outgoing.Payload == nil { // what was dropped is not held elsewhere
		c.call, c.request.message = gate.Call{}, nil
	}
	c.incoming, c.routed, c.shows, c.instance, c.upstream = nil, false, false, nil, false
}

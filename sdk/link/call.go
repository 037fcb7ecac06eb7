package link

import (
	"context"
	"time"
)

// Call is a call at the server's end. When it has been answered, another one
// takes its place: nobody may touch it after the last Answer.
type Call struct {
	// Own is the Handler's. It stays for the calls that come after in this place.
	Own any

	session *session
	id      uint32
	decode  func(any) error // made once, for it would be an allocation each time

	method   *method
	metadata []byte
	payload  []byte
	size     int // bytes of the frame
	start    time.Time
	timeout  time.Duration
	refused  bool
	body     []byte  // metadata and payload of a call that outlives its frame
	reply    []byte  // the encoded answer
	tied     *Handle // set by the reader only, as long as the call is in flight

	// Guarded by session.out.mu.
	inFlight  bool
	cancelled bool
	ctx       *callContext  // nil until it is needed
	credit    int           // bytes that may be sent of an answer in parts
	unpaid    int           // bytes that were sent in parts and have had no credit yet
	more      chan struct{} // closed when there is more credit, or the call is cancelled; nil: nobody waits
}

// keptPlaces is how many places of a connection keep their Call. After a burst of
// calls the others are forgotten.
const keptPlaces = 4096

func newCall(e *session, id uint32) *Call {
	c := &Call{session: e, id: id}
	c.decode = c.decodeInto
	return c
}

// Method is the name of the method, "/package.Service/Method".
func (c *Call) Method() string { return c.method.name }

// Metadata is the encoded metadata of the request.
func (c *Call) Metadata() []byte { return c.metadata }

// Payload is the encoded message of the request.
func (c *Call) Payload() []byte { return c.payload }

// Start is when the call was read.
func (c *Call) Start() time.Time { return c.start }

// Timeout is how long the call may take from its start; 0: no bound.
func (c *Call) Timeout() time.Duration { return c.timeout }

// Tie hands cancellation of the call, and credit for its answer, on to the call
// that h is the handle of, or will be. h is read until the call is answered. Only
// Handler.Serve may call it.
func (c *Call) Tie(h *Handle) { c.tied = h }

// Context returns a context that ends with the call's deadline, its
// cancellation, or its last Answer. It has no metadata. It is called once, at
// any time before the last Answer.
func (c *Call) Context() context.Context {
	ctx := c.newContext()
	c.session.out.mu.Lock()
	c.ctx = ctx
	cancelled := c.cancelled
	c.session.out.mu.Unlock()
	if cancelled {
		ctx.cancel()
	}
	return ctx
}

func (c *Call) newContext() *callContext {
	ctx := c.session.server.contexts.next()
	ctx.session, ctx.method, ctx.start, ctx.timeout = c.session, c.method, c.start, c.timeout
	return ctx
}

// Answer sends an answer or a part of it. It does not block. The last one ends
// the call. a is not kept.
func (c *Call) Answer(a *Answer) { c.answer(a, false) }

// answer is Answer. It may wait until there is room, or else reports whether who
// makes answers should.
func (c *Call) answer(a *Answer, wait bool) (full bool) {
	e := c.session
	e.out.mu.Lock()
	if wait {
		e.out.waitForRoom()
	}
	before := len(e.out.queue)
	switch {
	case e.out.err != nil:
	case a.Part:
		e.out.queue = appendPart(e.out.queue, c.id, a)
	default:
		e.out.queue = appendAnswer(e.out.queue, c.id, a)
	}
	d := e.out.added(before)
	var ctx *callContext
	if a.More {
		c.unpaid += len(a.Payload)
		c.credit -= len(a.Payload)
	} else {
		ctx = c.ctx
		c.leave()
	}
	full = len(e.out.queue) > softQueue
	e.out.mu.Unlock()
	e.out.do(d, a.Batch)
	if ctx != nil {
		ctx.cancel()
	}
	return full
}

// leave makes room for another call. The caller holds out.mu.
func (c *Call) leave() {
	e := c.session
	e.flying--
	e.bytes -= c.size
	c.inFlight, c.cancelled = false, false
	c.method, c.metadata, c.payload, c.ctx, c.tied, c.credit, c.unpaid = nil, nil, nil, nil, nil, 0, 0
	if cap(c.body) > keptBuffer {
		c.body = nil
	}
	if cap(c.reply) > keptBuffer {
		c.reply = nil
	}
	if c.id >= keptPlaces {
		e.calls[c.id] = nil
	}
	e.settle()
}

// credited tells a handler that waits for credit. The caller holds out.mu.
func (c *Call) credited() {
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// Reply is Answer for who may wait: it sends a message of any size, in parts, and
// returns when all is sent. a is the whole answer, and is changed.
func (c *Call) Reply(a *Answer) {
	if a.isLarge() {
		c.answerLarge(a)
		return
	}
	c.Answer(a)
}

// answerLarge sends an answer in parts, each when there is credit for it. It
// blocks until all is sent, or the call is cancelled.
func (c *Call) answerLarge(a *Answer) {
	whole := a.Payload
	a.Total, a.More = len(whole), true
	for len(whole) > 0 {
		n := min(len(whole), MaxPayload)
		if !c.awaitCredit(n) {
			a.SetErr(errCancelled())
			c.Answer(a)
			return
		}
		a.Payload, whole = whole[:n], whole[n:]
		a.More = len(whole) > 0
		c.answer(a, true)
		a.Part, a.Header, a.Trailer = true, nil, nil
	}
}

// awaitCredit waits until n bytes may be sent. It reports false when the call is
// cancelled.
func (c *Call) awaitCredit(n int) bool {
	mu := &c.session.out.mu
	mu.Lock()
	defer mu.Unlock()
	for !c.cancelled {
		if c.credit+answerWindow >= n {
			return true
		}
		more := make(chan struct{})
		c.more = more
		mu.Unlock()
		<-more
		mu.Lock()
	}
	return false
}

package link

import (
	"context"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is a call at the server's end. It is used again for another call when
// it has been answered: nobody may touch it after the last Answer.
type Call struct {
	session  *session
	id       uint32
	named    named
	metadata []byte
	payload  []byte
	size     int // bytes of the frame
	start    time.Time
	timeout  time.Duration

	body   []byte          // of a call that outlives its frame: metadata and payload
	reply  []byte          // the encoded answer
	ctx    *callContext    // guarded by session.out.mu; nil until it is needed
	decode func(any) error // made once, for it would be an allocation each time

	// Guarded by session.out.mu.
	cancelled bool
	tied      *Handle
	credit    int           // bytes that may be sent of an answer in parts
	more      chan struct{} // closed when there is more credit, or the call is cancelled; nil: nobody waits
}

func newCall() *Call {
	c := new(Call)
	c.decode = c.decodeInto
	return c
}

// Method is the name of the method, "/package.Service/Method".
func (c *Call) Method() string { return c.named.name }

// Metadata is the encoded metadata of the request.
func (c *Call) Metadata() []byte { return c.metadata }

// Payload is the encoded message of the request.
func (c *Call) Payload() []byte { return c.payload }

// Start is when the call was read.
func (c *Call) Start() time.Time { return c.start }

// Timeout is how long the call may take from its start; 0: no bound.
func (c *Call) Timeout() time.Duration { return c.timeout }

// Tie hands cancellation of the call, and credit for its answer, on to the call
// that h is the handle of, or will be. h is read until the call is answered.
func (c *Call) Tie(h *Handle) {
	c.session.out.mu.Lock()
	defer c.session.out.mu.Unlock()
	c.tied = h
}

// Context returns a context that ends with the call's deadline, its
// cancellation, or its last Answer. It carries metadata, peer and method as
// those of gRPC do. It is called once.
func (c *Call) Context() context.Context { return c.context() }

func (c *Call) context() *callContext {
	ctx := c.session.server.contexts.next()
	ctx.session, ctx.method, ctx.start, ctx.timeout = c.session, c.named.name, c.start, c.timeout
	if len(c.metadata) > 0 {
		ctx.metadata = slices.Clone(c.metadata)
	}
	c.session.out.mu.Lock()
	c.ctx = ctx
	cancelled := c.cancelled
	c.session.out.mu.Unlock()
	if cancelled {
		ctx.cancel()
	}
	return ctx
}

// Answer sends an answer or a part of it. It does not block. The last one ends
// the call. a is not kept.
func (c *Call) Answer(a *Answer) {
	e := c.session
	e.out.mu.Lock()
	before := len(e.out.queue)
	if e.out.err == nil {
		if a.Part {
			e.out.queue = appendPart(e.out.queue, c.id, a)
		} else {
			e.out.queue = appendAnswer(e.out.queue, c.id, a)
		}
	}
	claimed := e.out.claim(before)
	if !a.More {
		e.calls[c.id] = nil
		e.flying--
		e.bytes -= c.size
		e.settle()
	}
	ctx := c.ctx
	e.out.mu.Unlock()
	if claimed {
		a.Batch.flushLater(&e.out)
	}
	if a.More {
		return
	}
	if ctx != nil {
		ctx.cancel()
	}
	c.recycle()
	e.running.Done()
}

// recycle gives the call back to the server for another one.
func (c *Call) recycle() {
	server := c.session.server
	if cap(c.body) > keptBuffer {
		c.body = nil
	}
	if cap(c.reply) > keptBuffer {
		c.reply = nil
	}
	*c = Call{body: c.body[:0], reply: c.reply[:0], decode: c.decode}
	server.calls.Put(c)
}

// credited tells a handler that waits for credit. The caller holds out.mu.
func (c *Call) credited() {
	if c.more != nil {
		close(c.more)
		c.more = nil
	}
}

// answerLarge sends an answer in parts, each when there is credit for it. It
// blocks until all is sent, or the call is cancelled.
func (c *Call) answerLarge(a *Answer) {
	whole := a.Payload
	a.More = true
	for len(whole) > 0 {
		n := min(len(whole), MaxPayload)
		if !c.awaitCredit(n) {
			a.SetErr(context.Canceled)
			c.Answer(a)
			return
		}
		a.Payload, whole = whole[:n], whole[n:]
		a.More = len(whole) > 0
		c.session.out.awaitRoom()
		c.Answer(a)
		a.Part, a.Header, a.Trailer = true, nil, nil
	}
}

// awaitCredit takes n bytes out of the credit, and waits until there are so
// many. It reports false when the call is cancelled.
func (c *Call) awaitCredit(n int) bool {
	mu := &c.session.out.mu
	mu.Lock()
	defer mu.Unlock()
	for !c.cancelled {
		if c.credit+answerWindow >= n {
			c.credit -= n
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

func (a *Answer) isLarge() bool { return a.Code == codes.OK && len(a.Payload) > MaxPayload }

package link

import (
	"context"
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// run calls the handler of a registered method, here or on a worker.
func (c *Call) run(b *Batch) {
	if c.method.inline {
		c.handle(b)
		return
	}
	c.body = append(append(c.body[:0], c.metadata...), c.payload...) // the frame is gone when a worker comes
	n := len(c.metadata)
	c.metadata, c.payload = c.body[:n:n], c.body[n:]
	c.session.workers.add(c)
}

// handle calls the handler and sends its answer. On a worker it waits until
// there is room for it.
func (c *Call) handle(b *Batch) {
	ctx := c.ctx
	a := Answer{Batch: b}
	returned := false
	defer func() {
		if !returned { // runtime.Goexit, as by a test that fails
			a.SetErr(status.Error(codes.Internal, "the handler has ended its goroutine"))
			c.Answer(&a)
		}
	}()
	reply, err := c.serve(ctx)
	returned = true
	header, trailer, invalid := ctx.metadataSent()
	if err == nil {
		err = invalid
	}
	a.Header, a.Trailer = header, trailer
	if err == nil {
		if c.reply, err = encode(c.reply[:0], reply, nil); err == nil && len(c.reply) > MaxAnswer {
			err = status.Errorf(codes.ResourceExhausted, "grpc: trying to send message larger than max (%d vs. %d)", len(c.reply), MaxAnswer)
		}
		a.Payload = c.reply
	}
	if err != nil {
		a.SetErr(err)
	}
	c.finish(&a)
}

// finish sends the answer of a handler.
func (c *Call) finish(a *Answer) {
	if a.isLarge() {
		if a.Batch == nil {
			c.answerLarge(a)
			return
		}
		a := *a
		a.Batch = nil        // not on the reader
		go c.answerLarge(&a) // the session waits for the call's end
		return
	}
	e := c.session
	if full := c.answer(a, a.Batch == nil); full && a.Batch != nil { // who takes no answers makes no calls
		e.out.awaitRoom(a.Batch)
	}
}

// serve calls the handler. A panic is turned into an answer: the call is lost,
// the server lives. The stack goes to the log and not to the caller.
func (c *Call) serve(ctx context.Context) (reply any, err error) {
	m := c.method
	defer func() {
		if p := recover(); p != nil {
			c.session.server.options.Logger.Error("call panicked", "method", m.name, "panic", p, "stack", string(debug.Stack()))
			err = status.Errorf(codes.Internal, "panic in %s; the log has the stack", m.name)
		}
	}()
	return m.handler(m.impl, ctx, c.decode, c.session.server.options.Interceptor)
}

// decodeInto is what a generated handler decodes its request with.
func (c *Call) decodeInto(message any) error {
	if err := decode(c.payload, message); err != nil {
		return status.Errorf(codes.Internal, "grpc: error unmarshalling request: %v", err)
	}
	return nil
}

package link

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// callContext is the context of a call. Few handlers ask it for more than its
// error, so what costs (a channel, a timer, metadata as a map) is made when it
// is asked for. It never becomes that of another call: a handler may keep it.
type callContext struct {
	session  *session
	method   string
	metadata []byte // of its own
	start    time.Time
	timeout  time.Duration // 0: no deadline

	mu          sync.Mutex
	err         error           // nil as long as the call is under way and not cancelled
	sent        bool            // the handler has sent the header
	header      metadata.MD     // that the handler has set
	trailer     metadata.MD     //
	whole       context.Context //nolint:containedctx // made when it is needed, see all
	cancelWhole context.CancelFunc
}

// contextSlab is how many contexts are allocated at once.
const contextSlab = 32

// contexts allocates contexts.
type contexts struct {
	slabs sync.Pool // of *[]callContext, those not given out yet
}

func (a *contexts) next() *callContext {
	slab, _ := a.slabs.Get().(*[]callContext)
	if slab == nil || len(*slab) == 0 {
		slab = new([]callContext)
		*slab = make([]callContext, contextSlab)
	}
	ctx := &(*slab)[0]
	*slab = (*slab)[1:]
	a.slabs.Put(slab)
	return ctx
}

// Deadline is the one that the client has set.
func (c *callContext) Deadline() (deadline time.Time, ok bool) {
	if c.timeout == 0 {
		return time.Time{}, false
	}
	return c.start.Add(c.timeout), true
}

// Err says whether the call has ended.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.whole != nil:
		return c.whole.Err()
	case c.err == nil && c.timeout != 0 && time.Since(c.start) >= c.timeout:
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Done is closed when the call has ended.
func (c *callContext) Done() <-chan struct{} { return c.all().Done() }

// Value is what gRPC's contexts have: metadata, peer and method.
func (c *callContext) Value(key any) any { return c.all().Value(key) }

// all returns a context of the ordinary kind, with all that c stands for.
func (c *callContext) all() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.whole == nil {
		ctx := metadata.NewIncomingContext(context.Background(), incoming(c.metadata))
		ctx = peer.NewContext(ctx, &c.session.peer)
		ctx = grpc.NewContextWithServerTransportStream(ctx, transportStream{c})
		if deadline, ok := c.Deadline(); ok {
			c.whole, c.cancelWhole = context.WithDeadline(ctx, deadline)
		} else {
			c.whole, c.cancelWhole = context.WithCancel(ctx)
		}
		if c.err != nil {
			c.cancelWhole()
		}
	}
	return c.whole
}

// cancel ends the context, if it has not ended.
func (c *callContext) cancel() {
	c.mu.Lock()
	if c.err == nil {
		c.err = context.Canceled
	}
	cancel := c.cancelWhole
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// metadataSent returns what the handler has set, encoded, when it has returned.
func (c *callContext) metadataSent() (header, trailer []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = true
	if len(c.header)+len(c.trailer) == 0 {
		return nil, nil, nil
	}
	if header, err = AppendMetadata(nil, c.header); err != nil {
		return nil, nil, err
	}
	trailer, err = AppendMetadata(nil, c.trailer)
	return header, trailer, err
}

// incoming is metadata as handlers know it from gRPC.
func incoming(encoded []byte) metadata.MD {
	if md := DecodeMetadata(encoded); md != nil {
		return md
	}
	return metadata.MD{}
}

// transportStream is what grpc.SetHeader and the like work on.
type transportStream struct{ ctx *callContext }

var errHeaderSent = status.Error(codes.Internal, "transport: SendHeader called multiple times")

// Method is the name of the method.
func (s transportStream) Method() string { return s.ctx.method }

// SetHeader adds to the header of the answer.
func (s transportStream) SetHeader(md metadata.MD) error {
	s.ctx.mu.Lock()
	defer s.ctx.mu.Unlock()
	if s.ctx.sent {
		return errHeaderSent
	}
	s.ctx.header = metadata.Join(s.ctx.header, md)
	return nil
}

// SendHeader is SetHeader for the last time. The header goes out with the
// answer: there is nothing else that a unary call could send before.
func (s transportStream) SendHeader(md metadata.MD) error {
	if err := s.SetHeader(md); err != nil {
		return err
	}
	s.ctx.mu.Lock()
	defer s.ctx.mu.Unlock()
	s.ctx.sent = true
	return nil
}

// SetTrailer adds to the trailer of the answer.
func (s transportStream) SetTrailer(md metadata.MD) error {
	s.ctx.mu.Lock()
	defer s.ctx.mu.Unlock()
	s.ctx.trailer = metadata.Join(s.ctx.trailer, md)
	return nil
}

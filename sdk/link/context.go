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
	session *session
	method  *method
	start   time.Time
	timeout time.Duration // 0: no deadline

	mu    sync.Mutex
	ended ending
	sent  bool // the handler has sent the header
	over  bool // the handler has returned
	more  *asked
}

// asked is what few contexts have.
type asked struct {
	incoming        []byte          // metadata of the request, encoded
	header, trailer metadata.MD     // that the handler has set
	whole           context.Context //nolint:containedctx // made when it is needed, see all
	cancel          context.CancelFunc
}

// ending is how a context has ended, if it has.
type ending uint8

const (
	underWay ending = iota
	cancelled
	expired
)

func (e ending) err() error {
	switch e {
	case cancelled:
		return context.Canceled
	case expired:
		return context.DeadlineExceeded
	default:
		return nil
	}
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
	if c.more != nil && c.more.whole != nil {
		return c.more.whole.Err()
	}
	if c.ended == underWay && c.timeout != 0 && time.Since(c.start) >= c.timeout {
		c.ended = expired
	}
	return c.ended.err()
}

// Done is closed when the call has ended.
func (c *callContext) Done() <-chan struct{} { return c.all().Done() }

// Value is what gRPC's contexts have: metadata, peer and method.
func (c *callContext) Value(key any) any { return c.all().Value(key) }

// all returns a context of the ordinary kind, with all that c stands for.
func (c *callContext) all() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.asked()
	if m.whole != nil {
		return m.whole
	}
	ctx := metadata.NewIncomingContext(c.session.base, incoming(m.incoming))
	ctx = peer.NewContext(ctx, &c.session.peer)
	ctx = grpc.NewContextWithServerTransportStream(ctx, transportStream{c})
	if deadline, ok := c.Deadline(); ok {
		m.whole, m.cancel = context.WithDeadline(ctx, deadline)
	} else {
		m.whole, m.cancel = context.WithCancel(ctx)
	}
	if c.ended != underWay {
		m.cancel()
	}
	return m.whole
}

// asked is the part of c that few have. The caller holds mu.
func (c *callContext) asked() *asked {
	if c.more == nil {
		c.more = new(asked)
	}
	return c.more
}

// cancel ends the context, if it has not ended.
func (c *callContext) cancel() {
	c.mu.Lock()
	if c.ended == underWay {
		c.ended = cancelled
	}
	var cancel context.CancelFunc
	if c.more != nil {
		cancel = c.more.cancel
	}
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}

// metadataSent returns what the handler has set, encoded, when it has returned.
func (c *callContext) metadataSent() (header, trailer []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent, c.over = true, true
	if c.more == nil || len(c.more.header)+len(c.more.trailer) == 0 {
		return nil, nil, nil
	}
	if header, err = AppendMetadata(nil, c.more.header); err != nil {
		return nil, nil, err
	}
	trailer, err = AppendMetadata(nil, c.more.trailer)
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

var (
	errHeaderSent = status.Error(codes.Internal, "transport: SendHeader called multiple times")
	errOver       = status.Error(codes.Internal, "transport: the stream is done")
)

// Method is the name of the method.
func (s transportStream) Method() string { return s.ctx.method.name }

// SetHeader adds to the header of the answer.
func (s transportStream) SetHeader(md metadata.MD) error {
	s.ctx.mu.Lock()
	defer s.ctx.mu.Unlock()
	if s.ctx.sent {
		return errHeaderSent
	}
	m := s.ctx.asked()
	m.header = metadata.Join(m.header, md)
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
	if s.ctx.over {
		return errOver
	}
	m := s.ctx.asked()
	m.trailer = metadata.Join(m.trailer, md)
	return nil
}

package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
)

// keptBuffer is how large a call's buffers are kept for the next call, in
// bytes.
const keptBuffer = 8 << 10

// pending is a call of Invoke.
type pending struct {
	conn    *Conn
	handle  Handle
	request Request
	limit   int           // bytes of the answer
	done    chan struct{} // told when the answer is here

	answer Answer // whose bytes are kept in the following
	header []byte
	body   []byte
	owed   int   // bytes that have come and that the other end has no credit for yet
	err    error // of the answer itself
}

// Receive keeps an answer. It is called by the reader of the connection.
func (p *pending) Receive(a *Answer) {
	if !a.Part {
		p.header = append(append(p.header[:0], a.Header...), a.Trailer...)
		h := len(a.Header)
		p.answer.Header, p.answer.Trailer = p.header[:h:h], p.header[h:]
		p.body = p.body[:0]
	}
	p.answer.Code, p.answer.Reach = a.Code, a.Reach
	switch {
	case a.Code != codes.OK:
		if p.err == nil {
			p.answer.Payload = a.Payload
			p.err = p.answer.Err()
		}
	case max(len(p.body)+len(a.Payload), a.Total) > p.limit:
		p.err = status.Errorf(codes.ResourceExhausted, "grpc: received message larger than max (%d vs. %d)", max(len(p.body)+len(a.Payload), a.Total), p.limit)
		if a.More { // the reader ends the call when this returns
			p.conn.abandon(p.handle, p.err, a.Batch)
			return
		}
	default:
		if more := a.Total; more > cap(p.body) { // as much as it may send before we know that it is so
			p.body = make([]byte, 0, min(more, answerWindow))
		}
		p.body = append(p.body, a.Payload...)
		if a.More {
			p.grant(len(a.Payload), a.Batch)
			return
		}
	}
	p.done <- struct{}{}
}

// grant lets the other end go on, when a quarter of what it may send has come.
func (p *pending) grant(n int, b *Batch) {
	if p.owed += n; p.owed >= answerWindow/4 {
		p.handle.Credit(p.owed, b)
		p.owed = 0
	}
}

// Invoke makes a call, as grpc.ClientConnInterface has it. The error matches
// ErrUnsuitable if the call was not begun because it needs gRPC.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	o := options{maxSend: MaxAnswer, maxReceive: MaxAnswer}
	for _, opt := range opts {
		if err := o.take(opt); err != nil {
			return err
		}
	}
	p := c.pending.Get().(*pending) //nolint:forcetypeassert // nothing else is put in
	err := p.prepare(ctx, method, args, &o)
	if err == nil {
		err = p.run(ctx)
	}
	if err == nil {
		err = o.decode(p.body, reply)
	}
	o.finish(p, err)
	p.recycle()
	return err
}

// NewStream is not for this transport.
func (c *Conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, fmt.Errorf("%w: streams go over gRPC", ErrUnsuitable)
}

// prepare encodes the call.
func (p *pending) prepare(ctx context.Context, method string, args any, o *options) (err error) {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	p.limit = o.maxReceive
	p.request.Method = method
	if p.request.Payload, err = o.encode(p.request.Payload[:0], args); err != nil {
		return err
	}
	p.request.Metadata = p.request.Metadata[:0]
	if md, ok := metadata.FromOutgoingContext(ctx); ok {
		if err := checkRequest(md); err != nil {
			return err
		}
		p.request.Metadata, err = AppendMetadata(p.request.Metadata, md)
		if errors.Is(err, errTooMuch) {
			err = fmt.Errorf("%w: %w", ErrUnsuitable, err)
		}
		if err != nil {
			return err
		}
	}
	return p.setTimeout(ctx)
}

func (p *pending) setTimeout(ctx context.Context) error {
	p.request.Timeout = 0
	if deadline, ok := ctx.Deadline(); ok {
		if p.request.Timeout = time.Until(deadline); p.request.Timeout <= 0 {
			return status.FromContextError(context.DeadlineExceeded).Err()
		}
	}
	return nil
}

// run makes the call and waits for its end or that of ctx.
func (p *pending) run(ctx context.Context) error {
	for again := false; ; again = true {
		err := p.conn.Start(&p.request, p, &p.handle, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrFull) {
			if again {
				p.conn.passOn()
			}
			return err
		}
		if err := p.awaitRoom(ctx, again); err != nil {
			return err
		}
	}
	if ctx.Done() == nil {
		<-p.done
		return p.result()
	}
	select {
	case <-p.done:
		return p.result()
	case <-ctx.Done():
	}
	reason := status.FromContextError(ctx.Err()).Err()
	if p.conn.abandon(p.handle, reason, nil) != nil {
		return reason
	}
	<-p.done // the answer has come at this very moment
	return p.result()
}

func (p *pending) result() error {
	if p.err != nil && p.answer.Reach != Answered {
		return &Error{Reach: p.answer.Reach, cause: p.err}
	}
	return p.err
}

// awaitRoom waits until the other end may bear another call.
func (p *pending) awaitRoom(ctx context.Context, again bool) error {
	c := p.conn
	c.out.mu.Lock()
	wait := c.flights.wait(p.request.size(), again)
	c.out.mu.Unlock()
	if wait == nil {
		return nil
	}
	var err error
	select {
	case <-wait:
		err = p.setTimeout(ctx) // less is left
	case <-ctx.Done():
		err = status.FromContextError(ctx.Err()).Err()
	}
	if err != nil {
		c.out.mu.Lock()
		c.flights.stopWaiting(wait)
		c.out.mu.Unlock()
	}
	return err
}

// passOn gives the room that a call was woken for to the next who waits.
func (c *Conn) passOn() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.flights.wakeOne()
}

// recycle makes p ready for another call.
func (p *pending) recycle() {
	for _, b := range []*[]byte{&p.request.Payload, &p.body, &p.header} {
		if cap(*b) > keptBuffer {
			*b = nil
		}
	}
	p.answer, p.handle, p.owed, p.err = Answer{}, Handle{}, 0, nil
	p.body = p.body[:0]
	p.conn.pending.Put(p)
}

// options are the call options that mean something to this transport.
type options struct {
	header, trailer     *metadata.MD
	peer                *peer.Peer
	codec               encoding.CodecV2 // nil: protobuf
	maxSend, maxReceive int
	finished            []func(error)
}

func (o *options) take(opt grpc.CallOption) error {
	switch opt := opt.(type) {
	case grpc.HeaderCallOption:
		o.header = opt.HeaderAddr
	case grpc.TrailerCallOption:
		o.trailer = opt.TrailerAddr
	case grpc.PeerCallOption:
		o.peer = opt.PeerAddr
	case grpc.ForceCodecV2CallOption:
		o.codec = opt.CodecV2
	case grpc.MaxRecvMsgSizeCallOption:
		o.maxReceive = opt.MaxRecvMsgSize
	case grpc.MaxSendMsgSizeCallOption:
		o.maxSend = opt.MaxSendMsgSize
	case grpc.OnFinishCallOption:
		o.finished = append(o.finished, opt.OnFinish)
	case grpc.FailFastCallOption, grpc.StaticMethodCallOption, grpc.EmptyCallOption, grpc.MaxRetryRPCBufferSizeCallOption, grpc.CompressorCallOption:
		// Nothing here to dial, to label, to repeat or to save.
	default:
		return fmt.Errorf("%w: option %T", ErrUnsuitable, opt)
	}
	return nil
}

// encode appends a message.
func (o *options) encode(b []byte, message any) ([]byte, error) {
	b, err := encode(b, message, o.codec)
	if err == nil && len(b) > o.maxSend {
		err = status.Errorf(codes.ResourceExhausted, "trying to send message larger than max (%d vs. %d)", len(b), o.maxSend)
	}
	return b, err
}

// decode reads the answer into reply. A codec may keep parts of what it reads.
func (o *options) decode(body []byte, reply any) error {
	var err error
	if o.codec != nil {
		data := mem.BufferSlice{mem.Copy(body, mem.DefaultBufferPool())}
		err = o.codec.Unmarshal(data, reply)
		data.Free()
	} else {
		err = decode(body, reply)
	}
	if err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	return nil
}

// finish tells what the caller asked to be told.
func (o *options) finish(p *pending, err error) {
	if o.header != nil {
		*o.header = DecodeMetadata(p.answer.Header)
	}
	if o.trailer != nil {
		*o.trailer = DecodeMetadata(p.answer.Trailer)
	}
	if o.peer != nil && p.handle.conn != nil {
		o.peer.Addr = p.conn.out.conn.RemoteAddr()
		o.peer.LocalAddr = p.conn.out.conn.LocalAddr()
	}
	if errors.Is(err, ErrUnsuitable) || ReachOf(err) == Unreached {
		return // the call may go on elsewhere, and is not over
	}
	for _, f := range o.finished {
		f(err)
	}
}

// encode appends a message to b; without a codec it is one of protobuf.
func encode(b []byte, message any, codec encoding.CodecV2) ([]byte, error) {
	if codec != nil {
		data, err := codec.Marshal(message)
		if err != nil {
			return b, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
		}
		defer data.Free()
		if data.Len() > MaxPayload {
			return b, fmt.Errorf("%w: a message of %d bytes, at most %d are allowed", ErrUnsuitable, data.Len(), MaxPayload)
		}
		for _, part := range data {
			b = append(b, part.ReadOnlyData()...)
		}
		return b, nil
	}
	if message == nil {
		return b, nil // an empty message, as with gRPC
	}
	m := protoMessage(message)
	if m == nil {
		return b, status.Errorf(codes.Internal, "grpc: error while marshaling: %T is no protobuf message", message)
	}
	encoded, err := proto.MarshalOptions{}.MarshalAppend(b, m)
	if err != nil {
		return b, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	return encoded, nil
}

// decode reads a protobuf message.
func decode(body []byte, message any) error {
	m := protoMessage(message)
	if m == nil {
		return fmt.Errorf("%T is no protobuf message", message)
	}
	return proto.Unmarshal(body, m)
}

func protoMessage(v any) proto.Message {
	switch m := v.(type) {
	case proto.Message:
		return m
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m)
	default:
		return nil
	}
}

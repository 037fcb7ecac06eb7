package rpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"connectrpc.com/connect"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/request"
)

// caller is the gateway's side of one call.
type caller struct {
	ctx     context.Context //nolint:containedctx // a gateway.Caller has the one of its call
	method  *method
	conn    connect.StreamingHandlerConn // nil for a unary call
	header  http.Header                  // of the answer, until it is sent
	trailer http.Header

	request *message // the only one, until it is received; nil for a stream of requests
	ended   atomic.Bool
	answer  *message // the only one
}

// newCaller is the caller of a stream; request is nil if that is a stream, too.
func newCaller(m *method, conn connect.StreamingHandlerConn, request *message) *caller {
	return &caller{method: m, conn: conn, request: request, header: conn.ResponseHeader(), trailer: conn.ResponseTrailer()}
}

// one makes a call that has one answer.
func (c *caller) one(ctx context.Context, header http.Header) (*connect.Response[message], error) {
	defer connectionOf(ctx).boundSending(ctx)
	if err := c.call(ctx, header); err != nil {
		return nil, err
	}
	if c.answer == nil {
		return nil, fault(status.Error(codes.Internal, "the plugin ended the call without an answer"), c.method.types)
	}
	return connect.NewResponse(c.answer), nil
}

// call makes the call.
func (c *caller) call(ctx context.Context, header http.Header) error {
	md, err := incoming(header)
	if err != nil {
		return fault(err, c.method.types)
	}
	connection := connectionOf(ctx)
	connection.received(c.request != nil)
	c.ctx = metadata.NewIncomingContext(ctx, md)
	defer connection.unblock(ctx)()
	if err := c.method.gateway.Call(c.method.Name, c); err != nil {
		return fault(err, c.method.types)
	}
	return nil
}

// Context implements gateway.Caller.
func (c *caller) Context() context.Context { return c.ctx }

// Receive implements gateway.Caller.
func (c *caller) Receive() ([]byte, error) {
	if m := c.request; m != nil {
		c.request = nil
		c.ended.Store(true)
		return c.binary(m)
	}
	if c.ended.Load() {
		return nil, io.EOF
	}
	m := new(message)
	connectionOf(c.ctx).share.Close() // the one before is on its way
	if err := c.conn.Receive(m); err != nil {
		c.ended.Store(true)
		switch ended := c.ctx.Err(); {
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		case ended != nil: // and Stop has ended the reading
			return nil, status.FromContextError(ended).Err()
		}
		return nil, statusOf(err)
	}
	return c.binary(m)
}

// binary returns a request in protobuf's binary form, as long as there is memory
// for it.
func (c *caller) binary(m *message) ([]byte, error) {
	share, size := connectionOf(c.ctx).share, len(m.data)
	if m.inJSON {
		size += request.ParsedSize(m.data)
	}
	if err := share.Hold(size); err != nil {
		return nil, err
	}
	data, err := m.binary(c.method)
	_ = share.Hold(min(len(data), size)) // which is not more
	return data, err
}

// Stop implements gateway.Caller. A body that was read to its end is not
// waited for, and its connection is kept.
func (c *caller) Stop() {
	if c.ended.Swap(true) || c.conn == nil {
		return
	}
	connectionOf(c.ctx).stopReading()
}

// Header implements gateway.Caller. A stream's is sent at once, because the
// caller may wait for it before saying more; but on HTTP/1 not before all is
// received, which an answer would end.
func (c *caller) Header(md metadata.MD) error {
	outgoing(c.header, md)
	if c.conn == nil || !c.method.ServerStreams && !connectionOf(c.ctx).isDuplex {
		return nil
	}
	return statusOf(c.conn.Send(nil))
}

// Send implements gateway.Caller.
func (c *caller) Send(b []byte) error {
	if c.method.ServerStreams {
		return statusOf(c.conn.Send(&message{data: b, method: c.method}))
	}
	if c.answer != nil {
		return status.Error(codes.Internal, "the plugin sent a second answer, and the method has one")
	}
	c.answer = &message{data: append([]byte(nil), b...), method: c.method}
	return nil
}

// Trailer implements gateway.Caller.
func (c *caller) Trailer(md metadata.MD) { outgoing(c.trailer, md) }

// statusOf is an error of Connect as a gRPC status.
func statusOf(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*connect.Error](err)
	switch {
	case !ok:
		return status.FromContextError(err).Err()
	case e.Code() == connect.CodeUnknown: // reading or writing failed
		return status.Error(codes.Canceled, "the caller is gone: "+e.Message())
	default:
		return status.Error(codes.Code(e.Code()), e.Message())
	}
}

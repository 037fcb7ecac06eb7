package rpc

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// compressFrom is the size in bytes from which an answer is compressed for who
// accepts that: a packet's worth. Below it time is lost and little gained.
const compressFrom = 1024

// method is one that is served.
type method struct {
	*registry.Method

	types   registry.Types
	gateway *gateway.Server
	bodies  *bodies.Budget
}

// handler returns what speaks the protocols for a method of its kind.
func (m *method) handler() http.Handler {
	options := []connect.HandlerOption{
		connect.WithCodec(passing{}), connect.WithCodec(inJSON{"json"}), connect.WithCodec(inJSON{"json; charset=utf-8"}),
		connect.WithReadMaxBytes(gateway.MaxMessage),
		connect.WithCompressMinBytes(compressFrom), inflating(m.bodies),
		connect.WithRequestGate(boundReceiving(!m.ClientStreams)),
	}
	if o, ok := m.Descriptor.Options().(*descriptorpb.MethodOptions); ok && o.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
		options = append(options, connect.WithIdempotency(connect.IdempotencyNoSideEffects)) // GET is allowed
	}
	switch {
	case m.ClientStreams && m.ServerStreams:
		return connect.NewBidiStreamHandler(m.Name, m.bidi, options...)
	case m.ClientStreams:
		return connect.NewClientStreamHandler(m.Name, m.up, options...)
	case m.ServerStreams:
		return connect.NewServerStreamHandler(m.Name, m.down, options...)
	default:
		return connect.NewUnaryHandler(m.Name, m.unary, options...)
	}
}

func (m *method) unary(ctx context.Context, request *connect.Request[message]) (*connect.Response[message], error) {
	info, _ := connect.CallInfoForHandlerContext(ctx) // a handler's context has it
	c := &caller{method: m, request: request.Msg, header: info.ResponseHeader(), trailer: info.ResponseTrailer()}
	return c.one(ctx, request.Header())
}

func (m *method) up(ctx context.Context, stream *connect.ClientStream[message]) (*connect.Response[message], error) {
	conn := stream.Conn()
	return newCaller(m, conn, nil).one(ctx, conn.RequestHeader())
}

func (m *method) down(ctx context.Context, request *connect.Request[message], stream *connect.ServerStream[message]) error {
	return newCaller(m, stream.Conn(), request.Msg).call(ctx, request.Header())
}

func (m *method) bidi(ctx context.Context, stream *connect.BidiStream[message, message]) error {
	conn := stream.Conn()
	return newCaller(m, conn, nil).call(ctx, conn.RequestHeader())
}

package sdk

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// counted returns a service whose calls are counted in and out, and refused once
// the door is closed, whatever transport they come by.
func (p *plugin) counted(desc *grpc.ServiceDesc) *grpc.ServiceDesc {
	c := *desc
	c.Methods, c.Streams = slices.Clone(desc.Methods), slices.Clone(desc.Streams)
	for i, m := range desc.Methods {
		name := "/" + desc.ServiceName + "/" + m.MethodName
		c.Methods[i].Handler = func(service any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (response any, err error) {
			defer shortened(&err)
			defer recovered(name, &err)
			if !p.calls.Enter() {
				return nil, errDraining()
			}
			defer p.calls.Leave()
			return m.Handler(service, ctx, decode, i)
		}
	}
	for i, s := range desc.Streams {
		name := "/" + desc.ServiceName + "/" + s.StreamName
		c.Streams[i].Handler = func(service any, stream grpc.ServerStream) (err error) {
			defer shortened(&err)
			defer recovered(name, &err)
			if !p.calls.Enter() {
				return errDraining()
			}
			defer p.calls.Leave()
			return s.Handler(service, stream)
		}
	}
	return &c
}

// unary and stream are called around all calls that come by gRPC.
func (p *plugin) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	defer recovered(info.FullMethod, &err)
	return handler(context.WithValue(ctx, nearKey{}, p.near), request)
}

func (p *plugin) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if p.isOwn(info.FullMethod) {
		return handler(service, ownStream{stream, context.WithValue(stream.Context(), nearKey{}, p.near)})
	}
	return p.untilStop(func() (err error) {
		defer recovered(info.FullMethod, &err)
		return handler(service, stream)
	})
}

// untilStop serves a stream that is not the author's. The host holds those of
// go-plugin open for as long as the plugin lives, and a graceful stop would wait
// for them for ever. The end of the stream ends an abandoned handler.
func (p *plugin) untilStop(serve func() error) error {
	served := make(chan error, 1)
	go func() { served <- serve() }()
	select {
	case err := <-served:
		return err
	case <-p.stopping:
		return errDraining()
	}
}

// recovered turns a panic into an answer: the call is lost, the plugin lives.
// The stack goes to the log and not to the caller.
func recovered(method string, err *error) {
	if v := recover(); v != nil {
		Logger().Error("call panicked", "method", method, "panic", v, "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "plugin panicked in %s; its log has the stack", method)
	}
}

// longestError is how large the error of a call may be, in bytes. Over gRPC it
// travels in a header, and one that is too large breaks the connection that all
// calls share. The link bears more, but a call does not say by which it came.
const longestError = 16 << 10

// shortened cuts the text of an error that is too large, and drops its details.
func shortened(err *error) {
	if *err == nil {
		return
	}
	st := status.Convert(*err)
	size := proto.Size(st.Proto())
	if size <= longestError {
		return
	}
	text := st.Message()
	text = strings.ToValidUTF8(text[:min(len(text), longestError/2)], "")
	*err = status.Errorf(st.Code(), "%s… (shortened: the error had %d bytes, at most %d are sent)", text, size, longestError)
}

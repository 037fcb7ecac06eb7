package gateway

import (
	"context"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// credentialsKey is the metadata in which a caller shows a token.
const credentialsKey = "authorization"

// clientKey is the metadata that tells a plugin the name of the client who
// calls. A caller's own never crosses the host.
const clientKey = "gaia-client"

// identify says who makes a call that came by gRPC; nil for the operator.
func (s *Server) identify(ctx context.Context, method string) (_ *access.Caller, err error) {
	defer s.recovered(method, &err)
	if s.clients == nil {
		return nil, nil
	}
	credentials := metadata.ValueFromIncomingContext(ctx, credentialsKey)
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, status.Error(codes.Unauthenticated, "internal: a call without a peer")
	}
	switch info := p.AuthInfo.(type) {
	case socketInfo:
		if len(credentials) == 0 {
			return nil, nil // as Identify would say, at the price of an allocation
		}
		return s.clients.Identify(&access.Visit{Door: access.DoorGRPC, Peer: socketPeer, Method: method, Credentials: credentials})
	case *tcpInfo:
		return s.clients.Identify(&access.Visit{
			Door: access.DoorTCP, Peer: p.Addr.String(), Method: method, Credentials: credentials, Certificate: info.certificate(s.tls()),
		})
	}
	return nil, status.Error(codes.Unauthenticated, "internal: a call by no known door")
}

// identifyLink does the same for one that came by the link, given its metadata.
func (s *Server) identifyLink(md metadata.MD, method string) (_ *access.Caller, err error) {
	defer s.recovered(method, &err)
	if s.clients == nil {
		return nil, nil
	}
	return s.clients.Identify(&access.Visit{
		Door: access.DoorLink, Peer: socketPeer, Method: method, Credentials: md.Get(credentialsKey),
	})
}

// socketPeer is how the audit log calls who came by the socket.
const socketPeer = "unix"

// unary is around each of the host's own unary methods that are called by gRPC:
// it finds out who calls, holds them to what they may, and keeps a panic from
// ending the host.
func (s *Server) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	caller, err := s.identify(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return s.serveOwn(ctx, request, info, handler, caller)
}

// unaryByLink does the same for the link.
func (s *Server) unaryByLink(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	caller, err := s.identifyLink(md, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return s.serveOwn(ctx, request, info, handler, caller)
}

func (s *Server) serveOwn(
	ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler, caller *access.Caller,
) (response any, err error) {
	defer s.recovered(info.FullMethod, &err)
	if caller == nil {
		return handler(ctx, request)
	}
	err = caller.Do(ctx, ownCall(info.FullMethod, false), func(ctx context.Context, deadline time.Time) (err error) {
		defer s.recovered(info.FullMethod, &err)
		ctx, cancel := within(ctx, deadline)
		defer cancel()
		response, err = handler(ctx, request)
		return err
	})
	return response, err
}

// streams does the same for the host's own streams. All that is forwarded is a
// stream to gRPC, too; of these it only finds out who calls.
func (s *Server) streams(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer s.recovered(info.FullMethod, &err)
	caller, err := s.identify(stream.Context(), info.FullMethod)
	switch {
	case err != nil:
		return err
	case caller == nil:
		return handler(service, stream)
	case !s.isOwn(info.FullMethod):
		return handler(service, withContext{stream, access.With(stream.Context(), caller)})
	}
	return caller.Do(stream.Context(), ownCall(info.FullMethod, true), func(ctx context.Context, _ time.Time) (err error) {
		defer s.recovered(info.FullMethod, &err)
		return handler(service, revocable{withContext{stream, ctx}, &s.running})
	})
}

// withContext is a stream with another context.
type withContext struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // that is what a stream has
}

// Context implements grpc.ServerStream.
func (w withContext) Context() context.Context { return w.ctx }

// revocable is a stream whose context may end before it does: when a reload takes
// away what the call needs.
type revocable struct {
	withContext

	running *sync.WaitGroup
}

// RecvMsg does not wait longer than the context lives. After its end m is not to
// be used.
func (r revocable) RecvMsg(m any) error {
	received := make(chan error, 1)
	r.running.Go(func() { received <- r.ServerStream.RecvMsg(m) }) // at the latest until the handler returns
	select {
	case err := <-received:
		return err
	case <-r.ctx.Done():
		return status.FromContextError(r.ctx.Err()).Err()
	}
}

func within(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

// isOwn reports whether a method is one that the host itself serves.
func (s *Server) isOwn(method string) bool {
	i := strings.LastIndexByte(method, '/')
	return i > 0 && s.own[method[1:i]]
}

// ownCall is a call of one of the host's own methods. Reflection and health are
// for everybody whom the host knows.
func ownCall(method string, stream bool) *access.Call {
	c := &access.Call{Method: method, Stream: stream}
	if strings.HasPrefix(method, "/"+hostv1.Host_ServiceDesc.ServiceName+"/") {
		c.Subsystem = access.Host
	}
	return c
}

// auditKey is the value by which a call is found again in the audit log: that
// of the first key of its method, unless it is not to be shown.
func auditKey(method *registry.Method, message []byte) []byte {
	keys := method.Keys()
	if len(keys) == 0 || keys[0].Sensitive {
		return nil
	}
	return append([]byte(nil), keys[0].Value(message, nil)...)
}

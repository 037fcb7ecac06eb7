package gateway

import (
	"context"
	"sync"

	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
)

// Caller is the side of the caller of one call that comes by neither gRPC nor
// the link. Its messages are bytes, in protobuf's encoding.
type Caller interface {
	// Context ends with the call; what the caller sent as metadata is its
	// incoming metadata, as gRPC has it.
	Context() context.Context
	// Receive returns the next message, or io.EOF after the last one. The
	// gateway keeps it until the call is over.
	Receive() ([]byte, error)
	// Stop makes a Receive that is under way return soon, and later ones at once.
	// It is called once.
	Stop()
	// Header sends metadata, before the first message. It is called at most
	// once.
	Header(metadata.MD) error
	// Send sends a message, which is valid until it returns.
	Send([]byte) error
	// Trailer takes what is sent behind the last message. It is called at most
	// once, before Call returns.
	Trailer(metadata.MD)
}

// Call takes one call of method ("/pkg.Service/Method") the way of all calls,
// but for the host's own services, and returns how it ended: nil, or a gRPC
// status. Messages are received and sent in different goroutines; when Call
// returns neither is.
func (s *Server) Call(method string, caller Caller) (err error) {
	defer s.recovered(method, &err)
	g := &guest{caller: caller}
	defer g.end()
	return s.call(method, g)
}

// guest makes a grpc.ServerStream of a Caller.
type guest struct {
	caller  Caller
	headed  bool           // the header was sent, or is not to be sent any more
	running sync.WaitGroup // the pump of requests
	stopped sync.Once
}

// end waits until nothing is received any more.
func (g *guest) end() {
	g.stop()
	g.running.Wait()
}

// stop lets nothing be received any more.
func (g *guest) stop() { g.stopped.Do(g.caller.Stop) }

// Context implements grpc.ServerStream.
func (g *guest) Context() context.Context { return g.caller.Context() }

// SetHeader implements grpc.ServerStream. After it the gateway sends or ends.
func (g *guest) SetHeader(md metadata.MD) error { return g.SendHeader(md) }

// SendHeader implements grpc.ServerStream.
func (g *guest) SendHeader(md metadata.MD) error {
	if g.headed {
		return nil
	}
	g.headed = true
	return g.caller.Header(md)
}

// SetTrailer implements grpc.ServerStream.
func (g *guest) SetTrailer(md metadata.MD) { g.caller.Trailer(md) }

// RecvMsg implements grpc.ServerStream for frames.
func (g *guest) RecvMsg(m any) error {
	message, err := g.caller.Receive()
	if err != nil {
		return err
	}
	m.(*frame).data = mem.BufferSlice{mem.SliceBuffer(message)} //nolint:forcetypeassert // nothing else is received
	return nil
}

// SendMsg implements grpc.ServerStream for frames.
func (g *guest) SendMsg(m any) error {
	return g.caller.Send(m.(*frame).bytes()) //nolint:forcetypeassert // nothing else is sent
}

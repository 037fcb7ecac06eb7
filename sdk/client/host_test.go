package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/link"
)

const (
	echoMethod   = "/test.v1.Echo/Echo"
	streamMethod = "/test.v1.Echo/Stream"
)

// service echoes BytesValues. A nil answer echoes, too.
type service struct {
	by     string // what carries it
	answer func(ctx context.Context, request []byte) ([]byte, error)
}

func (s service) register(at grpc.ServiceRegistrar) {
	at.RegisterService(&grpc.ServiceDesc{
		ServiceName: "test.v1.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.BytesValue)
			if err := errors.Join(decode(request), grpc.SetHeader(ctx, metadata.Pairs("by", s.by))); err != nil {
				return nil, err
			}
			if s.answer == nil {
				return request, nil
			}
			answer, err := s.answer(ctx, request.GetValue())
			return wrapperspb.Bytes(answer), err
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Stream", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				message := new(wrapperspb.BytesValue)
				if err := stream.RecvMsg(message); errors.Is(err, io.EOF) {
					return nil
				} else if err != nil {
					return err
				}
				if err := stream.SendMsg(message); err != nil {
					return err
				}
			}
		}}},
	}, s)
}

// host serves a service at a socket until it dies, which it can do many times.
// Its fields are set before it starts.
type host struct {
	tb     testing.TB
	path   string
	noLink bool // it is a server of gRPC only
	answer func(ctx context.Context, request []byte) ([]byte, error)
	greet  func(net.Conn) bool // reports whether the link may answer; nil: it may

	lis    net.Listener
	grpc   *grpc.Server
	cut    context.CancelFunc
	ending sync.WaitGroup

	mu      sync.Mutex
	greeted int // connections that came for the link
}

// start lets the host live until it dies or the test is over.
func (h *host) start() {
	h.tb.Helper()
	lis, err := new(net.ListenConfig).Listen(h.tb.Context(), "unix", h.path)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.lis = lis
	h.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(link.MaxAnswer))
	service{by: "grpc", answer: h.answer}.register(h.grpc)
	linked := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger(), Accept: link.SameUser})
	service{by: "link", answer: h.answer}.register(linked)
	ctx, cut := context.WithCancel(context.WithoutCancel(h.tb.Context()))
	h.cut = cut
	if h.noLink {
		h.ending.Go(func() { _ = h.grpc.Serve(lis) })
		return
	}
	speakGRPC := &sorted{Listener: lis, ctx: ctx, conns: make(chan net.Conn)}
	h.ending.Go(func() { _ = h.grpc.Serve(speakGRPC) })
	h.ending.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			h.ending.Go(func() { h.sort(ctx, conn, linked, speakGRPC.conns) })
		}
	})
}

// sort hands a connection to whom its first byte asks for, as the gateway does.
func (h *host) sort(ctx context.Context, conn net.Conn, linked *link.Server, speakGRPC chan<- net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	first, err := peek(conn)
	switch {
	case !stop() || err != nil:
		_ = conn.Close()
	case first == 'g':
		h.mu.Lock()
		h.greeted++
		h.mu.Unlock()
		if h.greet != nil && !h.greet(conn) {
			_ = conn.Close()
			return
		}
		linked.ServeConn(ctx, conn)
	default:
		select {
		case speakGRPC <- conn:
		case <-ctx.Done():
			_ = conn.Close()
		}
	}
}

func peek(conn net.Conn) (first byte, err error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var b [1]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		n, _, failed = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		return !errors.Is(failed, syscall.EAGAIN)
	})
	if err == nil && failed == nil && n == 0 {
		err = io.EOF
	}
	return b[0], errors.Join(err, failed)
}

// greetings is how many connections have come for the link.
func (h *host) greetings() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.greeted
}

// die ends all at once, as a crash does, and returns when nothing is left.
func (h *host) die() {
	_ = h.lis.Close()
	h.cut()
	h.grpc.Stop()
	h.ending.Wait()
}

// sorted is a listener that others put connections into.
type sorted struct {
	net.Listener

	ctx   context.Context //nolint:containedctx // that of the host's life
	conns chan net.Conn
}

func (s *sorted) Accept() (net.Conn, error) {
	select {
	case conn := <-s.conns:
		return conn, nil
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

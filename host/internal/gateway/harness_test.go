package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/telemetry"
	"github.com/gaia-go/gaia/sdk/client"
)

// The methods of the test service, which takes and returns BytesValues.
const (
	echoService = "echo.v1.Echo"
	unaryMethod = "/echo.v1.Echo/Unary"
	upMethod    = "/echo.v1.Echo/Up"
	downMethod  = "/echo.v1.Echo/Down"
	bothMethod  = "/echo.v1.Echo/Both"
)

// echoDescription describes it.
func echoDescription(tb testing.TB) *registry.Description {
	tb.Helper()
	method := func(name string, up, down bool) *descriptorpb.MethodDescriptorProto {
		return &descriptorpb.MethodDescriptorProto{
			Name: new(name), InputType: new(".google.protobuf.BytesValue"), OutputType: new(".google.protobuf.BytesValue"),
			ClientStreaming: new(up), ServerStreaming: new(down),
		}
	}
	d, err := registry.NewDescription(&pluginv1.DescribeResponse{
		Name:     "echo",
		Services: []string{echoService},
		Files: &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{
			protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto),
			{
				Name: new("echo/v1/echo.proto"), Package: new("echo.v1"), Syntax: new("proto3"),
				Dependency: []string{"google/protobuf/wrappers.proto"},
				Service: []*descriptorpb.ServiceDescriptorProto{{Name: new("Echo"), Method: []*descriptorpb.MethodDescriptorProto{
					method("Unary", false, false), method("Up", true, false), method("Down", false, true), method("Both", true, true),
				}}},
			},
		}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// echo is the test service. A nil field echoes: Unary its request, a stream
// each message (Up: all of them, joined).
type echo struct {
	unary  func(ctx context.Context, request *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)
	stream func(stream grpc.ServerStream) error
}

func (e echo) register(s grpc.ServiceRegistrar) {
	stream := func(joined bool) grpc.StreamHandler {
		return func(_ any, stream grpc.ServerStream) error {
			if e.stream != nil {
				return e.stream(stream)
			}
			return echoStream(stream, joined)
		}
	}
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: echoService,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			request := new(wrapperspb.BytesValue)
			if err := decode(request); err != nil {
				return nil, err
			}
			if e.unary == nil {
				return request, nil
			}
			return e.unary(ctx, request)
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Up", ClientStreams: true, Handler: stream(true)},
			{StreamName: "Down", ServerStreams: true, Handler: stream(false)},
			{StreamName: "Both", ClientStreams: true, ServerStreams: true, Handler: stream(false)},
		},
	}, nil)
}

func echoStream(stream grpc.ServerStream, joined bool) error {
	var all []byte
	for {
		message := new(wrapperspb.BytesValue)
		err := stream.RecvMsg(message)
		if errors.Is(err, io.EOF) {
			if joined {
				return stream.SendMsg(wrapperspb.Bytes(all))
			}
			return nil
		}
		if err != nil {
			return err
		}
		if joined {
			all = append(all, message.GetValue()...)
			continue
		}
		if err := stream.SendMsg(message); err != nil {
			return err
		}
	}
}

// listen opens a unix socket and returns the address to dial.
func listen(tb testing.TB) (net.Listener, string) {
	tb.Helper()
	// Not t.TempDir: its paths can be longer than a socket's may be.
	dir, err := os.MkdirTemp("", "gw")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	lis, err := new(net.ListenConfig).Listen(tb.Context(), "unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	return lis, "unix:" + path
}

func dial(tb testing.TB, address string, options ...grpc.DialOption) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(2*MaxMessage), grpc.MaxCallSendMsgSize(2*MaxMessage)))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // a test may have closed it
	return conn
}

// host is a gateway that runs, and a connection to it.
type host struct {
	grpc.ClientConnInterface

	tb       testing.TB
	server   *Server
	registry *registry.Registry[*Subsystem]
	metrics  *telemetry.Metrics
	address  string
	log      *syncBuffer
	stop     context.CancelFunc // asks Serve to end
	stopped  chan error         // what Serve returned
}

// startHost runs a gateway for the given subsystems until the test ends, and
// checks then that nothing of it is left.
func startHost(tb testing.TB, options Options, subsystems ...*Subsystem) *host {
	tb.Helper()
	h := &host{tb: tb, registry: new(registry.Registry[*Subsystem]), metrics: telemetry.New("test"), log: new(syncBuffer), stopped: make(chan error, 1)}
	for _, s := range subsystems {
		h.add(s)
	}
	options.Registry = h.registry
	if options.Grace == nil {
		options.Grace = func() time.Duration { return cutGrace }
	}
	options.Logger = hclog.New(&hclog.LoggerOptions{Output: h.log})
	h.server = New(options)
	lis, address := listen(tb)
	h.address = address
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	h.stop = cancel
	go func() { h.stopped <- h.server.Serve(ctx, lis) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-h.stopped; err != nil {
			tb.Error(err)
		}
		checkNothingRuns(tb)
	})
	h.ClientConnInterface = dialHost(tb, address)
	tb.Cleanup(func() { checkNothingIsHeld(tb, subsystems) })
	return h
}

// dialHost connects to a host as callers do.
func dialHost(tb testing.TB, address string) grpc.ClientConnInterface {
	tb.Helper()
	if waysOf(tb).caller == byGRPC {
		return dial(tb, address)
	}
	conn, err := client.Dial(tb.Context(), address)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() }) // a test may have closed it
	if conn.Transport() != "link" {
		tb.Fatal("the host has no link")
	}
	return conn
}

// add makes a subsystem known that serves the test service.
func (h *host) add(s *Subsystem) {
	s.Metrics = h.metrics.Subsystem(s.Name)
	if s.Gate == nil {
		s.Gate = gate.New(gate.Config{}, s.Metrics)
	}
	h.registry.Set(s.Name, echoDescription(h.tb), s)
}

// echoHost is the usual case: one subsystem, one instance.
func echoHost(tb testing.TB, e echo) *host {
	tb.Helper()
	return startHost(tb, Options{}, &Subsystem{Name: "echo", Instances: always(serveEcho(tb, e))})
}

// call makes a unary call of the test service.
func (h *host) call(ctx context.Context, payload []byte, options ...grpc.CallOption) ([]byte, error) {
	response := new(wrapperspb.BytesValue)
	err := h.Invoke(ctx, unaryMethod, wrapperspb.Bytes(payload), response, options...)
	return response.GetValue(), err
}

// open opens a stream of the test service.
func (h *host) open(ctx context.Context, method string, options ...grpc.CallOption) grpc.ClientStream {
	h.tb.Helper()
	s, err := h.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method, options...)
	if err != nil {
		h.tb.Fatal(err)
	}
	return s
}

// receive reads one message.
func receive(s grpc.ClientStream) (string, error) {
	message := new(wrapperspb.BytesValue)
	err := s.RecvMsg(message)
	return string(message.GetValue()), err
}

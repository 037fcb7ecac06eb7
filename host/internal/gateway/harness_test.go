package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/telemetry"
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

// serveEcho runs the service as an instance in this process.
func serveEcho(tb testing.TB, e echo, options ...grpc.DialOption) *instance {
	tb.Helper()
	lis, address := listen(tb)
	s := grpc.NewServer(grpc.MaxRecvMsgSize(2*MaxMessage), grpc.MaxSendMsgSize(2*MaxMessage), grpc.WaitForHandlers(true))
	e.register(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	tb.Cleanup(func() {
		s.Stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return &instance{ClientConn: dial(tb, address, options...), exited: make(chan struct{}), generation: 1}
}

// instance is a connection to an instance of the service.
type instance struct {
	*grpc.ClientConn

	exited     chan struct{}
	exit       string
	generation uint64
}

func (i *instance) Exited() <-chan struct{} { return i.exited }
func (i *instance) Exit() string            { return i.exit }
func (i *instance) Generation() uint64      { return i.generation }
func (i *instance) Release()                {}

// observer is a subsystem's metrics, which it may get only later.
type observer struct{ subsystem *Subsystem }

func (o observer) Rejected(policy string) { o.subsystem.Metrics.Rejected(policy) }
func (o observer) Retried()               { o.subsystem.Metrics.Retried() }

// acquire implements Instances.
type acquire func(ctx context.Context) (Instance, error)

func (a acquire) Acquire(ctx context.Context, _ uint64) (Instance, error) { return a(ctx) }

// always is Instances of one instance.
func always(i Instance) Instances {
	return acquire(func(context.Context) (Instance, error) { return i, nil })
}

// host is a gateway that runs, and a connection to it.
type host struct {
	*grpc.ClientConn

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
	h.ClientConn = dial(tb, address)
	return h
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

// eventually waits until a condition holds that nothing announces.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 10_000 {
		if holds() {
			return
		}
		<-tick.C
	}
	tb.Errorf("after 10s still not: %s", what)
}

// checkNothingRuns fails when a goroutine still runs code of this package.
func checkNothingRuns(tb testing.TB) {
	tb.Helper()
	var left string
	eventually(tb, "all goroutines of the gateway have ended", func() bool {
		left = goroutines()
		return left == ""
	})
	if left != "" {
		tb.Error(left)
	}
}

// goroutines are the stacks that are in non-test code of this package.
func goroutines() string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		return err.Error()
	}
	var ours strings.Builder
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, "gateway.(*Server)") {
			ours.WriteString(stack + "\n\n")
		}
	}
	return ours.String()
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct{ text atomic.Pointer[string] }

func (b *syncBuffer) Write(p []byte) (int, error) {
	for {
		old := b.text.Load()
		text := string(p)
		if old != nil {
			text = *old + text
		}
		if b.text.CompareAndSwap(old, &text) {
			return len(p), nil
		}
	}
}

func (b *syncBuffer) String() string {
	if text := b.text.Load(); text != nil {
		return *text
	}
	return ""
}

// countingPool counts the buffers that were taken and not given back.
type countingPool struct {
	mem.BufferPool

	out atomic.Int64
}

func newCountingPool() *countingPool { return &countingPool{BufferPool: mem.DefaultBufferPool()} }

func (p *countingPool) Get(length int) *[]byte {
	p.out.Add(1)
	return p.BufferPool.Get(length)
}

func (p *countingPool) Put(b *[]byte) {
	p.out.Add(-1)
	p.BufferPool.Put(b)
}

func (p *countingPool) dialOption() grpc.DialOption     { return experimental.WithBufferPool(p) }
func (p *countingPool) serverOption() grpc.ServerOption { return experimental.BufferPool(p) }

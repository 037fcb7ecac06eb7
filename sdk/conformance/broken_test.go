package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// envFault names what is wrong with the plugin that this test's binary is when
// it has the variable; "none" is nothing.
const envFault = "CONFORMANCE_FAULT"

// broken is a plugin that keeps all its promises but for one. It is written
// without package sdk, which would not let it.
type broken struct {
	pluginv1.UnimplementedPluginServer

	fault      string
	calls      *wire.Door
	server     *grpc.Server
	configured bool
	busy       sync.Mutex
	near       chan struct{} // closed when a drain is announced
}

// api is what it serves. A StringValue stands for Config on the wire.
const api = `
name: "broken/v1/broken.proto" package: "broken.v1" syntax: "proto3"
dependency: "google/protobuf/wrappers.proto"
message_type { name: "Config" field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL json_name: "name" } }
service { name: "Broken"
  method { name: "Say" input_type: ".google.protobuf.StringValue" output_type: ".google.protobuf.StringValue" options { idempotency_level: NO_SIDE_EFFECTS } }
  method { name: "Watch" input_type: ".google.protobuf.StringValue" output_type: ".google.protobuf.StringValue" server_streaming: true options { idempotency_level: NO_SIDE_EFFECTS } }
}
source_code_info {
  location { path: [6, 0, 2, 0] span: [0, 0, 1] leading_comments: " Say says." }
  location { path: [6, 0, 2, 1] span: [1, 0, 1] leading_comments: " Watch watches." }
}`

func (b *broken) has(fault string) bool { return b.fault == fault }

// runBroken is the main function of the plugin.
func runBroken(fault string) {
	b := &broken{fault: fault, calls: wire.NewDoor(), near: make(chan struct{})}
	switch {
	case b.has("silent by hand") && os.Getenv(wire.Handshake().MagicCookieKey) == "":
		return
	case b.has("no handshake"):
		_, _ = fmt.Fprintln(os.Stdout, "hello")
		select {}
	}
	stdout := os.Stdout // go-plugin puts another in its place
	go func() {
		terminate := make(chan os.Signal, 1)
		signal.Notify(terminate, syscall.SIGTERM)
		orphaned := make(chan struct{})
		if !b.has("outlives its host") {
			go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(orphaned) }()
		}
		select {
		case <-terminate:
		case <-orphaned:
		}
		if b.has("prints") {
			_, _ = fmt.Fprintln(stdout, "good bye")
		}
		b.end()
	}()
	err := wire.Serve(wire.ServeConfig{Register: b.register, Options: b.options(), Logger: hclog.NewNullLogger()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if !b.has("leaves files") {
		_ = os.Remove(lockFile())
	}
	if b.has("ends with 1") {
		os.Exit(1)
	}
}

func lockFile() string { return filepath.Join(os.TempDir(), "lock") }

func (b *broken) end() {
	if b.has("cuts calls off") {
		os.Exit(0)
	}
	if b.has("does not end") {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b.calls.Drain(ctx)
	// The host holds a stream of go-plugin open, for which this would wait.
	stop := time.AfterFunc(100*time.Millisecond, b.server.Stop)
	defer stop.Stop()
	b.server.GracefulStop()
}

func (b *broken) options() []grpc.ServerOption {
	options := []grpc.ServerOption{grpc.ChainUnaryInterceptor(func(ctx context.Context, r any, info *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
		if b.has("unwell") && strings.HasPrefix(info.FullMethod, "/grpc.health.") {
			return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
		}
		return h(ctx, r)
	})}
	if b.has("small messages") {
		options = append(options, grpc.MaxRecvMsgSize(4<<20))
	}
	if b.has("knows everything") {
		options = append(options, grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error { return s.SendMsg(&wrapperspb.StringValue{}) }))
	}
	return options
}

func (b *broken) register(s *grpc.Server) {
	b.server = s
	pluginv1.RegisterPluginServer(s, b)
	s.RegisterService(b.service(), b)
	socket, err := wire.InheritLink()
	if err != nil || socket == nil || b.has("no link") {
		return
	}
	l := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger(), GreetTimeout: time.Hour})
	l.RegisterService(b.service(), b)
	go l.ServeConn(context.Background(), socket)
}

func (b *broken) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "broken.v1.Broken",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Say", Handler: b.say}},
		Streams:     []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: b.watch}},
	}
}

func (b *broken) enter() error {
	if !b.calls.Enter() && !b.has("takes calls after Drain") {
		return status.Error(codes.Unavailable, "draining")
	}
	return nil
}

//nolint:revive // grpc.MethodHandler
func (b *broken) say(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	if err := b.enter(); err != nil {
		return nil, err
	}
	defer b.calls.Leave()
	r := new(wrapperspb.StringValue)
	if err := decode(r); err != nil {
		if b.has("dies of rubbish") {
			os.Exit(3)
		}
		return nil, err
	}
	switch {
	case b.has("dies") && len(r.GetValue()) > 100:
		os.Exit(3)
	case b.has("panics") && len(r.GetValue()) > 100:
		return nil, errors.New("panic: index out of range")
	case b.has("one at a time"):
		if !b.busy.TryLock() {
			return nil, status.Error(codes.Internal, "already in use")
		}
		defer b.busy.Unlock()
		fallthrough
	case b.has("cuts calls off"):
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return r, nil
}

// watch sends nothing until the caller goes.
func (b *broken) watch(_ any, stream grpc.ServerStream) error {
	if err := b.enter(); err != nil {
		return err
	}
	defer b.calls.Leave()
	r := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(r); err != nil {
		return err
	}
	_, hasDeadline := stream.Context().Deadline()
	switch {
	case b.has("ignores deadlines") && hasDeadline, b.has("ignores its callers") && !hasDeadline:
		select {}
	case b.has("leaks"):
		r, w, _ := os.Pipe()
		go func() {
			_, _ = w.Write(make([]byte, 1<<20)) // for ever: nobody reads
			_ = r.Close()
		}()
	}
	select {
	case <-b.near:
		return status.Error(codes.Unavailable, "about to end")
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
}

// Describe tells of the API.
func (b *broken) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	file := new(descriptorpb.FileDescriptorProto)
	if err := prototext.Unmarshal([]byte(api), file); err != nil {
		return nil, err
	}
	if b.has("undocumented") {
		file.SourceCodeInfo.Location = file.GetSourceCodeInfo().GetLocation()[:1]
	}
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}}
	if !b.has("half a description") {
		set.File = append(set.File, protodesc.ToFileDescriptorProto(wrapperspb.File_google_protobuf_wrappers_proto))
	}
	return &pluginv1.DescribeResponse{
		Name: "broken", Services: []string{"broken.v1.Broken"}, Files: set,
		ConfigMessage: "broken.v1.Config", LiveConfig: true, Link: true,
	}, nil
}

// Configure takes names of up to 100 bytes.
func (b *broken) Configure(_ context.Context, r *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	fault := func(path string) (*pluginv1.ConfigureResponse, error) {
		return &pluginv1.ConfigureResponse{Diagnostics: []*pluginv1.Diagnostic{{Path: path, Summary: "Not allowed"}}}, nil
	}
	config := new(wrapperspb.StringValue)
	if err := proto.Unmarshal(r.GetConfig(), config); err != nil && !b.has("takes any config") {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	switch {
	case b.has("refuses its config"), b.has("takes one config") && b.configured:
		return fault("name")
	case b.has("fails without a config") && len(r.GetConfig()) == 0:
		return nil, status.Error(codes.Internal, "nil pointer")
	case len(config.GetValue()) > 100 && b.has("says the wrong field"):
		return fault("nowhere[2].name")
	case len(config.GetValue()) > 100:
		return fault("name")
	}
	b.configured = true
	if b.has("trips over its lock") || b.has("leaves files") {
		f, err := os.OpenFile(lockFile(), os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil && b.has("trips over its lock") {
			return fault("name")
		}
		_ = f.Close()
	}
	return &pluginv1.ConfigureResponse{}, nil
}

// AnnounceDrain ends what watches.
func (b *broken) AnnounceDrain(context.Context, *pluginv1.AnnounceDrainRequest) (*pluginv1.AnnounceDrainResponse, error) {
	if !b.has("hears no announcement") {
		close(b.near)
	}
	if b.has("drains when told of it") {
		b.calls.Shut()
	}
	return &pluginv1.AnnounceDrainResponse{}, nil
}

// Drain waits for calls.
func (b *broken) Drain(ctx context.Context, r *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, r.GetGrace().AsDuration())
	defer cancel()
	return &pluginv1.DrainResponse{Unfinished: uint32(b.calls.Drain(ctx))}, nil
}

// CollectMetrics has one.
func (b *broken) CollectMetrics(context.Context, *pluginv1.CollectMetricsRequest) (*pluginv1.CollectMetricsResponse, error) {
	body := "# HELP broken_calls_total Calls.\n# TYPE broken_calls_total counter\nbroken_calls_total 1\n"
	if b.has("strange metrics") {
		body = "# TYPE brokenCalls counter\nbrokenCalls 1\n"
	}
	return &pluginv1.CollectMetricsResponse{ContentType: "text/plain; version=0.0.4", Body: []byte(body)}, nil
}

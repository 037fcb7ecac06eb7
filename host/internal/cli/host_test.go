package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gaia-go/gaia/host/internal/cli"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"

	// What testdata/rich.proto imports.
	_ "github.com/gaia-go/gaia/proto/gaia/options/v1"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// farSide is a host as far as the command can see: the API of hosts, and the
// services of testdata/rich.proto, on a unix socket.
type farSide struct {
	hostv1.UnimplementedHostServer

	socket    string
	rich      protoreflect.FileDescriptor
	set       *descriptorpb.FileDescriptorSet
	headers   chan metadata.MD // of each call to rich.v1
	started   chan struct{}    // a message for each call that hangs
	cancelled chan struct{}    // a message for each hanging call that was cancelled
	proceed   chan struct{}    // Count waits for one after each message but the last
	refuse    bool             // reloads
}

// startHost serves until the test ends.
func startHost(t *testing.T) *farSide {
	t.Helper()
	rich, set := richFiles(t)
	dir, err := os.MkdirTemp("", "gaia") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	f := &farSide{
		socket:    filepath.Join(dir, "s"),
		rich:      rich,
		set:       set,
		headers:   make(chan metadata.MD, 100),
		started:   make(chan struct{}, 100),
		cancelled: make(chan struct{}, 100),
		proceed:   make(chan struct{}, 100),
	}
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(f.serveRich))
	hostv1.RegisterHostServer(server, f)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return f
}

// richFiles reads testdata/rich.proto and all that it imports.
func richFiles(t *testing.T) (protoreflect.FileDescriptor, *descriptorpb.FileDescriptorSet) {
	t.Helper()
	raw, err := os.ReadFile("testdata/rich.binpb")
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	rich, err := protodesc.NewFile(set.GetFile()[0], protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var add func(protoreflect.FileImports)
	add = func(imports protoreflect.FileImports) {
		for i := range imports.Len() {
			file := imports.Get(i).FileDescriptor
			if !seen[file.Path()] {
				seen[file.Path()] = true
				set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
				add(file.Imports())
			}
		}
	}
	add(rich.Imports())
	return rich, &set
}

// hostVersion and the rest are what the far side says of itself.
const (
	hostVersion = "v1.2.3"
	richSum     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

func (f *farSide) Status(context.Context, *hostv1.StatusRequest) (*hostv1.StatusResponse, error) {
	now := time.Now()
	return &hostv1.StatusResponse{
		Version:   hostVersion,
		Pid:       4242,
		StartedAt: timestamppb.New(now.Add(-26*time.Hour - time.Minute)),
		Config:    "/etc/gaia/config.hcl",
		Socket:    f.socket,
		Http:      "127.0.0.1:4242",
		Subsystems: []*hostv1.Subsystem{
			{
				Name: "broken", Plugin: "gaia-broken", State: hostv1.State_BACKOFF, Generation: 7, Restarts: 6,
				Reason: "exit code 1 after 12ms; next start in 3s",
			},
			{
				Name: "rich", Plugin: "gaia-rich", State: hostv1.State_READY, Pid: 4711, Generation: 3, Restarts: 2,
				ReadySince: timestamppb.New(now.Add(-3*time.Minute - 7*time.Second)), InFlight: 5, Queued: 2,
				Spares: 1, Confinement: "memory: cgroup v1", Transport: "link",
			},
		},
	}, nil
}

func (f *farSide) Describe(_ context.Context, r *hostv1.DescribeRequest) (*hostv1.DescribeResponse, error) {
	if r.GetName() != "rich" && r.GetName() != "gaia-rich" {
		return nil, status.Errorf(codes.NotFound, "no subsystem or plugin %q; did you mean %q?", r.GetName(), "rich")
	}
	return &hostv1.DescribeResponse{
		File: "gaia-rich", Name: "gaia-rich", Version: "v0.1.0", Sha256: richSum,
		Services:      []string{"rich.v1.Other", "rich.v1.Rich"},
		ConfigMessage: "rich.v1.Config",
		Files:         f.set,
	}, nil
}

func (f *farSide) ListPlugins(context.Context, *hostv1.ListPluginsRequest) (*hostv1.ListPluginsResponse, error) {
	return &hostv1.ListPluginsResponse{Plugins: []*hostv1.PluginFile{
		{File: "gaia-broken", Size: 1024, Fault: "not executable"},
		{File: "gaia-rich", Size: 18_874_368, Sha256: richSum, Subsystems: []string{"other", "rich"}, Version: "v0.1.0"},
	}}, nil
}

func (f *farSide) Logs(r *hostv1.LogsRequest, s grpc.ServerStreamingServer[hostv1.LogsResponse]) error {
	lines := []*hostv1.LogsResponse{
		{Level: "info", Message: "ready", Fields: map[string]string{"took": "12ms", "note": "two words", "at": ""}},
		{Level: "error", Message: "steer \x1b[2J the\nterminal", Fields: map[string]string{"raw": "\x1b]0;x\a"}},
	}
	if r.GetTail() > 0 {
		lines = lines[max(0, len(lines)-int(r.GetTail())):]
	}
	for _, line := range lines {
		line.Time = timestamppb.New(time.Date(2026, 11, 23, 15, 4, 5, 6e6, time.UTC))
		line.Subsystem, line.Generation, line.Pid = r.GetSubsystem(), 3, 4711
		if err := s.Send(line); err != nil {
			return err
		}
	}
	if r.GetFollow() {
		return f.hang(s.Context())
	}
	return nil
}

func (f *farSide) Events(r *hostv1.EventsRequest, s grpc.ServerStreamingServer[hostv1.EventsResponse]) error {
	for _, event := range []*hostv1.EventsResponse{
		{Subsystem: "rich", Generation: 3, Kind: "starting", Reason: "restart"},
		{Subsystem: "rich", Generation: 3, Pid: 4711, Kind: "exited", Reason: "killed\nby \x1b[2J"},
		{Kind: "refused", Reason: "the config has faults"},
	} {
		event.Time = timestamppb.New(time.Date(2026, 11, 23, 15, 4, 5, 6e6, time.UTC))
		if err := s.Send(event); err != nil {
			return err
		}
	}
	if r.GetFollow() {
		return f.hang(s.Context())
	}
	return nil
}

func (f *farSide) Reload(context.Context, *hostv1.ReloadRequest) (*hostv1.ReloadResponse, error) {
	if f.refuse {
		return &hostv1.ReloadResponse{Diagnostics: "Error: Size without a unit\n"}, nil
	}
	return &hostv1.ReloadResponse{Applied: true, Changes: []string{"rich: settings applied"}}, nil
}

func (f *farSide) Restart(_ context.Context, r *hostv1.RestartRequest) (*hostv1.RestartResponse, error) {
	return &hostv1.RestartResponse{Subsystem: replaced(r.GetSubsystem(), "gaia-rich")}, nil
}

func (f *farSide) Swap(_ context.Context, r *hostv1.SwapRequest) (*hostv1.SwapResponse, error) {
	if r.GetPlugin() == "gaia-broken" {
		return nil, status.Errorf(codes.FailedPrecondition, "%s: generation 4 did not start: no license", r.GetSubsystem())
	}
	return &hostv1.SwapResponse{Subsystem: replaced(r.GetSubsystem(), r.GetPlugin())}, nil
}

func replaced(name, plugin string) *hostv1.Subsystem {
	return &hostv1.Subsystem{Name: name, Plugin: plugin, Generation: 4, Pid: 4712, StartDuration: durationpb.New(12 * time.Millisecond)}
}

func (f *farSide) Explain(_ context.Context, r *hostv1.ExplainRequest) (*hostv1.ExplainResponse, error) {
	text := string(r.GetRequest()) // the key is what the request says
	if f.refuse {
		return &hostv1.ExplainResponse{Idempotent: true, Policies: []*hostv1.Policy{{Name: "retry", Exempt: "retry.attempts is 1"}}}, nil
	}
	return &hostv1.ExplainResponse{
		Idempotent: strings.HasSuffix(r.GetMethod(), "Echo"),
		Policies: []*hostv1.Policy{
			{Name: "deadline", Settings: []*hostv1.Setting{{Path: "limits.timeout", Value: "30s", Source: "host default"}}},
			{Name: "breaker.domain", Exempt: "the method has no key \"domain\""},
			{Name: "rate.text", State: fmt.Sprintf("%d bytes of request", len(text)), Settings: []*hostv1.Setting{
				{Path: `rate["text"].limit`, Value: "9/s", Source: "config.hcl:14"},
				{Path: `rate["text"].burst`, Value: "1", Source: "plugin default"},
			}},
		},
	}, nil
}

func (f *farSide) hang(ctx context.Context) error {
	f.started <- struct{}{}
	<-ctx.Done()
	f.cancelled <- struct{}{}
	return ctx.Err()
}

// serveRich serves the services of testdata/rich.proto.
func (f *farSide) serveRich(_ any, s grpc.ServerStream) error {
	name, _ := grpc.MethodFromServerStream(s)
	header, _ := metadata.FromIncomingContext(s.Context())
	f.headers <- header
	service, method, _ := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	sd := f.rich.Services().ByName(protoreflect.FullName(service).Name())
	if sd == nil || string(sd.FullName()) != service {
		return status.Errorf(codes.Unimplemented, "no service %s", service)
	}
	md := sd.Methods().ByName(protoreflect.Name(method))
	if md == nil {
		return status.Errorf(codes.Unimplemented, "no method %s", name)
	}
	switch method {
	case "Count":
		return f.count(s, md.Input())
	case "Sum":
		return f.sum(s, md.Input())
	case "Hang":
		return f.hang(s.Context())
	case "Refuse":
		return refusal()
	default:
		return f.echo(s, md.Input())
	}
}

// echo ends the call at the text "end", as the far side of a chat may.
func (f *farSide) echo(s grpc.ServerStream, md protoreflect.MessageDescriptor) error {
	text := md.Fields().ByName("text")
	for {
		m := dynamicpb.NewMessage(md)
		if err := s.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			if s.Context().Err() != nil {
				f.cancelled <- struct{}{}
			}
			return err
		}
		if err := s.SendMsg(m); err != nil || m.Get(text).String() == "end" {
			return err
		}
	}
}

func (f *farSide) count(s grpc.ServerStream, md protoreflect.MessageDescriptor) error {
	m := dynamicpb.NewMessage(md)
	if err := s.RecvMsg(m); err != nil {
		return err
	}
	count := md.Fields().ByName("count")
	for i := range m.Get(count).Int() {
		if i > 0 {
			<-f.proceed
		}
		m.Set(count, protoreflect.ValueOfInt32(int32(i)))
		if err := s.SendMsg(m); err != nil {
			return err
		}
	}
	return nil
}

func (f *farSide) sum(s grpc.ServerStream, md protoreflect.MessageDescriptor) error {
	count := md.Fields().ByName("count")
	total := dynamicpb.NewMessage(md)
	for {
		m := dynamicpb.NewMessage(md)
		if err := s.RecvMsg(m); err != nil {
			if errors.Is(err, io.EOF) {
				return s.SendMsg(total)
			}
			return err
		}
		total.Set(count, protoreflect.ValueOfInt32(int32(total.Get(count).Int()+m.Get(count).Int())))
	}
}

// refusal has a detail of each sort, among them one that nobody knows.
func refusal() error {
	s, err := status.New(codes.ResourceExhausted, "rich: queue full: 2 waiting, limit 2").WithDetails(
		&errdetails.RetryInfo{RetryDelay: durationpb.New(2 * time.Second)},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
			{Field: "text", Description: "is not polite"},
		}},
		&errdetails.ErrorInfo{Reason: "QUEUE", Metadata: map[string]string{"policy": "queue", "limit": "2"}},
	)
	if err != nil {
		return err
	}
	p := s.Proto()
	p.Details = append(p.Details,
		&anypb.Any{TypeUrl: "type.googleapis.com/rich.v1.Point", Value: []byte{8, 7}},
		&anypb.Any{TypeUrl: "type.googleapis.com/no.Such", Value: []byte{8, 7}})
	return status.FromProto(p).Err()
}

// result is what a finished command left.
type result struct {
	code           int
	stdout, stderr string
}

// run runs a command against f, with input on standard input.
func (f *farSide) run(t *testing.T, input string, args ...string) result {
	t.Helper()
	return runCommand(t.Context(), map[string]string{"GAIA_SOCKET": f.socket}, strings.NewReader(input), args...)
}

func runCommand(ctx context.Context, env map[string]string, stdin io.Reader, args ...string) result {
	var stdout, stderr bytes.Buffer
	code := cli.Main(ctx, args, cli.Env{
		Stdin:   stdin,
		Stdout:  &stdout,
		Stderr:  &stderr,
		Getenv:  func(name string) string { return env[name] },
		Version: "v9.9.9",
	})
	return result{code, stdout.String(), stderr.String()}
}

package gateway

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"

	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// metric is the value of a counter or gauge, or the count of a histogram, over
// all series with a label; -1 when there is none.
func (h *host) metric(name, label, value string) float64 {
	h.tb.Helper()
	merger := telemetry.NewMerger(h.metrics, nil, hclog.NewNullLogger())
	families, err := merger.Gatherer(h.tb.Context()).Gather()
	if err != nil {
		h.tb.Fatal(err)
	}
	sum := -1.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					sum = max(sum, 0) + m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
	}
	return sum
}

func TestCallsAreCountedAndUnknownMethodsAreNoLabels(t *testing.T) {
	overEach(t, callsAreCountedAndUnknownMethodsAreNoLabels)
}

func callsAreCountedAndUnknownMethodsAreNoLabels(t trial) {
	h := echoHost(t, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		if len(r.GetValue()) > 0 {
			return nil, status.Error(codes.NotFound, "no")
		}
		return r, nil
	}})
	for _, payload := range []string{"", "", "x"} {
		_, _ = h.call(t.Context(), []byte(payload)) // the counters tell
	}
	_ = h.Invoke(t.Context(), "/echo.v1.Echo/Evil", wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	eventually(t, "the calls are counted", func() bool { return h.metric("gaia_call_seconds", "method", "echo.v1.Echo/Unary") == 3 })
	for code, want := range map[string]float64{"OK": 2, "NotFound": 1} {
		if got := h.metric("gaia_calls_total", "code", code); got != want {
			t.Errorf("%v calls ended %s, want %v", got, code, want)
		}
	}
	if got := h.metric("gaia_calls_total", "method", "echo.v1.Echo/Evil"); got != -1 {
		t.Error("a name that a caller made up became a label")
	}
}

// panics is Instances with a fault.
type panics struct{}

func (panics) Acquire(context.Context, uint64) (Instance, error) { panic("boom") }
func (panics) TryAcquire() Instance                              { panic("boom") }

func TestAPanicOnTheWayIsOneCallsErrorOnly(t *testing.T) {
	overEach(t, aPanicOnTheWayIsOneCallsErrorOnly)
}

func aPanicOnTheWayIsOneCallsErrorOnly(t trial) {
	sub := &Subsystem{Name: "echo", Instances: panics{}}
	h := startHost(t, Options{}, sub)
	for _, call := range []func() error{
		func() error {
			_, err := h.call(t.Context(), []byte("x"))
			return err
		},
		func() error {
			_, err := receive(h.open(t.Context(), bothMethod))
			return err
		},
	} {
		err := call()
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "boom") {
			t.Errorf("got %v", err)
		}
	}
	if !strings.Contains(h.log.String(), "boom") || !strings.Contains(h.log.String(), "server_test.go") {
		t.Errorf("the log has neither panic nor stack: %s", h.log)
	}
	eventually(t, "the calls are over", func() bool { return sub.Gate.InFlight() == 0 })
	if got := h.metric("gaia_calls_total", "code", "Internal"); got != 2 {
		t.Errorf("%v calls counted as Internal, want 2", got)
	}
}

// panicky is one of the host's own services, with a fault.
type panicky struct {
	pluginv1.UnimplementedPluginServer
}

func (panicky) Describe(context.Context, *pluginv1.DescribeRequest) (*pluginv1.DescribeResponse, error) {
	return &pluginv1.DescribeResponse{Name: "typed"}, nil
}

func (panicky) Drain(context.Context, *pluginv1.DrainRequest) (*pluginv1.DrainResponse, error) {
	panic("boom")
}

func TestTheHostsOwnServicesAreServedBesideTheForwardedOnes(t *testing.T) {
	overEach(t, theHostsOwnServicesAreServedBesideTheForwardedOnes)
}

func theHostsOwnServicesAreServedBesideTheForwardedOnes(t trial) {
	h := startHost(t, Options{Register: func(r grpc.ServiceRegistrar) { pluginv1.RegisterPluginServer(r, panicky{}) }},
		&Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{}))})
	own := pluginv1.NewPluginClient(h)
	got, err := own.Describe(t.Context(), &pluginv1.DescribeRequest{})
	if err != nil || got.GetName() != "typed" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := own.Drain(t.Context(), &pluginv1.DrainRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("a panic: got %v", err)
	}
	if _, err := h.call(t.Context(), []byte("x")); err != nil {
		t.Errorf("a forwarded call: %v", err)
	}
}

func TestReflectionAnswersForTheSubsystems(t *testing.T) {
	h := echoHost(t, echo{})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(h).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *grpc_reflection_v1.ServerReflectionRequest) *grpc_reflection_v1.ServerReflectionResponse {
		t.Helper()
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		a, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var names []string
	for _, s := range ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{},
	}).GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if diff := cmp.Diff([]string{
		"echo.v1.Echo", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
	}, names); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	answer := ask(&grpc_reflection_v1.ServerReflectionRequest{
		MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: "echo.v1.Echo.Both"},
	}).GetFileDescriptorResponse().GetFileDescriptorProto()
	if len(answer) != 2 {
		t.Fatalf("%d files, want the service's and wrappers.proto", len(answer))
	}
	file := new(descriptorpb.FileDescriptorProto)
	if err := proto.Unmarshal(answer[0], file); err != nil || file.GetName() != "echo/v1/echo.proto" {
		t.Errorf("got %v, %v", file.GetName(), err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	alpha, err := grpc_reflection_v1alpha.NewServerReflectionClient(h).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := alpha.Send(&grpc_reflection_v1alpha.ServerReflectionRequest{ //nolint:staticcheck // v1alpha is deprecated, but old clients use it
		MessageRequest: &grpc_reflection_v1alpha.ServerReflectionRequest_FileByFilename{FileByFilename: "echo/v1/echo.proto"}, //nolint:staticcheck // as above
	}); err != nil {
		t.Fatal(err)
	}
	if a, err := alpha.Recv(); err != nil || len(a.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 { //nolint:staticcheck // as above
		t.Errorf("v1alpha: %v, %v", a, err)
	}
	if err := alpha.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestHealthFollowsTheSubsystems(t *testing.T) {
	h := echoHost(t, echo{})
	h.add(&Subsystem{Name: "second", Instances: always(nil)}) // serves the same
	client := grpc_health_v1.NewHealthClient(h)
	check := func(service string) string {
		t.Helper()
		r, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil {
			return status.Code(err).String()
		}
		return r.GetStatus().String()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch, err := client.Watch(ctx, &grpc_health_v1.HealthCheckRequest{Service: echoService})
	if err != nil {
		t.Fatal(err)
	}
	watched := func() string {
		t.Helper()
		r, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return r.GetStatus().String()
	}
	if got := watched(); got != "SERVICE_UNKNOWN" {
		t.Errorf("watched %s", got)
	}
	for _, step := range []struct {
		subsystem string
		ready     bool
		want      string
	}{
		{"echo", false, "NOT_SERVING"},
		{"echo", true, "SERVING"},
		{"second", false, "SERVING"},
		{"second", true, "SERVING"},
		{"echo", false, "SERVING"},
		{"second", false, "NOT_SERVING"},
	} {
		before := check(echoService)
		h.server.SetReady(step.subsystem, step.ready)
		if got := check(echoService); got != step.want {
			t.Errorf("after %s ready=%t: %s, want %s", step.subsystem, step.ready, got, step.want)
		}
		if before != step.want {
			if got := watched(); got != step.want {
				t.Errorf("watched %s, want %s", got, step.want)
			}
		}
	}
	if got := check(""); got != "SERVING" {
		t.Errorf("the host: %s", got)
	}
	if got := check("no.such.Service"); got != "NotFound" {
		t.Errorf("an unknown service: %s", got)
	}
	h.registry.Remove("echo")
	h.registry.Remove("second")
	h.server.SetReady("echo", false)
	if got := check(echoService); got != "SERVICE_UNKNOWN" {
		t.Errorf("a service that is gone: %s", got)
	}
}

func TestCallsUnderWayMayEndWhenTheHostStops(t *testing.T) {
	overEach(t, callsUnderWayMayEndWhenTheHostStops)
}

func callsUnderWayMayEndWhenTheHostStops(t trial) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := echoHost(t, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		close(entered)
		<-leave
		return r, nil
	}})
	result := make(chan error, 1)
	go func() {
		_, err := h.call(t.Context(), nil)
		result <- err
	}()
	<-entered
	h.stop()
	eventually(t, "new calls are refused", func() bool {
		_, err := grpc_health_v1.NewHealthClient(h).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		return status.Code(err) == codes.Unavailable
	})
	close(leave)
	if err := <-result; err != nil {
		t.Errorf("the call under way: %v", err)
	}
}

func TestStreamsThatDoNotEndAreCutAfterTheGrace(t *testing.T) {
	h := startHost(t, Options{Grace: func() time.Duration { return 50 * time.Millisecond }}, &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{}))})
	s := h.open(t.Context(), bothMethod)
	send(t, s, "x")
	if _, err := receive(s); err != nil {
		t.Fatal(err)
	}
	h.stop()
	if _, err := receive(s); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v", err)
	}
	err := <-h.stopped
	h.stopped <- err // for the clean-up
	if err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeReportsAListenerThatIsGone(t *testing.T) {
	h := echoHost(t, echo{}) // for its registry
	lis, _ := listen(t)
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	err := New(Options{Registry: h.registry, Logger: hclog.NewNullLogger()}).Serve(t.Context(), lis)
	if err == nil || !strings.HasPrefix(err.Error(), "gateway: ") {
		t.Errorf("got %v", err)
	}
}

// namedCodec is the codec of frames under another name.
type namedCodec struct {
	codec

	name string
}

func (n namedCodec) Name() string { return n.name }

func TestOnlyProtobufsEncodingIsForwarded(t *testing.T) {
	conn := dial(t, echoHost(t, echo{}).address)
	for name, want := range map[string]codes.Code{"proto": codes.OK, "json": codes.Unimplemented} {
		request := &frame{data: mem.BufferSlice{mem.SliceBuffer{}}}
		err := conn.Invoke(t.Context(), unaryMethod, request, new(frame), grpc.ForceCodecV2(namedCodec{newCodec(), name}))
		if status.Code(err) != want || want != codes.OK && !strings.Contains(err.Error(), "application/grpc+json") {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

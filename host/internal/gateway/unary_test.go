package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
)

func TestAUnaryCallComesBack(t *testing.T) { overEach(t, aUnaryCallComesBack) }

func aUnaryCallComesBack(t trial) {
	h := echoHost(t, echo{})
	for _, payload := range []string{"", "x", strings.Repeat("abc", 100_000)} {
		got, err := h.call(t.Context(), []byte(payload))
		if err != nil || string(got) != payload {
			t.Errorf("%d bytes came back as %d, %v", len(payload), len(got), err)
		}
	}
}

func TestMetadataCrossesTheHostInBothDirections(t *testing.T) {
	overEach(t, metadataCrossesTheHostInBothDirections)
}

func metadataCrossesTheHostInBothDirections(t trial) {
	var got metadata.MD
	h := echoHost(t, echo{unary: func(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		got, _ = metadata.FromIncomingContext(ctx)
		header := metadata.Pairs("h", "1", "h", "2", "h-bin", "\x00\xff")
		trailer := metadata.Pairs("t", "3", "t-bin", "\xfe\x00")
		return r, errors.Join(grpc.SetHeader(ctx, header), grpc.SetTrailer(ctx, trailer))
	}})
	ctx := metadata.AppendToOutgoingContext(t.Context(),
		"k", "one", "k", "two", "k-bin", "\x01\x00\xff", "traceparent", "00-ab-cd-01",
		"authorization", "Bearer secret", "gaia-subsystem", "echo", "gaia-other", "x")
	var header, trailer metadata.MD
	if _, err := h.call(ctx, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][]string{
		"k": {"one", "two"}, "k-bin": {"\x01\x00\xff"}, "traceparent": {"00-ab-cd-01"},
		"authorization": nil, "gaia-subsystem": nil, "gaia-other": nil,
	} {
		if diff := cmp.Diff(want, got.Get(key)); diff != "" {
			t.Errorf("request %s (-want +got):\n%s", key, diff)
		}
	}
	if t.ways.instance == byGRPC { // which sends these itself
		if diff := cmp.Diff([]string{"application/grpc+proto"}, got.Get("content-type")); diff != "" {
			t.Errorf("request content-type (-want +got):\n%s", diff)
		}
		if n := len(got.Get(":authority")); n != 1 {
			t.Errorf("%d authorities", n)
		}
	}
	want := metadata.MD{"h": {"1", "2"}, "h-bin": {"\x00\xff"}}
	if t.ways.caller == byGRPC {
		want.Set("content-type", "application/grpc")
	}
	if diff := cmp.Diff(want, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(metadata.MD{"t": {"3"}, "t-bin": {"\xfe\x00"}}, trailer); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

func TestAPluginsErrorIsPassedOnAsItIs(t *testing.T) {
	overEach(t, aPluginsErrorIsPassedOnAsItIs)
}

func aPluginsErrorIsPassedOnAsItIs(t trial) {
	detail := &errdetails.ErrorInfo{Reason: "R", Domain: "d", Metadata: map[string]string{"a": "b"}}
	h := echoHost(t, echo{unary: func(ctx context.Context, _ *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		if err := grpc.SetTrailer(ctx, metadata.Pairs("t", "3")); err != nil {
			return nil, err
		}
		st, err := status.New(codes.FailedPrecondition, "not \u2013 now").WithDetails(detail)
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	}})
	var trailer metadata.MD
	_, err := h.call(t.Context(), nil, grpc.Trailer(&trailer))
	st := status.Convert(err)
	if st.Code() != codes.FailedPrecondition || st.Message() != "not \u2013 now" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]any{detail}, st.Details(), protocmp.Transform()); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"3"}, trailer.Get("t")); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

func TestTheSubsystemsNameIsAddedOnceToTheHostsOwnErrors(t *testing.T) {
	for given, want := range map[string]string{
		"boom":       "echo: boom",
		"echo: boom": "echo: boom",
		"echoes":     "echo: echoes",
	} {
		if got := status.Convert(named("echo", status.Error(codes.Internal, given))).Message(); got != want {
			t.Errorf("%q became %q, want %q", given, got, want)
		}
	}
	if got := status.Convert(named("echo", fmt.Errorf("x: %w", words{status.Error(codes.Internal, "boom")}))).Message(); got != "boom" {
		t.Errorf("a plugin's words became %q", got)
	}
	if named("echo", nil) != nil {
		t.Error("nil became an error")
	}
	for given, want := range map[error]codes.Code{
		context.DeadlineExceeded:                                     codes.DeadlineExceeded,
		fmt.Errorf("wrapped: %w", context.Canceled):                  codes.Canceled,
		errors.New("plain"):                                          codes.Unknown,
		fmt.Errorf("wrapped: %w", status.Error(codes.NotFound, "x")): codes.NotFound,
	} {
		if got := status.Code(named("echo", given)); got != want {
			t.Errorf("%v became %v, want %v", given, got, want)
		}
	}
}

func TestCompressedCallsAreForwarded(t *testing.T) { overEach(t, compressedCallsAreForwarded) }

func compressedCallsAreForwarded(t trial) {
	h := echoHost(t, echo{})
	payload := bytes.Repeat([]byte("compress me "), 10_000)
	got, err := h.call(t.Context(), payload, grpc.UseCompressor("gzip"))
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("%d bytes came back as %d, %v", len(payload), len(got), err)
	}
}

func TestCancellationReachesTheInstance(t *testing.T) { overEach(t, cancellationReachesTheInstance) }

func cancellationReachesTheInstance(t trial) {
	entered, cancelled := make(chan struct{}), make(chan error, 1)
	h := echoHost(t, echo{unary: func(ctx context.Context, _ *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		close(entered)
		<-ctx.Done()
		cancelled <- ctx.Err()
		return nil, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := h.call(ctx, nil); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-cancelled; !errors.Is(err, context.Canceled) {
		t.Errorf("the instance saw %v", err)
	}
}

func TestTheDeadlineReachesTheInstance(t *testing.T) { overEach(t, theDeadlineReachesTheInstance) }

func theDeadlineReachesTheInstance(t trial) {
	deadlines := make(chan time.Duration, 1)
	e := echo{unary: func(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		at, ok := ctx.Deadline()
		if !ok {
			at = time.Now()
		}
		deadlines <- time.Until(at)
		return r, nil
	}}
	h := startHost(t, Options{}, &Subsystem{
		Name: "echo", Instances: always(serveEcho(t, e)), Gate: gate.New(gate.Config{Limits: gate.Limits{Timeout: time.Minute}}, nil),
	})
	for _, c := range []struct {
		given, atLeast, atMost time.Duration
	}{
		{0, 30 * time.Second, time.Minute},
		{20 * time.Second, 10 * time.Second, 20 * time.Second},
		{time.Hour, 30 * time.Second, time.Minute},
	} {
		ctx := t.Context()
		if c.given > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.given)
			defer cancel()
		}
		if _, err := h.call(ctx, nil); err != nil {
			t.Fatal(err)
		}
		if got := <-deadlines; got < c.atLeast || got > c.atMost {
			t.Errorf("given %v, the instance has %v, want %v to %v", c.given, got, c.atLeast, c.atMost)
		}
	}
}

func TestACallThatTakesTooLongNamesTheCeiling(t *testing.T) {
	overEach(t, aCallThatTakesTooLongNamesTheCeiling)
}

func aCallThatTakesTooLongNamesTheCeiling(t trial) {
	h := startHost(t, Options{}, &Subsystem{
		Name: "echo",
		Gate: gate.New(gate.Config{Limits: gate.Limits{Timeout: 50 * time.Millisecond}}, nil),
		Instances: always(serveEcho(t, echo{unary: func(ctx context.Context, _ *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})),
	})
	_, err := h.call(t.Context(), nil)
	if st := status.Convert(err); st.Code() != codes.DeadlineExceeded || !strings.HasSuffix(st.Message(), "(limits.timeout is 50ms)") ||
		!strings.HasPrefix(st.Message(), "echo: ") {
		t.Errorf("got %v", err)
	}
}

func TestMessagesUpToTheLimitPassAndNoLargerOnes(t *testing.T) {
	overEach(t, messagesUpToTheLimitPassAndNoLargerOnes)
}

func messagesUpToTheLimitPassAndNoLargerOnes(t trial) {
	const overhead = 16 // of a BytesValue's tag and length, at most
	received, large := 0, 0
	h := echoHost(t, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		received = len(r.GetValue())
		return wrapperspb.Bytes(make([]byte, large)), nil
	}})
	_, err := h.call(t.Context(), make([]byte, MaxMessage-overhead))
	if err != nil || received != MaxMessage-overhead {
		t.Errorf("a request just under the limit: %d bytes arrived, %v", received, err)
	}
	large = MaxMessage - overhead
	got, err := h.call(t.Context(), nil)
	if err != nil || len(got) != large {
		t.Errorf("a response just under the limit: %d bytes arrived, %v", len(got), err)
	}
	_, err = h.call(t.Context(), make([]byte, MaxMessage+1))
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "67108864") {
		t.Errorf("a request over the limit: %v", err)
	}
	large = MaxMessage + 1
	_, err = h.call(t.Context(), nil)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "echo: message over the limit of 67108864 bytes") {
		t.Errorf("a response over the limit: %v", err)
	}
}

func TestAUnaryCallNeedsExactlyOneMessage(t *testing.T) {
	h := echoHost(t, echo{unary: func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		t.Error("forwarded")
		return nil, nil
	}})
	for messages, want := range map[int]string{
		0: "echo: a unary method takes one request message, got none",
		2: "echo: a unary method takes one request message, got more",
	} {
		s := h.open(t.Context(), unaryMethod)
		for range messages {
			if err := s.SendMsg(wrapperspb.Bytes([]byte("x"))); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.CloseSend(); err != nil {
			t.Fatal(err)
		}
		_, err := receive(s)
		if st := status.Convert(err); st.Code() != codes.Unimplemented || st.Message() != want {
			t.Errorf("%d messages: got %v", messages, err)
		}
	}
}

func TestTheNamedSubsystemTakesTheCall(t *testing.T) { overEach(t, theNamedSubsystemTakesTheCall) }

func theNamedSubsystemTakesTheCall(t trial) {
	says := func(name string) *Subsystem {
		return &Subsystem{Name: name, Instances: always(serveEcho(t, echo{
			unary: func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
				return wrapperspb.Bytes([]byte(name)), nil
			},
		}))}
	}
	h := startHost(t, Options{}, says("one"), says("two"))
	for _, name := range []string{"one", "two"} {
		got, err := h.call(metadata.AppendToOutgoingContext(t.Context(), "gaia-subsystem", name), nil)
		if err != nil || string(got) != name {
			t.Errorf("got %q, %v, want %q", got, err, name)
		}
	}
	for _, c := range []struct {
		given []string
		code  codes.Code
		want  string
	}{
		{nil, codes.InvalidArgument, `is served by the subsystems "one", "two"`},
		{[]string{"gaia-subsystem", "tow"}, codes.NotFound, `no subsystem "tow"; did you mean "two"?`},
		{[]string{"gaia-subsystem", "one", "gaia-subsystem", "two"}, codes.InvalidArgument, "metadata gaia-subsystem is given 2 times"},
	} {
		_, err := h.call(metadata.AppendToOutgoingContext(t.Context(), c.given...), nil)
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %v %s", c.given, err, c.code, c.want)
		}
	}
}

func TestControlServicesAreNotForwarded(t *testing.T) { overEach(t, controlServicesAreNotForwarded) }

func controlServicesAreNotForwarded(t trial) {
	h := echoHost(t, echo{})
	for _, method := range []string{"/plugin.GRPCController/Shutdown", "/gaia.plugin.v1.Plugin/Configure", "/echo.v1.Echo/Nope"} {
		err := h.Invoke(t.Context(), method, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: got %v", method, err)
		}
	}
}

func TestAFullQueueIsTheCallersAnswer(t *testing.T) { overEach(t, aFullQueueIsTheCallersAnswer) }

func aFullQueueIsTheCallersAnswer(t trial) {
	entered, leave := make(chan struct{}), make(chan struct{})
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{
		unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
			entered <- struct{}{}
			<-leave
			return r, nil
		},
	}))}
	sub.Gate = gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1}}, observer{sub})
	h := startHost(t, Options{}, sub)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := h.call(t.Context(), nil); err != nil {
			t.Error(err)
		}
	})
	<-entered
	_, err := h.call(t.Context(), nil)
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || !strings.HasPrefix(st.Message(), "echo: bulkhead: 1 calls in flight and 0 queued, limits 1 and 0") {
		t.Errorf("got %v", err)
	}
	if len(st.Details()) != 2 {
		t.Errorf("details %v", st.Details())
	}
	close(leave)
	wg.Wait()
	if got := h.metric("gaia_rejected_total", "policy", "bulkhead"); got != 1 {
		t.Errorf("%v rejected", got)
	}
}

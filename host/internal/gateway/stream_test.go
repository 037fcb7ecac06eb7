package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
)

func send(t testing.TB, s grpc.ClientStream, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := s.SendMsg(wrapperspb.Bytes([]byte(m))); err != nil {
			t.Fatal(err)
		}
	}
}

func closeSend(t testing.TB, s grpc.ClientStream) {
	t.Helper()
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
}

// rest reads all that is still to come.
func rest(s grpc.ClientStream) (messages []string, err error) {
	for {
		m, err := receive(s)
		if errors.Is(err, io.EOF) {
			return messages, nil
		}
		if err != nil {
			return messages, err
		}
		messages = append(messages, m)
	}
}

func TestAllKindsOfStreamsAreForwarded(t *testing.T) {
	h := echoHost(t, echo{})
	for _, c := range []struct {
		method      string
		given, want []string
	}{
		{upMethod, []string{"a", "b", "c"}, []string{"abc"}},
		{upMethod, nil, []string{""}},
		{downMethod, []string{"a"}, []string{"a"}},
		{bothMethod, []string{"a", "", "c"}, []string{"a", "", "c"}},
		{bothMethod, nil, nil},
	} {
		s := h.open(t.Context(), c.method, grpc.UseCompressor("gzip"))
		send(t, s, c.given...)
		closeSend(t, s)
		got, err := rest(s)
		if err != nil {
			t.Errorf("%s: %v", c.method, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.method, diff)
		}
	}
}

func TestAConversationGoesBackAndForth(t *testing.T) {
	h := echoHost(t, echo{})
	s := h.open(t.Context(), bothMethod)
	for i := range 100 {
		want := fmt.Sprint(i)
		send(t, s, want)
		if got, err := receive(s); err != nil || got != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	closeSend(t, s)
	if got, err := rest(s); err != nil || got != nil {
		t.Errorf("after the end: %q, %v", got, err)
	}
}

func TestTheHeaderOfAStreamComesBeforeItsMessages(t *testing.T) {
	proceed := make(chan struct{})
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		if err := s.SendHeader(metadata.Pairs("h", "1", "h-bin", "\x00")); err != nil {
			return err
		}
		<-proceed
		s.SetTrailer(metadata.Pairs("t", "2", "t-bin", "\xff"))
		return status.Error(codes.Aborted, "enough")
	}})
	s := h.open(t.Context(), bothMethod)
	header, err := s.Header() // while the instance waits
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metadata.MD{"content-type": {"application/grpc"}, "h": {"1"}, "h-bin": {"\x00"}}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	close(proceed)
	if _, err := receive(s); status.Code(err) != codes.Aborted || status.Convert(err).Message() != "enough" {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(metadata.MD{"t": {"2"}, "t-bin": {"\xff"}}, s.Trailer()); diff != "" {
		t.Errorf("trailer (-want +got):\n%s", diff)
	}
}

func TestMessagesBeforeAnErrorArrive(t *testing.T) {
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		if err := s.RecvMsg(new(wrapperspb.BytesValue)); err != nil {
			return err
		}
		for range 3 {
			if err := s.SendMsg(wrapperspb.Bytes([]byte("x"))); err != nil {
				return err
			}
		}
		return status.Error(codes.DataLoss, "gone")
	}})
	s := h.open(t.Context(), downMethod)
	send(t, s, "")
	closeSend(t, s)
	got, err := rest(s)
	if len(got) != 3 || status.Code(err) != codes.DataLoss {
		t.Errorf("got %q, %v", got, err)
	}
}

// The instance answers without reading what the caller sends. The caller
// learns the outcome at once, and the pump of requests must not stay behind:
// startHost checks that.
func TestAnInstanceMayEndAStreamBeforeTheCallerDoes(t *testing.T) {
	h := echoHost(t, echo{stream: func(grpc.ServerStream) error { return status.Error(codes.PermissionDenied, "no") }})
	s := h.open(t.Context(), bothMethod)
	if _, err := receive(s); status.Code(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
}

func TestCancellingAStreamReachesTheInstance(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		close(entered)
		<-s.Context().Done()
		ended <- s.Context().Err()
		return nil
	}})
	ctx, cancel := context.WithCancel(t.Context())
	s := h.open(ctx, bothMethod)
	<-entered
	cancel()
	if _, err := receive(s); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the instance saw %v", err)
	}
}

func TestACallerWhoVanishesEndsTheStream(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan struct{})
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		close(entered)
		<-s.Context().Done()
		close(ended)
		return nil
	}})
	gone := dial(t, h.address)
	if _, err := gone.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, bothMethod); err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestAStreamHasNoCeilingButTheCallersDeadline(t *testing.T) {
	deadlines := make(chan bool, 1)
	e := echo{stream: func(s grpc.ServerStream) error {
		_, ok := s.Context().Deadline()
		deadlines <- ok
		return nil
	}}
	h := startHost(t, Options{}, &Subsystem{
		Name: "echo", Instances: always(serveEcho(t, e)), Gate: gate.New(gate.Config{Limits: gate.Limits{Timeout: time.Minute}}, nil),
	})
	if _, err := rest(h.open(t.Context(), bothMethod)); err != nil {
		t.Fatal(err)
	}
	if <-deadlines {
		t.Error("a stream without a deadline got one")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := rest(h.open(ctx, bothMethod)); err != nil {
		t.Fatal(err)
	}
	if !<-deadlines {
		t.Error("the caller's deadline was lost")
	}
}

func TestASlowReaderSlowsTheInstance(t *testing.T) {
	const size, total = 64 << 10, 600 // 37 MiB
	var sent atomic.Int64
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		message := wrapperspb.Bytes(make([]byte, size))
		for range total {
			if err := s.SendMsg(message); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	}})
	s := h.open(t.Context(), downMethod)
	send(t, s, "")
	closeSend(t, s)
	if _, err := receive(s); err != nil {
		t.Fatal(err)
	}
	// The instance fills the windows between it and the reader and then waits.
	last, still := int64(-1), 0
	eventually(t, "the instance waits", func() bool {
		if now := sent.Load(); now != last {
			last, still = now, 0
		}
		still++
		return still > 300
	})
	t.Logf("%d of %d messages were sent", last, total)
	if last >= total/2 {
		t.Errorf("%d messages of %d KiB were taken in without a reader", last, size>>10)
	}
	got, err := rest(s)
	if err != nil || len(got) != total-1 {
		t.Errorf("%d messages came, want %d (%v)", len(got), total-1, err)
	}
}

func TestAMessageOverTheLimitEndsTheStream(t *testing.T) {
	ended := make(chan struct{})
	h := echoHost(t, echo{stream: func(s grpc.ServerStream) error {
		defer close(ended)
		return echoStream(s, false)
	}})
	s := h.open(t.Context(), bothMethod)
	send(t, s, "fine")
	if got, err := receive(s); err != nil || got != "fine" {
		t.Errorf("got %q, %v", got, err)
	}
	if err := s.SendMsg(wrapperspb.Bytes(make([]byte, MaxMessage+1))); err != nil && !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	_, err := receive(s)
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "67108864") {
		t.Errorf("got %v", err)
	}
	<-ended // the stream to the instance was cancelled
	eventually(t, "the call is counted", func() bool { return h.metric("gaia_calls_total", "code", "ResourceExhausted") == 1 })
}

func TestAStreamHoldsItsPlaceInTheBulkheadWhileItIsOpen(t *testing.T) {
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{})), Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1}}, nil)}
	h := startHost(t, Options{}, sub)
	s := h.open(t.Context(), bothMethod)
	send(t, s, "x")
	if _, err := receive(s); err != nil {
		t.Fatal(err)
	}
	if _, err := h.call(t.Context(), nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	closeSend(t, s)
	if _, err := rest(s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the place is free", func() bool { return sub.Gate.InFlight() == 0 })
	if _, err := h.call(t.Context(), nil); err != nil {
		t.Errorf("after the stream: %v", err)
	}
}

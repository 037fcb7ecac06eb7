package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gaia-go/gaia/host/internal/door/rpc/testdata/suites/conformancev1"
)

func TestMessagesAreLargeAndBounded(t *testing.T) {
	h := startHouse(t)
	for _, address := range []string{"unix:" + h.socket, h.http} {
		client := testpb.NewTestServiceClient(h.dial(t, address))
		for size, want := range map[int]codes.Code{20 << 20: codes.OK, 65 << 20: codes.ResourceExhausted} {
			r, err := client.UnaryCall(t.Context(), &testpb.SimpleRequest{ResponseSize: 1 << 20, Payload: &testpb.Payload{Body: make([]byte, size)}})
			if status.Code(err) != want || err == nil && len(r.GetPayload().GetBody()) != 1<<20 {
				t.Errorf("%s: %d bytes: got %v, want %v", address, size, err, want)
			}
		}
	}
}

// TestACallThatIsOverIsNotHeldByItsRequest opens streams that never end, of
// callers who go on sending nothing.
func TestACallThatIsOverIsNotHeldByItsRequest(t *testing.T) {
	h := startHouse(t)
	bidi, err := conformancev1.NewConformanceServiceClient(h.dial(t, h.http)).BidiStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := bidi.Send(&conformancev1.BidiStreamRequest{FullDuplex: true, ResponseDefinition: &conformancev1.StreamResponseDefinition{
		Error: &conformancev1.Error{Code: conformancev1.Code_CODE_DATA_LOSS},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := bidi.Recv(); status.Code(err) != codes.DataLoss {
		t.Errorf("got %v, want the plugin's error", err)
	}
	for path, kind := range map[string]string{
		"StreamingInputCall": "application/connect+json", // half a stream
		"UnaryCall":          "application/json",         // half a message
	} {
		body, end := io.Pipe()
		defer end.Close()
		go func() { _, _ = end.Write([]byte{0, 0, 0, 0, 2, '{', '}'}) }()
		got := h.ask(t, http.MethodPost, testService+path, body, "Content-Type: "+kind, "Connect-Timeout-Ms: 200")
		if !strings.Contains(got.body, "deadline_exceeded") {
			t.Errorf("%s: got %d %s, want the deadline", path, got.code, got.body)
		}
	}
}

// TestACallerWhoDoesNotReadIsNotWaitedFor asks for more than the buffers of a
// connection hold and reads nothing.
func TestACallerWhoDoesNotReadIsNotWaitedFor(t *testing.T) {
	h := startHouse(t)
	request := &testpb.StreamingOutputCallRequest{}
	for range 64 {
		request.ResponseParameters = append(request.ResponseParameters, &testpb.ResponseParameters{Size: 1 << 20})
	}
	data, err := proto.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(data))), data...)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+h.http+testService+"StreamingOutputCall", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/connect+proto"}, "Connect-Timeout-Ms": {"300"}}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	w, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	route, err := h.registry.Route(testService+"EmptyCall", "")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for route.Value.Gate.InFlight() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("the call is still under way")
		}
	}
}

func TestManyCallsOfAllKindsLeaveNothing(t *testing.T) {
	h := startHouse(t)
	conn := h.dial(t, h.http)
	client := testpb.NewTestServiceClient(conn)
	done := make(chan error, 64)
	for i := range cap(done) {
		go func() { done <- callAndLeave(t.Context(), client, i) }()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// callAndLeave opens a stream both ways, and leaves it as the number says.
func callAndLeave(ctx context.Context, client testpb.TestServiceClient, how int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range how % 7 {
		if err := stream.Send(&testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 100}}}); err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	if how%2 == 0 {
		return nil // cancelled in the middle
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("got %w, want the end", err)
	}
	return nil
}

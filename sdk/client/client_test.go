package client_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/client"
	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"github.com/gaia-go/gaia/sdk/link"
)

// newHost returns a host that is not started. It has to come first in a test,
// at whose end nothing may be left.
func newHost(tb testing.TB) *host {
	tb.Helper()
	return &host{tb: tb, path: filepath.Join(proctest.LeavesNothing(tb), "s")}
}

// live starts the host and ends it with the test.
func (h *host) live() *host {
	h.tb.Helper()
	h.start()
	h.tb.Cleanup(h.die)
	return h
}

func (h *host) dial(options ...client.Option) *client.Conn {
	h.tb.Helper()
	conn, err := client.Dial(h.tb.Context(), h.path, options...)
	if err != nil {
		h.tb.Fatal(err)
	}
	h.tb.Cleanup(func() { conn.Close() }) // a test may have closed it
	return conn
}

// patiently bounds what would never come from a client that is broken.
func patiently(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), proctest.Patience)
	tb.Cleanup(cancel)
	return ctx
}

// call makes a unary call and says what carried it.
func call(ctx context.Context, conn grpc.ClientConnInterface, request []byte, options ...grpc.CallOption) (answer []byte, by string, err error) {
	out := new(wrapperspb.BytesValue)
	var header metadata.MD
	err = conn.Invoke(ctx, echoMethod, wrapperspb.Bytes(request), out, append(options, grpc.Header(&header))...)
	return out.GetValue(), strings.Join(header.Get("by"), ","), err
}

// wantCall makes a unary call that is to be carried by one of both.
func wantCall(tb testing.TB, conn *client.Conn, by string) {
	tb.Helper()
	if answer, got, err := call(patiently(tb), conn, []byte("a")); string(answer) != "a" || got != by || err != nil {
		tb.Errorf("got %q by %s, %v; want an echo by %s", answer, got, err, by)
	}
	if got := conn.Transport(); got != by {
		tb.Errorf("Transport says %s, want %s", got, by)
	}
}

// awaitLink waits until unary calls go over the link.
func awaitLink(tb testing.TB, conn *client.Conn) {
	tb.Helper()
	if !proctest.Soon(func() bool { return conn.Transport() == "link" }) {
		tb.Fatal("the link does not come back")
	}
}

func TestWithoutAHostDialNamesTheAddress(t *testing.T) {
	h := newHost(t)
	for _, options := range [][]client.Option{nil, {client.WithoutLink()}} {
		_, err := client.Dial(t.Context(), "unix:"+h.path, options...)
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "unix:"+h.path) {
			t.Errorf("got %v, want that there is no unix:%s", err, h.path)
		}
	}
}

func TestUnaryCallsGoOverTheLink(t *testing.T) {
	h := newHost(t).live()
	wantCall(t, h.dial(), "link")
	conn, err := client.Dial(t.Context(), "unix://"+h.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wantCall(t, conn, "link")
}

func TestAHostThatHasNoLinkIsCalledOverGRPC(t *testing.T) {
	h := newHost(t)
	h.noLink = true
	wantCall(t, h.live().dial(), "grpc")
}

func TestWithoutLinkNobodyIsGreeted(t *testing.T) {
	h := newHost(t).live()
	conn := h.dial(client.WithoutLink())
	wantCall(t, conn, "grpc")
	<-time.After(300 * time.Millisecond) // more than a link is looked for again
	if n := h.greetings(); n != 0 {
		t.Errorf("the link was greeted %d times", n)
	}
}

func TestWhatIsNotForTheLinkGoesOverGRPC(t *testing.T) {
	conn := newHost(t).live().dial()
	for _, size := range []int{link.MaxPayload, 1 << 20, 8 << 20} {
		request := bytes.Repeat([]byte("x"), size) // with what protobuf adds
		if answer, by, err := call(patiently(t), conn, request); !bytes.Equal(answer, request) || by != "grpc" || err != nil {
			t.Errorf("%d bytes: got %d by %q, %v; want an echo by grpc", size, len(answer), by, err)
		}
	}
	stream, err := conn.NewStream(patiently(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, streamMethod)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		got := new(wrapperspb.BytesValue)
		if err := errors.Join(stream.SendMsg(wrapperspb.Bytes([]byte(text))), stream.RecvMsg(got)); err != nil || string(got.GetValue()) != text {
			t.Errorf("got %q, %v; want %s", got.GetValue(), err, text)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	wantCall(t, conn, "link")
}

func TestWhoseHostDiesWorksAgainWhenItIsBack(t *testing.T) {
	for name, options := range map[string][]client.Option{"link": nil, "grpc": {client.WithoutLink()}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.start()
			conn := h.dial(options...)
			wantCall(t, conn, name)
			h.die()
			for range 3 {
				if _, _, err := call(patiently(t), conn, nil); status.Code(err) != codes.Unavailable {
					t.Errorf("without a host: got %v, want Unavailable", err)
				}
				<-time.After(100 * time.Millisecond) // so that others than the first meet a client that waits
			}
			h.live()
			if !proctest.Soon(func() bool {
				_, _, err := call(patiently(t), conn, nil)
				return err == nil
			}) {
				t.Fatal("calls still fail when the host is back")
			}
			if name == "link" {
				awaitLink(t, conn)
			}
			wantCall(t, conn, name)
		})
	}
}

// A busy host must not cost its callers the link for as long as they live.
func TestALinkThatDoesNotAnswerAtFirstIsTriedAgain(t *testing.T) {
	h := newHost(t)
	var tries atomic.Int32
	h.greet = func(net.Conn) bool { return tries.Add(1) > 2 }
	conn := h.live().dial()
	wantCall(t, conn, "grpc")
	awaitLink(t, conn)
	wantCall(t, conn, "link")
}

func TestAContextThatEndsIsAnErrorOfDial(t *testing.T) {
	h := newHost(t)
	h.greet = func(conn net.Conn) bool { // it says nothing until the other end has gone
		for {
			if _, err := conn.Read(make([]byte, 100)); err != nil {
				return false
			}
		}
	}
	h.live()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Dial(ctx, h.path); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), h.path) {
		t.Errorf("got %v, want that the time for %s is over", err, h.path)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Dial(cancelled, h.path, client.WithoutLink()); err == nil {
		t.Error("Dial does not mind a context that has ended")
	}
}

func TestCloseCancelsCallsInFlight(t *testing.T) {
	for name, size := range map[string]int{"link": 1, "grpc": link.MaxPayload + 1} {
		t.Run(name, func(t *testing.T) {
			const calls = 20
			h := newHost(t)
			begun := make(chan struct{}, calls)
			h.answer = func(ctx context.Context, _ []byte) ([]byte, error) {
				begun <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			conn := h.live().dial()
			ended := make(chan error, calls)
			for range calls {
				go func() {
					_, _, err := call(patiently(t), conn, make([]byte, size))
					ended <- err
				}()
			}
			for range calls {
				<-begun
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			for range calls {
				if err := <-ended; status.Code(err) != codes.Canceled {
					t.Errorf("in flight: got %v, want Canceled", err)
				}
			}
			if _, _, err := call(patiently(t), conn, make([]byte, size)); status.Code(err) != codes.Canceled {
				t.Errorf("afterwards: got %v, want Canceled", err)
			}
		})
	}
}

func TestOnFinishIsToldOnceWhateverCarriesTheCall(t *testing.T) {
	h := newHost(t)
	h.answer = func(_ context.Context, request []byte) ([]byte, error) {
		if len(request) == 0 {
			return nil, status.Error(codes.NotFound, "as asked")
		}
		return request, nil
	}
	h.start()
	conn := h.dial()
	check := func(name string, request []byte, want codes.Code, more ...grpc.CallOption) {
		t.Helper()
		var told []error
		tell := func(err error) { told = append(told, err) }
		options := append([]grpc.CallOption{grpc.OnFinish(tell), grpc.WaitForReady(false), grpc.OnFinish(tell)}, more...)
		_, _, err := call(patiently(t), conn, request, options...)
		if status.Code(err) != want || len(told) != 2 || status.Code(told[0]) != want || status.Code(told[1]) != want {
			t.Errorf("%s: got %v, told %v; want %v, once to each", name, err, told, want)
		}
	}
	check("by the link", []byte("a"), codes.OK)
	check("an error by the link", nil, codes.NotFound)
	check("too large for the link", make([]byte, link.MaxPayload+1), codes.OK)
	check("an option that the link does not know", []byte("a"), codes.OK, grpc.CallContentSubtype("proto"))
	h.die()
	check("without a host", []byte("a"), codes.Unavailable)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	check("after Close", []byte("a"), codes.Canceled)
}

func TestInAStormOfRestartsEachCallEndsAndNoAnswerIsAnothers(t *testing.T) {
	const callers, restarts = 64, 10
	h := newHost(t)
	h.answer = func(_ context.Context, request []byte) ([]byte, error) { return bytes.Repeat(request, 2), nil }
	h.start()
	conn := h.dial()
	var over atomic.Bool
	var answered, failed [restarts + 1]atomic.Int64 // by how often the host was started again
	var life atomic.Int32
	var storm sync.WaitGroup
	ctx := patiently(t)
	for caller := range callers {
		storm.Go(func() {
			for n := uint64(0); !over.Load(); n++ {
				request := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(caller)), n)
				if n%50 == 49 { // over gRPC
					request = append(request, make([]byte, link.MaxPayload)...)
				}
				now := life.Load()
				answer, _, err := call(ctx, conn, request)
				switch {
				case status.Code(err) == codes.Unavailable:
					failed[now].Add(1)
				case err != nil:
					t.Errorf("got %v, want an answer or Unavailable", err)
				case !bytes.Equal(answer, bytes.Repeat(request, 2)):
					t.Errorf("call %d of caller %d got the answer of another (%d bytes)", n, caller, len(answer))
				default:
					answered[now].Add(1)
				}
			}
		})
	}
	for i := range restarts {
		if !proctest.Soon(func() bool { return answered[i].Load() > 100 }) {
			t.Errorf("in life %d there were %d answers", i, answered[i].Load())
		}
		h.die()
		h.start()
		life.Add(1)
	}
	if !proctest.Soon(func() bool { return answered[restarts].Load() > 100 }) {
		t.Errorf("in the last life there were %d answers", answered[restarts].Load())
	}
	over.Store(true)
	storm.Wait()
	awaitLink(t, conn)
	wantEcho := func() bool {
		answer, by, err := call(ctx, conn, []byte("a"))
		return string(answer) == "aa" && by == "link" && err == nil
	}
	if !wantEcho() {
		t.Error("after the storm the link does not answer")
	}
	h.die()
}

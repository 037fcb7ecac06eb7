package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// stay lets calls in flight, and those that are held, take far longer than a test
// waits for anything.
const stay = "  restart {\n    drain_timeout = \"1h\"\n    hold = \"1h\"\n  }\n"

// openLasting runs a host whose plugins have calls that do not end by themselves.
func openLasting(t *testing.T) *house {
	t.Helper()
	dir := newHouse(t)
	config := fmt.Sprintf(`host { http = "127.0.0.1:0" }
subsystem "file_manager" {
  plugin = "gaia-file-manager"
%[1]s
  config {
    root "workspace" {
      path   = %[2]q
      mode   = "rw"
      create = true
    }
  }
}
subsystem "process_manager" {
  plugin = "gaia-process-manager"
%[1]s
  config {
    log_dir = %[3]q
    command "sh" {
      path = "/bin/sh"
      args = ["(?s).*"]
    }
  }
}
`, stay, filepath.Join(dir, "workspace"), filepath.Join(dir, "logs"))
	if _, err := os.Stat(headlessShell); err == nil {
		config += "subsystem \"pages\" {\n  plugin = \"gaia-browser-pool\"\n" + stay + "}\n"
	}
	h := open(t, dir, config)
	tty := script("tty", "echo up; sleep 600")
	tty.Spec.Tty = true
	mustStart(t, processv1.NewProcessManagerClient(h.conn), tty)
	return h
}

// lasting is a call that lasts, and how it ends.
type lasting struct {
	name string
	end  <-chan error
}

// last makes calls that last, one of each kind.
func (h *house) last(t *testing.T) []lasting {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	files, processes := filev1.NewFileManagerClient(h.conn), processv1.NewProcessManagerClient(h.conn)
	var calls []lasting
	watch, err := files.Watch(ctx, &filev1.WatchRequest{Root: "workspace", Existing: true})
	calls = append(calls, lasting{"file_manager Watch", begun(t, watch, err)})
	events, err := processes.Events(ctx, &processv1.EventsRequest{})
	calls = append(calls, lasting{"process_manager Events", begun(t, events, err)})
	logs, err := processes.Logs(ctx, &processv1.LogsRequest{Name: "tty", Follow: true})
	calls = append(calls, lasting{"process_manager Logs", begun(t, logs, err)})
	attach, err := processes.Attach(ctx)
	if err == nil {
		err = attach.Send(&processv1.AttachRequest{Name: "tty", Input: []byte("x")}) // which is echoed
	}
	return append(calls, lasting{"process_manager Attach", begun(t, attach, err)})
}

// begun waits for the first message of a stream, and tells how it ends.
func begun[T any](t *testing.T, stream grpc.ServerStreamingClient[T], err error) <-chan error {
	t.Helper()
	if err == nil {
		_, err = stream.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error, 1)
	go func() {
		for err == nil {
			_, err = stream.Recv()
		}
		end <- err
	}()
	return end
}

// follow follows the events of a session, and tells the last one. Without a
// browser it tells that at once.
func (h *house) follow(t *testing.T) <-chan string {
	t.Helper()
	last := make(chan string, 1)
	if _, err := os.Stat(headlessShell); err != nil {
		last <- "draining"
		return last
	}
	session, err := h.browser().Open(t.Context(), &browserv1.OpenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := h.browser().Events(context.WithoutCancel(t.Context()), &browserv1.EventsRequest{Session: session.GetSession()})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var ended string
		for {
			e, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				last <- ended
				return
			}
			if err != nil {
				last <- err.Error()
				return
			}
			ended = e.GetEnded()
		}
	}()
	return last
}

// wantCallAgain checks that callers are told to call again, and not how the host
// knows that.
func wantCallAgain(t *testing.T, what string, err error) {
	t.Helper()
	st := status.Convert(err)
	details := st.Details()
	if len(details) == 1 {
		if _, ok := details[0].(*errdetails.RetryInfo); ok && st.Code() == codes.Unavailable {
			return
		}
	}
	t.Errorf("%s ended with %v and %v, want Unavailable and a RetryInfo", what, err, details)
}

func TestOpenStreamsDoNotHoldUpTheHostsStop(t *testing.T) {
	h := openLasting(t)
	calls, browser := h.last(t), h.follow(t)
	waited := make(chan error, 1)
	go func() {
		_, err := processv1.NewProcessManagerClient(h.conn).Wait(context.WithoutCancel(t.Context()), &processv1.WaitRequest{Name: "tty"})
		waited <- err
	}()
	h.await(t, "process_manager", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 4 })
	awaitEnd := h.terminate(t)
	for _, c := range calls {
		wantCallAgain(t, c.name, <-c.end)
	}
	if err := <-waited; status.Code(err) != codes.Unavailable {
		t.Errorf("process_manager Wait: got %v, want Unavailable", err)
	}
	if last := <-browser; last != "draining" {
		t.Errorf("browser_pool Events ended with %q, want draining", last)
	}
	awaitEnd()
}

// terminate ends the host while there are calls. What it returns waits for the
// end.
func (h *house) terminate(t *testing.T) (await func()) {
	t.Helper()
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		select {
		case err := <-h.ended:
			if err != nil {
				t.Errorf("the host ended with %v\n%s", err, h.stderr)
			}
		case <-time.After(patience):
			t.Errorf("the host still ran %v after SIGTERM\n%s", patience, h.stderr)
		}
	}
}

func TestOpenStreamsDoNotHoldUpASwapAndWaitingCallsGoOnAfterIt(t *testing.T) {
	h := openLasting(t)
	calls, browser := h.last(t), h.follow(t)
	processes, files := processv1.NewProcessManagerClient(h.conn), filev1.NewFileManagerClient(h.conn)
	mustStart(t, processes, script("worker", "read line; exit 7"))
	input := script("gate", "cat")
	input.Spec.Stdin = true
	mustStart(t, processes, input)
	lock, err := files.Lock(t.Context(), &filev1.LockRequest{Root: "workspace", Path: "a"})
	if err != nil {
		t.Fatal(err)
	}
	waited, locked := make(chan error, 1), make(chan error, 1)
	go func() {
		r, err := processes.Wait(context.WithoutCancel(t.Context()), &processv1.WaitRequest{Name: "gate"})
		if err == nil && r.GetProcess().GetExit().GetCode() != 0 {
			err = fmt.Errorf("got %v", r)
		}
		waited <- err
	}()
	go func() {
		_, err := files.Lock(context.WithoutCancel(t.Context()), &filev1.LockRequest{Root: "workspace", Path: "a", Wait: durationpb.New(time.Hour)})
		locked <- err
	}()
	h.await(t, "process_manager", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 4 })
	h.await(t, "file_manager", func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 2 })

	for _, name := range []string{"file_manager", "process_manager", "pages"} {
		if _, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: name}); err != nil && name != "pages" {
			t.Fatal(err)
		}
	}
	for _, c := range calls {
		wantCallAgain(t, c.name, <-c.end)
	}
	if last := <-browser; last != "draining" {
		t.Errorf("browser_pool Events ended with %q, want draining", last)
	}
	if _, err := processes.Input(t.Context(), &processv1.InputRequest{Name: "gate", Close: true}); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Errorf("process_manager Wait: %v, want that it goes on with the next instance", err)
	}
	if _, err := files.Unlock(t.Context(), &filev1.UnlockRequest{Root: "workspace", Path: "a", Token: lock.GetToken()}); err != nil {
		t.Fatal(err)
	}
	if err := <-locked; err != nil {
		t.Errorf("file_manager Lock: %v, want that it goes on with the next instance", err)
	}
	h.last(t) // they may be made again

}

func TestACallInFlightIsAnsweredWhenTheHostStops(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(stay, "echo"), "echo")
	end := h.hold(t, "echo")
	awaitEnd := h.terminate(t)
	refused := eventually(t, func() bool {
		_, err := h.api().Do(t.Context(), &apiv1.DoRequest{})
		return status.Code(err) == codes.Unavailable
	})
	if !refused {
		t.Error("new calls are taken after SIGTERM")
	}
	if r := end(); r.GetStatus() != 200 {
		t.Errorf("got %v, want the answer", r)
	}
	awaitEnd()
}

func TestAStreamThatKnowsOfNoDrainIsCutWhenItsTimeIsOver(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  restart { drain_timeout = \"50ms\" }\n", "stream"), "stream")
	before := h.status(t, "stream")
	stream, err := h.conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/fleet.Stream/Down")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(stream.SendMsg(wrapperspb.Int64(1)), stream.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if _, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: "stream"}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = stream.RecvMsg(new(wrapperspb.BytesValue))
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	if after := h.await(t, "stream", isReady); after.GetGeneration() != before.GetGeneration()+1 {
		t.Errorf("got %v, want the next generation", after)
	}
}

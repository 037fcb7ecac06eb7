package processes

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

func TestLogsFollowAProcessAcrossRestartsUntilItsEnd(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("echo run; sleep .02; exit 1"), Restart: always(.001, 3)})
	stream, err := b.Logs(b.context(), &processv1.LogsRequest{Name: "one", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.GetOffset() != uint64(log.Len()) {
			t.Errorf("offset %d, want %d", r.GetOffset(), log.Len())
		}
		log.Write(r.GetContent())
	}
	if log.String() != "run\nrun\nrun\n" {
		t.Errorf("got %q", log.String())
	}
	if p := b.get("one"); p.GetLogStart() != 0 || p.GetLogEnd() != 12 {
		t.Errorf("got %v", p)
	}
}

func TestLogsOfWhatIsNotThereAreRefused(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("exit 0")})
	for want, r := range map[string]*processv1.LogsRequest{
		`"two"`:       {Name: "two"},
		"only one of": {Name: "one", Offset: new(uint64), Tail: 3},
		"tail":        {Name: "one", Tail: 100_001},
	} {
		stream, err := b.Logs(b.context(), r)
		if err == nil {
			_, err = stream.Recv()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestOutputWithoutNewlinesAndWithoutEndIsKeptWithinBounds(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{
		Name: "one", Spec: shell("head -c 3000000 /dev/zero; printf end"),
		Logs: &processv1.LogPolicy{SegmentSize: 100_000, MaxSize: 300_000},
	})
	p := b.wait("one")
	if p.GetLogEnd() != 3000003 || p.GetLogEnd()-p.GetLogStart() > 300_000 || p.GetLogEnd()-p.GetLogStart() < 100_000 {
		t.Errorf("the log is from %d to %d, want up to 300000 bytes before 3000003", p.GetLogStart(), p.GetLogEnd())
	}
	stream, err := b.Logs(b.context(), &processv1.LogsRequest{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetOffset() != p.GetLogStart() {
		t.Errorf("got offset %d and %v, want %d", first.GetOffset(), err, p.GetLogStart())
	}
}

func TestInputReachesAProcessAndItsEndDoes(t *testing.T) {
	b := open(t, testConfig(t))
	spec := shell("cat; echo end")
	spec.Stdin = true
	b.start(&processv1.StartRequest{Name: "one", Spec: spec})
	send := func(content string, end bool) error {
		_, err := b.Input(b.context(), &processv1.InputRequest{Name: "one", Content: []byte(content), Close: end})
		return err
	}
	if err := send("hello\n", false); err != nil {
		t.Fatal(err)
	}
	b.awaitLog("one", "hello\n")
	if err := send("bye\n", true); err != nil {
		t.Fatal(err)
	}
	b.wait("one")
	if log := b.log("one"); log != "hello\nbye\nend\n" {
		t.Errorf("got %q", log)
	}
	refused(t, send("x", false), codes.FailedPrecondition, "EXITED")
	b.start(&processv1.StartRequest{Name: "two", Spec: shell("sleep 60")})
	_, err := b.Input(b.context(), &processv1.InputRequest{Name: "two"})
	refused(t, err, codes.FailedPrecondition, "without `stdin`")
}

func TestInputThatNobodyReadsEndsWithItsCall(t *testing.T) {
	b := open(t, testConfig(t))
	spec := shell("read line; echo $line; sleep 60")
	spec.Stdin = true
	b.start(&processv1.StartRequest{Name: "one", Spec: spec})
	ctx, cancel := context.WithCancel(b.context())
	failed := make(chan error, 1)
	go func() {
		_, err := b.Input(ctx, &processv1.InputRequest{Name: "one", Content: []byte("first\n" + strings.Repeat("x", 1<<20))})
		failed <- err
	}()
	b.awaitLog("one", "first\n")
	cancel()
	refused(t, <-failed, codes.Canceled)
	if p := b.stop("one", nil); p.GetState() != processv1.State_EXITED {
		t.Errorf("got %v", p)
	}
}

// attach attaches to a terminal.
func (b *bench) attach(name string) processv1.ProcessManager_AttachClient {
	b.t.Helper()
	stream, err := b.Attach(b.context())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := stream.Send(&processv1.AttachRequest{Name: name, Size: &processv1.WindowSize{Rows: 33, Columns: 77}}); err != nil {
		b.t.Fatal(err)
	}
	return stream
}

// until reads until some text has come, or the exit.
func until(t *testing.T, stream processv1.ProcessManager_AttachClient, text string) (string, *processv1.ExitReason) {
	t.Helper()
	var seen strings.Builder
	for {
		r, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %q: %v", seen.String(), err)
		}
		seen.Write(r.GetOutput())
		if r.GetExit() != nil || text != "" && strings.Contains(seen.String(), text) {
			return seen.String(), r.GetExit()
		}
	}
}

func TestATerminalIsSharedResizedAndLogged(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "tty", Spec: &processv1.Spec{Command: "sh", Args: []string{"-i"}, Tty: true}})
	first, second := b.attach("tty"), b.attach("tty")
	if err := first.Send(&processv1.AttachRequest{Input: []byte("stty size; echo mar''ker\r")}); err != nil {
		t.Fatal(err)
	}
	text, _ := until(t, first, "marker")
	if !strings.Contains(text, "33 77") {
		t.Errorf("the window's size: %q", text)
	}
	until(t, second, "marker")
	if err := second.Send(&processv1.AttachRequest{Input: []byte("exit 6\r")}); err != nil {
		t.Fatal(err)
	}
	for _, stream := range []processv1.ProcessManager_AttachClient{first, second} {
		if _, exit := until(t, stream, ""); exit.GetCode() != 6 {
			t.Errorf("got %v, want exit code 6", exit)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("after the exit: %v, want the end", err)
		}
	}
	b.awaitLog("tty", "marker")
}

func TestAnAttachThatIsNoneIsRefused(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "pipe", Spec: shell("sleep 60")})
	_, err := b.attach("pipe").Recv()
	refused(t, err, codes.FailedPrecondition, "without `tty`")
	_, err = b.attach("none").Recv()
	refused(t, err, codes.NotFound, `"none"`)
}

func TestAnAttachThatLeavesEndsNothing(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "tty", Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", "echo up; sleep 60"}, Tty: true}})
	ctx, cancel := context.WithCancel(b.context())
	stream, err := b.Attach(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&processv1.AttachRequest{Name: "tty"}); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = stream.Recv()
	refused(t, err, codes.Canceled)
	if p := b.get("tty"); p.GetState() != processv1.State_RUNNING {
		t.Errorf("got %v", p)
	}
}

func TestEventsTellOfAllThatIsAndAllThatChanges(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "before", Spec: shell("sleep 60")})
	stream, err := b.Events(b.context(), &processv1.EventsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	sequence := uint64(0)
	next := func(name string) *processv1.EventsResponse {
		t.Helper()
		for {
			e, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if sequence++; e.GetSequence() != sequence {
				t.Errorf("sequence %d, want %d", e.GetSequence(), sequence)
			}
			if e.GetProcess().GetName() == name {
				return e
			}
		}
	}
	if e := next("before"); e.GetProcess().GetState() != processv1.State_RUNNING {
		t.Errorf("got %v", e)
	}
	b.start(&processv1.StartRequest{Name: "after", Spec: shell("exit 3")})
	b.wait("after")
	if _, err := b.Remove(b.context(), &processv1.RemoveRequest{Name: "after"}); err != nil {
		t.Fatal(err)
	}
	var states []processv1.State
	for {
		e := next("after")
		if e.GetRemoved() {
			break
		}
		states = append(states, e.GetProcess().GetState())
	}
	want := []processv1.State{processv1.State_STARTING, processv1.State_RUNNING, processv1.State_EXITED}
	if len(states) != len(want) || states[0] != want[0] || states[1] != want[1] || states[2] != want[2] {
		t.Errorf("got %v, want %v", states, want)
	}
}

func TestWhoDoesNotReadEventsIsLetGoAndHoldsUpNobody(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "one", Spec: shell("sleep 60")})
	p, err := b.manager.find("one")
	if err != nil {
		t.Fatal(err)
	}
	slow := b.manager.hub.listen("")
	other := b.manager.hub.listen("two")
	for range maxBehind + 1 {
		b.manager.hub.publish(p, false)
	}
	n := 0
	for range slow.changes { // until it is closed
		n++
	}
	if n != maxBehind || len(other.changes) != 0 {
		t.Errorf("got %d events, and %d of another process; want %d and none", n, len(other.changes), maxBehind)
	}
	b.manager.hub.drop(slow)
	b.manager.hub.drop(other)
}

func TestATerminalOfNoSizeIsRefusedAsSuch(t *testing.T) {
	b := open(t, testConfig(t))
	spec := shell("exec sleep 60")
	spec.Tty = true
	b.start(&processv1.StartRequest{Name: "one", Spec: spec})
	stream, err := b.Attach(b.context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&processv1.AttachRequest{Name: "one", Size: &processv1.WindowSize{Rows: 1 << 20}}); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	refused(t, err, codes.InvalidArgument, "size")
}

func TestWhoGivesUpWritingDoesNotEndTheWriteOfTheNext(t *testing.T) {
	leavesNothing(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(io.Discard, r) }) // until the pipe's end
	in := newInput(w)
	for range 20_000 {
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, _ = in.write(ctx, []byte("x")) // in time or not
		if n, err := in.write(t.Context(), []byte("y")); err != nil {
			t.Errorf("%d bytes were written: %v", n, err)
			break
		}
		cancel()
	}
	if err := in.close(); err != nil {
		t.Error(err)
	}
	reading.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

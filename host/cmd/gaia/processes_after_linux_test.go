package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func TestRestartsBackoffAndTimeoutGoOnAfterACrash(t *testing.T) {
	h, client := openProcesses(t)
	loop := script("loop", "exit 5")
	loop.Restart = &processv1.RestartPolicy{When: processv1.When_ALWAYS, Backoff: durationpb.New(2 * time.Second), Exits: 3}
	mustStart(t, client, loop)
	timeout := script("timeout", "sleep 600")
	timeout.Timeout = durationpb.New(time.Second)
	mustStart(t, client, timeout)
	if !eventually(t, func() bool { return mustGet(t, client, "loop").GetState() == processv1.State_BACKOFF }) {
		t.Fatal(mustGet(t, client, "loop"))
	}
	before := mustGet(t, client, "loop")
	h.crash(t)
	after := mustGet(t, client, "loop")
	if after.GetState() != processv1.State_BACKOFF || after.GetRestarts() != 1 || !after.GetNextStart().AsTime().Equal(before.GetNextStart().AsTime()) || after.GetExit().GetCode() != 5 {
		t.Errorf("before %v\nafter %v", before, after)
	}
	if p := awaitEnd(t, client, "timeout"); p.GetExit().GetCause() != processv1.Cause_TIMEOUT {
		t.Errorf("got %v", p)
	}
	if p := awaitEnd(t, client, "loop"); p.GetState() != processv1.State_FAILED || p.GetRestarts() != 2 {
		t.Errorf("got %v, want that the exits before the crash count", p)
	}
}

func TestInputAndTerminalAreThereAfterACrash(t *testing.T) {
	h, client := openProcesses(t)
	cat := script("cat", "cat")
	cat.Spec.Stdin = true
	mustStart(t, client, cat)
	tty := script("tty", "stty -echo; echo up; read line; echo got $line; exit 6")
	tty.Spec.Tty = true
	mustStart(t, client, tty)
	send := func(text string, end bool) {
		t.Helper()
		if _, err := client.Input(t.Context(), &processv1.InputRequest{Name: "cat", Content: []byte(text), Close: end}); err != nil {
			t.Fatal(err)
		}
	}
	send("before\n", false)
	if !eventually(t, func() bool { return strings.Contains(string(logOf(t, client, "tty")), "up") }) {
		t.Fatalf("the terminal has %q", logOf(t, client, "tty"))
	}
	h.crash(t)
	send("after\n", true)
	if p := awaitEnd(t, client, "cat"); p.GetExit().GetCode() != 0 || string(logOf(t, client, "cat")) != "before\nafter\n" {
		t.Errorf("got %v and %q", p, logOf(t, client, "cat"))
	}
	stream, err := client.Attach(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&processv1.AttachRequest{Name: "tty", Input: []byte("hello\r")}); err != nil {
		t.Fatal(err)
	}
	var output []byte
	for {
		r, err := stream.Recv()
		if err != nil {
			t.Fatalf("after %q: %v", output, err)
		}
		if output = append(output, r.GetOutput()...); r.GetExit() != nil {
			if r.GetExit().GetCode() != 6 || !strings.Contains(string(output), "got hello") {
				t.Errorf("got %v after %q", r.GetExit(), output)
			}
			return
		}
	}
}

func TestAStopGoesOnWhenTheManagerIsKilledMeanwhile(t *testing.T) {
	h, client := openProcesses(t)
	r := script("deaf", "trap '' TERM; echo up; while :; do sleep .1; done")
	r.Ready, r.WaitReady = &processv1.Probe{LogLine: "up"}, true
	mustStart(t, client, r)
	stopped := make(chan error, 1)
	go func() {
		r, err := client.Stop(t.Context(), &processv1.StopRequest{Name: "deaf", Stop: &processv1.StopPolicy{Grace: durationpb.New(time.Second)}, By: "test"})
		if p := r.GetProcess(); err == nil && (p.GetState() != processv1.State_EXITED || p.GetExit().GetCause() != processv1.Cause_REQUESTED || p.GetExit().GetSignal() != "SIGKILL") {
			err = fmt.Errorf("got %v", p)
		}
		stopped <- err
	}()
	if !eventually(t, func() bool { return mustGet(t, client, "deaf").GetState() == processv1.State_STOPPING }) {
		t.Fatal(mustGet(t, client, "deaf"))
	}
	h.crash(t)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestNothingOfAProcessIsLeftAfterTheHost(t *testing.T) {
	h, client := openProcesses(t)
	tag := strconv.Itoa(200_000_000 + os.Getpid())
	mustStart(t, client, script("tree", fmt.Sprintf("trap '' TERM; sleep %[1]s & setsid sleep %[1]s & ( setsid sh -c 'sleep %[1]s & sleep %[1]s' & ); while :; do sleep 1; done", tag)))
	if !eventually(t, func() bool { return len(running(tag)) == 4 }) {
		t.Fatalf("there is %q", running(tag))
	}
	groups := groupsOf(t, h.status(t, manager).GetPid())
	h.crash(t)
	groups = append(groups, groupsOf(t, h.status(t, manager).GetPid())...)
	if n := len(running(tag)); n != 4 {
		t.Errorf("%d of 4 processes have outlived the crash", n)
	}
	h.close(t)
	if left := running(tag); len(left) > 0 {
		t.Errorf("there is %q", left)
	}
	for _, group := range groups {
		if left, _ := filepath.Glob("/sys/fs/cgroup/*" + group); len(left) > 0 {
			t.Errorf("groups are left: %q", left)
		}
	}
}

// groupsOf are the control groups of a process, as paths in their hierarchies.
func groupsOf(t *testing.T, pid int32) (groups []string) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if _, path, ok := strings.Cut(strings.TrimSpace(line), ":/"); ok && strings.Contains(path, "gaia-") {
			groups = append(groups, "/"+path)
		}
	}
	return groups
}

func TestARunEndsWithItsManagerAndLeavesNothing(t *testing.T) {
	h, client := openProcesses(t)
	tag := strconv.Itoa(300_000_000 + os.Getpid())
	ended := make(chan error, 1)
	go func() {
		_, err := client.Run(t.Context(), &processv1.RunRequest{Spec: script("", fmt.Sprintf("setsid sleep %[1]s & sleep %[1]s", tag)).GetSpec()})
		ended <- err
	}()
	if !eventually(t, func() bool { return len(running(tag)) == 2 }) {
		t.Fatalf("there is %q", running(tag))
	}
	h.crash(t)
	if err := <-ended; status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable: the command must not run twice", err)
	}
	if !eventually(t, func() bool { return len(running(tag)) == 0 }) {
		t.Errorf("there is %q", running(tag))
	}
}

func TestAsMuchOutputAsARunMayHaveComesThroughTheHost(t *testing.T) {
	_, client := openProcesses(t)
	const most = 16 << 20
	request := &processv1.RunRequest{Spec: script("", "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2").GetSpec(), MaxOutput: most}
	r, err := client.Run(t.Context(), request, grpc.MaxCallRecvMsgSize(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.GetStdout()) != most || len(r.GetStderr()) != most || r.GetStdoutBytes() != 20_000_000 {
		t.Errorf("got %d and %d bytes of %d", len(r.GetStdout()), len(r.GetStderr()), r.GetStdoutBytes())
	}
}

func TestWhatCouldNotBeStartedIsKnownAfterACrash(t *testing.T) {
	h, client := openProcesses(t)
	spec := &processv1.Spec{Command: "sh", Limits: &processv1.Limits{OpenFiles: 1 << 31}} // more than Linux allows
	_, err := client.Start(t.Context(), &processv1.StartRequest{Name: "one", Spec: spec})
	if status.Code(err) != codes.FailedPrecondition {
		t.Fatalf("got %v", err)
	}
	h.crash(t)
	r, err := client.Get(t.Context(), &processv1.GetRequest{Name: "one"})
	if err != nil || r.GetProcess().GetState() != processv1.State_FAILED || r.GetProcess().GetExit().GetCause() != processv1.Cause_NOT_STARTED {
		t.Errorf("got %v and %v", r, err)
	}
}

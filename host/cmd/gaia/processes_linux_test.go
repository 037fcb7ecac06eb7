package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const manager = "process_manager"

// openProcesses runs a host with a process manager that may start numbers and a
// shell.
func openProcesses(t testing.TB) (*house, processv1.ProcessManagerClient) {
	t.Helper()
	dir := newHouse(t)
	plugins := filepath.Join(dir, "bin/plugins")
	if err := os.Symlink("gaia-process-manager", filepath.Join(plugins, "another-process-manager")); err != nil {
		t.Fatal(err)
	}
	h := open(t, dir, fmt.Sprintf(`
host { http = "127.0.0.1:0" }
subsystem %q {
  plugin = "gaia-process-manager"
  restart {
    stable_after  = "0s"
    drain_timeout = "1s"
    hold          = "10s"
  }
  config {
    log_dir = %q
    command "numbers" {
      path = %q
      args = ["[0-9a-z]+"]
    }
    command "sh" {
      path = "/bin/sh"
      args = ["(?s).*"]
    }
  }
}
`, manager, filepath.Join(dir, "logs"), filepath.Join(dir, "bin/numbers")))
	return h, processv1.NewProcessManagerClient(h.conn)
}

// crash kills the plugin and waits for the next instance.
func (h *house) crash(t testing.TB) {
	t.Helper()
	before := h.await(t, manager, isReady)
	kill(t, before.GetPid())
	h.await(t, manager, func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
}

// logOf is all that a process has written.
func logOf(t testing.TB, client processv1.ProcessManagerClient, name string) []byte {
	t.Helper()
	stream, err := client.Logs(t.Context(), &processv1.LogsRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	var log []byte
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return log
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.GetMissing() > 0 || r.GetOffset() != uint64(len(log)) {
			t.Errorf("the log of %s goes on at %d, %d bytes missing; want %d", name, r.GetOffset(), r.GetMissing(), len(log))
		}
		log = append(log, r.GetContent()...)
	}
}

// isCounted reports whether a log is the numbers from 0 to below count, each once.
func isCounted(log []byte, count int) bool {
	n := 0
	for line := range bytes.Lines(log) {
		if string(line) != strconv.Itoa(n)+"\n" {
			return false
		}
		n++
	}
	return n == count
}

func TestProcessesOutliveCrashAndSwapOfTheirManager(t *testing.T) {
	testAdoption(t, 20, 4, 1)
}

func TestSlowTwoHundredProcessesOutliveTwentyCrashesAndFiveSwaps(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	testAdoption(t, 200, 20, 5)
}

// testAdoption lets processes write numbers while their manager is killed and
// swapped. They are told apart by how long they run: some end between two kills,
// some while there is no manager.
func testAdoption(t *testing.T, processes, kills, swaps int) {
	t.Helper()
	h, client := openProcesses(t)
	const pause = 10 * time.Millisecond
	rounds := kills + swaps
	count := func(i int) int { return 50 + i*rounds*20/processes }
	pids := make(map[string]int32)
	for i := range processes {
		name := fmt.Sprintf("n%03d", i)
		r, err := client.Start(t.Context(), &processv1.StartRequest{Name: name, Spec: &processv1.Spec{
			Command: "numbers", Args: []string{strconv.Itoa(count(i)), pause.String(), strconv.Itoa(i)},
		}})
		if err != nil {
			t.Fatal(err)
		}
		pids[name] = r.GetProcess().GetPid()
	}
	swapped := []string{"another-process-manager", "gaia-process-manager"}
	for n := range rounds {
		if n%(rounds/swaps) != 1 {
			h.crash(t)
		} else if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: manager, Plugin: swapped[n%2]}); err != nil {
			t.Fatal(err)
		}
		list, err := client.List(t.Context(), &processv1.ListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.GetProcesses()) != processes {
			t.Fatalf("%d processes after %d crashes and swaps, want %d", len(list.GetProcesses()), n+1, processes)
		}
		for _, p := range list.GetProcesses() {
			if p.GetPid() != 0 && p.GetPid() != pids[p.GetName()] {
				t.Errorf("%s has pid %d, want %d", p.GetName(), p.GetPid(), pids[p.GetName()])
			}
		}
	}
	for i := range processes {
		name := fmt.Sprintf("n%03d", i)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		r, err := client.Wait(ctx, &processv1.WaitRequest{Name: name})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if exit := r.GetProcess().GetExit(); exit.GetCause() != processv1.Cause_EXIT || exit.GetCode() != int32(i) || r.GetProcess().GetRestarts() != 0 {
			t.Errorf("%s: %v, want exit code %d", name, r.GetProcess(), i)
		}
		if log := logOf(t, client, name); !isCounted(log, count(i)) {
			t.Errorf("%s has written %q at the end of %d bytes, want the numbers below %d, each once", name, log[max(0, len(log)-20):], len(log), count(i))
		}
	}
}

func TestACrashAtAnyMomentLeavesNoOrphanAndNoDouble(t *testing.T) { testStorm(t, 10) }

func TestSlowThreeHundredCrashesAtAnyMomentLeaveNoOrphanAndNoDouble(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	testStorm(t, 300)
}

// testStorm kills the manager while it starts, stops and restarts processes, and
// compares then what it says with what there is.
func testStorm(t *testing.T, rounds int) {
	t.Helper()
	const names = 8
	h, client := openProcesses(t)
	tag := func(i int) string { return fmt.Sprintf("%d%02d", 100_000_000+os.Getpid(), i) } // seconds to sleep
	for round := range rounds {
		before := h.await(t, manager, isReady)
		var calls sync.WaitGroup
		for i := range names {
			calls.Go(func() { _ = anything(t.Context(), client, fmt.Sprint("s", i), tag(i)) }) // errors are to be expected
		}
		<-time.After(rand.N(20 * time.Millisecond))
		kill(t, before.GetPid())
		calls.Wait()
		h.await(t, manager, func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
		for i := range names {
			name := fmt.Sprint("s", i)
			said, there := "", ""
			consistent := eventually(t, func() bool {
				r, err := client.Get(t.Context(), &processv1.GetRequest{Name: name})
				if err != nil && status.Code(err) != codes.NotFound {
					t.Fatal(err)
				}
				said = ""
				if pid := r.GetProcess().GetPid(); pid != 0 {
					said = strconv.Itoa(int(pid))
				}
				there = strings.Join(running(tag(i)), " ")
				return said == there
			})
			if !consistent {
				t.Fatalf("round %d: %s is said to be process %q, but there is %q\n%s", round, name, said, there, h.stderr)
			}
		}
	}
	h.close(t)
	for i := range names {
		if left := running(tag(i)); len(left) > 0 {
			t.Errorf("after the end of the host there is %q", left)
		}
	}
}

// anything does one of the things that can be done with a process.
func anything(ctx context.Context, client processv1.ProcessManagerClient, name, seconds string) error {
	var err error
	switch rand.N(5) {
	case 0:
		_, err = client.Stop(ctx, &processv1.StopRequest{Name: name})
	case 1:
		_, err = client.Restart(ctx, &processv1.RestartRequest{Name: name})
	case 2:
		_, err = client.Remove(ctx, &processv1.RemoveRequest{Name: name})
	default:
		_, err = client.Start(ctx, &processv1.StartRequest{
			Name:    name,
			Spec:    &processv1.Spec{Command: "sh", Args: []string{"-c", "exec sleep " + seconds}},
			Restart: &processv1.RestartPolicy{When: processv1.When_ALWAYS, Exits: -1},
		})
	}
	return err
}

// running are the processes with an argument.
func running(argument string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		line, _ := os.ReadFile(file)
		if slices.Contains(strings.Split(string(line), "\x00"), argument) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// eventually reports whether something becomes true.
func eventually(t *testing.T, is func() bool) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// script is a request to run a shell under a name.
func script(name, text string) *processv1.StartRequest {
	return &processv1.StartRequest{Name: name, Spec: &processv1.Spec{Command: "sh", Args: []string{"-c", text}}}
}

func mustStart(t *testing.T, client processv1.ProcessManagerClient, r *processv1.StartRequest) *processv1.Process {
	t.Helper()
	response, err := client.Start(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return response.GetProcess()
}

func mustGet(t *testing.T, client processv1.ProcessManagerClient, name string) *processv1.Process {
	t.Helper()
	response, err := client.Get(t.Context(), &processv1.GetRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetProcess()
}

// awaitEnd waits until a process has ended for good.
func awaitEnd(t *testing.T, client processv1.ProcessManagerClient, name string) *processv1.Process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := client.Wait(ctx, &processv1.WaitRequest{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return r.GetProcess()
}

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

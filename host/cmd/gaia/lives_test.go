package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// do makes a call that has to succeed.
func (h *house) do(t *testing.T, subsystem string, r *apiv1.DoRequest) *apiv1.DoResponse {
	t.Helper()
	response, err := h.api().Do(withSubsystem(t.Context(), subsystem), r)
	if err != nil {
		t.Fatalf("a call to %s: %v\n%s", subsystem, err, h.stderr)
	}
	return response
}

// kinds returns the events of a subsystem as "generation kind".
func (h *house) kinds(t *testing.T, subsystem string) []string {
	t.Helper()
	stream, err := h.host.Events(t.Context(), &hostv1.EventsRequest{Subsystem: subsystem})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return kinds
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, fmt.Sprintf("%d %s", e.GetGeneration(), e.GetKind()))
	}
}

// hold makes a call that ends when the returned function is called, which
// returns the answer.
func (h *house) hold(t *testing.T, subsystem string) (end func() *apiv1.DoResponse) {
	t.Helper()
	gate := filepath.Join(t.TempDir(), "gate")
	var response *apiv1.DoResponse
	var call sync.WaitGroup
	call.Go(func() {
		var err error
		response, err = h.api().Do(withSubsystem(t.Context(), subsystem), &apiv1.DoRequest{Method: "POST", Url: "test:slow " + gate})
		if err != nil {
			t.Errorf("a call in flight: %v", err)
		}
	})
	h.await(t, subsystem, func(s *hostv1.Subsystem) bool { return s.GetInFlight() > 0 })
	return func() *apiv1.DoResponse {
		if err := os.WriteFile(gate, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		call.Wait()
		return response
	}
}

func TestARestartLosesNoCallAndLetsTheOldInstanceFinish(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	before := h.status(t, "echo")
	end := h.hold(t, "echo")
	r, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	after := r.GetSubsystem()
	if !isReady(after) || after.GetGeneration() != 2 || after.GetPid() == before.GetPid() || after.GetRestarts() != 0 {
		t.Errorf("after the restart: %v", after)
	}
	if err := syscall.Kill(int(before.GetPid()), 0); err != nil {
		t.Errorf("the old instance, with a call in flight: %v", err)
	}
	h.do(t, "echo", &apiv1.DoRequest{})
	if got := end(); header(got, "Plugin") != "fleet-echo" {
		t.Errorf("the call in flight got %v", got)
	}
	for series, want := range map[string]float64{
		`gaia_instance_starts_total{reason="swap",subsystem="echo"}`:    1,
		`gaia_instance_starts_total{reason="restart",subsystem="echo"}`: 0,
		`gaia_instance_up{subsystem="echo"}`:                            1,
		`gaia_instance_generation{subsystem="echo"}`:                    2,
	} {
		if got := h.metric(t, series); got != want {
			t.Errorf("%s: got %v, want %v", series, got, want)
		}
	}
}

func TestASwapTakesAnotherExecutableAndAFailedOneChangesNothing(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other", "fleet-exit")
	h := open(t, dir, fleetConfig("", "echo"), "echo")
	if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: "fleet-other"}); err != nil {
		t.Fatal(err)
	}
	if got := header(h.do(t, "echo", &apiv1.DoRequest{}), "Plugin"); got != "fleet-other" {
		t.Errorf("after the swap %q answers", got)
	}
	before := h.status(t, "echo")
	_, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: "fleet-exit"})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "no license found") {
		t.Errorf("a swap for a plugin that does not start: %v", err)
	}
	if after := h.status(t, "echo"); after.GetPid() != before.GetPid() || !isReady(after) {
		t.Errorf("the failed swap changed %v to %v", before, after)
	}
	if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: "fleet-otter"}); status.Code(err) != codes.NotFound {
		t.Errorf("a swap for what is not there: %v", err)
	}
	// What was swapped in is what comes back after a crash.
	kill(t, before.GetPid())
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetPid() != before.GetPid() })
	if got := header(h.do(t, "echo", &apiv1.DoRequest{}), "Plugin"); got != "fleet-other" {
		t.Errorf("after the crash %q answers", got)
	}
	plugins, err := h.host.ListPlugins(t.Context(), &hostv1.ListPluginsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range plugins.GetPlugins() {
		if isUsed := len(p.GetSubsystems()) == 1 && p.GetSubsystems()[0] == "echo"; isUsed != (p.GetFile() == "fleet-other") {
			t.Errorf("%s is said to be used by %q", p.GetFile(), p.GetSubsystems())
		}
	}
	if d, err := h.host.Describe(t.Context(), &hostv1.DescribeRequest{Name: "echo"}); err != nil || d.GetFile() != "fleet-other" {
		t.Errorf("echo is said to run %q (%v)", d.GetFile(), err)
	}
}

func TestAnExclusivePluginIsPausedAndNotDoubled(t *testing.T) {
	lock := filepath.Join(t.TempDir(), "lock")
	h := open(t, newHouse(t), fleetConfig(fmt.Sprintf("  config { user_agent = %q }\n", lock), "exclusive"), "exclusive")
	stop, callers := make(chan struct{}), sync.WaitGroup{}
	callers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{}); err != nil {
					t.Errorf("a call while the plugin is paused: %v", err)
					return
				}
			}
		}
	})
	for range 3 {
		if _, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: "exclusive"}); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	callers.Wait()
	if s := h.status(t, "exclusive"); !isReady(s) || s.GetGeneration() != 4 {
		t.Errorf("got %v, want generation 4", s)
	}
	// One that cannot have the lock: the one before comes back.
	r := h.configure(t, fleetConfig("  config { user_agent = \"/\" }\n", "exclusive"))
	s := h.await(t, "exclusive", isReady)
	if s.GetGeneration() != 6 || header(h.do(t, "exclusive", &apiv1.DoRequest{}), "Agent") != lock {
		t.Errorf("got %v and %v, want generation 6 with the config before", s, r)
	}
}

func TestASpareTakesOverFromAKilledInstance(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  restart {\n    standby = 1\n    crash_loop { exits = 0 }\n  }\n", "echo"), "echo")
	for range 5 {
		before := h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetSpares() == 1 })
		kill(t, before.GetPid())
		h.do(t, "echo", &apiv1.DoRequest{})
		if after := h.status(t, "echo"); after.GetPid() == before.GetPid() || !isReady(after) {
			t.Errorf("after the kill of %v: %v", before, after)
		}
	}
	if got := h.metric(t, `gaia_instance_starts_total{reason="standby",subsystem="echo"}`); got < 5 {
		t.Errorf("spares started: %v, want at least 5", got)
	}
}

func TestACrashLoopIsQuarantinedUntilAnOperatorOrATrialEndsIt(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  restart {\n    backoff = \"1ms\"\n    crash_loop { exits = 3 }\n  }\n", "echo"), "echo")
	for range 3 {
		h.await(t, "echo", isReady)
		_, _ = h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:exit"}) // it dies of it
	}
	s := h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_QUARANTINED })
	if want := "3 exits within 5m0s: exited with code 4"; !strings.HasPrefix(s.GetReason(), want) || !strings.Contains(s.GetReason(), "next start in") {
		t.Errorf("got reason %q, want %q…", s.GetReason(), want)
	}
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{})
	st := status.Convert(err)
	if st.Code() != codes.Unavailable || len(st.Details()) == 0 {
		t.Fatalf("a call in quarantine: %v", err)
	}
	if _, ok := st.Details()[0].(*errdetails.RetryInfo); !ok {
		t.Errorf("got details %v, want RetryInfo", st.Details())
	}
	if _, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: "echo"}); err != nil {
		t.Fatal(err)
	}
	h.do(t, "echo", &apiv1.DoRequest{})
	if got := strings.Join(h.kinds(t, "echo"), ", "); !strings.Contains(got, "3 exited, 3 quarantined, 4 starting, 4 ready, 4 serving") {
		t.Errorf("events: %s", got)
	}
}

func TestAPluginThatHangsIsMadeToSayWhereAndReplaced(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick+"  health {\n    every = \"50ms\"\n    timeout = \"500ms\"\n    misses = 2\n  }\n", "hangs"), "hangs")
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the call that hangs the plugin: %v", err)
	}
	h.await(t, "hangs", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() == 2 })
	if got := h.metric(t, `gaia_instance_exits_total{reason="health",subsystem="hangs"}`); got != 1 {
		t.Errorf("exits for bad health: got %v, want 1", got)
	}
	if log := h.stderr.String(); !strings.Contains(log, "2 health checks failed in a row") || !strings.Contains(log, "SIGQUIT: quit") {
		t.Errorf("no goroutine dump in the log:\n%s", log)
	}
}

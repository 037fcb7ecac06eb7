package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// configure writes another config and asks the host to apply it.
func (h *house) configure(t *testing.T, config string) *hostv1.ReloadResponse {
	t.Helper()
	h.write(t, config)
	r, err := h.host.Reload(t.Context(), &hostv1.ReloadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) write(t *testing.T, config string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "config.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

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

func TestAReloadChangesOnlyWhatChanged(t *testing.T) {
	dir := newHouse(t)
	block := func(member, lines string) string { return block(member, member, lines) }
	const host, limits = hostBlock, "  limits { concurrency = 7 }\n"
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	h := open(t, dir, host+block("echo", agentIs("one"))+block("live", agentIs("one")), "echo", "live")
	pids := func() (echo, live int32) { return h.status(t, "echo").GetPid(), h.status(t, "live").GetPid() }
	echo1, live1 := pids()

	if r := h.configure(t, host+block("live", agentIs("one"))+block("echo", agentIs("one"))); !r.GetApplied() || len(r.GetChanges()) > 0 {
		t.Errorf("another order: %v, want no change", r)
	}
	r := h.configure(t, host+block("echo", limits+agentIs("one"))+block("live", agentIs("one")))
	if echo, live := pids(); !r.GetApplied() || echo != echo1 || live != live1 {
		t.Errorf("other limits: %v, want the same instances", r)
	}
	r = h.configure(t, host+block("echo", limits+agentIs("two"))+block("live", agentIs("two")))
	echo2, live2 := pids()
	if !r.GetApplied() || echo2 == echo1 || live2 != live1 {
		t.Errorf("another config: %v, want another instance of echo and the same of live", r)
	}
	for _, name := range []string{"echo", "live"} {
		if got := header(h.do(t, name, &apiv1.DoRequest{}), "Agent"); got != "two" {
			t.Errorf("%s has the config %q", name, got)
		}
	}
	r = h.configure(t, host+block("live", agentIs("two"))+block("other", ""))
	h.await(t, "other", isReady)
	if _, err := h.host.Status(t.Context(), &hostv1.StatusRequest{Subsystem: "echo"}); status.Code(err) != codes.NotFound || !r.GetApplied() {
		t.Errorf("a removed subsystem: %v after %v", err, r)
	}
	if _, err := h.api().Do(withSubsystem(t.Context(), "echo"), &apiv1.DoRequest{}); status.Code(err) != codes.NotFound {
		t.Errorf("a call to it: %v", err)
	}
	for result, want := range map[string]float64{"applied": 3, "unchanged": 1, "refused": 0} {
		if got := h.metric(t, fmt.Sprintf("gaia_config_reloads_total{result=%q}", result)); got != want {
			t.Errorf("reloads with result %s: got %v, want %v", result, got, want)
		}
	}
}

func TestAnInvalidReloadNeverDisturbsARunningCall(t *testing.T) {
	const good = "  config { user_agent = \"good\" }\n"
	h := open(t, newHouse(t), fleetConfig(good, "echo", "live"), "echo", "live")
	before := h.status(t, "echo")
	end := h.hold(t, "echo")
	for name, config := range map[string]string{
		"syntax":              "subsystem \"echo\" {",
		"no such argument":    fleetConfig("  plugin_ = 1\n", "echo"),
		"the plugin refuses":  fleetConfig("  config { user_agent = \"refuse\" }\n", "echo", "live"),
		"one of two refuses":  fleetConfig("  config { user_agent = \"better\" }\n", "live") + "subsystem \"echo\" {\n  plugin = \"fleet-echo\"\n  config { user_agent = \"refuse\" }\n}\n",
		"another that exits":  fleetConfig(good, "live") + "subsystem \"echo\" {\n  plugin = \"fleet-exit\"\n}\n",
		"another not present": fleetConfig(good, "live") + "subsystem \"echo\" {\n  plugin = \"fleet-nowhere\"\n}\n",
	} {
		r := h.configure(t, config)
		if r.GetApplied() || r.GetDiagnostics() == "" {
			t.Errorf("%s: %v, want a refusal that says why", name, r)
		}
		if strings.Contains(name, "refuse") && !strings.Contains(r.GetDiagnostics(), "user_agent = \"refuse\" }\n") {
			t.Errorf("%s: the line is not shown:\n%s", name, r.GetDiagnostics())
		}
		for _, s := range []string{"echo", "live"} {
			if got := header(h.do(t, s, &apiv1.DoRequest{}), "Agent"); got != "good" {
				t.Errorf("%s: %s has the config %q", name, s, got)
			}
		}
	}
	if after := h.status(t, "echo"); after.GetPid() != before.GetPid() {
		t.Errorf("the instance changed from %v to %v", before, after)
	}
	end()
}

func TestSIGHUPReloads(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "live"), "live")
	h.write(t, fleetConfig("  config { user_agent = \"hung up\" }\n", "live"))
	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	h.await(t, "live", func(*hostv1.Subsystem) bool {
		return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "hung up"
	})
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

// block is one subsystem of a member of the fleet.
func block(name, member, lines string) string {
	return fmt.Sprintf("subsystem %q {\n  plugin = \"fleet-%s\"\n%s}\n", name, member, lines)
}

func agentIs(a string) string { return fmt.Sprintf("  config { user_agent = %q }\n", a) }

const hostBlock = "host { http = \"127.0.0.1:0\" }\n"

func TestAReloadThatIsGivenUpTakesBackWhatAPluginHadTaken(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-silent")
	h := open(t, dir, hostBlock+block("live", "live", agentIs("one"))+block("echo", "echo", ""), "live", "echo")
	h.write(t, hostBlock+block("live", "live", agentIs("two"))+block("echo", "silent", ""))
	ctx, cancel := context.WithCancel(t.Context())
	given := make(chan error, 1)
	go func() {
		_, err := h.host.Reload(ctx, &hostv1.ReloadRequest{})
		given <- err
	}()
	h.await(t, "live", func(*hostv1.Subsystem) bool { return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "two" })
	cancel()
	if err := <-given; status.Code(err) != codes.Canceled {
		t.Errorf("the reload that was given up: %v", err)
	}
	h.await(t, "live", func(*hostv1.Subsystem) bool { return header(h.do(t, "live", &apiv1.DoRequest{}), "Agent") == "one" })
}

func TestAReplacementThatCameToNothingIsTriedAgainByTheNextReload(t *testing.T) {
	dir := newHouse(t)
	lock := agentIs(filepath.Join(t.TempDir(), "lock"))
	plugins := filepath.Join(dir, "bin/plugins")
	install(t, plugins, "fleet-exit", "fleet-other")
	h := open(t, dir, hostBlock+block("exclusive", "exclusive", lock), "exclusive")
	next := hostBlock + block("exclusive", "other", lock)
	if err := errors.Join(os.Rename(filepath.Join(plugins, "fleet-other"), filepath.Join(plugins, "hidden")), os.WriteFile(filepath.Join(plugins, "fleet-other"), []byte("#!/bin/false\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	h.configure(t, next)
	h.await(t, "exclusive", isReady)
	if err := os.Rename(filepath.Join(plugins, "hidden"), filepath.Join(plugins, "fleet-other")); err != nil {
		t.Fatal(err)
	}
	r := h.configure(t, next)
	if s := h.status(t, "exclusive"); s.GetPlugin() != "fleet-other" {
		t.Errorf("the second reload says %v, and %s runs", r, s.GetPlugin())
	}
}

func TestAReloadOfAConfigLeavesASwappedPluginInItsPlace(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	h := open(t, dir, hostBlock+block("echo", "echo", agentIs("one")), "echo")
	if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: "fleet-other"}); err != nil {
		t.Fatal(err)
	}
	r := h.configure(t, hostBlock+block("echo", "echo", agentIs("two")))
	if got := h.do(t, "echo", &apiv1.DoRequest{}); header(got, "Plugin") != "fleet-other" || header(got, "Agent") != "two" {
		t.Errorf("after %v answers %v", r, got)
	}
}

func TestASubsystemThatIsRemovedStaysSoAndCanComeBackWhileItDrains(t *testing.T) {
	with := hostBlock + block("echo", "echo", "")
	h := open(t, newHouse(t), with, "echo")
	end := h.hold(t, "echo")
	h.configure(t, hostBlock)
	h.configure(t, with)
	h.await(t, "echo", isReady)
	end()
	health := grpc_health_v1.NewHealthClient(h.conn)
	for range 20 { // the old one ends meanwhile
		h.do(t, "echo", &apiv1.DoRequest{})
		r, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: "gaia.api.v1.APIClientPool"})
		if err != nil || r.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("health of a subsystem that serves: %v and %v", r, err)
		}
	}
	for range 20 {
		h.configure(t, hostBlock)
		if _, err := h.api().Do(withSubsystem(t.Context(), "echo"), &apiv1.DoRequest{}); status.Code(err) != codes.NotFound {
			t.Fatalf("a call to a subsystem that was removed: %v", err)
		}
		h.configure(t, with) // and perhaps it is removed while it starts
	}
}

// storm is calls from many callers, of which none may fail, or go wrong, that
// can be repeated; and others of which none may reach the plugin twice.
type storm struct {
	ctx     context.Context //nolint:containedctx // ends the callers
	callers sync.WaitGroup
	good    sync.Map // id of a call that cannot be repeated and was answered
}

func (h *house) storm(t *testing.T, callers int, notes string) (calm func() *storm) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &storm{ctx: ctx}
	for c := range callers {
		s.callers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				h.repeatable(t, fmt.Sprintf("%d-%d", c, n))
				if c%8 == 0 {
					h.unrepeatable(t, s, notes, fmt.Sprintf("%d-%d", c, n))
				}
			}
		})
	}
	return func() *storm {
		cancel()
		s.callers.Wait()
		return s
	}
}

func (h *house) repeatable(t *testing.T, id string) {
	t.Helper()
	r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Body: []byte(id)})
	if err != nil || string(r.GetBody()) != id {
		t.Errorf("call %s: got %q and %v", id, r.GetBody(), err)
	}
}

func (h *house) unrepeatable(t *testing.T, s *storm, notes, id string) {
	t.Helper()
	r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:note " + notes, Body: []byte(id)})
	switch {
	case err == nil && string(r.GetBody()) == id:
		s.good.Store(id, true)
	case status.Code(err) == codes.Unavailable: // its instance was killed
	default:
		t.Errorf("call %s: got %q and %v", id, r.GetBody(), err)
	}
}

// check looks at what the plugin wrote down: no call twice, and each that was
// answered.
func (s *storm) check(t *testing.T, notes string) {
	t.Helper()
	content, err := os.ReadFile(notes)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]int)
	for line := range strings.Lines(string(content)) {
		seen[strings.TrimSpace(line)]++
	}
	for id, times := range seen {
		if times > 1 {
			t.Errorf("call %s reached the plugin %d times", id, times)
		}
	}
	s.good.Range(func(id, _ any) bool {
		if seen[id.(string)] != 1 {
			t.Errorf("call %v was answered and reached the plugin %d times", id, seen[id.(string)])
		}
		return true
	})
	t.Logf("%d calls that cannot be repeated reached the plugin, each once", len(seen))
}

func TestKillsSwapsAndReloadsLoseNoCallThatMayBeRepeated(t *testing.T) {
	kills, others := 20, 4
	if os.Getenv("GAIA_SLOW") != "" {
		kills, others = 100, 20
	}
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-other")
	notes := filepath.Join(dir, "notes")
	config := func(queue int) string {
		return fleetConfig(fmt.Sprintf("  limits { queue = %d }\n  restart {\n    backoff = \"1ms\"\n    max_backoff = \"5ms\"\n    stable_after = \"0s\"\n    hold = \"20s\"\n    crash_loop { exits = 0 }\n  }\n", queue), "echo")
	}
	h := open(t, dir, config(2000), "echo")
	calm := h.storm(t, 64, notes)
	var killed uint64
	next := func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > killed }
	for n := range kills {
		s := h.await(t, "echo", next)
		for i := range 5 + rand.IntN(50) { // at a random moment of its life
			h.repeatable(t, fmt.Sprintf("killer-%d-%d", n, i))
		}
		killed = s.GetGeneration()
		kill(t, s.GetPid())
		if n%(kills/others) > 0 {
			continue
		}
		h.await(t, "echo", next)
		plugin := []string{"fleet-echo", "fleet-other"}[n%2]
		if _, err := h.host.Swap(t.Context(), &hostv1.SwapRequest{Subsystem: "echo", Plugin: plugin}); err != nil {
			t.Errorf("swap %d: %v", n, err)
		}
		if r := h.configure(t, config(2000+n)); !r.GetApplied() {
			t.Errorf("reload %d: %v", n, r)
		}
	}
	h.await(t, "echo", next)
	calm().check(t, notes)
	t.Logf("%d kills, %d swaps, %d reloads on %d CPUs; %v calls repeated, %v held", kills, others, others, runtime.NumCPU(),
		h.metric(t, `gaia_retries_total{subsystem="echo"}`), h.metric(t, `gaia_held_total{subsystem="echo"}`))
}

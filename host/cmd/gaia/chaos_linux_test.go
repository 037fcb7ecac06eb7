package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func limits(lines string) string { return "  limits {\n" + lines + "  }\n" }

// requireGroups skips where the kernel does not let the host limit trees.
func (h *house) requireGroups(t *testing.T, what string) {
	t.Helper()
	s := h.status(t, "echo")
	if !strings.Contains(s.GetConfinement(), what) || !strings.Contains(s.GetConfinement(), "cgroup") {
		t.Skipf("no control groups that can be written here: %q", s.GetConfinement())
	}
}

func TestAPluginThatLeaksMemoryDiesOfItsLimitAndIsSaidTo(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick+limits("    memory = \"128MiB\"\n"), "echo"), "echo")
	h.requireGroups(t, "memory")
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:hog"})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("the call that leaks: %v", err)
	}
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() == 2 })
	h.do(t, "echo", &apiv1.DoRequest{})
	if got := h.metric(t, `gaia_instance_exits_total{reason="oom",subsystem="echo"}`); got != 1 {
		t.Errorf("exits for memory: got %v, want 1\n%s", got, h.stderr)
	}
	if log := h.stderr.String(); !strings.Contains(log, "out of memory: the limit is limits.memory, 128MiB") {
		t.Errorf("the log does not name the limit:\n%s", log)
	}
}

func TestAForkBombStaysWithinItsLimitAndLeavesNobody(t *testing.T) {
	const processes = 60
	h := open(t, newHouse(t), fleetConfig(quick+limits(fmt.Sprintf("    processes = %d\n", processes)), "echo", "other"), "echo", "other")
	h.requireGroups(t, "processes")
	bombed := h.do(t, "echo", &apiv1.DoRequest{Method: "POST", Url: "test:bomb"}).GetStatus()
	if bombed == 0 || bombed >= processes {
		t.Errorf("the bomb started %d processes, limit %d", bombed, processes)
	}
	h.do(t, "other", &apiv1.DoRequest{})
	h.do(t, "echo", &apiv1.DoRequest{})
	kill(t, h.status(t, "echo").GetPid())
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() == 2 })
	// The next one has room again: nobody of the bomb is left.
	if again := h.do(t, "echo", &apiv1.DoRequest{Method: "POST", Url: "test:bomb"}).GetStatus(); again+10 < bombed {
		t.Errorf("the bomb of the next instance started %d processes, the first %d", again, bombed)
	}
}

func TestOtherLimitsHoldAtOnceForAnInstanceThatRuns(t *testing.T) {
	config := func(processes int) string {
		return fleetConfig(quick+limits(fmt.Sprintf("    processes = %d\n", processes)), "echo")
	}
	h := open(t, newHouse(t), config(40), "echo")
	h.requireGroups(t, "processes")
	pid := h.status(t, "echo").GetPid()
	first := h.do(t, "echo", &apiv1.DoRequest{Method: "POST", Url: "test:bomb"}).GetStatus()
	if r := h.configure(t, config(80)); !r.GetApplied() {
		t.Fatal(r)
	}
	if more := h.do(t, "echo", &apiv1.DoRequest{Method: "POST", Url: "test:bomb"}).GetStatus(); more < 20 || h.status(t, "echo").GetPid() != pid {
		t.Errorf("after %d processes and 40 more allowed: %d more", first, more)
	}
}

func TestAHostWithoutDescriptorsLivesOnAndComesBack(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick, "echo", "other"), "echo", "other")
	pid := h.cmd.Process.Pid
	echo := h.status(t, "echo").GetPid() // by a connection that it has then
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		t.Fatal(err)
	}
	// What it has open stays so, and nothing more can be: no plugin can be started.
	short := unix.Rlimit{Cur: 3, Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &short, nil); err != nil {
		t.Fatal(err)
	}
	kill(t, echo)
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return strings.Contains(s.GetReason(), "too many open files") })
	h.do(t, "other", &apiv1.DoRequest{})
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
		t.Fatal(err)
	}
	h.await(t, "echo", isReady)
	h.do(t, "echo", &apiv1.DoRequest{})
}

func TestAFullDiskCostsTheHostItsMemoryOfPluginsAndNothingElse(t *testing.T) {
	full := filepath.Join(t.TempDir(), "full")
	if err := os.Mkdir(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=4k,nr_inodes=4"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("mounts a file system, which this user may not")
		}
		t.Fatal(err)
	}
	defer syscall.Unmount(full, 0) //nolint:errcheck // it goes with the namespace at the latest
	if err := os.WriteFile(filepath.Join(full, "x"), make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	config := strings.Replace(fleetConfig(quick, "echo"), "host {", fmt.Sprintf("host {\n  data_dir = %q\n ", full), 1)
	config = strings.Replace(config, `http = "127.0.0.1:0" }`, "http = \"127.0.0.1:0\"\n}", 1)
	h := open(t, newHouse(t), config, "echo")
	h.do(t, "echo", &apiv1.DoRequest{})
	kill(t, h.status(t, "echo").GetPid())
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() == 2 })
	if r := h.configure(t, config); !r.GetApplied() {
		t.Errorf("a reload: %v", r)
	}
	if log := h.stderr.String(); !strings.Contains(log, "description not cached") {
		t.Errorf("the log does not say that the disk is full:\n%s", log)
	}
}

// A host that stood still, as one does on a laptop that slept, finds all its
// timers due at once. It must take none of its plugins for dead.
func TestAHostThatStoodStillKillsNobodyForIt(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  health {\n    every = \"20ms\"\n    timeout = \"200ms\"\n    misses = 2\n  }\n", "echo"), "echo")
	for range 3 {
		suspend(t, h.cmd.Process.Pid)
		if err := h.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		h.do(t, "echo", &apiv1.DoRequest{})
	}
	if s := h.status(t, "echo"); !isReady(s) || s.GetGeneration() != 1 {
		t.Errorf("got %v, want the first instance", s)
	}
}

func TestAStoppedPluginIsKilledAndItsCallsGoToTheNextInstance(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick+"  health {\n    every = \"50ms\"\n    timeout = \"100ms\"\n    misses = 2\n  }\n", "echo"), "echo")
	suspend(t, int(h.status(t, "echo").GetPid()))
	h.do(t, "echo", &apiv1.DoRequest{}) // idempotent
	if s := h.status(t, "echo"); s.GetGeneration() != 2 {
		t.Errorf("got %v, want generation 2", s)
	}
	if got := h.metric(t, `gaia_instance_exits_total{reason="health",subsystem="echo"}`); got != 1 {
		t.Errorf("exits for bad health: got %v, want 1", got)
	}
}

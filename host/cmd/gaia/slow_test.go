package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

func TestSlowTenThousandKillsLeaveNothingBehind(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes minutes; make test-slow runs it")
	}
	if runtime.GOOS != "linux" {
		t.Skip("looks into /proc")
	}
	h := open(t, newHouse(t), fleetConfig(quick, "echo"), "echo")
	round := func() {
		before := h.status(t, "echo")
		kill(t, before.GetPid())
		h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
		if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	const kills, warm = 10_000, 500 // pools and runtime settle
	for range warm {
		round()
	}
	before := h.left(t)
	for n := range kills {
		round()
		if n%1000 == 999 {
			t.Logf("after %d kills: %+v", n+1, h.left(t))
		}
	}
	// What belongs to the last instance may still be on its way out.
	var after left
	for range 200 {
		if after = h.left(t); after.within(before) {
			break
		}
		h.await(t, "echo", isReady)
	}
	t.Logf("before %+v, after %d kills %+v", before, kills, after)
	if !after.within(before) {
		t.Errorf("%d kills left something behind: before %+v, after %+v", kills, before, after)
	}
	if got := h.metric(t, `gaia_instance_starts_total{reason="restart",subsystem="echo"}`); got != warm+kills {
		t.Errorf("restarts counted: got %v, want %d", got, warm+kills)
	}
}

// left is what a running host holds.
type left struct {
	descriptors, goroutines, children, sockets, groups int

	resident int // MiB
}

// within allows the host's own few to come and go.
func (l left) within(bound left) bool {
	return l.descriptors <= bound.descriptors+2 && l.goroutines <= bound.goroutines+5 &&
		l.children <= bound.children && l.sockets <= bound.sockets && l.groups <= bound.groups &&
		l.resident <= bound.resident+16
}

// groups is how many control groups the host has made that are still there.
// What they are called is known by the one that the instance is in.
func (h *house) groups(t *testing.T) int {
	t.Helper()
	in, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", h.await(t, "echo", isReady).GetPid()))
	if err != nil {
		t.Fatal(err)
	}
	_, name, found := strings.Cut(string(in), "/gaia-")
	if !found {
		return 0
	}
	hash, _, _ := strings.Cut(name, "-")
	groups, err := filepath.Glob("/sys/fs/cgroup/*/gaia-" + hash + "-*")
	if err != nil {
		t.Fatal(err)
	}
	return len(groups)
}

func (h *house) left(t *testing.T) left {
	t.Helper()
	pid := h.cmd.Process.Pid
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	sockets, err := os.ReadDir(filepath.Join(h.dir, "run", "p"))
	if err != nil {
		t.Fatal(err)
	}
	groups := h.groups(t)
	l := left{
		descriptors: len(descriptors), sockets: len(sockets), groups: groups,
		goroutines: int(h.metric(t, "go_goroutines")),
		resident:   int(h.metric(t, "process_resident_memory_bytes")) >> 20,
	}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		content, err := os.ReadFile(task)
		if err == nil { // the thread may be gone
			l.children += len(strings.Fields(string(content)))
		}
	}
	return l
}

// At three times what a plugin can do, an adaptive limit lets it do at least
// nine tenths of what it does for callers who never ask for more; a fixed limit
// that is too high lets all calls wait inside the plugin until they expire.
func TestSlowGoodputOfAnAdaptiveLimitStaysNearCapacity(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes a minute; make test-slow runs it")
	}
	limit := func(concurrency string) string {
		return "  limits {\n    concurrency = " + concurrency + "\n    queue = 20\n    timeout = \"500ms\"\n  }\n"
	}
	config := "host { http = \"127.0.0.1:0\" }\n" +
		"subsystem \"adaptive\" {\n  plugin = \"fleet-narrow\"\n" + limit(`"adaptive"`) + "}\n" +
		"subsystem \"fixed\" {\n  plugin = \"fleet-narrow\"\n" + limit("1000") + "}\n"
	h := open(t, newHouse(t), config, "narrow")
	capacity := h.closedLoop(t, "fixed", narrowWorkers, 5*time.Second)
	h.openLoop(t, "adaptive", 3*capacity, 5*time.Second)
	adaptive := h.openLoop(t, "adaptive", 3*capacity, 15*time.Second)
	fixed := h.openLoop(t, "fixed", 3*capacity, 15*time.Second)
	t.Logf("capacity %.0f calls/s; goodput at three times that: adaptive %.0f (%.0f %%), fixed limit of 1000 %.0f (%.0f %%)",
		capacity, adaptive, 100*adaptive/capacity, fixed, 100*fixed/capacity)
	if adaptive < 0.9*capacity {
		t.Errorf("goodput %.0f calls/s, want at least 90 %% of %.0f", adaptive, capacity)
	}
}

// closedLoop makes calls by so many callers, one after the other, and returns
// how many were answered well, a second.
func (h *house) closedLoop(t *testing.T, subsystem string, callers int, span time.Duration) float64 {
	t.Helper()
	var good atomic.Int64
	var calls sync.WaitGroup
	end := time.Now().Add(span)
	for range callers {
		calls.Go(func() {
			for time.Now().Before(end) {
				if _, err := h.api().Do(withSubsystem(t.Context(), subsystem), &apiv1.DoRequest{}); err == nil {
					good.Add(1)
				}
			}
		})
	}
	calls.Wait()
	return float64(good.Load()) / span.Seconds()
}

// openLoop makes calls at a rate, whatever becomes of those before, and returns
// how many were answered well, a second.
func (h *house) openLoop(t *testing.T, subsystem string, perSecond float64, span time.Duration) float64 {
	t.Helper()
	var good atomic.Int64
	var calls sync.WaitGroup
	tick := time.NewTicker(time.Duration(float64(time.Second) / perSecond))
	defer tick.Stop()
	for end := time.Now().Add(span); time.Now().Before(end); <-tick.C {
		calls.Go(func() {
			if _, err := h.api().Do(withSubsystem(t.Context(), subsystem), &apiv1.DoRequest{Method: "POST"}); err == nil {
				good.Add(1)
			}
		})
	}
	calls.Wait()
	return float64(good.Load()) / span.Seconds()
}

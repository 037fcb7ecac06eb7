package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

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
	groups, err := filepath.Glob("/sys/fs/cgroup/*/gaia-*") // of all hosts; there is one
	if err != nil {
		t.Fatal(err)
	}
	l := left{
		descriptors: len(descriptors), sockets: len(sockets), groups: len(groups),
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

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

func TestSlowAThousandKillsLeaveNothingBehind(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes a minute; make test-slow runs it")
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
	for range 20 { // pools and runtime settle
		round()
	}
	before := h.left(t)
	for range 1000 {
		round()
	}
	// What belongs to the last instance may still be on its way out.
	var after left
	for range 200 {
		if after = h.left(t); after.within(before) {
			break
		}
		h.await(t, "echo", isReady)
	}
	t.Logf("before %+v, after 1000 kills %+v", before, after)
	if !after.within(before) {
		t.Errorf("1000 kills left something behind: before %+v, after %+v", before, after)
	}
	if got := h.metric(t, `gaia_instance_starts_total{reason="restart",subsystem="echo"}`); got != 1020 {
		t.Errorf("restarts counted: got %v, want 1020", got)
	}
}

// left is what a running host holds.
type left struct {
	descriptors, goroutines, children, sockets int
}

// within allows the host's own few to come and go.
func (l left) within(bound left) bool {
	return l.descriptors <= bound.descriptors+2 && l.goroutines <= bound.goroutines+5 &&
		l.children <= bound.children && l.sockets <= bound.sockets
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
	l := left{descriptors: len(descriptors), sockets: len(sockets), goroutines: int(h.metric(t, "go_goroutines"))}
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

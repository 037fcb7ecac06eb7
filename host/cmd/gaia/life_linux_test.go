package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAStoppedPluginLosesItsCallsToTheirDeadlineAndCannotKeepTheHostAlive(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  limits { timeout = \"1s\" }\n", "echo"), "echo")
	pid := int(h.status(t, "echo").GetPid())
	suspend(t, pid)
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call to a stopped plugin: got %v, want DeadlineExceeded", err)
	}
	// The cleanup ends the host, which has to kill the plugin.
}

func TestNoPluginSurvivesItsHost(t *testing.T) {
	dir, config := newHouse(t), fleetConfig("", "echo", "deaf")
	h := open(t, dir, config, "echo", "deaf")
	var pids []int
	for _, name := range []string{"echo", "deaf"} {
		pids = append(pids, int(h.status(t, name).GetPid()))
	}
	watched := make([]int, len(pids))
	for i, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		watched[i] = fd
	}
	if err := h.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-h.ended; err == nil {
		t.Error("a killed host ended well")
	}
	for i, fd := range watched {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, err := unix.Poll(poll, int(patience.Milliseconds())); err != nil || n != 1 {
			t.Errorf("plugin process %d survived its host by %v", pids[i], patience)
		}
	}
	// The next host finds what this one left, and removes it.
	again := open(t, dir, config)
	again.close(t)
	if left, err := os.ReadDir(filepath.Join(dir, "run", "p")); err == nil {
		t.Errorf("sockets are left: %v", left)
	}
}

// suspend stops a process and waits until all of it stands still.
func suspend(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, task := range tasks {
			if stat, err := os.ReadFile(task); err == nil && !strings.Contains(string(stat), ") T ") {
				running++
			}
		}
		if running == 0 {
			return
		}
	}
	t.Fatalf("process %d did not stop", pid)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/gaia-go/gaia/sdk"
	"google.golang.org/grpc"
)

// keeping is a plugin with a child that outlives it, and one that must not.
type keeping struct {
	apiv1.UnimplementedAPIClientPoolServer
}

// systemFleet is the part of the fleet that only this system has.
func systemFleet() map[string]func() {
	return map[string]func(){"fleet-keeping": serveKeeping, "docs-internet": runInternet, "docs-apply": applyHCL}
}

func serveKeeping() {
	sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, keeping{}) })
}

// Do answers with the pid of the child that is kept, which it starts if there
// is none, and of another one that is not kept.
func (keeping) Do(context.Context, *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	kept, err := sdk.Kept()
	if err != nil {
		return nil, err
	}
	child := ""
	for _, k := range kept {
		child = string(k.Data)
		if err := k.Close(); err != nil {
			return nil, err
		}
	}
	if child == "" {
		cmd, pidfd, err := startSleeper()
		if err != nil {
			return nil, err
		}
		child = strconv.Itoa(cmd.Process.Pid)
		if err := errors.Join(sdk.Keep("child", []byte(child), pidfd), pidfd.Close()); err != nil {
			return nil, err
		}
	}
	stray, pidfd, err := startSleeper()
	if err != nil {
		return nil, err
	}
	return &apiv1.DoResponse{Body: fmt.Appendf(nil, "%s %d", child, stray.Process.Pid)}, pidfd.Close()
}

// startSleeper starts a process in a session of its own.
func startSleeper() (*exec.Cmd, *os.File, error) {
	fd := -1
	cmd := exec.Command("sleep", "60") //nolint:noctx // it outlives us
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &fd}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	return cmd, os.NewFile(uintptr(fd), "pidfd"), nil
}

// family is the pids of the kept child and of the other one.
func (h *house) family(t *testing.T) (child, stray int) {
	t.Helper()
	r := h.do(t, "keeping", &apiv1.DoRequest{})
	if _, err := fmt.Sscan(string(r.GetBody()), &child, &stray); err != nil {
		t.Fatal(err)
	}
	return child, stray
}

func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestAKeptChildOutlivesCrashAndSwapAndNobodyElseDoes(t *testing.T) {
	dir := newHouse(t)
	install(t, filepath.Join(dir, "bin/plugins"), "fleet-echo")
	h := open(t, dir, fleetConfig(quick, "keeping"), "keeping")
	child, stray := h.family(t)
	for range 3 {
		before := h.await(t, "keeping", isReady)
		kill(t, before.GetPid())
		h.await(t, "keeping", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
		again, next := h.family(t) // Kept returns when the strays are gone
		if again != child || !isAlive(child) {
			t.Errorf("after a crash the child is process %d, want %d, alive", again, child)
		}
		if isAlive(stray) {
			t.Errorf("process %d, which was not kept, outlived its plugin", stray)
		}
		stray = next
	}
	if _, err := h.host.Restart(t.Context(), &hostv1.RestartRequest{Subsystem: "keeping"}); err != nil {
		t.Fatal(err)
	}
	if again, _ := h.family(t); again != child || !isAlive(child) {
		t.Errorf("after a restart the child is process %d, want %d, alive", again, child)
	}
	before, err := filepath.Glob("/sys/fs/cgroup/*/gaia-*-keeping-*")
	if err != nil {
		t.Fatal(err)
	}
	h.close(t)
	if after, _ := filepath.Glob("/sys/fs/cgroup/*/gaia-*-keeping-*"); len(after) > 0 {
		t.Errorf("groups are left of %v: %v", before, after)
	}
	if isAlive(child) {
		t.Errorf("process %d, which was kept, outlived the host", child)
	}
}

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// notified is a service manager's socket, as systemd has it.
type notified struct{ conn *net.UnixConn }

func newNotified(t *testing.T, dir string) (m *notified, path string) {
	t.Helper()
	path = filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &notified{conn}, path
}

// await reads messages until one has all the lines, and returns it.
func (m *notified) await(t *testing.T, lines ...string) string {
	t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for buffer := make([]byte, 4096); ; {
		n, err := m.conn.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("no message with %q, but: %q", lines, heard)
		}
		if err != nil {
			t.Fatal(err)
		}
		message := "\n" + string(buffer[:n]) + "\n"
		heard = append(heard, message)
		missing := false
		for _, line := range lines {
			missing = missing || !strings.Contains(message, "\n"+line)
		}
		if !missing {
			return message
		}
	}
}

func TestTheServiceManagerIsToldHowTheHostIs(t *testing.T) {
	dir := newHouse(t)
	m, path := newNotified(t, dir)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "300000")
	h := open(t, dir, fleetConfig("", "echo", "exit"), "echo", "exit")
	m.await(t, "READY=1", "STATUS=1 of 2 subsystems ready: exit ")
	m.await(t, "WATCHDOG=1")
	m.await(t, "WATCHDOG=1") // again and again

	if err := h.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.await(t, "RELOADING=1", "MONOTONIC_USEC=")
	m.await(t, "READY=1")

	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.await(t, "STOPPING=1", "STATUS=stopping")
	if err := <-h.ended; err != nil {
		t.Error(err)
	}
}

func TestAnExitIsSeenByTheServiceManager(t *testing.T) {
	dir := newHouse(t)
	m, path := newNotified(t, dir)
	t.Setenv("NOTIFY_SOCKET", path)
	h := open(t, dir, fleetConfig("restart {\n backoff = \"1h\"\n max_backoff = \"1h\"\n}", "echo"), "echo")
	m.await(t, "READY=1", "STATUS=1 of 1 subsystems ready")
	for range 2 { // the first restart is at once
		pid := h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY }).GetPid()
		if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetPid() != pid })
	}
	m.await(t, "STATUS=0 of 1 subsystems ready: echo backoff")
}

package spawn_test

import (
	"bufio"
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/spawn"
)

// terminal starts a shell in a terminal.
func terminal(t *testing.T, c spawn.Config, script string) (*spawn.Process, *bufio.Scanner) {
	t.Helper()
	c.Path, c.Args, c.Env, c.TTY = "/bin/sh", []string{"-c", script}, os.Environ(), true
	p, err := spawn.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Terminal.Close() // which hangs up
		if _, err := p.Wait(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		_ = p.Close()
	})
	if err := p.Terminal.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return p, bufio.NewScanner(p.Terminal)
}

// lines checks the next lines that come from a terminal.
func lines(t *testing.T, out *bufio.Scanner, want ...string) {
	t.Helper()
	for _, line := range want {
		if !out.Scan() || strings.TrimRight(out.Text(), "\r") != line {
			t.Fatalf("got %q and %v, want %q", out.Text(), out.Err(), line)
		}
	}
}

func TestATerminalIsOneForWhatRunsThere(t *testing.T) {
	p, out := terminal(t, spawn.Config{}, `test -t 0 && test -t 1 && test -t 2 && echo yes; echo ours > /dev/tty
		trap 'stty size' WINCH; stty size; read -r line; echo "$line"; while :; do read -r line; echo "$line"; done`)
	lines(t, out, "yes", "ours", "24 80")
	if _, err := io.WriteString(p.Terminal, "typed\n"); err != nil {
		t.Fatal(err)
	}
	lines(t, out, "typed", "typed") // once as echo
	if err := spawn.SetSize(p.Terminal, 50, 132); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.Terminal, "\n"); err != nil { // dash runs a trap after what it does
		t.Fatal(err)
	}
	for out.Scan() && strings.TrimSpace(out.Text()) != "50 132" {
	}
	if err := out.Err(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(p.Terminal, "\x03"); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != unix.SIGINT {
		t.Errorf("got %+v and %v, want SIGINT", exit, err)
	}
}

func TestTheTerminalBelongsToTheUser(t *testing.T) {
	asRoot(t)
	_, out := terminal(t, spawn.Config{User: "nobody"}, `echo again > $(tty) && stat -c %U $(tty)`)
	lines(t, out, "again", "nobody")
}

func TestTheEndOfATerminalHangsUp(t *testing.T) {
	p, out := terminal(t, spawn.Config{}, `echo ready; exec sleep 1000`)
	lines(t, out, "ready")
	if err := p.Terminal.Close(); err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(t.Context()); err != nil || exit.Signal != unix.SIGHUP {
		t.Errorf("got %+v and %v, want SIGHUP", exit, err)
	}
}

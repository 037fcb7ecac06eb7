package wire

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func number(tb testing.TB, text string) int {
	tb.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestAnExitIsSeenThoughAGrandchildHoldsThePipes(t *testing.T) {
	p, said := start(t, command(t, proctest.LeavesNothing(t), "keeps-a-daemon"))
	daemon := proctest.WatchProcess(t, number(t, said.Await(t, "daemon ")))
	p.Kill()
	exit := awaitExit(t, p)
	if daemon.HasEnded(t) {
		t.Error("the grandchild has ended, and with it what this test is about")
	}
	closeIt(t, p)
	if daemon.HasEnded(t) {
		t.Error("the grandchild was to outlive Close as well")
	}
	daemon.Kill(t)
	if exit.Signal != syscall.SIGKILL || exit.Code != -1 {
		t.Errorf("got %v, want it killed by signal 9", exit)
	}
}

func TestTheGroupDiesWithItsLeader(t *testing.T) {
	p, said := start(t, command(t, proctest.LeavesNothing(t), "keeps-a-child"))
	child := proctest.WatchProcess(t, number(t, said.Await(t, "child ")))
	if _, err := do(t.Context(), p.Conn(), "exit 5"); status.Code(err) != codes.Unavailable {
		t.Errorf("the call that ended the process: got %v, want Unavailable", err)
	}
	if exit := awaitExit(t, p); exit.Code != 5 || exit.Signal != 0 {
		t.Errorf("got %v, want exit code 5", exit)
	}
	if !child.EndsSoon(t) {
		t.Error("the child outlives its group's leader")
	}
}

func TestAFrozenPluginIsClosed(t *testing.T) {
	p, _ := start(t, command(t, proctest.LeavesNothing(t), "keeps-a-child"))
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if got := awaitExit(t, p).Signal; got != syscall.SIGKILL {
		t.Errorf("got signal %v, want %v", got, syscall.SIGKILL)
	}
}

func TestTerminateLeavesTheEndToThePlugin(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	t.Run("which dies of it", func(t *testing.T) {
		p, _ := start(t, command(t, sockets, "well-behaved"))
		p.Terminate()
		if got := awaitExit(t, p).Signal; got != syscall.SIGTERM {
			t.Errorf("got signal %v, want %v", got, syscall.SIGTERM)
		}
	})
	t.Run("which ignores it", func(t *testing.T) {
		p, _ := start(t, command(t, sockets, "ignores-sigterm"))
		p.Terminate()
		if _, err := do(t.Context(), p.Conn(), "getenv HOME"); err != nil {
			t.Errorf("a call after SIGTERM: %v", err)
		}
		p.Kill()
		if got := awaitExit(t, p).Signal; got != syscall.SIGKILL {
			t.Errorf("got signal %v, want %v", got, syscall.SIGKILL)
		}
	})
	t.Run("which is busy", func(t *testing.T) {
		p, said := start(t, command(t, sockets, "well-behaved"))
		answer := make(chan error, 1)
		go func() {
			_, err := do(context.WithoutCancel(t.Context()), p.Conn(), "hang")
			answer <- err
		}()
		said.Await(t, "hanging")
		p.Terminate()
		awaitExit(t, p)
		if err := <-answer; status.Code(err) != codes.Unavailable {
			t.Errorf("the call in flight: got %v, want Unavailable", err)
		}
	})
}

func TestACrashIsToldByItsFirstLineThoughTheStackIsLong(t *testing.T) {
	p, _ := start(t, command(t, proctest.LeavesNothing(t), "well-behaved"))
	if _, err := do(t.Context(), p.Conn(), "panic"); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	exit := awaitExit(t, p)
	closeIt(t, p) // now all output has been read
	if exit.Code != 2 {
		t.Errorf("got %v, want exit code 2", exit)
	}
	if got, want := p.LastWords(), "panic: too deep"; got != want {
		t.Errorf("LastWords: got %q, want %q", got, want)
	}
	if tail := p.Tail(); len(tail) != tailLines || tail[0] != "panic: too deep" || !strings.Contains(tail[tailLines-1], ".go:") {
		t.Errorf("Tail: got %q, want the panic and the end of its stack", tail)
	}
}

func TestNoPluginSurvivesAHostThatIsKilled(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	host := exec.CommandContext(t.Context(), proctest.Link(t, "host"))
	host.Env = append(os.Environ(), "PLUGIN="+proctest.Link(t, "ignores-sigterm"), "SOCKETS="+sockets)
	stdin, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	n, err := stdout.Read(line[:])
	if err != nil {
		t.Fatal(err)
	}
	plugin := proctest.WatchProcess(t, number(t, string(line[:n])))
	if plugin.HasEnded(t) {
		t.Fatal("the plugin ended before its host")
	}
	if err := host.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := host.Wait(); err == nil {
		t.Error("the host was to be killed")
	}
	if !plugin.EndsSoon(t) {
		t.Error("the plugin survives its host")
		plugin.Kill(t)
	}
	_ = stdin.Close() // Wait has closed it
	// What a killed host leaves behind is swept by the next one.
	for _, dir := range glob(t, sockets, "*") {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}

func glob(tb testing.TB, parts ...string) []string {
	tb.Helper()
	found, err := filepath.Glob(filepath.Join(parts...))
	if err != nil {
		tb.Fatal(err)
	}
	return found
}

func TestAnIntruderIsRefused(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	p, _ := start(t, command(t, sockets, "well-behaved"))
	found := glob(t, sockets, "plugin-dir*", "plugin*")
	if len(found) != 1 {
		t.Fatalf("got sockets %q, want one", found)
	}
	if info, err := os.Stat(filepath.Dir(found[0])); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of the socket: got mode %v, error %v, want it closed to others", info.Mode(), err)
	}
	intruder := exec.CommandContext(t.Context(), proctest.Link(t, "intruder"))
	intruder.Env = append(os.Environ(), "SOCKET="+found[0])
	output, err := intruder.CombinedOutput()
	if got, want := string(output), "Unavailable\n"; err != nil || got != want {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
	if _, err := do(t.Context(), p.Conn(), "getenv HOME"); err != nil {
		t.Errorf("the host's call at the same time: %v", err)
	}
}

func TestAProcessThatAnswersInPlaceOfThePluginIsRefused(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "sends-another")
	c.Env = append(c.Env, "ANOTHER="+proctest.Link(t, "another"))
	var another proctest.Watch
	c.Output = func(_ int, line []byte) {
		if text, ok := strings.CutPrefix(string(line), "another "); ok {
			another = proctest.WatchProcess(t, number(t, text))
		}
	}
	failed := wantStartError(t, c, `does not answer: connection error: desc = "transport: authentication handshake failed: `+
		`wire: connection refused: process N answers in place of plugin process N"; its last line: "another N"`)
	if !another.EndsSoon(t) {
		t.Errorf("the other process outlives the refusal: %v", failed)
	}
}

func TestTheOpenedFileIsExecutedThoughItsPathLeadsElsewhere(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "well-behaved")
	if err := os.Remove(c.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/false", c.Path); err != nil {
		t.Fatal(err)
	}
	start(t, c)
}

func TestOutputArrivesLineByLine(t *testing.T) {
	sockets := proctest.LeavesNothing(t)
	t.Run("through go-plugin, unfinished at the end", func(t *testing.T) {
		p, said := start(t, command(t, sockets, "well-behaved"))
		if _, err := do(t.Context(), p.Conn(), "print one\n\ntwo\nand a half"); err != nil {
			t.Fatal(err)
		}
		said.Await(t, "two")
		closeIt(t, p)
		if got, want := said.Lines(), []string{"one", "", "two", "and a half"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("a flood of lines", func(t *testing.T) {
		wantFlood(t, command(t, sockets, "well-behaved"), "flood-lines", 64<<10, 1023)
	})
	t.Run("a flood without lines", func(t *testing.T) {
		wantFlood(t, command(t, sockets, "well-behaved"), "flood-line", 1, maxLine)
	})
}

// wantFlood checks 64 MiB of output, and that the plugin is well afterwards.
func wantFlood(t *testing.T, c Command, what string, wantLines, wantLength int) {
	t.Helper()
	var lines, short int
	ends := make(chan struct{})
	c.Output = func(_ int, line []byte) {
		switch {
		case string(line) == "flood ends":
			close(ends)
		case len(line) > 0:
			lines++
			if len(line) != wantLength {
				short++
			}
		}
	}
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, p)
	if _, err := do(t.Context(), p.Conn(), what); err != nil {
		t.Error(err)
	}
	<-ends
	if lines != wantLines || short > 0 {
		t.Errorf("got %d lines, want %d; %d of them are not %d bytes long", lines, wantLines, short, wantLength)
	}
	if _, err := do(t.Context(), p.Conn(), "getenv HOME"); err != nil {
		t.Errorf("a call after the flood: %v", err)
	}
}

func TestNoOutputComesAfterClose(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "well-behaved")
	var closed, late atomic.Bool
	first := make(chan struct{}, 1)
	c.Output = func(int, []byte) {
		if closed.Load() {
			late.Store(true)
		}
		select {
		case first <- struct{}{}:
		default:
		}
	}
	p, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if late.Load() {
			t.Error("Output was called after Close had returned")
		}
	})
	if _, err := do(t.Context(), p.Conn(), "print-for-ever"); err != nil {
		t.Error(err)
	}
	<-first
	closeIt(t, p)
	closed.Store(true)
}

func TestAHundredLivesLeaveNothing(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "well-behaved")
	for range 100 {
		p, err := Start(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		p.Kill()
		awaitExit(t, p)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStartsInVainLeaveNothing(t *testing.T) {
	c := command(t, proctest.LeavesNothing(t), "exits-at-once")
	for range 30 {
		if _, err := Start(t.Context(), c); !isStartError(err) {
			t.Fatalf("got %v, want a *StartError", err)
		}
	}
}

func isStartError(err error) bool {
	_, ok := errors.AsType[*StartError](err)
	return ok
}

func TestManyMayCloseAtOnce(t *testing.T) {
	p, _ := start(t, command(t, proctest.LeavesNothing(t), "well-behaved"))
	done := make(chan error)
	for range 8 {
		go func() { done <- p.Close() }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

package keeper

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNoLineIsLostOrDoubledThoughThePluginIsKilledAmidOutput(t *testing.T) {
	store := start(t).Store("process_manager")
	path := filepath.Join(t.TempDir(), "log")
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	kills := 0
	for {
		i := launch(t, store, "manager", "LOG="+path)
		if got := i.line(); got != "ready" {
			t.Fatalf("got %q, want ready", got)
		}
		before := size()
		if before > lines*8 { // most is written; the last one is to see the end
			if got := i.line(); got != "exit code 7" {
				t.Errorf("got %q, want the exit code", got)
			}
			i.bury()
			break
		}
		if !soon(func() bool { return size() > before+20_000 }) {
			t.Fatalf("the log does not grow any more; it has %d bytes", before)
		}
		i.kill()
		kills++
	}
	if kills < 3 {
		t.Errorf("%d kills, want more", kills)
	}
	checkLines(t, path)
}

func checkLines(t *testing.T, path string) {
	t.Helper()
	log, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	n := 0
	for scanner := bufio.NewScanner(log); scanner.Scan(); n++ {
		if got, want := scanner.Text(), fmt.Sprintf("line %d", n); got != want {
			t.Fatalf("line %d: got %q, want %q", n, got, want)
		}
	}
	if n != lines {
		t.Errorf("got %d lines, want %d", n, lines)
	}
}

func TestASuccessorLearnsHowAProcessEnded(t *testing.T) {
	tests := []struct {
		name string
		// end ends the child, somewhere between its start and its successor's question.
		before func(t *testing.T, parent *instance, pid int)
		after  func(t *testing.T, pid int)
		asking func(pid int)
		env    string
		want   string
	}{
		{name: "before the crash", before: func(t *testing.T, _ *instance, pid int) {
			t.Helper()
			_ = unix.Kill(pid, unix.SIGTERM)
			awaitZombie(t, pid)
		}, want: "exit code 7"},
		{name: "before the crash, waited for", env: "WAITS=1", before: func(t *testing.T, parent *instance, pid int) {
			t.Helper()
			_ = unix.Kill(pid, unix.SIGTERM)
			if got := parent.line(); got != "has waited" {
				t.Fatalf("got %q", got)
			}
		}, want: toldByTheKernel()},
		{name: "between two instances", after: func(t *testing.T, pid int) {
			t.Helper()
			_ = unix.Kill(pid, unix.SIGTERM)
			if !soon(func() bool { return !exists(pid) }) {
				t.Fatal("it is not reaped")
			}
		}, want: "exit code 7"},
		{name: "while the successor waits", asking: func(pid int) { _ = unix.Kill(pid, unix.SIGTERM) }, want: "exit code 7"},
		{name: "by a signal", asking: func(pid int) { _ = unix.Kill(pid, unix.SIGKILL) }, want: "signal 9 (killed)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			store := start(t).Store("process_manager")
			parent := launch(t, store, "parent", "CHILD=exits-7", test.env)
			pid := parent.firstChild()
			if test.before != nil {
				test.before(t, parent, pid)
			}
			parent.kill()
			if test.after != nil {
				test.after(t, pid)
			}
			heir := launch(t, store, "heir")
			if got := heir.line(); got != "waiting" {
				t.Errorf("got %q", got)
			}
			if test.asking != nil {
				test.asking(pid)
			}
			if got := heir.line(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// firstChild reads that a child has been kept and is ready, in any order.
func (i *instance) firstChild() (pid int) {
	i.t.Helper()
	for range 2 {
		_, _ = fmt.Sscanf(i.line(), "child %d", &pid)
	}
	return pid
}

// toldByTheKernel is what is known of a process that somebody else has reaped.
func toldByTheKernel() string {
	var name unix.Utsname
	var major, minor int
	_ = unix.Uname(&name)
	_, _ = fmt.Sscanf(string(name.Release[:]), "%d.%d", &major, &minor)
	if major > 6 || major == 6 && minor >= 15 {
		return "exit code 7"
	}
	return `exit of "process/web-1": its parent has waited for it, and only Linux 6.15 and later tells others how a process ended`
}

func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if !soon(func() bool { return hasEnded(fd) }) {
		t.Fatal("it does not end")
	}
}

func TestAnInstanceThatIsStillThereTellsByItsWaiting(t *testing.T) {
	store := start(t).Store("process_manager")
	old := launch(t, store, "parent", "CHILD=exits-7")
	pid := old.firstChild()
	next := launch(t, store, "heir")
	next.line()
	_ = unix.Kill(pid, unix.SIGTERM)
	awaitZombie(t, pid) // which only its parent can reap
	old.kill()
	if got, want := next.line(), "exit code 7"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestNoConnectionIsRefusedThoughTheListenersOwnerIsKilled(t *testing.T) {
	store := start(t).Store("network_coordinator")
	i := launch(t, store, "server")
	address := i.line()
	var stop atomic.Bool
	var greeted atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			var dialer net.Dialer
			for !stop.Load() {
				conn, err := dialer.DialContext(context.WithoutCancel(t.Context()), "tcp", address)
				if err != nil {
					t.Errorf("refused: %v", err)
					return
				}
				if got, _ := io.ReadAll(conn); string(got) == "hello" { // a greeting may be cut by a kill
					greeted.Add(1)
				}
				_ = conn.Close()
			}
		})
	}
	for range 5 {
		more := greeted.Load() + 20
		if !soon(func() bool { return greeted.Load() >= more }) {
			t.Error("nobody is greeted any more")
			break
		}
		i.kill()
		i = launch(t, store, "server")
		if got := i.line(); got != address {
			t.Errorf("got address %s, want %s", got, address)
		}
	}
	stop.Store(true)
	clients.Wait()
}

func TestOrphansThatAreNotKeptAreGone(t *testing.T) {
	k := start(t)
	i := launch(t, k.Store("browser_pool"), "leaver")
	var pids []int
	for range 6 {
		pids = append(pids, i.number("sleeper"))
	}
	other := launch(t, k.Store("other"), "leaver")
	others := make([]int, 6)
	for n := range others {
		others[n] = other.number("sleeper")
	}
	i.kill()
	if left := slices.DeleteFunc(pids, func(pid int) bool { return !exists(pid) }); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if i.orphans < 3 {
		t.Errorf("got %d orphans, want those three at least that were in sessions of their own", i.orphans)
	}
	if left := slices.DeleteFunc(slices.Clone(others), exists); len(left) > 0 {
		t.Errorf("of another subsystem have ended: %v", left)
	}
	// Nobody but the host can wait for a daemon that ends by itself.
	adopted := func() []int {
		return slices.DeleteFunc(children(), func(pid int) bool { return pid == other.cmd.Process.Pid })
	}
	if !soon(func() bool { return len(adopted()) == 3 }) {
		t.Fatalf("adopted are %v, want three daemons", adopted())
	}
	daemon := adopted()[0]
	_ = unix.Kill(daemon, unix.SIGKILL)
	if !soon(func() bool { return !exists(daemon) }) {
		t.Error("a daemon is left as a zombie while its instance lives")
	}
}

func TestWhatAKeptProcessStartsLivesUntilItIsForgotten(t *testing.T) {
	k := start(t)
	store := k.Store("process_manager")
	i := launch(t, store, "settler")
	family := []int{i.number("sleeper"), i.number("sleeper"), i.number("sleeper")}
	i.kill()
	if i.orphans > 0 {
		t.Errorf("%d orphans were killed", i.orphans)
	}
	alive := slices.DeleteFunc(slices.Clone(family), func(pid int) bool { return !exists(pid) })
	if len(alive) != 2 {
		t.Errorf("alive: %d of three, want the kept process and its daemon", len(alive))
	}
	var old *entry
	if err := k.do(func() { old = store.forget(web1) }); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(old.files[0])
	if !soon(func() bool { return !exists(alive[0]) && !exists(alive[1]) }) {
		t.Error("what was forgotten lives on")
	}
}

package keeper

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

// pidfd opens one for the time of a test.
func pidfd(t testing.TB, pid int) int {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("process %d: %v", pid, err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// shell starts an instance that is a shell script, and speaks for it.
func shell(t testing.TB, s *Store, script string) (*instance, *voice) {
	t.Helper()
	var v *voice
	i := launchVia(t, s, &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ()}, func(session *Session) {
		v = listenTo(t, session)
	})
	t.Cleanup(v.close)
	return i, v
}

// child is a script that starts a process in a session of its own and says its
// process id, and then stays.
const child1 = "setsid sh -c 'echo child $$; exec sleep 60' & exec sleep 60"

func TestAClosedStoreEndsWhatItKept(t *testing.T) {
	tests := []struct {
		child string
		cut   bool // the patience with it
	}{
		{child: "exits-7"},
		{child: "stays", cut: true},
	}
	for _, test := range tests {
		t.Run(test.child, func(t *testing.T) {
			store := start(t).Store("process_manager")
			parent := launch(t, store, "parent", "CHILD="+test.child)
			pid := parent.firstChild()
			parent.kill()
			if !exists(pid) {
				t.Fatal("it has ended before")
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.cut {
				cancel()
			}
			began := time.Now()
			if err := store.Close(ctx); err != nil {
				t.Error(err)
			}
			if exists(pid) {
				t.Error("it lives, or is a zombie")
			}
			if took := time.Since(began); took >= stopGrace {
				t.Errorf("it took %v, as if nobody had asked it to end", took)
			}
			if _, err := store.Open(); !errors.Is(err, errStopped) {
				t.Errorf("Open: got %v, want %v", err, errStopped)
			}
		})
	}
}

func TestTheEndOfTheKeeperIsThatOfAllThatWasKept(t *testing.T) {
	var pid int
	t.Run("life", func(t *testing.T) {
		parent := launch(t, start(t).Store("process_manager"), "parent", "CHILD=exits-7")
		pid = parent.firstChild()
	})
	if exists(pid) {
		t.Error("it lives, or is a zombie")
	}
}

func TestNoPluginCanHaveAProcessSparedOrKilledThatIsNotItsOwn(t *testing.T) {
	k := start(t)
	own := exec.CommandContext(context.WithoutCancel(t.Context()), "sleep", "60") // of the host
	if err := own.Start(); err != nil {
		t.Fatal(err)
	}
	other, _ := shell(t, k.Store("other"), child1)
	theirs := other.number("child")
	store := k.Store("s")
	i, v := shell(t, store, child1)
	mine := i.number("child")
	for name, pid := range map[string]int{
		"the host": os.Getpid(), "a child of the host": own.Process.Pid, "itself": i.cmd.Process.Pid, "another instance": other.cmd.Process.Pid,
		"another's child": theirs, "mine": mine,
	} {
		answer := v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: name, Files: []int{pidfd(t, pid)}})
		if answer.Kind != wire.KeeperDone {
			t.Errorf("%s: got %q", name, answer.Data)
		}
		var got bool
		if err := k.do(func() { n, _ := store.find(name); got = store.entries[n].process.own }); err != nil {
			t.Fatal(err)
		}
		if want := name == "mine"; got != want {
			t.Errorf("%s: own is %t, want %t", name, got, want)
		}
	}
	other.kill()
	if exists(theirs) {
		t.Error("another subsystem's process was spared")
	}
	i.kill()
	if !exists(mine) {
		t.Error("its own process was not spared")
	}
	if err := store.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if exists(mine) {
		t.Error("its own process outlives the store")
	}
	if err := own.Process.Kill(); err != nil {
		t.Errorf("the host's child: %v", err)
	}
	_ = own.Wait()
	if own.ProcessState == nil || own.ProcessState.Sys().(interface{ Signaled() bool }).Signaled() == false {
		t.Errorf("the host's child: got %v, want it killed by the test", own.ProcessState)
	}
}

func TestChildrenOfTheHostItselfAreWaitedForByWhoStartedThem(t *testing.T) {
	k := start(t)
	store := k.Store("s")
	var stop atomic.Bool
	var starters sync.WaitGroup
	for range 3 {
		starters.Go(func() {
			for !stop.Load() {
				cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", "exit 3")
				if err := cmd.Run(); cmd.ProcessState.ExitCode() != 3 {
					t.Errorf("got %v, want exit code 3", err)
					return
				}
			}
		})
	}
	for range 30 {
		i, _ := shell(t, store, child1)
		i.number("child")
		i.kill()
		if i.orphans != 1 {
			t.Errorf("got %d orphans, want one", i.orphans)
		}
	}
	stop.Store(true)
	starters.Wait()
}

func TestNoProcessRunsBesideTheOneThatReplacesIt(t *testing.T) {
	store := start(t).Store("s")
	old, _ := shell(t, store, child1)
	orphan := old.number("child")
	_, next := shell(t, store, "exec sleep 60")
	_ = old.cmd.Process.Kill() // and nobody has closed its session yet
	awaitZombie(t, old.cmd.Process.Pid)
	if got := next.names(); got != nil {
		t.Errorf("got %q", got)
	}
	if exists(orphan) {
		t.Error("an orphan that was not kept lives when its successor knows what is kept")
	}
}

func TestDataChangesWhileTheProcessStaysKnown(t *testing.T) {
	store := start(t).Store("s")
	i, v := shell(t, store, child1)
	pid := i.number("child")
	v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Files: []int{pidfd(t, pid)}})
	v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "the same", Files: []int{pidfd(t, pid)}})
	i.kill()
	_, next := shell(t, store, "exec sleep 60")
	running := next.ask(wire.KeeperMessage{Kind: wire.KeeperExit, Name: "n"})
	if running.Kind != wire.KeeperRunning || len(running.Files) != 1 {
		t.Errorf("got %+v, want it running", running)
	}
	next.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Files: []int{pidfd(t, pid)}}) // takes it over
	_ = unix.Kill(pid, unix.SIGTERM)
	if !soon(func() bool { return !exists(pid) }) {
		t.Fatal("it is not reaped")
	}
	next.ask(wire.KeeperMessage{Kind: wire.KeeperKeepData, Name: "n", Data: []byte("2")})
	for _, name := range []string{"n", "the same"} {
		answer := next.ask(wire.KeeperMessage{Kind: wire.KeeperExit, Name: name})
		exit, err := wire.DecodeKeptExit(answer.Data)
		if err != nil || exit.Status.Signal() != unix.SIGTERM {
			t.Errorf("%s: got %+v, error %v, want signal %v", name, exit, err, unix.SIGTERM)
		}
	}
	if got := next.ask(wire.KeeperMessage{Kind: wire.KeeperExit, Name: "n", Data: running.Data}); string(got.Data) != "another process is kept under this name by now" {
		t.Errorf("got %q", got.Data)
	}
}

func TestAnInstanceThatCannotBeStartedLeavesNothing(t *testing.T) {
	store := start(t).Store("s")
	session, err := store.Open()
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- session.Serve(context.WithoutCancel(t.Context())) }()
	err = session.Launch(nil)(&exec.Cmd{Path: "/nowhere", ExtraFiles: session.Files()})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := session.Close(); err != nil {
		t.Error(err)
	}
	if got := len(store.keeper.sessions); got != 0 {
		t.Errorf("%d sessions are left", got)
	}
}

func TestWithoutAdoptionDescriptorsAreKept(t *testing.T) {
	leavesNothing(t)
	k := New()
	k.lacks = errors.New("nothing")
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ran := make(chan error, 1)
	go func() { ran <- k.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	t.Run("life", func(t *testing.T) {
		store := k.Store("s")
		i, v := shell(t, store, child1)
		pid := i.number("child")
		fd := pidfd(t, pid)
		v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Files: []int{fd}})
		i.kill()
		_, next := shell(t, store, "exec sleep 60")
		if got, want := next.names(), []string{"n=+1"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := next.ask(wire.KeeperMessage{Kind: wire.KeeperExit, Name: "n"}); got.Kind != wire.KeeperRunning {
			t.Errorf("got %+v", got)
		}
		_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	})
}

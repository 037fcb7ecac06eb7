package keeper

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

func TestAThousandRoundsInAHundredLivesLeaveNothing(t *testing.T) {
	store := start(t).Store("s")
	fd := pipeEnd(t)
	previous, files := 0, 0
	for life := range 100 {
		i, v := shell(t, store, child1)
		pid := i.number("child")
		own := pidfd(t, pid)
		for range 10 {
			v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "file", Files: []int{fd, fd, fd}})
			v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "process", Data: []byte("data"), Files: []int{fd, own}})
			v.ask(wire.KeeperMessage{Kind: wire.KeeperForget, Name: "file"})
		}
		i.kill()
		v.close()
		if !exists(pid) || i.orphans > 0 {
			t.Fatalf("the kept process %d has ended, or %d others were left", pid, i.orphans)
		}
		// It has taken the place of the previous one.
		if previous != 0 && !soon(func() bool { return !exists(previous) }) {
			t.Fatalf("process %d lives that is kept no more", previous)
		}
		previous = pid
		if life == 0 {
			files = len(openFiles(t))
		}
	}
	if got, want := len(openFiles(t)), files+99; got > want { // the test's own pidfds
		t.Errorf("%d descriptors are open, want at most %d: %v", got, want, openFiles(t))
	}
}

// BenchmarkSweep looks at kept processes that the host has adopted.
func BenchmarkSweep(b *testing.B) {
	for _, kept := range []int{0, 200} {
		b.Run(fmt.Sprintf("kept=%d", kept), func(b *testing.B) {
			k := start(b)
			i, v := shell(b, k.Store("s"), fmt.Sprintf("for n in $(seq %d); do setsid sh -c 'echo child $$; exec sleep 60' & done; exec sleep 60", kept))
			for n := range kept {
				fd, err := unix.PidfdOpen(i.number("child"), 0)
				if err != nil {
					b.Fatal(err)
				}
				v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: fmt.Sprint(n), Files: []int{fd}})
				_ = unix.Close(fd)
			}
			i.kill()
			for b.Loop() {
				if err := k.do(k.sweep); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkKeep keeps what a process manager does for one process: pidfd and
// three pipes.
func BenchmarkKeep(b *testing.B) {
	i, v := shell(b, start(b).Store("s"), child1)
	own, pipe := pidfd(b, i.number("child")), pipeEnd(b)
	for b.Loop() {
		v.ask(wire.KeeperMessage{Kind: wire.KeeperKeep, Name: "n", Data: make([]byte, 256), Files: []int{own, pipe, pipe, pipe}})
	}
}

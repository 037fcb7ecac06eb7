// Package proctest is what tests with real processes need: proof that nothing is
// left behind, other names for the test binary, and its processes' output.
package proctest

import (
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"testing"
	"time"
)

// LeavesNothing makes the test fail at its very end if a child process, a
// goroutine, a descriptor, a socket or a directory is left. It returns a new
// directory for sockets. It has to come first in a test.
func LeavesNothing(tb testing.TB) (sockets string) {
	tb.Helper()
	sockets, err := os.MkdirTemp("", "gaia") // the path of a socket has to be short, which TempDir's is not
	if err != nil {
		tb.Fatal(err)
	}
	warmUp(tb)
	files, goroutines := openFiles(tb), runtime.NumGoroutine()
	tb.Cleanup(func() {
		// Descriptors are closed by goroutines: these first.
		if !Soon(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			tb.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(), &stacks)
		}
		for fd, file := range openFiles(tb) {
			if files[fd] != file {
				tb.Errorf("descriptor %s is left: %s", fd, file)
			}
		}
		for _, child := range children(tb) {
			tb.Errorf("child process %s is left", child)
		}
		if err := os.Remove(sockets); err != nil {
			tb.Errorf("socket directory: %v", err)
		}
	})
	return sockets
}

// warmUp starts what the runtime starts once: its poller and its loop of
// signals.
func warmUp(tb testing.TB) {
	tb.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := r.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	ignored := make(chan os.Signal, 1)
	signal.Notify(ignored, syscall.SIGURG)
	signal.Stop(ignored)
}

// Soon waits, for five seconds at most, for what nobody announces, and reports
// whether it happened.
func Soon(done func() bool) bool {
	timeout := time.NewTimer(5 * time.Second)
	defer timeout.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-timeout.C:
			return false
		}
	}
	return true
}

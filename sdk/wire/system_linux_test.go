package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openFiles returns what this process's descriptors lead to.
func openFiles(tb testing.TB) map[string]string {
	tb.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		// The descriptor that read the directory is gone by now.
		if file, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			files[e.Name()] = file
		}
	}
	return files
}

// children returns the processes whose parent is this one, zombies too.
func children(tb testing.TB) (found []string) {
	tb.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		tb.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path) //nolint:gosec // G304: a path below /proc
		if err != nil {
			continue // it has ended
		}
		// pid (name) state parent …, proc_pid_stat(5); names may contain anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[1] == fmt.Sprint(os.Getpid()) {
			found = append(found, string(stat))
		}
	}
	return found
}

// watch is a process's end, to be waited for without being its parent.
type watch int

// watchProcess watches a process that is known to live, or to be a zombie.
func watchProcess(tb testing.TB, pid int) watch {
	tb.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		tb.Fatalf("process %d: %v", pid, err)
	}
	tb.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			tb.Error(err)
		}
	})
	return watch(fd)
}

// ended reports whether the process ends within some milliseconds; 0 asks for
// the present moment.
func (w watch) ended(tb testing.TB, within int) bool {
	tb.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w), Events: unix.POLLIN}}, within) //nolint:gosec // G115: a descriptor
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		return n == 1
	}
}

// kill ends the process.
func (w watch) kill(tb testing.TB) {
	tb.Helper()
	if err := unix.PidfdSendSignal(int(w), unix.SIGKILL, nil, 0); err != nil {
		tb.Error(err)
	}
}

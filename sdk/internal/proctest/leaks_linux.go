package proctest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

package proctest

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// openFiles returns this process's descriptors; what they lead to is not
// looked up.
func openFiles(tb testing.TB) map[string]string {
	tb.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		tb.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		if _, err := os.Stat("/dev/fd/" + e.Name()); err == nil {
			files[e.Name()] = "open"
		}
	}
	return files
}

// children returns the processes whose parent is this one.
func children(tb testing.TB) []string {
	tb.Helper()
	// pgrep never lists itself.
	out, _ := exec.Command("pgrep", "-P", strconv.Itoa(os.Getpid())).Output() //nolint:noctx,gosec // a cleanup; exit code 1 says that there are none
	return strings.Fields(string(out))
}

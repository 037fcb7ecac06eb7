package conformance

import (
	"os"
	"strconv"
	"strings"
)

// usageOf reads what a process uses; false when it has ended.
func usageOf(pid int) (usage, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	files, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return usage{}, false
	}
	status, err := os.ReadFile(dir + "/status") //nolint:gosec // G304: a path below /proc
	if err != nil {
		return usage{}, false
	}
	u := usage{files: len(files)}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		n, _ := strconv.ParseInt(number, 10, 64)
		switch name { // proc_pid_status(5)
		case "Threads":
			u.threads = int(n)
		case "VmRSS":
			u.memory = n << 10
		}
	}
	return u, true
}

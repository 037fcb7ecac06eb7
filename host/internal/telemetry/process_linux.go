package telemetry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
)

// ticksPerSecond is USER_HZ, in which /proc counts CPU time: 100 on every
// architecture that Go runs Linux on.
const ticksPerSecond = 100

// process is a line of /proc/<pid>/stat, as far as it is needed.
type process struct {
	parent, group int
	ticks         float64
	pages         int64
}

// processTrees sums up the processes that descend from each root, the root
// included. A process whose parent has died belongs to the tree as long as it
// is in the root's process group. Processes that end during the walk count or
// do not. Each root appears in the result.
func processTrees(roots []int) map[int]usage {
	trees := make(map[int]usage, len(roots))
	if len(roots) == 0 {
		return trees
	}
	for _, root := range roots {
		trees[root] = usage{}
	}
	all := processes("/proc")
	for pid := range all {
		root, ok := rootOf(pid, all, trees)
		if !ok {
			continue
		}
		used, p := trees[root], all[pid]
		used.cpuSeconds += p.ticks / ticksPerSecond
		used.resident += p.pages * int64(os.Getpagesize())
		used.openFiles += openFiles(pid)
		trees[root] = used
	}
	return trees
}

// rootOf finds the root whose tree a process is in.
func rootOf(pid int, all map[int]process, roots map[int]usage) (int, bool) {
	// The walk upwards ends at pid 0, or after as many steps as there are
	// processes: /proc is not a snapshot, so there may be circles.
	for range len(all) {
		if _, ok := roots[pid]; ok {
			return pid, true
		}
		p, ok := all[pid]
		if !ok {
			return 0, false
		}
		if _, ok := roots[p.group]; ok {
			return p.group, true
		}
		pid = p.parent
	}
	return 0, false
}

// processes reads all of /proc.
func processes(proc string) map[int]process {
	all := make(map[int]process)
	dir, err := os.Open(proc) //nolint:gosec // a constant but in tests
	if err != nil {
		return all
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return all
	}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue // not a process
		}
		stat, err := os.ReadFile(filepath.Join(proc, name, "stat")) //nolint:gosec // name is a number
		if err != nil {
			continue // it has ended
		}
		if p, err := parseStat(stat); err == nil {
			all[pid] = p
		}
	}
	return all
}

// parseStat reads the fields of proc_pid_stat(5), which it numbers from 1. The
// second, the name of the command, may contain blanks and parentheses.
func parseStat(stat []byte) (process, error) {
	const first = 3 // the number of the field that follows the command
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var fault error
	field := func(number int) int64 {
		if number-first >= len(fields) {
			fault = errors.New("stat: too few fields")
			return 0
		}
		n, err := strconv.ParseInt(string(fields[number-first]), 10, 64)
		fault = errors.Join(fault, err)
		return n
	}
	p := process{
		parent: int(field(4)),
		group:  int(field(5)),
		// utime and stime of the process, then of its children it waited for
		ticks: float64(field(14) + field(15) + field(16) + field(17)),
		pages: field(24),
	}
	return p, fault
}

func openFiles(pid int) int64 {
	dir, err := os.Open(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return 0 // it has ended, or is not ours
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return 0
	}
	return int64(len(names))
}

package tree

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Without control groups a tree is known by a mark: the soft limit RLIMIT_RSS of
// its processes. The kernel has ignored that limit since Linux 2.4.30, but still
// hands it down to whatever a process starts, and neither a new session nor the
// death of a parent nor another environment changes it.

// launchMarked lets a process be born with the mark. Limits belong to this
// process as a whole, so one is started at a time.
func (g *Group) launchMarked(start func(cgroup int) (int, error)) (int, error) {
	g.forest.bearing.Lock()
	defer g.forest.bearing.Unlock()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_RSS, &before); err != nil {
		return 0, fmt.Errorf("tree: RLIMIT_RSS: %w", err)
	}
	// A hard limit lower than the mark, which is rare, makes it an error.
	if err := unix.Setrlimit(unix.RLIMIT_RSS, &unix.Rlimit{Cur: g.mark, Max: before.Max}); err != nil {
		return 0, fmt.Errorf("tree: mark by RLIMIT_RSS: %w", err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_RSS, &before) }() // it has just been so
	return start(-1)
}

// marked lists the processes that bear a mark and have not ended.
func marked(mark uint64) ([]int, error) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer proc.Close()
	names, err := proc.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid != os.Getpid() && markOf(pid) == mark && !isZombie(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func markOf(pid int) uint64 {
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_RSS, nil, &limit)
	if errors.Is(err, unix.ESRCH) {
		return unix.RLIM_INFINITY
	}
	if err == nil {
		return limit.Cur
	}
	// It has become somebody else's, such as another user's.
	text, err := readText(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return unix.RLIM_INFINITY
	}
	found := regexp.MustCompile(`(?m)^Max resident set +(\d+)`).FindStringSubmatch(text)
	if found == nil {
		return unix.RLIM_INFINITY
	}
	mark, err := strconv.ParseUint(found[1], 10, 64)
	if err != nil {
		return unix.RLIM_INFINITY
	}
	return mark
}

// statOf returns the fields of proc_pid_stat(5) from the third on, the state.
func statOf(pid int) []string {
	text, err := readText(fmt.Sprintf("/proc/%d/stat", pid))
	end := strings.LastIndexByte(text, ')') // a name may have blanks and parentheses
	if err != nil || end < 0 {
		return nil
	}
	return strings.Fields(text[end+1:])
}

func isZombie(pid int) bool {
	fields := statOf(pid)
	return len(fields) == 0 || fields[0] == "Z" || fields[0] == "X"
}

// add adds what processes use that have not ended.
func (u *Usage) add(pids []int, memory, cpu bool) {
	const userTime, systemTime, resident = 11, 12, 21 // as statOf counts
	const tick = 10 * time.Millisecond                // USER_HZ is 100 on all systems that Go knows
	for _, pid := range pids {
		fields := statOf(pid)
		if len(fields) <= resident {
			continue
		}
		user, _ := strconv.ParseUint(fields[userTime], 10, 64)
		system, _ := strconv.ParseUint(fields[systemTime], 10, 64)
		pages, _ := strconv.ParseUint(fields[resident], 10, 64)
		if memory {
			u.Memory += pages * uint64(os.Getpagesize()) //nolint:gosec // G115: positive
		}
		if cpu {
			u.CPU += time.Duration(user+system) * tick //nolint:gosec // G115: 292 years of nanoseconds
		}
	}
}

package keeper

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// childrenPath lists the children of this process's first thread: the kernel
// gives orphans to the first thread that lives (find_alive_thread), and that of
// a Go program always does. Children that another thread has started are not
// there, which is just as well.
func childrenPath() string { return fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", os.Getpid()) }

// children are the process ids that it lists. One that ends meanwhile can hide
// another one, until the next sweep.
func children() []int {
	text, err := os.ReadFile(childrenPath())
	if err != nil {
		return nil
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// adopt makes this process the parent of its orphaned descendants, and returns
// its own mark. It adopts none if it could not tell whose they are: zombies
// that nobody dares to reap would be worse than orphans of init's.
func adopt() (own mark, err error) {
	if strconv.IntSize < 64 {
		return unmarked, errors.New("marks need a 64-bit system")
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_LOCKS, &limit); err != nil {
		return unmarked, fmt.Errorf("RLIMIT_LOCKS: %w", err)
	}
	if limit.Max != unix.RLIM_INFINITY {
		return unmarked, fmt.Errorf("RLIMIT_LOCKS is limited to %d; marks need it unlimited (ulimit -x)", limit.Max)
	}
	if err := unix.Setrlimit(unix.RLIMIT_LOCKS, &limit); err != nil { // some sandboxes
		return unmarked, fmt.Errorf("RLIMIT_LOCKS cannot be set: %w", err)
	}
	if _, err := os.ReadFile(childrenPath()); err != nil {
		return unmarked, fmt.Errorf("the kernel lists no children (CONFIG_PROC_CHILDREN): %w", err)
	}
	if err := canWaitForPidfds(); err != nil {
		return unmarked, fmt.Errorf("pidfds (Linux 5.4): %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return unmarked, fmt.Errorf("prctl PR_SET_CHILD_SUBREAPER: %w", err)
	}
	return mark(limit.Cur), nil
}

func canWaitForPidfds() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WNOHANG, nil)
	if errors.Is(err, unix.ECHILD) { // rightly: nobody is his own child
		return nil
	}
	return err
}

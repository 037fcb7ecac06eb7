package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// rlimits are limits of each process by itself, by kind. They belong to a whole
// process, not to the thread that starts another one. So the process is started
// as a traced one, which stops in exec; prlimit(2) sets its limits, and it is let
// go (see Config.prepare).
type rlimits map[int]uint64

func (c Config) rlimits() rlimits {
	limits := make(rlimits)
	if c.OpenFiles > 0 {
		limits[unix.RLIMIT_NOFILE] = uint64(c.OpenFiles)
	}
	if c.Group != nil && c.Group.DataLimit() > 0 {
		limits[unix.RLIMIT_DATA] = c.Group.DataLimit()
	}
	return limits
}

// mayHold is false for a program that would not get the rights that its file
// promises if it were traced. Its limits come a moment after its start.
func (c Config) mayHold() bool {
	if !c.NewPrivileges || os.Geteuid() == 0 {
		return true
	}
	if info, err := os.Stat(c.Path); err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		return false
	}
	n, err := unix.Getxattr(c.Path, "security.capability", nil)
	return err != nil || n == 0
}

// set limits a process.
func (limits rlimits) set(pid int) error {
	for kind, value := range limits {
		// The soft limit alone would not do: a Go program raises it to the hard one.
		err := unix.Prlimit(pid, kind, &unix.Rlimit{Cur: value, Max: value}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it was killed
			return fmt.Errorf("spawn: %s: %w", limits.name(kind), err)
		}
	}
	return nil
}

func (limits rlimits) name(kind int) string {
	var mine unix.Rlimit
	_ = unix.Getrlimit(kind, &mine) // 0, which is as good as nothing in a message
	name := "memory"
	if kind == unix.RLIMIT_NOFILE {
		name = "open files"
	}
	return fmt.Sprintf("%s: a limit of %d; that of this program is %d", name, limits[kind], mine.Max)
}

// awaitStop waits until a traced process has stopped in exec, or has ended: what
// follows will not find it then.
func awaitStop(pid int) error {
	for {
		// WNOWAIT: an end is for others to see.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

package wire

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// executable is the path to execute. It leads to the opened file itself, which
// may have been replaced at its path since it was checked.
func executable(c Command) string {
	if c.File == nil || isScript(c.File) {
		return c.Path
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), c.File.Fd())
}

func isScript(f *os.File) bool {
	var magic [2]byte
	n, _ := f.ReadAt(magic[:], 0)
	return n == 2 && magic == [2]byte{'#', '!'}
}

func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// endGroup waits for the leader of a process group, kills whoever it left
// behind, and reaps it.
func endGroup(leader *exec.Cmd) {
	pid := leader.Process.Pid
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	// Until it is reaped, its id cannot be anybody else's group.
	_ = unix.Kill(-pid, unix.SIGKILL) // ESRCH: nobody is left
	_ = leader.Wait()                 // an exit code is no error here
}

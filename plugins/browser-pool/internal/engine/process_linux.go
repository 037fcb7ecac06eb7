package engine

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// attributes put a browser into a process group of its own and let the kernel
// kill it when this process dies: also one that is stopped or hung, and does not
// see the end of its pipe.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// lockThread ties the goroutine to its thread: the kernel takes the end of the
// thread that started a process for the death of the parent (golang/go#27505).
func lockThread() (unlock func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// awaitExit returns when a process has exited. It is not reaped: its id stays its
// own.
func awaitExit(b *Browser) {
	for errors.Is(unix.Waitid(unix.P_PID, b.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}

// runsWith reports whether a process runs with a directory as its profile: ids are
// used again. Chromium writes its arguments anew, with spaces between them.
func runsWith(pid int, dir string) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args = bytes.ReplaceAll(args, []byte{0}, []byte{' '})
	return bytes.Contains(args, []byte(" --user-data-dir="+dir+" "))
}

package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// process is one whose pidfd is kept. Its state is Run's.
type process struct {
	pid    int    // 0 if it had been reaped before it was kept
	pidfd  int    // one of the entry's files
	serial uint64 // tells it from others under the same name

	own  bool // it descends from an instance of the store
	mark mark // that it got when it was kept; unmarked if it could not be marked

	ended  bool // we have reaped it; status and at are valid
	status unix.WaitStatus
	at     time.Time
	lost   bool // somebody else has reaped it
}

// findProcess returns the process of the first pidfd among files, or nil.
func findProcess(files []int) *process {
	for _, fd := range files {
		if pid, ok := pidOf(fd); ok {
			return &process{pid: max(pid, 0), pidfd: fd, mark: unmarked}
		}
	}
	return nil
}

// pidOf returns the process id of a pidfd, -1 if the process has been reaped.
func pidOf(fd int) (pid int, ok bool) {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(info) {
		if text, found := bytes.CutPrefix(line, []byte("Pid:")); found { // no other file has it
			pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
			return pid, err == nil
		}
	}
	return 0, false
}

// isAlive reports whether it can still be found under its process id, be it to
// be reaped.
func (p *process) isAlive() bool { return p.pid > 0 && !p.ended && !p.lost }

// isChild reports whether the host is its parent, and whether it waits to be
// reaped.
func (p *process) isChild() (child, zombie bool) {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PIDFD, p.pidfd, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil, err == nil && info.Signo != 0
}

// signal signals it and, if it leads a process group, the group.
func (p *process) signal(s unix.Signal) {
	if group, err := unix.Getpgid(p.pid); err == nil && group == p.pid && group > 1 { // -1 would be everybody
		_ = unix.Kill(-p.pid, s) // ESRCH: they have ended meanwhile
		return
	}
	_ = unix.PidfdSendSignal(p.pidfd, s, nil, 0) // as above
}

// isReaped reports whether the process of a pidfd has been waited for.
func isReaped(pidfd int) bool {
	return errors.Is(unix.PidfdSendSignal(pidfd, 0, nil, 0), unix.ESRCH)
}

// hasEnded reports whether the process of a pidfd has ended.
func hasEnded(pidfd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 0) //nolint:gosec // G115: a descriptor
	return err == nil && n == 1
}

// kernelExit asks the kernel how a process ended that somebody else has reaped.
func kernelExit(pidfd int) (unix.WaitStatus, bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.Exit_code), true //nolint:gosec // G115: bits
}

// reapKept reaps the kept processes that have ended as children of the host.
func (k *Keeper) reapKept() {
	var zombies []*process
	for p := range k.processes() {
		if !p.own || !p.isAlive() || k.isLeader(p.pid) {
			continue
		}
		child, zombie := p.isChild()
		switch {
		case zombie:
			zombies = append(zombies, p)
		case !child && isReaped(p.pidfd):
			p.lost = true
		}
	}
	for _, p := range zombies {
		if p.ended {
			continue
		}
		status, ok := reap(p.pid)
		if !ok {
			continue
		}
		for _, same := range zombies { // under another name
			if same.pid == p.pid {
				same.ended, same.status, same.at = true, status, time.Now()
			}
		}
	}
}

// reap waits for a child that has ended; ok is false for one that has not.
func reap(pid int) (status unix.WaitStatus, ok bool) {
	got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
	return status, err == nil && got == pid
}

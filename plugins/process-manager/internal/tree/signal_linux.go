package tree

import (
	"slices"

	"golang.org/x/sys/unix"
)

// SignalBeyond signals the processes of the group that have left the process group
// of its leader, such as daemons; the others have been reached by a signal to that.
// It never signals a process that has got the id of one that has ended.
func (g *Group) SignalBeyond(leader int, s unix.Signal) error {
	pids, err := g.Pids()
	if err != nil {
		return err
	}
	fds := make(map[int]int) // by pid
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd) // of a pidfd
		}
	}()
	for _, pid := range pids {
		if group, err := unix.Getpgid(pid); err != nil || group == leader {
			continue
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			fds[pid] = fd
		}
	}
	if len(fds) == 0 {
		return nil
	}
	// Who is in the group still was so when its pidfd was opened, or has got the id
	// here: it belongs to the group in any case.
	if pids, err = g.Pids(); err != nil {
		return err
	}
	for pid, fd := range fds {
		if slices.Contains(pids, pid) {
			_ = unix.PidfdSendSignal(fd, s, nil, 0) // it may have ended
		}
	}
	return nil
}

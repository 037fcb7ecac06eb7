package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Launch calls start on the calling thread, which the caller has locked. The
// process that start starts is born in the group: of cgroup v2, if it clones
// into the descriptor that it is given, unless that is -1; of version 1 and of
// none because it is born where this thread is, or with what this process bears.
// Nothing moves after its birth: the kernel takes 10 ms for that, and what a
// process starts meanwhile would stay behind. It returns the process's id. Start
// may give up the thread's right to open files.
func (g *Group) Launch(start func(cgroup int) (pid int, err error)) (int, error) {
	g.turn.Lock()
	defer g.turn.Unlock()
	dirs, limits := g.snapshot()
	if g.byMark() {
		return g.launchMarked(start)
	}
	if len(dirs) == 0 {
		return 0, fmt.Errorf("tree: launch in group %q: %w", g.name, fs.ErrClosed)
	}
	for _, d := range dirs {
		if d.version != 1 {
			continue
		}
		leave, err := d.enter(limits.Processes)
		defer leave() // out of what throttles first
		if err != nil {
			return 0, fmt.Errorf("tree: group %q: %w", g.name, err)
		}
	}
	if dirs[0].version == 1 {
		return start(-1)
	}
	return dirs[0].bear(start)
}

// enter moves the calling thread into a directory of version 1, where it counts
// as one of the processes; leave moves it back. An error leaves it where it is.
func (d directory) enter(processes uint32) (leave func(), err error) {
	undo := func() {}
	if d.has("pids") && processes > 0 {
		undo, err = d.raise(processes)
		if err != nil {
			return undo, err
		}
	}
	back, err := openControl(filepath.Join(d.own, "tasks"))
	if err != nil {
		return undo, err
	}
	leave = func() {
		if err := back.write("0"); err != nil {
			// The thread must not serve anybody else: locked once more than the
			// caller will unlock it, it ends with the goroutine.
			runtime.LockOSThread()
		}
		back.close()
		undo()
	}
	// "0" is the writing thread, the one that the kernel moves at once; for any
	// other it waits until no thread of the system forks.
	return leave, d.write("tasks", "0")
}

// raise lets one process more than the limit be there, until undo.
func (d directory) raise(processes uint32) (undo func(), err error) {
	limit, err := openControl(filepath.Join(d.path, "pids.max"))
	if err != nil {
		return func() {}, err
	}
	undo = func() {
		_ = limit.write(orMax(uint64(processes))) // else one more is allowed than should be
		limit.close()
	}
	return undo, limit.write(strconv.FormatUint(uint64(processes)+1, 10))
}

// bear lets the kernel bear a process in a group of cgroup v2. Where that is
// forbidden or not known (clone3 with a group: Linux 5.7), it is moved there a
// moment after its birth; if start has given up the right to do that, it is not.
func (d directory) bear(start func(cgroup int) (int, error)) (int, error) {
	fd, err := unix.Open(d.path, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("tree: %w", &fs.PathError{Op: "open", Path: d.path, Err: err})
	}
	defer func() { _ = unix.Close(fd) }()
	pid, err := start(fd)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.E2BIG) && !errors.Is(err, unix.EPERM) {
		return pid, err
	}
	if pid, err = start(-1); err != nil {
		return 0, err
	}
	return pid, d.take(pid)
}

// take moves a process, but not those that it has started, into the group.
func (d directory) take(pid int) error {
	if err := d.write("cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
		return fmt.Errorf("tree: %w", err)
	}
	return nil
}

// takeAll moves into the group whoever is in another one, those included that
// are born meanwhile.
func (d directory) takeAll(from directory) error {
	for taken := map[int]bool{}; ; {
		pids, err := pidsBelow(from.path)
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return taken[pid] })
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			taken[pid] = true
			if err := d.take(pid); err != nil {
				return err
			}
		}
	}
}

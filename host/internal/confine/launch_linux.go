package confine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Launch starts cmd inside the group, limited before its first instruction. It
// starts it on the calling thread, which it leaves as it was. It is called once;
// cmd's standard streams are nil or files.
//
// What a process may use it inherits from the thread that starts it, or it is
// set while the process stands still:
//   - cgroup v2: the kernel bears it in the group (CLONE_INTO_CGROUP);
//   - cgroup v1: the thread goes into the group, starts it and comes back. To
//     move the thread takes 0.1 ms; to move the process afterwards would take
//     10 ms, because the kernel then waits for all processors;
//   - rlimits: they belong to the whole host, not to a thread. So the process is
//     started as a traced one, which stops in exec; prlimit(2) sets its limits,
//     and it is let go.
//
// Where the system forbids one of these, the process is limited a moment after
// its start, and Warnings says so.
func (g *Group) Launch(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.New("confine: launch in a closed group")
	}
	g.enter()
	used, err := g.start(cmd)
	g.leave()
	if err != nil {
		return err
	}
	pid := cmd.Process.Pid
	g.process = cmd.Process
	if d, ok := g.unified(); ok && !used.born {
		if err := d.write("cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, unix.ESRCH) {
			g.lose(d, err)
		}
	}
	g.setRlimits(pid)
	if !used.held {
		return nil
	}
	if err := unix.PtraceDetach(pid); err != nil && !errors.Is(err, unix.ESRCH) { // it was killed
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return fmt.Errorf("confine: let process %d go: %w", pid, err)
	}
	return nil
}

// enter moves the calling thread into the group's directories of version 1. It
// counts as one of the group's processes while it is there.
func (g *Group) enter() {
	for _, d := range slices.Clone(g.dirs) {
		if d.version != 1 {
			continue
		}
		if d.limits(processes) && g.limits.Processes > 0 {
			if err := d.limit(processes, Limits{Processes: g.limits.Processes + 1}); err != nil {
				g.note("%v", err) // one process less is allowed than should be
			}
		}
		// "0" is the writing thread. It is the one that the kernel moves at
		// once; for any other it waits until no thread of the system forks.
		if err := d.write("tasks", "0"); err != nil {
			g.lose(d, err)
		}
	}
}

// leave moves the calling thread back, out of the one that throttles first.
func (g *Group) leave() {
	for _, d := range slices.Backward(g.dirs) {
		if d.version != 1 {
			continue
		}
		if d.limits(processes) && g.limits.Processes > 0 {
			if err := d.limit(processes, g.limits); err != nil {
				g.note("%v", err)
			}
		}
		if err := write(filepath.Join(d.base, "tasks"), "0"); err != nil {
			// The thread must not serve the host again. It ends with the
			// goroutine, which remains locked to it.
			runtime.LockOSThread()
			g.note("a thread of the host is left in the group: %v", err)
		}
	}
}

func (g *Group) unified() (directory, bool) {
	i := slices.IndexFunc(g.dirs, func(d directory) bool { return d.version == 2 })
	if i < 0 {
		return directory{}, false
	}
	return g.dirs[i], true
}

// way is how a process is started.
type way struct {
	born bool // in the group of version 2
	held bool // before its first instruction
}

// ways returns the ways to start a process, the best first. The last one always
// works, and leaves a moment in which the process is not limited.
func (g *Group) ways(path string) []way {
	_, unified := g.unified()
	rlimits := len(g.byRlimit()) > 0
	var ways []way
	if unified {
		ways = append(ways, way{born: true, held: rlimits})
	}
	if unified || rlimits {
		ways = append(ways, way{held: true})
	}
	if unified && rlimits {
		ways = append(ways, way{born: true})
	}
	ways = append(ways, way{})
	if losesPrivileges(path) {
		ways = slices.DeleteFunc(ways, func(w way) bool { return w.held })
	}
	return ways
}

// losesPrivileges reports whether the executable at path would not get the
// privileges that its file promises if it were traced.
func losesPrivileges(path string) bool {
	if os.Geteuid() == 0 {
		return false
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&(os.ModeSetuid|os.ModeSetgid) != 0 {
		return true
	}
	n, err := unix.Getxattr(path, "security.capability", nil)
	return err == nil && n > 0
}

var errPrivileged = errors.New("its executable has privileges, which a traced process does not get")

// start starts cmd in the best way that works.
func (g *Group) start(cmd *exec.Cmd) (way, error) {
	_, unified := g.unified()
	complete := way{born: unified, held: len(g.byRlimit()) > 0}
	var first error
	for _, w := range g.ways(cmd.Path) {
		err := g.try(cmd, w)
		if err == nil {
			if w != complete && !w.held {
				if first == nil {
					first = errPrivileged
				}
				g.note("the limits were set a moment after the process had started: %v", first)
			}
			return w, nil
		}
		if first == nil {
			first = err
		}
	}
	return way{}, first
}

// try starts a copy of cmd, which cannot be started twice; if that goes well,
// cmd becomes that copy.
func (g *Group) try(cmd *exec.Cmd, w way) error {
	trial, attributes := *cmd, syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attributes = *cmd.SysProcAttr
	}
	trial.SysProcAttr = &attributes
	attributes.Ptrace = w.held
	if w.born {
		d, _ := g.unified()
		f, err := os.Open(d.path)
		if err != nil {
			return err
		}
		defer f.Close()
		attributes.UseCgroupFD, attributes.CgroupFD = true, int(f.Fd())
	}
	if err := trial.Start(); err != nil {
		return err
	}
	if w.held {
		if err := stands(trial.Process.Pid); err != nil {
			_ = trial.Process.Kill()
			_ = trial.Wait()
			return err
		}
	}
	trial.SysProcAttr = cmd.SysProcAttr
	*cmd = trial
	return nil
}

// stands waits until a traced process has stopped in exec. One that was killed
// is as good: what follows will not find it.
func stands(pid int) error {
	for {
		// WNOWAIT: an end is for others to see.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

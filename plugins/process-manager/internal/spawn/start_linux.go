package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start starts a process as the leader of a session of its own. It has all its
// limits before its first instruction. The error says which step was not
// possible; then nothing runs.
func Start(c Config) (*Process, error) {
	who, err := lookUp(c.User)
	if err != nil {
		return nil, err
	}
	if err := check(c); err != nil {
		return nil, err
	}
	files, err := openFiles(c, who)
	if err != nil {
		return nil, err
	}
	defer files.close()
	rules, err := newRules(c)
	if err != nil {
		return nil, err
	}
	defer rules.close()
	p, err := startOn(c, who, files, rules)
	if err != nil {
		return nil, err
	}
	p.exposeToOOM()
	go p.reap()
	return p, nil
}

// startOn picks the thread that the process is to inherit from.
func startOn(c Config, who *identity, files *files, rules *rules) (p *Process, err error) {
	if c.NewPrivileges && rules == nil {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return start(c, who, files, nil)
	}
	onDoomedThread(func() { p, err = start(c, who, files, rules) })
	return p, err
}

// onDoomedThread calls f on a thread that ends thereafter: what a thread gives up,
// it and all threads made by it never get back. A thread ends with a goroutine
// that is locked to it, and as long as one is, the runtime makes no other thread
// from it. Only the first thread of the program cannot end: it is held until
// another one has done it.
func onDoomedThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			defer runtime.UnlockOSThread()
			onDoomedThread(f)
			return
		}
		f()
	}()
	<-done
}

// start starts it from the calling thread.
func start(c Config, who *identity, files *files, rules *rules) (*Process, error) {
	pidfd := -1
	attr := &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: files.child,
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: c.TTY, PidFD: &pidfd, Credential: who.credential()},
	}
	if attr.Dir == "" {
		attr.Dir = "/"
	}
	if attr.Env == nil {
		attr.Env = []string{} // nil would be ours
	}
	limits := c.rlimits()
	attr.Sys.Ptrace = (len(limits) > 0 || c.Held != nil) && c.mayHold()
	var pid int
	launch := func(cgroup int) (int, error) {
		// From here on this thread cannot do much more than start it.
		if err := giveUp(c, rules); err != nil {
			return 0, err
		}
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = cgroup >= 0, cgroup
		var err error
		pid, _, err = syscall.StartProcess(c.Path, append([]string{c.Path}, c.Args...), attr) //nolint:gosec // G204: who may start what is decided elsewhere
		if err != nil {
			return 0, c.explain(err)
		}
		return pid, nil
	}
	var err error
	if c.Group == nil {
		_, err = launch(-1)
	} else {
		_, err = c.Group.Launch(launch)
	}
	if err != nil {
		if pid > 0 { // born, but not where it should
			err = errors.Join(err, end(pid), unix.Close(pidfd))
		}
		return nil, err
	}
	p, err := newProcess(pid, pidfd)
	if err != nil {
		return nil, err
	}
	p.Terminal = files.master
	if err := c.prepare(p, limits, attr.Sys.Ptrace); err != nil {
		return nil, errors.Join(err, end(pid), p.Close())
	}
	files.master = nil
	return p, nil
}

// prepare does what has to be done before the first instruction and, if the process
// is held, lets it go. The calling thread has started it.
func (c Config) prepare(p *Process, limits rlimits, held bool) error {
	if held {
		if err := awaitStop(p.Pid); err != nil {
			return fmt.Errorf("spawn: wait for process %d to stand still: %w", p.Pid, err)
		}
	}
	if err := limits.set(p.Pid); err != nil {
		return err
	}
	if c.Held != nil {
		if err := c.Held(p); err != nil {
			return err
		}
	}
	if !held {
		return nil
	}
	if err := unix.PtraceDetach(p.Pid); err != nil && !errors.Is(err, unix.ESRCH) { // it was killed
		return fmt.Errorf("spawn: let process %d go: %w", p.Pid, err)
	}
	return nil
}

// giveUp takes from the calling thread what the process is not to have.
func giveUp(c Config, rules *rules) error {
	if !c.NewPrivileges {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("spawn: no_new_privs: %w", err)
		}
	}
	return rules.enforce()
}

// check finds out what the kernel would say without telling about what.
func check(c Config) error {
	if !filepath.IsAbs(c.Path) {
		return fmt.Errorf("spawn: executable %q: not an absolute path", c.Path)
	}
	info, err := os.Stat(c.Path)
	switch {
	case err != nil:
		return fmt.Errorf("spawn: executable %q: %w", c.Path, reason(err))
	case info.IsDir():
		return fmt.Errorf("spawn: executable %q: is a directory", c.Path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("spawn: executable %q: not a regular file", c.Path)
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("spawn: executable %q: not executable (mode %v): %w", c.Path, info.Mode(), fs.ErrPermission)
	}
	if c.Dir == "" {
		return nil
	}
	info, err = os.Stat(c.Dir)
	switch {
	case err != nil:
		return fmt.Errorf("spawn: directory %q: %w", c.Dir, reason(err))
	case !info.IsDir():
		return fmt.Errorf("spawn: directory %q: not a directory", c.Dir)
	}
	return nil
}

// reason drops what fs.PathError repeats.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// explain says what an error of the start is about, as far as it can be known.
func (c Config) explain(err error) error {
	switch {
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("spawn: executable %q: neither a program of this machine nor a script that begins with #!: %w", c.Path, err)
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("spawn: executable %q: its interpreter or loader: %w", c.Path, err)
	case errors.Is(err, unix.EACCES) && len(c.Read) > 0:
		return fmt.Errorf("spawn: executable %q: %w: it, its interpreter or its loader is not below what it may read, %q, or its user %q may not execute it or enter %q", c.Path, err, c.Read, c.User, c.Dir)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("spawn: executable %q: %w: its user %q may not execute it or enter %q", c.Path, err, c.User, c.Dir)
	case errors.Is(err, unix.EPERM) && c.User != "":
		return fmt.Errorf("spawn: user %q: %w: only root may start a process as somebody else", c.User, err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("spawn: executable %q: %w: as many processes as are allowed run already", c.Path, err)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("spawn: executable %q: %w: arguments and environment are too long", c.Path, err)
	default:
		return fmt.Errorf("spawn: executable %q: %w", c.Path, err)
	}
}

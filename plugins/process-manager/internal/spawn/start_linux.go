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
	p.Terminal, files.master = files.master, nil
	go p.reap()
	return p, nil
}

// startOn picks the thread that the process is to inherit from. What a thread
// gives up, it and all threads made by it never get back: so that one ends with
// its goroutine, which stays locked to it. The runtime makes no other thread from
// one that is locked.
func startOn(c Config, who *identity, files *files, rules *rules) (*Process, error) {
	if c.NewPrivileges && rules == nil {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return start(c, who, files)
	}
	type result struct {
		p   *Process
		err error
	}
	started := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
		if err := giveUp(c, rules); err != nil {
			started <- result{err: err}
			return
		}
		p, err := start(c, who, files)
		started <- result{p, err}
	}()
	r := <-started
	return r.p, r.err
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

// start starts it from the calling thread.
func start(c Config, who *identity, files *files) (*Process, error) {
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
	launch := func(cgroup int) (int, error) {
		if attr.Sys.UseCgroupFD = cgroup >= 0; attr.Sys.UseCgroupFD {
			attr.Sys.CgroupFD = cgroup
		}
		pid, _, err := syscall.StartProcess(c.Path, append([]string{c.Path}, c.Args...), attr) //nolint:gosec // G204: who may start what is decided elsewhere
		if err != nil {
			return 0, c.explain(err)
		}
		return pid, nil
	}
	limits := c.rlimits()
	attr.Sys.Ptrace = len(limits) > 0 && c.mayHold()
	var pid int
	var err error
	if c.Group == nil {
		pid, err = launch(-1)
	} else {
		pid, err = c.Group.Launch(launch)
	}
	if err != nil {
		return nil, err
	}
	p, err := newProcess(pid, pidfd)
	if err != nil {
		return nil, err
	}
	if err := limits.set(pid, attr.Sys.Ptrace); err != nil {
		return nil, errors.Join(err, end(pid), p.Close())
	}
	return p, nil
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
		return fmt.Errorf("spawn: executable %q: %w: it, its interpreter or its loader is not below what it may read, %q, or user %q may not execute it or enter %q", c.Path, err, c.Read, c.User, c.Dir)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("spawn: executable %q: %w: user %q may not execute it or enter %q", c.Path, err, c.User, c.Dir)
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

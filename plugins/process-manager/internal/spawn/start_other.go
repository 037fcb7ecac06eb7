//go:build !linux

package spawn

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Start starts a process as the leader of a session of its own.
func Start(c Config) (*Process, error) {
	if c.TTY || c.User != "" || len(c.Read) > 0 || len(c.Write) > 0 || c.OpenFiles > 0 {
		return nil, fmt.Errorf("spawn: tty, user, read, write and open_files on %s: %w", runtime.GOOS, errors.ErrUnsupported)
	}
	files := []*os.File{c.Stdin, c.Stdout, c.Stderr}
	for i, f := range files {
		if f == nil {
			null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
			if err != nil {
				return nil, fmt.Errorf("spawn: %w", err)
			}
			defer null.Close()
			files[i] = null
		}
	}
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: files, Sys: &unix.SysProcAttr{Setsid: true}}
	if attr.Dir == "" {
		attr.Dir = "/"
	}
	if attr.Env == nil {
		attr.Env = []string{}
	}
	p := &Process{done: make(chan struct{})}
	launch := func(int) (int, error) {
		process, err := os.StartProcess(c.Path, append([]string{c.Path}, c.Args...), attr)
		if err != nil {
			return 0, fmt.Errorf("spawn: executable %q: %w", c.Path, err)
		}
		p.Pid = process.Pid
		go p.reap(process)
		return process.Pid, nil
	}
	start := func() (int, error) { return launch(-1) }
	if c.Group != nil {
		start = func() (int, error) { return c.Group.Launch(launch) }
	}
	if _, err := start(); err != nil {
		return nil, err
	}
	if c.Held == nil {
		return p, nil
	}
	if err := c.Held(p); err != nil {
		return nil, errors.Join(err, unix.Kill(p.Pid, unix.SIGKILL)) // reap waits for it
	}
	return p, nil
}

func (p *Process) reap(process *os.Process) {
	defer close(p.done)
	state, err := process.Wait()
	if err != nil {
		p.err = fmt.Errorf("%w: %w", errReaped, err)
		return
	}
	status, _ := state.Sys().(unix.WaitStatus)
	p.exit = exitOf(status, unix.Rusage{})
}

// Seal does nothing: this system has no call for it.
func Seal() error { return nil }

// SetSize is not supported: this system's processes get no terminal.
func SetSize(*os.File, uint16, uint16) error { return errors.ErrUnsupported }

// HasEnded knows nothing: this system has no pidfd.
func HasEnded(*os.File) bool { return true }

// Signal is not supported: this system has no pidfd.
func Signal(*os.File, unix.Signal) error { return errors.ErrUnsupported }

// SignalGroup signals all processes of a process group. It returns
// os.ErrProcessDone when none is left.
func SignalGroup(pid int, _ *os.File, s unix.Signal) error {
	if err := unix.Kill(-pid, s); !errors.Is(err, unix.ESRCH) {
		return err
	}
	return os.ErrProcessDone
}

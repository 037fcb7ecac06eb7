// Package spawn starts one process.
package spawn

import (
	"context"
	"os"
	"os/exec"
	"syscall"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// Config says how.
type Config struct {
	Path                  string
	Args, Env             []string
	Dir, User             string
	Stdin, Stdout, Stderr *os.File
	TTY                   bool
	Group                 *tree.Group
	OpenFiles             uint32
	NewPrivileges         bool
	Read, Write           []string
}

// Process is one.
type Process struct {
	Pid      int
	Pidfd    *os.File
	Terminal *os.File
	cmd      *exec.Cmd
}

// Exit is how it ended.
type Exit struct {
	Code     int
	Signal   syscall.Signal
	CoreDump bool
	Rusage   syscall.Rusage
}

// Start starts it.
func Start(c Config) (*Process, error) {
	fd := -1
	cmd := exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // placeholder
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, PidFD: &fd}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Process{Pid: cmd.Process.Pid, Pidfd: os.NewFile(uintptr(fd), "pidfd"), cmd: cmd}, nil
}

// Wait waits for its end.
func (p *Process) Wait(context.Context) (Exit, error) {
	err := p.cmd.Wait()
	if p.cmd.ProcessState == nil {
		return Exit{}, err
	}
	s := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	e := Exit{Code: s.ExitStatus(), CoreDump: s.CoreDump(), Rusage: *p.cmd.ProcessState.SysUsage().(*syscall.Rusage)}
	if s.Signaled() {
		e.Signal = s.Signal()
	}
	return e, nil
}

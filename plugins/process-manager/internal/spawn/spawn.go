// Package spawn starts one process, with the rights that it is to have and no
// more, and tells how it ended.
package spawn

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/plugins/process-manager/internal/tree"
)

// Config is what to start. Path is required.
type Config struct {
	Path string   // the executable, absolute
	Args []string // after the name of the program
	Env  []string // "NAME=value"; nothing is added
	Dir  string   // default "/"
	User string   // a name or number; default is that of this process

	// Files are the caller's to close. Default is /dev/null.
	Stdin, Stdout, Stderr *os.File
	// TTY gives it a terminal in their place.
	TTY bool

	// Held is called before the first instruction, when the process can have started
	// nobody; it may be nil. Its error ends the process, and is Start's. A program that
	// would lose the rights that its file promises if it were held runs already.
	Held func(*Process) error

	Group     *tree.Group // it is born there; may be nil
	OpenFiles uint32      // at once; 0 is as many as this process may

	// NewPrivileges lets it get more rights than it starts with, as by sudo.
	NewPrivileges bool
	// Read are the paths that it may read and execute, Write those that it may
	// write, with all below them. Where one is empty it may all. A path that does
	// not exist is an error.
	Read, Write []string
}

// Process is one that was started. Its methods are safe for concurrent use.
type Process struct {
	Pid int
	// Pidfd stays open until Close. It does not block.
	Pidfd *os.File
	// Terminal is the master of its terminal, nil without TTY. The caller closes
	// it. It does not block.
	Terminal *os.File

	done chan struct{} // closed when it has ended and was reaped
	exit Exit
	err  error

	closing sync.Once
}

// Exit is how a process ended.
type Exit struct {
	Code     int            // the exit code, or -1 if a signal ended it
	Signal   syscall.Signal // the signal that ended it, or 0
	CoreDump bool
	Rusage   unix.Rusage // of the process and of those of its children that it has waited for
}

func exitOf(status unix.WaitStatus, usage unix.Rusage) Exit {
	e := Exit{Code: status.ExitStatus(), CoreDump: status.CoreDump(), Rusage: usage}
	if status.Signaled() {
		e.Signal = status.Signal()
	}
	return e
}

// Done is closed when the process has ended. Nobody has to wait for it: it is
// reaped in any case.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits until the process has ended, whoever holds its output, and says
// how. It may be called at any time and more than once. The error is that of ctx,
// or says that somebody else has reaped it.
func (p *Process) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-p.done:
		return p.exit, p.err
	default:
	}
	select {
	case <-p.done:
		return p.exit, p.err
	case <-ctx.Done():
		return Exit{}, ctx.Err()
	}
}

// Close releases the pidfd, when the process has ended.
func (p *Process) Close() (err error) {
	p.closing.Do(func() {
		if p.Pidfd != nil {
			err = p.Pidfd.Close()
		}
	})
	return err
}

var errReaped = errors.New("spawn: somebody else has waited for the process")

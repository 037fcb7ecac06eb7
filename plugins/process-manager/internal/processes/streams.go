package processes

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// streams are the standard streams of a process: the ends that it gets, and ours.
type streams struct {
	tty bool

	stdin, stdout, stderr *os.File // its; nil with a terminal
	output                *os.File // what it writes comes out here
	input                 *os.File // what is written here it reads; nil if that is nothing

	theirs []*os.File
}

// openStreams makes a pipe for the output and, if wanted, one for the input. With
// a terminal nothing is needed.
func openStreams(tty, stdin bool) (*streams, error) {
	s := &streams{tty: tty}
	if tty {
		return s, nil
	}
	err := s.open(stdin)
	if err != nil {
		s.closeTheirs()
		return nil, errors.Join(err, s.closeOurs())
	}
	return s, nil
}

func (s *streams) open(stdin bool) (err error) {
	var w *os.File
	if s.output, w, err = os.Pipe(); err != nil {
		return err
	}
	s.stdout, s.stderr = w, w
	s.theirs = append(s.theirs, w)
	if !stdin {
		return nil // it gets /dev/null
	}
	if s.stdin, s.input, err = os.Pipe(); err == nil {
		s.theirs = append(s.theirs, s.stdin)
	}
	return err
}

// closeTheirs closes the ends that the process has by now.
func (s *streams) closeTheirs() {
	for _, f := range s.theirs {
		_ = f.Close() // nothing was written to it here
	}
}

func (s *streams) closeOurs() error {
	var faults []error
	for _, f := range []*os.File{s.output, s.input} {
		if f != nil {
			faults = append(faults, f.Close())
		}
	}
	return errors.Join(faults...)
}

// duplicate returns another descriptor of a file.
func duplicate(f *os.File) (*os.File, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var fault error
	if err := conn.Control(func(from uintptr) { fd, fault = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if fault != nil {
		return nil, os.NewSyscallError("dup", fault)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// isTerminalEnd reports whether a read of a terminal's master has come to the
// end: nobody has the other side open any more.
func isTerminalEnd(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.EIO)
}

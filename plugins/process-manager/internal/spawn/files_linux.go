package spawn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// files are the standard streams of a process.
type files struct {
	child  []uintptr  // as it gets them
	own    []*os.File // opened here, for the child alone
	master *os.File   // of its terminal
}

func (f *files) close() {
	for _, file := range f.own {
		_ = file.Close() // the child has its own
	}
	if f.master != nil {
		_ = f.master.Close() // nothing was written
	}
}

func openFiles(c Config, who *identity) (*files, error) {
	f := &files{}
	if c.TTY {
		master, slave, err := openTerminal(who)
		if err != nil {
			return nil, fmt.Errorf("spawn: terminal: %w", err)
		}
		f.master, f.own = master, []*os.File{slave}
		f.child = []uintptr{slave.Fd(), slave.Fd(), slave.Fd()}
		return f, nil
	}
	var null *os.File
	for _, file := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if file == nil && null == nil {
			var err error
			if null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
				return nil, fmt.Errorf("spawn: %w", err)
			}
			f.own = []*os.File{null}
		}
		if file == nil {
			file = null
		}
		f.child = append(f.child, file.Fd()) // blocking from now on, as programs expect
	}
	return f, nil
}

// openTerminal makes a pair of pseudoterminals. The slave belongs to the user:
// programs open their terminal again by its name.
func openTerminal(who *identity) (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "terminal")
	defer func() {
		if err != nil {
			_ = master.Close()
		}
	}()
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, os.NewSyscallError("TIOCSPTLCK", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, nil, os.NewSyscallError("TIOCGPTPEER", errno)
	}
	slave = os.NewFile(peer, "terminal of a process")
	if who != nil {
		if err := slave.Chown(int(who.uid), -1); err != nil {
			return nil, nil, errAndClose(err, slave)
		}
	}
	if err := SetSize(master, 24, 80); err != nil {
		return nil, nil, errAndClose(err, slave)
	}
	return master, slave, nil
}

func errAndClose(err error, f *os.File) error {
	_ = f.Close()
	return err
}

// SetSize sets the size of a terminal's window; what runs there gets SIGWINCH.
func SetSize(terminal *os.File, rows, columns uint16) error {
	conn, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = conn.Control(func(fd uintptr) {
		set = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("TIOCSWINSZ", set)
}

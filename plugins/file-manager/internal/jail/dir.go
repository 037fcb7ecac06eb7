package jail

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dir is a directory that is held open. What is in it is meant by its name, which
// has no "/" and is never followed if it is a link.
type Dir struct{ fd int }

// Close closes it.
func (d Dir) Close() { closeFD(d.fd) }

// Descriptor is the directory's own, for calls that Dir does not have.
func (d Dir) Descriptor() int { return d.fd }

// Info is what the directory itself is.
func (d Dir) Info() (Info, error) { return fstat(d.fd) }

// Stat is what is at a name.
func (d Dir) Stat(name string) (Info, error) { return fstatat(d.fd, name) }

// SameMount reports whether files can be renamed between the two directories, as
// far as mounts are concerned.
func (d Dir) SameMount(o Dir) bool { return sameMount(d.fd, o.fd) }

// Dir opens a directory in it. The caller closes it.
func (d Dir) Dir(name string) (Dir, error) {
	fd, err := openPart(d.fd, name)
	return Dir{fd: fd}, err
}

// Open opens a regular file to be read. Anything else is EISDIR or ENXIO. The
// caller closes it.
func (d Dir) Open(name string) (*os.File, error) {
	info, err := d.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, unix.EISDIR
	case !info.IsFile():
		return nil, unix.ENXIO
	}
	return d.open(name, unix.O_RDONLY, info)
}

// OpenToAppend opens a regular file so that all is written at its end. The caller
// closes it.
func (d Dir) OpenToAppend(name string) (*os.File, error) {
	info, err := d.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, unix.EISDIR
	case !info.IsFile():
		return nil, unix.ENXIO
	}
	return d.open(name, unix.O_WRONLY|unix.O_APPEND, info)
}

// open opens a file that Stat has said to be info.
func (d Dir) open(name string, flags int, info Info) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	if now, err := fstat(fd); err != nil || now.Inode != info.Inode || now.Device != info.Device {
		closeFD(fd)
		return nil, ErrMoving
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Create makes a file to be read and written; EEXIST if there is one. The caller
// closes it.
func (d Dir) Create(name string, mode uint32) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// OpenOrCreate opens a file to be read and written, and makes it if it is not
// there. The caller closes it.
func (d Dir) OpenOrCreate(name string, mode uint32) (*os.File, error) {
	fd, err := retry(func() (int, error) {
		return unix.Openat(d.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Mkdir makes a directory with exactly these permissions, whatever the umask.
func (d Dir) Mkdir(name string, mode uint32) error {
	if err := unix.Mkdirat(d.fd, name, mode); err != nil {
		return err
	}
	return d.Chmod(name, mode)
}

// Rename moves name to another directory of the same mount, in the place of what
// is there.
func (d Dir) Rename(name string, to Dir, toName string) error {
	return unix.Renameat(d.fd, name, to.fd, toName)
}

// RenameNew moves name to another directory; EEXIST if something is there.
func (d Dir) RenameNew(name string, to Dir, toName string) error {
	return renameNew(d.fd, name, to.fd, toName)
}

// Exchange swaps two names in one step; ENOSYS or EINVAL where the system has no
// such step.
func (d Dir) Exchange(name string, with Dir, withName string) error {
	return exchange(d.fd, name, with.fd, withName)
}

// Remove removes what is no directory.
func (d Dir) Remove(name string) error { return unix.Unlinkat(d.fd, name, 0) }

// RemoveDir removes an empty directory.
func (d Dir) RemoveDir(name string) error { return unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR) }

// Symlink makes a symbolic link.
func (d Dir) Symlink(target, name string) error { return unix.Symlinkat(target, d.fd, name) }

// Readlink reads a symbolic link; EINVAL if it is none.
func (d Dir) Readlink(name string) (string, error) {
	buf := make([]byte, MaxPath)
	n, err := unix.Readlinkat(d.fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// Chmod sets permissions; EOPNOTSUPP for a link, which has none.
func (d Dir) Chmod(name string, mode uint32) error { return chmod(d.fd, name, mode) }

// SetModified sets when the content last changed, and leaves when it was last
// read.
func (d Dir) SetModified(name string, t time.Time) error {
	times := []unix.Timespec{{Nsec: utimeOmit}, unix.NsecToTimespec(t.UnixNano())}
	return unix.UtimesNanoAt(d.fd, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// Names lists what is in the directory, in no order.
func (d Dir) Names() ([]string, error) {
	f, err := d.File()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// Sync brings the names in the directory to the disk.
func (d Dir) Sync() error {
	f, err := d.File()
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// File opens the directory to be read, which Dir itself may not be. The caller
// closes it.
func (d Dir) File() (*os.File, error) {
	fd, err := openToRead(d.fd, ".")
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "."), nil
}

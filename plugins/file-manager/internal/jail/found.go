package jail

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Info is what the system says about a file. Times are nanoseconds since 1970.
type Info struct {
	Device, Inode uint64
	Mode          uint32 // type and permissions, as in stat(2)
	Size          int64
	Modified      int64
	Changed       int64 // content, attributes or name
	Links         uint64
	Owner, Group  uint32
}

// Type is one of unix.S_IFREG, S_IFDIR, S_IFLNK and so on.
func (i Info) Type() uint32 { return i.Mode & unix.S_IFMT }

// IsFile reports whether it is a regular file.
func (i Info) IsFile() bool { return i.Type() == unix.S_IFREG }

// IsDir reports whether it is a directory.
func (i Info) IsDir() bool { return i.Type() == unix.S_IFDIR }

// IsLink reports whether it is a symbolic link.
func (i Info) IsLink() bool { return i.Type() == unix.S_IFLNK }

// Permissions are the lower nine bits of the mode.
func (i Info) Permissions() uint32 { return i.Mode & uint32(fs.ModePerm) }

// SameContent reports whether both are the same file, with the same content as
// far as the system tells. Unlike an etag it bears a rename.
func (i Info) SameContent(o Info) bool {
	return i.Device == o.Device && i.Inode == o.Inode && i.Size == o.Size && i.Modified == o.Modified
}

// Found is what is at a path, held without being opened, so that a device or a
// FIFO notices nothing.
type Found struct {
	Path string // without links
	Info Info

	fd   int    // of it itself, or of the directory it is in
	name string // in that directory; "" if fd is of it itself
	proc int    // of /proc/self/fd, if fd is of it itself
}

// Close lets go of it.
func (f Found) Close() { closeFD(f.fd) }

// Open opens it to be read, if it is a file or a directory. The caller closes
// the descriptor.
func (f Found) Open() (int, error) {
	if f.name == "" {
		return reopen(f.proc, f.fd)
	}
	fd, err := openToRead(f.fd, f.name)
	if errors.Is(err, unix.ELOOP) {
		return -1, ErrMoving
	}
	if err != nil {
		return -1, err
	}
	if info, err := fstat(fd); err != nil || info.Inode != f.Info.Inode || info.Device != f.Info.Device {
		closeFD(fd)
		return -1, ErrMoving
	}
	return fd, nil
}

// File is Open for those who want an *os.File. Its name is the path.
func (f Found) File() (*os.File, error) {
	fd, err := f.Open()
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Path), nil
}

// openToRead opens name in a directory, whatever it is, without waiting and
// without becoming its terminal's process.
func openToRead(dir int, name string) (int, error) {
	return retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
}

// Fstat is what is open as fd.
func Fstat(fd int) (Info, error) { return fstat(fd) }

func fstat(fd int) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Info{}, err
	}
	return infoOf(&st), nil
}

func fstatat(dir int, name string) (Info, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return Info{}, err
	}
	return infoOf(&st), nil
}

func infoOf(st *unix.Stat_t) Info {
	return Info{
		Device: uint64(st.Dev), Inode: st.Ino, Mode: uint32(st.Mode), Size: st.Size,
		Modified: st.Mtim.Nano(), Changed: st.Ctim.Nano(),
		Links: uint64(st.Nlink), Owner: st.Uid, Group: st.Gid,
	}
}

// retry repeats a call that a signal has interrupted, as network file systems let
// it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

func closeFD(fd int) { _ = unix.Close(fd) } // what was only looked at loses nothing

package jail

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"
)

// dirFlags hold a directory without the right to read it being needed.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

// utimeOmit leaves a time as it is.
const utimeOmit = unix.UTIME_OMIT

// beneath is how paths are opened. RESOLVE_NO_SYMLINKS includes the magic links
// of /proc.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS

// hasBeneath reports whether the kernel has openat2 (5.6), and whoever confines
// this process lets it be called.
func hasBeneath(dir int) bool {
	fd, err := openBeneath(dir, ".", dirFlags)
	if err == nil {
		closeFD(fd)
	}
	return err == nil
}

// openBeneath opens a path that has no links: ELOOP if there is one. EAGAIN says
// that something was renamed meanwhile, and that the kernel could not tell
// whether the path led out for a moment.
func openBeneath(dir int, path string, flags uint64) (int, error) {
	how := unix.OpenHow{Flags: flags, Resolve: beneath}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(dir, path, &how)
		switch {
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN) && tries < 1000:
			continue
		case errors.Is(err, unix.EAGAIN):
			return -1, ErrMoving
		case errors.Is(err, unix.EXDEV):
			return -1, ErrEscape
		}
		return fd, err
	}
}

// findBeneath holds what is at a path without opening it.
func (r *Root) findBeneath(path string) (Found, error) {
	fd, err := openBeneath(r.fd, path, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return Found{}, err
	}
	info, err := fstat(fd)
	if err != nil {
		closeFD(fd)
		return Found{}, err
	}
	return Found{Path: path, Info: info, fd: fd, proc: r.proc}, nil
}

// openProc holds the directory in which every open descriptor has a name. To look
// it up each time would take as long as the rest of opening a file.
func openProc() int {
	fd, err := unix.Open("/proc/self/fd", dirFlags, 0)
	if err != nil {
		return -1
	}
	return fd
}

// reopen opens to be read what is held as fd, and nothing else.
func reopen(proc, fd int) (int, error) {
	name := strconv.Itoa(fd)
	for {
		opened, err := unix.Openat(proc, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if !errors.Is(err, unix.EINTR) {
			return opened, err
		}
	}
}

func renameNew(dir int, name string, to int, toName string) error {
	return unix.Renameat2(dir, name, to, toName, unix.RENAME_NOREPLACE)
}

func exchange(dir int, name string, with int, withName string) error {
	return unix.Renameat2(dir, name, with, withName, unix.RENAME_EXCHANGE)
}

// chmod sets permissions of what is no link. Before Linux 6.6 there is no call
// for that, so it is held first.
func chmod(dir int, name string, mode uint32) error {
	err := unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return err
	}
	defer closeFD(fd)
	return unix.Fchmodat(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(fd), mode, 0)
}

// sameMount compares the mounts, because two mounts of one file system cannot
// rename to each other.
func sameMount(a, b int) bool {
	var x, y unix.Statx_t
	if unix.Statx(a, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &x) != nil ||
		unix.Statx(b, "", unix.AT_EMPTY_PATH, unix.STATX_MNT_ID, &y) != nil {
		return false
	}
	return x.Mnt_id == y.Mnt_id && x.Dev_major == y.Dev_major && x.Dev_minor == y.Dev_minor
}

// Free is how many bytes the file system has left for us.
func (r *Root) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(r.fd, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil //nolint:gosec // a block is some KiB
}

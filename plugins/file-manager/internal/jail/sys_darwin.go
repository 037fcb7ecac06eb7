package jail

import "golang.org/x/sys/unix"

const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

// utimeOmit leaves a time as it is; UTIME_OMIT of <sys/stat.h>.
const utimeOmit = -2

// There is no openat2: every part of a path is opened by itself, without
// following links.
func hasBeneath(int) bool { return false }

func openBeneath(int, string, int) (int, error) { return -1, unix.ENOSYS }

func (r *Root) findBeneath(string) (Found, error) { return Found{}, unix.ENOSYS }

func openProc() int { return -1 }

func reopen(int, int) (int, error) { return -1, unix.ENOSYS }

func renameNew(dir int, name string, to int, toName string) error {
	return unix.RenameatxNp(dir, name, to, toName, unix.RENAME_EXCL)
}

func exchange(dir int, name string, with int, withName string) error {
	return unix.RenameatxNp(dir, name, with, withName, unix.RENAME_SWAP)
}

func chmod(dir int, name string, mode uint32) error {
	return unix.Fchmodat(dir, name, mode, unix.AT_SYMLINK_NOFOLLOW)
}

func sameMount(a, b int) bool {
	x, errX := fstat(a)
	y, errY := fstat(b)
	return errX == nil && errY == nil && x.Device == y.Device
}

// Free is how many bytes the file system has left for us.
func (r *Root) Free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(r.fd, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
